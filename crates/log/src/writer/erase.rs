//! What the writer has done about history that is past its limits: sweeps, trims of single topics, compaction.
//!
//! Runs between batches; decides what to ask of the keeper and takes what comes of it. **Invariant:** a sweep and a
//! compaction never overlap, so that both find the segments they were asked for; a compaction ends when it is known
//! what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_hub::ports::{Health, Op, Submission};
use tidings_hub::{Retention, Seq, TopicName};

use super::{Job, State, Writer};
use crate::compact::{Install, Installed, Rewritten, Share, choose};
use crate::keeper::{Asked, Job as Task};
use crate::mutants::{Mutant, is_on};
use crate::removal::{Found, Removal, Swept};
use crate::retention::{Trim, segments_over};
use crate::shared::SealedSegment;

/// Segments that are looked through in one sweep.
const SEGMENTS_MAX: usize = 32;
/// A sweep ends with a checkpoint: so many times as long as that took, no other one is begun without need.
const PAUSE_FACTOR: u64 = 16;
/// But the log does not grow by more than this part of itself meanwhile,
const GROWTH_PARTS: u64 = 4;
/// or by so many segments, if that is more.
const GROWTH_SEGMENTS: u64 = 4;
/// After a compaction that failed the next one waits.
const RETRY_MS: u64 = 60_000;
/// And longer one of the same segments.
const FAILED_MS: u64 = 600_000;
/// For so long after that each of them is tried by itself. What failed may have been something else.
const ALONE_MS: u64 = 3_600_000;

/// How far the erasing of history is.
#[derive(Default)]
pub(crate) struct Erasing {
    known: HashMap<Seq, Known>,
    /// The number of losses when the sweep that is under way was asked for, when that was, and the last stored place.
    asked: (u64, u64, Seq),
    /// No sweep before this, unless the log is past its limits, or has grown much.
    pause_until_ms: u64,
    /// How long the log was after the last sweep, or has been since.
    swept_bytes: u64,
    is_looking: bool,
    compaction: Compaction,
    /// The segments of the compaction that is under way, and those of which one could not be written anew: not before then
    /// again, and each by itself.
    inputs: Vec<Seq>,
    failed: HashMap<Seq, u64>,
    compact_not_before_ms: u64,
}

/// What the last sweep over a segment found.
struct Known {
    found: Found,
    losses: u64,
    /// The last stored place then: nothing newer had come.
    through: Seq,
    /// When it was written anew, in this life.
    rewritten_ms: u64,
}

impl Known {
    /// What would be left of the segment if it were written anew.
    fn share(&self, segment: &SealedSegment) -> Share {
        let (share, bytes) = (self.found.share, segment.facts.bytes);
        let Some(whole) = segment.whole else { return share };
        let live = u128::from(bytes) * u128::from(share.events) / u128::from(whole.max(1));
        let live_bytes = u64::try_from(live).unwrap_or(u64::MAX).min(bytes);
        Share { live_bytes, has_dead: share.events < whole, ..share }
    }
}

#[derive(Default)]
enum Compaction {
    #[default]
    None,
    Rewriting,
    /// Waits for a checkpoint with everything up to there in it.
    Waiting {
        rewritten: Box<Rewritten>,
        known_at: Seq,
    },
    Installing,
    /// The new file may have its place or not, or not all is done.
    Unsure(Arc<Install>),
}

