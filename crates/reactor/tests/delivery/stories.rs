//! What one reader sees.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

use tidings_hub::ports::Op;
use tidings_hub::{Filter, Limits, Selector, Selectors, Subscribe, TopicName};
use tidings_reactor::mailbox::Stage;

use crate::world::{Item, PATIENCE, Reader, World, config, event, eventually};

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

#[test]
fn an_event_goes_to_those_who_want_it_and_to_nobody_else() {
    let world = World::new(Limits::default());
    let (mut a, mut b, mut all) = (world.reader("S a"), world.reader("S b,a"), world.reader("S *"));
    for reader in [&a, &b, &all] {
        assert!(reader.begun.starts_with("live "), "{}", reader.begun);
    }
    world.publish("a", "1");
    world.publish("c", "2");
    world.publish("b", "3");
    assert_eq!(a.data(1), ["1"]);
    assert_eq!(b.data(2), ["1", "3"]);
    assert_eq!(all.data(3), ["1", "2", "3"]);
    world.publish("a", "4");
    assert_eq!((a.data(1), b.data(1), all.data(1)), (vec!["4".into()], vec!["4".into()], vec!["4".into()]));
    assert_eq!(world.hub.subscribers(), 3);
    drop((a, b));
    eventually("two left", || world.hub.subscribers() == 1 && world.open.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_stream_begins_with_its_cursor_and_goes_on_after_any_id() {
    let world = World::new(Limits::default());
    let first = world.publish("a", "1");
    let mut tail = world.reader("S a");
    assert_eq!(
        tail.blocks(|block| block.starts_with("id: ")),
        [Item::Block("retry: 2000".into()), Item::Block(format!("id: {first}"))]
    );
    world.publish("b", "x");
    // Nothing for it came since: live at once, from its own place.
    assert_eq!(world.reader(&format!("S a {first}")).begun, format!("live {first}"));
    world.publish("a", "2");
    let mut behind = world.reader(&format!("S a {first}"));
    assert_eq!(behind.begun, format!("fed {first}"));
    assert_eq!((behind.data(1), tail.data(1)), (vec!["2".to_owned()], vec!["2".to_owned()]));
    world.publish("a", "3");
    assert_eq!((behind.data(1), tail.data(1)), (vec!["3".to_owned()], vec!["3".to_owned()]));
    assert_eq!(world.reader("S a start").data(3), ["1", "2", "3"]);
    assert_eq!(world.reader("S a,b last").data(2), ["x", "3"]);
}

#[test]
fn requests_follow_each_other_also_in_pieces_and_heaps() {
    let world = World::new(Limits::default());
    let mut reader = world.reader("P");
    assert_eq!(reader.begun, "pong");
    reader.socket.write_all(b"P\nW\nP\nP").unwrap();
    assert_eq!([reader.line(), reader.line(), reader.line()], ["pong", "late", "pong"]);
    reader.say("");
    assert_eq!(reader.line(), "pong");
    reader.socket.write_all(&b"P\n".repeat(100)).unwrap();
    assert!((0..100).all(|_| reader.line() == "pong"));
    // Also a subscription may come later.
    reader.say("S a");
    assert!(reader.line().starts_with("live "));
    world.publish("a", "1");
    assert_eq!(reader.data(1), ["1"]);
    let mut closed = world.reader("C");
    assert_eq!((closed.begun.clone(), closed.line()), ("bye".into(), String::new()));
}

#[test]
fn what_is_for_somebody_else_is_handed_on_with_every_byte() {
    let world = World::new(Limits::default());
    let mut reader = world.reader("P");
    reader.say("X and the rest");
    assert_eq!(reader.line(), "X and the rest");
    let long = "y".repeat(20_000);
    let mut longer = world.reader(&format!("X{long}"));
    assert_eq!(longer.begun, format!("X{long}"));
    assert_eq!(longer.line(), "");
    eventually("handed", || world.handed.load(Ordering::SeqCst) == 2);
    eventually("and not counted here", || world.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_closed_topic_ends_its_streams_after_the_last_event() {
    let world = World::new(Limits::default());
    let (mut one, mut two) = (world.reader("S a"), world.reader("S a,b"));
    world.submit(vec![Op::Publish(crate::world::event("a", "last")), Op::Close { topic: topic("a") }]);
    let items = one.blocks(|_| false);
    assert_eq!(items.last(), Some(&Item::End), "{items:?}");
    assert!(items.iter().any(|item| matches!(item, Item::Block(block) if block.ends_with("data: last"))));
    assert!(matches!(&items[items.len() - 2], Item::Block(block) if block.starts_with("id: ")), "{items:?}");
    assert_eq!(two.data(1), ["last"]);
    world.submit(vec![Op::Close { topic: topic("b") }]);
    assert_eq!(two.blocks(|_| false).last(), Some(&Item::End));
    eventually("nobody is left", || world.hub.subscribers() == 0 && world.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_topic_that_is_closed_while_a_stream_begins_ends_it() {
    let world = World::new(Limits::default());
    // So many that a round takes several turns, and who comes meanwhile is ahead of the scan.
    let _crowd: Vec<_> = (0..1_500).map(|_| world.reader("S crowd")).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !done.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
                world.publish("crowd", "x");
                // Rounds are to be under way, not the log to outrun a crowd that does not read.
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        for n in 0..30 {
            let name = format!("t{n}");
            world.publish(&name, "1");
            let mut reader = world.reader_of(&format!("B {name}"));
            eventually("it is let in", || world.hub.subscribers() == 1_501);
            let closer = {
                let (world, name) = (&world, topic(&name));
                scope.spawn(move || world.submit(vec![Op::Close { topic: name }]))
            };
            std::thread::sleep(Duration::from_micros(100 * (n % 10)));
            reader.begun = reader.line();
            closer.join().unwrap();
            assert_eq!(reader.blocks(|_| false).last(), Some(&Item::End), "{n}");
            eventually("it is gone", || world.hub.subscribers() == 1_500);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn one_that_lags_is_told_what_was_removed_meanwhile() {
    let world = World::new(Limits::default());
    let mut reader = world.reader("S a");
    let big = "x".repeat(300_000);
    for n in 0..40 {
        world.publish("a", &format!("{n} {big}"));
    }
    eventually("it lags", || world.hub.stats().lag_max > 0);
    world.submit(vec![Op::Delete { topic: topic("a") }]);
    world.publish("a", "after");
    let items = reader.blocks(|block| block.ends_with("data: after\n\n"));
    let told = items.iter().filter(|i| matches!(i, Item::Block(b) if b.contains("tidings.gap"))).count();
    // Half a frame cannot be followed by a gap: then the stream is cut and the reader comes back.
    assert!(told == 1 || items.last() == Some(&Item::Cut), "{told} {:?}", items.last());
    let seen = items.iter().filter(|i| matches!(i, Item::Block(b) if b.contains("xxx"))).count();
    assert!(seen < 40, "{seen}");
    eventually("nobody lags", || world.hub.stats().lag_max == 0);
}

/// Woken slowly: what stands between the moment an event is visible and the moment all are told of it takes long.
struct Slow;

impl std::task::Wake for Slow {
    fn wake(self: Arc<Self>) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_outruns_delivery_while_others_are_told_reaches_everybody_whole() {
    let world = World::new(Limits { hot_log_bytes: 16 << 10, event_bytes_max: 4 << 10, ..Limits::default() });
    let ask = || Subscribe::new(Filter::topics(Selectors::new(vec![Selector::parse("slow").unwrap()])));
    let mut slow: Vec<_> = (0..8).map(|_| world.hub.subscribe(ask()).unwrap()).collect();
    let waker = std::task::Waker::from(Arc::new(Slow));
    let mut asker = world.reader("P");
    let (batches, each) = (40, 30);
    let read = |mut reader: Reader| {
        let items = reader.blocks(|block| block.ends_with("data: end\n\n"));
        let data = items.iter().filter_map(|item| match item {
            Item::Block(block) => block.split("\ndata: ").nth(1)?.trim_end_matches('x').parse::<usize>().ok(),
            Item::End | Item::Cut => None,
        });
        assert!(data.eq(0..batches * each), "lost, twice or out of order");
    };
    let fill = "x".repeat(700);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let reader = world.reader("S a");
            scope.spawn(|| read(reader));
        }
        for batch in 0..batches {
            for subscription in &mut slow {
                while subscription.poll_chunk(&mut Context::from_waker(&waker)).is_ready() {}
            }
            let number = batch * each..(batch + 1) * each;
            let mut ops: Vec<_> = number.map(|n| Op::Publish(event("a", &format!("{n}{fill}")))).collect();
            ops.push(Op::Publish(event("slow", "")));
            let submitted = scope.spawn(|| world.submit(ops));
            // The reactor has reasons of its own to look, whenever that is.
            while !submitted.is_finished() {
                asker.say("P");
                assert_eq!(asker.line(), "pong");
            }
        }
        world.publish("a", "end");
    });
}

#[test]
fn heartbeats_come_only_in_silence_and_carry_the_cursor() {
    let world = World::with(Limits::default(), tidings_reactor::Config { heartbeat_ms: 600, ..config() }, 99);
    let mut reader = world.reader("S a");
    let at = world.publish("b", "for others");
    let begun = Instant::now();
    let items = reader.blocks(|block| block == format!("id: {at}\n\n"));
    assert_eq!(items.len(), 3, "{items:?}");
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    assert_eq!(reader.blocks(|_| true), [Item::Block(format!("id: {at}"))]);
}

#[test]
fn nothing_beats_where_heartbeats_are_off() {
    let world = World::with(Limits::default(), tidings_reactor::Config { handshake_ms: 200, ..config() }, 99);
    let mut reader = world.reader("S a");
    std::thread::sleep(Duration::from_millis(600));
    world.publish("a", "1");
    let items = reader.blocks(|block| block.ends_with("data: 1\n\n"));
    assert_eq!(items.len(), 3, "{items:?}");
}

#[test]
fn silent_and_slow_askers_are_closed() {
    let config = tidings_reactor::Config { handshake_ms: 300, head_ms: 700, ..config() };
    let world = World::with(Limits::default(), config, 99);
    let silent = std::net::TcpStream::connect(world.addr).unwrap();
    let mut slow = std::net::TcpStream::connect(world.addr).unwrap();
    let mut idle = world.reader("P");
    eventually("all are open", || world.open.load(Ordering::SeqCst) == 3);
    let begun = Instant::now();
    slow.write_all(b"P").unwrap();
    eventually("the silent one is closed", || world.open.load(Ordering::SeqCst) == 2);
    assert!(begun.elapsed() < Duration::from_millis(690), "{:?}", begun.elapsed());
    eventually("all are closed", || world.open.load(Ordering::SeqCst) == 0);
    assert!(begun.elapsed() >= Duration::from_millis(600));
    assert_eq!(idle.line(), "");
    drop((silent, slow));
}

#[test]
fn a_drain_spreads_the_ends_and_an_end_waits_for_answers() {
    let mut world = World::new(Limits::default());
    let mut readers: Vec<_> = (0..20).map(|n| world.reader(&format!("S t{}", n % 3))).collect();
    let begun = Instant::now();
    world.hub.drain(400);
    let first = readers[0].blocks(|_| false);
    assert_eq!(first.last(), Some(&Item::End));
    assert!(
        matches!(&first[first.len() - 2], Item::Block(block) if block.starts_with("retry: ")),
        "{first:?}"
    );
    assert!(world.reader("S a").begun.starts_with("error "));
    for reader in &mut readers[1..] {
        assert_eq!(reader.blocks(|_| false).last(), Some(&Item::End));
    }
    assert!((200..2_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    eventually("nobody is left", || world.hub.subscribers() == 0);
    let mut late = world.reader("P");
    late.say("W");
    std::thread::sleep(Duration::from_millis(5));
    world.advance(Stage::Stopping);
    assert_eq!([late.line(), late.line()], ["late", ""]);
    world.join();
    assert!(std::net::TcpStream::connect(world.addr).is_err(), "nobody listens any more");
}

#[test]
fn a_defect_in_one_answer_costs_one_connection() {
    let world = World::new(Limits::default());
    let mut quiet = world.reader("S a");
    for defect in ["X!", "X?"] {
        assert_eq!(world.reader(defect).begun, "");
    }
    world.publish("a", "1");
    assert_eq!(quiet.data(1), ["1"]);
    eventually("one is left", || world.open.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_defect_in_a_read_costs_the_one_who_is_fed() {
    let world =
        World::new(Limits { hot_log_bytes: 64 << 10, event_bytes_max: 16 << 10, ..Limits::default() });
    let mut quiet = world.reader("S a");
    world.publish("defect", "1");
    overrun(&world, "b");
    let mut fed = world.reader("S defect start");
    assert!(fed.begun.starts_with("fed "), "{}", fed.begun);
    assert_eq!(fed.blocks(|_| false).last(), Some(&Item::Cut));
    world.publish("a", "1");
    assert_eq!(quiet.data(1), ["1"]);
    eventually("it is counted no more", || world.hub.subscribers() == 1);
}

#[test]
fn who_is_too_far_behind_is_ended_and_comes_back_for_the_rest() {
    for limits in [
        Limits { lag_ms_max: 1_500, ..Limits::default() },
        Limits { lag_bytes_max: 4 << 20, ..Limits::default() },
    ] {
        let world = World::new(limits);
        let (mut stalled, mut awake) = (world.reader("S a"), world.reader("S a"));
        let big = "x".repeat(200_000);
        for n in 0..30 {
            world.publish("a", &format!("{n} {big}"));
            assert_eq!(awake.data(1).len(), 1);
        }
        eventually("it is ended", || world.hub.stats().slow_ended == 1 && world.hub.subscribers() == 1);
        let mut id = String::new();
        let mut seen = 0;
        let mut count = |items: Vec<Item>, whole: bool| {
            for item in items {
                let Item::Block(block) = item else { continue };
                if let Some(line) = block.lines().next().and_then(|line| line.strip_prefix("id: ")) {
                    line.clone_into(&mut id);
                }
                let Some((_, data)) = block.split_once("\ndata: ") else { continue };
                assert!(data.starts_with(&format!("{seen} ")) && (whole || data.len() > 200_000));
                seen += 1;
            }
            (id.clone(), seen)
        };
        let (at, _) = count(stalled.blocks(|_| false), false);
        let mut back = world.reader(&format!("S a {at}"));
        world.publish("a", "30 end");
        assert_eq!(count(back.blocks(|block| block.ends_with(" end\n\n")), true).1, 31);
    }
}

#[test]
fn a_body_that_nobody_takes_ends_and_a_replay_may_take_its_time() {
    let world = World::new(Limits { lag_ms_max: 1_000, ..Limits::default() });
    world.publish("a", "1");
    let ask = || Subscribe::new(Filter::topics(Selectors::new(vec![Selector::parse("a").unwrap()])));
    let mut slow = world.hub.subscribe(ask()).unwrap();
    let mut replay = world.hub.subscribe(ask().from(tidings_hub::From::Start)).unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while slow.poll_chunk(&mut cx).is_ready() {}
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(!slow.is_slow(), "it lacks nothing");
    world.publish("a", "2");
    eventually("it is too slow", || slow.is_slow());
    assert!(world.hub.stats().lag_ms_max >= 1_000);
    let mut text = Vec::new();
    while let std::task::Poll::Ready(Some(chunk)) = slow.poll_chunk(&mut cx) {
        text.extend_from_slice(&chunk.unwrap());
    }
    assert!(text.starts_with(b"retry: ") && text.len() < 20, "{:?}", String::from_utf8_lossy(&text));
    assert!(matches!(slow.poll_chunk(&mut cx), std::task::Poll::Ready(None)));
    assert!(!replay.is_slow());
    let std::task::Poll::Ready(Some(Ok(chunk))) = replay.poll_chunk(&mut cx) else { panic!("nothing came") };
    assert!(String::from_utf8_lossy(&chunk).contains("data: 2"));
    assert_eq!(world.hub.stats().slow_ended, 1);
}

/// More at once than the hot log holds.
fn overrun(world: &World, name: &str) {
    let big = "x".repeat(16_000);
    world.submit((0..60).map(|_| Op::Publish(event(name, &big))).collect());
}

#[test]
fn who_lacks_nothing_stays_live_when_publishing_outruns_delivery() {
    let world =
        World::new(Limits { hot_log_bytes: 64 << 10, event_bytes_max: 16 << 10, ..Limits::default() });
    let mut quiet: Vec<_> = (0..50).map(|_| world.reader("S a,b")).collect();
    world.publish("a", "0");
    let mut asker = world.reader("P");
    for _ in 0..5 {
        overrun(&world, "c");
        asker.say("P");
        assert_eq!(asker.line(), "pong");
    }
    assert_eq!(world.hub.stats().cold_reads, 0, "nobody had to look for anything");
    let mut loud: Vec<_> = (0..100).map(|_| world.reader("S c,d")).collect();
    overrun(&world, "c");
    world.publish("b", "1");
    world.publish("d", "1");
    for reader in &mut quiet {
        assert_eq!(reader.data(2), ["0", "1"]);
    }
    for reader in &mut loud {
        let data = reader.data(61);
        assert!(data[..60].iter().all(|data| data.len() == 16_000) && data[60] == "1");
    }
}

#[test]
fn no_more_are_let_in_than_there_is_room_for() {
    let world = World::with(Limits::default(), config(), 2);
    let (one, _two) = (world.reader("P"), world.reader("P"));
    let mut three = std::net::TcpStream::connect(world.addr).unwrap();
    three.write_all(b"P\n").unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(world.open.load(Ordering::SeqCst), 2);
    drop(one);
    let mut answer = [0; 5];
    three.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    std::io::Read::read_exact(&mut three, &mut answer).unwrap();
    assert_eq!(&answer, b"pong\n");
}

#[test]
fn a_stream_that_is_talked_into_ends_and_harms_nobody() {
    let world = World::new(Limits::default());
    let (mut loud, mut quiet) = (world.reader("S a"), world.reader("S a"));
    loud.say("hello?");
    world.publish("a", "1");
    assert_eq!((loud.data(1), quiet.data(1)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    let flood = vec![b'z'; 4 << 20];
    _ = loud.socket.write_all(&flood);
    eventually("it is gone", || world.hub.subscribers() == 1);
    world.publish("a", "2");
    assert_eq!(quiet.data(1), ["2"]);
}

#[test]
fn a_reactor_that_is_full_itself_listens_again_when_somebody_leaves() {
    let config = tidings_reactor::Config { connections_max: 3, ..config() };
    let world = World::with(Limits::default(), config, 99);
    let mut readers: Vec<_> = (0..3).map(|_| world.reader("S a")).collect();
    let mut fourth = std::net::TcpStream::connect(world.addr).unwrap();
    fourth.write_all(b"P\n").unwrap();
    fourth.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut answer = [0; 5];
    assert!(fourth.read(&mut answer).is_err(), "there is no room for it");
    drop(readers.pop());
    fourth.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    fourth.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong\n");
}
