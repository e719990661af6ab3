//! What is past its limits, and who loses what with it: a sweep over the tables of sealed segments.
//!
//! **Order:** known by a durable checkpoint, then told, then out of sight, then off the disk. So nothing is ever
//! answered that rests on an absence which a crash could undo. Where no checkpoint can be written (a full disk), the
//! files go under an older one that has all their records in it, and nothing is written until they are gone.
//!
//! A sweep reads a table, no records: a topic's events of a segment go together, when the last of them is too old, or when
//! the topic keeps one event and has a newer one. (Of those that keep more the trims of single topics take what is too
//! much, some topics at a time.)
//! **Invariant:** the newest event of a topic that keeps it stays, unless it is a tombstone.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_hub::fold::Fold;
use tidings_hub::ports::Trimmed;
use tidings_hub::{Retention, Seq, TopicName};

use crate::compact::Share;
use crate::error::Trouble;
use crate::index::{Row, Table};
use crate::mutants::{Mutant, is_on};
use crate::retention::Rules;
use crate::segment::{INDEX, file_name};
use crate::shared::{SealedSegment, Shared};

/// What an event costs beside its data, about.
const EVENT_COST_BYTES: u64 = 64;
/// A segment is swept again after this part of its age,
const SWEEP_AGE_PARTS: u64 = 16;
/// but neither more often than this
const SWEEP_EVERY_MS_MIN: u64 = 1_000;
/// nor, if anything may have become of it, less often.
const SWEEP_EVERY_MS_MAX: u64 = 3_600_000;

/// What a sweep is to look at.
pub(crate) struct Removal {
    /// Sealed segments, oldest first.
    pub(crate) segments: Vec<Swept>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) now_ms: u64,
}

pub(crate) struct Swept {
    pub(crate) segment: Arc<SealedSegment>,
    /// It is past the limits of the log: only what is kept as a newest event stays.
    pub(crate) is_over: bool,
}

/// What may go now, and what it takes from whom.
pub(crate) struct Retired {
    /// Segments with nothing alive in them: the oldest ones.
    pub(crate) dropped: Vec<Arc<SealedSegment>>,
    pub(crate) trimmed: Trimmed,
    pub(crate) found: Vec<Found>,
}

/// What was found out about a segment.
pub(crate) struct Found {
    pub(crate) base: Seq,
    pub(crate) share: Share,
    /// It was past the limits of the log.
    pub(crate) is_over: bool,
    /// Something in it goes as soon as something newer comes.
    pub(crate) has_kept: bool,
    /// When something in it is too old.
    pub(crate) due_ms: Option<u64>,
    /// When it may be looked at again.
    pub(crate) not_before_ms: u64,
}

impl Retired {
    /// The last place that goes.
    pub(crate) fn last(&self) -> Seq {
        self.dropped.last().map_or(Seq::ZERO, |segment| segment.facts.last)
    }

    /// What of it can go though no checkpoint knows of it: nothing that stood in the segments that are dropped can come
    /// back, but what was trimmed in others would after a crash. The next sweep finds that again.
    pub(crate) fn dropped_alone(mut self, fold: &Fold) -> Self {
        let last = self.last();
        self.found.clear();
        self.trimmed.topics.retain_mut(|(topic, through)| {
            *through = last.min(*through);
            fold.get(topic.as_str()).is_some_and(|state| state.created <= last)
        });
        self
    }
}

impl Removal {
    /// Finds out what goes. `oldest` is the oldest place that is kept now.
    pub(crate) fn retire(self, shared: &Shared, fold: &mut Fold, oldest: Seq) -> Retired {
        let mut losses = HashMap::new();
        let mut found = Vec::new();
        for Swept { segment, is_over } in &self.segments {
            match self.sweep(shared, fold, segment, *is_over, &mut losses) {
                Ok(swept) => found.push(swept),
                Err(trouble) => {
                    let base = segment.facts.base.0;
                    tracing::warn!(base, %trouble, "a segment could not be looked through");
                    found.push(self.unread(segment, *is_over));
                }
            }
        }
        let is_dead = |segment: &Arc<SealedSegment>| {
            let base = segment.facts.base;
            found.iter().any(|found| found.base == base && found.share.events == 0)
        };
        let (dropped, oldest) = {
            let catalog = shared.catalog.read();
            let dropped: Vec<_> =
                catalog.sealed.iter().take_while(|segment| is_dead(segment)).cloned().collect();
            let next = catalog.sealed.get(dropped.len()).map_or(catalog.active.base, |next| next.facts.base);
            let oldest = if dropped.is_empty() { oldest } else { next };
            (dropped, oldest)
        };
        let topics = losses.into_iter().collect();
        Retired { dropped, trimmed: Trimmed { through: oldest.prev(), topics }, found }
    }

