//! What the writer does beside writing: new segments, checkpoints, and what retention asks for.
//!
//! Runs between batches, when everything judged is durable and visible. Nothing here is needed for an ack; what
//! fails is tried again in the next round.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tidings_hub::ports::{Batch, Health, Op, Submission, Trimmed};
use tidings_hub::{Seq, TopicName};

use super::{Job, State, Writer};
use crate::checkpoint::View;
use crate::disk::Disk;
use crate::retention::{Trim, segments_to_drop, trim_of};
use crate::segment::{CHECKPOINT, INDEX, LOG, SegmentHeader, file_name};
use crate::shared::SealedSegment;
use crate::tail::{Failure, Tail};

/// Checkpoints that are kept: the last, and one more should it be damaged.
const CHECKPOINTS_KEPT: usize = 2;
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
            Ok(()) => _ = self.checkpoint(),
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
        let index = old.inner.read().index.encode(old.salt, facts.bytes);
        shared.store_index(old.base, &index);
        let mut catalog = shared.catalog.write();
        catalog.sealed.push_back(Arc::new(SealedSegment { facts, salt: old.salt }));
        catalog.active = Arc::clone(&self.tail.segment);
        Ok(())
    }

    /// Writes the present state down. Everything judged must be durable as the mode says, and settled.
    pub(super) fn checkpoint(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let disk = &*shared.disk;
        if let Err(failure) = self.tail.sync(disk) {
            self.fail(&failure);
            return false;
        }
        let through = self.last_stored();
        let view = View {
            log_id: self.meta.log_id,
            through,
            oldest: shared.bounds.lock().oldest,
            reserved_through: self.reserved,
            fold: self.judge.fold(),
            keys: self.judge.keys(),
        };
        if let Err(trouble) = view.store(disk) {
            tracing::warn!(%trouble, "a checkpoint could not be written");
            return false;
        }
        self.checkpoints.retain(|kept| *kept != through);
        self.checkpoints.push(through);
        while self.checkpoints.len() > CHECKPOINTS_KEPT {
            let name = file_name(self.checkpoints.remove(0), CHECKPOINT);
            if let Err(error) = disk.unlink(&name) {
                tracing::warn!(file = disk.place(&name), %error, "an old checkpoint could not be removed");
            }
        }
        true
    }

    fn last_stored(&self) -> Seq {
        if self.tail.has_records() {
            return self.tail.last();
        }
        // A start that finds a segment without a batch goes on in the one before: it must not seem too short.
        let catalog = self.shared.catalog.read();
        catalog.sealed.back().map_or_else(|| self.tail.last(), |segment| segment.facts.last)
    }

    /// Removes the segments that are past the log's limits.
    fn drop_old(&mut self, now_ms: u64) {
        if self.state != State::Running {
            return;
        }
        let dropped: Vec<Arc<SealedSegment>> = {
            let catalog = self.shared.catalog.read();
            let time_ms = self.tail.has_records().then(|| self.tail.sealed().time_max_ms);
            let facts = catalog.sealed.iter().map(|segment| &segment.facts);
            let count = segments_to_drop(now_ms, &self.config, facts, (self.tail.end(), time_ms));
            catalog.sealed.iter().take(count).cloned().collect()
        };
        if !dropped.is_empty() {
            self.remove(&dropped);
        } else if self.is_removal_open {
            self.is_removal_open = !self.checkpoint();
        }
        self.remove_orphans();
    }

    /// First told, then out of sight, then known by a checkpoint, then off the disk.
    fn remove(&mut self, dropped: &[Arc<SealedSegment>]) {
        let oldest = {
            let catalog = self.shared.catalog.read();
            let remains = catalog.sealed.get(dropped.len());
            remains.map_or(catalog.active.base, |segment| segment.facts.base)
        };
        let trimmed = Trimmed { through: oldest.prev(), topics: self.losses(dropped, oldest) };
        self.judge.trim(&trimmed);
        let topics: Vec<TopicName> = trimmed.topics.iter().map(|(topic, _)| topic.clone()).collect();
        {
            let mut attachment = self.shared.attachment.lock();
            attachment.commit(Batch { records: Vec::new(), trimmed: Some(trimmed) });
            self.shared.bounds.lock().oldest = oldest;
            self.shared.catalog.write().sealed.drain(..dropped.len());
        }
        let fold = self.judge.fold();
        {
            let mut lost = self.shared.trimmed.write();
            for topic in topics {
                let state = fold.get(topic.as_str());
                lost.extend(state.map(|state| (topic, state.trimmed)));
            }
            lost.retain(|topic, _| fold.get(topic.as_str()).is_some());
        }
        self.limits.retain(fold);
        self.orphans.extend(dropped.iter().map(|segment| segment.facts.clone()));
        self.is_removal_open = !self.checkpoint();
    }

    /// For each topic that loses events with these segments: the last place it loses.
    fn losses(&self, dropped: &[Arc<SealedSegment>], oldest: Seq) -> Vec<(TopicName, Seq)> {
        let fold = self.judge.fold();
        // Topics with nothing newer lose all they have.
        let all = fold.iter().filter(|(_, state)| state.last < oldest && state.trimmed < state.last);
        let mut losses: Vec<_> = all.map(|(name, state)| (name.clone(), state.last)).collect();
        let mut partly = HashMap::new();
        for segment in dropped {
            let rows = self.shared.table(segment).ok().flatten();
            let Some(table) = rows else {
                // Its index is not to be had: every topic may have lost something there.
                let last = segment.facts.last;
                partly.extend(fold.iter().map(|(name, _)| (name.clone(), last)));
                continue;
            };
            for row in table.rows() {
                partly.insert(row.name.clone(), row.last(segment.facts.base));
            }
        }
        for (name, through) in partly {
            let state = fold.get(name.as_str());
            if state.is_some_and(|state| state.last >= oldest && state.trimmed < through) {
                losses.push((name, through));
            }
        }
        losses
    }

    /// Removes files whose records a durable checkpoint has in it: one after the other, oldest first, so that no
    /// hole is ever left behind.
    pub(super) fn remove_orphans(&mut self) {
        let known_through = self.checkpoints.last().copied().unwrap_or(Seq::ZERO);
        while let Some(orphan) = self.orphans.first().filter(|orphan| orphan.last <= known_through) {
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
            match trim_of(&self.shared, topic.as_str(), retention, now_ms) {
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
