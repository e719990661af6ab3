//! Many readers at their own pace and with wishes of their own, a hot log that is too small, events of all sizes, topics
//! that are deleted and closed, a restart: what each reads is held against what was published.
//!
//! **The model**, for each reader: it gets every event of its topics and types that is public or for its grant, in order,
//! once. One that is lacking was deleted, and a gap was told for it before anything later came. Its stream ends when all
//! its topics are closed, and not before it has everything. Who is sent away comes back with the last id.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tidings_hub::ports::Op;
use tidings_hub::{EventName, Limits, TopicName};

use crate::world::{Item, World, event, eventually};

/// A little generator (SplitMix64): the order of threads is not repeatable, what is published is.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Says of a run that fails how to have it again.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {0}; again: TIDINGS_SEED={0} cargo test --test delivery random", self.0);
        }
    }
}

/// Topics, types, grant; `-` is none.
#[derive(Clone, Copy, Debug)]
struct Wish(&'static str, &'static str, &'static str);

const WISHES: [Wish; 12] = [
    Wish("t0", "-", "-"),
    Wish("t1", "-", "-"),
    Wish("t0,t2", "-", "-"),
    Wish("t*", "-", "-"),
    Wish("t1,t3", "x", "t3"),
    Wish("**", "-", "t2"),
    Wish("t4", "-", "t4"),
    Wish("t3", "-", "**"),
    Wish("t2,t4", "x,message", "t4"),
    Wish("t0,t1", "-", "t*"),
    Wish("t*", "x", "**"),
    Wish("t0", "-", "t1"),
];

/// The topic that is deleted now and then, and the one that is closed early.
const DELETED: u64 = 1;
const CLOSED: u64 = 3;

impl Wish {
    fn names(self, topic: u64) -> bool {
        is_in(self.0, topic)
    }

    fn wants(self, told: &Told) -> bool {
        let of_type = self.1 == "-" || self.1.split(',').any(|name| name == told.kind.unwrap_or("message"));
        self.names(told.topic) && of_type && (!told.private || is_in(self.2, told.topic))
    }

    /// New topics may come for it: it never ends.
    fn is_open(self) -> bool {
        self.0.contains('*')
    }
}

fn is_in(names: &str, topic: u64) -> bool {
    names.contains('*') || names.split(',').any(|name| name == format!("t{topic}"))
}

/// An event that was published; its number is its place in the list.
struct Told {
    topic: u64,
    kind: Option<&'static str>,
    private: bool,
    /// The first deletion after it, if its topic is deleted: how many there were then, with that one.
    deletion: Option<usize>,
}

/// How far the publisher is: counted before it happens.
#[derive(Default)]
struct Progress {
    start: AtomicBool,
    published: AtomicBool,
    deletions: AtomicUsize,
    handed_over: AtomicBool,
    closed_one: AtomicBool,
    closed_all: AtomicBool,
}

impl Progress {
    fn may_end(&self, wish: Wish) -> bool {
        !wish.is_open()
            && (self.closed_all.load(SeqCst)
                || wish.0 == format!("t{CLOSED}") && self.closed_one.load(SeqCst))
    }
}

/// What a reader met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Event(usize),
    /// A gap, and how many deletions there may have been.
    Gap(usize),
}

#[derive(Default)]
struct Journey {
    met: Vec<Met>,
    /// How often it came back of itself, and how often it had to, for a restart.
    came_back: usize,
    sent_away: usize,
}

