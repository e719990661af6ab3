//! The writer: judges what is submitted, writes it in batches, and says what became of it.
//!
//! One thread owns it. The next batch is what arrived while the last one was synced, so it never waits for more.
//! **Order of truth:** durable, then visible, then acked: [`Writer::flush`] is that order.
//! **Invariant:** a batch that could not be written leaves no trace: the judge takes it back, nobody saw it.

use std::sync::Arc;

use tidings_hub::judge::{Judge, Mark};
use tidings_hub::ports::{Batch, Clock, Durability, Health, Outcome, Refusal, Submission};
use tidings_hub::{Control, Record, Seq, TopicName, What};

use crate::config::LogConfig;
use crate::keeper::Keeper;
use crate::meta::{Clean, Meta};
use crate::mutants::{Mutant, is_on};
use crate::pending::{self, Job, Msg, Pending, op_bytes};
use crate::retention::{Limits, RetentionClock};
use crate::shared::{SealedSegment, Shared};
use crate::tail::{Failure, Tail, is_stored};

use erase::Erasing;

pub(crate) mod erase;
pub(crate) mod upkeep;

/// Places that are reserved at a time for events that are not stored.
const RESERVE_PLACES: u64 = 1 << 20;
/// Times between two rounds of upkeep while there is work.
const UPKEEP_EVERY_MS: u64 = 1_000;

/// What a log is opened into.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: LogConfig,
    pub(crate) meta: Meta,
    pub(crate) judge: Judge,
    /// The judge's state that is durable.
    pub(crate) mark: Mark,
    pub(crate) tail: Tail,
    pub(crate) reserved: Seq,
    pub(crate) limits: Limits,
    pub(crate) now: RetentionClock,
    pub(crate) keeper: Keeper,
    /// The last checkpoint that is on disk has all records up to here in it.
    pub(crate) known_through: Seq,
    /// And says that everything before this is gone.
    pub(crate) known_oldest: Seq,
    /// A checkpoint could not be written: asked for again in the next round of upkeep.
    pub(crate) is_checkpoint_owed: bool,
    /// History is to be removed and the keeper has not told yet that it may be.
    pub(crate) is_removal_asked: bool,
    pub(crate) erasing: Erasing,
    /// Segments that are removed from view and still to be removed from disk, oldest first.
    pub(crate) orphans: Vec<Arc<SealedSegment>>,
    /// Segments that could not be made: something of them may be in the directory. As long as that is so, nothing older is
    /// removed, unless a checkpoint says that it is gone: a start could not tell such a file from a segment of which
    /// nothing is left.
    pub(crate) begun: Vec<Seq>,
    /// History was removed from view without a checkpoint that knows of it, and its files are still there: a crash
    /// could bring it back. Until then nothing is answered that could rest on its absence.
    pub(crate) is_removal_open: bool,
    pub(crate) batch: Forming,
    pub(crate) state: State,
    pub(crate) upkept_at_ms: u64,
}

/// The batch that is being put together.
#[derive(Default)]
pub(crate) struct Forming {
    records: Vec<Record>,
    pending: Vec<Pending>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// A write or sync failed: nothing is taken until a restart.
    Failed,
    /// Ended.
    Stopped,
}

impl Writer {
    /// Takes the first message and what else has arrived by now.
    pub(crate) fn round(&mut self, first: Msg, mut next: impl FnMut() -> Option<Msg>) {
        self.collect();
        let mut message = Some(first);
        while let Some(now) = message {
            match now {
                Msg::Submit(job) => self.accept(job),
                Msg::Tick => {
                    drop(self.flush());
                    self.upkeep();
                }
                Msg::Kept => {}
                Msg::Shutdown(done) => {
                    self.end();
                    // Who asked may be gone.
                    _ = done.send(());
                }
            }
            message = if self.batch.bytes >= self.config.batch_bytes_max { None } else { next() };
        }
        drop(self.flush());
        if self.clock.monotonic_ms().saturating_sub(self.upkept_at_ms) >= UPKEEP_EVERY_MS {
            self.upkeep();
        }
    }

