//! The world of the stories: everything happens when it is told to, in one thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_codec::{Decoder, EventId, EventName, ItemRef};

use crate::fold::Fold;
use crate::hub::{Hub, Subscribe, SubscribeError};
use crate::judge::Judge;
use crate::keys::{KeyWindow, Keys};
use crate::limits::Limits;
use crate::ports::*;
use crate::position::{Epoch, Epochs, Position, Seq};
use crate::record::{Record, Topics};
use crate::resume::From;
use crate::selector::{Selector, Selectors};
use crate::subscription::{StreamError, Subscription};
use crate::topic::TopicName;
use crate::{Filter, ResumePoint};

/// A store in memory that obeys the port to the letter, and can be made to wait or to trim.
pub(super) struct TestLog {
    state: Mutex<State>,
    epochs: Arc<Epochs>,
    hold: Arc<AtomicBool>,
    pub(super) busy: AtomicBool,
    lost: Arc<[SeqRange]>,
    left: std::sync::atomic::AtomicUsize,
}

struct State {
    judge: Judge,
    stored: Vec<Record>,
    oldest: Seq,
    sink: Option<Box<dyn Sink>>,
}

impl Log for TestLog {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        let mut state = self.state.lock();
        let (mut records, time_ms) = (Vec::new(), submission.time_ms);
        let outcomes = state.judge.judge(submission, &mut records);
        state.judge.settle(time_ms);
        let kept = records.iter().filter(|record| !record.event().is_some_and(|event| event.ephemeral));
        state.stored.extend(kept.cloned());
        if let Some(sink) = &mut state.sink {
            sink.commit(Batch { records, trimmed: None });
        }
        Box::pin(std::future::ready(outcomes))
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        self.state.lock().sink = Some(sink);
        Ok(Snapshot {
            bounds: self.bounds(),
            fold: self.state.lock().judge.fold().clone(),
            lost: Arc::clone(&self.lost),
        })
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        if self.busy.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(LogError::Busy)));
        }
        let state = self.state.lock();
        let mut page = Page { through: range.last, oldest: state.oldest, ..Page::default() };
        let mut bytes = 0;
        for record in state.stored.iter().filter(|r| range.first <= r.seq && r.seq <= range.last) {
            let wanted = match &want {
                Want::Topics(selectors) => record.topics.iter().any(|t| selectors.matches(t.as_str())),
                Want::Exactly(places) => places.contains(&record.seq),
            };
            let Some(event) = record.event().filter(|_| wanted) else { continue };
            if bytes > 0 && bytes + event.data.len() > bytes_max {
                page.through = page.records.last().map_or(range.last, |last: &Record| last.seq);
                break;
            }
            bytes += event.data.len();
            page.records.push(record.clone());
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.hold.store(true, Ordering::SeqCst);
        }
        let (hold, mut page) = (Arc::clone(&self.hold), Some(page));
        Box::pin(std::future::poll_fn(move |_| match hold.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => Poll::Ready(page.take().ok_or(LogError::Busy)),
        }))
    }

    fn bounds(&self) -> Bounds {
        let state = self.state.lock();
        let (oldest, head) = (state.oldest, state.judge.last());
        Bounds { oldest, head, epochs: Arc::clone(&self.epochs), durability: Durability::Memory }
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    fn shutdown(&self) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }
}

#[derive(Default)]
pub(super) struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn wall_ms(&self) -> u64 {
        self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) log: Arc<TestLog>,
    pub(super) clock: Arc<HandClock>,
}

/// Limits under which everything happens soon: little hot log, small pages and chunks.
pub(super) fn small() -> Limits {
    Limits {
        hot_log_bytes: 300 << 10,
        event_bytes_max: 70 << 10,
        cold_read_bytes: 20_000,
        chunk_bytes: 2_000,
        ..Limits::default()
    }
}

impl TestLog {
    /// Reads wait from the nth on.
    pub(super) fn after_reads(&self, n: usize) {
        self.left.store(n, Ordering::SeqCst);
    }
}

