//! Backups of a log that is written to, restored logs, copied directories, and exports.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use tidings_hub::ports::{Durability, Log, Op};
use tidings_hub::{Retention, Selector, Selectors, Seq};
use tidings_log::tools::{self, Copied, Grade};
use tidings_log::{Disk, DiskFile, LockError, LogConfig, OpenError, RealDisk};
use tidings_testkit::disk::SimDisk;

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(9), config()).unwrap()
}

fn open_dir(dir: &Path) -> Manual {
    Manual::open(RealDisk::new(dir).unwrap(), &TestClock::at(9), config()).unwrap()
}

fn everything() -> Selectors {
    Selectors::new(vec![Selector::parse("**").unwrap()])
}

fn exported(disk: &dyn Disk, selector: &str, after: u64) -> Vec<String> {
    let mut texts = Vec::new();
    let selectors = Selectors::new(vec![Selector::parse(selector).unwrap()]);
    let done = tools::export(disk, &selectors, Seq(after), &mut |record| {
        texts.push(text(record));
        Ok(())
    });
    assert_eq!(done.unwrap().events, texts.len() as u64);
    texts
}

/// A disk under which something happens at every call that looks for files: a hub at work beside a backup.
struct Busy {
    disk: SimDisk,
    hub: Mutex<Manual>,
    is_on: AtomicBool,
    calls: AtomicUsize,
}

impl Busy {
    fn work(&self) {
        if !self.is_on.load(Ordering::SeqCst) {
            return;
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut hub = self.hub.lock().unwrap();
        for n in 0..3 {
            hub.publish(["a", "b"][n % 2], &format!("meanwhile {number}.{n} {}", "y".repeat(60)));
        }
    }
}

struct Source(Arc<Busy>);

impl Disk for Source {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.work();
        self.0.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.work();
        self.0.disk.open(name)
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        panic!("a backup writes nothing where it reads")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        panic!("a backup writes nothing where it reads")
    }

    fn unlink(&self, _: &str) -> io::Result<()> {
        panic!("a backup writes nothing where it reads")
    }

