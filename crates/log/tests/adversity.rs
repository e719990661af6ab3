//! Adversity that a review thought of: a cut that is broken off, limits that starve, a file that vanishes, a hub that
//! is let go on the writer's own thread.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test ends where it is surprised")]

mod common;
use common::*;
use std::sync::{Arc, Mutex};
use tidings_hub::ports::Log;
use tidings_hub::{Retention, Selector};
use tidings_log::{EmbeddedLog, LogConfig, OnDamage, OpenError};
use tidings_testkit::disk::SimDisk;

fn open(disk: &SimDisk) -> Manual {
    Manual::open(disk.clone(), &TestClock::at(1), config()).unwrap()
}

#[test]
fn interrupted_cut_reuses_positions() {
    let mut bad = Vec::new();
    let mut done = false;
    for calls in 0..200 {
        if done {
            break;
        }
        let disk = SimDisk::seeded(1);
        let mut log = open(&disk);
        log.publish("a", "one");
        let name = disk.names().into_iter().rfind(|n| n.ends_with(".log")).unwrap();
        let first = disk.content(&name).unwrap();
        // Behind the last byte of a batch is room for the next one.
        let end = first.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        log.publish("a", "two");
        log.publish("a", "three");
        let epoch = log.log.bounds().epochs.current();
        let disk = disk.kill();
        let mut content = disk.content(&name).unwrap();
        content[end + 70] ^= 1;
        disk.put(&name, &content);
        disk.lose_power_in(calls);
        let cut = LogConfig { on_damage: OnDamage::Cut, ..config() };
        let r = Manual::open(disk.clone(), &TestClock::at(1), cut);
        done = r.is_ok();
        drop(r);
        let disk = disk.power_on();
        let Ok(mut log) = Manual::open(disk.clone(), &TestClock::at(1), config()) else { continue };
        let seq = log.publish("a", "OTHER");
        let now = log.log.bounds().epochs.current();
        if now == epoch {
            bad.push((calls, seq));
        }
    }
    assert!(bad.is_empty(), "same epoch, places handed out again: {bad:?}");
}

#[test]
fn busy_topics_starve_limits_of_others() {
    let clock = TestClock::at(1);
    let one = Retention { count: Some(1), ..Retention::default() };
    let config = LogConfig {
        topic_retention: vec![(Selector::parse("u/*").unwrap(), one)],
        segment_bytes: 1 << 20,
        ..config()
    };
    let mut log = Manual::open(SimDisk::seeded(1), &clock, config).unwrap();
    for _ in 0..30 {
        for n in 0..600 {
            log.publish(&format!("u/{n}"), "x");
        }
        clock.pass(1_000);
        log.tick();
    }
    let mut counts: Vec<usize> = (0..600).map(|n| log.data(&format!("u/{n}")).len()).collect();
    counts.sort_unstable();
    assert!(
        counts[599] <= 6,
        "limit 1, 30 rounds: {} topics hold all {}",
        counts.iter().filter(|c| **c == counts[599]).count(),
        counts[599]
    );
}

#[test]
fn a_segment_that_vanishes_is_not_silently_skipped() {
    let disk = SimDisk::seeded(1);
    let mut log = open(&disk);
    for n in 0..60 {
        log.publish("a", &n.to_string());
    }
    let logs: Vec<_> = disk.names().into_iter().filter(|n| n.ends_with(".log")).collect();
    assert!(logs.len() > 3);
    disk.remove(&logs[1]);
    let got = log.try_all("a");
    if let Ok(all) = got {
        panic!("{} of 60, oldest {:?}, no error", all.len(), log.log.bounds().oldest);
    }
}

struct DropAll(Mutex<Option<Box<dyn std::any::Any + Send>>>);
impl std::task::Wake for DropAll {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn last_hub_dropped_while_the_writer_commits() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1);
    let log: Arc<dyn Log> =
        Arc::new(EmbeddedLog::open_dir(dir.path(), clock.clone(), LogConfig::default()).unwrap());
    let weak = Arc::downgrade(&log);
    let hub = tidings_hub::Hub::open(log, clock.clone(), tidings_hub::Limits::default()).unwrap();
    let filter = tidings_hub::Filter::topics(tidings_hub::Selectors::one(topic("a")));
    let mut sub = hub.subscribe(tidings_hub::Subscribe::new(filter)).unwrap();
    let bag = Arc::new(DropAll(Mutex::new(None)));
    let waker: std::task::Waker = bag.clone().into();
    let mut cx = std::task::Context::from_waker(&waker);
    while sub.poll_chunk(&mut cx).is_ready() {}
    // a publish is on its way while its sender, the reader and the hub go
    let mut publishing = Box::pin({
        let hub = hub.clone();
        async move { hub.publish(event(&["a"], "x")).await }
    });
    *bag.0.lock().unwrap() = Some(Box::new((hub, sub)));
    drop(std::future::Future::poll(publishing.as_mut(), &mut cx));
    drop(publishing);
    for _ in 0..1_000 {
        if weak.strong_count() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(weak.upgrade().is_none());
    // The writer ends by itself; until it has, the directory is its own.
    let reopen = || EmbeddedLog::open_dir(dir.path(), clock.clone(), LogConfig::default());
    let mut opened = reopen();
    for _ in 0..1_000 {
        if !matches!(opened, Err(OpenError::Locked { .. })) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        opened = reopen();
    }
    assert!(opened.is_ok(), "{:?}", opened.err());
}

/// A sink that panics at its first commit, and notes what it is told of the store's health.
struct Clumsy(std::sync::mpsc::SyncSender<tidings_hub::ports::Health>);

impl tidings_hub::ports::Sink for Clumsy {
    fn commit(&mut self, _: tidings_hub::ports::Batch) {
        panic!("on purpose");
    }

    fn health(&mut self, health: tidings_hub::ports::Health) {
        self.0.send(health).unwrap();
    }
}

#[test]
fn whoever_listens_is_told_that_the_writer_is_gone() {
    use tidings_hub::ports::{Health, Outcome, Refusal, Submission};
    let (tell, told) = std::sync::mpsc::sync_channel(4);
    let log = EmbeddedLog::open(Arc::new(SimDisk::seeded(1)), TestClock::at(1), config()).unwrap();
    log.attach(Box::new(Clumsy(tell))).unwrap();
    let submit = || log.submit(Submission { ops: vec![publish("a", "one")], atomic: true, time_ms: 1 });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcomes = runtime.block_on(submit());
    assert_eq!(outcomes, [Outcome::Refused(Refusal::Failed)], "what became of it a restart tells");
    let told = told.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(matches!(&told, Health::Failed { message } if message.contains("unexpectedly")), "{told:?}");
    assert!(matches!(log.health(), Health::Failed { .. }));
    assert_eq!(runtime.block_on(submit()), [Outcome::Refused(Refusal::Failed)]);
}
