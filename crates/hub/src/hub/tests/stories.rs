//! One story per promise.

use super::world::*;
use crate::hub::SubscribeError;
use crate::limits::Limits;
use crate::ports::{Op, SeqRange};
use crate::position::{Epoch, Epochs, Seq};
use crate::resume::{From, Resume};
use crate::subscription::CursorBlock;
use crate::topic::TopicConfig;

#[test]
fn what_is_published_arrives_in_order_with_its_id() {
    let world = World::new(Limits::default());
    let mut alice = world.subscribe("orders/*", From::Tail);
    assert_eq!(alice.seen(), Vec::<String>::new());
    assert_eq!(
        alice.text(),
        "retry: 2000\n\nid: 1.0\n\n",
        "a page that received nothing knows where it stands"
    );
    world.publish("orders/1", "paid");
    world.publish("other", "not hers");
    world.publish_with("orders/2", "a\r\nb", |p| (p.id, p.event) = (event_id("o2"), event_name("shipped")));
    assert_eq!(alice.seen(), ["paid", "a\nb"]);
    assert!(
        alice.text().ends_with("id: 1.1\ndata: paid\n\nid: 1.3~o2\nevent: shipped\ndata: a\ndata: b\n\n")
    );
}

#[test]
fn a_reader_that_comes_back_continues_exactly() {
    let world = World::new(Limits::default());
    for n in 0..20 {
        world.publish(if n % 2 == 0 { "a" } else { "b" }, &n.to_string());
    }
    for seen in 0..=20 {
        for topics in ["a", "a b", "*", "** a"] {
            let mut peer = world.subscribe(topics, at(Seq(seen)));
            let expected: Vec<_> =
                (seen..20).filter(|n| topics != "a" || n % 2 == 0).map(|n| n.to_string()).collect();
            assert_eq!(peer.stream.resume(), Resume::Exact);
            assert_eq!(peer.seen(), expected, "{topics} after {seen}");
        }
    }
}

#[test]
fn cold_becomes_hot_without_a_hole_while_others_write() {
    let world = World::new(small());
    let body = "x".repeat(500);
    let mut sent = Vec::new();
    let send = |n: u64, sent: &mut Vec<String>| {
        let data = format!("{n} {body}");
        world.publish(if n.is_multiple_of(3) { "a" } else { "b" }, &data);
        sent.push(data);
    };
    (0..3_000).for_each(|n| send(n, &mut sent));
    let mut alice = world.subscribe("a b", From::Start);
    let (mut seen, mut n) = (Vec::new(), 3_000);
    loop {
        let chunk = alice.chunk().unwrap();
        let Some(chunk) = chunk else { break };
        seen.extend(alice.decode(&chunk));
        if n < 5_000 {
            send(n, &mut sent);
            n += 1;
        }
    }
    assert_eq!(seen, sent);
    let stats = world.hub.stats();
    assert!(stats.cold_reads > 20 && stats.hot_bytes <= (300 << 10) + (256 << 10), "{stats:?}");
}

#[test]
fn an_event_larger_than_a_chunk_goes_out_in_parts() {
    let world = World::new(small());
    let big = "y".repeat(60_000);
    let mut alice = world.subscribe("a", From::Tail);
    alice.seen();
    world.publish("a", &big);
    world.publish("a", "after");
    let first = alice.chunk().unwrap().unwrap();
    assert_eq!(first.len(), 2_000);
    world.pass(60_000); // a heartbeat is due; it must not stand inside the frame
    for n in 0..2_000 {
        world.publish("b", &format!("{n} {}", "z".repeat(400))); // and now the rest is cold
    }
    let mut seen = alice.decode(&first);
    seen.extend(alice.seen());
    assert_eq!(seen, [big.as_str(), "after"]);
    assert!(world.hub.stats().cold_reads > 0);
}

#[test]
fn an_event_that_goes_while_half_written_ends_the_connection() {
    for how in ["trim", "delete"] {
        let world = World::new(small());
        let mut alice = world.subscribe("a", From::Tail);
        alice.seen();
        let seq = world.publish("a", &"y".repeat(60_000));
        world.publish("a", "after");
        assert!(alice.chunk().unwrap().is_some());
        match how {
            "trim" => world.trim(seq),
            _ => world.delete("a"),
        }
        assert!(alice.chunk().is_err(), "{how}");
        assert!(alice.chunk().unwrap().is_none() && alice.over);
    }
}

