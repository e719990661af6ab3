//! Space follows the limits: many topics of unlike lifetimes, and the disk holds little more than what is alive.
//!
//! `TIDINGS_TOPICS=1000000 cargo test --release -p tidings-log --test space -- --nocapture` runs it at full size.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]
#![allow(clippy::print_stdout, reason = "what was measured is wanted of the long run")]

mod common;

use common::*;
use tidings_hub::ports::{Log, Submission};
use tidings_hub::{Retention, Selector, Seq};
use tidings_log::{LogConfig, RealDisk};

const SECOND: u64 = 1_000;
/// How long the story lasts, and how long ago an event may be that is still there.
const STORY_S: u64 = 4 * 3_600;
/// The world is looked at so often; what comes after the last look would never be published.
const STEP_S: u64 = 30;
/// Each topic gets so many events, spread over the story.
const EVENTS: u64 = 3;
/// What a record takes beside its data, with its share of a batch header.
const OVERHEAD: u64 = 90;

/// The classes of lifetimes: a topic's name begins with it.
const CLASSES: [(&str, Option<u64>, bool); 6] = [
    ("a-minute", Some(60), false),
    ("b-five-minutes", Some(300), false),
    ("c-half-an-hour", Some(1_800), false),
    ("d-two-hours", Some(7_200), false),
    ("e-last", Some(60), true),
    ("f-ever", None, false),
];

fn config(topics: u64) -> LogConfig {
    let rule = |(name, age_s, keep_last): (&str, Option<u64>, bool)| {
        let retention = Retention { age_ms: age_s.map(|s| s * SECOND), keep_last, ..Retention::default() };
        (Selector::parse(&format!("{name}/**")).unwrap(), retention)
    };
    LogConfig {
        topic_retention: CLASSES.iter().map(|class| rule(*class)).collect(),
        // So many segments that each is a small part.
        segment_bytes: (topics * 12).max(64 << 10),
        retention_bytes: None,
        read_threads: 0,
        ..LogConfig::default()
    }
}

fn data_of(topic: u64, nth: u64) -> String {
    format!("event {nth} of topic {topic} {}", "x".repeat(usize::try_from(topic % 50).unwrap()))
}

/// A topic's class and when its events come, in seconds from the start.
fn plan(topic: u64, nth: u64) -> (usize, u64) {
    let class = usize::try_from(topic % 6).unwrap();
    // One topic in ten is quiet after its first event, the others come back at odd intervals.
    let spread = topic.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let at =
        spread % (STORY_S / EVENTS) + if topic.is_multiple_of(10) { nth } else { nth * (STORY_S / EVENTS) };
    (class, at.min(STORY_S - STEP_S))
}

#[test]
fn the_disk_holds_little_more_than_what_is_alive() {
    let number = std::env::var("TIDINGS_TOPICS").ok().and_then(|text| text.parse().ok());
    let topics: u64 = number.unwrap_or(4_000);
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1_700_000_000_000);
    let limits = config(topics);
    let mut log = Manual::open(RealDisk::new(dir.path()).unwrap(), &clock, limits.clone()).unwrap();
    // All events, in the order in which they come.
    let mut events: Vec<(u64, u64, u64)> =
        (0..topics).flat_map(|topic| (0..EVENTS).map(move |nth| (plan(topic, nth).1, topic, nth))).collect();
    events.sort_unstable();
    let bytes_on_disk = || -> (u64, usize) {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        let sizes: Vec<u64> = logs.map(|file| file.metadata().unwrap().len()).collect();
        (sizes.iter().sum(), sizes.len())
    };
    let (mut next, mut written, mut worst) = (0, 0u64, 0.0f64);
    for now_s in (0..STORY_S).step_by(usize::try_from(STEP_S).unwrap()) {
        while next < events.len() && events[next].0 <= now_s {
            let mut ops = Vec::new();
            while ops.len() < 2_000 && next < events.len() && events[next].0 <= now_s {
                let (_, topic, nth) = events[next];
                let (class, _) = plan(topic, nth);
                let data = data_of(topic, nth);
                written += data.len() as u64 + OVERHEAD;
                ops.push(publish(&format!("{}/{topic}", CLASSES[class].0), &data));
                next += 1;
            }
            let count = ops.len();
            let outcomes = log.log.submit(Submission { ops, atomic: false, time_ms: now_ms(&clock) });
            log.pump();
            assert_eq!(now(outcomes).iter().map(committed).count(), count);
        }
        log.tick();
        clock.pass(STEP_S * SECOND);
        if now_s % 600 == 0 && now_s > 0 {
            let (bytes, files) = bytes_on_disk();
            let alive = alive_bytes(&events[..next], now_s);
            let allowed = 2 * alive + 4 * limits.segment_bytes;
            println!("{now_s} s: written {written}, alive at most {alive}, on disk {bytes} in {files} files");
            assert!(bytes <= allowed, "at {now_s} s: {bytes} bytes, allowed are {allowed}");
            assert!(files < 60, "{files} files");
            worst = worst.max(bytes as f64 / alive.max(1) as f64);
        }
    }
    println!(
        "{topics} topics, {} events; on disk at most {worst:.2} of what is alive",
        log.log.bounds().head.0
    );
    assert!(log.log.bounds().head >= Seq(topics * EVENTS), "every event had a place");
    check_topics(&log, topics);
    drop(log);
    let log = Manual::open(RealDisk::new(dir.path()).unwrap(), &clock, limits).unwrap();
    check_topics(&log, topics);
}

