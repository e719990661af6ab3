//! The embedded log: one directory, one writer thread, a few reader threads, behind the port [`Log`].
//!
//! Wires rooms together and decides nothing. **Invariant:** one hub per directory, by the directory's lock, for
//! as long as the log or its writer lives.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;

use tidings_hub::ports::{
    Bounds, BoxFuture, Clock, Health, Log, LogError, Outcome, Page, Refusal, SeqRange, Sink, Snapshot,
    Submission, Want,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::answer::{self, Waiter};
use crate::config::LogConfig;
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, is_read_only};
use crate::keeper::Hand;
use crate::pending::{Job, Msg, all_refused, refuse};
use crate::pool::Pool;
use crate::recovery;
use crate::shared::{Attachment, Shared};
use crate::writer::Writer;

/// A durable log in a directory. Dropping it ends it cleanly (and waits for that).
///
/// ```
/// use std::sync::Arc;
/// use tidings_hub::ports::{Clock, Log, Op, Publish, Submission};
/// use tidings_hub::{Seq, TopicName};
/// use tidings_log::{EmbeddedLog, LogConfig};
///
/// struct Noon;
/// impl Clock for Noon {
///     fn wall_ms(&self) -> u64 { 1_700_000_000_000 }
///     fn monotonic_ms(&self) -> u64 { 0 }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let dir = tempfile::tempdir()?;
/// let log = EmbeddedLog::open_dir(dir.path(), Arc::new(Noon), LogConfig::default())?;
/// let topics = [TopicName::parse("news")?].into_iter().collect();
/// let ops = vec![Op::Publish(Publish::text(topics, "hello"))];
/// let outcomes = log.submit(Submission { ops, atomic: true, time_ms: Noon.wall_ms() }).await;
/// assert_eq!((outcomes.len(), log.bounds().head), (1, Seq(1)));
/// log.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Msg>,
    /// Bytes that waiting submissions may still take.
    room: Arc<Semaphore>,
    room_bytes: usize,
    signals: Arc<Signals>,
    pool: Pool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signals {
    /// Submissions are refused.
    is_stopping: AtomicBool,
    /// The log is dropped: the writer ends.
    is_dropped: AtomicBool,
}

impl EmbeddedLog {
    /// Opens the log in a directory of the file system; creates both if they are not there.
    ///
    /// # Errors
    /// [`OpenError`] says who must act.
    pub fn open_dir(dir: &Path, clock: Arc<dyn Clock>, config: LogConfig) -> Result<Self, OpenError> {
        let disk = RealDisk::new(dir).map_err(|source| {
            let name = dir.display().to_string();
            if is_read_only(&source) {
                OpenError::ReadOnly { dir: name, source }
            } else {
                OpenError::Io { doing: format!("creating the data directory {name}"), source }
            }
        })?;
        Self::open(Arc::new(disk), clock, config)
    }

    /// Opens the log of a disk and starts its threads.
    ///
    /// # Errors
    /// [`OpenError`] says who must act.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: LogConfig) -> Result<Self, OpenError> {
        let (mut log, mut pump) = Self::open_manual(disk, clock, config)?;
        let sender = log.sender.clone();
        // A full queue means that the writer is at work, and looks after reports in passing.
        let wake = move || drop(sender.try_send(Msg::Kept));
        pump.writer.keeper.start(wake).map_err(thread_error)?;
        let builder = std::thread::Builder::new().name("tidings-log".into());
        let thread = builder.spawn(move || pump.run());
        log.thread = Some(thread.map_err(thread_error)?);
        Ok(log)
    }

    /// Opens the log without a writer thread: the [`Pump`] does that thread's work when it is called. For tests
    /// that want to say what happens when, and for programs that bring a thread of their own.
    ///
    /// # Errors
    /// [`OpenError`] says who must act.
    pub fn open_manual(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<(Self, Pump), OpenError> {
        let opened = recovery::open(disk, clock, config)?;
        let (writer, lock) = (opened.writer, opened.lock);
        let shared = Arc::clone(&writer.shared);
        let config = &writer.config;
        let (sender, receiver) = mpsc::channel(config.submit_queue_max);
        let room_bytes = config.submit_queue_bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let pool = Pool::start(Arc::clone(&shared), config).map_err(thread_error)?;
        let signals = Arc::<Signals>::default();
        let log = Self {
            shared,
            sender,
            room: Arc::new(Semaphore::new(room_bytes)),
            room_bytes,
            signals: Arc::clone(&signals),
            pool,
            thread: None,
        };
        Ok((log, Pump { writer, receiver, signals, _lock: lock }))
    }

    /// A round of upkeep: retention, room on the disk again, segments that are old. Call it about once a second;
    /// the hub does. (While events come in, the writer does it by itself.) What was read ahead, and nobody asks for, is
    /// forgotten by it. Never blocks.
    pub fn tick(&self) {
        self.pool.tick();
        // A full queue means that the writer is at work, and looks after this in passing.
        drop(self.sender.try_send(Msg::Tick));
    }

    #[cfg(test)]
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    fn refusal(&self) -> Refusal {
        match *self.shared.health.lock() {
            Health::Failed { .. } => Refusal::Failed,
            _ => Refusal::Stopped,
        }
    }
}