    /// Whether an event may stand here that is the newest of a topic that keeps it.
    fn may_have_kept(&self, fold: &Fold, segment: &SealedSegment) -> bool {
        let places = segment.facts.base..=segment.facts.last;
        let is_here = |name: &str| {
            fold.get(name).is_some_and(|state| {
                let is_last_here = places.contains(&state.last) && state.last > state.trimmed;
                is_last_here && !state.last_is_tombstone && self.rules.of(name, &state).keep_last
            })
        };
        !is_on(Mutant::DropLast) && fold.names().any(is_here)
    }

    /// When a segment may be looked at again.
    fn not_before_ms(&self, segment: &SealedSegment) -> u64 {
        let age_ms = self.now_ms.saturating_sub(segment.facts.time_max_ms);
        let pause_ms = (age_ms / SWEEP_AGE_PARTS).clamp(SWEEP_EVERY_MS_MIN, SWEEP_EVERY_MS_MAX);
        self.now_ms.saturating_add(pause_ms)
    }

    /// What is known of a segment that could not be looked through: that it is tried again, whatever comes or not.
    fn unread(&self, segment: &SealedSegment, is_over: bool) -> Found {
        let share = Share { live_bytes: segment.facts.bytes, has_dead: false, events: u64::MAX };
        let (base, not_before_ms) = (segment.facts.base, self.not_before_ms(segment));
        Found { base, share, is_over, has_kept: false, due_ms: Some(self.now_ms), not_before_ms }
    }

    fn sweep(
        &self,
        shared: &Shared,
        fold: &mut Fold,
        segment: &Arc<SealedSegment>,
        is_over: bool,
        losses: &mut HashMap<TopicName, Seq>,
    ) -> Result<Found, Trouble> {
        let (base, now_ms) = (segment.facts.base, self.now_ms);
        let not_before_ms = self.not_before_ms(segment);
        let Some(table) = shared.table(segment)? else {
            if is_over && !self.may_have_kept(fold, segment) {
                // Its index is not to be had: every topic may have lost something there that had events since.
                let may_be_here = |name: &&str| fold.get(name).is_some_and(|state| state.last >= base);
                let all = fold.names().filter(may_be_here).filter_map(|name| TopicName::parse(name).ok());
                let all: Vec<_> = all.collect();
                for name in all {
                    lose(fold, &name, segment.facts.last, losses);
                }
                let share = Share { live_bytes: 0, has_dead: true, events: 0 };
                return Ok(Found { base, share, is_over, has_kept: false, due_ms: None, not_before_ms });
            }
            return Ok(self.unread(segment, is_over));
        };
        let (mut total, mut live) = (Weight::default(), Weight::default());
        let (mut due_ms, mut has_kept) = (None::<u64>, false);
        for row in rows(shared, segment, &table) {
            let row = &row?;
            total.add(row, row.count.into());
            // One that is not known has nothing that is alive.
            let Some(state) = fold.get(row.name.as_str()) else { continue };
            let time_ms = segment.facts.time_max_ms.saturating_sub(row.last_before_ms.into());
            let own = self.rules.of(row.name.as_str(), &state);
            let due = due_of(&self.rules, own, time_ms);
            let is_old = due.is_some_and(|due| due <= now_ms);
            if is_over || is_old || own.count == Some(1) {
                let is_last = row.last(base) == state.last && !is_on(Mutant::DropLast);
                // A tombstone is the one event like any, until it is too old.
                let is_within = !is_over && !is_old;
                let is_kept = is_last && (is_within || (own.keep_last && !state.last_is_tombstone));
                has_kept |= is_kept && state.trimmed < state.last;
                let through = if is_kept {
                    before_last(shared, segment, &table, row, state.trimmed)?
                } else {
                    Some(row.last(base))
                };
                if let Some(through) = through {
                    lose(fold, &row.name, through, losses);
                }
            }
            if let Some(due) = due.filter(|_| !is_over && !is_old) {
                due_ms = Some(due_ms.map_or(due, |before| before.min(due)));
            }
            let trimmed = fold.get(row.name.as_str()).map_or(Seq(u64::MAX), |state| state.trimmed);
            live.add(row, alive(shared, segment, &table, row, trimmed)?);
        }
        let bytes = u128::from(segment.facts.bytes) * u128::from(live.bytes) / u128::from(total.bytes.max(1));
        let share = Share {
            live_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            has_dead: live.events < total.events,
            events: live.events,
        };
        Ok(Found { base, share, is_over, has_kept, due_ms, not_before_ms })
    }
}

