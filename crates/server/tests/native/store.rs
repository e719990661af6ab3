//! A store in memory whose answers a test can hold back and refuse: judged as any store judges, kept in a `Vec`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidings_hub::fold::Fold;
use tidings_hub::judge::Judge;
use tidings_hub::keys::{KeyWindow, Keys};
use tidings_hub::ports::{
    Batch, Bounds, BoxFuture, Durability, Health, Log, LogError, Outcome, Page, Refusal, SeqRange, Sink,
    Snapshot, Submission, Want,
};
use tidings_hub::{Epoch, Epochs, Record, Seq};
use tokio::sync::Semaphore;

/// The store.
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    /// A submission needs a permit; permits are plenty unless a test takes them away.
    turns: Arc<Semaphore>,
    refuse: Mutex<Option<Refusal>>,
    reads_fail: AtomicBool,
}

struct State {
    judge: Judge,
    sink: Option<Box<dyn Sink>>,
    records: Vec<Record>,
    head: Seq,
    epochs: Arc<Epochs>,
    /// How many operations each submission had.
    submissions: Vec<usize>,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        let epochs = Arc::new(Epochs::first(Epoch(1)));
        let keys = Keys::new(KeyWindow { age_ms: 60_000, count: 1_000 });
        let judge = Judge::new(Fold::default(), keys, Arc::clone(&epochs), Seq::ZERO);
        let (records, submissions) = (Vec::new(), Vec::new());
        let state = State { judge, sink: None, records, head: Seq::ZERO, epochs, submissions };
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
            turns: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            refuse: Mutex::new(None),
            reads_fail: AtomicBool::new(false),
        })
    }

    /// Answers no submission until [`Self::go_on`].
    pub(crate) fn hold(&self) {
        self.turns.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Answers all submissions.
    pub(crate) fn go_on(&self) {
        self.turns.add_permits(1_000_000);
    }

    /// Answers the next one of those that wait.
    pub(crate) fn answer_one(&self) {
        self.turns.add_permits(1);
    }

    /// How many events are kept.
    pub(crate) fn stored(&self) -> usize {
        self.state.lock().records.iter().filter(|record| record.event().is_some()).count()
    }

    /// Refuses what comes from now on.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        *self.refuse.lock() = Some(refusal);
    }

    /// Fails to read what comes from now on.
    pub(crate) fn fail_reads(&self) {
        self.reads_fail.store(true, Ordering::Relaxed);
    }

    /// How many operations each submission had, those on their way included.
    pub(crate) fn submissions(&self) -> Vec<usize> {
        self.state.lock().submissions.clone()
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        Bounds {
            oldest: Seq(1),
            head: self.head,
            epochs: Arc::clone(&self.epochs),
            durability: Durability::Memory,
        }
    }

    fn judge(&mut self, submission: Submission) -> Vec<Outcome> {
        let time_ms = submission.time_ms;
        let mut records = Vec::new();
        let outcomes = self.judge.judge(submission, &mut records);
        self.judge.settle(time_ms);
        if let Some(last) = records.last() {
            self.head = last.seq;
            let stored = records.iter().filter(|record| record.event().is_none_or(|event| !event.ephemeral));
            self.records.extend(stored.cloned());
            if let Some(sink) = &mut self.sink {
                sink.commit(Batch { records, trimmed: None });
            }
        }
        outcomes
    }
}

impl Log for Store {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        self.state.lock().submissions.push(submission.ops.len());
        let (state, turns) = (Arc::clone(&self.state), Arc::clone(&self.turns));
        let refuse = self.refuse.lock().clone();
        Box::pin(async move {
            let turn = turns.acquire().await.expect("the semaphore is never closed");
            turn.forget();
            let Some(refusal) = refuse else { return state.lock().judge(submission) };
            let mut outcomes = vec![Outcome::Skipped; submission.ops.len()];
            outcomes[0] = Outcome::Refused(refusal);
            outcomes
        })
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        let mut state = self.state.lock();
        state.sink = Some(sink);
        Ok(Snapshot { bounds: state.bounds(), fold: state.judge.fold().clone() })
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        if self.reads_fail.load(Ordering::Relaxed) {
            let message = "/var/lib/secret: Input/output error".into();
            return Box::pin(async { Err(LogError::Io { message }) });
        }
        let state = self.state.lock();
        let mut page = Page { through: range.last, oldest: Seq(1), ..Page::default() };
        let mut bytes = 0;
        for record in &state.records {
            let wanted = match &want {
                Want::Topics(topics) => record.topics.iter().any(|topic| {
                    let trimmed = state.judge.fold().get(topic.as_str()).map_or(Seq::ZERO, |t| t.trimmed);
                    topics.matches(topic.as_str()) && record.seq > trimmed
                }),
                Want::Exactly(places) => places.contains(&record.seq),
            };
            let Some(event) = record.event() else { continue };
            if wanted && record.seq >= range.first && record.seq <= range.last {
                if bytes >= bytes_max {
                    page.through = page.records.last().map_or(range.last, |record: &Record| record.seq);
                    break;
                }
                bytes += event.data.len();
                page.records.push(record.clone());
            }
        }
        Box::pin(async { Ok(page) })
    }

    fn bounds(&self) -> Bounds {
        self.state.lock().bounds()
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    fn shutdown(&self) -> BoxFuture<()> {
        Box::pin(async {})
    }
}