fn travel(world: &World, progress: &Progress, wish: Wish, number: usize, mut random: Random) -> Journey {
    let Wish(topics, types, grant) = wish;
    let mut is_old = true;
    let mut reader = world.reader(&format!("S {topics} tail {types} {grant}"));
    let mut journey = Journey::default();
    let (mut id, mut is_away) = (String::new(), false);
    // One of them sleeps through all of it: it meets deletions for certain.
    let awaited = if number == 1 { &progress.published } else { &progress.start };
    while !awaited.load(SeqCst) {
        std::thread::sleep(Duration::from_micros(100));
    }
    loop {
        // Each reader reads in spurts of its own.
        let mut left = 1 + random.below(60);
        let items = reader.blocks(|block| {
            left -= 1;
            left == 0 || block.contains("data: end")
        });
        let mut comes_back = false;
        for item in items {
            let block = match item {
                Item::Block(block) => block,
                Item::End if is_away => {
                    assert!(is_old && progress.handed_over.load(SeqCst), "{wish:?}: nobody sent it away");
                    journey.sent_away += 1;
                    comes_back = true;
                    break;
                }
                Item::End => {
                    assert!(progress.may_end(wish), "{wish:?}: nobody ended it");
                    return journey;
                }
                // Half an event cannot be followed by a gap, nor by an end.
                Item::Cut if is_old && progress.handed_over.load(SeqCst) => {
                    journey.sent_away += 1;
                    comes_back = true;
                    break;
                }
                Item::Cut => {
                    let deletions = progress.deletions.load(SeqCst);
                    let ends = progress.closed_all.load(SeqCst);
                    assert!(
                        wish.names(DELETED) && deletions > 0,
                        "{wish:?}: nobody cut it (old {is_old}, all closed {ends})"
                    );
                    comes_back = true;
                    break;
                }
            };
            let Some(line) = block.lines().find_map(|line| line.strip_prefix("id: ")) else {
                assert!(block.starts_with("retry: "), "{wish:?}: {block}");
                is_away = true;
                continue;
            };
            is_away = false;
            line.clone_into(&mut id);
            if block.starts_with("event: tidings.gap\n") {
                let deletions = progress.deletions.load(SeqCst);
                assert!(wish.names(DELETED) && deletions > 0, "{wish:?}: no gap was due: {block}");
                journey.met.push(Met::Gap(deletions));
                continue;
            }
            let Some((_, data)) = block.split_once("\ndata: ") else { continue };
            if data == "end" {
                if wish.is_open() {
                    return journey;
                }
                continue;
            }
            let (number, rest) = data.split_once(' ').unwrap();
            let (bytes, fill) = rest.split_once(' ').unwrap();
            assert_eq!((fill.len() - 1).to_string(), bytes, "half an event");
            journey.met.push(Met::Event(number.parse().unwrap()));
        }
        // Some come back of themselves, some sleep.
        if comes_back || random.below(12) == 0 && !id.is_empty() {
            let from = if id.is_empty() { "tail" } else { &id };
            is_old = !progress.handed_over.load(SeqCst);
            reader = world.reader(&format!("S {topics} {from} {types} {grant}"));
            journey.came_back += usize::from(!comes_back);
            is_away = false;
            if reader.begun.starts_with("error ") {
                assert!(progress.may_end(wish), "{wish:?}: {}", reader.begun);
                return journey;
            }
        } else if random.below(3) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
        }
    }
}

/// Holds a journey against what was published.
#[track_caller]
fn judge(wish: Wish, met: &[Met], published: &[Told]) {
    let mut met = met.iter().copied();
    let (mut gap, mut next) = (0, None);
    let mut step = |gap: &mut usize| loop {
        match met.next() {
            Some(Met::Gap(deletions)) => *gap = (*gap).max(deletions),
            Some(Met::Event(number)) => break Some(number),
            None => break None,
        }
    };
    let mut fetched = false;
    for (number, told) in published.iter().enumerate().filter(|(_, told)| wish.wants(told)) {
        if !fetched {
            (next, fetched) = (step(&mut gap), true);
        }
        if next == Some(number) {
            fetched = false;
            continue;
        }
        assert!(next.is_none_or(|next| next > number), "{wish:?}: {next:?} is not its, or came twice");
        let is_told = told.deletion.is_some_and(|deletion| gap >= deletion);
        assert!(is_told, "{wish:?}: {number} is lacking, deleted {:?}, told {gap}", told.deletion);
    }
    if fetched {
        assert_eq!(next, None, "{wish:?}: it is not its, or came twice");
    }
    assert_eq!(step(&mut gap), None, "{wish:?}: too much");
}