impl Writer {
    /// Has the segments looked through in which something may be past its limits.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        let is_compacting = !matches!(self.erasing.compaction, Compaction::None);
        if self.state != State::Running || self.is_removal_asked || is_compacting {
            return;
        }
        let fold = self.judge.fold();
        let (losses, trimmed_max) = (fold.losses(), fold.trimmed_max());
        let (bytes, through) = (self.shared.bytes(), self.last_stored());
        self.erasing.swept_bytes = self.erasing.swept_bytes.min(bytes);
        let erasing = &self.erasing;
        let growth = bytes - erasing.swept_bytes;
        let growth_max =
            (bytes / GROWTH_PARTS).max(GROWTH_SEGMENTS.saturating_mul(self.config.segment_bytes));
        let may_rest = self.clock.monotonic_ms() < erasing.pause_until_ms && growth < growth_max;
        let segments: Vec<Swept> = {
            let catalog = self.shared.catalog.read();
            let facts = catalog.sealed.iter().map(|segment| &segment.facts);
            let over = segments_over(now_ms, &self.config, facts, &self.tail.sealed());
            let is_due = |segment: &SealedSegment, is_over: bool| {
                let base = segment.facts.base;
                let Some(known) = erasing.known.get(&base) else {
                    return is_over || self.limits.has_swept() || trimmed_max >= base;
                };
                if is_over && !known.found.is_over {
                    return true;
                }
                let Found { due_ms, not_before_ms, has_kept, share, .. } = &known.found;
                let is_first = || catalog.sealed.front().is_some_and(|first| first.facts.base == base);
                let may_have_changed = known.losses != losses
                    || (*has_kept && known.through < through)
                    || due_ms.is_some_and(|due_ms| due_ms <= now_ms)
                    || (share.events == 0 && is_first());
                *not_before_ms <= now_ms && may_have_changed
            };
            let due = catalog.sealed.iter().enumerate().filter(|(at, segment)| {
                let is_over = *at < over;
                (is_over || !may_rest) && segment.grown().is_none() && is_due(segment, is_over)
            });
            let due = due.take(SEGMENTS_MAX);
            due.map(|(at, segment)| Swept { segment: Arc::clone(segment), is_over: at < over }).collect()
        };
        if segments.is_empty() {
            return;
        }
        self.erasing.asked = (losses, self.clock.monotonic_ms(), through);
        let rules = Arc::clone(&self.limits.rules);
        self.ask_checkpoint(Some(Removal { segments, rules, now_ms }));
    }

    pub(super) fn take_found(&mut self, found: Vec<Found>) {
        let (losses, asked_ms, through) = self.erasing.asked;
        let monotonic_ms = self.clock.monotonic_ms();
        let took_ms = monotonic_ms.saturating_sub(asked_ms);
        self.erasing.pause_until_ms = monotonic_ms.saturating_add(took_ms.saturating_mul(PAUSE_FACTOR));
        self.erasing.swept_bytes = self.shared.bytes();
        for found in found {
            let before = self.erasing.known.get(&found.base);
            let rewritten_ms = before.map_or(0, |known| known.rewritten_ms);
            let known = Known { losses, through, rewritten_ms, found };
            self.erasing.known.insert(known.found.base, known);
        }
        let catalog = self.shared.catalog.read();
        let first = catalog.sealed.front().map_or(catalog.active.base, |segment| segment.facts.base);
        self.erasing.known.retain(|base, _| *base >= first);
    }

    /// Has topics looked at that may be over limits of their own.
    pub(super) fn look_at_topics(&mut self, now_ms: u64) {
        if self.state != State::Running || self.erasing.is_looking {
            return;
        }
        let fold = self.judge.fold();
        let due = self.limits.take_due(now_ms).into_iter();
        let topics = due.filter_map(|(topic, retention)| {
            let state = fold.get(topic.as_str())?;
            // A tombstone is like any event.
            let keep_last = retention.keep_last && !state.last_is_tombstone;
            Some((topic, state.last, Retention { keep_last, ..retention }))
        });
        let topics: Vec<_> = topics.collect();
        if topics.is_empty() {
            return;
        }
        let names: Vec<TopicName> = topics.iter().map(|(topic, ..)| topic.clone()).collect();
        self.erasing.is_looking = self.keeper.ask(Task::Look { topics, now_ms }) == Asked::Queued;
        if !self.erasing.is_looking {
            // The queue is full: in the next round.
            names.iter().for_each(|topic| self.limits.set_due(topic.as_str(), now_ms));
        }
    }

    /// Trims topics that are over limits of their own, by records like anybody's.
    pub(super) fn take_trims(&mut self, trims: Vec<(TopicName, Trim)>) {
        self.erasing.is_looking = false;
        let mut trimmed = Vec::new();
        // Each for itself: a refused one must not hold the others back.
        for (topic, Trim { through, due_ms }) in trims {
            if let Some(due_ms) = due_ms {
                self.limits.set_due(topic.as_str(), due_ms);
            }
            let Some(through) = through else { continue };
            trimmed.push(topic.clone());
            let ops = vec![Op::Trim { topic, through }];
            let submission = Submission { ops, atomic: true, time_ms: self.clock.wall_ms() };
            self.accept(Job::new(submission, None));
        }
        if self.flush().is_err() {
            // There is no space for their records now.
            trimmed.iter().for_each(|topic| self.limits.look_again(topic, self.judge.fold()));
        }
    }

    /// Has segments written anew that are dead for the most part, or many and small.
    pub(super) fn compact(&mut self, now_ms: u64) {
        if self.settle_compaction() {
            return;
        }
        let is_idle = matches!(self.erasing.compaction, Compaction::None) && !self.is_removal_asked;
        let is_early = now_ms < self.erasing.compact_not_before_ms;
        let is_ready = matches!(*self.shared.health.lock(), Health::Ready);
        if self.state != State::Running || !is_idle || is_early || !is_ready {
            return;
        }
        let sealed: Vec<_> = self.shared.catalog.read().sealed.iter().cloned().collect();
        let is_remembered =
            |_: &Seq, not_before_ms: &mut u64| not_before_ms.saturating_add(ALONE_MS) > now_ms;
        self.erasing.failed.retain(is_remembered);
        let Erasing { known, failed, .. } = &self.erasing;
        let share = |segment: &Arc<SealedSegment>| {
            let base = segment.facts.base;
            let is_barred = failed.get(&base).is_some_and(|not_before_ms| *not_before_ms > now_ms);
            let known = known.get(&base).filter(|known| !is_barred && known.found.share.events < u64::MAX)?;
            Some((base, known.share(segment)))
        };
        let is_alone = |segment: &SealedSegment| failed.contains_key(&segment.facts.base);
        let shares: HashMap<Seq, Share> = sealed.iter().filter_map(share).collect();
        let is_due = |segment: &SealedSegment| {
            let rewritten_ms = known.get(&segment.facts.base).map_or(0, |known| known.rewritten_ms);
            let since_ms = segment.facts.time_max_ms.max(rewritten_ms);
            since_ms.saturating_add(self.config.erase_after_ms) <= now_ms
        };
        let Some(inputs) = choose(&sealed, &shares, self.config.segment_bytes, is_due, is_alone) else {
            return;
        };
        let bases = inputs.iter().map(|segment| segment.facts.base).collect();
        if self.keeper.ask(Task::Rewrite(inputs)) == Asked::Queued {
            self.erasing.compaction = Compaction::Rewriting;
            self.erasing.inputs = bases;
        }
    }

    /// Has the keeper go on with a compaction that is not over. Whether there is one.
    pub(super) fn settle_compaction(&mut self) -> bool {
        let Compaction::Unsure(install) = &self.erasing.compaction else { return false };
        if self.keeper.ask(Task::Settle(Arc::clone(install))) == Asked::Queued {
            self.erasing.compaction = Compaction::Installing;
        }
        true
    }

    /// Whether nobody knows yet what became of a compaction.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self.erasing.compaction, Compaction::Unsure(_))
    }

    pub(super) fn take_rewritten(&mut self, rewritten: Option<Box<Rewritten>>) {
        self.erasing.compaction = Compaction::None;
        match rewritten {
            Some(rewritten) if self.state == State::Running => {
                let known_at = self.last_stored();
                self.erasing.compaction = Compaction::Waiting { rewritten, known_at };
                if self.known_through < known_at {
                    self.ask_checkpoint(None);
                }
                self.install_if_known();
            }
            Some(rewritten) => rewritten.abandon(&*self.shared.disk),
            None => {
                // Not these again at once: others must not wait for what may never be.
                let not_before_ms = self.now.now_ms().saturating_add(FAILED_MS);
                let inputs = std::mem::take(&mut self.erasing.inputs);
                self.erasing.failed.extend(inputs.into_iter().map(|base| (base, not_before_ms)));
                self.put_off();
            }
        }
    }

    /// A new file may take its place when a durable checkpoint knows what is not in it any more.
    pub(super) fn install_if_known(&mut self) {
        match std::mem::take(&mut self.erasing.compaction) {
            Compaction::Waiting { rewritten, known_at }
                if self.known_through >= known_at || is_on(Mutant::CompactBeforeCheckpoint) =>
            {
                match self.keeper.ask(Task::Install { rewritten, known_at }) {
                    Asked::Queued => self.erasing.compaction = Compaction::Installing,
                    Asked::Full => self.put_off(),
                }
            }
            other => self.erasing.compaction = other,
        }
    }

    pub(super) fn take_installed(&mut self, installed: Option<Installed>) {
        self.erasing.compaction = Compaction::None;
        let segment = match installed {
            Some(Installed::Done(segment)) => segment,
            Some(Installed::Unsure(install)) => {
                self.erasing.compaction = Compaction::Unsure(install);
                return;
            }
            None => {
                // What was known may be of files that are others now: they are swept before anything is made of it.
                for known in self.erasing.known.values_mut() {
                    (known.losses, known.found.not_before_ms, known.found.share.events) =
                        (u64::MAX, 0, u64::MAX);
                }
                return self.put_off();
            }
        };
        let facts = &segment.facts;
        self.erasing.known.retain(|base, _| *base < facts.base || *base > facts.last);
        self.erasing.failed.retain(|base, _| *base < facts.base || *base > facts.last);
        let events = segment.whole.unwrap_or(facts.events);
        let share = Share { live_bytes: facts.bytes, has_dead: false, events };
        let now_ms = self.now.now_ms();
        let found = Found {
            base: facts.base,
            share,
            is_over: false,
            has_kept: true,
            due_ms: None,
            not_before_ms: now_ms.saturating_add(1),
        };
        let known = Known { found, losses: 0, through: Seq::ZERO, rewritten_ms: now_ms };
        self.erasing.known.insert(facts.base, known);
    }

    /// A new file waits for a checkpoint that cannot be written: it takes space that may be what is lacking, and no history
    /// is removed as long as it waits.
    pub(super) fn give_up_waiting(&mut self) {
        match std::mem::take(&mut self.erasing.compaction) {
            Compaction::Waiting { rewritten, .. } => {
                rewritten.abandon(&*self.shared.disk);
                self.put_off();
            }
            other => self.erasing.compaction = other,
        }
    }

    fn put_off(&mut self) {
        self.erasing.compact_not_before_ms = self.now.now_ms().saturating_add(RETRY_MS);
    }
}
