//! What the writer does beside writing: new segments, what retention asks for, and what it asks of the keeper.
//!
//! Runs between batches, when everything judged is durable and visible. Nothing here is needed for an ack; what
//! fails is tried again in the next round.

use std::io;
use std::sync::Arc;

use tidings_hub::Seq;
use tidings_hub::ports::{Batch, Health, Op, Submission};

use super::{Job, State, Writer};
use crate::checkpoint::Snapshot;
use crate::disk::Disk;
use crate::keeper::{Asked, Job as Task, Report};
use crate::mutants::{Mutant, is_on};
use crate::removal::{Removal, Retired};
use crate::retention::{Trim, segments_to_drop, trim_of};
use crate::segment::{INDEX, LOG, SegmentHeader, file_name};
use crate::shared::SealedSegment;
use crate::tail::{Failure, Tail};

/// A segment that is not full is followed by a new one after this part of the age limit.
const ROLL_AGE_PARTS: u64 = 8;

impl Writer {
    /// A round: is there space again, is a segment old, is something to go.
    pub(super) fn upkeep(&mut self) {
        self.upkept_at_ms = self.clock.monotonic_ms();
        let now_ms = self.now.advance(self.clock.wall_ms(), self.upkept_at_ms);
        if self.state != State::Running {
            return;
        }
        if matches!(*self.shared.health.lock(), Health::Full { .. }) {
            self.probe();
        }
        if self.state != State::Running {
            return;
        }
        self.judge.settle(now_ms);
        self.mark = self.judge.mark();
        if let Some(age_ms) = self.config.retention_age_ms {
            let since = self.tail.segment.inner.read().index.time_min_ms();
            if since.is_some_and(|since| since.saturating_add(age_ms / ROLL_AGE_PARTS) <= now_ms) {
                self.roll();
            }
        }
        self.drop_old(now_ms);
        self.trim_topics(now_ms);
    }

    /// Whether there is space again: a header without records.
    fn probe(&mut self) {
        let shared = Arc::clone(&self.shared);
        let disk = &*shared.disk;
        let written = self.tail.append(disk, &[], self.reserved).and_then(|()| self.tail.sync(disk));
        match written {
            Ok(()) => {
                self.tail.show(&[]);
                self.set_health(Health::Ready);
            }
            Err(failure) => _ = self.fail(&failure),
        }
    }

    pub(super) fn roll_if_long(&mut self) {
        if self.state == State::Running && self.tail.end() >= self.config.segment_bytes {
            self.roll();
            self.drop_old(self.now.now_ms());
        }
    }

    /// Follows the active segment by a new one. If that cannot be, it grows on.
    fn roll(&mut self) {
        if !self.tail.has_records() {
            return;
        }
        match self.next_segment() {
            Ok(()) => self.ask_checkpoint(None),
            Err(failure @ Failure::Failed(_)) if self.state == State::Failed => _ = self.fail(&failure),
            Err(failure) => tracing::warn!(message = failure.message(), "no new segment could be begun"),
        }
    }

    fn next_segment(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let disk = &*shared.disk;
        self.tail.sync(disk).inspect_err(|_| self.state = State::Failed)?;
        let random = disk.random();
        let salt = random.map_err(|error| Failure::Full(format!("no random number: {error}")))?;
        let facts = self.tail.sealed();
        let header = SegmentHeader {
            log_id: self.meta.log_id,
            salt,
            base: self.judge.last().next(),
            reserved_through: self.reserved,
            previous: Some(facts.clone()),
        };
        let next = Tail::create(disk, &header)?;
        let old = std::mem::replace(&mut self.tail, next).segment;
        let sealed = Arc::new(SealedSegment::new(facts, old.salt, Some(old)));
        {
            let mut catalog = shared.catalog.write();
            catalog.sealed.push_back(Arc::clone(&sealed));
            catalog.active = Arc::clone(&self.tail.segment);
        }
        if self.keeper.ask(Task::Sidecar(Arc::clone(&sealed))) == Asked::Full {
            // Made from the segment when it is needed.
            sealed.let_go();
        }
        Ok(())
    }

    /// Has the present state written down, and before, if history is to go, found out who loses what. Everything
    /// judged must be durable as the mode says, and settled.
    pub(super) fn ask_checkpoint(&mut self, removal: Option<Removal>) {
        let shared = Arc::clone(&self.shared);
        if !is_on(Mutant::CheckpointBeforeSync)
            && let Err(failure) = self.tail.sync(&*shared.disk)
        {
            self.fail(&failure);
            return;
        }
        self.is_checkpoint_owed = false;
        self.is_removal_asked |= removal.is_some();
        let snapshot = Snapshot {
            log_id: self.meta.log_id,
            through: self.last_stored(),
            oldest: shared.bounds.lock().oldest,
            reserved_through: self.reserved,
            fold: self.judge.fold().clone(),
            keys: self.judge.keys().snapshot(),
            removal,
        };
        // Refused only by a keeper that panicked, and told so.
        _ = self.keeper.ask(Task::Checkpoint(Box::new(snapshot)));
    }

