//! Starts after unclean ends: torn tails are cut off, damage is named, what is cut is kept aside.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::Seq;
use tidings_hub::ports::{Log, Op, Outcome};
use tidings_log::tools::{self, Grade};
use tidings_log::{LogConfig, OnDamage, OpenError};
use tidings_testkit::disk::{Call, Fault, SimDisk};

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1), config()).unwrap()
}

fn last_log(disk: &SimDisk) -> (String, Vec<u8>) {
    let name = disk.names().into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let content = disk.content(&name).unwrap();
    (name, content)
}

#[test]
fn a_torn_tail_is_cut_off_and_the_log_goes_on_there() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "kept");
    let (name, before) = last_log(&disk);
    log.publish("a", "torn");
    let after = disk.content(&name).unwrap();
    let disk = disk.kill();
    for cut in before.len() + 1..after.len() {
        let torn = disk.copy(7);
        torn.put(&name, &after[..cut]);
        let mut log = open(&torn);
        assert_eq!(log.data("a"), ["kept"], "cut at {cut}");
        assert_eq!(torn.content(&name).unwrap().len(), before.len());
        assert_eq!(log.publish("a", "next"), Seq(2));
        log.end();
        assert_eq!(open(&torn).data("a"), ["kept", "next"]);
    }
}

#[test]
fn a_bad_record_with_a_later_batch_behind_it_is_damage_and_can_be_cut() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "one");
    let (name, first) = last_log(&disk);
    let end = batches_end(&first);
    log.publish("a", "two");
    log.publish("a", "three");
    let epoch = log.log.bounds().epochs.current();
    let disk = disk.kill();
    let mut content = disk.content(&name).unwrap();
    content[end + 70] ^= 1;
    disk.put(&name, &content);
    let error = Manual::open(disk.clone(), &TestClock::at(1), config()).err().unwrap();
    let OpenError::Damaged(damage) = &error else { panic!("{error:?}") };
    assert_eq!((damage.file.as_str(), damage.offset), (format!("sim:{name}").as_str(), end as u64 + 64));
    assert!(error.to_string().contains("had been synced"), "{error}");

    let cut = LogConfig { on_damage: OnDamage::Cut, ..config() };
    let mut log = Manual::open(disk.clone(), &TestClock::at(1), cut).unwrap();
    assert_eq!(log.data("a"), ["one"]);
    assert_eq!(disk.content(&format!("{name}.damaged")), Some(content), "what was cut off is kept");
    assert_ne!(log.log.bounds().epochs.current(), epoch, "positions that were cut off are void");
    assert_eq!(log.publish("a", "other two"), Seq(2));
    log.end();
    assert_eq!(open(&disk).data("a"), ["one", "other two"], "the next start is a plain one");
}

#[test]
fn a_sealed_segment_that_is_cut_loses_its_index() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    (0..30).for_each(|n| _ = log.publish("a", &format!("{n} {}", "x".repeat(90))));
    log.end();
    let [segment, index] = ["log", "idx"].map(|kind| format!("{:020}.{kind}", 1));
    assert!(disk.content(&index).is_some(), "it is sealed");
    let mut content = disk.content(&segment).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    disk.put(&segment, &content);
    // Without a checkpoint a start reads all segments.
    disk.names().iter().filter(|name| name.ends_with(".ckpt")).for_each(|name| disk.remove(name));
    let cut = LogConfig { on_damage: OnDamage::Cut, ..config() };
    // It grows again, and may be sealed when it has the length that this index is of: also if power goes meanwhile.
    for seed in 0..20 {
        for calls in 1.. {
            let disk = disk.copy(seed);
            disk.lose_power_in(calls);
            drop(Manual::open(disk.clone(), &TestClock::at(1), cut.clone()));
            let is_over = !disk.is_dark();
            let disk = if is_over { disk.kill() } else { disk.power_on() };
            let is_cut = disk.content(&segment).is_none_or(|now| now.len() < content.len());
            assert!(!is_cut || disk.content(&index).is_none(), "seed {seed}, call {calls}");
            if is_over {
                break;
            }
        }
    }
    let log = Manual::open(disk.clone(), &TestClock::at(1), cut).unwrap();
    let data = log.data("a");
    assert!(!data.is_empty() && data.len() < 30 && data[0].starts_with("0 "), "{data:?}");
    assert_eq!(disk.content(&index), None);
}

