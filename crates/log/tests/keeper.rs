//! What is done beside writing: late, in any order with appends, and never at the cost of what was promised.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use common::*;
use tidings_hub::ports::{Health, Log, Op, Publish};
use tidings_hub::{Retention, Selectors, Seq, TopicConfig};
use tidings_log::tools::{self, Grade};
use tidings_log::{Disk, DiskFile, EmbeddedLog, LockError, LogConfig};
use tidings_testkit::disk::{Call, Fault, SimDisk};

fn open(disk: &SimDisk, config: LogConfig) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1), config).unwrap()
}

fn count(disk: &SimDisk, kind: &str) -> usize {
    disk.names().iter().filter(|name| name.ends_with(kind)).count()
}

fn publish_alone(log: &mut Manual, name: &str, data: &str) -> Seq {
    let outcome = log.log.submit(tidings_hub::ports::Submission {
        ops: vec![publish(name, data)],
        atomic: true,
        time_ms: 1,
    });
    log.pump_alone();
    committed(&now(outcome)[0])
}

fn done_alone(log: &mut Manual, op: Op) {
    let ops = vec![op];
    let outcomes = log.log.submit(tidings_hub::ports::Submission { ops, atomic: true, time_ms: 1 });
    log.pump_alone();
    committed(&now(outcomes)[0]);
}

/// A topic with limits of its own, and the keeper asked to look whether it is over them.
fn looked_at(retention: Retention, first: Op) -> Manual {
    let mut log = open(&SimDisk::seeded(1), config());
    log.done(configure("t", TopicConfig { retention, ..TopicConfig::default() }));
    log.done(first);
    log.log.tick();
    log.pump_alone();
    log
}

#[test]
fn a_look_that_comes_late_takes_nothing_of_a_topic_that_is_another_by_then() {
    let retention = Retention { count: Some(1), ..Retention::default() };
    let mut log = looked_at(retention, publish("t", "old"));
    done_alone(&mut log, Op::Delete { topic: topic("t") });
    publish_alone(&mut log, "t", "new");
    publish_alone(&mut log, "t", "newer");
    log.tick();
    assert_eq!(log.data("t"), ["new", "newer"]);
}

#[test]
fn a_look_that_comes_late_knows_no_newest_event_but_the_one_it_was_asked_about() {
    let retention = Retention { bytes: Some(10), keep_last: true, ..Retention::default() };
    let gone = Publish { event: Some(tidings_hub::frame::TOMBSTONE_EVENT), ..event(&["t"], "") };
    let mut log = looked_at(retention, Op::Publish(gone));
    let data = "x".repeat(100);
    publish_alone(&mut log, "t", &data);
    log.tick();
    assert_eq!(log.data("t").last(), Some(&data));
}

#[test]
fn appends_and_reads_go_on_while_the_keeper_is_behind() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk, config());
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for data in &expected {
        publish_alone(&mut log, "a", data);
    }
    assert_eq!((count(&disk, ".idx"), count(&disk, ".ckpt")), (0, 0), "nothing was kept yet");
    assert!(count(&disk, ".log") > 5);
    assert_eq!(log.data("a"), expected, "also of segments whose sidecar is not written");
    let killed = open(&disk.copy(1), config());
    assert_eq!(killed.data("a"), expected, "a start needs none of it");
    while log.keep() {}
    assert_eq!(count(&disk, ".ckpt"), 1, "of all that were asked for only the last one is written");
    assert_eq!(log.data("a"), expected);
}

#[test]
fn history_goes_only_when_a_checkpoint_knows_of_it() {
    let disk = SimDisk::seeded(1);
    let config = LogConfig { retention_bytes: Some(4_000), ..config() };
    let mut log = open(&disk, config.clone());
    for n in 0..200 {
        publish_alone(&mut log, "a", &n.to_string());
    }
    assert_eq!(log.log.bounds().oldest, Seq(1));
    assert_eq!(log.data("a").len(), 200, "as long as it is there, it is there for all");
    assert!(log.keep() && log.keep(), "two sidecars come first");
    disk.fail(Fault { call: Call::Create, after: 0, kind: std::io::ErrorKind::Other });
    while log.keep() {}
    // The first checkpoint failed and no other had all the records: nothing may go.
    assert_eq!(log.log.bounds().oldest, Seq(1));
    log.tick();
    let oldest = log.log.bounds().oldest;
    assert!(oldest > Seq(100));
    assert!(disk.bytes() < 9_000, "{}", disk.bytes());
    let lost = log.fold().lost_through(&Selectors::one(topic("a")), Seq::ZERO);
    assert_eq!(lost, oldest.prev());
    let killed = open(&disk.kill(), config);
    assert_eq!(killed.log.bounds().oldest, oldest);
}

#[test]
fn a_clean_end_waits_for_the_keeper() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk, config());
    for n in 0..40 {
        publish_alone(&mut log, "a", &n.to_string());
    }
    log.end();
    assert_eq!(count(&disk, ".tmp"), 0);
    let through = disk.names().into_iter().filter(|name| name.ends_with(".ckpt")).max().unwrap();
    assert_eq!(through, format!("{:020}.ckpt", 40));
}

/// A disk that has no space for the next segment and cannot remove what was begun of it, and later none for checkpoints.
#[derive(Clone)]
struct Tight {
    disk: SimDisk,
    state: Arc<Mutex<Tightness>>,
}

