//! Lives of a log: a new one begins exactly when places could be given out again.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::{Clock, Durability, Log};
use tidings_hub::{Epoch, Seq};
use tidings_log::{LogConfig, MemoryLog};
use tidings_testkit::disk::SimDisk;

#[derive(Clone, Copy)]
enum End {
    Clean,
    Kill,
    Power,
}

/// One life in a mode, with an event in it: its epoch, and the disk after its end.
fn life(disk: SimDisk, durability: Durability, end: End) -> (Epoch, SimDisk) {
    let config = LogConfig { durability, ..config() };
    let mut log = Manual::open(disk.clone(), &TestClock::at(1), config).unwrap();
    log.publish("a", "x");
    let epoch = log.log.bounds().epochs.current();
    match end {
        End::Clean => {
            log.end();
            (epoch, disk)
        }
        End::Kill => (epoch, disk.kill()),
        End::Power => (epoch, disk.power_on()),
    }
}

#[track_caller]
fn check(first: Durability, end: End, second: Durability, is_new: bool) {
    let (before, disk) = life(SimDisk::seeded(5), first, end);
    let (after, _) = life(disk, second, End::Clean);
    assert_eq!(before != after, is_new);
}

#[test]
fn an_unclean_end_begins_a_new_life_in_os_mode_only() {
    use Durability::{Fsync, Os};
    check(Fsync, End::Clean, Fsync, false);
    check(Fsync, End::Kill, Fsync, false);
    check(Fsync, End::Power, Fsync, false);
    check(Fsync, End::Power, Os, false);
    check(Os, End::Clean, Os, false);
    check(Os, End::Clean, Fsync, false);
    check(Os, End::Kill, Os, true);
    check(Os, End::Power, Os, true);
    check(Os, End::Power, Fsync, true);
}

#[test]
fn earlier_lives_are_remembered_with_where_they_ended() {
    let (first, disk) = life(SimDisk::seeded(5), Durability::Os, End::Kill);
    let (second, disk) = life(disk, Durability::Os, End::Kill);
    let log = Manual::open(disk, &TestClock::at(1), config()).unwrap();
    let epochs = log.log.bounds().epochs;
    assert_eq!(epochs.end_of(first), Some(Some(Seq(2))));
    assert_eq!(epochs.end_of(second), Some(Some(Seq(3))));
    assert_eq!(epochs.position(Seq(1)).epoch, first);
    assert_eq!(epochs.position(Seq(2)).epoch, second);
}

#[test]
fn a_restored_backup_and_a_wiped_directory_are_told_apart_from_what_they_were() {
    let (before, disk) = life(SimDisk::seeded(5), Durability::Fsync, End::Clean);
    let restored = LogConfig { restored: true, ..config() };
    let log = Manual::open(disk.clone(), &TestClock::at(1), restored).unwrap();
    let epochs = log.log.bounds().epochs;
    assert_ne!(epochs.current(), before);
    assert_eq!(epochs.end_of(before), Some(Some(Seq(2))));
    log.end();
    for name in disk.names() {
        disk.remove(&name);
    }
    let log = Manual::open(disk, &TestClock::at(1), config()).unwrap();
    assert_eq!(log.log.bounds().epochs.end_of(before), None, "a position of the old log is foreign");
}

#[test]
fn a_log_in_memory_lives_once() {
    let clock = TestClock::at(1);
    let open = || MemoryLog::open(clock.clone() as std::sync::Arc<dyn Clock>, config()).unwrap();
    let epoch = |log: &MemoryLog| log.bounds().epochs.current();
    let (one, other) = (open(), open());
    assert_ne!(epoch(&one), Epoch(0));
    assert_ne!(epoch(&one), epoch(&other), "one in a million may fail here by chance");
}
