//! Every byte of a small log flipped, every file cut at every length: a start gives what had been acked, up to
//! some point, or refuses and names the file; it never panics and never hands out a record that was not written.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::{Log, Op};
use tidings_hub::{Selectors, Seq};
use tidings_log::{LogConfig, OnDamage, OpenError};
use tidings_testkit::disk::SimDisk;

/// A log of a few segments, as an unclean end leaves it, and the texts that were acked, in order.
fn small_log(end_cleanly: bool) -> (SimDisk, Vec<String>) {
    let disk = SimDisk::seeded(3);
    let mut log =
        Manual::open(disk.clone(), &TestClock::at(9), LogConfig { segment_bytes: 500, ..config() }).unwrap();
    log.done(Op::Close { topic: topic("closed") });
    let mut acked = Vec::new();
    for n in 0..9 {
        let data = format!("event {n} {}", "x".repeat(40));
        log.done(keyed(["a", "b"][n % 2], &data, "k", n as u64));
        acked.push(data);
    }
    if end_cleanly {
        log.end();
        return (disk, acked);
    }
    // Killed: what a clean end would note is not there.
    let disk = disk.kill();
    (disk, acked)
}

/// What a start makes of a directory: the texts it hands out, or the refusal.
fn outcome(disk: &SimDisk, on_damage: OnDamage) -> Result<Vec<String>, OpenError> {
    let config = LogConfig { segment_bytes: 500, on_damage, ..config() };
    let log = Manual::open(disk.clone(), &TestClock::at(9), config)?;
    let mut texts = Vec::new();
    for record in log.try_all("**").map_err(|error| OpenError::Config { message: error.to_string() })? {
        texts.push(text(&record));
    }
    let bounds = log.log.bounds();
    assert!(bounds.oldest <= bounds.head.next());
    Ok(texts)
}

/// Checks one odd directory. Whether the start was refused, and whether something acked is missing silently.
#[track_caller]
fn check(disk: &SimDisk, acked: &[String], what: &str) -> (bool, bool) {
    match outcome(&disk.copy(1), OnDamage::Refuse) {
        Ok(texts) => {
            assert_eq!(
                texts,
                acked[..texts.len().min(acked.len())],
                "{what}: not a prefix of what was acked"
            );
            (false, texts.len() < acked.len())
        }
        Err(error @ OpenError::Damaged(_)) => {
            let message = error.to_string();
            assert!(message.contains("sim:") && message.contains("on_damage"), "{what}: {message}");
            let cut = outcome(&disk.copy(2), OnDamage::Cut);
            let texts = cut.unwrap_or_else(|error| panic!("{what}: cut, and still: {error}"));
            assert!(texts.iter().all(|text| acked.contains(text)), "{what}: cut gave {texts:?}");
            (true, false)
        }
        // Found by a reader, and said (an open that trusts a checkpoint does not read what is before it).
        Err(OpenError::Config { message }) => {
            assert!(message.contains("damaged"), "{what}: {message}");
            (true, false)
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

#[test]
fn no_flipped_byte_gives_an_altered_record() {
    for end_cleanly in [false, true] {
        let (disk, acked) = small_log(end_cleanly);
        let (mut refused, mut shorter) = (0, 0);
        for (name, content) in files(&disk) {
            for at in 0..content.len() {
                let mut odd = content.clone();
                odd[at] ^= 1 << (at % 8);
                let copy = disk.copy(0);
                copy.put(&name, &odd);
                let (is_refused, is_shorter) = check(&copy, &acked, &format!("{name}, byte {at}"));
                refused += u32::from(is_refused);
                shorter += u32::from(is_shorter);
            }
        }
        assert!(refused > 500, "damage is found: {refused}");
        if end_cleanly {
            assert_eq!(shorter, 0, "after a clean end nothing can be taken for a torn tail");
        } else {
            assert!(shorter > 0, "the last batch of a killed log cannot be told from a torn one");
        }
    }
}

#[test]
fn no_cut_gives_anything_but_a_prefix() {
    let (disk, acked) = small_log(false);
    for (name, content) in files(&disk) {
        for len in 0..content.len() {
            let copy = disk.copy(0);
            copy.put(&name, &content[..len]);
            check(&copy, &acked, &format!("{name}, cut at {len}"));
        }
    }
}

#[test]
fn no_missing_file_goes_unnoticed_if_something_was_in_it() {
    let (disk, acked) = small_log(true);
    for (name, _) in files(&disk) {
        let copy = disk.copy(0);
        copy.remove(&name);
        if name == "00000000000000000001.log" {
            // The oldest segment may be removed by hand: that is history let go, and its readers are told.
            let log = Manual::open(copy, &TestClock::at(9), config()).unwrap();
            let left = log.data("**");
            assert!(!left.is_empty() && acked.ends_with(&left), "{left:?}");
            for name in ["a", "b"] {
                let lost = log.fold().lost_through(&Selectors::one(topic(name)), Seq::ZERO);
                assert_eq!(lost, log.log.bounds().oldest.prev());
            }
            continue;
        }
        let (_, is_shorter) = check(&copy, &acked, &format!("{name} is missing"));
        assert!(!is_shorter, "{name} is missing, and nobody says so");
    }
}
