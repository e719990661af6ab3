//! What may go: which old segments, by age and bytes of the whole log, and how far a topic is to be trimmed by
//! its own limits. Removes nothing itself.
//!
//! **Invariant:** a clock that jumps ahead does not empty the log: what counts as now follows the wall clock, but
//! gains on it at most as fast as the monotonic clock runs.

use std::collections::HashMap;

use tidings_hub::fold::{Fold, TopicState};
use tidings_hub::{Control, EventBody, Record, Retention, Selector, Seq, TopicName, What};

use crate::config::LogConfig;
use crate::error::Trouble;
use crate::index::{Entry, within};
use crate::reader::look_at;
use crate::segment::Sealed;
use crate::shared::{Segment, Shared};

/// Topics that are trimmed in one round.
const TOPICS_MAX: usize = 256;
/// Times of events that are looked up for one topic in one round.
const LOOKS_MAX: usize = 4_096;

/// What time it is for retention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetentionClock {
    now_ms: u64,
    monotonic_ms: u64,
}

impl RetentionClock {
    pub(crate) fn new(wall_ms: u64, monotonic_ms: u64) -> Self {
        Self { now_ms: wall_ms, monotonic_ms }
    }

    /// Now, at most twice the time on that really passed. (Twice, so that after a suspended machine, for which
    /// the monotonic clock stood still, it comes true again.)
    pub(crate) fn advance(&mut self, wall_ms: u64, monotonic_ms: u64) -> u64 {
        let passed = monotonic_ms.saturating_sub(self.monotonic_ms);
        self.monotonic_ms = monotonic_ms;
        self.now_ms = wall_ms.min(self.now_ms.saturating_add(passed.saturating_mul(2)));
        self.now_ms
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

/// How many of the oldest sealed segments may go. `active` is the length of the one being written, and the
/// latest time in it, if it has a record.
pub(crate) fn segments_to_drop<'a>(
    now_ms: u64,
    config: &LogConfig,
    sealed: impl DoubleEndedIterator<Item = &'a Sealed> + ExactSizeIterator,
    active: (u64, Option<u64>),
) -> usize {
    // A segment is no newer than those after it, whatever a clock that was ahead wrote into it.
    let mut time_ms = active.1.unwrap_or(u64::MAX);
    let mut bytes = active.0;
    let mut drop = 0;
    for (at, segment) in sealed.enumerate().rev() {
        time_ms = time_ms.min(segment.time_max_ms);
        bytes = bytes.saturating_add(segment.bytes);
        let is_old = config.retention_age_ms.is_some_and(|age_ms| time_ms.saturating_add(age_ms) < now_ms);
        let is_over = config.retention_bytes.is_some_and(|bytes_max| bytes > bytes_max);
        if is_old || is_over {
            // The newest that must go takes all before it along.
            drop = at + 1;
            break;
        }
    }
    drop
}

/// The topics that have limits of their own.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    by_pattern: Vec<(Selector, Retention)>,
    /// Every topic keeps its newest event.
    keep_last: bool,
    topics: HashMap<TopicName, Limited>,
    /// Rounds so far.
    round: u64,
}

#[derive(Debug)]
struct Limited {
    retention: Retention,
    /// Whether events were added since it was looked at.
    is_touched: bool,
    /// When its oldest event is too old.
    due_ms: Option<u64>,
    /// The round in which it was looked at last.
    looked_at: u64,
}

impl Limits {
    pub(crate) fn new(config: &LogConfig, fold: &Fold) -> Self {
        let (by_pattern, keep_last) = (config.topic_retention.clone(), config.retention_keep_last);
        let mut limits = Self { by_pattern, keep_last, topics: HashMap::new(), round: 0 };
        for (name, state) in fold.iter() {
            limits.set(name, &state);
        }
        limits
    }

    /// What holds for a topic beside the limits of the log.
    pub(crate) fn of(&self, name: &str, state: &TopicState) -> Retention {
        let declared = state.config.as_ref().map(|config| config.retention).filter(|r| !r.is_unlimited());
        let pattern = || {
            let mut patterns = self.by_pattern.iter();
            patterns.find(|(selector, _)| selector.matches(name)).map(|(_, retention)| *retention)
        };
        let own = declared.or_else(pattern).unwrap_or_default();
        Retention { keep_last: own.keep_last || self.keep_last, ..own }
    }

    fn set(&mut self, name: &str, state: &TopicState) {
        let retention = self.of(name, state);
        let Retention { age_ms, bytes, count, .. } = retention;
        match age_ms.or(bytes).or(count).filter(|_| state.exists()) {
            Some(_) => {
                let limited = Limited { retention, is_touched: true, due_ms: None, looked_at: 0 };
                // Each was a name before it came into the fold.
                self.topics.extend(TopicName::parse(name).ok().map(|name| (name, limited)));
            }
            None => _ = self.topics.remove(name),
        }
    }

