//! A store in memory whose health can be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidings_hub::fold::Fold;
use tidings_hub::judge::Judge;
use tidings_hub::keys::{KeyWindow, Keys};
use tidings_hub::ports::*;
use tidings_hub::{Epoch, Epochs, Record, Seq};

pub(crate) struct Store {
    state: Mutex<State>,
    epochs: Arc<Epochs>,
    stopped: AtomicBool,
}

struct State {
    judge: Judge,
    stored: Vec<Record>,
    health: Health,
    sink: Option<Box<dyn Sink>>,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        let epochs = Arc::new(Epochs::first(Epoch(1)));
        let keys = Keys::new(KeyWindow::default());
        let judge = Judge::new(Fold::default(), keys, Arc::clone(&epochs), Seq::ZERO);
        let state = State { judge, stored: Vec::new(), health: Health::Ready, sink: None };
        Arc::new(Self { state: Mutex::new(state), epochs, stopped: AtomicBool::new(false) })
    }

    pub(crate) fn set_health(&self, health: Health) {
        let mut state = self.state.lock();
        state.health = health.clone();
        if let Some(sink) = &mut state.sink {
            sink.health(health);
        }
    }

    pub(crate) fn was_shut_down(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Log for Store {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        let mut state = self.state.lock();
        let (mut records, time_ms) = (Vec::new(), submission.time_ms);
        let outcomes = state.judge.judge(submission, &mut records);
        state.judge.settle(time_ms);
        state.stored.extend(records.iter().cloned());
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
            lost: Arc::default(),
        })
    }

    fn read(&self, want: Want, range: SeqRange, _: usize) -> BoxFuture<Result<Page, LogError>> {
        let wanted = |record: &&Record| match &want {
            Want::Topics(selectors) => record.topics.iter().any(|topic| selectors.matches(topic.as_str())),
            Want::Exactly(places) => places.contains(&record.seq),
        };
        let state = self.state.lock();
        let inside = state.stored.iter().filter(|r| range.first <= r.seq && r.seq <= range.last);
        let records = inside.filter(|r| r.event().is_some()).filter(wanted).cloned().collect();
        let page = Page { records, through: range.last, oldest: Seq(1) };
        Box::pin(std::future::ready(Ok(page)))
    }

    fn bounds(&self) -> Bounds {
        let head = self.state.lock().judge.last();
        Bounds { oldest: Seq(1), head, epochs: Arc::clone(&self.epochs), durability: Durability::Memory }
    }

    fn health(&self) -> Health {
        self.state.lock().health.clone()
    }

    fn shutdown(&self) -> BoxFuture<()> {
        self.stopped.store(true, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}