#[test]
fn zeros_are_room_only_where_nothing_stands_behind_them() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "one");
    let (name, content) = last_log(&disk);
    let first = batches_end(&content);
    assert!(content.len() > first + 100, "there is room");
    log.publish("a", "two");
    let second = batches_end(&last_log(&disk).1);
    log.publish("a", "three");
    let disk = disk.kill();
    let content = disk.content(&name).unwrap();
    let third = batches_end(&content);

    // The second batch has become zeros: the third one proves that it had been there.
    let mut hole = content.clone();
    hole[first..second].fill(0);
    let hurt = disk.copy(2);
    hurt.put(&name, &hole);
    let error = Manual::open(hurt.clone(), &TestClock::at(1), config()).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged(damage) if damage.offset == first as u64), "{error:?}");
    assert_eq!(tools::verify(&hurt).unwrap().grade(), Some(Grade::Damage));
    let repaired = tools::repair(&hurt, false).unwrap();
    assert_eq!(
        repaired.lost.iter().map(|lost| (lost.first, lost.last)).collect::<Vec<_>>(),
        [(Seq(2), Seq(2))]
    );
    assert_eq!(open(&hurt).data("a"), ["one", "three"]);

    // The last one has: nothing tells it from one that was never written.
    let mut end = content.clone();
    end[second..third].fill(0);
    let torn = disk.copy(3);
    torn.put(&name, &end);
    assert_eq!(tools::verify(&torn).unwrap().grade(), None, "room is nothing to speak of");
    let mut log = open(&torn);
    assert_eq!(log.data("a"), ["one", "two"]);
    assert_eq!(log.publish("a", "another three"), Seq(3));
    log.end();
    // Unless the log is known to have ended behind it.
    let mut short = torn.content(&name).unwrap();
    short[second..].fill(0);
    torn.put(&name, &short);
    assert!(matches!(Manual::open(torn, &TestClock::at(1), config()), Err(OpenError::Damaged(_))));
}

#[test]
fn zeros_at_the_end_of_a_sealed_segment_are_damage() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    for n in 0..12 {
        log.publish("a", &format!("{n} {}", "x".repeat(100)));
    }
    let disk = disk.kill();
    let mut names = disk.names();
    names.retain(|name| name.ends_with(".log"));
    let mut content = disk.content(&names[0]).unwrap();
    let len = content.len();
    content[len - 150..].fill(0);
    disk.put(&names[0], &content);
    for name in disk.names().iter().filter(|name| name.ends_with(".ckpt") || name.ends_with(".idx")) {
        disk.remove(name);
    }
    assert!(matches!(Manual::open(disk, &TestClock::at(1), config()), Err(OpenError::Damaged(_))));
}

#[test]
fn room_behind_a_sealed_segment_is_cut_off_by_a_start() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    for n in 0..12 {
        log.publish("a", &format!("{n} {}", "x".repeat(100)));
    }
    let all = log.data("a");
    let disk = disk.kill();
    let name = disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap();
    let content = disk.content(&name).unwrap();
    let mut longer = content.clone();
    longer.resize(content.len() + 5_000, 0);
    disk.put(&name, &longer);
    assert_eq!(tools::verify(&disk).unwrap().grade(), None);
    assert_eq!(open(&disk).data("a"), all);
    assert_eq!(disk.content(&name), Some(content));
}

#[test]
fn old_bytes_behind_a_cut_never_come_back() {
    // A batch that was written and not synced is cut off with a failed sync; what is written over it is shorter.
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "kept");
    disk.fail(Fault { call: Call::Sync, after: 0, kind: std::io::ErrorKind::Other });
    let long = publish("a", &"long ".repeat(60));
    assert!(refused(&log.one(long)).is_some());
    let disk = disk.kill();
    let mut log = open(&disk);
    let found = log.data("a");
    log.publish("a", "short");
    let disk = disk.kill();
    assert_eq!(open(&disk).data("a"), [found, vec!["short".into()]].concat());
}

