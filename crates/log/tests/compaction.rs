//! Compaction: what is dead leaves the disk, what is alive stays at its place, at every crash and for every reader.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::sync::Arc;

use common::*;
use tidings_hub::ports::{Clock as _, Log, LogError, Op, Publish};
use tidings_hub::{EventName, Record, Retention, Selector, Selectors, Seq, TopicConfig};
use tidings_log::LogConfig;
use tidings_log::tools::{self, Grade};
use tidings_testkit::disk::{Call, Fault, SimDisk};

const SECOND: u64 = 1_000;

fn small() -> LogConfig {
    LogConfig { segment_bytes: 4_096, ..config() }
}

fn open(disk: &SimDisk, clock: &Arc<TestClock>, config: &LogConfig) -> Manual {
    Manual::open(disk.clone(), clock, config.clone()).unwrap()
}

fn logs(disk: &SimDisk) -> usize {
    disk.names().iter().filter(|name| name.ends_with(".log")).count()
}

fn segment_bytes(disk: &SimDisk) -> u64 {
    let names = disk.names().into_iter().filter(|name| name.ends_with(".log"));
    names.map(|name| disk.content(&name).unwrap().len() as u64).sum()
}

/// Rounds of upkeep until nothing more is done about what is there.
fn settle(log: &mut Manual) {
    for _ in 0..40 {
        log.clock.pass(2 * SECOND);
        log.tick();
    }
}

fn contains(disk: &SimDisk, text: &str) -> bool {
    let has =
        |name: &String| disk.content(name).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes());
    disk.names().iter().any(has)
}

fn places(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq.0).collect()
}

#[test]
fn what_is_deleted_leaves_the_disk_and_the_rest_keeps_its_places() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = open(&disk, &clock, &small());
    for n in 0..200 {
        log.publish("secrets", &format!("hidden word {n} "));
        if n % 10 == 0 {
            log.publish("kept", &format!("kept {n}"));
        }
    }
    let kept = log.all("kept");
    let before = segment_bytes(&disk);
    log.done(Op::Delete { topic: topic("secrets") });
    log.publish("other", "beside the last of it, in the segment that is written to");
    settle(&mut log);
    assert!(!contains(&disk, "hidden word 1 "), "what is dead for the most part does not wait");
    assert!(contains(&disk, "hidden word 199"), "what is written to does");
    for _ in 0..2 {
        clock.pass(LogConfig::default().erase_after_ms);
        settle(&mut log);
    }
    assert!(!contains(&disk, "hidden word"), "nothing of it is left in any file");
    assert_eq!(log.all("kept"), kept, "same places, same times, same data");
    assert!(segment_bytes(&disk) < before, "{} of {before}", segment_bytes(&disk));
    let exactly = tidings_hub::ports::Want::Exactly(places(&kept).into_iter().map(Seq).collect());
    assert_eq!(log.page(exactly, 1, usize::MAX).unwrap().records, kept);
    let everything = log.all("**");
    for disk in [disk.copy(2), disk.kill()] {
        let log = open(&disk, &clock, &small());
        assert_eq!(log.all("**"), everything);
        assert_eq!(log.fold().lost_through(&Selectors::one(topic("kept")), Seq::ZERO), Seq::ZERO);
        let lost = log.fold().lost_through(&Selectors::one(topic("secrets")), Seq::ZERO);
        assert!(lost >= Seq(200), "whoever had not seen it is told: {lost:?}");
    }
}

