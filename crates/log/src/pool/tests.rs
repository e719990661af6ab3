//! What is read ahead, over real files and with real threads.

use std::time::Duration;

use tidings_hub::ports::{Durability, Log, Op, Outcome, Publish, Sink, Submission};
use tidings_hub::{Selector, SystemClock, TopicName};

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
    /// Three topics by turns, over many segments.
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
        for n in 0..1_500 {
            let topic = TopicName::parse(&format!("t/{}", n % 3)).unwrap();
            let data = format!("{n} {}", "x".repeat(60));
            world.submit(Op::Publish(Publish::text([topic].into_iter().collect(), data)));
        }
        world
    }

    fn submit(&mut self, op: Op) {
        let outcomes = self.log.submit(Submission { ops: vec![op], atomic: false, time_ms: 1 });
        while self.pump.step() {}
        let outcomes = block_on(outcomes);
        assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
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

    /// What is ahead, once all that can be is read.
    #[expect(clippy::disallowed_methods, reason = "a test waits for threads")]
    fn ahead(&self) -> Option<(Vec<Seq>, Option<Seq>)> {
        for _ in 0..10_000 {
            let queue = self.log.pool().inner.queue.lock();
            let ahead = queue.ahead.as_ref();
            let is_settled = ahead.is_none_or(|ahead| ahead.pages.len() == AHEAD_MAX || ahead.is_over);
            if queue.bytes == 0 && is_settled {
                return ahead
                    .map(|ahead| (ahead.pages.iter().map(|(first, _)| *first).collect(), ahead.next));
            }
            drop(queue);
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("it is never read");
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
    let (world, plain) = (World::new(2), World::new(0));
    for selector in ["t/0", "t/1", "t/*", "**", "t/none"] {
        assert_eq!(world.replay(&want(selector)), plain.replay(&want(selector)), "{selector}");
        assert_eq!(world.ahead(), None, "{selector}: the place is free for the next reader");
    }
    std::thread::scope(|scope| {
        for topic in ["t/0", "t/1", "t/2", "t/0", "t/1"] {
            let (world, plain) = (&world, &plain);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(world.replay(&want(topic)), plain.replay(&want(topic)), "{topic}");
                }
            });
        }
    });
}

#[test]
fn two_pages_are_read_ahead_and_the_next_when_one_is_taken() {
    let world = World::new(2);
    let want = want("t/0");
    let first = world.page(&want, Seq(1));
    assert!((10..20).contains(&first.records.len()), "{}", first.records.len());
    let (ahead, next) = world.ahead().unwrap();
    assert_eq!((ahead.len(), ahead[0]), (2, first.through.next()));
    let second = world.page(&want, ahead[0]);
    assert_eq!(second.through.next(), ahead[1]);
    let (then, _) = world.ahead().unwrap();
    assert_eq!(then, [ahead[1], next.unwrap()]);
    // Who goes on elsewhere gets what is there.
    assert_eq!(world.page(&want, Seq(100)).records[0].seq, Seq(100));
    assert_eq!(world.ahead().unwrap().0.len(), 2);
}

#[test]
fn what_is_deleted_after_it_was_read_ahead_is_not_given() {
    let mut world = World::new(2);
    let want = want("t/1");
    let first = world.page(&want, Seq(1));
    let (ahead, _) = world.ahead().unwrap();
    assert_eq!(ahead[0], first.through.next());
    world.submit(Op::Delete { topic: TopicName::parse("t/1").unwrap() });
    assert_eq!(world.page(&want, ahead[0]).records, []);
    assert_eq!(world.ahead().unwrap().0[0], ahead[1], "it was taken from what was read before");
}

#[test]
fn pages_that_nobody_asks_for_are_forgotten() {
    let world = World::new(2);
    let (one, other) = (want("t/0"), want("t/1"));
    let through = world.page(&one, Seq(1)).through;
    let mine = world.ahead().unwrap();
    world.page(&other, Seq(1));
    assert_eq!(world.ahead().unwrap(), mine, "the place is taken");
    world.log.tick();
    let next = world.page(&one, through.next());
    assert_eq!(world.ahead().unwrap().0.len(), 2, "it goes on");
    for _ in 0..2 {
        world.log.tick();
    }
    assert_eq!(world.ahead(), None);
    assert!(!world.page(&one, next.through.next()).records.is_empty());
}

#[test]
fn one_thread_reads_what_is_asked_for() {
    let world = World::new(1);
    world.page(&want("t/0"), Seq(1));
    assert_eq!(world.ahead(), None);
}
