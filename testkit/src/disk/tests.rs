//! The disk itself: what it promises it keeps, and everything else it breaks in every way, sooner or later.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use tidings_log::{Disk, DiskFile};

use super::*;

const SEEDS: u64 = 2_000;

fn file(disk: &SimDisk, name: &str) -> Arc<dyn DiskFile> {
    let file = disk.create(name).unwrap();
    disk.sync_dir().unwrap();
    file
}

/// What is left after a loss of power, over many seeds, of what `work` did.
fn outcomes<T: Ord>(work: impl Fn(&SimDisk), look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    let left = (0..SEEDS).map(|seed| {
        let disk = SimDisk::seeded(seed);
        work(&disk);
        look(&disk.power_on())
    });
    left.collect()
}

#[test]
fn unsynced_pages_are_lost_in_any_subset() {
    let work = |disk: &SimDisk| {
        let file = file(disk, "a");
        file.write_at(0, &[b'.'; 4 * 512]).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[b'x'; 2 * 512]).unwrap();
        file.write_at(2 * 512, &[b'x'; 2 * 512]).unwrap();
    };
    let pages = |disk: &SimDisk| -> Vec<bool> {
        let content = disk.content("a").unwrap();
        content.chunks(512).map(|page| page.iter().all(|byte| *byte == b'x')).collect()
    };
    let found = outcomes(work, pages);
    for subset in 0..16u32 {
        let wanted: Vec<bool> = (0..4).map(|page| subset >> page & 1 == 1).collect();
        assert!(found.contains(&wanted), "{wanted:?} never happened");
    }
}

