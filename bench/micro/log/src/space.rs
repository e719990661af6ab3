//! A million topics of unlike lifetimes, for minutes: what the log takes on disk beside what is alive in it.
//!
//! Of ten topics six have a present value (`count` 1), three have events that live for seconds (`age_ms`), one has its
//! last ten. What is alive is counted here, from what was appended, and not by the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_hub::ports::{BoxFuture, Durability, Log, Outcome};
use tidings_hub::{Retention, Selector, TopicName};
use tidings_log::LogConfig;

use crate::arguments::Arguments;
use crate::world::{self, Chance};

/// Events of one submission.
const BATCH: usize = 512;
/// Sizes are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Submissions under way.
const IN_FLIGHT: usize = 8;
/// Events that a topic of the third kind keeps.
const RING: u64 = 10;
/// What a record has beside its data, about: a topic of this program, times, a length, a CRC.
const OVERHEAD_BYTES: u64 = 32 + 13;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = arguments.dir()?.join("space");
    let topics: usize = arguments.number("topics", 1_000_000)?;
    let rate: f64 = arguments.number("rate", 50_000.0)?;
    let time = Duration::from_secs(arguments.number("seconds", 600)?);
    let data_bytes: usize = arguments.number("data", 150)?;
    let age_ms: u64 = arguments.number("age-ms", 20_000)?;
    let every = Duration::from_secs(arguments.number("every", 10)?);
    _ = std::fs::remove_dir_all(&dir);
    let log = Arc::new(world::open_alone(&dir, config(age_ms)?)?);
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let names: Vec<TopicName> = (0..topics).map(name).collect::<Result<_, _>>()?;
    let (data, clock) = (Bytes::from(vec![b'x'; data_bytes]), world::clock());
    let mut alive = Alive::new(topics, age_ms);
    let mut chance = Chance::new(7);
    let begun = Instant::now();
    let (mut told, mut ticked, mut looked) = (begun, begun, begun);
    let (mut appended, mut worst, mut worst_segments, mut most_bytes) = (0u64, 0.0f64, 0.0f64, 0);
    let mut under_way: VecDeque<BoxFuture<Vec<Outcome>>> = VecDeque::new();
    while begun.elapsed() < time {
        let ahead = appended as f64 / rate - begun.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead));
        }
        let now_ms = begun.elapsed().as_millis() as u64;
        let ops = (0..BATCH).map(|at| {
            // Every topic once, then by chance.
            let seen = appended as usize + at;
            let topic = if seen < topics { seen } else { chance.below(topics) };
            alive.note(topic, now_ms);
            world::publish(&names[topic], &data)
        });
        under_way.push_back(log.submit(world::submission(ops.collect(), &*clock)));
        appended += BATCH as u64;
        if under_way.len() >= IN_FLIGHT
            && let Some(oldest) = under_way.pop_front()
        {
            world::check(&runtime.block_on(oldest))?;
        }
        if ticked.elapsed() >= Duration::from_secs(1) {
            ticked = Instant::now();
            log.tick();
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            let each = data_bytes as u64 + OVERHEAD_BYTES;
            let (live, on_disk) = (alive.events(now_ms) * each, files_bytes(&dir));
            let (segments, ratio) = (log.bytes().unwrap_or(0), on_disk as f64 / live as f64);
            most_bytes = most_bytes.max(on_disk);
            if begun.elapsed() > time / 2 {
                worst = worst.max(ratio);
                worst_segments = worst_segments.max(segments as f64 / live as f64);
            }
            if told.elapsed() >= every {
                told = Instant::now();
                println!(
                    "after {} s: {} MB appended, {} MB alive, {} MB of segments, {} MB on disk, {} MB of memory, {ratio:.2} x",
                    begun.elapsed().as_secs(),
                    appended * each / 1_000_000,
                    live / 1_000_000,
                    segments / 1_000_000,
                    on_disk / 1_000_000,
                    world::memory_bytes("RssAnon") / 1_000_000,
                );
            }
        }
    }
    for outcomes in under_way {
        world::check(&runtime.block_on(outcomes))?;
    }
    let took = begun.elapsed().as_secs_f64();
    runtime.block_on(log.shutdown());
    drop(log);
    world::tell("space_appended", (appended * (data_bytes as u64 + OVERHEAD_BYTES)) as f64 / 1e6, "MB");
    world::tell("space_rate", appended as f64 / took, "events/s");
    world::tell("space_most", most_bytes as f64 / 1e6, "MB on disk");
    world::tell("space_worst", worst, "of what is alive, all files, in the second half");
    world::tell("space_worst_segments", worst_segments, "of what is alive, segments, in the second half");
    _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

fn config(age_ms: u64) -> Result<LogConfig, String> {
    let rule = |pattern: &str, retention| {
        Selector::parse(pattern).map(|selector| (selector, retention)).map_err(|error| error.to_string())
    };
    let topic_retention = vec![
        rule("value/**", Retention { count: Some(1), ..Retention::default() })?,
        rule("short/**", Retention { age_ms: Some(age_ms), ..Retention::default() })?,
        rule("ring/**", Retention { count: Some(RING), ..Retention::default() })?,
    ];
    Ok(LogConfig { topic_retention, ..world::config(Durability::Fsync) })
}

fn name(number: usize) -> Result<TopicName, String> {
    let kind = match number % 10 {
        0..6 => "value",
        6..9 => "short",
        _ => "ring",
    };
    TopicName::parse(&format!("{kind}/{number:07}")).map_err(|error| error.to_string())
}

/// What was appended and is within its limits.
struct Alive {
    age_ms: u64,
    counts: Vec<u8>,
    kept: u64,
    short: VecDeque<u64>,
}

impl Alive {
    fn new(topics: usize, age_ms: u64) -> Self {
        Self { age_ms, counts: vec![0; topics], kept: 0, short: VecDeque::new() }
    }

    fn note(&mut self, topic: usize, now_ms: u64) {
        let limit = match topic % 10 {
            0..6 => 1,
            6..9 => return self.short.push_back(now_ms),
            _ => RING as u8,
        };
        if self.counts[topic] < limit {
            self.counts[topic] += 1;
            self.kept += 1;
        }
    }

    fn events(&mut self, now_ms: u64) -> u64 {
        while self.short.front().is_some_and(|then| then + self.age_ms < now_ms) {
            self.short.pop_front();
        }
        self.kept + self.short.len() as u64
    }
}

/// All files of the log, checkpoints and indexes too.
fn files_bytes(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