#[track_caller]
fn check(seed: u64, hot_log_bytes: usize, events: usize) {
    let again = std::env::var("TIDINGS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = Seed(again.unwrap_or(seed));
    let limits =
        Limits { hot_log_bytes, event_bytes_max: hot_log_bytes / 4, retry_ms: 1, ..Limits::default() };
    let world = World::new(limits);
    let progress = Progress::default();
    let mut random = Random(seed.0);
    let mut published = Vec::new();
    let journeys: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = WISHES
            .iter()
            .cycle()
            .take(24)
            .enumerate()
            .map(|(number, wish)| {
                let own = Random(random.below(u64::MAX));
                let (world, progress) = (&world, &progress);
                (*wish, scope.spawn(move || travel(world, progress, *wish, number, own)))
            })
            .collect();
        eventually("all are there", || world.hub.subscribers() == 24);
        progress.start.store(true, SeqCst);
        publish(&world, &progress, &mut random, events, &mut published);
        progress.published.store(true, SeqCst);
        readers.into_iter().map(|(wish, reader)| (wish, reader.join().unwrap())).collect()
    });
    let (mut came_back, mut sent_away, mut gaps, mut deliveries) = (0, 0, 0, 0);
    for (wish, journey) in journeys {
        judge(wish, &journey.met, &published);
        came_back += journey.came_back;
        sent_away += journey.sent_away;
        let told = journey.met.iter().filter(|met| matches!(met, Met::Gap(_))).count();
        gaps += told;
        deliveries += journey.met.len() - told;
    }
    assert!(came_back > 0 && deliveries > 0, "{came_back} {deliveries}");
    assert!(gaps > 0);
    // Who catches up all the time is not sent away before it has; who is asleep in the hot log is.
    assert!(sent_away > 0 || hot_log_bytes < 1 << 20);
    eventually("all are gone", || world.hub.subscribers() == 0);
}

/// Publishes, deletes, closes and hands over.
fn publish(
    world: &World,
    progress: &Progress,
    random: &mut Random,
    events: usize,
    published: &mut Vec<Told>,
) {
    let topic = |topic: u64| TopicName::parse(&format!("t{topic}")).unwrap();
    let mut ops = Vec::new();
    while published.len() < events {
        for _ in 0..=random.below(40) {
            let to = random.below(5);
            if to == CLOSED && progress.closed_one.load(SeqCst) {
                continue;
            }
            let bytes = match random.below(20) {
                0 => random.below(9_000),
                1 => 0,
                _ => random.below(300),
            };
            let fill = "y".repeat(usize::try_from(bytes).unwrap());
            let mut event = event(&format!("t{to}"), &format!("{} {bytes} {fill}.", published.len()));
            let kind = [None, Some("x"), Some("y")][usize::try_from(random.below(3)).unwrap()];
            event.event = kind.map(|name| EventName::parse(name).unwrap());
            event.private = random.below(4) == 0;
            published.push(Told { topic: to, kind, private: event.private, deletion: None });
            ops.push(Op::Publish(event));
        }
        if random.below(20) == 0 {
            let deletions = progress.deletions.fetch_add(1, SeqCst) + 1;
            for told in published.iter_mut().filter(|told| told.topic == DELETED) {
                told.deletion.get_or_insert(deletions);
            }
            ops.push(Op::Delete { topic: topic(DELETED) });
        }
        if published.len() > events / 3 * 2 && !progress.closed_one.swap(true, SeqCst) {
            ops.push(Op::Close { topic: topic(CLOSED) });
        }
        world.submit(std::mem::take(&mut ops));
        if published.len() > events / 2 && !progress.handed_over.load(SeqCst) {
            world.succeed();
            progress.handed_over.store(true, SeqCst);
            world.send_away(20);
        }
        if random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(2_000)));
        }
    }
    for kind in [None, Some("x")] {
        let mut end = event("t4", "end");
        end.event = kind.map(|name| EventName::parse(name).unwrap());
        ops.push(Op::Publish(end));
    }
    ops.extend((0..5).map(|number| Op::Close { topic: topic(number) }));
    progress.closed_all.store(true, SeqCst);
    world.submit(ops);
}

#[test]
fn every_reader_gets_its_part_of_the_log_whole_and_in_order() {
    check(1, 64 << 20, 6_000);
}

#[test]
fn also_when_the_hot_log_is_far_too_small() {
    check(2, 256 << 10, 6_000);
    check(3, 128 << 10, 3_000);
}
