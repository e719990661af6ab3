//! Attacks that once succeeded, or might have: each test is named by what holds.

use super::world::*;
use crate::frame::{self, Dialect};
use crate::hub::SubscribeError;
use crate::limits::Limits;
use crate::ports::{Batch, Op};
use crate::position::{Position, Seq};
use crate::record::{EventBody, Record, What};
use crate::resume::{From, Resume};
use crate::shard::Shard;
use crate::topic::TopicConfig;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn record(seq: u64, name: &str, event: EventBody) -> Record {
    Record {
        seq: Seq(seq),
        time_ms: 0,
        topics: [topic(name)].into_iter().collect(),
        what: What::Event(event),
    }
}

fn fill(world: &World, name: &str, n: usize) {
    for n in 0..n {
        world.publish(name, &format!("{n} {}", "x".repeat(500)));
    }
}

#[test]
fn an_end_is_not_missed_while_another_batch_becomes_visible() {
    let world = World::new(Limits { heartbeat_ms: 0, ..Limits::default() });
    let mut alice = world.subscribe("a", From::Tail);
    world.publish("a", "1");
    assert_eq!(alice.seen(), ["1"]);
    world.close("a"); // wakes
    // The follower is between "visible" and "shards" with a batch of somebody else's.
    let head = world.hub.position().seq;
    let batch = Batch { records: vec![record(head.0 + 1, "other", EventBody::default())], trimmed: None };
    let base = world.hub.inner.visible.write().take(&batch);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let first = alice.stream.poll_chunk(&mut Context::from_waker(&waker));
    let pending = first.is_pending();
    for shard in &world.hub.inner.shards {
        let mut wake = vec![];
        shard.lock().handle_commit(&batch.records, base, &mut wake);
        wake.into_iter().for_each(Waker::wake);
    }
    for _ in 0..100 {
        world.pass(10_000);
    }
    assert!(!pending || count.get() > 0, "all topics closed, all delivered, and nobody ever wakes it");
}

#[test]
fn the_rest_of_a_closed_ephemeral_topic_comes_or_is_missed_aloud() {
    let world = World::new(Limits::default());
    let one = world.publish("typing/1", "1");
    world.publish("typing/1", "2");
    assert_eq!(world.subscribe("typing/1", at(one)).seen(), ["2"], "open");
    world.close("typing/1");
    let peer = world.try_subscribe("typing/1", at(one), |_| {});
    assert!(!matches!(peer, Err(SubscribeError::Ended { .. })), "204 although 2 is in the hot log");
}

#[test]
fn a_private_event_of_two_topics_comes_before_the_end() {
    let world = World::new(Limits::default());
    let open = world.publish("a", "open");
    world.publish_with("a b", "secret", |p| p.private = true);
    world.close("a");
    let peer = world.try_subscribe("a", at(open), |ask| ask.grant = grant("b"));
    assert!(peer.is_ok(), "204 before 'secret', which the grant for b allows");
    assert_eq!(peer.ok().unwrap().seen(), ["secret"]);
}

#[test]
fn from_last_sees_what_a_grant_for_the_other_topic_allows() {
    let world = World::new(Limits::default());
    world.publish("a", "open");
    world.publish_with("a b", "secret", |p| p.private = true);
    let mut peer = world.try_subscribe("a", From::Last, |ask| ask.grant = grant("b")).unwrap();
    assert_eq!(peer.seen().last().map(String::as_str), Some("secret"));
}

#[test]
fn from_last_keeps_to_the_wanted_types() {
    let goals = || filter("a").with_events(vec![event_name("goal").unwrap()]);
    let run = |cold: bool| {
        let world = World::new(small());
        world.publish_with("a", "g", |p| p.event = event_name("goal"));
        world.publish_with("a", "c", |p| p.event = event_name("card"));
        if cold {
            fill(&world, "other", 2_000);
        }
        world.try_subscribe("a", From::Last, |ask| ask.filter = goals()).unwrap().seen()
    };
    assert_eq!(run(false), run(true), "hot and cold differ");
    assert!(!run(false).contains(&"c".to_owned()), "a card for who wants goals only");
}

