//! What goes, when, and how it is told: the whole log by bytes and age, topics by limits of their own.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::Log;
use tidings_hub::{Retention, Selector, Selectors, Seq, TopicConfig};
use tidings_log::LogConfig;
use tidings_testkit::disk::{Call, Fault, SimDisk};

fn open(disk: &SimDisk, clock: &std::sync::Arc<TestClock>, config: LogConfig) -> Manual {
    Manual::open(disk.clone(), clock, config).unwrap()
}

#[test]
fn by_bytes_the_oldest_segments_go_and_each_topic_is_told_its_own_loss() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1);
    let config = LogConfig { retention_bytes: Some(5_000), ..config() };
    let mut log = open(&disk, &clock, config.clone());
    let quiet = log.publish("quiet", "once");
    let mut busy = Vec::new();
    for n in 0..300 {
        busy.push((log.publish("busy", &format!("{n}")), format!("{n}")));
    }
    let check = |log: &Manual| {
        let oldest = log.log.bounds().oldest;
        assert!(oldest > Seq(100), "{oldest:?}");
        let kept: Vec<_> =
            busy.iter().filter(|(seq, _)| *seq >= oldest).map(|(_, data)| data.clone()).collect();
        assert_eq!(log.data("busy"), kept);
        assert_eq!(log.data("quiet"), [] as [&str; 0]);
        let fold = log.fold();
        let lost = |name: &str, after| fold.lost_through(&Selectors::one(topic(name)), after);
        assert_eq!(lost("busy", Seq::ZERO), oldest.prev());
        assert!(lost("quiet", Seq::ZERO) >= quiet);
    };
    check(&log);
    assert!(disk.bytes() < 9_000, "{}", disk.bytes());
    log.end();
    let log = open(&disk, &clock, config.clone());
    check(&log);
    let disk = disk.kill();
    check(&open(&disk, &clock, config));
}

#[test]
fn by_age_even_the_last_segment_goes_when_nothing_comes() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = open(&disk, &clock, LogConfig { retention_age_ms: Some(80_000), ..config() });
    log.publish("a", "old");
    for _ in 0..79 {
        clock.pass(1_000);
        log.tick();
    }
    assert_eq!(log.data("a"), ["old"], "not before its age");
    clock.pass(12_000);
    log.tick();
    assert!(log.data("a").is_empty());
    let bounds = log.log.bounds();
    assert_eq!(bounds.oldest, bounds.head.next());
    assert_eq!(log.publish("a", "new"), Seq(2));
    let disk = disk.kill();
    let log = open(&disk, &clock, config());
    assert_eq!(log.data("a"), ["new"]);
    assert_eq!(log.fold().lost_through(&Selectors::one(topic("a")), Seq::ZERO), Seq(1));
}

#[test]
fn a_jump_of_the_clock_empties_nothing() {
    let clock = TestClock::at(1_000_000);
    let mut log = open(&SimDisk::seeded(1), &clock, LogConfig { retention_age_ms: Some(80_000), ..config() });
    log.publish("a", "kept");
    clock.jump_to(4_000_000_000_000);
    for _ in 0..5 {
        clock.pass(1_000);
        log.tick();
    }
    assert_eq!(log.data("a"), ["kept"]);
    clock.jump_to(0);
    log.tick();
    assert_eq!(log.data("a"), ["kept"]);
}

fn limited(retention: Retention) -> TopicConfig {
    TopicConfig { retention, ..TopicConfig::default() }
}

#[test]
fn a_topic_keeps_its_newest_events_by_count_and_by_bytes() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1);
    let mut log = open(&disk, &clock, config());
    log.done(configure("count", limited(Retention { count: Some(3), ..Retention::default() })));
    log.done(configure("bytes", limited(Retention { bytes: Some(10), ..Retention::default() })));
    for n in 0..50 {
        log.publish("count", &format!("{n:05}"));
        log.publish("bytes", &format!("{n:04}"));
        log.publish("free", "x");
    }
    log.tick();
    let check = |log: &Manual| {
        assert_eq!(log.data("count"), ["00047", "00048", "00049"]);
        assert_eq!(log.data("bytes"), ["0048", "0049"], "eight bytes; twelve would be over");
        assert_eq!(log.data("free").len(), 50);
    };
    check(&log);
    let trims = log.told.with(|told| told.records.iter().filter(|r| r.event().is_none()).count());
    log.tick();
    log.tick();
    assert_eq!(log.told.with(|told| told.records.iter().filter(|r| r.event().is_none()).count()), trims);
    let disk = disk.kill();
    let mut log = open(&disk, &clock, config());
    check(&log);
    log.publish("count", "00050");
    log.tick();
    assert_eq!(log.data("count"), ["00048", "00049", "00050"]);
}