    /// Takes a committed record into account; `fold` has it already.
    pub(crate) fn note(&mut self, record: &Record, fold: &Fold) {
        if self.topics.is_empty() && self.by_pattern.is_empty() && record.event().is_some() {
            return;
        }
        for topic in &record.topics {
            let is_new = || !self.by_pattern.is_empty() && !self.topics.contains_key(topic.as_str());
            if matches!(&record.what, What::Control(Control::Configure(_) | Control::Delete)) || is_new() {
                match fold.get(topic.as_str()) {
                    Some(state) => self.set(topic.as_str(), &state),
                    None => _ = self.topics.remove(topic.as_str()),
                }
            }
            if let Some(limited) = self.topics.get_mut(topic.as_str()) {
                limited.is_touched = true;
            }
        }
    }

    /// Lets go of topics that are forgotten.
    pub(crate) fn retain(&mut self, fold: &Fold) {
        self.topics.retain(|topic, _| fold.get(topic.as_str()).is_some());
    }

    /// Some topics that may be over their limits now, with the limits. They count as looked at.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Vec<(TopicName, Retention)> {
        self.round += 1;
        let round = self.round;
        let due = self.topics.iter_mut().filter(|(_, limited)| {
            limited.is_touched || limited.due_ms.is_some_and(|due_ms| due_ms <= now_ms)
        });
        let mut due: Vec<_> = due.collect();
        if due.len() > TOPICS_MAX {
            // Whoever waited longest is first: some busy topics must not keep all others from their turn.
            due.select_nth_unstable_by_key(TOPICS_MAX, |(_, limited)| limited.looked_at);
        }
        let looked_at = due.into_iter().take(TOPICS_MAX).map(|(name, limited)| {
            (limited.is_touched, limited.due_ms, limited.looked_at) = (false, None, round);
            (name.clone(), limited.retention)
        });
        looked_at.collect()
    }

    /// When a topic is to be looked at again, even if nothing is added.
    pub(crate) fn set_due(&mut self, topic: &str, due_ms: u64) {
        if let Some(limited) = self.topics.get_mut(topic) {
            limited.due_ms = Some(due_ms);
        }
    }
}

/// How far a topic is to be trimmed, and when to look again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) through: Option<Seq>,
    pub(crate) due_ms: Option<u64>,
}

/// Looks up how far a topic, whose newest event is at `last`, is over its limits.
pub(crate) fn trim_of(
    shared: &Shared,
    topic: &str,
    last: Seq,
    retention: Retention,
    now_ms: u64,
) -> Result<Trim, Trouble> {
    let segments: Vec<Segment> = {
        let catalog = shared.catalog.read();
        let sealed = catalog.sealed.iter().map(|sealed| match sealed.grown() {
            Some(grown) => Segment::Active(grown),
            None => Segment::Sealed(sealed.clone()),
        });
        sealed.chain([Segment::Active(catalog.active.clone())]).collect()
    };
    let lost = shared.trimmed(topic);
    let mut through = over_size(shared, &segments, topic, lost, retention)?;
    let mut due_ms = None;
    if let Some(age_ms) = retention.age_ms {
        let from = through.unwrap_or(lost).next();
        let (old, next_ms) = over_age(shared, &segments, topic, from, now_ms.saturating_sub(age_ms))?;
        through = old.or(through);
        due_ms = next_ms.map(|time_ms| time_ms.saturating_add(age_ms).saturating_add(1));
    }
    if retention.keep_last && through.is_some_and(|through| through >= last) {
        through = before_last(shared, &segments, topic, lost, last)?;
    }
    Ok(Trim { through, due_ms })
}

/// What of a topic may go that keeps its newest event: all before it; that one too if it is a tombstone.
fn before_last(
    shared: &Shared,
    segments: &[Segment],
    topic: &str,
    lost: Seq,
    last: Seq,
) -> Result<Option<Seq>, Trouble> {
    for segment in segments.iter().rev() {
        let (base, segment_last) = span(segment);
        if segment_last <= lost {
            break;
        }
        let entries = entries(shared, segment, topic, lost.next())?;
        if let Some(newest) = entries.last().filter(|entry| entry.seq(base) == last) {
            let record = look_at(shared, segment, *newest)?;
            if record.event().is_some_and(EventBody::is_tombstone) {
                return Ok(Some(last));
            }
        }
        let before = entries.iter().rev().map(|entry| entry.seq(base)).find(|seq| *seq < last);
        if before.is_some() {
            return Ok(before);
        }
    }
    Ok(None)
}