    /// Judges a submission into the present batch; flushes where it would become too large.
    fn accept(&mut self, job: Job) {
        let Job { submission, bytes, answer, share } = job;
        drop(share);
        if let Some(refusal) = self.refusal() {
            return pending::send(answer, pending::all_refused(&submission, refusal));
        }
        let limit_bytes = self.config.batch_bytes_max;
        let (total, atomic) = (submission.ops.len(), submission.atomic);
        if atomic && bytes > limit_bytes {
            let refused = pending::all_refused(&submission, Refusal::TooLarge { limit_bytes });
            return pending::send(answer, refused);
        }
        if self.batch.bytes.saturating_add(bytes) > limit_bytes && self.flush().is_err() {
            // It may be that this one fits on a full disk; the next batch will tell.
            if let Some(refusal) = self.refusal() {
                return pending::send(answer, pending::all_refused(&submission, refusal));
            }
        }
        if bytes <= limit_bytes {
            let outcomes = self.judge.judge(submission, &mut self.batch.records);
            self.batch.bytes += bytes;
            return self.batch.pending.push(Pending { answer, outcomes, from: 0, total, atomic });
        }
        self.accept_in_parts(submission, answer);
    }

    /// A submission that is larger than a batch: several batches, in order, up to the first refusal.
    fn accept_in_parts(&mut self, submission: Submission, answer: pending::Answer) {
        let limit_bytes = self.config.batch_bytes_max;
        let (total, time_ms) = (submission.ops.len(), submission.time_ms);
        let mut outcomes = Vec::with_capacity(total);
        let mut ops = submission.ops.into_iter().peekable();
        loop {
            let from = outcomes.len();
            let mut part = Vec::new();
            let mut bytes = 0usize;
            while let Some(op) = ops.next_if(|op| bytes.saturating_add(op_bytes(op)) <= limit_bytes) {
                bytes += op_bytes(&op);
                part.push(op);
            }
            if part.is_empty() {
                // The next one alone is too large, or there is none.
                pending::refuse(&mut outcomes, total, false, Refusal::TooLarge { limit_bytes });
                return pending::send(answer, outcomes);
            }
            let part = Submission { ops: part, atomic: false, time_ms };
            outcomes.extend(self.judge.judge(part, &mut self.batch.records));
            self.batch.bytes += bytes;
            let refused = matches!(outcomes.last(), Some(Outcome::Refused(_) | Outcome::Skipped));
            if refused || ops.peek().is_none() {
                outcomes.resize(total, Outcome::Skipped);
                let pending = Pending { answer, outcomes, from, total, atomic: false };
                return self.batch.pending.push(pending);
            }
            if let Err(refusal) = self.flush() {
                outcomes.truncate(from);
                pending::refuse(&mut outcomes, total, false, refusal);
                return pending::send(answer, outcomes);
            }
            // The part is there; what comes after it may have failed since (a new segment that could not be).
            if let Some(refusal) = self.refusal() {
                pending::refuse(&mut outcomes, total, false, refusal);
                return pending::send(answer, outcomes);
            }
        }
    }

    /// Why nothing is taken, if so.
    fn refusal(&self) -> Option<Refusal> {
        match self.state {
            State::Running => None,
            State::Failed => Some(Refusal::Failed),
            State::Stopped => Some(Refusal::Stopped),
        }
    }

    /// Durable, then visible, then acked.
    fn flush(&mut self) -> Result<(), Refusal> {
        self.batch.bytes = 0;
        if self.batch.pending.is_empty() && self.batch.records.is_empty() {
            return Ok(());
        }
        if is_on(Mutant::ShowBeforeDurable) {
            let records = self.batch.records.clone();
            self.shared.attachment.lock().commit(Batch { records, trimmed: None });
        }
        if is_on(Mutant::AckBeforeDurable) {
            std::mem::take(&mut self.batch.pending).into_iter().for_each(Pending::succeed);
        }
        let written = self.write();
        let pending = std::mem::take(&mut self.batch.pending);
        match written {
            Ok(was_written) => {
                self.commit();
                if was_written {
                    self.set_health(Health::Ready);
                }
                pending.into_iter().for_each(Pending::succeed);
                self.shared.wakes.one();
                self.roll_if_long();
                Ok(())
            }
            Err(failure) => {
                self.batch.records.clear();
                if !is_on(Mutant::SkipRollback) {
                    self.judge.rollback(self.mark);
                }
                let refusal = self.fail(&failure);
                pending.into_iter().for_each(|pending| pending.fail(&refusal));
                self.shared.wakes.one();
                Err(refusal)
            }
        }
    }