#[test]
fn conflation_keeps_the_newest_of_the_wanted_types() {
    let world = World::new(Limits::default());
    let start = world.publish("x", "x");
    world.publish_with("a", "price 1", |p| p.event = event_name("price"));
    world.publish_with("a", "price 2", |p| p.event = event_name("price"));
    world.publish_with("a", "note", |p| p.event = event_name("note"));
    let mut peer = world
        .try_subscribe("a", at(start), |ask| {
            ask.filter = filter("a").with_events(vec![event_name("price").unwrap()]);
            ask.conflate = true;
        })
        .unwrap();
    assert_eq!(peer.seen().last().map(String::as_str), Some("price 2"));
}

#[test]
fn a_loss_below_an_older_loss_of_another_topic_is_told() {
    for how in ["topic trim", "store trim"] {
        let world = World::new(small());
        for n in 0..1_000 {
            world.publish(if n % 2 == 0 { "a" } else { "b" }, &format!("{n} {}", "x".repeat(500)));
        }
        let _ = world.run(Op::Trim { topic: topic("a"), through: Seq(900) });
        let mut peer = world.subscribe("a b", From::Start);
        let mut got = 0;
        while got == 0 {
            let chunk = peer.chunk().unwrap().unwrap();
            got += peer.decode(&chunk).len();
        }
        assert!(got < 10);
        match how {
            "topic trim" => _ = world.run(Op::Trim { topic: topic("b"), through: Seq(800) }),
            _ => world.trim(Seq(800)),
        }
        let seen = peer.seen();
        assert!(
            seen.iter().any(|s| s == "!trimmed"),
            "{how}: ~400 events of b vanished without a gap; next: {:?}",
            seen.first().map(|s| &s[..5])
        );
    }
}

#[test]
fn a_live_reader_of_a_quiet_ephemeral_topic_is_told_no_gap() {
    let world = World::new(small());
    let mut alice = world.subscribe("typing/7", From::Tail);
    assert!(alice.seen().is_empty());
    fill(&world, "typing/8", 2_000);
    world.publish("typing/7", "hello");
    assert_eq!(alice.seen(), ["hello"], "it missed nothing");
}

#[test]
fn a_quiet_reader_costs_no_cold_read() {
    let world = World::new(small());
    let mut peers: Vec<_> = (0..50).map(|n| world.subscribe(&format!("quiet/{n}"), From::Tail)).collect();
    peers.iter_mut().for_each(|p| assert!(p.seen().is_empty()));
    fill(&world, "busy", 2_000);
    world.pass(30_000); // heartbeat, within it the hot log turned over
    peers.iter_mut().for_each(|p| assert!(p.seen().is_empty()));
    assert_eq!(world.hub.stats().cold_reads, 0, "each heartbeat of each idle reader reads the disk");
}

#[test]
fn a_stalled_reader_keeps_no_turn_by_a_read_under_way() {
    let world = World::new(Limits { cold_budget_bytes: 20_000, ..small() });
    fill(&world, "a", 2_000);
    world.hold_reads(true);
    let mut stalled = world.subscribe("a", From::Start);
    assert!(stalled.chunk().unwrap().is_some(), "its head; and a read is under way. It never polls again.");
    world.hold_reads(false); // the read is done
    let mut other = world.subscribe("a", From::Start);
    let mut seen = other.seen().len();
    for _ in 0..1_000 {
        world.pass(1_000);
        seen += other.seen().len();
    }
    assert_eq!(seen, 2_000, "the only turn is never given back");
}

#[test]
fn a_busy_store_is_not_asked_in_a_loop() {
    let world = World::new(Limits { heartbeat_ms: 0, ..small() });
    fill(&world, "a", 2_000);
    world.log.busy.store(true, Ordering::SeqCst);
    let mut alice = world.subscribe("a", From::Start);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    assert!(alice.stream.poll_chunk(&mut cx).is_ready(), "the head");
    let (mut polls, mut woken) = (0, true);
    while woken && polls < 1_000 {
        let before = count.get();
        assert!(alice.stream.poll_chunk(&mut cx).is_pending());
        polls += 1;
        woken = count.get() > before;
    }
    assert!(
        polls < 10,
        "an executor would spin: {polls} polls without a tick, {} reads",
        world.hub.stats().cold_reads
    );
}