    fn sync_dir(&self) -> io::Result<()> {
        panic!("a backup writes nothing where it reads")
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError> {
        panic!("a backup takes no lock where it reads")
    }

    fn place(&self, name: &str) -> String {
        self.0.disk.place(name)
    }

    fn random(&self) -> io::Result<u64> {
        self.0.disk.random()
    }
}

#[test]
fn a_backup_beside_a_hub_at_work_has_all_that_was_acked_before_it() {
    for retention_bytes in [None, Some(4_000)] {
        let disk = SimDisk::seeded(11);
        let config = LogConfig { retention_bytes, ..config() };
        let mut hub = Manual::open(disk.clone(), &TestClock::at(9), config.clone()).unwrap();
        for n in 0..20 {
            hub.publish("a", &format!("before {n} {}", "x".repeat(80)));
        }
        let before = hub.data("**");
        let head = hub.log.bounds().head;
        let (hub, calls, is_on) = (Mutex::new(hub), AtomicUsize::new(0), AtomicBool::new(true));
        let busy = Arc::new(Busy { disk, hub, is_on, calls });
        let to = SimDisk::seeded(12);
        match tools::backup(&Source(Arc::clone(&busy)), &to) {
            Ok(_) => {}
            // Whatever was listed is gone before it can be opened, every time: that is said.
            Err(error) => {
                assert!(retention_bytes.is_some(), "{error}");
                busy.is_on.store(false, Ordering::SeqCst);
                tools::backup(&Source(Arc::clone(&busy)), &to).unwrap();
            }
        }
        busy.is_on.store(false, Ordering::SeqCst);
        assert!(busy.calls.load(Ordering::SeqCst) > 8, "something happened meanwhile");
        let copy = Manual::open(to.copy(1), &TestClock::at(9), config).unwrap();
        let all = busy.hub.lock().unwrap().data("**");
        let data = copy.data("**");
        if retention_bytes.is_none() {
            assert_eq!(data[..before.len()], before, "all that was acked");
            assert_eq!(data, all[..data.len()], "and nothing that was not");
        }
        assert!(copy.log.bounds().head >= head);
    }
}

#[test]
fn the_next_backup_copies_what_is_new() {
    let disk = SimDisk::seeded(1);
    let to = SimDisk::seeded(2);
    let mut hub = open(&disk);
    let fill = |hub: &mut Manual, n: usize| {
        (0..n).for_each(|n| _ = hub.publish("a", &format!("{n} {}", "x".repeat(90))))
    };
    fill(&mut hub, 40);
    let first = tools::backup(&disk, &to).unwrap();
    assert!(first.kept == 0 && first.files > 6, "{first:?}");
    fill(&mut hub, 10);
    let second = tools::backup(&disk, &to).unwrap();
    assert!(second.kept > 6 && second.files < first.files, "{second:?}");
    assert_eq!(open(&to.copy(1)).data("a"), hub.data("a"));
    // One that was broken off is no backup, and the next one completes it.
    let broken = to.copy(1);
    broken.put("INCOMPLETE", b"");
    let into = SimDisk::seeded(3);
    assert!(
        matches!(tools::restore(&broken, &into), Err(OpenError::Unfit { message }) if message.contains("broken off"))
    );
    tools::backup(&disk, &broken).unwrap();
    tools::restore(&broken, &into).unwrap();
    // What was let go in the original goes in the copy.
    let others = SimDisk::seeded(4);
    open(&others).publish("z", "another log");
    assert!(
        matches!(tools::backup(&others, &to), Err(OpenError::Unfit { message }) if message.contains("another log"))
    );
}

#[test]
fn a_segment_that_a_power_failure_rewound_is_copied_anew() {
    let config = LogConfig { durability: Durability::Os, ..config() };
    let disk = SimDisk::seeded(1);
    let mut hub = Manual::open(disk.clone(), &TestClock::at(9), config.clone()).unwrap();
    hub.publish("a", "kept");
    let rewound = disk.copy(2);
    hub.publish("a", "lost, but in the first backup");
    let to = SimDisk::seeded(3);
    tools::backup(&disk, &to).unwrap();
    let name = "00000000000000000001.log";
    let copied = to.content(name).unwrap();
    // As long as the first one was, and with the same header: nothing but what is in it tells.
    let config = LogConfig { segment_bytes: copied.len() as u64, ..config };
    let mut hub = Manual::open(rewound.clone(), &TestClock::at(9), config.clone()).unwrap();
    hub.publish("a", "written in its place, as long");
    hub.publish("a", "in the next segment");
    let sealed = rewound.content(name).unwrap();
    assert_eq!(copied.len(), sealed.len());
    tools::backup(&rewound, &to).unwrap();
    assert!(to.content(name).unwrap() == sealed, "the copy is another file than the original");
    assert_eq!(Manual::open(to.copy(1), &TestClock::at(9), config).unwrap().data("a"), hub.data("a"));
}

#[test]
fn a_damaged_log_gives_no_backup() {
    let disk = SimDisk::seeded(1);
    let mut hub = open(&disk);
    (0..40).for_each(|n| _ = hub.publish("a", &format!("{n} {}", "x".repeat(90))));
    let name = "00000000000000000001.log";
    let mut content = disk.content(name).unwrap();
    content[300] ^= 1;
    disk.put(name, &content);
    let to = SimDisk::seeded(2);
    let said = tools::backup(&disk, &to).unwrap_err().to_string();
    assert!(said.contains(name) && said.contains("verify"), "{said}");
    assert!(tools::restore(&to, &SimDisk::seeded(3)).is_err(), "it is not called done");
}

#[test]
fn a_restored_log_begins_a_new_epoch() {
    let disk = SimDisk::seeded(1);
    let (to, into) = (SimDisk::seeded(2), SimDisk::seeded(3));
    let mut hub = open(&disk);
    (0..9).for_each(|n| _ = hub.publish("a", &n.to_string()));
    tools::backup(&disk, &to).unwrap();
    let Copied { report, .. } = tools::restore(&to, &into).unwrap();
    assert_eq!((report.events, report.grade() == Some(Grade::Damage)), (9, false));
    hub.publish("a", "after the backup");
    let seen = hub.log.bounds();
    let mut restored = open(&into);
    let epochs = restored.log.bounds().epochs;
    assert_eq!(epochs.pairs().len(), seen.epochs.pairs().len() + 1);
    let place = restored.publish("a", "another event");
    assert_eq!(place, seen.head);
    assert_ne!(epochs.position(place), seen.epochs.position(place), "one place, and two positions");
    assert_eq!(epochs.position(Seq(9)), seen.epochs.position(Seq(9)), "what was there before goes on");
    assert!(
        matches!(tools::restore(&to, &into), Err(OpenError::Unfit { message }) if message.contains("not empty"))
    );
}

#[test]
fn a_copied_directory_begins_a_new_epoch_and_a_moved_one_does_not() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut hub = open_dir(&at("original"));
    hub.publish("a", "one");
    let life = |hub: &Manual| hub.log.bounds().epochs.pairs().len();
    assert_eq!(life(&hub), 1);
    hub.end();
    fs::create_dir(at("copy")).unwrap();
    for entry in fs::read_dir(at("original")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), at("copy").join(entry.file_name())).unwrap();
    }
    fs::rename(at("original"), at("moved")).unwrap();
    let mut moved = open_dir(&at("moved"));
    let mut copy = open_dir(&at("copy"));
    assert_eq!((life(&moved), life(&copy)), (1, 2));
    let (one, other) = (moved.publish("a", "here"), copy.publish("a", "there"));
    assert_eq!(one, other);
    let position = |hub: &Manual| hub.log.bounds().epochs.position(one);
    assert_ne!(position(&moved), position(&copy));
    copy.end();
    assert_eq!(life(&open_dir(&at("copy"))), 2, "once");
}

