//! What makes repetitions known never lags the data: whoever sends again after any crash is there once, in order.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::keys::KeyWindow;
use tidings_hub::ports::{Op, Outcome, Refusal};
use tidings_hub::{Retention, Selector};
use tidings_log::LogConfig;
use tidings_testkit::disk::SimDisk;

/// How an event is made known.
type Known = fn(u64, &str) -> Op;

/// A publisher that loses power, is killed, loses answers, and each time sends its last batch again.
struct Story {
    disk: SimDisk,
    log: Option<Manual>,
    random: u64,
    config: LogConfig,
}

impl Story {
    fn up_to(&mut self, max: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % (max + 1)
    }

    fn start(&mut self) {
        self.log = None;
        while self.log.is_none() {
            if self.disk.is_dark() {
                self.disk = self.disk.power_on();
                if self.up_to(3) == 0 {
                    let calls = 1 + self.up_to(20);
                    self.disk.lose_power_in(calls);
                }
            }
            let opened = Manual::open(self.disk.clone(), &TestClock::at(1), self.config.clone());
            match opened {
                Ok(log) if !self.disk.is_dark() => self.log = Some(log),
                Err(error) if !self.disk.is_dark() => panic!("it does not start: {error}"),
                _ => {}
            }
        }
    }

    fn send(&mut self, ops: Vec<Op>) -> Option<Vec<Outcome>> {
        let outcomes = self.log.as_mut().unwrap().submit(ops, self.random.is_multiple_of(3));
        let failed = outcomes.iter().any(|it| matches!(it, Outcome::Refused(Refusal::Failed)));
        (!failed && !self.disk.is_dark()).then_some(outcomes)
    }

    fn run(seed: u64, known: Known, config: LogConfig) {
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut story = Self { disk: SimDisk::seeded(seed), log: None, random, config };
        story.start();
        let mut next = 0;
        while next < 60 {
            let count = 1 + story.up_to(3);
            let ops = || (next..next + count).map(|n| known(n, &format!("e{n}"))).collect::<Vec<_>>();
            if story.up_to(2) == 0 {
                let calls = 1 + story.up_to(12);
                story.disk.lose_power_in(calls);
            }
            loop {
                if let Some(outcomes) = story.send(ops()) {
                    let held = |outcome: &Outcome| {
                        matches!(outcome, Outcome::Committed { .. } | Outcome::Repeated(_) | Outcome::Held(_))
                    };
                    assert!(outcomes.iter().all(held), "seed {seed}: {outcomes:?}");
                    if story.up_to(3) > 0 {
                        break;
                    }
                    // The answer is lost.
                } else if !story.disk.is_dark() {
                    story.disk = story.disk.kill();
                    story.start();
                } else {
                    story.start();
                }
            }
            next += count;
            if story.disk.is_dark() {
                story.start();
            }
            match story.up_to(5) {
                0 => {
                    story.disk = story.disk.kill();
                    story.start();
                }
                1 => {
                    story.disk.lose_power();
                    story.start();
                }
                2 => {
                    if let Some(log) = story.log.take() {
                        log.end();
                    }
                    story.start();
                }
                _ => {}
            }
        }
        story.disk.lose_power();
        let log = Manual::open(story.disk.power_on(), &TestClock::at(1), story.config).unwrap();
        let expected: Vec<String> = (0..next).map(|n| format!("e{n}")).collect();
        assert_eq!(log.data("a"), expected, "seed {seed}");
    }
}

#[test]
fn whatever_crashes_each_event_of_a_producer_is_there_once_and_in_order() {
    for seed in 0..150 {
        Story::run(seed, |n, data| numbered("a", data, "p", 1, n), config());
    }
}

#[test]
fn whatever_crashes_each_item_of_a_key_is_there_once_and_in_order() {
    for seed in 0..150 {
        Story::run(seed, |n, data| keyed("a", data, "k", n), config());
    }
}

#[test]
fn a_producer_is_known_when_its_events_are_gone() {
    let disk = SimDisk::seeded(1);
    let limits = Retention { count: Some(1), ..Retention::default() };
    let config = LogConfig {
        retention_bytes: Some(2_048),
        topic_retention: vec![(Selector::parse("**").unwrap(), limits)],
        ..config()
    };
    let clock = TestClock::at(1);
    let mut log = Manual::open(disk.clone(), &clock, config.clone()).unwrap();
    log.done(numbered("a", "zero", "p", 4, 0));
    let last = log.done(numbered("a", "one", "p", 4, 1));
    for n in 0..100 {
        log.publish("b", &format!("{n} {}", "x".repeat(80)));
        clock.pass(1_000);
        log.tick();
    }
    assert!(log.data("a").is_empty() || log.data("a") == ["one"]);
    drop(log);
    let mut log = Manual::open(disk.kill(), &clock, config).unwrap();
    let again = log.one(numbered("a", "one", "p", 4, 1));
    assert!(
        matches!(again, Outcome::Repeated(held) if held.position().map(|at| at.seq) == Some(last)),
        "{again:?}"
    );
    let again = log.one(numbered("a", "zero", "p", 4, 0));
    assert!(matches!(again, Outcome::Repeated(held) if held.position().is_none()), "{again:?}");
    let stale = log.one(numbered("a", "x", "p", 3, 2));
    assert!(matches!(stale, Outcome::Refused(Refusal::StaleEpoch { current: 4, got: 3 })), "{stale:?}");
    assert!(matches!(
        log.one(numbered("a", "x", "p", 4, 3)),
        Outcome::Refused(Refusal::ProducerAhead { .. })
    ));
    log.done(numbered("a", "two", "p", 4, 2));
}

#[test]
fn what_is_past_the_window_is_forgotten_by_a_start_too() {
    let disk = SimDisk::seeded(1);
    let window = KeyWindow { age_ms: 10_000, count: 5 };
    let config = LogConfig { key_window: window, segment_bytes: 1 << 20, ..config() };
    let clock = TestClock::at(1_000);
    let mut log = Manual::open(disk.clone(), &clock, config.clone()).unwrap();
    for n in 0..8 {
        log.done(numbered("a", "x", &format!("p{n}"), 0, 0));
    }
    drop(log);
    let disk = disk.kill();
    let mut log = Manual::open(disk.clone(), &clock, config.clone()).unwrap();
    for (n, is_known) in (0..8).map(|n| (n, n >= 3)) {
        let outcome = log.one(numbered("a", "x", &format!("p{n}"), 0, 1));
        assert_eq!(matches!(outcome, Outcome::Committed { .. }), is_known, "{n}: {outcome:?}");
    }
    clock.pass(10_001);
    log.tick();
    log.publish("a", "time passes");
    assert!(matches!(
        log.one(numbered("a", "x", "p7", 0, 2)),
        Outcome::Refused(Refusal::ProducerAhead { expected: 0, got: 2 })
    ));
}