#[test]
fn a_topic_lets_events_go_by_age_when_nothing_else_happens() {
    let clock = TestClock::at(1_000);
    let mut log = open(&SimDisk::seeded(1), &clock, config());
    log.done(configure("a", limited(Retention { age_ms: Some(10_000), ..Retention::default() })));
    for n in 0..6 {
        log.publish("a", &n.to_string());
        clock.pass(2_000);
    }
    log.tick();
    assert_eq!(log.data("a"), ["1", "2", "3", "4", "5"]);
    clock.pass(4_000);
    log.tick();
    assert_eq!(log.data("a"), ["3", "4", "5"]);
    clock.pass(60_000);
    log.tick();
    assert!(log.data("a").is_empty());
}

#[test]
fn a_look_that_fails_is_taken_again_though_nothing_else_happens() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = open(&disk, &clock, config());
    log.done(configure("a", limited(Retention { age_ms: Some(10_000), ..Retention::default() })));
    log.publish("a", "old");
    disk.fail(Fault { call: Call::Read, after: 0, kind: std::io::ErrorKind::Other });
    for _ in 0..200 {
        clock.pass(1_000);
        log.tick();
    }
    assert_eq!(disk.struck(), 1, "the look met the fault");
    assert_eq!(log.data("a"), [] as [&str; 0]);
}

#[test]
fn a_pattern_gives_limits_to_topics_that_declare_none() {
    let clock = TestClock::at(1);
    let three = Retention { count: Some(3), ..Retention::default() };
    let one = Retention { count: Some(1), ..Retention::default() };
    let topic_retention = vec![(Selector::parse("chat/*").unwrap(), three)];
    let mut log = open(&SimDisk::seeded(1), &clock, LogConfig { topic_retention, ..config() });
    log.done(configure("chat/own", limited(one)));
    for n in 0..10 {
        for name in ["chat/a", "chat/own", "other"] {
            log.publish(name, &n.to_string());
        }
    }
    log.tick();
    assert_eq!(log.data("chat/a"), ["7", "8", "9"]);
    assert_eq!(log.data("chat/own"), ["9"]);
    assert_eq!(log.data("other").len(), 10);
}

fn named(topic: &str, name: &str) -> tidings_hub::ports::Op {
    let event_name = Some(tidings_hub::EventName::parse(name).unwrap());
    tidings_hub::ports::Op::Publish(tidings_hub::ports::Publish { event: event_name, ..event(&[topic], "") })
}

#[test]
fn the_newest_event_survives_the_limits_of_its_topic_unless_it_is_a_tombstone() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000);
    let kept = Retention { age_ms: Some(10_000), bytes: Some(3), keep_last: true, ..Retention::default() };
    let topic_retention = vec![(Selector::parse("scores/*").unwrap(), kept)];
    let config = LogConfig { topic_retention, ..config() };
    let mut log = open(&disk, &clock, config.clone());
    log.publish("scores/1", "old");
    log.publish("scores/1", "longer than three bytes");
    log.publish("scores/2", "7");
    log.tick();
    assert_eq!(log.data("scores/1"), ["longer than three bytes"], "past the bytes, and kept");
    log.done(configure("own", limited(kept)));
    log.publish("own", "first");
    log.done(named("gone", "message"));
    log.done(named("scores/2", "tidings.tombstone"));
    clock.pass(20_000);
    log.tick();
    let check = |log: &Manual| {
        assert_eq!(log.data("scores/1"), ["longer than three bytes"]);
        assert_eq!(log.data("own"), ["first"]);
        assert!(log.data("scores/2").is_empty(), "a tombstone ends it");
    };
    check(&log);
    let trims = log.told.with(|told| told.records.len());
    log.tick();
    assert_eq!(log.told.with(|told| told.records.len()), trims, "what is kept is not looked at for ever");
    let disk = disk.kill();
    let mut log = open(&disk, &clock, config);
    check(&log);
    log.publish("scores/1", "8");
    log.tick();
    assert_eq!(log.data("scores/1"), ["8"], "the one before was past its age, and is the newest no more");
    log.done(tidings_hub::ports::Op::Delete { topic: topic("scores/1") });
    assert!(log.data("scores/1").is_empty());
}

#[test]
fn the_newest_event_stays_also_where_no_index_can_be_made() {
    let clock = TestClock::at(1_000_000);
    let disk = SimDisk::seeded(3);
    let mut log = Manual::open(disk.clone(), &clock, config()).unwrap();
    log.publish("quiet", "kept");
    for n in 0..40 {
        log.publish("busy", &format!("{n} {}", "x".repeat(60)));
    }
    log.end();
    for name in disk.names().iter().filter(|name| name.ends_with(".idx")) {
        disk.remove(name);
    }
    let small = LogConfig { retention_bytes: Some(1_500), retention_keep_last: true, ..config() };
    let mut log = Manual::open(disk.clone(), &clock, small).unwrap();
    disk.set_capacity(Some(disk.bytes()));
    for _ in 0..5 {
        clock.pass(60_000);
        log.tick();
    }
    assert_eq!(log.data("quiet"), ["kept"]);
    disk.set_capacity(None);
    for _ in 0..5 {
        clock.pass(60_000);
        log.tick();
    }
    assert_eq!(log.data("quiet"), ["kept"]);
    assert!(log.data("busy").len() < 40, "and the rest goes when one can be made");
}