    /// Makes the batch durable as the mode says. Whether anything had to be written.
    fn write(&mut self) -> Result<bool, Failure> {
        if self.is_removal_open {
            self.remove_orphans();
            if self.is_removal_open {
                return Err(Failure::Full("the removal of old history could not be made durable yet".into()));
            }
        }
        let records = &self.batch.records;
        let unstored = records.iter().rev().find(|record| !is_stored(record)).map(|record| record.seq);
        let reserve = unstored.filter(|seq| *seq > self.reserved && !is_on(Mutant::SkipReservation));
        if reserve.is_none() && !records.iter().any(is_stored) {
            return Ok(false);
        }
        let reserved = reserve.map_or(self.reserved, |seq| Seq(seq.0.saturating_add(RESERVE_PLACES)));
        let disk = &*self.shared.disk;
        // From here on it blocks: who was answered before must not wait for that.
        self.shared.wakes.all();
        self.tail.append(disk, records, reserved)?;
        if self.config.durability == Durability::Fsync {
            self.tail.sync(disk)?;
        }
        self.reserved = reserved;
        Ok(true)
    }

    /// Shows what is durable.
    fn commit(&mut self) {
        self.judge.settle(self.now.now_ms());
        self.mark = self.judge.mark();
        let records = std::mem::take(&mut self.batch.records);
        if records.is_empty() {
            return;
        }
        self.tail.show(&records);
        let mut changed: Vec<TopicName> = Vec::new();
        for record in &records {
            self.limits.note(record, self.judge.fold());
            if let What::Control(Control::Delete | Control::Trim { .. }) = record.what {
                changed.extend(record.topics.iter().cloned());
            }
        }
        {
            let mut attachment = self.shared.attachment.lock();
            self.shared.bounds.lock().head = self.judge.last();
            if !is_on(Mutant::ShowBeforeDurable) {
                attachment.commit(Batch { records, trimmed: None });
            }
        }
        // What is gone is told first, and hidden then: nobody may find it missing who cannot know why.
        if !changed.is_empty() {
            let fold = self.judge.fold();
            self.shared.lose(|trimmed| {
                for topic in changed {
                    let lost = fold.get(topic.as_str()).map_or(Seq::ZERO, |state| state.trimmed);
                    if lost > Seq::ZERO {
                        trimmed.insert(topic, lost);
                    }
                }
            });
        }
    }

    /// Takes the consequence of a failure.
    fn fail(&mut self, failure: &Failure) -> Refusal {
        let message: Arc<str> = failure.message().into();
        match failure {
            Failure::Full(_) => {
                self.set_health(Health::Full { message });
                Refusal::Full
            }
            Failure::Failed(_) => {
                tracing::error!(%message, "the log takes no more events until it is restarted");
                self.state = State::Failed;
                self.set_health(Health::Failed { message });
                Refusal::Failed
            }
        }
    }

    fn set_health(&mut self, health: Health) {
        let mut attachment = self.shared.attachment.lock();
        {
            let mut present = self.shared.health.lock();
            if *present == health || matches!(*present, Health::Stopped) {
                return;
            }
            *present = health.clone();
        }
        attachment.health(health);
    }

    /// Ends cleanly, so that the next start knows. Later submissions are refused.
    pub(crate) fn end(&mut self) {
        drop(self.flush());
        self.collect_all();
        if self.state == State::Running {
            if let Err(failure) = self.end_cleanly() {
                tracing::warn!(message = failure.message(), "the log ends without a note that it was clean");
            }
            self.state = State::Stopped;
        }
        self.set_health(Health::Stopped);
    }

    fn end_cleanly(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        self.tail.sync(&*shared.disk)?;
        self.tail.give_room_back();
        self.ask_checkpoint(None);
        self.settle_compaction();
        self.collect_all();
        if self.is_unsure() {
            // The next start finds out what became of it, which this note could contradict.
            return Err(Failure::Failed("nobody knows yet what became of a compaction".to_owned()));
        }
        // A start removes a last segment without a batch; if that start is broken off, the next one must not
        // miss it.
        let catalog = shared.catalog.read();
        let before = catalog.sealed.back().filter(|_| self.tail.is_empty()).cloned();
        let (base, bytes) = match before {
            Some(before) => (before.facts.base, before.facts.bytes),
            None => (self.tail.segment.base, self.tail.end()),
        };
        drop(catalog);
        self.meta.clean = Some(Clean { head: self.judge.last(), base, bytes });
        self.meta.store(&*shared.disk).map_err(|trouble| Failure::Failed(trouble.to_string()))
    }
}
