//! One topic out of a large log: how soon its first event is there, how fast the rest comes, and how much slower
//! appends are meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_hub::ports::{Durability, Log, LogError, SeqRange, Want};
use tidings_hub::{Selector, Selectors, Seq};
use tidings_log::EmbeddedLog;

use crate::append::{Source, Target, feed};
use crate::arguments::Arguments;
use crate::world;

/// What the hub asks for at a time.
const PAGE_BYTES: usize = 256 << 10;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = arguments.dir()?;
    let rounds: usize = arguments.number("rounds", 200)?;
    let seconds: u64 = arguments.number("seconds", 3)?;
    let log = Arc::new(world::open_alone(&dir, world::config(Durability::Fsync))?);
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    // The first one brings the files into the system's cache.
    let cold = runtime.block_on(replay(&log, world::NEEDLE))?;
    world::tell("replay_needle_once", cold.events as f64 / cold.took.as_secs_f64(), "events/s");
    let (mut firsts, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        let round = runtime.block_on(replay(&log, world::NEEDLE))?;
        firsts.push(round.first.as_secs_f64() * 1e3);
        rates.push(round.events as f64 / round.took.as_secs_f64());
    }
    world::tell("replay_needle_events", cold.events as f64, "events");
    world::tell("replay_needle_first", median(&mut firsts), "ms");
    world::tell("replay_needle_first_worst", firsts.last().copied().unwrap_or(0.0), "ms");
    world::tell("replay_needle", median(&mut rates), "events/s");
    let all = runtime.block_on(replay_some(&log, "**", 1_000_000))?;
    world::tell("replay_all", all.events as f64 / all.took.as_secs_f64(), "events/s");
    beside(&log, seconds)
}

/// Appends alone and beside replays, by turns.
fn beside(log: &Arc<EmbeddedLog>, seconds: u64) -> Result<(), String> {
    let stop = AtomicBool::new(false);
    let reading = AtomicBool::new(false);
    let replayed = AtomicU64::new(0);
    let (mut alone, mut loaded) = (Vec::new(), Vec::new());
    let outcome = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
            while !stop.load(Ordering::Relaxed) {
                if !reading.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let round = runtime.block_on(replay(log, world::NEEDLE))?;
                replayed.fetch_add(round.events, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        });
        let mut work = || {
            for _ in 0..3 {
                for is_loaded in [false, true] {
                    reading.store(is_loaded, Ordering::Relaxed);
                    let rate = append_for(log, Duration::from_secs(seconds))?;
                    if is_loaded { loaded.push(rate) } else { alone.push(rate) }
                }
            }
            Ok::<(), String>(())
        };
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap_or_else(|_| Err("the reader panicked".into()));
        done.and(read)
    });
    outcome?;
    let (alone, loaded) = (median(&mut alone), median(&mut loaded));
    world::tell("append_alone", alone, "events/s");
    world::tell("append_beside_replays", loaded, "events/s");
    world::tell("append_beside_replays_share", loaded / alone, "of alone");
    let loaded_seconds = 3.0 * seconds as f64;
    world::tell(
        "replay_beside_appends",
        replayed.load(Ordering::Relaxed) as f64 / loaded_seconds,
        "events/s",
    );
    Ok(())
}

fn append_for(log: &Arc<EmbeddedLog>, time: Duration) -> Result<f64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let (target, clock) = (Target::Log(log.clone()), world::clock());
    let source = Source::new(1_000, 100);
    let (begun, mut events) = (Instant::now(), 0);
    while begun.elapsed() < time {
        runtime.block_on(feed(&target, &*clock, &source, 16_384, 64, 64))?;
        events += 16_384;
    }
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

pub struct Round {
    pub events: u64,
    pub first: Duration,
    pub took: Duration,
}

pub async fn replay(log: &EmbeddedLog, selector: &str) -> Result<Round, String> {
    replay_some(log, selector, u64::MAX).await
}

/// Replays as a hub does: page after page, the next one when the last is there.
async fn replay_some(log: &EmbeddedLog, selector: &str, events_max: u64) -> Result<Round, String> {
    let selector = Selector::parse(selector).map_err(|error| error.to_string())?;
    let want = Want::Topics(Arc::new(Selectors::new(vec![selector])));
    let last = log.bounds().head;
    let begun = Instant::now();
    let mut round = Round { events: 0, first: Duration::ZERO, took: Duration::ZERO };
    let mut from = Seq(1);
    while from <= last && round.events < events_max {
        let page = match log.read(want.clone(), SeqRange { first: from, last }, PAGE_BYTES).await {
            Ok(page) => page,
            Err(LogError::Busy) => continue,
            Err(error) => return Err(error.to_string()),
        };
        if round.events == 0 && !page.records.is_empty() {
            round.first = begun.elapsed();
        }
        round.events += page.records.len() as u64;
        from = page.through.next();
    }
    round.took = begun.elapsed();
    Ok(round)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
