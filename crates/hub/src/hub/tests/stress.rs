//! Threads: some poll with real wakers, one commits, one trims and deletes, one ticks; heartbeats are off, so that a
//! missed wake-up is a hang. Reads are answered late and from another thread.
#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "real threads, a deadline against hangs, and small numbers"
)]

use super::world::*;
use crate::limits::Limits;
use crate::ports::*;
use crate::position::{Epoch, Position, Seq};
use crate::resume::From;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Rng(u64);
impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

type Slot = Arc<Mutex<(Option<Result<Page, LogError>>, Option<Waker>)>>;
struct Late {
    inner: Arc<TestLog>,
    jobs: Mutex<mpsc::Sender<(Want, SeqRange, usize, Slot)>>,
    busy_every: usize,
    reads: AtomicUsize,
}
impl Late {
    fn new(inner: Arc<TestLog>, busy_every: usize) -> Self {
        let (send, jobs) = mpsc::channel::<(Want, SeqRange, usize, Slot)>();
        let log = Arc::clone(&inner);
        thread::spawn(move || {
            for (n, (want, range, bytes, slot)) in jobs.iter().enumerate() {
                if n % 7 == 0 {
                    thread::sleep(Duration::from_micros(300));
                }
                let page = now(log.read(want, range, bytes));
                let waker = {
                    let mut s = slot.lock();
                    s.0 = Some(page);
                    s.1.take()
                };
                if n % 5 == 0 {
                    thread::yield_now();
                }
                if let Some(w) = waker {
                    w.wake()
                }
            }
        });
        Self { inner, jobs: Mutex::new(send), busy_every, reads: AtomicUsize::new(0) }
    }
}
impl Log for Late {
    fn submit(&self, s: Submission) -> BoxFuture<Vec<Outcome>> {
        self.inner.submit(s)
    }
    fn attach(&self, s: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        self.inner.attach(s)
    }
    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        let n = self.reads.fetch_add(1, SeqCst);
        if self.busy_every > 0 && n.is_multiple_of(self.busy_every) {
            return Box::pin(std::future::ready(Err(LogError::Busy)));
        }
        let slot = Slot::default();
        self.jobs.lock().send((want, range, bytes_max, Arc::clone(&slot))).unwrap();
        Box::pin(std::future::poll_fn(move |cx| {
            let mut s = slot.lock();
            match s.0.take() {
                Some(page) => Poll::Ready(page),
                None => {
                    s.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
    fn bounds(&self) -> Bounds {
        self.inner.bounds()
    }
    fn health(&self) -> Health {
        Health::Ready
    }
    fn shutdown(&self) -> BoxFuture<()> {
        self.inner.shutdown()
    }
}

struct Flag {
    woken: AtomicBool,
    thread: Thread,
}
impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.thread.unpark();
    }
}

const TOPICS: [&str; 4] = ["a", "b", "c/1", "c/2"];
const WISHES: [&str; 6] = ["a", "a b", "c/*", "**", "b c/1", "c/2"];

/// What was sent and removed: (seq → number, topics), for each topic the removed prefix.
#[derive(Default)]
struct Truth {
    sent: Vec<(Seq, Vec<usize>)>,
    trimmed: Seq,
    deleted: [Seq; 4],
}

fn wants(wish: usize, topics: &[usize]) -> bool {
    let f = filter(WISHES[wish]);
    topics.iter().any(|t| f.selectors().matches(TOPICS[*t]))
}

struct Walker {
    wish: usize,
    peer: Option<Peer>,
    flag: Arc<Flag>,
    /// next number that may come
    next: usize,
    gaps: Vec<(Seq, [Seq; 4])>,
    done: bool,
    /// The last id, whichever connection brought it.
    last: From,
}

fn check(w: &mut Walker, data: &str, truth: &Mutex<Truth>) {
    let truth = truth.lock();
    // Whatever was lost when the gap was told is told.
    if data == "!trimmed" {
        w.gaps.push((truth.trimmed, truth.deleted));
        return;
    }
    let number: usize = data.split(' ').next().unwrap().parse().unwrap();
    // The number is the index in `sent`, filled in before it is published.
    assert!(number >= w.next, "{number} again, {} expected", w.next);
    for n in w.next..number {
        let (seq, topics) = &truth.sent[n];
        if !wants(w.wish, topics) {
            continue;
        }
        let f = filter(WISHES[w.wish]);
        let selectors = f.selectors();
        let gone = |trimmed: Seq, deleted: [Seq; 4]| {
            *seq <= trimmed
                || topics.iter().filter(|t| selectors.matches(TOPICS[**t])).all(|t| *seq <= deleted[*t])
        };
        let told = w.gaps.iter().any(|(trimmed, deleted)| gone(*trimmed, *deleted));
        assert!(
            told,
            "wish {}: {n} ({seq:?}) missing before {number}; gone {}, but lost after the last of {} gaps; {:?} now {:?} {:?}",
            WISHES[w.wish],
            gone(truth.trimmed, truth.deleted),
            w.gaps.len(),
            w.gaps.last(),
            truth.trimmed,
            truth.deleted
        );
    }
    assert!(wants(w.wish, &truth.sent[number].1));
    w.next = number + 1;
    if data.ends_with("END") {
        w.done = true;
    }
}

fn run(seed: u64, busy_every: usize, events: usize, budget: usize) {
    let limits = Limits {
        heartbeat_ms: 0,
        chunk_bytes: 1 + (seed as usize * 977) % 6_000,
        cold_read_bytes: 15_000,
        cold_budget_bytes: budget,
        ..small()
    };
    let base = World::new(limits);
    // A second world's hub over the late log.
    let late = Arc::new(Late::new(base.log_fresh(), busy_every));
    let world = Arc::new(World {
        hub: crate::Hub::open(late.clone() as Arc<dyn Log>, Arc::clone(&base.clock) as _, limits).unwrap(),
        log: Arc::clone(&late.inner),
        clock: Arc::clone(&base.clock),
    });
    let truth = Arc::new(Mutex::new(Truth::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicUsize::new(0));
    let last_progress = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut threads = vec![];
    const POLLERS: usize = 4;
    const PER: usize = 12;
    let states: Arc<Mutex<HashMap<usize, String>>> = Arc::default();
    for p in 0..POLLERS {
        let (world, truth, stop, ended, states) =
            (world.clone(), truth.clone(), stop.clone(), ended.clone(), states.clone());
        threads.push(thread::spawn(move || {
            let mut rng = Rng(seed * 100 + p as u64);
            let flag = || Arc::new(Flag { woken: AtomicBool::new(true), thread: thread::current() });
            let mut walkers: Vec<_> = (0..PER)
                .map(|n| Walker {
                    wish: (n + p) % WISHES.len(),
                    peer: None,
                    flag: flag(),
                    next: 0,
                    gaps: vec![],
                    done: false,
                    last: at(Seq::ZERO),
                })
                .collect();
            for w in &mut walkers {
                w.peer = Some(world.subscribe(WISHES[w.wish], at(Seq::ZERO)));
            }
            let mut counted = 0;
            let begun = Instant::now();
            while !stop.load(SeqCst) {
                let mut any = false;
                for w in &mut walkers {
                    if w.done || !w.flag.woken.swap(false, SeqCst) {
                        continue;
                    }
                    any = true;
                    if rng.below(40) == 0 {
                        // The link breaks; another task takes over, the old waker is stale.
                        let last = w.peer.take().unwrap().last();
                        if last != From::Tail {
                            w.last = last;
                        }
                        w.flag = flag();
                        w.peer = Some(world.subscribe(WISHES[w.wish], w.last.clone()));
                        continue;
                    }
                    if rng.below(30) == 0 {
                        // polled by another task meanwhile
                        w.flag = flag();
                    }
                    let waker = Waker::from(w.flag.clone());
                    let mut cx = Context::from_waker(&waker);
                    for _ in 0..1 + rng.below(8) {
                        match w.peer.as_mut().unwrap().stream.poll_chunk(&mut cx) {
                            Poll::Ready(Some(Ok(chunk))) => {
                                w.flag.woken.store(true, SeqCst);
                                for data in w.peer.as_mut().unwrap().decode(&chunk) {
                                    check(w, &data, &truth);
                                }
                            }
                            Poll::Ready(Some(Err(_))) => {
                                let last = w.peer.take().unwrap().last();
                                if last != From::Tail {
                                    w.last = last;
                                }
                                w.peer = Some(world.subscribe(WISHES[w.wish], w.last.clone()));
                                w.flag.woken.store(true, SeqCst);
                                break;
                            }
                            Poll::Ready(None) => panic!("an end"),
                            Poll::Pending => break,
                        }
                        if w.done {
                            break;
                        }
                    }
                }
                let now_done = walkers.iter().filter(|w| w.done).count();
                if now_done > counted {
                    ended.fetch_add(now_done - counted, SeqCst);
                    counted = now_done;
                }
                if begun.elapsed() > Duration::from_secs(40) || counted == PER {
                    states.lock().insert(
                        p,
                        walkers
                            .iter()
                            .filter(|w| !w.done)
                            .map(|w| format!("{}: next {} ", WISHES[w.wish], w.next))
                            .collect(),
                    );
                }
                if !any {
                    thread::park_timeout(Duration::from_millis(20));
                }
            }
        }));
    }
    {
        // ticks
        let (world, stop) = (world.clone(), stop.clone());
        threads.push(thread::spawn(move || {
            while !stop.load(SeqCst) {
                world.pass(250);
                thread::sleep(Duration::from_millis(2));
            }
        }));
    }
    {
        // removals
        let (world, truth, stop) = (world.clone(), truth.clone(), stop.clone());
        threads.push(thread::spawn(move || {
            let mut rng = Rng(seed + 7);
            while !stop.load(SeqCst) {
                thread::sleep(Duration::from_millis(1 + rng.below(15) as u64));
                let mut t = truth.lock();
                if t.sent.len() < 50 || t.sent.len() >= events {
                    continue;
                }
                if rng.below(4) > 0 {
                    let n = t.sent.len();
                    let at = n - 1 - rng.below(n.min(3_000));
                    let seq = t.sent[at].0;
                    if seq > t.trimmed {
                        t.trimmed = seq;
                        drop(t);
                        world.trim(seq);
                    }
                } else {
                    // Under the truth's lock: nothing is sent meanwhile.
                    let topic = rng.below(4);
                    t.deleted[topic] =
                        t.sent.iter().rev().find(|s| s.1.contains(&topic)).map_or(Seq::ZERO, |s| s.0);
                    world.delete(TOPICS[topic]);
                }
            }
        }));
    }
    let mut rng = Rng(seed);
    for n in 0..events {
        let mut topics = vec![rng.below(4)];
        if rng.below(5) == 0 {
            topics.push((topics[0] + 1) % 4);
        }
        let last = n + 1 == events;
        if last {
            topics = vec![0, 1, 2, 3];
        }
        let names: Vec<_> = topics.iter().map(|t| TOPICS[*t]).collect();
        let data = format!("{n} {}{}", "x".repeat(rng.below(1_200)), if last { "END" } else { "" });
        let mut t = truth.lock();
        // Whoever receives it waits for the truth's lock.
        let seq = world.publish(&names.join(" "), &data);
        assert_eq!(t.sent.len(), n);
        t.sent.push((seq, topics));
        drop(t);
        if n % 64 == 0 {
            thread::sleep(Duration::from_micros(500));
        }
        last_progress.store(n as u64, SeqCst);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while ended.load(SeqCst) < POLLERS * PER
        && Instant::now() < deadline
        && threads.iter().take(POLLERS).all(|t| !t.is_finished())
    {
        thread::sleep(Duration::from_millis(5));
    }
    let all = ended.load(SeqCst);
    thread::sleep(Duration::from_millis(if all < POLLERS * PER { 12_000 } else { 0 }));
    stop.store(true, SeqCst);
    for t in threads {
        t.join().unwrap();
    }
    let stats = world.hub.stats();
    eprintln!(
        "seed {seed}: {:?}, {} cold reads, {} asked, gaps {}",
        start.elapsed(),
        stats.cold_reads,
        late.reads.load(SeqCst),
        stats.gaps
    );
    assert_eq!(all, POLLERS * PER, "hung: {:?}", states.lock());
    let _ = Position { epoch: Epoch(1), seq: Seq(0) };
}

#[test]
fn s1_threads_keep_every_promise() {
    for seed in 1..60 {
        run(seed, 0, 6_000, 64 << 20);
    }
}

#[test]
fn s2_with_few_turns() {
    for seed in 100..140 {
        run(seed, 0, 5_000, 30_000);
    }
}

#[test]
fn s3_with_a_busy_store() {
    for seed in 200..230 {
        run(seed, 3, 4_000, 60_000);
    }
}