#[test]
fn an_export_has_what_a_hub_would_show() {
    let disk = SimDisk::seeded(1);
    let mut hub = open(&disk);
    for n in 0..60 {
        hub.publish(["a", "b", "gone"][n % 3], &format!("{n} {}", "x".repeat(50)));
    }
    hub.done(Op::Trim { topic: topic("a"), through: Seq(20) });
    hub.done(Op::Delete { topic: topic("gone") });
    hub.publish("gone", "again");
    hub.done(Op::Publish(event(&["gone", "b"], "both")));
    assert_eq!(exported(&disk, "**", 0), hub.data("**"));
    assert_eq!(exported(&disk, "gone", 0), ["again", "both"]);
    assert_eq!(exported(&disk, "b", 61).len(), 1);
    // Also what a checkpoint alone knows, and beside damage: that is told.
    hub.end();
    let name = "00000000000000000001.log";
    let mut content = disk.content(name).unwrap();
    content[200] ^= 1;
    disk.put(name, &content);
    let done = tools::export(&disk, &everything(), Seq::ZERO, &mut |_| Ok(())).unwrap();
    assert_eq!(done.lost.len(), 1);
}

#[test]
fn a_log_whose_history_was_all_let_go_is_whole_and_can_be_backed_up() {
    let (disk, clock) = (SimDisk::seeded(21), TestClock::at(9));
    let small = LogConfig { retention_bytes: Some(300), ..config() };
    let mut log = Manual::open(disk.clone(), &clock, small.clone()).unwrap();
    let last = |disk: &SimDisk| disk.names().into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let first = last(&disk);
    while last(&disk) == first || disk.names().contains(&first) {
        log.publish("a", &"x".repeat(100));
        clock.pass(60_000);
        log.tick();
    }
    assert_eq!(log.data("**"), [""; 0], "the new segment is empty");
    assert_ne!(tools::verify(&disk).unwrap().grade(), Some(Grade::Damage));
    let (to, restored) = (SimDisk::seeded(22), SimDisk::seeded(23));
    tools::backup(&disk, &to).unwrap();
    tools::restore(&to, &restored).unwrap();
    let mut log = Manual::open(restored, &clock, small).unwrap();
    log.publish("a", "goes on");
    assert_eq!(log.data("a"), ["goes on"]);
}

