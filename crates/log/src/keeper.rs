//! The keeper: what has to be done beside writing, on a thread of its own, so that no append waits for it.
//!
//! Sidecars of sealed segments, checkpoints, looks at what is past its limits, and compaction. The writer asks ([`Keeper::ask`]), the keeper works through what it
//! was handed and never looks at the writer's state; what became of it comes back as a [`Report`], which the writer
//! takes between two batches. With a [`crate::Pump`] there is no thread: jobs wait until [`crate::Pump::keep`] does
//! them, so that a test says when.
//!
//! **Invariant:** jobs are done one at a time, so two of them never meet in the directory. **Invariant:** the queue is
//! bounded; of two checkpoints the newer one is written. No checkpoint is begun until the writer has done what a report
//! about a removal asks for: one whose snapshot is older than the removal would bring the history back.
//!
//! A job more: a variant of [`Job`] that owns all it needs, its rank, what it does in [`Inner::perform`], a variant
//! of [`Report`], and what the writer does about it in `Writer::collect`. One that may be lost is refused by a full
//! queue ([`Asked::Full`]); whoever asks then asks again in a later round of upkeep.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tidings_hub::{Retention, Seq, TopicName};

use crate::checkpoint::Snapshot;
use crate::compact::{self, Install, Installed, Rewritten};
use crate::error::Trouble;
use crate::mutants::{Mutant, is_on};
use crate::removal::{Removal, Retired};
use crate::retention::{Trim, trim_of};
use crate::segment::{CHECKPOINT, file_name};
use crate::shared::{SealedSegment, Shared};

/// Jobs that wait at once.
const JOBS_MAX: usize = 8;
/// Sidecars among them: each holds its segment's index in memory.
const SIDECARS_MAX: usize = 2;
/// Checkpoints that are kept: the last, and one more should it be damaged.
const CHECKPOINTS_KEPT: usize = 2;
/// A topic whose look failed is looked at again after this.
const LOOK_AGAIN_MS: u64 = 60_000;

/// What the keeper is asked to do.
pub(crate) enum Job {
    /// Write the sidecar of a segment that has just been sealed, and let go of its index.
    Sidecar(Arc<SealedSegment>),
    /// Write a checkpoint; before, if history is to go, find out who loses what.
    Checkpoint(Box<Snapshot>),
    /// Look up how far these topics are over limits of their own.
    Look { topics: Vec<(TopicName, Seq, Retention)>, now_ms: u64 },
    /// Write segments anew with what is alive in them.
    Rewrite(Vec<Arc<SealedSegment>>),
    /// Put a new file in its place. A checkpoint with everything up to `known_at` in it is durable.
    Install { rewritten: Box<Rewritten>, known_at: Seq },
    /// Look again whether a new file has its place.
    Settle(Arc<Install>),
}

/// What became of a job.
pub(crate) enum Report {
    Checkpoint {
        through: Seq,
        /// Everything before this is gone, to whoever starts from it.
        oldest: Seq,
        is_stored: bool,
        /// The history that may go now (or, if the checkpoint is not stored, had been asked to go).
        retired: Option<Retired>,
    },
    /// How far each topic is to be trimmed.
    Looked(Vec<(TopicName, Trim)>),
    /// The new file, if it could be made.
    Rewritten(Option<Box<Rewritten>>),
    /// Whether the new file took the place of others; `None`: it did not.
    Installed(Option<Installed>),
}

/// Whether a job will be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Asked {
    Queued,
    /// Too much waits already.
    Full,
}

impl Job {
    /// The lowest is done first. A sidecar sets memory free; a checkpoint bounds the next start and lets history go.
    fn rank(&self) -> u8 {
        match self {
            Self::Sidecar(_) => 0,
            Self::Checkpoint(_) => 1,
            Self::Look { .. } => 2,
            Self::Install { .. } | Self::Settle(_) => 3,
            Self::Rewrite(_) => 4,
        }
    }
}

/// The writer's hold on it.
pub(crate) struct Keeper {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Checkpoints that are on disk, oldest first.
    checkpoints: Mutex<Vec<Seq>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_working: bool,
    reports: Vec<Report>,
    /// A removal was reported, and the writer has not done with it.
    is_removal_told: bool,
    is_closed: bool,
}

impl Queue {
    fn take(&mut self) -> Option<Job> {
        if self.is_working {
            return None;
        }
        let waits = self.is_removal_told && !is_on(Mutant::CheckpointBesideRemoval);
        let may_begin = |job: &Job| !(waits && matches!(job, Job::Checkpoint(_)));
        let candidates = self.jobs.iter().enumerate().filter(|(_, job)| may_begin(job));
        let (at, _) = candidates.min_by_key(|(_, job)| job.rank())?;
        self.is_working = true;
        self.jobs.remove(at)
    }

    /// Leaves what became of a job.
    fn leave(&mut self, report: Option<Report>) {
        self.is_working = false;
        self.is_removal_told |= matches!(report, Some(Report::Checkpoint { retired: Some(_), .. }));
        self.reports.extend(report);
    }
}

