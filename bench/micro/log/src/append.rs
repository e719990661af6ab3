//! Events per second of `EmbeddedLog::submit`: some submissions always under way, as many publishers would have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidings_hub::ports::{BoxFuture, Clock, Log, Outcome, Submission};
use tidings_hub::{Hub, Limits, TopicName};

use crate::arguments::Arguments;
use crate::world;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = arguments.dir()?.join("append");
    let events: usize = arguments.number("events", 2_000_000)?;
    let batch: usize = arguments.number("batch", 64)?;
    let data_bytes = arguments.number("data", 100)?;
    let topics = arguments.number("topics", 1_000)?;
    let in_flight = arguments.number("in-flight", 64)?;
    let durability = world::durability(arguments.text("durability", "fsync"))?;
    let hub = arguments.text("hub", "no") == "yes";
    _ = std::fs::remove_dir_all(&dir);
    let log = Arc::new(world::open(&dir, world::config(durability))?);
    let clock = world::clock();
    let target = if hub {
        let hub = Hub::open(log.clone(), world::clock(), Limits::default());
        Target::Hub(hub.map_err(|error| error.to_string())?)
    } else {
        log.attach(Box::new(Nobody)).map_err(|error| error.to_string())?;
        Target::Log(log.clone())
    };
    let source = Source::new(topics, data_bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    // What is made once (segments, tables, the allocator's pools) is not what is measured.
    runtime.block_on(feed(&target, &*clock, &source, events / 10, batch, in_flight))?;
    let begun = Instant::now();
    runtime.block_on(feed(&target, &*clock, &source, events, batch, in_flight))?;
    let took = begun.elapsed();
    drop((target, log));
    _ = std::fs::remove_dir_all(&dir);
    world::tell("append", events as f64 / took.as_secs_f64(), "events/s");
    Ok(())
}

struct Nobody;

impl tidings_hub::ports::Sink for Nobody {
    fn commit(&mut self, _: tidings_hub::ports::Batch) {}
    fn health(&mut self, _: tidings_hub::ports::Health) {}
}

pub enum Target {
    Log(Arc<dyn Log>),
    Hub(Hub),
}

impl Target {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        match self {
            Self::Log(log) => log.submit(submission),
            Self::Hub(hub) => {
                let hub = hub.clone();
                Box::pin(async move { hub.submit(submission).await })
            }
        }
    }
}

/// Where events come from.
pub struct Source {
    topics: Vec<TopicName>,
    data_bytes: usize,
}

impl Source {
    pub fn new(topics: usize, data_bytes: usize) -> Self {
        Self { topics: (0..topics).map(world::topic).collect(), data_bytes }
    }

    fn batch(&self, first: usize, count: usize, clock: &dyn Clock) -> Submission {
        let topic = |at: usize| &self.topics[at.wrapping_mul(7_919) % self.topics.len()];
        // As it comes over the wire: the events of a body are parts of one buffer.
        let mut body = Bytes::from(vec![b'x'; count * self.data_bytes]);
        let mut data = || body.split_to(self.data_bytes);
        let ops = (first..first + count).map(|at| world::publish(topic(at), &data())).collect();
        world::submission(ops, clock)
    }
}

/// Appends `events`, `batch` at a time, with `in_flight` submissions under way.
pub async fn feed(
    target: &Target,
    clock: &dyn Clock,
    source: &Source,
    events: usize,
    batch: usize,
    in_flight: usize,
) -> Result<(), String> {
    let mut under_way: VecDeque<BoxFuture<Vec<Outcome>>> = VecDeque::new();
    let mut sent = 0;
    while sent < events {
        let count = batch.min(events - sent);
        // The first poll submits to a hub; it is not waited for.
        let mut next = target.submit(source.batch(sent, count, clock));
        if let std::task::Poll::Ready(outcomes) = futures_poll(&mut next) {
            world::check(&outcomes)?;
        } else {
            under_way.push_back(next);
        }
        sent += count;
        if under_way.len() >= in_flight
            && let Some(oldest) = under_way.pop_front()
        {
            world::check(&oldest.await)?;
        }
    }
    for outcomes in under_way {
        world::check(&outcomes.await)?;
    }
    Ok(())
}

fn futures_poll(future: &mut BoxFuture<Vec<Outcome>>) -> std::task::Poll<Vec<Outcome>> {
    future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
