//! How long a start takes after a process was killed while it appended, and how much memory an open log holds.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_hub::ports::Durability;
use tidings_hub::{Hub, Limits};

use crate::append::{Source, Target, feed};
use crate::arguments::Arguments;
use crate::replay::replay;
use crate::world;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = arguments.dir()?;
    let rounds: usize = arguments.number("rounds", 3)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let command = |name: &str| {
        let mut command = Command::new(&program);
        command.arg(name).arg("--dir").arg(&dir).stdout(Stdio::piped());
        command
    };
    for _ in 0..rounds {
        let mut victim = command("start-victim").spawn().map_err(|error| error.to_string())?;
        let out = victim.stdout.take().ok_or("no output of the victim")?;
        let said = BufReader::new(out).lines().next();
        if !matches!(said, Some(Ok(line)) if line == "appending") {
            return Err("the victim ended before it could be killed".into());
        }
        std::thread::sleep(Duration::from_millis(700));
        // SIGKILL on Unix.
        victim.kill().and_then(|()| victim.wait()).map_err(|error| error.to_string())?;
        let opened = command("start-open").output().map_err(|error| error.to_string())?;
        if !opened.status.success() {
            return Err("the log did not open after the kill".into());
        }
        print!("{}", String::from_utf8_lossy(&opened.stdout));
    }
    Ok(())
}

/// Appends until it is killed.
pub fn victim(arguments: &Arguments) -> Result<(), String> {
    let log = world::open_alone(&arguments.dir()?, world::config(Durability::Fsync))?;
    let target = Target::Log(Arc::new(log));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let (clock, source) = (world::clock(), Source::new(1_000, 100));
    println!("appending");
    loop {
        runtime.block_on(feed(&target, &*clock, &source, 16_384, 64, 64))?;
    }
}

pub fn open(arguments: &Arguments) -> Result<(), String> {
    let begun = Instant::now();
    let log = Arc::new(world::open(&arguments.dir()?, world::config(Durability::Fsync))?);
    let log_opened = begun.elapsed();
    let hub = Hub::open(log, world::clock(), Limits::default()).map_err(|error| error.to_string())?;
    world::tell("start_log", log_opened.as_secs_f64() * 1e3, "ms");
    world::tell("start_log_and_hub", begun.elapsed().as_secs_f64() * 1e3, "ms");
    drop(hub);
    Ok(())
}

/// What stays in memory: told without and with a hub, and after replays.
pub fn memory(arguments: &Arguments) -> Result<(), String> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let empty = world::memory_bytes("RssAnon");
    let log = Arc::new(world::open(&arguments.dir()?, world::config(Durability::Fsync))?);
    let hub = Hub::open(log.clone(), world::clock(), Limits::default()).map_err(|error| error.to_string())?;
    let topics = hub.stats().topics;
    let opened = world::memory_bytes("RssAnon");
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    for _ in 0..3 {
        runtime.block_on(replay(&log, world::NEEDLE))?;
    }
    let read = world::memory_bytes("RssAnon");
    let peak = world::memory_bytes("VmHWM");
    let target = Target::Log(log.clone());
    let (clock, source) = (world::clock(), Source::new(1_000, 100));
    runtime.block_on(feed(&target, &*clock, &source, 1_000_000, 64, 64))?;
    let appended = world::memory_bytes("RssAnon");
    world::tell("memory_empty", mib(empty), "MiB");
    world::tell("memory_topics", topics as f64, "topics");
    world::tell("memory_open", mib(opened), "MiB");
    world::tell("memory_after_replays", mib(read), "MiB");
    world::tell("memory_after_appends", mib(appended), "MiB");
    world::tell("memory_peak_resident", mib(peak), "MiB");
    let allowed = 64.0 + topics as f64 * 64.0 / f64::from(1 << 20);
    world::tell("memory_goal", allowed, "MiB");
    drop(hub);
    Ok(())
}