/// A directory in which a hub at work finishes a checkpoint after somebody has looked at the names.
struct Late {
    disk: SimDisk,
    hidden: String,
    looks: AtomicUsize,
}

impl Disk for Late {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.disk.list()?;
        let is_there = self.looks.fetch_add(1, Ordering::SeqCst) >= 2;
        Ok(names.into_iter().filter(|name| is_there || *name != self.hidden).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        panic!("verify writes nothing")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        panic!("verify writes nothing")
    }

    fn unlink(&self, _: &str) -> io::Result<()> {
        panic!("verify writes nothing")
    }

    fn sync_dir(&self) -> io::Result<()> {
        panic!("verify writes nothing")
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError> {
        panic!("verify takes no lock")
    }

    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}

#[test]
fn a_hub_that_compacts_beside_a_verification_is_no_damage() {
    let disk = SimDisk::seeded(5);
    let clock = TestClock::at(9);
    let mut hub = Manual::open(disk.clone(), &clock, config()).unwrap();
    for n in 0..60 {
        hub.publish(if n % 9 == 0 { "kept" } else { "gone" }, &format!("{n} {}", "x".repeat(60)));
    }
    hub.done(Op::Delete { topic: topic("gone") });
    for _ in 0..40 {
        clock.pass(2_000);
        hub.tick();
    }
    let mut checkpoints: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".ckpt")).collect();
    checkpoints.sort();
    // Only the newest one knows of all that was compacted.
    for old in &checkpoints[..checkpoints.len() - 1] {
        disk.remove(old);
    }
    let hidden = checkpoints.pop().unwrap();
    let late = |looks| Late { disk: disk.clone(), hidden: hidden.clone(), looks: AtomicUsize::new(looks) };
    assert_eq!(tools::verify(&late(0)).unwrap().grade(), None);
    disk.remove(&hidden);
    assert_eq!(tools::verify(&late(0)).unwrap().grade(), Some(Grade::Damage), "it would be one");
}

/// A running log may go on between any two calls of a backup: what is missing in what is restored is told to be gone.
#[test]
fn what_goes_while_a_backup_is_made_is_told_or_there() {
    // Also where the checkpoint that knows of it is gone again when the backup ends.
    for (moment, goes_on) in (0..120).flat_map(|moment| [(moment, false), (moment, true)]) {
        let disk = SimDisk::seeded(moment);
        let clock = TestClock::at(1_000_000);
        let age = Retention { age_ms: Some(60_000), ..Retention::default() };
        let limits = LogConfig {
            topic_retention: vec![(Selector::parse("short").unwrap(), age)],
            erase_after_ms: 0,
            ..config()
        };
        let mut log = Manual::open(disk.clone(), &clock, limits.clone()).unwrap();
        for n in 0..40 {
            log.publish("short", &format!("{n} {}", "x".repeat(40)));
            if n % 4 == 0 {
                log.publish("long", &n.to_string());
            }
        }
        log.publish("long", &"x".repeat(1_100));
        let mut calls = 0;
        let between = {
            let clock = clock.clone();
            move || {
                calls += 1;
                if calls == moment {
                    clock.pass(100_000);
                    (0..4).for_each(|_| {
                        log.tick();
                        clock.pass(2_000);
                    });
                    for n in 0..if goes_on { 3 } else { 0 } {
                        log.publish("long", &format!("{n} {}", "x".repeat(1_100)));
                    }
                }
            }
        };
        disk.between(Some(Box::new(between)));
        let (copy, restored) = (SimDisk::seeded(1), SimDisk::seeded(2));
        tools::backup(&disk, &copy).unwrap();
        disk.between(None);
        tools::restore(&copy, &restored).unwrap();
        let log = Manual::open(restored, &clock, limits).unwrap();
        let (found, gone) = (log.data("short").len(), log.fold().trimmed("short"));
        assert!(
            found == 40 || gone > Seq::ZERO,
            "call {moment} ({goes_on}): {found} of 40 are there, gone is {gone:?}"
        );
    }
}