impl Keeper {
    /// One without a thread. `checkpoints` are on disk, oldest first.
    pub(crate) fn new(shared: Arc<Shared>, checkpoints: Vec<Seq>) -> Self {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let inner = Inner { shared, queue, changed, checkpoints: Mutex::new(checkpoints) };
        Self { inner: Arc::new(inner), thread: None }
    }

    /// Gives it a thread, which calls `wake` when there is a report.
    pub(crate) fn start(&mut self, wake: impl Fn() + Send + 'static) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        let thread = Builder::new().name("tidings-keeper".into());
        self.thread = Some(thread.spawn(move || inner.work(wake))?);
        Ok(())
    }

    /// Asks for a job. A checkpoint is always queued: it takes the place of one that waits, and what that one was to
    /// remove.
    pub(crate) fn ask(&self, mut job: Job) -> Asked {
        let mut queue = self.inner.queue.lock();
        if queue.is_closed {
            // It panicked.
            return Asked::Full;
        }
        if let Job::Checkpoint(newer) = &mut job {
            if let Some(older) = take_checkpoint(&mut queue.jobs)
                && newer.removal.is_none()
            {
                newer.removal = older.removal;
            }
        } else {
            let sidecars = queue.jobs.iter().filter(|job| matches!(job, Job::Sidecar(_))).count();
            let is_full = matches!(job, Job::Sidecar(_)) && sidecars >= SIDECARS_MAX;
            if is_full || queue.jobs.len() >= JOBS_MAX {
                return Asked::Full;
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.inner.changed.notify_all();
        Asked::Queued
    }

    /// Takes back a checkpoint that was not begun yet. Whether there was one.
    pub(crate) fn withdraw_checkpoint(&self) -> bool {
        take_checkpoint(&mut self.inner.queue.lock().jobs).is_some()
    }

    /// The writer has done what a reported removal asks for: what it asks to be written down from now on knows of it.
    pub(crate) fn removal_done(&self) {
        self.inner.queue.lock().is_removal_told = false;
        self.inner.changed.notify_all();
    }

    /// What became of jobs since.
    pub(crate) fn take_reports(&self) -> Vec<Report> {
        let reports = std::mem::take(&mut self.inner.queue.lock().reports);
        if !reports.is_empty() {
            self.inner.changed.notify_all();
        }
        reports
    }

    /// Without a thread: does one job. Whether there was one.
    pub(crate) fn keep(&self) -> bool {
        self.thread.is_none() && self.inner.keep()
    }

    /// A hand that does its jobs while the writer is in the middle of something.
    pub(crate) fn hand(&self) -> Hand {
        Hand(Arc::clone(&self.inner))
    }

    /// Waits until there is a report, or nothing is left to do. Whether there is a report.
    pub(crate) fn wait(&self) -> bool {
        while self.keep() {}
        let mut queue = self.inner.queue.lock();
        while queue.reports.is_empty() && (queue.is_working || !queue.jobs.is_empty()) {
            self.inner.changed.wait(&mut queue);
        }
        !queue.reports.is_empty()
    }
}

/// Does the keeper's jobs while a [`crate::Pump`] is in the middle of a turn, as the keeper's thread would: for tests that say
/// what happens when. What becomes of a job is told to the writer when it looks.
pub struct Hand(Arc<Inner>);

impl Hand {
    /// Does one job, unless one is under way. Whether there was one.
    pub fn keep(&self) -> bool {
        self.0.keep()
    }

    /// Whether nobody is in the middle of something that others would have to wait for.
    pub fn is_free(&self) -> bool {
        self.0.shared.is_free()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.inner.queue.lock().is_closed = true;
        self.inner.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so on its own.
            drop(thread.join());
        }
    }
}

fn take_checkpoint(jobs: &mut VecDeque<Job>) -> Option<Box<Snapshot>> {
    let at = jobs.iter().position(|job| matches!(job, Job::Checkpoint(_)))?;
    match jobs.remove(at)? {
        Job::Checkpoint(snapshot) => Some(snapshot),
        _ => None,
    }
}

impl Inner {
    /// Promise: holds the queue's lock only to take a job and to leave a report, never while it works.
    fn work(&self, wake: impl Fn()) {
        let _told = TellPanic(self);
        loop {
            let job = {
                let mut queue = self.queue.lock();
                loop {
                    if queue.is_closed {
                        return;
                    }
                    match queue.take() {
                        Some(job) => break job,
                        None => self.changed.wait(&mut queue),
                    }
                }
            };
            if self.done(job) {
                wake();
            }
        }
    }

    /// Does one job, unless one is under way. Whether there was one.
    fn keep(&self) -> bool {
        let job = self.queue.lock().take();
        let is_job = job.is_some();
        if let Some(job) = job {
            self.done(job);
        }
        is_job
    }

    /// Does a job and leaves its report. Whether there is one.
    fn done(&self, job: Job) -> bool {
        let report = self.perform(job);
        let is_report = report.is_some();
        self.queue.lock().leave(report);
        self.changed.notify_all();
        is_report
    }

