//! A few threads that read old history, behind a bounded queue with a budget of bytes.
//!
//! **Invariant:** what waits and what is under way may collect at most the budget together; more is refused at
//! once with [`LogError::Busy`], so that readers of old history slow each other down and nobody else.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tidings_hub::ports::{BoxFuture, LogError, Page, SeqRange, Want};
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
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What the jobs that wait or run may collect.
    bytes: usize,
    is_closed: bool,
}

struct Job {
    want: Want,
    range: SeqRange,
    bytes_max: usize,
    answer: oneshot::Sender<Result<Page, LogError>>,
}

impl Pool {
    pub(crate) fn start(shared: Arc<Shared>, config: &LogConfig) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            shared,
            queue: Mutex::default(),
            wake: Condvar::new(),
            queue_max: config.read_queue_max,
            budget_bytes: config.read_budget_bytes,
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
            let is_over = queue.bytes.saturating_add(bytes_max) > self.inner.budget_bytes;
            if is_over || queue.jobs.len() >= self.inner.queue_max {
                return Box::pin(std::future::ready(Err(LogError::Busy)));
            }
            queue.bytes += bytes_max;
            queue.jobs.push_back(Job { want, range, bytes_max, answer });
        }
        self.inner.wake.notify_one();
        // A reader's thread that is gone means that the log is being dropped.
        Box::pin(async { page.await.unwrap_or(Err(LogError::Busy)) })
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
                    match queue.jobs.pop_front() {
                        Some(job) => break job,
                        None => self.wake.wait(&mut queue),
                    }
                }
            };
            // Nobody waits any more for a reader that went away.
            if !job.answer.is_closed() {
                let page = reader::read(&self.shared, &job.want, job.range, job.bytes_max);
                drop(job.answer.send(page.map_err(crate::error::Trouble::into_log_error)));
            }
            self.queue.lock().bytes -= job.bytes_max;
        }
    }
}
