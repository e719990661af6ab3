//! Events that are never stored: they have places, readers see them live, and no place is ever given out twice.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::{Durability, Log};
use tidings_hub::{Seq, TopicConfig};
use tidings_log::LogConfig;
use tidings_testkit::disk::SimDisk;

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1), config()).unwrap()
}

#[test]
fn they_reach_the_sink_and_no_file() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.done(configure("typing/1", TopicConfig { ephemeral: true, ..TopicConfig::default() }));
    log.done(ephemeral("a", "SECRET-1"));
    log.publish("typing/1", "SECRET-2");
    log.publish("a", "kept");
    assert_eq!(log.told.with(|told| told.records.len()), 4);
    assert_eq!(log.data("**"), ["kept"]);
    log.end();
    for name in disk.names() {
        let content = disk.content(&name).unwrap();
        assert!(!content.windows(6).any(|window| window == b"SECRET"), "{name}");
    }
}

#[test]
fn their_places_are_not_given_out_again_after_a_kill() {
    for durability in [Durability::Fsync, Durability::Os] {
        let mut disk = SimDisk::seeded(1);
        let mut seen = Vec::new();
        for _ in 0..5 {
            let config = LogConfig { durability, ..config() };
            let mut log = Manual::open(disk.clone(), &TestClock::at(1), config).unwrap();
            for _ in 0..3 {
                let seq = log.done(ephemeral("a", "x"));
                seen.push(log.log.bounds().epochs.position(seq));
            }
            let seq = log.publish("a", "stored");
            seen.push(log.log.bounds().epochs.position(seq));
            disk = disk.kill();
        }
        let count = seen.len();
        seen.sort_unstable_by_key(|position| (position.epoch.0, position.seq));
        seen.dedup();
        assert_eq!(seen.len(), count, "{durability:?}");
    }
}

#[test]
fn a_clean_end_leaves_no_hole() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    assert_eq!(log.done(ephemeral("a", "x")), Seq(1));
    log.end();
    let mut log = open(&disk);
    assert_eq!(log.log.bounds().head, Seq(1));
    assert_eq!(log.publish("a", "x"), Seq(2));
}

#[test]
fn without_them_a_kill_leaves_no_hole() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    assert_eq!(log.publish("a", "x"), Seq(1));
    let disk = disk.kill();
    assert_eq!(open(&disk).publish("a", "x"), Seq(2));
}

#[test]
fn a_reservation_is_renewed_before_it_is_used_up() {
    let disk = SimDisk::seeded(1);
    let config = LogConfig { batch_bytes_max: 64 << 20, ..config() };
    let mut log = Manual::open(disk.clone(), &TestClock::at(1), config.clone()).unwrap();
    let mut last = Seq::ZERO;
    for _ in 0..11 {
        let ops = (0..100_000).map(|_| ephemeral("a", "x")).collect();
        last = committed(log.submit(ops, false).last().unwrap());
    }
    assert_eq!(last, Seq(1_100_000), "more than one reservation");
    let disk = disk.power_on();
    let mut log = Manual::open(disk, &TestClock::at(1), config).unwrap();
    assert!(log.publish("a", "next") > last);
}
