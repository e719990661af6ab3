//! A log like one that has run for long: many topics, and one of them with events all over it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidings_hub::ports::{Durability, Log};

use crate::arguments::Arguments;
use crate::world::{self, Chance};

/// Events of one submission.
const BATCH: usize = 512;
/// Submissions under way.
const IN_FLIGHT: usize = 8;
/// What a record has beside topic and data, about.
const OVERHEAD_BYTES: usize = 32;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = arguments.dir()?;
    let gib: f64 = arguments.number("gib", 10.0)?;
    let topics: usize = arguments.number("topics", 1_000_000)?;
    let needles: usize = arguments.number("needles", 10_000)?;
    let data_bytes: usize = arguments.number("data", 1_000)?;
    let events = (gib * (1u64 << 30) as f64 / (data_bytes + OVERHEAD_BYTES + 12) as f64) as usize;
    let every = (events / needles.max(1)).max(1);
    let log: Arc<dyn Log> = Arc::new(world::open_alone(&dir, world::config(Durability::Fsync))?);
    let clock = world::clock();
    let names: Vec<_> = (0..topics).map(world::topic).collect();
    let (needle, data) = (world::needle(), Bytes::from(vec![b'x'; data_bytes]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let begun = Instant::now();
    let mut chance = Chance::new(7);
    let mut put = 0;
    runtime.block_on(async {
        let mut under_way = std::collections::VecDeque::new();
        let mut at = 0;
        while at < events {
            let end = (at + BATCH).min(events);
            let ops = (at..end).map(|at| {
                if at % every == every / 2 && put < needles {
                    put += 1;
                    return world::publish(&needle, &data);
                }
                // Every topic once, then by chance.
                let topic = if at < topics { at } else { chance.below(topics) };
                world::publish(&names[topic], &data)
            });
            under_way.push_back(log.submit(world::submission(ops.collect(), &*clock)));
            if under_way.len() >= IN_FLIGHT
                && let Some(oldest) = under_way.pop_front()
            {
                world::check(&oldest.await)?;
            }
            at = end;
        }
        for outcomes in under_way {
            world::check(&outcomes.await)?;
        }
        log.shutdown().await;
        Ok::<(), String>(())
    })?;
    world::tell("generate", events as f64 / begun.elapsed().as_secs_f64(), "events/s");
    world::tell("generated", events as f64, "events");
    world::tell("generated_needles", put as f64, "events");
    Ok(())
}
