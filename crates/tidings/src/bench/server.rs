//! What the system knows of a server on this machine: its CPU time and its own memory.

use std::fs;

use super::plan::Plan;

/// A server's process.
pub(super) struct Server {
    pub(super) pid: u32,
}

impl Server {
    /// The process that was named, or the one that listens where the streams are read; `None` if it is elsewhere.
    pub(super) fn find(plan: &Plan) -> Option<Self> {
        let pid =
            plan.pid.or_else(|| if plan.addr.ip().is_loopback() { listener(plan.addr.port()) } else { None });
        pid.map(|pid| Self { pid })
    }

    /// CPU time of all its threads, in microseconds.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        // The scheduler's count is exact to the nanosecond; the one in `stat` to ten milliseconds.
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let of = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Some(tasks.filter_map(Result::ok).filter_map(of).sum::<u64>() / 1_000)
    }

    /// Memory that belongs to nobody else and to no file, in bytes.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
    }
}

/// The process that listens at a port.
fn listener(port: u16) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| inode(line, port)).collect::<Vec<_>>())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok();
        let mut files = files.into_iter().flatten().filter_map(Result::ok);
        files.any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        })
    };
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(holds)
}

/// The inode of a socket that listens at a port, from a line of the system's table.
fn inode(line: &str, port: u16) -> Option<String> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let listens = state == "0A" && u16::from_str_radix(local.rsplit(':').next()?, 16).ok()? == port;
    listens.then(|| words.nth(5)).flatten().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sockets_is_read() {
        let line = "   0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(inode(line, 4_000).as_deref(), Some("4711"));
        assert_eq!(inode(line, 4_001), None);
        assert_eq!(inode(&line.replace(" 0A ", " 01 "), 4_000), None);
        assert_eq!(inode("  sl  local_address", 4_000), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_by_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pid = listener(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(pid, std::process::id());
        let server = Server { pid };
        assert!(server.cpu_us().unwrap() > 0 && server.memory_bytes().unwrap() > 100_000);
    }
}