fn thread_error(source: io::Error) -> OpenError {
    OpenError::Io { doing: "starting a thread for the log".into(), source }
}

impl Log for EmbeddedLog {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        if self.signals.is_stopping.load(Ordering::Acquire) {
            return Box::pin(std::future::ready(all_refused(&submission, self.refusal())));
        }
        let (answer, answered) = answer::pair(&self.shared.wakes);
        let wait = Wait {
            answered,
            shared: Arc::clone(&self.shared),
            count: submission.ops.len(),
            atomic: submission.atomic,
        };
        let job = Job::new(submission, Some(answer));
        let permits = u32::try_from(job.bytes.clamp(1, self.room_bytes)).unwrap_or(u32::MAX);
        // At once if there is room, so that what is submitted first is judged first.
        match Arc::clone(&self.room).try_acquire_many_owned(permits) {
            Ok(share) => match self.sender.try_send(Msg::Submit(Job { share: Some(share), ..job })) {
                Err(mpsc::error::TrySendError::Full(message)) => {
                    let sender = self.sender.clone();
                    Box::pin(async move {
                        drop(sender.send(message).await);
                        wait.await
                    })
                }
                // With a writer that is gone, the answer is dropped and nobody waits.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Box::pin(wait),
            },
            Err(_) => {
                let (sender, room) = (self.sender.clone(), Arc::clone(&self.room));
                Box::pin(async move {
                    let share = room.acquire_many_owned(permits).await.ok();
                    drop(sender.send(Msg::Submit(Job { share, ..job })).await);
                    wait.await
                })
            }
        }
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        let mut attachment = self.shared.attachment.lock();
        match std::mem::replace(&mut *attachment, Attachment::Sink(sink)) {
            Attachment::Waiting(fold) => {
                let bounds = self.shared.bounds.lock().clone();
                Ok(Snapshot { bounds, fold, lost: Arc::clone(&self.shared.lost) })
            }
            attached @ Attachment::Sink(_) => {
                *attachment = attached;
                Err(LogError::Attached)
            }
        }
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        self.pool.read(want, range, bytes_max)
    }

    fn bounds(&self) -> Bounds {
        self.shared.bounds.lock().clone()
    }

    fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.shared.bytes())
    }

    fn tick(&self) {
        Self::tick(self);
    }

    fn shutdown(&self) -> BoxFuture<()> {
        self.signals.is_stopping.store(true, Ordering::Release);
        let (done, ended) = oneshot::channel();
        let sender = self.sender.clone();
        Box::pin(async move {
            // A writer that is gone has ended already.
            if sender.send(Msg::Shutdown(done)).await.is_ok() {
                drop(ended.await);
            }
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.signals.is_stopping.store(true, Ordering::Release);
        self.signals.is_dropped.store(true, Ordering::Release);
        // Wakes the writer; if the queue is full it is awake.
        self.tick();
        if let Some(thread) = self.thread.take() {
            // Whoever is told of a commit may let go of the log's last owner, on the writer's own thread: it ends
            // by itself after this round. A thread that panicked has told so on its own.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

/// A submission's outcomes, also where the writer went away with it.
struct Wait {
    answered: Waiter,
    shared: Arc<Shared>,
    count: usize,
    atomic: bool,
}

impl Future for Wait {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let answer = ready!(Pin::new(&mut self.answered).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|| {
            let refusal = match *self.shared.health.lock() {
                Health::Stopped => Refusal::Stopped,
                _ => Refusal::Failed,
            };
            let mut outcomes = Vec::new();
            refuse(&mut outcomes, self.count, self.atomic, refusal);
            outcomes
        }))
    }
}

/// The writer's work, to be done by whoever holds this.
pub struct Pump {
    writer: Writer,
    receiver: mpsc::Receiver<Msg>,
    signals: Arc<Signals>,
    _lock: Box<dyn Send + Sync>,
}

impl Pump {
    /// Works until the log is dropped, then ends it cleanly. Blocks; not to be called from an async task.
    pub fn run(mut self) {
        // Promise: never waits for anything but messages and the disk.
        let shared = Arc::clone(&self.writer.shared);
        let told = TellPanic(shared);
        while let Some(message) = self.receive() {
            self.round(message);
            if self.signals.is_dropped.load(Ordering::Acquire) {
                break;
            }
        }
        self.finish();
        drop(told);
    }

    /// The next message; `None` when all senders are gone.
    fn receive(&mut self) -> Option<Msg> {
        let message = self.receiver.try_recv().ok().or_else(|| {
            self.writer.shared.wakes.all();
            self.receiver.blocking_recv()
        });
        // Whoever is in the middle of submitting on this core goes on first: one sync for all of it instead of one for
        // its first part. Where nobody waits for the core this returns at once.
        std::thread::yield_now();
        message
    }

    /// Handles what has been submitted by now, as one group, and does what that asks of the keeper. Whether there was
    /// anything.
    pub fn step(&mut self) -> bool {
        let is_round = self.turn();
        while self.keep() {}
        is_round
    }

    /// Handles what has been submitted by now, as one group, and leaves the keeper's jobs (sidecars, checkpoints,
    /// removals) to [`Self::keep`], as if its thread were slow. Whether there was anything.
    pub fn turn(&mut self) -> bool {
        match self.receiver.try_recv() {
            Ok(message) => {
                self.round(message);
                self.writer.shared.wakes.all();
                true
            }
            Err(_) => false,
        }
    }

    /// A hand for the keeper's jobs, which can be used in the middle of [`Self::turn`]. For the thread that has the pump: one
    /// that ends waits for no other's hand.
    pub fn hand(&self) -> Hand {
        self.writer.keeper.hand()
    }

    /// Does one of the keeper's jobs and takes its report. Whether there was one.
    pub fn keep(&mut self) -> bool {
        let is_job = self.writer.keeper.keep();
        self.writer.collect();
        is_job
    }

    /// Takes what was submitted, refuses what comes, and ends the log cleanly.
    pub fn finish(mut self) {
        self.receiver.close();
        while self.step() {}
        self.writer.end();
        self.writer.shared.wakes.all();
    }

    fn round(&mut self, message: Msg) {
        // What arrives from now on belongs to the next batch, or a busy queue would never let one end.
        let mut waiting = self.receiver.len();
        let receiver = &mut self.receiver;
        self.writer.round(message, || {
            waiting = waiting.checked_sub(1)?;
            receiver.try_recv().ok()
        });
    }
}

/// Should the writer panic, the log is failed, and says so.
struct TellPanic(Arc<Shared>);

impl Drop for TellPanic {
    fn drop(&mut self) {
        self.0.wakes.all();
        if std::thread::panicking() {
            let message = "the writer ended unexpectedly; see the program's log".into();
            let health = Health::Failed { message };
            *self.0.health.lock() = health.clone();
            // The locks were let go while the stack was unwound.
            self.0.attachment.lock().health(health);
        }
    }
}