    /// Takes what the keeper reports. To be called between batches.
    pub(crate) fn collect(&mut self) {
        for report in self.keeper.take_reports() {
            match report {
                Report::Checkpoint { through, is_stored, retired } => {
                    self.take_checkpoint(through, is_stored, retired);
                }
            }
        }
    }

    /// Waits for all that was asked of the keeper.
    pub(super) fn collect_all(&mut self) {
        while self.keeper.wait() {
            self.collect();
        }
    }

    fn take_checkpoint(&mut self, through: Seq, is_stored: bool, retired: Option<Retired>) {
        if is_stored {
            self.known_through = through;
            self.is_removal_open = false;
        } else {
            self.is_checkpoint_owed = true;
        }
        if let Some(retired) = retired {
            self.is_removal_asked = false;
            if self.state == State::Running && (is_stored || retired.removal.last() <= self.known_through) {
                // One that waits knows nothing of the removal.
                let is_stale = self.keeper.withdraw_checkpoint();
                self.remove(retired);
                self.is_removal_open = !is_stored;
                if is_stale {
                    self.ask_checkpoint(None);
                }
            }
        }
        self.remove_orphans();
    }

    fn last_stored(&self) -> Seq {
        if self.tail.has_records() {
            return self.tail.last();
        }
        // A start that finds a segment without a batch goes on in the one before: it must not seem too short.
        let catalog = self.shared.catalog.read();
        catalog.sealed.back().map_or_else(|| self.tail.last(), |segment| segment.facts.last)
    }

    /// Has the segments removed that are past the log's limits.
    fn drop_old(&mut self, now_ms: u64) {
        if self.state != State::Running || self.is_removal_asked {
            return;
        }
        let removal = {
            let catalog = self.shared.catalog.read();
            let time_ms = self.tail.has_records().then(|| self.tail.sealed().time_max_ms);
            let facts = catalog.sealed.iter().map(|segment| &segment.facts);
            let count = segments_to_drop(now_ms, &self.config, facts, (self.tail.end(), time_ms));
            let remains = catalog.sealed.get(count);
            let oldest = remains.map_or(catalog.active.base, |segment| segment.facts.base);
            (count > 0)
                .then(|| Removal { dropped: catalog.sealed.iter().take(count).cloned().collect(), oldest })
        };
        if removal.is_some() || self.is_checkpoint_owed {
            self.ask_checkpoint(removal);
        }
        self.remove_orphans();
    }

    /// Tells of a removal that a checkpoint knows of, and takes it out of sight.
    fn remove(&mut self, Retired { removal: Removal { dropped, oldest }, trimmed }: Retired) {
        self.judge.trim(&trimmed);
        {
            let mut attachment = self.shared.attachment.lock();
            attachment.commit(Batch { records: Vec::new(), trimmed: Some(trimmed) });
            self.shared.bounds.lock().oldest = oldest;
            self.shared.catalog.write().sealed.drain(..dropped.len());
        }
        // What goes with old segments lies before `oldest`.
        self.shared.trimmed.write().retain(|_, lost| *lost >= oldest);
        self.limits.retain(self.judge.fold());
        self.orphans.extend(dropped.iter().map(|segment| segment.facts.clone()));
    }

    /// Removes files whose records a durable checkpoint has in it: one after the other, oldest first, so that no
    /// hole is ever left behind.
    pub(super) fn remove_orphans(&mut self) {
        while let Some(orphan) = self.orphans.first().filter(|orphan| orphan.last <= self.known_through) {
            let base = orphan.base;
            self.shared.forget(base);
            if let Err(error) = remove_segment(&*self.shared.disk, base) {
                let file = self.shared.disk.place(&file_name(base, LOG));
                tracing::warn!(file, %error, "old history could not be removed");
                return;
            }
            self.orphans.remove(0);
        }
        if self.orphans.is_empty() {
            self.is_removal_open = false;
        }
    }

    /// Trims the topics that are over limits of their own, by records like anybody's.
    fn trim_topics(&mut self, now_ms: u64) {
        let mut ops = Vec::new();
        for (topic, retention) in self.limits.take_due(now_ms) {
            let last = self.judge.fold().get(topic.as_str()).map_or(Seq::ZERO, |state| state.last);
            match trim_of(&self.shared, topic.as_str(), last, retention, now_ms) {
                Ok(Trim { through, due_ms }) => {
                    if let Some(due_ms) = due_ms {
                        self.limits.set_due(topic.as_str(), due_ms);
                    }
                    ops.extend(through.map(|through| Op::Trim { topic, through }));
                }
                Err(trouble) => tracing::warn!(%topic, %trouble, "a topic could not be trimmed"),
            }
        }
        // Each for itself: a refused one must not hold the others back.
        for op in ops {
            let submission = Submission { ops: vec![op], atomic: true, time_ms: self.clock.wall_ms() };
            self.accept(Job { submission, answer: None, share: None });
        }
        drop(self.flush());
    }
}

/// Removes a segment and its sidecar, durably.
pub(crate) fn remove_segment(disk: &dyn Disk, base: Seq) -> io::Result<()> {
    for kind in [INDEX, LOG] {
        match disk.unlink(&file_name(base, kind)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk.sync_dir()
}
