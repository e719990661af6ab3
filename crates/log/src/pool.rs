//! A few threads that read old history, behind a bounded queue with a budget of bytes.
//!
//! **Invariant:** what waits and what is under way may collect at most the budget together; more is refused at
//! once with [`LogError::Busy`], so that readers of old history slow each other down and nobody else.
//!
//! A thread that has nothing to do reads **ahead**: the pages that somebody will ask for who reads page after page. Each is a
//! job like the others, whose answer waits. They are those of one reader at a time, two at most; they are looked at
//! again when they are given away, and forgotten if nobody asks from one tick to the next.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tidings_hub::ports::{BoxFuture, LogError, Page, SeqRange, Want};
use tidings_hub::{Selectors, Seq};
use tokio::sync::oneshot;

use crate::config::LogConfig;
use crate::reader;
use crate::shared::Shared;

pub(crate) struct Pool {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_max: usize,
    budget_bytes: usize,
    /// With one thread, who asks would wait for what nobody asked for.
    reads_ahead: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What the jobs that wait or run may collect.
    bytes: usize,
    is_closed: bool,
    ahead: Option<Ahead>,
    /// Readers that were read ahead for so far.
    readers: u64,
}

type Answer = Result<Page, LogError>;

struct Job {
    want: Want,
    range: SeqRange,
    bytes_max: usize,
    answer: oneshot::Sender<Answer>,
    /// The reader that it is read ahead for; `None`: somebody has asked for it.
    ahead_of: Option<u64>,
}

/// Pages that are read ahead at most.
const AHEAD_MAX: usize = 2;

/// What is read ahead, for one reader.
struct Ahead {
    reader: u64,
    topics: Arc<Selectors>,
    last: Seq,
    bytes_max: usize,
    /// In order: where each begins, and who will have it.
    pages: VecDeque<(Seq, oneshot::Receiver<Answer>)>,
    /// Where the one behind them begins; `None`: that is not known yet.
    next: Option<Seq>,
    /// There is none behind them.
    is_over: bool,
    /// A tick has come since somebody asked.
    is_old: bool,
}

impl Ahead {
    /// Whether its reader has all that there is for it.
    fn is_done(&self) -> bool {
        self.is_over && self.pages.is_empty()
    }
}

impl Queue {
    /// Somebody asks for a page: the one that was read ahead, if it was.
    fn claim(&mut self, want: &Want, range: SeqRange, bytes_max: usize) -> Option<oneshot::Receiver<Answer>> {
        let Want::Topics(topics) = want else { return None };
        let ahead = self.ahead.as_mut()?;
        if !Arc::ptr_eq(&ahead.topics, topics) {
            return None;
        }
        let fits = ahead.last <= range.last && ahead.bytes_max <= bytes_max;
        let page = ahead.pages.pop_front().filter(|(first, _)| fits && *first == range.first);
        ahead.is_old = false;
        // Or it goes on elsewhere than was thought.
        if page.is_none() || ahead.is_done() {
            self.ahead = None;
        }
        page.map(|(_, page)| page)
    }

    /// A job begins, and its page will be full here, if that is known. Whether there is a page to be read ahead now.
    fn goes_on(&mut self, job: &Job, full_at: Option<Seq>) -> bool {
        let Want::Topics(topics) = &job.want else { return false };
        let next = full_at.map(Seq::next).filter(|next| *next <= job.range.last);
        match (&mut self.ahead, job.ahead_of) {
            (Some(ahead), Some(reader)) if ahead.reader == reader => {
                (ahead.next, ahead.is_over) = (next, next.is_none());
                if ahead.is_done() {
                    self.ahead = None;
                }
            }
            (_, Some(_)) => return false,
            // Who goes on reading keeps the place.
            (Some(ahead), None) if !ahead.is_old => return false,
            (_, None) if next.is_none() => {}
            (place, None) => {
                self.readers += 1;
                *place = Some(Ahead {
                    reader: self.readers,
                    topics: Arc::clone(topics),
                    last: job.range.last,
                    bytes_max: job.bytes_max,
                    pages: VecDeque::new(),
                    next,
                    is_over: false,
                    is_old: false,
                });
            }
        }
        next.is_some()
    }

    /// What can be read ahead while nobody waits; most of the budget is for those who ask.
    fn next_ahead(&mut self, budget_bytes: usize) -> Option<Job> {
        let ahead = self.ahead.as_mut().filter(|ahead| ahead.pages.len() < AHEAD_MAX)?;
        let bytes_max = ahead.bytes_max;
        if self.bytes.saturating_add(bytes_max) > budget_bytes / 2 {
            return None;
        }
        let first = ahead.next.take()?;
        let (answer, page) = oneshot::channel();
        ahead.pages.push_back((first, page));
        self.bytes += bytes_max;
        let (want, range) = (Want::Topics(Arc::clone(&ahead.topics)), SeqRange { first, last: ahead.last });
        Some(Job { want, range, bytes_max, answer, ahead_of: Some(ahead.reader) })
    }
}

