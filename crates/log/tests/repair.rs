//! Damage, verification and repair: every byte of a small log flipped, every file cut at every length or taken away.
//! What a start or a reader refuses, a verification finds and a repair mends: everything that was not hit is served
//! again under its old place, and what was hit is told.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::sync::Arc;

use common::*;
use tidings_hub::Seq;
use tidings_hub::ports::{Log, Op, SeqRange};
use tidings_log::tools::{self, Grade};
use tidings_log::{EmbeddedLog, LogConfig, OpenError};
use tidings_testkit::disk::SimDisk;

type Events = Vec<(Seq, String)>;

fn small() -> LogConfig {
    LogConfig { segment_bytes: 700, ..config() }
}

/// A log of a few segments with several records in a batch, and what was acked.
fn log_of(end_cleanly: bool) -> (SimDisk, Events) {
    let disk = SimDisk::seeded(5);
    let mut log = Manual::open(disk.clone(), &TestClock::at(9), small()).unwrap();
    log.done(Op::Close { topic: topic("closed") });
    let mut acked = Vec::new();
    for round in 0..7 {
        let data = |n: usize| format!("event {round}.{n} {}", "x".repeat(30 + n));
        let ops = (0..3).map(|n| publish(["a", "b"][n % 2], &data(n))).collect();
        for (n, outcome) in log.submit(ops, true).iter().enumerate() {
            acked.push((committed(outcome), data(n)));
        }
    }
    if end_cleanly {
        log.end();
        return (disk, acked);
    }
    (disk.kill(), acked)
}

struct Served {
    events: Events,
    lost: Vec<SeqRange>,
    next: Seq,
}

/// What a start serves, and where the next event goes; or that it, or a reader, was refused.
fn serve(disk: &SimDisk) -> Result<Served, String> {
    let open = EmbeddedLog::open_manual(Arc::new(disk.clone()), TestClock::at(9), small());
    let (log, pump) = match open {
        Ok(opened) => opened,
        Err(error @ OpenError::Damaged(_)) => return Err(error.to_string()),
        Err(other) => panic!("{other}"),
    };
    let told = Told::default();
    let snapshot = log.attach(Box::new(told.clone())).unwrap();
    let mut manual = Manual { log, pump: Some(pump), told, clock: TestClock::at(9) };
    let records = manual.try_all("**").map_err(|error| error.to_string())?;
    let events = records.iter().map(|record| (record.seq, text(record))).collect();
    let next = manual.publish("after", "more");
    Ok(Served { events, lost: snapshot.lost.to_vec(), next })
}

