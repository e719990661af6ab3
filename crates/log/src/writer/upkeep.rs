//! What the writer does beside writing: new segments, what retention asks for, and what it asks of the keeper.
//!
//! Runs between batches, when everything judged is durable and visible. Nothing here is needed for an ack; what
//! fails is tried again in the next round.

use std::io;
use std::sync::Arc;

use tidings_hub::ports::{Batch, Health};
use tidings_hub::{Seq, TopicName};

use super::{State, Writer};
use crate::checkpoint::Snapshot;
use crate::disk::Disk;
use crate::keeper::{Asked, Job as Task, Report};
use crate::mutants::{Mutant, is_on};
use crate::removal::{Removal, Retired};
use crate::segment::{INDEX, LOG, SegmentHeader, VERSION, file_name};
use crate::shared::SealedSegment;
use crate::tail::{Failure, Tail};

/// A segment that is not full is followed by a new one after this part of the age limit.
const ROLL_AGE_PARTS: u64 = 8;

impl Writer {
    /// A round: is there space again, is a segment old, is something to go.
    pub(super) fn upkeep(&mut self) {
        // What follows may block: who was answered before must not wait for it.
        self.shared.wakes.all();
        self.upkept_at_ms = self.clock.monotonic_ms();
        let now_ms = self.now.advance(self.clock.wall_ms(), self.upkept_at_ms);
        if self.state != State::Running {
            return;
        }
        // One that could not be begun before (no descriptor, no space) may be now.
        self.roll_if_long();
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
        // What is deleted here goes only when the segment takes no more records.
        let since = self.tail.segment.inner.read().index.time_min_ms();
        let is_long = since.is_some_and(|since| since.saturating_add(self.config.erase_after_ms) <= now_ms);
        if is_long && self.judge.fold().trimmed_max() >= self.tail.segment.base {
            self.roll();
        }
        self.sweep(now_ms);
        if self.is_checkpoint_owed && !self.is_removal_asked {
            self.ask_checkpoint(None);
        }
        self.remove_orphans();
        self.look_at_topics(now_ms);
        self.compact(now_ms);
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
            self.sweep(self.now.now_ms());
        }
    }

    /// Follows the active segment by a new one. If that cannot be, it grows on.
    fn roll(&mut self) {
        if !self.tail.has_records() {
            return;
        }
        self.shared.wakes.all();
        match self.next_segment() {
            Ok(()) => {
                self.limits.cool(self.judge.fold(), self.tail.segment.base);
                self.ask_checkpoint(None);
            }
            Err(failure @ Failure::Failed(_)) if self.state == State::Failed => _ = self.fail(&failure),
            Err(failure) => {
                tracing::warn!(message = failure.message(), "no new segment could be begun");
                // It may be descriptors that are lacking; it is tried again.
                self.shared.close_files();
            }
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
            version: VERSION,
            log_id: self.meta.log_id,
            salt,
            base: self.judge.last().next(),
            reserved_through: self.reserved,
            previous: Some(facts.clone()),
            compacted: None,
        };
        let next = Tail::create(disk, &header, &mut self.begun)?;
        self.tail.give_room_back();
        let old = self.tail.follow(next);
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
                Report::Checkpoint { through, oldest, is_stored, retired } => {
                    if is_stored {
                        (self.known_through, self.known_oldest) = (through, oldest);
                    }
                    self.take_checkpoint(is_stored, retired);
                }
                Report::Looked(trims) => self.take_trims(trims),
                Report::Rewritten(rewritten) => self.take_rewritten(rewritten),
                Report::Installed(segment) => self.take_installed(segment),
            }
        }
    }

    /// Waits for all that was asked of the keeper.
    pub(super) fn collect_all(&mut self) {
        while self.keeper.wait() {
            self.collect();
        }
    }

    fn take_checkpoint(&mut self, is_stored: bool, retired: Option<Retired>) {
        if is_stored {
            self.is_removal_open = false;
        } else {
            self.is_checkpoint_owed = true;
            self.give_up_waiting();
        }
        if let Some(retired) = retired {
            self.is_removal_asked = false;
            let may_go = is_stored || (!retired.dropped.is_empty() && retired.last() <= self.known_through);
            if self.state == State::Running && may_go {
                // One that waits knows nothing of the removal.
                let is_stale = self.keeper.withdraw_checkpoint();
                let retired = if is_stored { retired } else { retired.dropped_alone(self.judge.fold()) };
                self.remove(retired);
                self.is_removal_open = !is_stored;
                if is_stale {
                    self.ask_checkpoint(None);
                }
            }
            self.keeper.removal_done();
        }
        self.remove_orphans();
        self.install_if_known();
    }

    pub(super) fn last_stored(&self) -> Seq {
        if self.tail.has_records() {
            return self.tail.last();
        }
        // A start that finds a segment without a batch goes on in the one before: it must not seem too short.
        let catalog = self.shared.catalog.read();
        catalog.sealed.back().map_or_else(|| self.tail.last(), |segment| segment.facts.last)
    }

    /// Tells of a removal that a checkpoint knows of, and takes it out of sight.
    fn remove(&mut self, Retired { dropped, trimmed, found }: Retired) {
        self.take_found(found);
        if dropped.is_empty() && trimmed.topics.is_empty() {
            return;
        }
        self.judge.trim(&trimmed);
        let topics: Vec<TopicName> = trimmed.topics.iter().map(|(topic, _)| topic.clone()).collect();
        let oldest = trimmed.through.next();
        {
            let mut attachment = self.shared.attachment.lock();
            attachment.commit(Batch { records: Vec::new(), trimmed: Some(trimmed) });
            self.shared.bounds.lock().oldest = oldest;
            self.shared.catalog.write().sealed.drain(..dropped.len());
        }
        let fold = self.judge.fold();
        self.shared.lose(|lost| {
            for topic in topics {
                let state = fold.get(topic.as_str()).filter(|_| !is_on(Mutant::SweepInSight));
                lost.extend(state.map(|state| (topic, state.trimmed)));
            }
            if !dropped.is_empty() {
                lost.retain(|topic, _| fold.get(topic.as_str()).is_some());
            }
        });
        if !dropped.is_empty() {
            self.limits.cool(fold, self.tail.segment.base);
        }
        self.orphans.extend(dropped);
    }

    /// Removes what could only be begun, durably. Whether nothing has to wait for it any more.
    fn remove_begun(&mut self) -> bool {
        if self.begun.is_empty() {
            return true;
        }
        let disk = &*self.shared.disk;
        let mut stay = Vec::new();
        for base in &self.begun {
            match disk.unlink(&file_name(*base, LOG)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let file = disk.place(&file_name(*base, LOG));
                    tracing::warn!(file, %error, "what was begun of a segment could not be removed");
                    stay.push(*base);
                }
                _ => {}
            }
        }
        if stay.len() < self.begun.len() {
            match disk.sync_dir() {
                Ok(()) => self.begun = stay,
                Err(error) => tracing::warn!(%error, "the data directory could not be synced"),
            }
        }
        self.begun.iter().all(|base| *base < self.known_oldest)
    }

    /// Removes files whose records a durable checkpoint has in it: one after the other, oldest first, so that no
    /// hole is ever left behind.
    pub(super) fn remove_orphans(&mut self) {
        if !self.remove_begun() {
            return;
        }
        while let Some(orphan) = self.orphans.first().filter(|orphan| orphan.facts.last <= self.known_through)
        {
            let base = orphan.facts.base;
            self.shared.forget(orphan);
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
