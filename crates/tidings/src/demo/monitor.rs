//! This machine as it is now: load, memory, uptime, and the processes that use most of it.

use serde::Serialize;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

const TOP: usize = 8;
const NAME_CHARS_MAX: usize = 40;

/// Looks at the machine; usage is measured between two looks.
pub(crate) struct Monitor {
    /// None on a system that cannot be looked at.
    system: Option<System>,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Over 1, 5 and 15 minutes; none where the system does not count it.
    load: Option<[f64; 3]>,
    cores: usize,
    /// Of all cores together, in percent.
    cpu_percent: f64,
    memory_total_bytes: u64,
    memory_used_bytes: u64,
    swap_total_bytes: u64,
    swap_used_bytes: u64,
    uptime_seconds: Option<u64>,
    processes: usize,
    top: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    name: String,
    /// Of one core.
    cpu_percent: f64,
    memory_bytes: u64,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        let system = System::new();
        if let Err(error) = &system {
            tracing::warn!(%error, "this machine cannot be looked at; the monitor shows the hub alone");
        }
        Self { system: system.ok() }
    }

    /// Reads everything anew. Takes milliseconds; to be called where that is no harm.
    pub(crate) fn look(&mut self) -> Option<Machine> {
        let system = self.system.as_mut()?;
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let what = ProcessRefreshKind::nothing()
            .with_cpu()
            .with_memory()
            .with_exe(UpdateKind::Never)
            .without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        Some(Machine {
            load: System::load_average().ok().map(|load| [load.one, load.five, load.fifteen]),
            cores: system.cpus().len(),
            cpu_percent: tenths(system.global_cpu_usage()),
            memory_total_bytes: system.total_memory(),
            memory_used_bytes: system.used_memory(),
            swap_total_bytes: system.total_swap(),
            swap_used_bytes: system.used_swap(),
            uptime_seconds: System::uptime().ok(),
            processes: system.processes().len(),
            top: top(system),
        })
    }
}

/// Those that use most, first by time of the processor, then by memory.
fn top(system: &System) -> Vec<Process> {
    let seen = system.processes().values().map(|process| Process {
        pid: process.pid().as_u32(),
        name: process.name().to_string_lossy().chars().take(NAME_CHARS_MAX).collect(),
        cpu_percent: tenths(process.cpu_usage()),
        memory_bytes: process.memory(),
    });
    let mut all: Vec<Process> = seen.collect();
    all.sort_by(|a, b| {
        let (by_cpu, by_memory) =
            (b.cpu_percent.total_cmp(&a.cpu_percent), b.memory_bytes.cmp(&a.memory_bytes));
        by_cpu.then(by_memory).then(a.pid.cmp(&b.pid))
    });
    all.truncate(TOP);
    all
}

/// One digit behind the dot is what anybody reads.
fn tenths(percent: f32) -> f64 {
    (f64::from(percent) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_that_runs_the_tests_is_seen() {
        let mut monitor = Monitor::new();
        monitor.look();
        let machine = monitor.look().unwrap();
        assert!(machine.cores > 0 && machine.processes > 0);
        assert!(machine.memory_used_bytes > 0 && machine.memory_used_bytes <= machine.memory_total_bytes);
        assert!(!machine.top.is_empty() && machine.top.len() <= TOP);
        assert!(machine.top.iter().all(|process| process.cpu_percent >= 0.0));
        let text = serde_json::to_value(&machine).unwrap();
        assert!(text["top"][0]["name"].is_string());
    }
}