/// All rows of a sidecar, a group at a time.
fn rows(
    shared: &Shared,
    segment: &SealedSegment,
    table: &Table,
) -> impl Iterator<Item = Result<Row, Trouble>> {
    (0..table.groups()).flat_map(move |group| {
        let rows = shared.rows(segment, table, group, |_| true).and_then(|rows| {
            let place = || shared.disk.place(&file_name(segment.facts.base, INDEX));
            rows.ok_or_else(|| Trouble::damaged(place(), 0, "the index cannot be read, nor made anew"))
        });
        match rows {
            Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(trouble) => vec![Err(trouble)],
        }
    })
}

#[derive(Default)]
struct Weight {
    events: u64,
    bytes: u64,
}

impl Weight {
    fn add(&mut self, row: &Row, events: u64) {
        self.events += events;
        self.bytes += events * (EVENT_COST_BYTES + row.bytes / u64::from(row.count.max(1)));
    }
}

/// When a topic's events of a segment are too old; the newest of all, if it is kept, never is.
fn due_of(rules: &Rules, own: Retention, time_ms: u64) -> Option<u64> {
    let age_ms = own.age_ms.into_iter().chain(rules.age_ms).min()?;
    let age_ms = if is_on(Mutant::SweepTooYoung) { age_ms / 2 } else { age_ms };
    Some(time_ms.saturating_add(age_ms).saturating_add(1))
}

fn lose(fold: &mut Fold, name: &TopicName, through: Seq, losses: &mut HashMap<TopicName, Seq>) {
    let Some(state) = fold.get(name.as_str()) else { return };
    if state.trimmed < through.min(state.last) {
        fold.lose(name, through);
        losses.insert(name.clone(), through);
    }
}

/// How many of a row's events are past a place.
fn alive(
    shared: &Shared,
    segment: &SealedSegment,
    table: &Table,
    row: &Row,
    trimmed: Seq,
) -> Result<u64, Trouble> {
    let (count, base) = (u64::from(row.count), segment.facts.base);
    if trimmed < base {
        return Ok(count);
    }
    if trimmed >= row.last(base) {
        return Ok(0);
    }
    if count < 2 {
        return Ok(count);
    }
    let entries = shared.load_entries(segment, table, row)?;
    Ok(entries
        .map_or(count, |entries| entries.iter().filter(|entry| entry.seq(base) > trimmed).count() as u64))
}

/// The event of a topic before its last one in this segment, if it is still there.
fn before_last(
    shared: &Shared,
    segment: &SealedSegment,
    table: &Table,
    row: &Row,
    trimmed: Seq,
) -> Result<Option<Seq>, Trouble> {
    let base = segment.facts.base;
    if row.count < 2 || trimmed.next() >= row.last(base) {
        return Ok(None);
    }
    let Some(entries) = shared.load_entries(segment, table, row)? else { return Ok(None) };
    let before = entries.iter().rev().nth(1).map(|entry| entry.seq(base));
    Ok(before.filter(|before| *before > trimmed))
}
