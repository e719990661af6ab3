//! Directories that earlier versions of the format left behind, opened by the present code.
//!
//! `fixtures/vN/` was made by the code that wrote version N and is never made again; `fixtures/vN.txt` tells what
//! is in it, line by line. A format that changes gets a new directory beside the old ones:
//! `TIDINGS_WRITE_FIXTURE=vN cargo test -p tidings-log --test fixtures` makes it.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::*;
use tidings_codec::{EventId, EventName};
use tidings_hub::ports::{Log, Op, Outcome, Publish};
use tidings_hub::{Once, Producer, Record, Retention, Seq, TopicConfig};
use tidings_log::{LogConfig, RealDisk};
use tidings_testkit::disk::SimDisk;

/// When the events of a fixture were published.
const TIME_MS: u64 = 1_700_000_000_000;
const KEYS: [&str; 2] = ["import", "upload"];

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixture_config() -> LogConfig {
    LogConfig { segment_bytes: 900, ..config() }
}

/// A little of everything a log can hold, over several segments, and an end in the middle of a write.
fn make() -> SimDisk {
    let disk = SimDisk::seeded(1);
    let clock = TestClock::at(TIME_MS);
    let mut log = Manual::open(disk.clone(), &clock, fixture_config()).unwrap();
    let retention = Retention { age_ms: Some(3_600_000_000), count: Some(50), ..Retention::default() };
    log.done(configure("scores", TopicConfig { retention, ..TopicConfig::default() }));
    let image = TopicConfig { content_type: "image/png".into(), ..TopicConfig::default() };
    log.done(configure("images", image));
    log.done(Op::Publish(Publish::bytes(
        [topic("images")].into_iter().collect(),
        Bytes::from_static(b"\xff\x00\xfe"),
    )));
    log.done(configure("typing", TopicConfig { ephemeral: true, ..TopicConfig::default() }));
    log.done(publish("typing", "kept nowhere, and its place is never given out again"));
    for n in 0..20 {
        clock.pass(1_000);
        log.publish("scores", &format!("{n} : {}", n * 7 % 5));
        log.done(keyed("imports", &format!("line {n}"), "import", n));
    }
    log.done(Op::Publish(Publish {
        private: true,
        id: Some(EventId::parse("order-7").unwrap()),
        event: Some(EventName::parse("paid").unwrap()),
        retry_ms: Some(1_500),
        ..event(&["orders/7", "orders"], "naïve ünïcode 名前\nsecond line")
    }));
    log.done(keyed("uploads", "", "upload", 0));
    log.publish("gone", "deleted below");
    log.publish("gone", "and this");
    log.done(Op::Delete { topic: topic("gone") });
    log.publish("gone", "a new life");
    log.done(Op::Trim { topic: topic("imports"), through: Seq(12) });
    log.done(Op::Close { topic: topic("orders/7") });
    log.done(Op::Close { topic: topic("never published") });
    // Since version 2: producers, what is kept as a newest value, tombstones, compacted segments.
    log.done(numbered("sensors", "21.5", "sensor", 3, 0));
    log.done(numbered("sensors", "21.7", "sensor", 3, 1));
    let kept = Retention { age_ms: Some(3_600_000_000), keep_last: true, ..Retention::default() };
    log.done(configure("states", TopicConfig { retention: kept, ..TopicConfig::default() }));
    log.publish("states", "on");
    let tombstone = Some(EventName::parse("tidings.tombstone").unwrap());
    log.done(Op::Publish(Publish { event: tombstone, ..event(&["states"], "") }));
    for n in 0..40 {
        log.publish("noise", &format!("noise {n}"));
        if n % 10 == 0 {
            log.publish("signal", &format!("signal {n}"));
        }
    }
    log.done(Op::Delete { topic: topic("noise") });
    for _ in 0..20 {
        clock.pass(2_000);
        log.tick();
    }
    log.publish("scores", "the last one that was acked and is whole");
    log.publish("scores", "cut short");
    let disk = disk.kill();
    // The last write was under way: nothing that a later header proves, so it may be gone.
    let last = disk.names().into_iter().filter(|name| name.ends_with(".log")).max().unwrap();
    let content = disk.content(&last).unwrap();
    disk.put(&last, &content[..content.len() - 5]);
    disk
}

fn line(record: &Record) -> String {
    let names: Vec<_> = record.topics.iter().map(|topic| topic.as_str()).collect();
    let body = record.event().unwrap();
    let marks = [(body.private, " private"), (body.binary, " binary")];
    let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
    let once = match &body.once {
        None => "item=None".into(),
        Some(Once::Item(item)) => format!("item={:?}", Some((item.key.as_ref(), item.index))),
        Some(Once::Producer(Producer { id, epoch, seq })) => {
            format!("producer={:?}", (id.as_ref(), epoch, seq))
        }
    };
    format!(
        "{} {} {}{marks} id={:?} event={:?} retry={:?} {once} data={:?}",
        record.seq.0,
        record.time_ms,
        names.join(","),
        body.id.as_ref().map(EventId::as_str),
        body.event.as_ref().map(EventName::as_str),
        body.retry_ms,
        body.data,
    )
}