#[test]
fn threads_stay_within_a_budget() {
    let world = World::new(Limits { heartbeat_ms: 0, ..Limits::default() });
    let mut peers: Vec<_> =
        (0..500).map(|n| world.subscribe(&format!("news user/{n}"), From::Tail)).collect();
    for n in 0..20_000 {
        world.publish("news", &n.to_string());
    }
    peers.iter_mut().for_each(|p| assert_eq!(p.seen().len(), 20_000)); // nobody is behind
    world.pass(1_000);
    let places: usize = world.hub.inner.shards.iter().map(|s| s.lock().places()).sum();
    let hot = world.hub.stats().hot_bytes;
    assert!(
        places * 8 < 2 * hot,
        "hot log {hot} bytes, threads {} bytes, though all are caught up",
        places * 8
    );
}

#[test]
fn a_reader_that_is_live_again_keeps_no_frame() {
    let world = World::new(small());
    world.publish("a", &"y".repeat(60_000));
    fill(&world, "other", 2_000);
    let mut peer = world.subscribe("a", From::Start);
    assert_eq!(peer.seen().len(), 1);
    assert!(
        peer.stream.scratch_bytes() < 10_000,
        "{} bytes kept by an idle reader",
        peer.stream.scratch_bytes()
    );
}

#[test]
fn who_enters_while_it_drains_is_ended_too() {
    let mut shard = Shard::new(0, Seq(0), 0);
    shard.drain(1_000);
    // `begin` looked at `draining` just before.
    let key = shard.enter(filter("a"), Seq(0), Arc::default());
    shard.handle_tick(60_000, Seq(0), &mut vec![]);
    assert!(shard.look(key, Waker::noop(), Seq(0), 9).end);
}

#[test]
fn the_present_state_ends_with_the_head_also_when_all_of_it_is_cold() {
    let world = World::new(small());
    world.publish("a", "old");
    fill(&world, "other", 2_000);
    let mut peer = world.subscribe("a", From::Last);
    assert_eq!(peer.seen(), ["old"]);
    let head = world.hub.position().to_string();
    assert!(
        peer.text().ends_with(&format!("id: {head}\n\n")),
        "{:?}",
        &peer.text()[peer.text().len() - 40..]
    );
}

#[test]
fn what_was_missed_while_a_topic_was_not_stored_is_told() {
    let world = World::new(small());
    let eph = |on| Op::Configure {
        topic: topic("t"),
        config: TopicConfig { ephemeral: on, ..TopicConfig::default() },
    };
    let _ = world.run(eph(true));
    let one = world.publish("t", "1");
    world.publish("t", "2");
    fill(&world, "other", 2_000);
    assert_eq!(world.subscribe("t", at(one)).seen(), ["!trimmed"]);
    let _ = world.run(eph(false));
    let peer = world.subscribe("t", at(one));
    assert_eq!(peer.stream.resume(), Resume::Gap, "2 is gone, and nobody says so");
}

#[test]
fn a_labelled_frame_is_one_also_of_damaged_text() {
    let topics = [topic("a")].into_iter().collect();
    let event = EventBody { data: Bytes::from_static(b"a\xffb"), ..EventBody::default() };
    let at = Position::parse("1.1").unwrap();
    let (mut native, mut hot, mut cold) = (vec![], vec![], vec![]);
    frame::encode(Dialect::Native, at, &topics, &event, &mut native);
    frame::relabel(&native, &topics, false, &mut hot);
    frame::encode(Dialect::Labelled, at, &topics, &event, &mut cold);
    assert_eq!(String::from_utf8_lossy(&hot), String::from_utf8_lossy(&cold));
}

