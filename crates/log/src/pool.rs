//! A few threads that read old history, behind a bounded queue with a budget of bytes.
//!
//! **Invariant:** what waits and what is under way may collect at most the budget together; more is refused at
//! once with [`LogError::Busy`], so that readers of old history slow each other down and nobody else.
//!
//! A thread that has nothing to do reads [`ahead`] for one who reads page after page. One thread is always left for those
//! who ask; such a page is looked at again when it is given away. These pages are beside the budget, two at most, and only
//! while half of it is free for them.

mod ahead;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidings_hub::Seq;
use tidings_hub::ports::{BoxFuture, LogError, Page, SeqRange, Want};
use tokio::sync::oneshot;

use crate::config::LogConfig;
use crate::error::Trouble;
use crate::reader::{self, Read};
use crate::shared::Shared;

use ahead::{Answer, Job, Order, Place};

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
    threads: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What the jobs that somebody asked for may collect.
    bytes: usize,
    is_closed: bool,
    place: Place,
    /// Threads that read ahead.
    aheads: usize,
}

impl Queue {
    /// Whether there is a page to be read ahead, and one thread would be left for those who ask.
    fn can_read_ahead(&self, threads: usize) -> bool {
        self.aheads + 1 < threads && self.place.goes_on()
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
            threads: config.read_threads,
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
        let inner = &self.inner;
        let bytes_max = bytes_max.min(inner.budget_bytes);
        if self.threads.is_empty() {
            let page = reader::read(&inner.shared, &want, range, bytes_max);
            let page = page.map(|read| read.page).map_err(Trouble::into_log_error);
            return Box::pin(std::future::ready(page));
        }
        let mut queue = inner.queue.lock();
        let Some(page) = queue.place.claim(&want, range, bytes_max) else {
            // Before a thread can begin to read ahead what is asked for.
            return inner.ask(queue, want, range, bytes_max);
        };
        let goes_on = queue.can_read_ahead(inner.threads);
        drop(queue);
        if goes_on {
            inner.wake.notify_one();
        }
        let inner = Arc::clone(inner);
        Box::pin(async move {
            match page.await {
                Ok(Ok(read)) => Ok(read.now(&inner.shared, &want).page),
                // That was then.
                Ok(Err(_)) | Err(_) => inner.ask(inner.queue.lock(), want, range, bytes_max).await,
            }
        })
    }

    /// About once a second: pages ahead that nobody asks for are forgotten.
    pub(crate) fn tick(&self) {
        let old = self.inner.queue.lock().place.tick();
        drop(old);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let jobs = {
            let mut queue = self.inner.queue.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.jobs)
        };
        // Who waits for one is told.
        drop(jobs);
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
    /// Has a page read by one of the threads.
    fn ask(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        want: Want,
        range: SeqRange,
        bytes_max: usize,
    ) -> BoxFuture<Result<Page, LogError>> {
        let is_over = queue.bytes.saturating_add(bytes_max) > self.budget_bytes;
        if is_over || queue.jobs.len() >= self.queue_max || queue.is_closed {
            return Box::pin(std::future::ready(Err(LogError::Busy)));
        }
        let (answer, page) = oneshot::channel();
        let order = queue.place.order(&want, range, bytes_max);
        queue.bytes += bytes_max;
        queue.jobs.push_back(Job { want, range, bytes_max, answer, order });
        drop(queue);
        self.wake.notify_one();
        // A reader's thread that is gone means that the log is being dropped.
        Box::pin(async { page.await.unwrap_or(Err(LogError::Busy)).map(|read| read.page) })
    }

    /// Promise: holds the queue's lock only to take a job, never while it reads.
    fn work(&self) {
        give_way();
        while let Some(job) = self.job() {
            // Nobody waits any more for a reader that went away.
            let page = (!job.answer.is_closed()).then(|| self.page(&job));
            let Job { want, range, bytes_max, answer, order } = job;
            {
                let mut queue = self.queue.lock();
                if let Order::Ahead(_) = order {
                    queue.aheads -= 1;
                } else {
                    queue.bytes -= bytes_max;
                    if let Some(Ok(Read { page, .. })) = page.as_ref()
                        && page.through < range.last
                    {
                        queue.place.read(&want, page.through);
                    }
                }
            }
            if let Some(page) = page {
                drop(answer.send(page));
            }
        }
    }

    /// The next job; `None` when there will be none.
    fn job(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            // Most of the budget is for those who ask.
            let room_bytes = (self.budget_bytes / 2).saturating_sub(queue.bytes);
            if queue.can_read_ahead(self.threads)
                && let Some(job) = queue.place.next(room_bytes)
            {
                queue.aheads += 1;
                return Some(job);
            }
            self.wake.wait(&mut queue);
        }
    }

    fn page(&self, job: &Job) -> Answer {
        let range = SeqRange { first: job.range.first, last: self.last_of(job) };
        reader::read(&self.shared, &job.want, range, job.bytes_max).map_err(Trouble::into_log_error)
    }

    /// Up to where a job reads: to where its page will be full, so that what is behind that can be read meanwhile.
    fn last_of(&self, job: &Job) -> Seq {
        let last = job.range.last;
        let is_alone = self.threads < 2 || job.bytes_max > self.budget_bytes / 2;
        if is_alone || !self.queue.lock().place.asks(job.order) {
            return last;
        }
        let full_at = reader::full_at(&self.shared, &job.want, job.range, job.bytes_max);
        let goes_on = {
            let mut queue = self.queue.lock();
            queue.place.begin(job, full_at);
            queue.can_read_ahead(self.threads)
        };
        if goes_on {
            self.wake.notify_one();
        }
        full_at.unwrap_or(last)
    }
}

#[cfg(test)]
mod tests;