#[test]
fn a_write_that_finds_no_space_is_never_whole() {
    let write = |seed: u64, kind: ErrorKind| {
        let disk = SimDisk::seeded(seed);
        let file = file(&disk, "a");
        disk.fail(Fault { call: Call::Write, after: 0, kind });
        file.write_at(0, b"1234").unwrap_err();
        disk.content("a").unwrap().len()
    };
    let lengths = |kind| (0..SEEDS).map(|seed| write(seed, kind)).collect::<BTreeSet<_>>();
    assert_eq!(lengths(ErrorKind::StorageFull), BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(lengths(ErrorKind::Other), BTreeSet::from([0, 1, 2, 3, 4]));
}

#[test]
fn power_goes_at_a_call_of_a_kind() {
    let disk = SimDisk::seeded(1);
    let file = file(&disk, "a");
    disk.lose_power_on(Call::Rename, 1);
    disk.rename("a", "b").unwrap();
    file.write_at(0, b"x").unwrap();
    disk.sync_dir().unwrap();
    assert!(!disk.is_dark());
    disk.rename("b", "c").unwrap_err();
    assert!(disk.is_dark());
}

#[test]
fn a_write_is_torn_at_any_byte() {
    let work = |disk: &SimDisk| {
        let file = file(disk, "a");
        file.write_at(0, b"old old").unwrap();
        file.sync_data().unwrap();
        file.write_at(4, b"new!").unwrap();
    };
    let found = outcomes(work, |disk| String::from_utf8(disk.content("a").unwrap()).unwrap());
    for torn in ["old old", "old nld", "old ned", "old new", "old new!"] {
        assert!(found.contains(torn), "{torn:?} is not among {found:?}");
    }
    assert!(found.iter().all(|left| left.starts_with("old ")), "what was synced stays: {found:?}");
}

#[test]
fn what_was_not_synced_is_reordered_within_a_file_and_across_files() {
    let work = |disk: &SimDisk| {
        let (first, second) = (file(disk, "a"), file(disk, "b"));
        first.write_at(0, b"1").unwrap();
        first.write_at(600, b"2").unwrap();
        second.write_at(0, b"3").unwrap();
    };
    let there = |disk: &SimDisk| {
        let at = |name: &str, at: usize| disk.content(name).unwrap().get(at).is_some_and(|byte| *byte > 0);
        (at("a", 0), at("a", 600), at("b", 0))
    };
    assert_eq!(outcomes(work, there).len(), 8, "every combination happens");
}

#[test]
fn the_length_may_be_there_before_the_bytes() {
    let work = |disk: &SimDisk| file(disk, "a").write_at(0, &[b'x'; 1_000]).unwrap();
    let zeros = |disk: &SimDisk| {
        let content = disk.content("a").unwrap();
        content.len() == 1_000 && content.iter().all(|byte| *byte == 0)
    };
    assert!(outcomes(work, zeros).contains(&true));
}

#[test]
fn what_was_synced_stays_whatever_follows() {
    let work = |disk: &SimDisk| {
        let file = file(disk, "a");
        file.write_at(0, b"kept").unwrap();
        file.sync_data().unwrap();
        file.write_at(4, &[b'x'; 3_000]).unwrap();
        disk.create("b").unwrap().write_at(0, b"b").unwrap();
    };
    let found = outcomes(work, |disk| disk.content("a").unwrap()[..4].to_vec());
    assert_eq!(found, BTreeSet::from([b"kept".to_vec()]));
}

#[test]
fn an_unsynced_cut_may_be_undone_and_a_synced_one_not() {
    let work = |is_synced: bool| {
        move |disk: &SimDisk| {
            let file = file(disk, "a");
            file.write_at(0, b"long").unwrap();
            file.sync_data().unwrap();
            file.truncate(1).unwrap();
            if is_synced {
                file.sync_data().unwrap();
            }
        }
    };
    let content = |disk: &SimDisk| disk.content("a").unwrap();
    assert_eq!(outcomes(work(false), content), BTreeSet::from([b"l".to_vec(), b"long".to_vec()]));
    assert_eq!(outcomes(work(true), content), BTreeSet::from([b"l".to_vec()]));
}

#[test]
fn unsynced_names_are_lost_each_for_itself() {
    let work = |disk: &SimDisk| {
        file(disk, "gone");
        file(disk, "from");
        disk.unlink("gone").unwrap();
        disk.rename("from", "to").unwrap();
        disk.create("new").unwrap();
    };
    let found = outcomes(work, SimDisk::names);
    assert_eq!(found.len(), 8, "every combination happens: {found:?}");
    for names in &found {
        let has = |name: &str| names.iter().any(|other| other == name);
        assert!(has("from") != has("to"), "a renamed file is at one of its names: {names:?}");
    }
}

#[test]
fn synced_names_stay() {
    let work = |disk: &SimDisk| {
        file(disk, "gone");
        disk.unlink("gone").unwrap();
        disk.create("from").unwrap();
        disk.rename("from", "to").unwrap();
        disk.sync_dir().unwrap();
    };
    assert_eq!(outcomes(work, SimDisk::names), BTreeSet::from([vec!["to".to_owned()]]));
}

#[test]
fn a_name_lasts_without_its_bytes_and_bytes_without_their_name() {
    let work = |disk: &SimDisk| {
        file(disk, "b").write_at(0, b"x").unwrap();
        let nameless = disk.create("a").unwrap();
        nameless.write_at(0, b"x").unwrap();
        nameless.sync_data().unwrap();
    };
    let found = outcomes(work, |disk| (disk.content("a").is_some(), disk.content("b")));
    assert!(found.contains(&(false, Some(b"x".to_vec()))) && found.contains(&(true, Some(Vec::new()))));
}

/// Does one call of each kind, in order, and says how it ended.
fn one_of_each(disk: &SimDisk) -> Vec<(Call, io::Result<()>)> {
    let there = disk.open("there");
    let done = |result: &io::Result<Arc<dyn DiskFile>>| match result {
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind().into()),
    };
    let mut ends = vec![(Call::Open, done(&there))];
    let created = disk.create("new");
    ends.push((Call::Create, done(&created)));
    if let Ok(file) = there {
        ends.push((Call::Read, file.read_at(0, &mut [0; 4]).map(drop)));
        ends.push((Call::Write, file.write_at(0, b"12345678")));
        ends.push((Call::Truncate, file.truncate(2)));
        ends.push((Call::Sync, file.sync_data()));
    }
    ends.push((Call::Rename, disk.rename("other", "renamed")));
    ends.push((Call::Unlink, disk.unlink("third")));
    ends.push((Call::SyncDir, disk.sync_dir()));
    ends
}

fn furnished(seed: u64) -> SimDisk {
    let disk = SimDisk::seeded(seed);
    ["there", "other", "third"].into_iter().for_each(|name| disk.put(name, b"abcd"));
    disk
}

#[test]
fn every_kind_of_call_fails_as_it_is_told_once() {
    for call in Call::ALL {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            let disk = furnished(1);
            disk.fail(Fault { call, after: 0, kind });
            let failed: Vec<_> = one_of_each(&disk).into_iter().filter(|(_, end)| end.is_err()).collect();
            assert_eq!(failed.len(), 1, "{call:?} {failed:?}");
            assert_eq!((failed[0].0, failed[0].1.as_ref().unwrap_err().kind()), (call, kind));
        }
    }
    assert!(one_of_each(&furnished(1)).iter().all(|(_, end)| end.is_ok()));
}