#[derive(Default)]
struct Tightness {
    is_next_refused: bool,
    begun: Option<String>,
    is_begun_kept: bool,
    are_checkpoints_refused: bool,
}

impl Tight {
    fn state(&self) -> MutexGuard<'_, Tightness> {
        self.state.lock().unwrap()
    }
}

impl Disk for Tight {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        let mut state = self.state();
        if name.ends_with(".log") && std::mem::take(&mut state.is_next_refused) {
            (state.begun, state.is_begun_kept) = (Some(name.into()), true);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if to.ends_with(".ckpt") && self.state().are_checkpoints_refused {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.rename(from, to)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let state = self.state();
        if state.is_begun_kept && state.begun.as_deref() == Some(name) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.disk.unlink(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError> {
        self.disk.lock()
    }

    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}

#[test]
fn a_segment_that_could_only_be_begun_goes_and_stands_in_nobodys_way() {
    let tight = Tight { disk: SimDisk::seeded(1), state: Arc::default() };
    let config = LogConfig { retention_bytes: Some(3_000), ..config() };
    let mut log = Manual::open(tight.clone(), &TestClock::at(1), config.clone()).unwrap();
    let logs = || tight.disk.names().into_iter().filter(|name| name.ends_with(".log")).collect::<Vec<_>>();
    let is_begun_there = || tight.state().begun.as_ref().is_some_and(|begun| logs().contains(begun));
    for n in 0..120 {
        match n {
            30 => tight.state().is_next_refused = true,
            50 => tight.state().are_checkpoints_refused = true,
            90 => tight.state().is_begun_kept = false,
            100 => tight.state().are_checkpoints_refused = false,
            _ => {}
        }
        let outcome = log.one(publish("a", &format!("{n} {}", "x".repeat(100))));
        // Where a checkpoint can be made, nobody waits for a file that cannot be removed.
        if !(50..104).contains(&n) {
            committed(&outcome);
        }
        if n % 4 == 0 {
            log.clock.pass(2_000);
            log.tick();
        }
        match n {
            40..90 => assert!(is_begun_there(), "event {n}"),
            90.. => assert!(!is_begun_there(), "event {n}"),
            _ => {}
        }
        // A kill may come at any time.
        let copy = tight.disk.copy(1);
        let report = tools::verify(&copy).unwrap();
        assert!(report.grade() < Some(Grade::Damage), "event {n}: {report:?}");
        drop(open(&copy, config.clone()));
    }
    log.tick();
    assert!(log.log.bounds().oldest > Seq(60), "in the end history goes: {:?}", log.log.bounds());
}

#[test]
fn what_goes_by_an_older_checkpoints_word_takes_nothing_else_along() {
    let tight = Tight { disk: SimDisk::seeded(1), state: Arc::default() };
    let limits = LogConfig { retention_age_ms: Some(100_000), retention_keep_last: true, ..config() };
    let mut log = Manual::open(tight.clone(), &TestClock::at(1), limits.clone()).unwrap();
    for n in 0..24 {
        // The newest of a topic stays, and with it its segment, of which the rest goes.
        log.publish(if n == 8 { "rare" } else { "a" }, &format!("{n} {}", "x".repeat(100)));
    }
    log.tick();
    tight.state().are_checkpoints_refused = true;
    for _ in 0..20 {
        log.clock.pass(20_000);
        log.tick();
        let lost = log.fold().lost_through(&Selectors::one(topic("a")), Seq::ZERO);
        let killed = open(&tight.disk.copy(1), limits.clone());
        let back: Vec<_> = killed.all("a").into_iter().filter(|record| record.seq <= lost).collect();
        assert!(back.is_empty(), "told to be gone through {lost:?}: {} are back", back.len());
    }
    let oldest = log.log.bounds().oldest;
    assert!(oldest > Seq(1) && oldest <= Seq(9), "some went by an older checkpoint's word: {oldest:?}");
    tight.state().are_checkpoints_refused = false;
    for _ in 0..8 {
        log.clock.pass(200_000);
        log.tick();
    }
    assert_eq!((log.data("a").len(), log.data("rare").len()), (1, 1), "and the rest by a new one's");
}

#[test]
fn with_a_thread_of_its_own_it_does_the_same() {
    let disk = SimDisk::seeded(1);
    let config = LogConfig { retention_bytes: Some(20_000), ..config() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = EmbeddedLog::open(Arc::new(disk.clone()), TestClock::at(1), config.clone()).unwrap();
    for n in 0..1_000 {
        let ops = vec![publish("a", &n.to_string())];
        let submission = tidings_hub::ports::Submission { ops, atomic: true, time_ms: 1 };
        committed(&runtime.block_on(log.submit(submission))[0]);
    }
    runtime.block_on(log.shutdown());
    assert_eq!(log.health(), Health::Stopped);
    drop(log);
    assert!((1..=2).contains(&count(&disk, ".ckpt")));
    let mut log = open(&disk, config);
    log.tick();
    let oldest = log.log.bounds().oldest;
    assert!(oldest > Seq(1), "old segments went");
    // A keeper that had no time before the end leaves files to the next life, of what is told to be gone already.
    let lost = log.fold().lost_through(&Selectors::one(topic("a")), Seq::ZERO);
    assert!(lost >= oldest.prev());
    let kept: Vec<String> = (lost.0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(log.data("a"), kept);
}
