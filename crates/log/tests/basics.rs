//! The log as its port promises it: what is submitted is judged, kept, shown, answered, and read again.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use tidings_hub::ports::{Durability, Health, Log, LogError, Op, Outcome, Refusal, SeqRange, Want};
use tidings_hub::{Seq, TopicConfig};
use tidings_log::{EmbeddedLog, LogConfig, OpenError};
use tidings_testkit::disk::SimDisk;

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1_000), config()).unwrap()
}

#[test]
fn what_is_published_is_read_by_topic_pattern_and_place_over_many_segments() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    let mut all = Vec::new();
    for n in 0..200 {
        let topic = format!("t/{}", n % 7);
        all.push((log.publish(&topic, &format!("event {n}")), topic, format!("event {n}")));
    }
    assert!(disk.names().iter().filter(|name| name.ends_with(".log")).count() > 5, "it rolled");
    let check = |log: &Manual| {
        for selector in ["t/3", "t/*", "**", "t/none", "x*"] {
            let wanted = tidings_hub::Selector::parse(selector).unwrap();
            let expected: Vec<_> = all
                .iter()
                .filter(|(_, topic, _)| wanted.matches(topic))
                .map(|(_, _, data)| data.clone())
                .collect();
            assert_eq!(log.data(selector), expected, "{selector}");
        }
        let places: Vec<Seq> = all.iter().step_by(13).map(|(seq, ..)| *seq).chain([Seq(10_000)]).collect();
        let page = log.page(Want::Exactly(places.clone().into()), 1, usize::MAX).unwrap();
        let found: Vec<Seq> = page.records.iter().map(|record| record.seq).collect();
        assert_eq!(found, places[..places.len() - 1]);
    };
    check(&log);
    log.end();
    let log = open(&disk);
    check(&log);
    let indexes: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".idx")).collect();
    log.end();
    for (at, index) in indexes.iter().enumerate() {
        let mut content = disk.content(index).unwrap();
        disk.remove(index);
        if at % 2 == 0 {
            let middle = content.len() / 2;
            content[middle] ^= 1;
            disk.put(index, &content);
        }
    }
    let log = open(&disk);
    check(&log);
}

#[test]
fn a_page_ends_where_its_bytes_do_and_the_next_goes_on_there() {
    let mut log = open(&SimDisk::seeded(1));
    for n in 0..20 {
        log.publish("a", &format!("{n}{}", "x".repeat(90)));
        log.publish("b", "other");
    }
    let page = log.page(topics("a"), 1, 400).unwrap();
    assert_eq!(page.records.len(), 3);
    assert_eq!(page.through, page.records[2].seq);
    let whole = log.page(topics("a"), 1, usize::MAX).unwrap();
    assert_eq!((whole.records.len(), whole.through, whole.oldest), (20, log.log.bounds().head, Seq(1)));
    let range = SeqRange { first: Seq(500), last: Seq(600) };
    let beyond = now(log.log.read(topics("a"), range, 100)).unwrap();
    assert!(beyond.records.is_empty() && beyond.through < Seq(500));
    let one = now(log.log.read(topics("**"), SeqRange { first: Seq(3), last: Seq(3) }, 1)).unwrap();
    assert_eq!((one.records.len(), one.through), (1, Seq(3)));
}

#[test]
fn the_sink_sees_what_is_acked_in_order_and_only_one_sink() {
    let mut log = open(&SimDisk::seeded(1));
    assert!(matches!(log.log.attach(Box::new(Told::default())), Err(LogError::Attached)));
    let waiting: Vec<_> = (0..5)
        .map(|n| {
            let ops = vec![publish("a", &n.to_string()), ephemeral("a", "gone")];
            log.log.submit(tidings_hub::ports::Submission { ops, atomic: false, time_ms: 1 })
        })
        .collect();
    assert!(log.told.with(|told| told.records.is_empty()), "nothing is seen before it is durable");
    log.pump();
    let acked: Vec<Seq> = waiting.into_iter().flat_map(now).map(|outcome| committed(&outcome)).collect();
    let seen = log.told.with(|told| told.records.iter().map(|r| r.seq).collect::<Vec<_>>());
    assert_eq!(seen, acked);
    assert_eq!(seen, (1..=10).map(Seq).collect::<Vec<_>>());
    assert_eq!(log.data("**").len(), 5);
}

#[test]
fn a_closed_topic_refuses_and_a_deleted_one_is_gone() {
    let mut log = open(&SimDisk::seeded(1));
    log.publish("a", "1");
    log.publish("keep", "2");
    log.done(Op::Publish(event(&["a", "keep"], "both")));
    log.done(Op::Close { topic: topic("a") });
    assert!(matches!(refused(&log.one(publish("a", "no"))), Some(Refusal::Closed { .. })));
    log.done(Op::Delete { topic: topic("a") });
    assert!(log.data("a").is_empty());
    assert_eq!(log.data("**"), ["2", "both"], "an event is there for the topics that are");
    log.publish("a", "anew");
    assert_eq!(log.data("a"), ["anew"]);
}