/// Each topic keeps one event, and there are more topics than are looked at one by one in the time.
#[test]
fn present_values_take_no_more_than_what_is_alive_of_them() {
    const VALUES: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1_700_000_000_000);
    let value = Retention { count: Some(1), ..Retention::default() };
    let limits = LogConfig {
        topic_retention: vec![(Selector::parse("v/**").unwrap(), value)],
        segment_bytes: 256 << 10,
        ..config(VALUES)
    };
    let mut log = Manual::open(RealDisk::new(dir.path()).unwrap(), &clock, limits.clone()).unwrap();
    let mut written = 0;
    for nth in 0..6 {
        for first in (0..VALUES).step_by(2_000) {
            let ops: Vec<_> = (first..first + 2_000)
                .map(|topic| publish(&format!("v/{topic}"), &data_of(topic, nth)))
                .collect();
            written +=
                (first..first + 2_000).map(|topic| data_of(topic, nth).len() as u64 + OVERHEAD).sum::<u64>();
            let outcomes = log.log.submit(Submission { ops, atomic: false, time_ms: now_ms(&clock) });
            log.pump();
            assert_eq!(now(outcomes).iter().map(committed).count(), 2_000);
        }
        log.tick();
        clock.pass(SECOND);
    }
    for _ in 0..8 {
        clock.pass(2 * SECOND);
        log.tick();
    }
    let (bytes, alive) = (log.log.bytes().unwrap(), written / 6);
    let allowed = 2 * alive + 4 * limits.segment_bytes;
    println!("written {written}, alive at most {alive}, in segments {bytes}");
    assert!(bytes <= allowed, "{bytes} bytes, allowed are {allowed}");
    for topic in (0..VALUES).step_by(997) {
        let found = log.data(&format!("v/{topic}"));
        assert_eq!(found.last(), Some(&data_of(topic, 5)), "v/{topic}");
    }
}

fn now_ms(clock: &TestClock) -> u64 {
    tidings_hub::ports::Clock::wall_ms(clock)
}

/// What may still be there: a limit by age holds to a part of it.
fn alive_bytes(events: &[(u64, u64, u64)], now_s: u64) -> u64 {
    let alive = |(at, topic, nth): &(u64, u64, u64)| {
        let (class, _) = plan(*topic, *nth);
        let (_, age_s, keep_last) = CLASSES[class];
        let is_last = *nth + 1 == EVENTS || plan(*topic, nth + 1).1 > now_s;
        age_s.is_none_or(|age_s| at + age_s + age_s / 8 + 60 >= now_s) || (keep_last && is_last)
    };
    let cost = |(_, topic, nth): &(u64, u64, u64)| data_of(*topic, *nth).len() as u64 + OVERHEAD;
    events.iter().filter(|event| alive(event)).map(cost).sum()
}

/// Some topics of each class have what they should have at the end.
fn check_topics(log: &Manual, topics: u64) {
    for topic in (0..topics).step_by(usize::try_from(topics / 120).unwrap().max(1)) {
        let (class, _) = plan(topic, 0);
        let (name, age_s, keep_last) = CLASSES[class];
        let found = log.data(&format!("{name}/{topic}"));
        let all: Vec<String> = (0..EVENTS).map(|nth| data_of(topic, nth)).collect();
        assert!(all.ends_with(&found), "{name}/{topic}: {found:?}");
        let young = (0..EVENTS).filter(|nth| age_s.is_none_or(|s| plan(topic, *nth).1 + s > STORY_S)).count();
        let least = young.max(usize::from(keep_last));
        assert!(found.len() >= least, "{name}/{topic}: {found:?}, at least {least}");
    }
}