impl World {
    /// A store of its own, without a hub.
    pub(super) fn log_fresh(&self) -> Arc<TestLog> {
        let epochs = Arc::new(Epochs::first(Epoch(1)));
        let judge =
            Judge::new(Fold::default(), Keys::new(KeyWindow::default()), Arc::clone(&epochs), Seq::ZERO);
        let state = State { judge, stored: Vec::new(), oldest: Seq(1), sink: None };
        Arc::new(TestLog {
            state: Mutex::new(state),
            epochs,
            hold: Arc::default(),
            busy: AtomicBool::new(false),
            lost: Arc::default(),
            left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        })
    }

    pub(super) fn new(limits: Limits) -> Self {
        Self::restarted(limits, Vec::new(), Epochs::first(Epoch(1)))
    }

    /// A hub over what an earlier one stored.
    pub(super) fn restarted(limits: Limits, stored: Vec<Record>, epochs: Epochs) -> Self {
        Self::damaged(limits, stored, epochs, &[])
    }

    /// The same, where some of it was lost by damage.
    pub(super) fn damaged(
        limits: Limits,
        mut stored: Vec<Record>,
        epochs: Epochs,
        lost: &[SeqRange],
    ) -> Self {
        let epochs = Arc::new(epochs);
        let keys = Keys::new(KeyWindow::default());
        let mut judge = Judge::new(Fold::default(), keys, Arc::clone(&epochs), Seq::ZERO);
        stored.iter().for_each(|record| judge.replay(record));
        stored.retain(|record| !lost.iter().any(|range| (range.first..=range.last).contains(&record.seq)));
        let state = State { judge, stored, oldest: Seq(1), sink: None };
        let log = Arc::new(TestLog {
            state: Mutex::new(state),
            epochs,
            hold: Arc::default(),
            busy: AtomicBool::new(false),
            lost: lost.into(),
            left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        });
        let clock = Arc::new(HandClock::default());
        let ephemeral = Selectors::new(vec![Selector::parse("typing/*").unwrap()]);
        let port: Arc<dyn Log> = Arc::clone(&log) as _;
        let hub = Hub::open_with(port, Arc::clone(&clock) as _, limits, ephemeral).unwrap();
        Self { hub, log, clock }
    }

    pub(super) fn stored(&self) -> Vec<Record> {
        self.log.state.lock().stored.clone()
    }

    pub(super) fn run(&self, op: Op) -> Outcome {
        now(self.hub.submit(Submission { ops: vec![op], atomic: false, time_ms: 0 })).pop().unwrap()
    }

    pub(super) fn publish(&self, topics: &str, data: &str) -> Seq {
        self.publish_with(topics, data, |_| {})
    }

    pub(super) fn publish_with(&self, topics: &str, data: &str, change: impl FnOnce(&mut Publish)) -> Seq {
        let mut publish = Publish {
            topics: topics.split(' ').map(topic).collect::<Topics>(),
            private: false,
            id: None,
            event: None,
            retry_ms: None,
            data: Bytes::copy_from_slice(data.as_bytes()),
            utf8: true,
            ephemeral: false,
            once: None,
        };
        change(&mut publish);
        now(self.hub.publish(publish)).unwrap().seq
    }

    pub(super) fn delete(&self, name: &str) {
        let _ = self.run(Op::Delete { topic: topic(name) });
    }

    pub(super) fn close(&self, name: &str) {
        let _ = self.run(Op::Close { topic: topic(name) });
    }

    /// The store's own retention: tells, then removes.
    pub(super) fn trim(&self, through: Seq) {
        let mut state = self.log.state.lock();
        let mut lost = std::collections::BTreeMap::new();
        for record in state.stored.iter().filter(|r| r.seq <= through && r.event().is_some()) {
            record.topics.iter().for_each(|t| _ = lost.insert(t.clone(), record.seq));
        }
        let trimmed = Trimmed { through, topics: lost.into_iter().collect() };
        state.judge.trim(&trimmed);
        if let Some(sink) = &mut state.sink {
            sink.commit(Batch { records: Vec::new(), trimmed: Some(trimmed) });
        }
        state.stored.retain(|record| record.seq > through);
        state.oldest = through.next();
    }