#[test]
fn the_newest_value_of_every_topic_outlives_the_limits_of_the_log() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let limits = LogConfig {
        retention_bytes: Some(12_000),
        retention_keep_last: true,
        retention_age_ms: Some(3_600 * SECOND),
        ..small()
    };
    let mut log = open(&disk, &clock, &limits);
    for n in 0..50 {
        log.publish(&format!("score/{n}"), &format!("old {n}"));
        log.publish(&format!("score/{n}"), &format!("last {n}"));
    }
    let event = Some(EventName::parse("tidings.tombstone").unwrap());
    log.done(Op::Publish(Publish { event, ..common::event(&["score/7"], "") }));
    log.done(Op::Delete { topic: topic("score/8") });
    for n in 0..600 {
        log.publish("noise", &format!("{n} {}", "x".repeat(80)));
        if n % 40 == 0 {
            settle(&mut log);
        }
    }
    settle(&mut log);
    let check = |log: &Manual| {
        for n in 0..50 {
            let expected = if n == 7 || n == 8 { vec![] } else { vec![format!("last {n}")] };
            assert_eq!(log.data(&format!("score/{n}")), expected, "score/{n}");
            let state = log.fold().get(&format!("score/{n}"));
            // What `from=last` looks at.
            assert_eq!(state.is_some_and(|state| state.last > state.trimmed), !expected.is_empty());
        }
        let noise = log.data("noise");
        assert!(noise.len() < 200 && noise.last().unwrap().starts_with("599 "));
    };
    check(&log);
    assert!(segment_bytes(&disk) < 12_000 + 2 * 4_096 + 50 * 120, "{}", segment_bytes(&disk));
    check(&open(&disk.copy(1), &clock, &limits));
    clock.pass(7_200 * SECOND);
    for n in 0..50 {
        log.publish(&format!("score/{n}"), &format!("new {n}"));
    }
    settle(&mut log);
    clock.pass(7_200 * SECOND);
    settle(&mut log);
    for n in 0..50 {
        assert_eq!(log.data(&format!("score/{n}")), [format!("new {n}")], "the last one is the last one");
    }
    assert_eq!(log.data("noise").len(), 1);
}

#[test]
fn an_event_of_several_topics_lives_as_long_as_one_of_them_keeps_it() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let mut log = open(&disk, &clock, &small());
    let mut shared = Vec::new();
    for n in 0..100 {
        log.publish("gone", &format!("alone {n}"));
        if n % 8 == 0 {
            let private = n % 16 == 0;
            let publish = Publish { private, ..event(&["gone", "kept"], &format!("both {n}")) };
            shared.push(log.done(Op::Publish(publish)));
        }
    }
    log.done(Op::Delete { topic: topic("gone") });
    for _ in 0..20 {
        log.publish("other", &"x".repeat(500));
    }
    settle(&mut log);
    assert!(!contains(&disk, "alone 5"));
    let kept = log.all("kept");
    assert_eq!(kept.iter().map(|record| record.seq).collect::<Vec<_>>(), shared);
    assert!(kept.iter().all(|record| record.topics.len() == 2), "as it was published");
    assert_eq!(kept.iter().filter(|record| record.event().unwrap().private).count(), 7);
    assert!(log.data("gone").is_empty(), "and to nobody else");
    assert_eq!(open(&disk.kill(), &clock, &small()).all("kept"), kept);
}

#[test]
fn lifetimes_by_pattern_end_in_time_and_space_follows() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let own = |pattern: &str, age_s: u64| {
        let age_ms = Some(age_s * SECOND);
        (Selector::parse(pattern).unwrap(), Retention { age_ms, ..Retention::default() })
    };
    let topic_retention = vec![own("minute/*", 60), own("hour/*", 3_600)];
    let limits = LogConfig { topic_retention, ..small() };
    let mut log = open(&disk, &clock, &limits);
    for second in 0..900u64 {
        for kind in ["minute", "hour"] {
            log.publish(&format!("{kind}/{}", second % 97), &format!("{second}"));
        }
        if second % 100 == 0 {
            log.publish("for ever", &format!("{second}"));
        }
        clock.pass(SECOND);
        log.tick();
    }
    let minute: Vec<u64> = log.data("minute/*").iter().map(|data| data.parse().unwrap()).collect();
    let oldest = minute.iter().min().unwrap();
    // Kept at least so long, and at most a part longer: what a segment spans, a sixteenth of its age, a round.
    assert!((900 - 60 - 40..=900 - 60).contains(oldest), "{oldest}");
    assert!((minute.len() as u64) >= 60, "nothing went too early");
    assert_eq!(log.data("hour/*").len(), 900);
    clock.pass(3_600 * SECOND);
    settle(&mut log);
    clock.pass(600 * SECOND);
    settle(&mut log);
    assert!(log.data("minute/*").is_empty() && log.data("hour/*").is_empty());
    assert_eq!(log.data("for ever").len(), 9);
    assert!(segment_bytes(&disk) < 3 * 4_096, "{}", segment_bytes(&disk));
    assert!(logs(&disk) < 6, "and the files are few: {:?}", disk.names());
}