#[test]
fn what_is_too_large_for_a_batch_is_split_or_refused() {
    let config = LogConfig { batch_bytes_max: 1_024, ..config() };
    let mut log = Manual::open(SimDisk::seeded(1), &TestClock::at(1), config).unwrap();
    let ops = |data: &[usize]| data.iter().map(|len| publish("a", &"x".repeat(*len))).collect::<Vec<_>>();
    let outcomes = log.submit(ops(&[500, 500, 500, 500]), false);
    assert_eq!(outcomes.iter().map(committed).collect::<Vec<_>>(), [1, 2, 3, 4].map(Seq));
    let outcomes = log.submit(ops(&[500, 500, 500, 500]), true);
    assert_eq!(outcomes, vec![Outcome::Refused(Refusal::TooLarge { limit_bytes: 1_024 }); 4]);
    let outcomes = log.submit(ops(&[500, 2_000, 10]), false);
    assert_eq!(committed(&outcomes[0]), Seq(5));
    assert_eq!(outcomes[1..], [Outcome::Refused(Refusal::TooLarge { limit_bytes: 1_024 }), Outcome::Skipped]);
    assert_eq!(log.data("a").len(), 5);
    let mut mixed = ops(&[500, 500, 500]);
    mixed.insert(1, Op::Close { topic: topic("a") });
    let outcomes = log.submit(mixed, false);
    assert!(matches!(refused(&outcomes[2]), Some(Refusal::Closed { .. })), "{outcomes:?}");
    assert_eq!(outcomes[3], Outcome::Skipped);
}

#[test]
fn after_shutdown_submissions_are_refused_and_reads_go_on() {
    let mut log = open(&SimDisk::seeded(1));
    log.publish("a", "1");
    let ended = log.log.shutdown();
    let mut ended = std::pin::pin!(ended);
    // Its first poll sends the message; the pump handles it.
    let waker = std::task::Waker::noop();
    _ = ended.as_mut().poll(&mut std::task::Context::from_waker(waker));
    log.pump();
    now(ended);
    assert_eq!(log.one(publish("a", "2")), Outcome::Refused(Refusal::Stopped));
    assert_eq!((log.data("a"), log.log.health()), (vec!["1".to_owned()], Health::Stopped));
    assert_eq!(log.told.with(|told| told.health.clone()), [Health::Stopped]);
}

#[test]
fn what_was_declared_survives_restarts() {
    let disk = SimDisk::seeded(1);
    let declared = TopicConfig { content_type: "image/png".into(), ..TopicConfig::default() };
    let mut log = open(&disk);
    log.done(configure("png", declared.clone()));
    log.done(Op::Close { topic: topic("over") });
    log.end();
    for _ in 0..3 {
        let mut log = open(&disk);
        assert!(matches!(log.one(configure("png", declared.clone())), Outcome::Unchanged { .. }));
        assert!(matches!(refused(&log.one(publish("over", "x"))), Some(Refusal::Closed { .. })));
        log.end();
    }
}

#[test]
fn odd_settings_are_refused_by_name() {
    let clock = TestClock::at(1);
    let open = |config| Manual::open(SimDisk::seeded(1), &clock, config).err().map(|error| error.to_string());
    for (config, name) in [
        (LogConfig { durability: Durability::Memory, ..config() }, "MemoryLog"),
        (LogConfig { segment_bytes: 1, ..config() }, "segment_bytes"),
        (LogConfig { batch_bytes_max: 1 << 40, ..config() }, "batch_bytes_max"),
        (LogConfig { read_queue_max: 0, ..config() }, "read_queue_max"),
    ] {
        assert!(open(config).unwrap().contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_and_a_real_directory_serve_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(5);
    let config = LogConfig { segment_bytes: 16 << 10, ..LogConfig::default() };
    let log = std::sync::Arc::new(EmbeddedLog::open_dir(dir.path(), clock.clone(), config.clone()).unwrap());
    let told = Told::default();
    log.attach(Box::new(told.clone())).unwrap();
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0..100 {
                let ops = vec![publish(&format!("w/{writer}"), &n.to_string())];
                let outcomes =
                    log.submit(tidings_hub::ports::Submission { ops, atomic: false, time_ms: 5 }).await;
                committed(&outcomes[0]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(told.with(|told| told.records.len()), 800);
    let check = async |log: &EmbeddedLog| {
        for writer in 0..8 {
            let range = SeqRange { first: Seq(1), last: Seq(u64::MAX) };
            let page = log.read(topics(&format!("w/{writer}")), range, 1 << 20).await.unwrap();
            let data: Vec<_> = page.records.iter().map(|r| r.event().unwrap().data.clone()).collect();
            let expected: Vec<_> = (0..100).map(|n| bytes::Bytes::from(n.to_string())).collect();
            assert_eq!(data, expected);
        }
    };
    check(&log).await;
    log.shutdown().await;
    drop(log);
    let again = EmbeddedLog::open_dir(dir.path(), clock.clone(), config.clone()).unwrap();
    assert_eq!(again.bounds().head, Seq(800));
    check(&again).await;
    let second = EmbeddedLog::open_dir(dir.path(), clock, config);
    assert!(matches!(second.err(), Some(OpenError::Locked { holder: Some(_), .. })));
}