#[test]
fn a_fault_waits_for_its_turn() {
    let disk = furnished(1);
    disk.fail(Fault { call: Call::Sync, after: 2, kind: ErrorKind::Other });
    let file = disk.open("there").unwrap();
    let ends: Vec<bool> = (0..4).map(|_| file.sync_data().is_ok()).collect();
    assert_eq!(ends, [true, true, false, true]);
}

#[test]
fn a_failed_write_is_done_in_part() {
    let lengths: BTreeSet<usize> = (0..SEEDS)
        .map(|seed| {
            let disk = SimDisk::seeded(seed);
            let file = file(&disk, "a");
            disk.fail(Fault { call: Call::Write, after: 0, kind: ErrorKind::Other });
            file.write_at(0, b"12345678").unwrap_err();
            disk.content("a").unwrap().len()
        })
        .collect();
    assert_eq!(lengths, (0..=8).collect());
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_what_is_there() {
    let disk = SimDisk::seeded(1);
    let file = file(&disk, "a");
    disk.set_capacity(Some(6));
    file.write_at(0, b"1234").unwrap();
    assert_eq!(file.write_at(4, b"5678").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.content("a").unwrap(), b"123456");
    file.write_at(0, b"abcdef").unwrap();
    disk.set_capacity(None);
    file.write_at(6, b"gh").unwrap();
}

#[test]
fn a_change_of_names_that_failed_may_have_been_done() {
    let found = |kind| -> BTreeSet<Vec<String>> {
        let after = |seed| {
            let disk = furnished(seed);
            disk.fail(Fault { call: Call::Unlink, after: 0, kind });
            disk.unlink("third").unwrap_err();
            disk.names()
        };
        (0..SEEDS).map(after).collect()
    };
    assert_eq!(found(ErrorKind::Other).len(), 2);
    assert_eq!(found(ErrorKind::StorageFull).len(), 1);
}

#[test]
fn a_failed_sync_drops_what_no_later_sync_brings_back() {
    let work = |disk: &SimDisk| {
        let file = file(disk, "a");
        file.write_at(0, b"x").unwrap();
        disk.fail(Fault { call: Call::Sync, after: 0, kind: ErrorKind::Other });
        file.sync_data().unwrap_err();
        assert_eq!(disk.content("a").unwrap(), b"x", "a process sees it as before");
        file.sync_data().unwrap();
    };
    let found = outcomes(work, |disk| disk.content("a").unwrap());
    assert!(found.contains(b"x".as_slice()) && found.contains(b"".as_slice()), "{found:?}");
}

#[test]
fn power_goes_between_any_two_calls_and_nothing_works_until_it_is_back() {
    for calls in 1..=7 {
        let disk = furnished(calls);
        disk.lose_power_in(calls);
        let before = disk.calls();
        let ends = one_of_each(&disk);
        let counted = |call: Call| !matches!(call, Call::Open | Call::Read);
        let worked = ends.iter().filter(|(call, end)| counted(*call) && end.is_ok()).count() as u64;
        assert_eq!((worked, disk.is_dark()), (calls - 1, true), "{ends:?}");
        assert!(disk.calls() - before >= calls && disk.open("there").is_err() && disk.list().is_err());
        let later = disk.power_on();
        assert!(later.open("there").is_ok() && disk.open("there").is_err(), "old handles stay dead");
    }
}

#[test]
fn a_killed_process_loses_nothing_and_syncs_nothing() {
    let left = |seed| {
        let disk = SimDisk::seeded(seed);
        let file = file(&disk, "a");
        file.write_at(0, b"x").unwrap();
        let later = disk.kill();
        assert_eq!(later.content("a").unwrap(), b"x");
        assert!(file.write_at(0, b"y").is_err(), "it is gone");
        later.power_on().content("a").unwrap()
    };
    let found: BTreeSet<_> = (0..SEEDS).map(left).collect();
    assert!(found.contains(b"".as_slice()), "the loss of power still takes it: {found:?}");
}

#[test]
fn a_seed_repeats_exactly() {
    let run = |seed| {
        let disk = furnished(seed);
        disk.lose_power_in(6);
        drop(one_of_each(&disk));
        let later = disk.power_on();
        later.names().into_iter().map(|name| (later.content(&name), name)).collect::<Vec<_>>()
    };
    (0..SEEDS).for_each(|seed| assert_eq!(run(seed), run(seed)));
}
