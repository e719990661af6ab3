//! What upkeep comes to: a quiet log rests, what is dead goes whenever it died, and what cannot be mended stops nothing else.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::Op;
use tidings_hub::{Retention, Selector};
use tidings_log::LogConfig;
use tidings_testkit::disk::SimDisk;

/// Hours go by and nothing comes: what there was to do is done at some time, and then nothing is written any more.
fn rests(limits: LogConfig, ops: impl Fn(u64) -> Op) {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = Manual::open(disk.clone(), &clock, limits).unwrap();
    for n in 0..60 {
        log.done(ops(n));
    }
    let mut hours = |count: u64| {
        for _ in 0..count {
            clock.pass(3_600_000);
            log.tick();
        }
    };
    hours(100);
    let calls = disk.calls();
    hours(100);
    assert_eq!(disk.calls(), calls, "{:?}", disk.names());
}

fn values() -> LogConfig {
    let value = Retention { count: Some(1), ..Retention::default() };
    LogConfig { topic_retention: vec![(Selector::parse("value/**").unwrap(), value)], ..config() }
}

#[test]
fn a_quiet_log_of_present_values_rests() {
    rests(values(), |n| publish(&format!("value/{}", n % 40), &format!("{n} {}", "x".repeat(40))));
}

#[test]
fn what_cannot_be_smaller_is_not_written_anew_for_ever() {
    // Each event is kept for the sake of its last topic alone.
    rests(values(), |n| {
        Op::Publish(event(&["value/a", "value/b", "all"], &format!("{n} {}", "x".repeat(40))))
    });
}

/// A compaction may be under way when something is deleted that it has found alive, or it may be over and not looked at.
#[test]
fn what_is_deleted_at_any_moment_leaves_the_disk() {
    for moment in 1..40 {
        let disk = SimDisk::seeded(1);
        let clock = TestClock::at(1_000_000);
        let mut log = Manual::open(disk.clone(), &clock, values()).unwrap();
        for n in 0..60 {
            let name = if n % 5 == 4 { "all".to_owned() } else { format!("value/{}", n % 4) };
            log.done(publish(&name, &format!("{n} {}", "x".repeat(40))));
            if n == 7 {
                log.done(publish("secret", "nobody shall find this"));
            }
        }
        let mut jobs = 0;
        for _ in 0..30 {
            clock.pass(2_000);
            log.log.tick();
            log.pump_alone();
            while log.keep() {
                jobs += 1;
                if jobs == moment {
                    log.done(Op::Delete { topic: topic("secret") });
                }
            }
        }
        if jobs < moment {
            assert!(moment > 6, "there is much to do: {jobs} jobs");
            break;
        }
        for _ in 0..80 {
            clock.pass(3_600_000);
            log.tick();
        }
        let is_there = |name: &String| {
            let content = disk.content(name).unwrap_or_default();
            content.windows(22).any(|part| part == b"nobody shall find this")
        };
        let found: Vec<String> = disk.names().into_iter().filter(is_there).collect();
        assert!(found.is_empty(), "deleted after job {moment} of {jobs}: {found:?}");
    }
}

#[test]
fn a_segment_that_cannot_be_written_anew_stops_no_others() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = Manual::open(disk.clone(), &clock, values()).unwrap();
    for n in 0..100 {
        let name = if n % 6 == 5 { "all".to_owned() } else { format!("value/{}", n % 4) };
        log.done(publish(&name, &format!("{n} {}", "x".repeat(40))));
    }
    let bytes = || {
        let names = disk.names().into_iter().filter(|name| name.ends_with(".log"));
        names.map(|name| disk.content(&name).map_or(0, |content| content.len())).sum::<usize>()
    };
    let bad = disk.names().into_iter().filter(|name| name.ends_with(".log")).nth(2).unwrap();
    let mut content = disk.content(&bad).unwrap();
    content[300] ^= 1;
    disk.put(&bad, &content);
    let before = bytes();
    for _ in 0..2_000 {
        clock.pass(60_000);
        log.tick();
    }
    assert!(disk.names().contains(&bad), "it is left as it is");
    assert!(bytes() < content.len() + 4_500, "{before} bytes before, {} now: {:?}", bytes(), disk.names());
}