impl Pool {
    pub(crate) fn start(shared: Arc<Shared>, config: &LogConfig) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            shared,
            queue: Mutex::default(),
            wake: Condvar::new(),
            queue_max: config.read_queue_max,
            budget_bytes: config.read_budget_bytes,
            reads_ahead: config.read_threads > 1,
        });
        let mut pool = Self { inner, threads: Vec::new() };
        for number in 0..config.read_threads {
            let inner = Arc::clone(&pool.inner);
            let name = format!("tidings-read-{number}");
            // If one cannot be started, dropping the pool ends the others.
            pool.threads.push(Builder::new().name(name).spawn(move || inner.work())?);
        }
        Ok(pool)
    }

    /// Reads a page, on one of the threads; on the caller's if there are none.
    pub(crate) fn read(
        &self,
        want: Want,
        range: SeqRange,
        bytes_max: usize,
    ) -> BoxFuture<Result<Page, LogError>> {
        let bytes_max = bytes_max.min(self.inner.budget_bytes);
        if self.threads.is_empty() {
            let page = reader::read(&self.inner.shared, &want, range, bytes_max);
            return Box::pin(std::future::ready(page.map_err(crate::error::Trouble::into_log_error)));
        }
        let (answer, page) = oneshot::channel();
        {
            let mut queue = self.inner.queue.lock();
            if let Some(page) = queue.claim(&want, range, bytes_max) {
                drop(queue);
                self.inner.wake.notify_one();
                let shared = Arc::clone(&self.inner.shared);
                return Box::pin(async move {
                    let page = page.await.unwrap_or(Err(LogError::Busy))?;
                    Ok(reader::as_of_now(&shared, &want, page.records, page.through))
                });
            }
            let is_over = queue.bytes.saturating_add(bytes_max) > self.inner.budget_bytes;
            if is_over || queue.jobs.len() >= self.inner.queue_max {
                return Box::pin(std::future::ready(Err(LogError::Busy)));
            }
            queue.bytes += bytes_max;
            queue.jobs.push_back(Job { want, range, bytes_max, answer, ahead_of: None });
        }
        self.inner.wake.notify_one();
        // A reader's thread that is gone means that the log is being dropped.
        Box::pin(async { page.await.unwrap_or(Err(LogError::Busy)) })
    }
}

impl Pool {
    /// About once a second: pages ahead that nobody asks for are forgotten.
    pub(crate) fn tick(&self) {
        let mut queue = self.inner.queue.lock();
        let old = queue.ahead.take_if(|ahead| std::mem::replace(&mut ahead.is_old, true));
        drop(queue);
        drop(old);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inner.queue.lock().is_closed = true;
        self.inner.wake.notify_all();
        for thread in self.threads.drain(..) {
            // Whoever gets a page may let go of the log's last owner, on a reader's own thread: that one ends by
            // itself. A thread that panicked has told so on its own.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

/// How much readers of old history give way to the writer and to whoever serves the present: as `nice` counts it, so
/// that on a core that has no time left they get a thirtieth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;

/// On Linux a thread has a niceness of its own. Elsewhere they compete as equals.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "readers of old history do not give way");
    }
}

impl Inner {
    /// Promise: holds the queue's lock only to take a job, never while it reads.
    fn work(&self) {
        give_way();
        loop {
            let job = {
                let mut queue = self.queue.lock();
                loop {
                    if queue.is_closed {
                        return;
                    }
                    let job = queue.jobs.pop_front();
                    match job.or_else(|| queue.next_ahead(self.budget_bytes)) {
                        Some(job) => break job,
                        None => self.wake.wait(&mut queue),
                    }
                }
            };
            // Nobody waits any more for a reader that went away.
            if !job.answer.is_closed() {
                let range = SeqRange { first: job.range.first, last: self.last_of(&job) };
                let page = reader::read(&self.shared, &job.want, range, job.bytes_max);
                drop(job.answer.send(page.map_err(crate::error::Trouble::into_log_error)));
            }
            self.queue.lock().bytes -= job.bytes_max;
        }
    }

    /// Up to where a job reads: to where its page will be full, so that what is behind that can be read meanwhile.
    fn last_of(&self, job: &Job) -> Seq {
        let last = job.range.last;
        if !self.reads_ahead {
            return last;
        }
        let full_at = reader::full_at(&self.shared, &job.want, job.range, job.bytes_max);
        let goes_on = self.queue.lock().goes_on(job, full_at);
        if goes_on {
            self.wake.notify_one();
        }
        full_at.unwrap_or(last)
    }
}

#[cfg(test)]
mod tests;