/// Repairs an odd directory that was refused and holds what is served then against what was acked. How many events
/// are lost.
#[track_caller]
fn mend(disk: &SimDisk, acked: &Events, what: &str) -> usize {
    let found = tools::verify(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(found.grade(), Some(Grade::Damage), "{what}: {found:?}");
    let plan = tools::repair(disk, true).unwrap();
    let repaired = tools::repair(disk, false).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(plan, repaired, "{what}: what it says is what it does");
    let after = tools::verify(disk).unwrap();
    assert!(after.grade() != Some(Grade::Damage), "{what}: repaired, and still {after:?}");
    let served = serve(disk).unwrap_or_else(|error| panic!("{what}: repaired, and still: {error}"));
    let is_lost = |seq: Seq| served.lost.iter().any(|range| (range.first..=range.last).contains(&seq));
    let mut missing = 0;
    for event in acked {
        if !served.events.contains(event) {
            assert!(is_lost(event.0), "{what}: {event:?} is missing, and nobody says so: {:?}", served.lost);
            missing += 1;
        }
    }
    for event in &served.events {
        assert!(acked.contains(event), "{what}: {event:?} was never written");
        assert!(!is_lost(event.0), "{what}: {event:?} is there and said to be lost");
    }
    let last = acked.last().unwrap().0;
    assert!(served.next > last, "{what}: place {:?} is given out again", served.next);
    missing
}

fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

#[test]
fn a_flipped_byte_costs_at_most_the_record_it_hits() {
    let (mut mended, mut free) = (0, 0);
    for end_cleanly in [false, true] {
        let (disk, acked) = log_of(end_cleanly);
        for (name, content) in files(&disk) {
            for at in 0..content.len() {
                let mut odd = content.clone();
                odd[at] ^= 1 << (at % 8);
                let copy = disk.copy(0);
                copy.put(&name, &odd);
                let Err(message) = serve(&copy.copy(1)) else { continue };
                let what = format!("{name}, byte {at}");
                assert!(message.contains("tidings log repair"), "{what}: {message}");
                let missing = mend(&copy, &acked, &what);
                assert!(missing <= 1, "{what}: {missing} events are lost");
                mended += 1;
                free += u32::from(missing == 0);
            }
        }
    }
    assert!(mended > 1_000 && free > 300, "{mended} were mended, {free} of them without a loss");
}

#[test]
fn what_a_cut_file_had_is_told() {
    for end_cleanly in [false, true] {
        let (disk, acked) = log_of(end_cleanly);
        for (name, content) in files(&disk) {
            for len in 0..content.len() {
                let copy = disk.copy(0);
                copy.put(&name, &content[..len]);
                if serve(&copy.copy(1)).is_err() {
                    mend(&copy, &acked, &format!("{name}, cut at {len}"));
                }
            }
        }
    }
}

#[test]
fn what_a_missing_file_had_is_told() {
    let (disk, acked) = log_of(true);
    let mut mended = 0;
    for (name, _) in files(&disk) {
        let copy = disk.copy(0);
        copy.remove(&name);
        if serve(&copy.copy(1)).is_err() {
            mend(&copy, &acked, &format!("{name} is missing"));
            mended += 1;
        }
    }
    assert!(mended > 2, "{mended}");
}

#[test]
fn several_wounds_in_one_segment_are_mended_at_once() {
    let (disk, acked) = log_of(true);
    let segments: Vec<_> = files(&disk).into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    for (name, content) in &segments {
        for step in [61, 97, 150] {
            for from in 0..40 {
                let mut odd = content.clone();
                (from..odd.len()).step_by(step).for_each(|at| odd[at] ^= 0x20);
                let copy = disk.copy(0);
                copy.put(name, &odd);
                if serve(&copy.copy(1)).is_err() {
                    mend(&copy, &acked, &format!("{name}, every {step} from {from}"));
                }
            }
        }
    }
}

#[test]
fn a_whole_log_is_left_alone() {
    let (disk, _) = log_of(true);
    let before = files(&disk);
    let repaired = tools::repair(&disk, false).unwrap();
    assert_eq!((repaired.report.grade(), repaired.done.len()), (None, 0), "{repaired:?}");
    let mut after = files(&disk);
    after.retain(|(name, _)| name != "LOCK");
    assert!(after.iter().all(|file| before.contains(file)));
    assert_eq!(repaired.report.events, 21);
}

#[test]
fn a_second_wound_keeps_the_first_one_told() {
    let (disk, acked) = log_of(true);
    let mut lost = 0;
    for _ in 0..3 {
        let (name, content) = files(&disk).into_iter().find(|(name, _)| name.ends_with("1.log")).unwrap();
        let wound = |at: usize| {
            let mut odd = content.clone();
            odd[at] ^= 1;
            let copy = disk.copy(0);
            copy.put(&name, &odd);
            (serve(&copy.copy(1)).is_err() && mend(&copy, &acked, "a copy") > lost).then_some(odd)
        };
        let odd = (0..content.len()).find_map(wound).unwrap();
        disk.put(&name, &odd);
        tools::repair(&disk, false).unwrap();
        lost += 1;
    }
    // What was noted goes missing too: the segments still tell.
    disk.remove("LOST");
    assert_eq!(tools::verify(&disk).unwrap().grade(), Some(Grade::Damage));
    assert_eq!(mend(&disk, &acked, "LOST is missing"), lost);
}

#[test]
fn a_batch_whose_header_is_gone_is_found_whole_before_one_without_records() {
    let disk = SimDisk::seeded(5);
    let mut log = Manual::open(disk.clone(), &TestClock::at(9), config()).unwrap();
    log.publish("a", "one");
    let header = batches_end(&disk.content("00000000000000000001.log").unwrap());
    log.submit(vec![publish("a", "two"), publish("a", "three"), publish("b", "four")], true);
    // Reserves places, in a batch without records.
    log.done(ephemeral("typing", "not stored"));
    log.publish("a", "five");
    let disk = disk.kill();
    let mut content = disk.content("00000000000000000001.log").unwrap();
    content[header + 20] ^= 1;
    disk.put("00000000000000000001.log", &content);
    let repaired = tools::repair(&disk, false).unwrap();
    assert_eq!(repaired.lost, [], "every record can be found by itself");
    let log = Manual::open(disk, &TestClock::at(9), config()).unwrap();
    assert_eq!(log.data("**"), ["one", "two", "three", "four", "five"]);
}
