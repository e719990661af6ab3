//! What is read ahead, over real files and with real threads.

use std::time::Duration;

use tidings_hub::ports::{Durability, Log, Op, Outcome, Publish, Sink, Submission};
use tidings_hub::{Selector, Selectors, SystemClock, TopicName};

use super::*;
use crate::config::LogConfig;
use crate::disk::RealDisk;
use crate::store::{EmbeddedLog, Pump};

/// Bytes of a page: about 16 events.
const PAGE_BYTES: usize = 2_000;

struct Nobody;

impl Sink for Nobody {
    fn commit(&mut self, _: tidings_hub::ports::Batch) {}

    fn health(&mut self, _: tidings_hub::ports::Health) {}
}

struct World {
    log: EmbeddedLog,
    pump: Pump,
    _dir: tempfile::TempDir,
}

impl World {
    /// Eight topics by turns, over many segments: each is too rare for its segments to be walked over.
    fn new(read_threads: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
        let config = LogConfig {
            segment_bytes: 8 << 10,
            durability: Durability::Os,
            read_threads,
            ..LogConfig::default()
        };
        let (log, pump) = EmbeddedLog::open_manual(disk, Arc::new(SystemClock::new()), config).unwrap();
        log.attach(Box::new(Nobody)).unwrap();
        let mut world = Self { log, pump, _dir: dir };
        for batch in 0..60 {
            let publish = |n: usize| {
                let topic = TopicName::parse(&format!("t/{}", n % 8)).unwrap();
                let data = format!("{n} {}", "x".repeat(60));
                Op::Publish(Publish::text([topic].into_iter().collect(), data))
            };
            world.submit((batch * 64..batch * 64 + 64).map(publish).collect());
        }
        world
    }

    fn submit(&mut self, ops: Vec<Op>) {
        let outcomes = self.log.submit(Submission { ops, atomic: false, time_ms: 1 });
        while self.pump.step() {}
        let outcomes = block_on(outcomes);
        let is_done =
            |outcome: &Outcome| matches!(outcome, Outcome::Committed { .. } | Outcome::Unchanged { .. });
        assert!(outcomes.iter().all(is_done), "{outcomes:?}");
    }

    fn page(&self, want: &Want, first: Seq) -> Page {
        let range = SeqRange { first, last: self.log.bounds().head };
        block_on(self.log.read(want.clone(), range, PAGE_BYTES)).unwrap()
    }

    /// All there is, page after page.
    fn replay(&self, want: &Want) -> Vec<u64> {
        let (mut seqs, mut first) = (Vec::new(), Seq(1));
        while first <= self.log.bounds().head {
            let page = self.page(want, first);
            seqs.extend(page.records.iter().map(|record| record.seq.0));
            first = page.through.next();
        }
        seqs
    }

    /// Where the pages begin that are read ahead, and the one behind them, once all that can be is read.
    #[expect(clippy::disallowed_methods, reason = "a test waits for threads")]
    fn ahead(&self) -> Option<(Vec<Seq>, Option<Seq>)> {
        for _ in 0..10_000 {
            let queue = self.log.pool().inner.queue.lock();
            if queue.bytes == 0 && queue.aheads == 0 && !queue.place.goes_on() {
                return queue.place.waiting();
            }
            drop(queue);
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("it is never read");
    }

    /// Two pages, of which the second shows that it goes on, and those ahead then.
    fn begin(&self, want: &Want) -> (Page, Vec<Seq>) {
        let first = self.page(want, Seq(1));
        assert_eq!(self.ahead(), None, "who asked once need not ask again");
        let second = self.page(want, first.through.next());
        let (ahead, _) = self.ahead().unwrap();
        assert_eq!((ahead.len(), ahead[0]), (2, second.through.next()));
        (second, ahead)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn want(selector: &str) -> Want {
    Want::Topics(Arc::new(Selectors::new(vec![Selector::parse(selector).unwrap()])))
}

#[test]
fn who_reads_ahead_gives_what_there_is() {
    let (world, plain) = (World::new(3), World::new(0));
    for selector in ["t/0", "t/1", "t/*", "**", "t/none"] {
        assert_eq!(world.replay(&want(selector)), plain.replay(&want(selector)), "{selector}");
        assert_eq!(world.ahead(), None, "{selector}: the place is free for the next reader");
    }
    // Several with filters of their own, and several that share one.
    let shared = want("t/3");
    std::thread::scope(|scope| {
        for topic in ["t/0", "t/1", "t/3", "t/3", "t/3"] {
            let own = if topic == "t/3" { shared.clone() } else { want(topic) };
            let (world, plain) = (&world, &plain);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(world.replay(&own), plain.replay(&own), "{topic}");
                    world.log.pool().tick();
                }
            });
        }
    });
}

#[test]
fn two_pages_are_read_ahead_and_the_next_when_one_is_taken() {
    let world = World::new(3);
    let want = want("t/0");
    let (second, ahead) = world.begin(&want);
    assert!((10..20).contains(&second.records.len()), "{}", second.records.len());
    let next = world.ahead().unwrap().1.unwrap();
    assert_eq!(world.page(&want, ahead[0]).through.next(), ahead[1]);
    assert_eq!(world.ahead().unwrap().0, [ahead[1], next]);
    // Another with the same filter, or the same one elsewhere, gets what is there, and takes nothing away.
    assert_eq!(world.page(&want, Seq(97)).records[0].seq, Seq(97));
    assert_eq!(world.ahead().unwrap().0, [ahead[1], next]);
}

#[test]
fn what_is_deleted_after_it_was_read_ahead_is_not_given() {
    let mut world = World::new(3);
    let want = want("t/1");
    let (_, ahead) = world.begin(&want);
    world.submit(vec![Op::Delete { topic: TopicName::parse("t/1").unwrap() }]);
    assert_eq!(world.page(&want, ahead[0]).records, []);
    assert_eq!(world.ahead().unwrap().0[0], ahead[1], "it was taken from what was read before");
}

#[test]
fn what_was_trimmed_makes_no_page() {
    let mut world = World::new(3);
    let want = want("t/2");
    let through = Seq(1_200);
    world.submit(vec![Op::Trim { topic: TopicName::parse("t/2").unwrap(), through }]);
    let first = world.page(&want, Seq(1));
    assert!(first.through > through && first.records[0].seq > through, "{:?}", first.through);
    let range = SeqRange { first: Seq(1), last: world.log.bounds().head };
    let full_at = reader::full_at(&world.log.pool().inner.shared, &want, range, PAGE_BYTES);
    assert_eq!(full_at, Some(first.through), "no page ends within what is gone");
}

#[test]
fn pages_that_nobody_asks_for_are_forgotten() {
    let world = World::new(3);
    let (one, other) = (want("t/0"), want("t/1"));
    let (_, mine) = world.begin(&one);
    let through = world.page(&other, Seq(1)).through;
    world.page(&other, through.next());
    assert_eq!(world.ahead().unwrap().0, mine, "the place is taken");
    world.log.tick();
    world.page(&one, mine[0]);
    assert_eq!(world.ahead().unwrap().0.len(), 2, "it goes on");
    for _ in 0..2 {
        world.log.tick();
    }
    assert_eq!(world.ahead(), None);
    assert!(!world.page(&one, mine[1]).records.is_empty());
}

#[test]
fn one_thread_reads_what_is_asked_for() {
    let (world, want) = (World::new(1), want("t/0"));
    let through = world.page(&want, Seq(1)).through;
    world.page(&want, through.next());
    assert_eq!(world.ahead(), None);
}