#[test]
fn a_gap_is_told_when_something_wanted_was_removed_and_only_then() {
    let world = World::new(Limits::default());
    world.publish("quiet", "q");
    for n in 0..100 {
        world.publish("busy", &n.to_string());
    }
    world.trim(Seq(50));
    let check = |topics: &str, from: From, expected: &[&str]| {
        let mut peer = world.subscribe(topics, from);
        let gap = expected.first().is_some_and(|first| first.starts_with('!'));
        assert_eq!(peer.stream.resume() == Resume::Gap, gap);
        assert_eq!(peer.seen().iter().take(2).map(String::as_str).collect::<Vec<_>>(), expected);
        // Whoever breaks off right after the gap is told again, or misses nothing.
        let mut again = world.subscribe(topics, peer.last());
        assert_eq!(again.seen(), Vec::<String>::new());
    };
    check("quiet", at(Seq(1)), &[]);
    check("quiet", at(Seq::ZERO), &["!trimmed"]);
    check("busy", at(Seq(20)), &["!trimmed", "49"]);
    check("busy", at(Seq(50)), &["49", "50"]);
    check("*", at(Seq(1)), &["!trimmed", "49"]);
    check("busy", From::Start, &["49", "50"]);
    check("never", at(Seq(1)), &[]);
}

#[test]
fn what_is_removed_during_a_replay_is_told() {
    for how in ["trim", "delete", "trim before the page is read"] {
        let world = World::new(small());
        for n in 0..2_000 {
            world.publish("a", &format!("{n} {}", "x".repeat(500)));
        }
        let mut alice = world.subscribe("a", From::Start);
        let chunk = alice.chunk().unwrap().unwrap();
        let before = alice.decode(&chunk).len();
        world.hold_reads(how != "trim");
        let mut seen = alice.seen();
        match how {
            "delete" => world.delete("a"),
            _ => world.trim(Seq(1_000)),
        }
        world.hold_reads(false);
        world.publish("a", "new");
        seen.extend(alice.seen());
        let at = seen.iter().position(|s| s == "!trimmed");
        if how == "trim" {
            // It had read everything by then.
            assert_eq!((at, seen.len()), (None, 2_000 - before + 1));
        } else {
            let expected = if how == "delete" { 1 } else { 1_001 };
            assert_eq!(seen.len() - at.unwrap() - 1, expected, "{how}");
        }
        assert_eq!(seen.last().map(String::as_str), Some("new"));
    }
}

#[test]
fn losing_just_the_next_event_is_a_gap() {
    let world = World::new(Limits::default());
    (0..3).for_each(|n| _ = world.publish("a", &n.to_string()));
    let mut alice = world.subscribe("a", at(Seq(1)));
    assert_eq!(alice.stream.resume(), Resume::Exact);
    world.trim(Seq(2));
    assert_eq!(alice.seen(), ["!trimmed", "2"]);
    let mut bob = world.subscribe("a", at(Seq(2)));
    world.delete("a");
    assert_eq!(bob.seen(), ["!trimmed"]);
}

#[test]
fn who_has_seen_all_is_told_no_gap_when_it_goes() {
    let world = World::new(Limits::default());
    let mut alice = world.subscribe("a b", From::Tail);
    let seq = world.publish("a", "1");
    assert_eq!(alice.seen(), ["1"]);
    world.delete("a");
    world.trim(seq);
    world.publish("a", "2");
    assert_eq!(alice.seen(), ["2"]);
}