#[test]
fn no_heartbeat_commits_a_place_during_a_replay() {
    for from_last in [false, true] {
        let world = World::new(small());
        fill(&world, "a", 2_000);
        world.publish("b", "b");
        fill(&world, "other", 2_000);
        world.hold_reads(true);
        let mut peer = world.subscribe("a b", if from_last { From::Last } else { From::Start });
        assert!(peer.seen().is_empty());
        for _ in 0..10 {
            world.pass(60_000);
            world.publish("a", "new");
            assert!(peer.seen().is_empty());
        }
        let again = world.subscribe("a b", peer.last());
        drop(again);
        world.hold_reads(false);
        let mut again = world.subscribe("a b", peer.last());
        let seen = again.seen();
        assert!(
            seen.iter().any(|s| s.starts_with("1999 "))
                && seen.contains(&"b".to_owned())
                && seen.last().unwrap() == "new"
        );
    }
}

#[test]
fn every_chunk_size_gives_the_same_bytes() {
    let run = |chunk_bytes: usize| {
        let world = World::new(Limits { chunk_bytes, ..small() });
        for n in 0..400 {
            world.publish(["a", "b", "c"][n % 3], &format!("{n} {}", "x".repeat(n * 7 % 3_000)));
        }
        let mut peer = world.try_subscribe("a b", From::Start, |ask| ask.label = true).unwrap();
        let mut seen = peer.seen();
        world.delete("b");
        world.publish("a", "after");
        seen.extend(peer.seen());
        world.close("a");
        seen.extend(peer.seen());
        (seen, peer.text())
    };
    let expected = run(1 << 20);
    for chunk_bytes in [1, 2, 3, 7, 64, 100, 1_000, 16_384] {
        assert!(run(chunk_bytes) == expected, "{chunk_bytes}");
    }
}

#[test]
fn a_trim_wakes_nobody_who_has_seen_all() {
    let world = World::new(Limits::default());
    world.publish("a", "1");
    let mut peer = world.subscribe("a", From::Tail);
    assert!(peer.seen().is_empty());
    let count = Arc::new(Count::default());
    assert!(peer.stream.poll_chunk(&mut Context::from_waker(&Waker::from(Arc::clone(&count)))).is_pending());
    let _ = world.run(Op::Trim { topic: topic("a"), through: Seq(1) });
    assert_eq!(count.get(), 0, "retention of one topic wakes all of its readers for nothing");
}

#[test]
fn a_page_that_is_given_up_loses_nothing() {
    let world = World::new(small());
    fill(&world, "a", 2_000);
    let mut reader = world.hub.read(crate::Subscribe::new(filter("a")).from(From::Start)).unwrap();
    // The first pages come, then the store waits: the future is dropped (a timeout).
    {
        let mut page = std::pin::pin!(reader.page(1_000, 1 << 20));
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let hub = world.hub.clone();
        drop(hub);
        world.log.after_reads(3);
        assert!(page.as_mut().poll(&mut cx).is_pending());
    }
    world.hold_reads(false);
    let page = now(reader.page(1, 1 << 20)).unwrap();
    assert_eq!(page.events[0].position.seq, Seq(1), "events of the page that was given up are gone");
}

#[test]
fn gaps_told_on_the_way_are_counted() {
    let world = World::new(small());
    fill(&world, "a", 100);
    let mut peer = world.subscribe("a", From::Start);
    world.trim(Seq(50));
    assert!(peer.seen().contains(&"!trimmed".to_owned()));
    assert_eq!(world.hub.stats().gaps, 1);
}

#[test]
fn a_reader_tells_where_it_stands_within_from_last() {
    let world = World::new(Limits { chunk_bytes: 40, ..small() });
    ["a", "b", "c"].iter().for_each(|t| _ = world.publish(t, &format!("state of {t}")));
    let mut peer = world.subscribe("a b c", From::Last);
    let chunk = peer.chunk().unwrap().unwrap();
    let _ = peer.decode(&chunk);
    assert!(
        peer.stream.position().seq < Seq(3),
        "position() says {} although nothing was written",
        peer.stream.position()
    );
}