    fn perform(&self, job: Job) -> Option<Report> {
        match job {
            Job::Sidecar(segment) => {
                self.store_sidecar(&segment);
                None
            }
            Job::Checkpoint(snapshot) => Some(self.store_checkpoint(*snapshot)),
            Job::Look { topics, now_ms } => Some(Report::Looked(self.look(topics, now_ms))),
            Job::Rewrite(inputs) => {
                let rewritten = compact::rewrite(&self.shared, inputs);
                Some(Report::Rewritten(told(rewritten).flatten().map(Box::new)))
            }
            Job::Install { rewritten, known_at } => {
                Some(Report::Installed(told(compact::install(&self.shared, *rewritten, known_at))))
            }
            Job::Settle(install) => Some(Report::Installed(told(compact::settle(&self.shared, install)))),
        }
    }

    fn look(&self, topics: Vec<(TopicName, Seq, Retention)>, now_ms: u64) -> Vec<(TopicName, Trim)> {
        let look = |(topic, last, retention): (TopicName, Seq, Retention)| {
            let trim = told(trim_of(&self.shared, topic.as_str(), last, retention, now_ms));
            // Nobody else would look at it again, if nothing more comes to it.
            let later = || Trim { through: None, due_ms: Some(now_ms.saturating_add(LOOK_AGAIN_MS)) };
            (topic, trim.unwrap_or_else(later))
        };
        topics.into_iter().map(look).collect()
    }

    fn store_sidecar(&self, segment: &Arc<SealedSegment>) {
        let Some(grown) = segment.grown() else { return };
        // Readers may look at the same time, and nobody writes any more.
        self.shared.store_index(segment, &grown.inner.read().index);
        segment.let_go();
        // It may have been removed meanwhile; its index must not outlive it.
        if !self.shared.is_current(segment) {
            self.shared.remove_index(segment);
        }
    }

    fn store_checkpoint(&self, mut snapshot: Snapshot) -> Report {
        let retired = snapshot.removal.take().map(|removal: Removal| {
            let retired = removal.retire(&self.shared, &mut snapshot.fold, snapshot.oldest);
            snapshot.fold.trim(&retired.trimmed);
            snapshot.oldest = retired.trimmed.through.next();
            retired
        });
        let (through, oldest) = (snapshot.through, snapshot.oldest);
        if is_on(Mutant::RemoveBeforeCheckpoint) && retired.is_some() {
            return Report::Checkpoint { through, oldest, is_stored: true, retired };
        }
        let disk = &*self.shared.disk;
        let stored = snapshot.store(disk);
        if let Err(trouble) = &stored {
            tracing::warn!(%trouble, "a checkpoint could not be written");
            return Report::Checkpoint { through, oldest, is_stored: false, retired };
        }
        let mut checkpoints = self.checkpoints.lock();
        checkpoints.retain(|kept| *kept != through);
        checkpoints.push(through);
        while checkpoints.len() > CHECKPOINTS_KEPT {
            let name = file_name(checkpoints.remove(0), CHECKPOINT);
            if let Err(error) = disk.unlink(&name) {
                tracing::warn!(file = disk.place(&name), %error, "an old checkpoint could not be removed");
            }
        }
        Report::Checkpoint { through, oldest, is_stored: true, retired }
    }
}

/// What came of upkeep that is tried again some other time, and needs no more than a line in the program's log.
fn told<T>(result: Result<T, Trouble>) -> Option<T> {
    result.inspect_err(|trouble| tracing::warn!(%trouble, "a part of the upkeep is put off")).ok()
}

/// Should the keeper panic, whoever waits for it is told, and whoever reads the program's log.
struct TellPanic<'a>(&'a Inner);

impl Drop for TellPanic<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        tracing::error!(
            "the keeper ended unexpectedly: no checkpoint is written and no history removed until a restart"
        );
        let mut queue = self.0.queue.lock();
        (queue.is_working, queue.is_closed) = (false, true);
        queue.jobs.clear();
        drop(queue);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::fold::Fold;
    use tidings_hub::keys::{KeyWindow, Keys};
    use tidings_hub::ports::Trimmed;

    use super::*;

    #[test]
    fn no_checkpoint_is_begun_before_the_writer_has_done_with_a_removal() {
        let snapshot = Snapshot {
            log_id: 1,
            through: Seq(9),
            oldest: Seq(1),
            reserved_through: Seq::ZERO,
            fold: Fold::default(),
            keys: Keys::new(KeyWindow::default()).snapshot(),
            removal: None,
        };
        let trimmed = Trimmed { through: Seq(4), topics: Vec::new() };
        let retired = Some(Retired { dropped: Vec::new(), trimmed, found: Vec::new() });
        let mut queue = Queue::default();
        queue.leave(Some(Report::Checkpoint { through: Seq(8), oldest: Seq(5), is_stored: true, retired }));
        queue.jobs.push_back(Job::Checkpoint(Box::new(snapshot)));
        // The writer has taken the report, and is at work on another one that came with it.
        queue.reports.clear();
        assert!(queue.take().is_none());
        queue.is_removal_told = false;
        assert!(queue.take().is_some());
    }
}
