//! A full disk refuses publishes, keeps serving, leaves no trace, and recovers by itself.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::Seq;
use tidings_hub::ports::{Health, Log, Outcome, Refusal, Submission};
use tidings_log::LogConfig;
use tidings_testkit::disk::{Call, Fault, SimDisk};

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1), config()).unwrap()
}

#[test]
fn what_found_no_space_for_all_of_it_takes_none() {
    let disk = SimDisk::seeded(1);
    let mut log = Manual::open(disk.clone(), &TestClock::at(1), config()).unwrap();
    for n in 0..60 {
        let ops = vec![publish("a", &format!("{n} {}", "x".repeat(60)))];
        let outcomes = log.log.submit(Submission { ops, atomic: true, time_ms: 1 });
        log.pump_alone();
        committed(&now(outcomes)[0]);
    }
    disk.set_capacity(Some(disk.bytes() + 40));
    while log.keep() {}
    let begun: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(begun, Vec::<String>::new());
}

#[test]
fn nothing_of_a_refused_batch_remains_and_the_next_write_recovers() {
    // Beside the room that the log has made for small batches already.
    for room in 0..140 {
        let disk = SimDisk::seeded(room);
        let mut log = open(&disk);
        log.done(keyed("a", "one", "k", 0));
        disk.set_capacity(Some(disk.bytes() + room));
        let outcomes = log.submit(vec![keyed("a", &"x".repeat(400), "k", 1), publish("b", "no")], false);
        assert_eq!(outcomes, [Outcome::Refused(Refusal::Full), Outcome::Skipped], "room for {room}");
        assert!(matches!(log.log.health(), Health::Full { message } if message.contains(".log")));
        assert_eq!(log.data("**"), ["one"]);
        disk.set_capacity(None);
        // The same item: its key was taken back with the batch, and so was its place.
        assert_eq!(log.done(keyed("a", "two", "k", 1)), Seq(2));
        let health = log.told.with(|told| told.health.clone());
        assert!(matches!(&health[..], [Health::Full { .. }, Health::Ready]), "{health:?}");
        let disk = disk.kill();
        assert_eq!(open(&disk).data("**"), ["one", "two"], "room for {room}");
    }
}

#[test]
fn an_atomic_submission_is_refused_as_a_whole() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    disk.set_capacity(Some(disk.bytes()));
    let outcomes = log.submit(vec![publish("a", "1"), publish("b", "2")], true);
    assert_eq!(outcomes, vec![Outcome::Refused(Refusal::Full); 2]);
}

#[test]
fn a_tick_finds_out_that_there_is_space_again() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "one");
    disk.set_capacity(Some(disk.bytes()));
    assert!(refused(&log.one(publish("a", &"no".repeat(300)))).is_some());
    disk.set_capacity(Some(disk.bytes()));
    log.tick();
    assert!(matches!(log.log.health(), Health::Full { .. }), "still full");
    disk.set_capacity(None);
    log.tick();
    assert_eq!(log.log.health(), Health::Ready);
    log.publish("a", "two");
    let disk = disk.kill();
    assert_eq!(open(&disk).data("a"), ["one", "two"]);
}

#[test]
fn events_that_are_not_stored_still_flow_within_their_reservation() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.done(ephemeral("typing", "first"));
    disk.set_capacity(Some(disk.bytes()));
    assert!(refused(&log.one(publish("a", &"no".repeat(300)))).is_some());
    log.done(ephemeral("typing", "second"));
    assert_eq!(log.told.with(|told| told.records.len()), 2);
    assert!(matches!(log.log.health(), Health::Full { .. }));
}

#[test]
fn a_new_segment_that_finds_no_space_lets_the_old_one_grow() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    for n in 0..200 {
        if n % 20 == 3 {
            // Whatever a new segment, sidecar or checkpoint needs fails now and then.
            let kind = std::io::ErrorKind::StorageFull;
            disk.fail(Fault { call: Call::Create, after: 0, kind });
        }
        log.publish("a", &format!("{n} {}", "x".repeat(50)));
        if n % 50 == 49 {
            let disk = disk.kill();
            log = open(&disk);
            assert_eq!(log.data("a").len(), n + 1);
            return_to(&mut log, disk);
        }
    }
}

/// The rest of the story plays on the killed machine's disk.
fn return_to(log: &mut Manual, disk: SimDisk) {
    *log = Manual::open(disk.kill(), &TestClock::at(1), config()).unwrap();
}

#[test]
fn room_that_cannot_be_made_ahead_refuses_nobody_and_holds_no_space() {
    for room in 0..200 {
        let disk = SimDisk::seeded(room);
        let mut log = open(&disk);
        log.publish("a", "one");
        log.done(publish("a", &"x".repeat(200)));
        let used = disk.bytes();
        // The next batch fits exactly, or with less behind it than a step.
        let batch = 200;
        disk.set_capacity(Some(used + batch + room));
        for n in 0..20 {
            if refused(&log.one(publish("a", &"y".repeat(60)))).is_some() {
                assert!(n > 1, "at least what there is space for goes in");
                assert!(room + batch < 400 || n > 2, "{n} with room for {room}");
                break;
            }
        }
        disk.set_capacity(None);
        log.publish("a", "last");
        log.end();
        let name = disk.names().into_iter().rfind(|name| name.ends_with(".log")).unwrap();
        let content = disk.content(&name).unwrap();
        assert_eq!(batches_end(&content), content.len(), "a log that has ended has no room behind it");
    }
}

#[test]
fn room_is_made_once_for_many_batches_and_given_back_when_a_segment_is_full() {
    let disk = SimDisk::seeded(1);
    let config = LogConfig { segment_bytes: 64 << 10, ..config() };
    let mut log = Manual::open(disk.clone(), &TestClock::at(1), config).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for n in 0..600 {
        log.publish("a", &format!("{n} {}", "x".repeat(100)));
        lengths.insert(disk.content("00000000000000000001.log").unwrap().len());
    }
    assert!((4..20).contains(&lengths.len()), "{lengths:?}");
    let sealed = disk.content("00000000000000000001.log").unwrap();
    assert_eq!(batches_end(&sealed), sealed.len());
    assert_eq!(log.data("a").len(), 600);
}

#[test]
fn another_write_error_is_final() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    disk.fail(Fault { call: Call::Write, after: 0, kind: std::io::ErrorKind::Other });
    assert_eq!(log.one(publish("a", "x")), Outcome::Refused(Refusal::Failed));
    assert!(matches!(log.log.health(), Health::Failed { .. }));
}