    pub(super) fn hold_reads(&self, hold: bool) {
        self.log.hold.store(hold, Ordering::SeqCst);
    }

    pub(super) fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
        self.hub.tick();
    }

    pub(super) fn subscribe(&self, topics: &str, from: From) -> Peer {
        self.try_subscribe(topics, from, |_| {}).unwrap()
    }

    pub(super) fn try_subscribe(
        &self,
        topics: &str,
        from: From,
        change: impl FnOnce(&mut Subscribe),
    ) -> Result<Peer, SubscribeError> {
        let mut ask = Subscribe::new(filter(topics)).from(from);
        change(&mut ask);
        Ok(Peer { stream: self.hub.subscribe(ask)?, decoder: Decoder::new(), bytes: Vec::new(), over: false })
    }
}

/// Somebody who reads a stream as an `EventSource` would.
pub(super) struct Peer {
    pub(super) stream: Subscription,
    decoder: Decoder,
    pub(super) bytes: Vec<u8>,
    pub(super) over: bool,
}

impl Peer {
    /// Polls for as long as it asks for it by itself.
    fn poll(&mut self) -> Poll<Option<Result<Bytes, StreamError>>> {
        let again = Arc::new(Again::default());
        let waker = Waker::from(Arc::clone(&again));
        loop {
            let polled = self.stream.poll_chunk(&mut Context::from_waker(&waker));
            if polled.is_ready() || !again.0.swap(false, Ordering::SeqCst) {
                return polled;
            }
        }
    }

    /// The next chunk, if there is one now.
    pub(super) fn chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        match self.poll() {
            Poll::Ready(Some(chunk)) => chunk.map(Some),
            Poll::Ready(None) => {
                self.over = true;
                Ok(None)
            }
            Poll::Pending => Ok(None),
        }
    }

    /// Everything that is there now, as `data` of events, `!reason` for a gap.
    pub(super) fn seen(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(chunk) = self.chunk().unwrap() {
            seen.extend(self.decode(&chunk));
        }
        seen
    }

    pub(super) fn decode(&mut self, chunk: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(chunk);
        let (mut seen, mut input) = (Vec::new(), chunk);
        while let Some(item) = self.decoder.next(&mut input).unwrap() {
            let ItemRef::Event(event) = item else { continue };
            match event.event {
                "tidings.gap" => {
                    let gap: serde_json::Value = serde_json::from_str(event.data).unwrap();
                    assert_eq!(gap["resumes_after"], event.last_event_id.as_str());
                    seen.push(format!("!{}", gap["reason"].as_str().unwrap()));
                }
                "tidings.cursor" => assert_eq!(event.data, ""),
                _ => seen.push(event.data.to_owned()),
            }
        }
        seen
    }

    /// Comes back with the last id, as a browser would.
    pub(super) fn last(&self) -> From {
        after(self.decoder.last_event_id().as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }
}

pub(super) fn after(id: &str) -> From {
    ResumePoint::parse(id.as_bytes()).map_or(From::Tail, From::After)
}

pub(super) fn at(seq: Seq) -> From {
    after(&Position { epoch: Epoch(1), seq }.to_string())
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub(super) fn filter(topics: &str) -> Filter {
    Filter::topics(Selectors::new(topics.split(' ').map(|t| Selector::parse(t).unwrap()).collect()))
}

pub(super) fn grant(topics: &str) -> Arc<Selectors> {
    Arc::clone(filter(topics).selectors())
}

pub(super) fn event_name(name: &str) -> Option<EventName> {
    Some(EventName::parse(name).unwrap())
}

pub(super) fn event_id(id: &str) -> Option<EventId> {
    Some(EventId::parse(id).unwrap())
}

#[derive(Default)]
struct Again(AtomicBool);

impl std::task::Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future that is ready, or asks for its next turn by itself.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    let again = Arc::new(Again::default());
    let waker = Waker::from(Arc::clone(&again));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        assert!(again.0.swap(false, Ordering::SeqCst), "this should not have to wait");
    }
}
