//! The log in memory, but a test can hold its answers back, refuse submissions and fail reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidings_hub::clock::SystemClock;
use tidings_hub::ports::{
    Bounds, BoxFuture, Health, Log, LogError, Outcome, Page, Refusal, SeqRange, Sink, Snapshot, Submission,
    Want,
};
use tidings_hub::{Selectors, Seq};
use tidings_log::{LogConfig, MemoryLog};
use tokio::sync::Semaphore;

/// The store.
pub(crate) struct Store {
    log: Arc<MemoryLog>,
    /// A submission needs a permit; permits are plenty unless a test takes them away.
    turns: Arc<Semaphore>,
    refuse: Mutex<Option<Refusal>>,
    reads_fail: AtomicBool,
    /// How many operations each submission had.
    submissions: Mutex<Vec<usize>>,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        let log = MemoryLog::open(Arc::new(SystemClock::new()), LogConfig::default()).unwrap();
        Arc::new(Self {
            log: Arc::new(log),
            turns: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            refuse: Mutex::new(None),
            reads_fail: AtomicBool::new(false),
            submissions: Mutex::default(),
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
        self.submissions.lock().clone()
    }

    /// How many events are kept.
    pub(crate) async fn stored(&self) -> usize {
        let last = self.log.bounds().head;
        let (mut first, mut count) = (Seq(1), 0);
        while first <= last {
            let want = Want::Topics(Arc::new(Selectors::everything()));
            let page = self.log.read(want, SeqRange { first, last }, usize::MAX).await.unwrap();
            count += page.records.len();
            first = page.through.next();
        }
        count
    }

    /// What every position of this log begins with: `epoch.`.
    pub(crate) fn prefix(&self) -> String {
        let position = self.log.bounds().epochs.position(Seq::ZERO).to_string();
        position.strip_suffix('0').unwrap().to_owned()
    }
}

impl Log for Store {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        self.submissions.lock().push(submission.ops.len());
        let (log, turns) = (Arc::clone(&self.log), Arc::clone(&self.turns));
        let refuse = self.refuse.lock().clone();
        Box::pin(async move {
            turns.acquire().await.expect("the semaphore is never closed").forget();
            let Some(refusal) = refuse else { return log.submit(submission).await };
            let mut outcomes = vec![Outcome::Skipped; submission.ops.len()];
            outcomes[0] = Outcome::Refused(refusal);
            outcomes
        })
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        self.log.attach(sink)
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        if self.reads_fail.load(Ordering::Relaxed) {
            let message = "/var/lib/secret: Input/output error".into();
            return Box::pin(async { Err(LogError::Io { message }) });
        }
        self.log.read(want, range, bytes_max)
    }

    fn bounds(&self) -> Bounds {
        self.log.bounds()
    }

    fn health(&self) -> Health {
        self.log.health()
    }

    fn shutdown(&self) -> BoxFuture<()> {
        self.log.shutdown()
    }
}
