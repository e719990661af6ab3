//! What all measurements need: a clock, a log, topics, events, and a word on this process's memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidings_hub::ports::{Batch, Clock, Durability, Health, Log, Op, Outcome, Publish, Sink, Submission};
use tidings_hub::{TopicName, Topics};
use tidings_log::{EmbeddedLog, LogConfig};

pub const NEEDLE: &str = "needle";

struct Wall(Instant);

impl Clock for Wall {
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(Wall(Instant::now()))
}

pub fn config(durability: Durability) -> LogConfig {
    LogConfig { durability, retention_bytes: None, ..LogConfig::default() }
}

pub fn open(dir: &Path, config: LogConfig) -> Result<EmbeddedLog, String> {
    EmbeddedLog::open_dir(dir, clock(), config).map_err(|error| format!("{error}: {:?}", error))
}

/// Opens a log whose commits nobody looks at.
pub fn open_alone(dir: &Path, config: LogConfig) -> Result<EmbeddedLog, String> {
    let log = open(dir, config)?;
    log.attach(Box::new(Nobody)).map_err(|error| error.to_string())?;
    Ok(log)
}

struct Nobody;

impl Sink for Nobody {
    fn commit(&mut self, _: Batch) {}
    fn health(&mut self, _: Health) {}
}

pub fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "fsync" => Ok(Durability::Fsync),
        "os" => Ok(Durability::Os),
        other => Err(format!("--durability {other}: fsync or os")),
    }
}

pub fn topic(number: usize) -> TopicName {
    TopicName::parse(&format!("many/{number:07}")).expect("it is a name")
}

pub fn needle() -> TopicName {
    TopicName::parse(NEEDLE).expect("it is a name")
}

pub fn publish(topic: &TopicName, data: &Bytes) -> Op {
    Op::Publish(Publish {
        topics: Topics::from_iter([topic.clone()]),
        private: false,
        id: None,
        event: None,
        retry_ms: None,
        data: data.clone(),
        utf8: true,
        ephemeral: false,
        once: None,
    })
}

pub fn submission(ops: Vec<Op>, clock: &dyn Clock) -> Submission {
    Submission { ops, atomic: false, time_ms: clock.wall_ms() }
}

pub fn check(outcomes: &[Outcome]) -> Result<(), String> {
    match outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Committed { stored: true, .. })) {
        None => Ok(()),
        Some(other) => Err(format!("an event was not appended: {other:?}")),
    }
}

/// A fixed pseudo-random sequence: every run has the same topics in the same order.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// A line of `/proc/self/status`, in bytes; 0 where there is no such file.
pub fn memory_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

pub fn tell(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