#[test]
fn an_event_larger_than_the_page_resumes_at_the_byte_when_the_page_was_taken() {
    let world = World::new(Limits { chunk_bytes: 1_000, cold_read_bytes: 10, ..small() });
    let big: String = (0..60_000u32).map(|n| char::from(b'a' + (n * n % 26) as u8)).collect();
    world.publish("a", &big);
    world.publish("a", "next");
    fill(&world, "other", 2_000);
    let mut peer = world.try_subscribe("a", From::Start, |ask| ask.label = true).unwrap();
    let mut seen = vec![];
    while let Some(chunk) = peer.chunk().unwrap() {
        seen.extend(peer.decode(&chunk));
        world.pass(3_000);
    }
    assert_eq!(seen.len(), 2);
    assert!(seen[0].contains(&big));
}
#[test]
fn dropping_who_waits_or_reads_gives_the_turn_back() {
    let world = World::new(Limits { cold_budget_bytes: 20_000, heartbeat_ms: 0, ..small() });
    fill(&world, "a", 2_000);
    world.hold_reads(true);
    for _ in 0..50 {
        let mut reading = world.subscribe("a", From::Start);
        let _ = reading.seen();
        let mut waiting = world.subscribe("a", From::Start);
        let _ = waiting.seen();
        drop(waiting);
        drop(reading);
    }
    world.hold_reads(false);
    assert_eq!(world.subscribe("a", From::Start).seen().len(), 2_000);
    let _ = Poll::Ready(());
}

#[test]
fn a_loss_behind_a_half_written_event_is_told() {
    for cold in [false, true] {
        let world = World::new(Limits { chunk_bytes: 1_000, ..small() });
        if !cold {
            let mut peer = world.subscribe("a b", From::Tail);
            assert!(peer.seen().is_empty());
            world.publish("b", &"y".repeat(1_500));
            world.publish("a", "lost");
            world.publish("b", "end");
            let chunk = peer.chunk().unwrap().unwrap();
            let mut seen = peer.decode(&chunk);
            world.delete("a");
            seen.extend(peer.seen());
            assert_eq!(seen.iter().map(|s| &s[..3]).collect::<Vec<_>>(), ["yyy", "!tr", "end"], "hot");
            continue;
        }
        world.publish("b", &"y".repeat(1_500));
        world.publish("a", "lost");
        world.publish("b", "end");
        fill(&world, "other", 2_000);
        let mut peer = world.subscribe("a b", From::Start);
        let mut seen = vec![];
        while !peer.text().contains("yyy") {
            let chunk = peer.chunk().unwrap().unwrap();
            seen.extend(peer.decode(&chunk));
        }
        world.delete("a");
        seen.extend(peer.seen());
        assert_eq!(seen.iter().map(|s| &s[..3]).collect::<Vec<_>>(), ["yyy", "!tr", "end"], "cold");
    }
}

#[test]
fn a_loss_during_the_last_events_is_told_or_harmless() {
    // from=last, cold, and everything goes meanwhile: the stream goes live without hanging.
    let world = World::new(small());
    world.publish("a", "old");
    world.publish("b", "old b");
    fill(&world, "other", 2_000);
    world.hold_reads(true);
    let mut peer = world.subscribe("a b", From::Last);
    assert!(peer.seen().is_empty());
    world.delete("a");
    world.publish("a", "new");
    world.hold_reads(false);
    assert_eq!(peer.seen(), ["old b", "new"]);
}

#[test]
fn a_long_search_gives_others_their_turn() {
    let world = World::new(Limits { heartbeat_ms: 0, ..Limits::default() });
    let start = world.publish("x", "x");
    for n in 0..150_000 {
        world.publish_with("a", &n.to_string(), |p| p.private = true);
    }
    for topics in ["a", "*"] {
        let mut peer = world.subscribe(topics, at(start));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut polls = 0;
        assert!(peer.stream.poll_chunk(&mut Context::from_waker(&waker)).is_ready(), "the head");
        while count.get() >= polls {
            polls += 1;
            assert!(peer.stream.poll_chunk(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(polls > 2, "{topics}: one poll went through all");
    }
}