#[test]
fn a_failed_sync_is_final_and_readers_are_served_on() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.publish("a", "kept");
    disk.fail(Fault { call: Call::Sync, after: 0, kind: std::io::ErrorKind::Other });
    let failed = Outcome::Refused(tidings_hub::ports::Refusal::Failed);
    assert_eq!(log.one(publish("a", "lost")), failed);
    assert_eq!(log.one(publish("a", "later")), failed);
    assert_eq!(log.one(ephemeral("a", "later")), failed);
    assert_eq!(log.data("a"), ["kept"], "what was not synced is not shown");
    let told = log.told.with(|told| (told.records.len(), told.health.clone()));
    assert_eq!(told.0, 1);
    assert!(
        matches!(&told.1[..], [tidings_hub::ports::Health::Failed { message }] if message.contains("sync"))
    );
    assert_eq!(log.log.bounds().head, Seq(1));
}

#[test]
fn a_start_reads_the_checkpoint_and_falls_back_when_it_is_damaged() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    log.done(Op::Close { topic: topic("over") });
    for n in 0..60 {
        log.done(keyed("a", &format!("{n}"), "key", n));
    }
    log.end();
    let checkpoints = || disk.names().into_iter().filter(|n| n.ends_with(".ckpt")).collect::<Vec<_>>();
    assert_eq!(checkpoints().len(), 2, "the last and one more");
    for bad in 0..=2 {
        let copy = disk.copy(1);
        for name in checkpoints().iter().rev().take(bad) {
            copy.put(name, b"not a checkpoint");
        }
        let mut log = open(&copy);
        assert_eq!(log.data("a").len(), 60, "{bad} damaged");
        assert!(refused(&log.one(publish("over", "x"))).is_some(), "{bad} damaged: closed is closed");
        assert!(matches!(log.one(keyed("a", "again", "key", 59)), Outcome::Held(held) if held.count == 60));
    }
}

#[test]
fn a_file_of_a_newer_version_is_named() {
    let disk = SimDisk::seeded(1);
    open(&disk).end();
    let mut meta = disk.content("META").unwrap();
    meta[4] = 9;
    let body = meta.len() - 4;
    let crc = crc32c::crc32c(&meta[..body]).to_le_bytes();
    meta[body..].copy_from_slice(&crc);
    disk.put("META", &meta);
    let error = Manual::open(disk, &TestClock::at(1), config()).err().unwrap();
    assert!(matches!(&error, OpenError::Newer { version: 9, .. }), "{error:?}");
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    for n in 0..60 {
        log.publish("a", &format!("{n}"));
    }
    log.end();
    let logs: Vec<_> = disk.names().into_iter().filter(|n| n.ends_with(".log")).collect();
    assert!(logs.len() > 3);
    disk.remove(&logs[1]);
    let error = Manual::open(disk, &TestClock::at(1), config()).err().unwrap();
    assert!(error.to_string().contains(&format!("({}) is missing", logs[1])), "{error}");
}

#[test]
fn zeros_at_the_end_of_a_segment_that_is_followed_by_an_empty_one_are_damage() {
    for is_indexed in [true, false] {
        let disk = SimDisk::seeded(1);
        let mut log = open(&disk);
        let first = last_log(&disk).0;
        let mut ends = Vec::new();
        while last_log(&disk).0 == first {
            log.publish("a", &format!("{} {}", ends.len(), "x".repeat(100)));
            ends.push(batches_end(&disk.content(&first).unwrap()));
        }
        let disk = disk.kill();
        let mut content = disk.content(&first).unwrap();
        content[ends[ends.len() - 3]..].fill(0);
        disk.put(&first, &content);
        for name in disk.names() {
            if name.ends_with(".ckpt") || (!is_indexed && name.ends_with(".idx")) {
                disk.remove(&name);
            }
        }
        let opened = Manual::open(disk, &TestClock::at(1), config());
        assert!(matches!(opened, Err(OpenError::Damaged(_))), "indexed: {is_indexed}");
    }
}
