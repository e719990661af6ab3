//! What the tests of the log share: a clock that is told the time, short ways to say operations, and a sink.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tidings_hub::fold::Fold;
use tidings_hub::ports::{
    Batch, Clock, Health, Log, LogError, Op, Outcome, Page, Publish, Refusal, SeqRange, Sink, Submission,
    Want,
};
use tidings_hub::{
    ItemKey, Once, Producer, Record, Selector, Selectors, Seq, TopicConfig, TopicName, Topics,
};
use tidings_log::{Disk, EmbeddedLog, LogConfig, OpenError, Pump};

pub struct TestClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl TestClock {
    pub fn at(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { wall_ms: AtomicU64::new(wall_ms), monotonic_ms: AtomicU64::new(0) })
    }

    pub fn pass(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn jump_to(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::Relaxed)
    }
}

/// What a log told its sink.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<ToldInner>>);

#[derive(Default)]
pub struct ToldInner {
    pub records: Vec<Record>,
    pub fold: Fold,
    pub trimmed: Vec<tidings_hub::ports::Trimmed>,
    pub health: Vec<Health>,
    /// Places that were written off before it was attached.
    pub lost: Vec<SeqRange>,
}

impl Told {
    pub fn with<T>(&self, look: impl FnOnce(&mut ToldInner) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl Sink for Told {
    fn commit(&mut self, batch: Batch) {
        self.with(|told| {
            if let Some(trimmed) = batch.trimmed {
                told.fold.trim(&trimmed);
                told.trimmed.push(trimmed);
            }
            batch.records.iter().for_each(|record| told.fold.apply(record));
            told.records.extend(batch.records);
        });
    }

    fn health(&mut self, health: Health) {
        self.with(|told| told.health.push(health));
    }
}

/// A log whose writer works when it is told to, so that nothing depends on threads.
pub struct Manual {
    pub log: EmbeddedLog,
    pub pump: Option<Pump>,
    pub told: Told,
    pub clock: Arc<TestClock>,
}

/// Small segments, no threads.
pub fn config() -> LogConfig {
    LogConfig { segment_bytes: 1_024, read_threads: 0, ..LogConfig::default() }
}

impl Manual {
    pub fn open(disk: impl Disk, clock: &Arc<TestClock>, config: LogConfig) -> Result<Self, OpenError> {
        let (log, pump) = EmbeddedLog::open_manual(Arc::new(disk), clock.clone(), config)?;
        let told = Told::default();
        let snapshot = log.attach(Box::new(told.clone())).unwrap();
        told.with(|told| (told.fold, told.lost) = (snapshot.fold, snapshot.lost.to_vec()));
        Ok(Self { log, pump: Some(pump), told, clock: Arc::clone(clock) })
    }

    pub fn pump(&mut self) {
        while self.pump.as_mut().is_some_and(Pump::step) {}
    }

    /// Handles what was submitted, with a keeper that is too slow to do anything yet.
    pub fn pump_alone(&mut self) {
        while self.pump.as_mut().is_some_and(Pump::turn) {}
    }

    /// One of the keeper's jobs.
    pub fn keep(&mut self) -> bool {
        self.pump.as_mut().is_some_and(Pump::keep)
    }

    pub fn submit(&mut self, ops: Vec<Op>, atomic: bool) -> Vec<Outcome> {
        let outcomes = self.log.submit(Submission { ops, atomic, time_ms: self.clock.wall_ms() });
        self.pump();
        now(outcomes)
    }

    pub fn one(&mut self, op: Op) -> Outcome {
        self.submit(vec![op], false).remove(0)
    }

    /// An operation that has to be accepted, and its place.
    #[track_caller]
    pub fn done(&mut self, op: Op) -> Seq {
        committed(&self.one(op))
    }

    /// Publishes one event that has to be accepted, and gives its place.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, data: &str) -> Seq {
        self.done(publish(topic, data))
    }

    /// The fold as a hub that was attached from the start on would have it.
    pub fn fold(&self) -> Fold {
        self.told.with(|told| told.fold.clone())
    }

    pub fn tick(&mut self) {
        self.log.tick();
        self.pump();
    }

    /// Ends cleanly.
    pub fn end(mut self) {
        self.pump.take().unwrap().finish();
    }

    pub fn page(&self, want: Want, first: u64, bytes_max: usize) -> Result<Page, LogError> {
        let range = SeqRange { first: Seq(first), last: Seq(u64::MAX) };
        now(self.log.read(want, range, bytes_max))
    }

    /// All events that a pattern selects, page by page.
    pub fn try_all(&self, selector: &str) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        let mut from = 1;
        loop {
            let page = self.page(topics(selector), from, 700)?;
            records.extend(page.records);
            assert!(page.through.0 >= from || page.through >= self.log.bounds().head, "a page gets on");
            if page.through >= self.log.bounds().head {
                return Ok(records);
            }
            from = page.through.0 + 1;
        }
    }

    /// The same, where nothing can go wrong.
    pub fn all(&self, selector: &str) -> Vec<Record> {
        self.try_all(selector).unwrap()
    }

    /// The data of all events that a pattern selects.
    pub fn data(&self, selector: &str) -> Vec<String> {
        self.all(selector).iter().map(text).collect()
    }
}

/// An event's data; nothing for a control record.
/// Where the last batch of a segment's content ends, if its data does not end in zeros: behind it is room for more.
pub fn batches_end(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

pub fn text(record: &Record) -> String {
    record.event().map_or_else(String::new, |event| String::from_utf8(event.data.to_vec()).unwrap())
}

/// The answer of a future that must be there.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not answered yet"),
    }
}

#[track_caller]
pub fn committed(outcome: &Outcome) -> Seq {
    match outcome {
        Outcome::Committed { position, .. } => position.seq,
        other => panic!("not committed: {other:?}"),
    }
}

pub fn topics(selector: &str) -> Want {
    Want::Topics(Arc::new(Selectors::new(vec![Selector::parse(selector).unwrap()])))
}

pub fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub fn event(topics: &[&str], data: &str) -> Publish {
    Publish {
        topics: topics.iter().map(|name| topic(name)).collect::<Topics>(),
        private: false,
        id: None,
        event: None,
        retry_ms: None,
        data: Bytes::copy_from_slice(data.as_bytes()),
        utf8: true,
        ephemeral: false,
        once: None,
    }
}

pub fn publish(topic: &str, data: &str) -> Op {
    Op::Publish(event(&[topic], data))
}

pub fn keyed(topic: &str, data: &str, key: &str, index: u64) -> Op {
    let once = Some(Once::Item(ItemKey { key: key.into(), index }));
    Op::Publish(Publish { once, ..event(&[topic], data) })
}

pub fn numbered(topic: &str, data: &str, id: &str, epoch: u64, seq: u64) -> Op {
    let once = Some(Once::Producer(Producer { id: id.into(), epoch, seq }));
    Op::Publish(Publish { once, ..event(&[topic], data) })
}

pub fn ephemeral(topic: &str, data: &str) -> Op {
    Op::Publish(Publish { ephemeral: true, ..event(&[topic], data) })
}

pub fn configure(name: &str, config: TopicConfig) -> Op {
    Op::Configure { topic: topic(name), config }
}

pub fn refused(outcome: &Outcome) -> Option<&Refusal> {
    match outcome {
        Outcome::Refused(refusal) => Some(refusal),
        _ => None,
    }
}