/// Everything that is in a log: events, the state of the topics, keys.
fn tell(log: &mut Manual) -> String {
    let mut told = String::new();
    let bounds = log.log.bounds();
    writeln!(told, "oldest {} head {} lives {}", bounds.oldest.0, bounds.head.0, bounds.epochs.pairs().len())
        .unwrap();
    for record in log.all("**") {
        writeln!(told, "{}", line(&record)).unwrap();
    }
    let fold = log.fold();
    let mut topics: Vec<_> = fold.iter().collect();
    topics.sort_unstable_by_key(|(name, _)| *name);
    for (name, state) in topics {
        let closed = state.closed.map(|at| at.0);
        let places = [state.created, state.last, state.last_public, state.trimmed].map(|seq| seq.0);
        write!(told, "topic {name}: created, last, last public, trimmed {places:?} closed {closed:?}")
            .unwrap();
        if let Some(config) = &state.config {
            let TopicConfig { content_type, retention, ephemeral } = config.as_ref();
            let Retention { age_ms, bytes, count, .. } = retention;
            let limits = [age_ms, bytes, count];
            write!(told, " declared {content_type} {limits:?} ephemeral {ephemeral}").unwrap();
            let kept = if retention.keep_last { " the newest is kept" } else { "" };
            told.push_str(kept);
        }
        let tombstone = if state.last_is_tombstone { " the newest is a tombstone" } else { "" };
        told.push_str(tombstone);
        told.push('\n');
    }
    writeln!(told, "forgotten {}", fold.forgotten().0).unwrap();
    for key in KEYS {
        match log.one(keyed("scores", "again", key, 0)) {
            Outcome::Held(held) => {
                let (first, last) = (held.first.seq.0, held.last.seq.0);
                writeln!(told, "key {key}: {} items, {first} to {last}", held.count).unwrap();
            }
            other => panic!("{key} is not known: {other:?}"),
        }
    }
    told
}

/// Copies a directory, since opening one changes it.
fn copy(version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(place(version)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

#[track_caller]
fn check(version: &str) {
    let expected = fs::read_to_string(place(&format!("{version}.txt"))).unwrap();
    let dir = copy(version);
    // Twice: what the first start made of it is read as well.
    for _ in 0..2 {
        let clock = TestClock::at(TIME_MS + 60_000);
        let disk = RealDisk::new(dir.path()).unwrap();
        let mut log = Manual::open(disk, &clock, fixture_config()).unwrap();
        assert_eq!(tell(&mut log), expected, "{version}");
        drop(log);
    }
    let log = Manual::open(RealDisk::new(dir.path()).unwrap(), &TestClock::at(TIME_MS), fixture_config());
    let mut log = log.unwrap();
    let head = log.log.bounds().head;
    assert_eq!(log.publish("scores", "it goes on"), head.next());
}

#[test]
fn what_version_1_left_is_read() {
    check("v1");
}

#[test]
fn what_version_2_left_is_read() {
    check("v2");
    let dir = copy("v2");
    let is_compacted = |content: Vec<u8>| content.starts_with(b"TIDINGS\n\x02\0\0\0") && content[12] & 2 != 0;
    let logs = fs::read_dir(dir.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    assert!(logs.filter(|content| is_compacted(content.clone())).count() > 0);
    let disk = RealDisk::new(dir.path()).unwrap();
    let mut log = Manual::open(disk, &TestClock::at(TIME_MS + 60_000), fixture_config()).unwrap();
    match log.one(numbered("sensors", "21.7", "sensor", 3, 1)) {
        Outcome::Repeated(_) => {}
        other => panic!("the producer is not known: {other:?}"),
    }
}

#[test]
fn a_new_version_is_written_when_asked_for() {
    let disk = make();
    let Ok(version) = std::env::var("TIDINGS_WRITE_FIXTURE") else {
        // The generator itself goes on working.
        let mut log = Manual::open(disk, &TestClock::at(TIME_MS + 60_000), fixture_config()).unwrap();
        assert!(tell(&mut log).contains("the last one that was acked"));
        return;
    };
    fs::create_dir(place(&version)).unwrap();
    for name in disk.names() {
        fs::write(place(&version).join(&name), disk.content(&name).unwrap()).unwrap();
    }
    let mut log = Manual::open(disk, &TestClock::at(TIME_MS + 60_000), fixture_config()).unwrap();
    fs::write(place(&format!("{version}.txt")), tell(&mut log)).unwrap();
}