/// A log with several segments that are dead for the most part, and what is alive in it.
fn half_dead(seed: u64) -> (SimDisk, Arc<TestClock>, Vec<Record>) {
    let disk = SimDisk::seeded(seed);
    let clock = TestClock::at(1_000_000);
    let mut log = open(&disk, &clock, &small());
    log.done(configure("kept", TopicConfig { content_type: "text/html".into(), ..TopicConfig::default() }));
    log.done(Op::Close { topic: topic("closed") });
    for n in 0..150 {
        log.publish("gone", &format!("gone {n}"));
        if n % 9 == 0 {
            log.publish("kept", &format!("kept {n}"));
        }
    }
    for _ in 0..10 {
        log.publish("other", &"x".repeat(500));
    }
    log.done(Op::Delete { topic: topic("gone") });
    let alive = log.all("**");
    log.end();
    (disk, clock, alive)
}

#[track_caller]
fn check_alive(disk: &SimDisk, clock: &Arc<TestClock>, alive: &[Record], what: &str) {
    let mut log =
        Manual::open(disk.clone(), clock, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(log.all("**"), alive, "{what}");
    let fold = log.fold();
    assert_eq!(fold.get("kept").unwrap().config.unwrap().content_type.as_ref(), "text/html", "{what}");
    assert!(fold.get("closed").unwrap().closed.is_some(), "{what}");
    assert!(fold.lost_through(&Selectors::one(topic("gone")), Seq::ZERO) >= Seq(150), "{what}");
    settle(&mut log);
    assert_eq!(log.all("**"), alive, "{what}");
    assert!(!contains(disk, "gone 5"), "{what}: it is compacted in the end");
}

#[test]
fn power_may_go_at_any_call() {
    let (pristine, _, alive) = half_dead(5);
    let mut calls = 0;
    for seed in 0..2 {
        for at in 1.. {
            let clock = TestClock::at(1_500_000);
            let disk = pristine.copy(seed * 10_000 + at);
            let mut log = open(&disk, &clock, &small());
            disk.lose_power_in(at);
            settle(&mut log);
            let is_over = !disk.is_dark();
            drop(log);
            let disk = if is_over { disk.kill() } else { disk.power_on() };
            check_alive(&disk, &clock, &alive, &format!("seed {seed}, call {at}"));
            if is_over {
                calls = at;
                break;
            }
        }
    }
    assert!(calls > 20, "compaction was under way: {calls} calls");
}

#[test]
fn a_rename_that_failed_and_was_done_all_the_same_takes_nothing_away() {
    let (pristine, _, alive) = half_dead(5);
    for seed in 0..30 {
        for after in 0..4 {
            let clock = TestClock::at(1_500_000);
            let disk = pristine.copy(seed);
            let mut log = open(&disk, &clock, &small());
            disk.fail(Fault { call: Call::Rename, after, kind: std::io::ErrorKind::Other });
            settle(&mut log);
            assert_eq!(log.all("**"), alive, "seed {seed}, rename {after}");
            drop(log);
            check_alive(&disk.kill(), &clock, &alive, &format!("seed {seed}, rename {after}"));
        }
    }
}

/// A rename fails, and so do the next calls that would look what became of it.
fn fail_blindly(disk: &SimDisk, renames: u64, opens: u64) {
    disk.fail(Fault { call: Call::Rename, after: renames, kind: std::io::ErrorKind::Other });
    for after in [opens, 0, 0] {
        disk.fail(Fault { call: Call::Open, after, kind: std::io::ErrorKind::Other });
    }
}

/// A log at work until the first of these struck, without a read: a file that is open already is the old one whatever
/// its name means.
fn struck(pristine: &SimDisk, (seed, renames, opens): (u64, u64, u64)) -> (SimDisk, Manual) {
    let disk = pristine.copy(seed);
    let mut log = open(&disk, &TestClock::at(1_500_000), &small());
    fail_blindly(&disk, renames, opens);
    while disk.struck() == 0 && log.clock.wall_ms() < 1_540_000 {
        log.clock.pass(2 * SECOND);
        log.tick();
    }
    (disk, log)
}

/// Every rename and every open at which that may begin.
fn blind_spots() -> impl Iterator<Item = (u64, u64, u64)> {
    (0..3).flat_map(|seed| (0..3).flat_map(move |renames| (0..40).map(move |opens| (seed, renames, opens))))
}

#[test]
fn nor_does_one_of_which_nobody_can_see_at_once_what_became_of_it() {
    let (pristine, _, alive) = half_dead(5);
    for (seed, renames, opens) in blind_spots() {
        let what = format!("seed {seed}, rename {renames}, open {opens}");
        let (disk, mut log) = struck(&pristine, (seed, renames, opens));
        let clock = Arc::clone(&log.clock);
        for _ in 0..4 {
            // A read may meet a fault, and says so; it finds no damage, and never less than there is.
            match log.try_all("**") {
                Ok(found) => assert_eq!(found, alive, "{what}"),
                Err(error) => assert!(matches!(error, LogError::Io { .. }), "{what}: {error}"),
            }
        }
        settle(&mut log);
        // As often as there may be faults left.
        let found = (0..5).find_map(|_| log.try_all("**").ok());
        assert_eq!(found.as_ref(), Some(&alive), "{what}");
        drop(log);
        check_alive(&disk.kill(), &clock, &alive, &what);
    }
}

#[test]
fn and_power_may_go_while_nobody_knows() {
    let (pristine, _, alive) = half_dead(5);
    // Names are lost by chance.
    let chances = (0..40)
        .flat_map(|seed| (1..3).flat_map(move |renames| (6..14).map(move |opens| (seed, renames, opens))));
    for (seed, renames, opens) in chances {
        for calls in 1..6 {
            let what = format!("seed {seed}, rename {renames}, open {opens}, call {calls}");
            let (disk, log) = struck(&pristine, (seed, renames, opens));
            let clock = Arc::clone(&log.clock);
            drop(log);
            // Killed first, so that a start meets names that do not last yet, and loses power over them.
            let disk = disk.kill();
            disk.lose_power_in(calls);
            drop(Manual::open(disk.clone(), &clock, small()));
            let disk = if disk.is_dark() { disk.power_on() } else { disk.kill() };
            check_alive(&disk, &clock, &alive, &what);
        }
    }
}

#[test]
fn a_process_may_be_killed_between_any_two_jobs() {
    let (pristine, _, alive) = half_dead(6);
    for at in 0..200 {
        let clock = TestClock::at(1_500_000);
        let disk = pristine.copy(at);
        let mut log = open(&disk, &clock, &small());
        let mut left = at;
        let mut is_over = true;
        'rounds: for _ in 0..20 {
            clock.pass(2 * SECOND);
            log.log.tick();
            log.pump_alone();
            loop {
                if left == 0 {
                    is_over = false;
                    break 'rounds;
                }
                left -= 1;
                if !log.keep() {
                    break;
                }
            }
        }
        drop(log);
        check_alive(&disk.kill(), &clock, &alive, &format!("job {at}"));
        if is_over {
            assert!(at > 5);
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn segments_of_version_1_are_compacted_too() {
    let dir = tempfile::tempdir().unwrap();
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let clock = TestClock::at(1_700_000_100_000);
    let config = LogConfig { segment_bytes: 900, ..config() };
    let open = || {
        let disk = tidings_log::RealDisk::new(dir.path()).unwrap();
        Manual::open(disk, &clock, config.clone()).unwrap()
    };
    let mut log = open();
    log.done(Op::Delete { topic: topic("scores") });
    log.done(Op::Delete { topic: topic("gone") });
    let alive = log.all("**");
    settle(&mut log);
    assert_eq!(log.all("**"), alive);
    let versions = || {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        let mut versions: Vec<u8> = logs.map(|path| std::fs::read(path).unwrap()[8]).collect();
        versions.sort_unstable();
        versions
    };
    assert!(versions().contains(&2), "{:?}", versions());
    log.publish("other", "after it");
    drop(log);
    let log = open();
    assert_eq!(log.all("**").len(), alive.len() + 1);
    assert_eq!(log.data("imports").len(), 17, "trimmed through 12");
}

#[test]
fn a_reader_between_two_pages_finds_all_that_is_alive_and_no_silent_hole() {
    let (disk, clock, alive) = half_dead(7);
    let mut log = open(&disk, &clock, &small());
    let mut found = Vec::new();
    let mut from = 1;
    while from <= log.log.bounds().head.0 {
        let page = log.page(topics("**"), from, 200).unwrap();
        found.extend(page.records);
        from = page.through.0 + 1;
        // One step of the keeper between any two pages: files are swapped under the reader.
        clock.pass(SECOND);
        log.log.tick();
        log.pump_alone();
        log.keep();
    }
    assert_eq!(found, alive);
    settle(&mut log);
    assert!(!contains(&disk, "gone 5"), "it was compacted meanwhile");
}

#[test]
fn what_a_reader_has_not_seen_yet_is_told_before_it_goes() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    let age_ms = Some(60 * SECOND);
    let rule = (Selector::parse("short/*").unwrap(), Retention { age_ms, ..Retention::default() });
    let limits = LogConfig { topic_retention: vec![rule], ..small() };
    let mut log = open(&disk, &clock, &limits);
    for n in 0..120 {
        log.publish("short/a", &format!("{n}"));
        log.publish("long", &format!("{n}"));
    }
    let first = log.page(topics("short/a"), 1, 300).unwrap();
    let seen = first.through;
    clock.pass(120 * SECOND);
    settle(&mut log);
    assert!(log.data("short/a").is_empty());
    let rest = log.page(topics("short/a"), seen.next().0, usize::MAX).unwrap();
    assert!(rest.records.is_empty());
    // The reader stands at `seen`, and more was lost than that: a hub tells a gap.
    let lost = log.fold().lost_through(&Selectors::one(topic("short/a")), seen);
    assert!(lost > seen && lost >= Seq(239), "{lost:?}");
    assert_eq!(log.fold().lost_through(&Selectors::one(topic("long")), Seq::ZERO), Seq::ZERO);
}

#[test]
fn small_neighbours_become_one_file() {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(1_000_000);
    // An age limit makes a new segment every eighth of it.
    let limits = LogConfig { retention_age_ms: Some(8_000 * SECOND), segment_bytes: 1 << 20, ..config() };
    let mut log = open(&disk, &clock, &limits);
    for n in 0..60 {
        log.publish("rare", &n.to_string());
        clock.pass(120 * SECOND);
        log.tick();
    }
    settle(&mut log);
    assert_eq!(log.data("rare").len(), 60);
    assert!(logs(&disk) <= 6, "{:?}", disk.names());
    let log = open(&disk.kill(), &clock, &limits);
    assert_eq!(log.data("rare").len(), 60);
}

#[test]
fn what_a_compacted_file_stands_for_goes_whatever_is_left_of_it() {
    let (disk, clock, alive) = half_dead(8);
    let hurt = |name: &String| {
        let mut bytes = disk.content(name).unwrap();
        bytes[40] ^= 4;
        bytes
    };
    let before: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    let inputs: Vec<_> = before.iter().map(hurt).collect();
    let mut log = open(&disk, &clock, &small());
    settle(&mut log);
    log.end();
    let first = disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap();
    assert_eq!(disk.content(&first).unwrap()[12] & 2, 2, "it is compacted");
    let is_there = |name: &String| disk.names().contains(name);
    let (name, input) = before
        .iter()
        .zip(inputs)
        .find(|(name, _)| !is_there(name))
        .expect("one that was made one with another");
    let mut begun = input[..96].to_vec();
    begun[40] ^= 4;
    // A segment that could not be made, nor removed again; one of which the header is hurt.
    for bytes in [Vec::new(), vec![7; 50], input] {
        let odd = disk.copy(1);
        odd.put(name, &bytes);
        let what = format!("{} bytes", bytes.len());
        assert_eq!(tools::verify(&odd).unwrap().grade(), Some(Grade::Note), "{what}");
        check_alive(&odd, &clock, &alive, &what);
        assert!(!odd.names().contains(name), "{what}");
    }
    // One that was only begun outlives the compacted one: it never was one itself, and nothing of it is missing.
    let odd = disk.copy(1);
    odd.remove(&first);
    odd.put(name, &begun);
    assert_eq!(tools::verify(&odd).unwrap().grade(), Some(Grade::Note));
    drop(open(&odd, &clock, &small()));
    assert!(!odd.names().contains(name));
    // Of one that may have stood for others nobody knows for which. So it is with the compacted one when nothing is left.
    let nothing = disk.copy(1);
    nothing.put(&first, &[]);
    odd.put(name, &[7; 50]);
    for (odd, name) in [(odd, name), (nothing, &first)] {
        assert!(Manual::open(odd.clone(), &clock, small()).is_err());
        assert_eq!(tools::verify(&odd).unwrap().grade(), Some(Grade::Damage));
        let repaired = tools::repair(&odd, false).unwrap();
        let lost = repaired.lost.last().expect("what nobody can read").last;
        let is_aside = |other: &String| other.starts_with(name.as_str()) && other.ends_with(".damaged");
        assert!(odd.names().iter().any(is_aside), "{:?}", odd.names());
        let log = open(&odd, &clock, &small());
        let left = log.all("**");
        assert_eq!(left, alive.iter().filter(|record| record.seq > lost).cloned().collect::<Vec<_>>());
        assert!(!left.is_empty() && log.log.bounds().oldest > Seq(1), "{:?}", log.log.bounds());
        drop(log);
        assert!(tools::verify(&odd).unwrap().grade() < Some(Grade::Damage));
    }
    // What is another log's, or another version's, is nobody's to remove.
    let (other, _, _) = half_dead(9);
    for (is_newer, found) in [(true, "version"), (false, "another log")] {
        let odd = disk.copy(1);
        let mut bytes = other.content(before.first().unwrap()).unwrap();
        if is_newer {
            bytes[8] = 99;
            let crc = crc32c::crc32c(&bytes[..92]).to_le_bytes();
            bytes[92..96].copy_from_slice(&crc);
        }
        odd.put(name, &bytes);
        let Err(error) = Manual::open(odd.clone(), &clock, small()) else { panic!("{found}: it opens") };
        assert!(error.to_string().contains(found), "{error}");
        assert!(odd.names().contains(name), "{found}");
    }
}

#[test]
fn a_flipped_byte_of_a_compacted_file_never_passes_for_what_was_written() {
    let (disk, clock, alive) = half_dead(8);
    let mut log = open(&disk, &clock, &small());
    settle(&mut log);
    log.end();
    let first = disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap();
    let content = disk.content(&first).unwrap();
    assert_eq!(content[12] & 2, 2, "it is compacted");
    for at in 0..content.len() {
        let odd = disk.copy(at as u64);
        let mut bytes = content.clone();
        bytes[at] ^= 4;
        odd.put(&first, &bytes);
        let Ok(log) = Manual::open(odd, &clock, small()) else { continue };
        // Damage inside is found when it is read.
        if let Ok(found) = log.try_all("**") {
            assert_eq!(found, alive, "byte {at}");
        }
    }
    for len in 0..content.len() {
        let odd = disk.copy(len as u64);
        odd.put(&first, &content[..len]);
        assert!(Manual::open(odd, &clock, small()).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn a_start_without_the_checkpoint_that_compaction_rests_on_is_refused() {
    let (disk, clock, _) = half_dead(9);
    let mut log = open(&disk, &clock, &small());
    settle(&mut log);
    log.end();
    let checkpoints: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".ckpt")).collect();
    for name in &checkpoints {
        disk.remove(name);
    }
    let Err(error) = Manual::open(disk.clone(), &clock, small()) else { panic!("it opens") };
    assert!(error.to_string().contains("compaction"), "{error}");
    // So it is damage to whoever verifies, and no backup: one that is made beside a hub copies checkpoints first, and may
    // meet a file that was compacted since.
    assert_eq!(tools::verify(&disk).unwrap().grade(), Some(Grade::Damage));
    assert!(tools::backup(&disk, &SimDisk::seeded(1)).is_err());
}
