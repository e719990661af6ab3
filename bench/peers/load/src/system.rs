//! What the system knows of the server and of its connections.

use std::fs;

/// A server's process, and those it has started.
pub(crate) struct Server {
    pid: u32,
    port: u16,
}

impl Server {
    pub(crate) fn new(pid: u32, port: u16) -> Self {
        Self { pid, port }
    }

    /// Looked up each time: a server may listen before it has started the processes that work.
    fn pids(&self) -> Vec<u32> {
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
                Some((pid, parent))
            })
            .collect();
        let mut pids = vec![self.pid];
        let mut at = 0;
        while let Some(parent) = pids.get(at).copied() {
            pids.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        pids
    }

    /// CPU time of all threads, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        // The scheduler's count is exact to the nanosecond; the one in `stat` to ten milliseconds.
        let tasks = self
            .pids()
            .into_iter()
            .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
            .flatten();
        let of = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        tasks.filter_map(Result::ok).filter_map(of).sum::<u64>() as f64 / 1_000.0
    }

    /// Memory that belongs to no file, in bytes: its own, and what its processes share among them.
    pub(crate) fn memory_bytes(&self) -> f64 {
        let of = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let kib = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            (kib("RssAnon:"), kib("RssShmem:"))
        };
        let all: Vec<(u64, u64)> = self.pids().iter().map(of).collect();
        let own: u64 = all.iter().map(|(own, _)| own).sum();
        // The same pages in each of them.
        let shared = all.iter().map(|(_, shared)| *shared).max().unwrap_or(0);
        (own + shared) as f64 * 1_024.0
    }

    /// Connections of the server whose other end takes nothing more: the system probes them now and then.
    pub(crate) fn zero_windows(&self) -> usize {
        let is_probed = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = |at: usize| words.get(at).copied().unwrap_or_default();
            let port = at(1).rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            port == Some(self.port) && at(3) == "01" && at(5).starts_with("04:")
        };
        fs::read_to_string("/proc/net/tcp").unwrap_or_default().lines().filter(is_probed).count()
    }
}

/// How often the system has asked so far whether the other end of a connection takes something again, on the whole machine.
pub(crate) fn window_probes() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(name, _)| *name == "TCPWinProbe").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// What all sockets of the machine hold in the kernel, in bytes.
pub(crate) fn socket_bytes() -> f64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages = line.rsplit_once("mem ").and_then(|(_, pages)| pages.trim().parse::<u64>().ok());
    pages.unwrap_or(0) as f64 * 4_096.0
}

/// Nanoseconds on a clock that only goes forward.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