/// The newest event that is one too many, or whose bytes are.
fn over_size(
    shared: &Shared,
    segments: &[Segment],
    topic: &str,
    lost: Seq,
    retention: Retention,
) -> Result<Option<Seq>, Trouble> {
    if retention.count.is_none() && retention.bytes.is_none() {
        return Ok(None);
    }
    let (count_max, bytes_max) = (retention.count.unwrap_or(u64::MAX), retention.bytes.unwrap_or(u64::MAX));
    let (mut count, mut bytes) = (0u64, 0u64);
    for segment in segments.iter().rev() {
        let (base, last) = span(segment);
        if last <= lost {
            break;
        }
        let totals = totals(shared, segment, topic)?;
        let all = (count.saturating_add(totals.0), bytes.saturating_add(totals.1));
        if base > lost && all.0 <= count_max && all.1 <= bytes_max {
            (count, bytes) = all;
            continue;
        }
        for entry in entries(shared, segment, topic, lost.next())?.iter().rev() {
            count += 1;
            bytes += u64::from(entry.data_bytes);
            if count > count_max || bytes > bytes_max {
                return Ok(Some(entry.seq(base)));
            }
        }
    }
    Ok(None)
}

/// The last event of the unbroken run of those before a time, and the time of the first that is not.
fn over_age(
    shared: &Shared,
    segments: &[Segment],
    topic: &str,
    from: Seq,
    before_ms: u64,
) -> Result<(Option<Seq>, Option<u64>), Trouble> {
    let mut old = None;
    let mut looks = 0;
    for segment in segments {
        let (base, last) = span(segment);
        if last < from {
            continue;
        }
        for entry in entries(shared, segment, topic, from)? {
            let time_ms = look_at(shared, segment, entry)?.time_ms;
            looks += 1;
            if time_ms >= before_ms || looks > LOOKS_MAX {
                return Ok((old, Some(time_ms)));
            }
            old = Some(entry.seq(base));
        }
    }
    Ok((old, None))
}

fn span(segment: &Segment) -> (Seq, Seq) {
    match segment {
        Segment::Sealed(sealed) => (sealed.facts.base, sealed.facts.last),
        Segment::Active(active) => (active.base, active.inner.read().last),
    }
}

fn totals(shared: &Shared, segment: &Segment, topic: &str) -> Result<(u64, u64), Trouble> {
    match segment {
        Segment::Active(active) => Ok(active.inner.read().index.totals(topic)),
        Segment::Sealed(sealed) => {
            let table = shared.table(sealed)?;
            let row = table.as_ref().and_then(|table| table.row(topic));
            Ok(row.map_or((0, 0), |(_, row)| (row.count.into(), row.bytes)))
        }
    }
}

fn entries(shared: &Shared, segment: &Segment, topic: &str, from: Seq) -> Result<Vec<Entry>, Trouble> {
    let all = Seq(u64::MAX);
    match segment {
        Segment::Active(active) => {
            let inner = active.inner.read();
            Ok(within(inner.index.entries(topic), active.base, from, all).to_vec())
        }
        Segment::Sealed(sealed) => {
            let Some(table) = shared.table(sealed)? else { return Ok(Vec::new()) };
            let entries = shared.entries(sealed, &table, topic)?.unwrap_or_default();
            Ok(within(&entries, sealed.facts.base, from, all).to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_clock_does_not_age_the_history() {
        let mut clock = RetentionClock::new(1_000, 0);
        assert_eq!(clock.advance(1_100, 100), 1_100);
        assert_eq!(clock.advance(9_999_999, 200), 1_300, "twice what passed");
        assert_eq!(clock.advance(900, 300), 900, "back is back");
        assert_eq!(clock.advance(1_050, 400), 1_050);
    }

    fn dropped(now_ms: u64, age_ms: Option<u64>, bytes: Option<u64>, sealed: &[(u64, u64)]) -> usize {
        let config = LogConfig { retention_age_ms: age_ms, retention_bytes: bytes, ..LogConfig::default() };
        let facts = |(time_max_ms, bytes): &(u64, u64)| Sealed {
            base: Seq(1),
            last: Seq(2),
            bytes: *bytes,
            time_max_ms: *time_max_ms,
        };
        let sealed: Vec<_> = sealed.iter().map(facts).collect();
        segments_to_drop(now_ms, &config, sealed.iter(), (10, Some(400)))
    }

    #[test]
    fn whole_segments_go_oldest_first() {
        let sealed = [(100, 10), (200, 10), (300, 10)];
        assert_eq!(dropped(1_000, None, None, &sealed), 0);
        assert_eq!(dropped(1_000, Some(750), None, &sealed), 2);
        assert_eq!(dropped(1_000, Some(800), None, &sealed), 1, "200 + 800 is not yet past");
        assert_eq!(dropped(1_000, Some(1), None, &sealed), 3, "the active one stays");
        assert_eq!(dropped(1_000, None, Some(40), &sealed), 0);
        assert_eq!(dropped(1_000, None, Some(39), &sealed), 1);
        assert_eq!(dropped(1_000, None, Some(1), &sealed), 3);
    }

    #[test]
    fn a_time_from_the_future_does_not_hold_old_segments_back() {
        assert_eq!(dropped(1_000, Some(650), None, &[(u64::MAX, 10), (300, 10), (390, 10)]), 2);
    }
}