#[test]
fn an_event_of_two_topics_outlives_one_of_them() {
    let world = World::new(Limits::default());
    world.publish("a b", "both");
    world.delete("a");
    assert_eq!(world.subscribe("a", From::Start).seen(), Vec::<String>::new());
    assert_eq!(world.subscribe("b", From::Start).seen(), ["both"]);
    assert_eq!(world.subscribe("a b", From::Start).seen(), ["both"], "once");
    let labelled = world.try_subscribe("b", From::Start, |ask| ask.label = true).unwrap().seen();
    assert_eq!(labelled, [r#"{"topic":"a","topics":["a","b"],"data":"both"}"#]);
}

#[test]
fn private_events_need_a_grant_for_one_of_their_topics() {
    let world = World::new(Limits::default());
    world.publish("a", "open");
    world.publish_with("a b", "secret", |p| p.private = true);
    let seen = |topics: &str, allowed: &str, from: From| {
        world.try_subscribe(topics, from, |ask| ask.grant = grant(allowed)).unwrap().seen()
    };
    assert_eq!(seen("a", "nothing", From::Start), ["open"]);
    assert_eq!(seen("a", "b", From::Start), ["open", "secret"]);
    assert_eq!(seen("a", "nothing", From::Last), ["open"], "the last that it may see");
    assert_eq!(seen("a", "a", From::Last), ["secret"]);
}

#[test]
fn a_late_page_begins_with_the_present_state() {
    let world = World::new(small());
    for n in 0..2_000 {
        world.publish(["a", "b", "c"][n % 3], &format!("{n} {}", "x".repeat(500)));
        if n == 500 {
            world.publish("stale", "s");
        }
    }
    world.publish("typing/1", "live only");
    let first =
        |seen: Vec<String>| seen.iter().map(|s| s.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    let mut alice = world.subscribe("a b stale typing/1", From::Last);
    assert_eq!(first(alice.seen()), ["s", "1998", "1999", "live"]);
    let mut glob = world.subscribe("**", From::Last);
    let mut seen = first(glob.seen());
    seen.sort();
    assert_eq!(seen, ["1997", "1998", "1999", "live", "s"]);
    world.publish("a", "next");
    assert_eq!(alice.seen(), ["next"]);
    assert_eq!(world.subscribe("a b stale", alice.last()).seen(), Vec::<String>::new());
    let limits = Limits { last_topics_max: 3, ..small() };
    let world = World::new(limits);
    ["a", "b", "c", "d"].iter().for_each(|t| _ = world.publish(t, "x"));
    let error = world.try_subscribe("*", From::Last, |_| {}).err();
    assert_eq!(error, Some(SubscribeError::TooManyTopics { limit: 3 }));
}

#[test]
fn whoever_breaks_off_within_the_present_state_gets_the_rest() {
    let world = World::new(Limits { chunk_bytes: 30, ..small() });
    ["a", "b", "a", "c"].iter().for_each(|topic| _ = world.publish(topic, &format!("state of {topic}")));
    for chunks in 0..20 {
        let mut broken = world.subscribe("a b c", From::Last);
        let mut seen = Vec::new();
        for _ in 0..chunks {
            if let Some(chunk) = broken.chunk().unwrap() {
                seen.extend(broken.decode(&chunk));
            }
        }
        if broken.last() == From::Tail {
            continue; // Not even the first id came: it begins anew.
        }
        let mut again = world.subscribe("a b c", broken.last());
        seen.extend(again.seen());
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["state of a", "state of b", "state of c"], "after {chunks} chunks");
    }
}

#[test]
fn closed_topics_end_the_stream_and_then_say_so() {
    let world = World::new(Limits::default());
    let mut alice = world.subscribe("a b", From::Tail);
    world.publish("a", "1");
    world.close("a");
    assert_eq!(alice.seen(), ["1"]);
    assert!(!alice.over, "b is still open");
    world.publish("b", "2");
    world.close("b");
    assert_eq!(alice.seen(), ["2"]);
    assert!(alice.over);
    let ended = |from| matches!(world.try_subscribe("a b", from, |_| {}), Err(SubscribeError::Ended { .. }));
    assert!(ended(alice.last()) && ended(From::Tail));
    let mut late = world.subscribe("a b", From::Start);
    assert_eq!((late.seen(), late.over), (vec!["1".to_owned(), "2".to_owned()], true));
    assert!(ended(late.last()));
    world.delete("a");
    assert!(!ended(From::Tail), "a new life is open");
}

#[test]
fn a_quiet_reader_stays_fresh() {
    for (cursor_block, expected) in [
        (CursorBlock::IdOnly, "id: 1.2s\n\n"),
        (CursorBlock::Event, "event: tidings.cursor\nid: 1.2s\ndata:\n\n"),
    ] {
        let world = World::new(Limits::default());
        let mut alice =
            world.try_subscribe("quiet", From::Tail, |ask| ask.cursor_block = cursor_block).unwrap();
        assert!(alice.seen().is_empty());
        for n in 0..100 {
            world.publish("busy", &n.to_string());
        }
        world.pass(20_000);
        assert!(alice.chunk().unwrap().is_none(), "too early");
        world.pass(10_000);
        let beat = alice.chunk().unwrap().unwrap();
        assert_eq!(beat, expected);
        alice.decode(&beat);
        assert!(alice.chunk().unwrap().is_none(), "once");
        world.trim(Seq(100));
        assert_eq!(world.subscribe("quiet", alice.last()).stream.resume(), Resume::Exact);
    }
}

#[test]
fn ids_of_another_life_are_told_as_gaps() {
    let old = World::new(Limits::default());
    (0..10).for_each(|n| _ = old.publish("a", &n.to_string()));
    let mut epochs = Epochs::first(Epoch(1));
    epochs.begin(Epoch(7), Seq(9)); // the last two were lost
    let stored = old.stored().into_iter().take(8).collect();
    let world = World::restarted(Limits::default(), stored, epochs);
    world.publish("a", "new 9");
    let check = |id: &str, expected: &[&str]| {
        let mut peer = world.subscribe("a", after(id));
        assert_eq!(peer.seen(), expected, "{id}");
        assert_eq!(world.subscribe("a", peer.last()).seen(), Vec::<String>::new());
    };
    check("1.7", &["7", "new 9"]);
    check("1.8", &["new 9"]);
    check("1.9", &["!epoch", "new 9"]);
    check("7.8", &["new 9"]);
    check("7.9", &[]);
    check("7.zz", &["!future"]);
    check("9.1", &["!epoch", "new 9"]);
    check("urn:uuid:42", &["!foreign"]);
}

#[test]
fn what_was_lost_by_damage_is_told_where_it_stood() {
    let old = World::new(Limits::default());
    (0..10).for_each(|n| _ = old.publish(if n == 9 { "b" } else { "a" }, &n.to_string()));
    let lost =
        [(3, 4), (8, 8), (10, 10)].map(|(first, last)| SeqRange { first: Seq(first), last: Seq(last) });
    let world = World::damaged(Limits::default(), old.stored(), Epochs::first(Epoch(1)), &lost);
    world.publish("a", "new");
    let check = |topics: &str, from: From, expected: &[&str]| {
        let mut peer = world.subscribe(topics, from);
        assert_eq!(peer.seen(), expected);
        assert_eq!(world.subscribe(topics, peer.last()).seen(), Vec::<String>::new(), "it is told once");
    };
    check("a", From::Start, &["0", "1", "!lost", "4", "5", "6", "!lost", "8", "!lost", "new"]);
    check("a", after("1.4"), &["4", "5", "6", "!lost", "8", "!lost", "new"]);
    // In the middle of it, and with nothing but what is lost.
    check("a", after("1.3"), &["!lost", "4", "5", "6", "!lost", "8", "!lost", "new"]);
    check("a", after("1.a"), &["new"]);
    check("none", after("1.4"), &["!lost", "!lost"]);
    check("a", From::Tail, &[]);
    check("a", From::Last, &["new"]);
    check("b", From::Last, &["!lost"]);
    // A page that breaks off at any event comes back to the same.
    let mut peer = world.subscribe("a", From::Start);
    let whole = peer.seen();
    let ids: Vec<String> =
        peer.text().lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect();
    for (at, id) in ids.iter().skip(1).enumerate() {
        assert_eq!(world.subscribe("a", after(id)).seen(), whole[at + 1..], "after {id}");
    }
}

#[test]
fn what_is_never_stored_is_delivered_live_and_missed_aloud() {
    let world = World::new(small());
    let config = TopicConfig { ephemeral: true, ..TopicConfig::default() };
    let _ = world.run(Op::Configure { topic: topic("cursor"), config });
    let mut alice = world.subscribe("cursor typing/7", From::Tail);
    assert!(alice.seen().is_empty());
    let seq = world.publish("cursor", "1");
    world.publish("typing/7", "2");
    world.publish("cursor typing/7", "3");
    assert_eq!(alice.seen(), ["1", "2", "3"]);
    assert_eq!(world.subscribe("cursor", at(seq)).seen(), ["3"], "while it is in the hot log");
    assert_eq!(world.stored().len(), 1, "only the declaration");
    for n in 0..2_000 {
        world.publish("other", &format!("{n} {}", "x".repeat(500)));
    }
    assert_eq!(world.subscribe("cursor", at(seq)).seen(), ["!trimmed"]);
    assert_eq!(world.subscribe("typing/*", at(seq)).seen(), ["!trimmed"]);
    assert_eq!(world.subscribe("other", at(Seq(2_000))).stream.resume(), Resume::Exact);
    let again = World::restarted(small(), world.stored(), Epochs::first(Epoch(1)));
    assert_eq!(again.subscribe("cursor", at(Seq(3))).seen(), ["!trimmed"], "a restart forgets them");
    assert_eq!(again.subscribe("typing/7", at(Seq(3))).seen(), ["!trimmed"]);
}

#[test]
fn one_that_is_behind_may_skip_what_is_superseded() {
    let world = World::new(small());
    let mut alice = world.try_subscribe("a b", From::Tail, |ask| ask.conflate = true).unwrap();
    assert!(alice.seen().is_empty());
    world.publish("a", "1");
    assert_eq!(alice.seen(), ["1"]);
    for n in 2..1_500 {
        world.publish(if n == 1_000 { "b" } else { "a" }, &format!("{n} {}", "x".repeat(500)));
    }
    let seen: Vec<_> = alice.seen().iter().map(|s| s[..4].to_owned()).collect();
    assert_eq!(seen, ["1000", "1499"]);
    let skipped: u64 =
        alice.text().lines().filter_map(|l| l.strip_prefix(": tidings skipped ")?.parse::<u64>().ok()).sum();
    assert_eq!(skipped, 1_496);
}

#[test]
fn what_is_not_stored_is_superseded_as_well() {
    let world = World::new(small());
    let mut alice = world.try_subscribe("typing/*", From::Tail, |ask| ask.conflate = true).unwrap();
    assert!(alice.seen().is_empty());
    for n in 0..50 {
        world.publish(if n == 20 { "typing/2" } else { "typing/1" }, &n.to_string());
    }
    assert_eq!(alice.seen(), ["20", "49"]);
    assert!(alice.text().contains(": tidings skipped "), "and is told");
    world.publish("typing/1", "50");
    world.publish_with("typing/1", "51", |p| p.private = true);
    assert_eq!(alice.seen(), ["50"], "what she does not get supersedes nothing");
}

#[test]
fn only_kept_types_arrive_live_and_from_both_logs() {
    let world = World::new(small());
    let kinds = |n: usize| [None, event_name("goal"), event_name("card")][n % 3].clone();
    let mut live = world
        .try_subscribe("a", From::Tail, |ask| {
            ask.filter =
                filter("a").with_events(vec![event_name("goal").unwrap(), event_name("message").unwrap()]);
        })
        .unwrap();
    for n in 0..2_000 {
        world.publish_with("a", &format!("{n} {}", "x".repeat(500)), |p| p.event = kinds(n));
    }
    let number = |s: &String| s.split(' ').next().unwrap().parse::<usize>().unwrap();
    let seen: Vec<_> = live.seen().iter().map(number).collect();
    assert_eq!(seen, (0..2_000).filter(|n| n % 3 != 2).collect::<Vec<_>>());
    let only = |from| {
        let goals = filter("a").with_events(vec![event_name("goal").unwrap()]);
        let mut peer = world.try_subscribe("a", from, |ask| ask.filter = goals).unwrap();
        peer.seen().iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(only(at(Seq(3))), (4..2_000).filter(|n| n % 3 == 1).collect::<Vec<_>>());
    assert_eq!(only(at(Seq(1_990))), [1_990, 1_993, 1_996, 1_999]);
    assert_eq!(only(From::Last), [1_999], "the last event is a goal");
    world.publish_with("a", "2000 card", |p| p.event = event_name("card"));
    assert!(only(From::Last).is_empty(), "the last event is none");
}

#[test]
fn draining_ends_all_streams_spread_and_takes_no_more() {
    let world = World::new(Limits::default());
    let mut peers: Vec<_> = (0..200).map(|_| world.subscribe("a", From::Tail)).collect();
    peers.iter_mut().for_each(|peer| assert!(peer.seen().is_empty()));
    world.hub.drain(10_000);
    assert_eq!(world.try_subscribe("a", From::Tail, |_| {}).err(), Some(SubscribeError::Draining));
    let mut over = vec![];
    for _ in 0..10 {
        world.pass(1_000);
        peers.iter_mut().for_each(|peer| assert!(peer.seen().is_empty()));
        over.push(peers.iter().filter(|peer| peer.over).count());
    }
    assert!(over[0] < 60 && over[4] > 40 && over[4] < 160, "{over:?}");
    assert_eq!(over[9], 200);
    assert!(
        peers.iter().all(|peer| peer.text().trim_end().rsplit('\n').next().unwrap().starts_with("retry: "))
    );
}

#[test]
fn a_full_hub_says_so_and_places_come_free() {
    let world = World::new(Limits { subscribers_max: 2, ..Limits::default() });
    let first = world.subscribe("a", From::Tail);
    let _second = world.subscribe("b", From::Tail);
    let full = Some(SubscribeError::Full { limit: 2, subscribers: 2 });
    assert_eq!(world.try_subscribe("a", From::Tail, |_| {}).err(), full);
    drop(first);
    assert!(world.try_subscribe("a", From::Tail, |_| {}).is_ok());
    assert_eq!(world.hub.subscribers(), 1);
}

#[test]
fn a_reader_pages_through_history_and_waits_for_more() {
    let world = World::new(small());
    for n in 0..1_500 {
        world.publish("a", &format!("{n} {}", "x".repeat(500)));
    }
    let ask = || crate::Subscribe::new(filter("a")).from(From::Start);
    let mut reader = world.hub.read(ask()).unwrap();
    let (mut seen, mut pages) = (0, 0);
    loop {
        let page = now(reader.page(100, 1 << 20)).unwrap();
        assert!(
            page.events.iter().all(|e| e.data.starts_with(format!("{} ", e.position.seq.0 - 1).as_bytes()))
        );
        seen += page.events.len();
        pages += 1;
        if page.caught_up {
            break;
        }
    }
    assert_eq!((seen, pages), (1_500, 15));
    let mut changed = std::pin::pin!(reader.changed());
    let poll = |changed: std::pin::Pin<&mut dyn Future<Output = ()>>| {
        changed.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    };
    assert!(!poll(changed.as_mut()));
    world.publish("b", "not this");
    assert!(!poll(changed.as_mut()));
    world.publish("a", "more");
    assert!(poll(changed.as_mut()));
    world.trim(Seq(100));
    let page = now(world.hub.read(ask().from(at(Seq(5)))).unwrap().page(2, 1 << 20)).unwrap();
    assert_eq!(page.gap.unwrap().resumes_after, "1.2s");
    assert_eq!((page.events.len(), page.caught_up, page.position.seq), (2, false, Seq(102)));
}

#[test]
fn a_stalled_reader_keeps_no_page() {
    let world = World::new(Limits { cold_budget_bytes: 20_000, ..small() });
    for n in 0..2_000 {
        world.publish("a", &format!("{n} {}", "x".repeat(500)));
    }
    let mut stalled = world.subscribe("a", From::Start);
    assert!(
        stalled.chunk().unwrap().is_some() && stalled.chunk().unwrap().is_some(),
        "it holds the only turn"
    );
    let mut other = world.subscribe("a", From::Start);
    other.decode(b"");
    assert!(other.seen().is_empty(), "and this one waits");
    world.pass(1_000);
    world.pass(1_500);
    assert_eq!(other.seen().len(), 2_000);
    assert!(stalled.seen().len() > 1_990, "read again from its cursor");
}

#[test]
fn the_more_streams_are_open_the_further_apart_their_clients_come_back() {
    let world = World::new(Limits::default());
    let retries = |from: usize, peers: &mut Vec<Peer>| -> Vec<u64> {
        let told = |peer: &Peer| {
            peer.text().lines().next().and_then(|line| line.strip_prefix("retry: ")?.parse().ok()).unwrap()
        };
        peers.extend((from..from + 500).map(|_| world.subscribe("a", From::Tail)));
        peers[from..].iter_mut().for_each(|peer| drop(peer.seen()));
        peers[from..].iter().map(told).collect()
    };
    let mut peers = Vec::new();
    let mut all: Vec<u64> = Vec::new();
    while peers.len() < 20_000 {
        let told = retries(peers.len(), &mut peers);
        assert!(
            peers.len() > 500 || told.iter().all(|ms| (2_000..2_050).contains(ms)),
            "nearly as configured"
        );
        all.extend(told);
    }
    // Those that stay, and those that come when all are there: 10 a millisecond, never more than twice as many.
    let late = retries(20_000, &mut peers);
    for (told, among) in [(&all, 20_000), (&late, 500)] {
        let in_part =
            |at: u64| told.iter().filter(|ms| (2_000 + at * 200..2_200 + at * 200).contains(*ms)).count();
        let parts: Vec<_> = (0..10).map(in_part).collect();
        assert!(parts.iter().all(|count| *count < among / 10 * 5 / 2), "{parts:?}");
        assert!(parts.iter().filter(|count| **count > among / 40).count() >= 7, "{parts:?}");
    }
}
