//! The log in memory is the same port: judged alike, read alike, and bounded.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::sync::Arc;

use common::*;
use tidings_hub::ports::{Clock, Durability, Health, Log, Op, Outcome, Refusal, SeqRange, Submission, Want};
use tidings_hub::{Record, Retention, Selectors, Seq, TopicConfig};
use tidings_log::{LogConfig, MemoryLog};

struct Memory {
    log: MemoryLog,
    told: Told,
    clock: Arc<TestClock>,
}

impl Memory {
    fn open(config: LogConfig) -> Self {
        let clock = TestClock::at(1_000);
        let log = MemoryLog::open(clock.clone(), config).unwrap();
        let told = Told::default();
        log.attach(Box::new(told.clone())).unwrap();
        Self { log, told, clock }
    }

    fn one(&self, op: Op) -> Outcome {
        let time_ms = self.clock.wall_ms();
        now(self.log.submit(Submission { ops: vec![op], atomic: false, time_ms })).remove(0)
    }

    fn read(&self, want: Want, bytes_max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let mut first = Seq(1);
        while first <= self.log.bounds().head {
            let range = SeqRange { first, last: Seq(u64::MAX) };
            let page = now(self.log.read(want.clone(), range, bytes_max)).unwrap();
            records.extend(page.records);
            first = page.through.next();
        }
        records
    }

    fn data(&self, selector: &str) -> Vec<String> {
        self.read(topics(selector), 300).iter().map(text).collect()
    }
}

#[test]
fn it_is_judged_shown_and_read_like_the_one_on_disk() {
    let log = Memory::open(config());
    assert_eq!(log.log.bounds().durability, Durability::Memory);
    for n in 0..50 {
        committed(&log.one(keyed(["a", "b/1", "b/2"][n % 3], &n.to_string(), "k", n as u64)));
        committed(&log.one(ephemeral("a", "live only")));
    }
    assert!(matches!(log.one(keyed("a", "again", "k", 3)), Outcome::Held(held) if held.count == 50));
    assert_eq!(log.told.with(|told| told.records.len()), 100);
    assert_eq!(log.data("b/*").len(), 33);
    assert_eq!(log.data("a").len(), 17);
    assert_eq!(log.data("**").len(), 50);
    let exactly = Want::Exactly([Seq(1), Seq(2), Seq(5), Seq(9_999)].into());
    assert_eq!(log.read(exactly, 1).iter().map(|r| r.seq).collect::<Vec<_>>(), [Seq(1), Seq(5)]);
    committed(&log.one(Op::Delete { topic: topic("a") }));
    assert!(log.data("a").is_empty());
    assert_eq!(log.data("**").len(), 33);
    committed(&log.one(Op::Close { topic: topic("b/1") }));
    assert!(matches!(refused(&log.one(publish("b/1", "no"))), Some(Refusal::Closed { .. })));
    now(log.log.shutdown());
    assert_eq!(log.one(publish("a", "no")), Outcome::Refused(Refusal::Stopped));
    assert_eq!(log.log.health(), Health::Stopped);
}

#[test]
fn it_keeps_the_newest_bytes_and_tells_what_it_lost() {
    let log = Memory::open(LogConfig { memory_bytes: 40_000, ..config() });
    committed(&log.one(publish("quiet", "once")));
    for n in 0..1_000 {
        committed(&log.one(publish("busy", &n.to_string())));
    }
    let kept = log.data("busy");
    assert!((100..160).contains(&kept.len()), "{}", kept.len());
    let expected: Vec<String> = (1_000 - kept.len()..1_000).map(|n| n.to_string()).collect();
    assert_eq!(kept, expected);
    let oldest = log.log.bounds().oldest;
    let fold = log.told.with(|told| told.fold.clone());
    assert_eq!(fold.lost_through(&Selectors::one(topic("busy")), Seq::ZERO), oldest.prev());
    assert_eq!(fold.lost_through(&Selectors::one(topic("quiet")), Seq::ZERO), Seq(1));
}

#[test]
fn it_lets_go_by_age_and_by_limits_of_topics() {
    let log = Memory::open(LogConfig { retention_age_ms: Some(10_000), ..config() });
    let count = Retention { count: Some(2), ..Retention::default() };
    let age = Retention { age_ms: Some(3_000), ..Retention::default() };
    committed(&log.one(configure("count", TopicConfig { retention: count, ..TopicConfig::default() })));
    committed(&log.one(configure("age", TopicConfig { retention: age, ..TopicConfig::default() })));
    for n in 0..5 {
        for name in ["count", "age", "free"] {
            committed(&log.one(publish(name, &n.to_string())));
        }
        log.clock.pass(1_000);
    }
    log.log.tick();
    assert_eq!(log.data("count"), ["3", "4"]);
    assert_eq!(log.data("age"), ["2", "3", "4"]);
    assert_eq!(log.data("free").len(), 5);
    log.clock.pass(7_000);
    log.log.tick();
    assert_eq!(log.data("free"), ["2", "3", "4"]);
    log.clock.pass(70_000);
    log.log.tick();
    assert!(log.data("**").is_empty());
    assert_eq!(log.log.bounds().oldest, log.log.bounds().head.next());
}
