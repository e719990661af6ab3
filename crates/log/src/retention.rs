//! What may go: which old segments, by the limits of the whole log, and how far a topic is to be trimmed by its own
//! limits. Removes nothing itself.
//!
//! **Invariant:** a clock that jumps ahead does not empty the log: what counts as now follows the wall clock, but
//! gains on it at most as fast as the monotonic clock runs.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tidings_hub::fold::{Fold, Glance, TopicState};
use tidings_hub::ports::{Durability, SeqRange};
use tidings_hub::{Control, Record, Retention, Selector, Seq, TopicName, What};

use crate::config::LogConfig;
use crate::error::Trouble;
use crate::index::{Entry, within};
use crate::mutants::{Mutant, is_on};
use crate::reader::look_at;
use crate::segment::Sealed;
use crate::shared::{Segment, Shared};

/// Topics that are due, and as many to which something was added, that are looked at in one round.
const TOPICS_MAX: usize = 512;
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

/// How many of the oldest sealed segments are past the limits of the log. `active` is the one being written; without
/// a record it has no time.
pub(crate) fn segments_over<'a>(
    now_ms: u64,
    config: &LogConfig,
    sealed: impl DoubleEndedIterator<Item = &'a Sealed> + ExactSizeIterator,
    active: &Sealed,
) -> usize {
    // A segment is no newer than those after it, whatever a clock that was ahead wrote into it.
    let has_records = active.last >= active.base;
    let mut time_ms = if has_records { active.time_max_ms } else { u64::MAX };
    let (mut bytes, mut newer) = (active.bytes, active.events);
    let mut drop = 0;
    for (at, segment) in sealed.enumerate().rev() {
        // One without a record has no time: a compaction may have left nothing in it.
        if segment.events > 0 || segment.time_max_ms > 0 {
            time_ms = time_ms.min(segment.time_max_ms);
        }
        bytes = bytes.saturating_add(segment.bytes);
        let is_old = config.retention_age_ms.is_some_and(|age_ms| time_ms.saturating_add(age_ms) < now_ms);
        let is_large = config.retention_bytes.is_some_and(|bytes_max| bytes > bytes_max);
        let is_many = config
            .retention_count
            .is_some_and(|count| newer + u64::from(is_on(Mutant::DropOneMore)) >= count);
        newer = newer.saturating_add(segment.events);
        if is_old || is_large || is_many {
            // The newest that must go takes all before it along.
            drop = at + 1;
            break;
        }
    }
    drop
}

/// What holds for topics.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    by_pattern: Vec<(Selector, Retention)>,
    /// Every topic keeps its newest event.
    keep_last: bool,
    /// The age limit of the whole log.
    pub(crate) age_ms: Option<u64>,
}

impl Rules {
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
}

/// The topics that have limits of their own and may be over them: those to which something was added lately. Older
/// segments are looked through as a whole ([`crate::removal`]), so that the cost follows what comes, not how many
/// topics there are.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) rules: Arc<Rules>,
    /// Whether any topic ever had limits since the start: while none has, none is looked up.
    is_any: bool,
    /// And limits that a sweep over sealed segments looks after.
    has_swept: bool,
    topics: HashMap<TopicName, Limited>,
    /// Those to which events were added since they were looked at, each once, the first one first.
    touched: VecDeque<TopicName>,
    /// The same of those whose limits a sweep over sealed segments keeps as well: they must not keep the others from
    /// their turn.
    touched_swept: VecDeque<TopicName>,
    /// When the oldest event of a topic is too old.
    due: BTreeSet<(u64, TopicName)>,
}

#[derive(Debug)]
struct Limited {
    retention: Retention,
    is_touched: bool,
    due_ms: Option<u64>,
}

impl Limits {
    /// `hot`: topics with events from here on are looked at for their age.
    pub(crate) fn new(config: &LogConfig, fold: &Fold, hot: Seq) -> Self {
        let is_forgotten = is_on(Mutant::OsForgetsLast) && config.durability == Durability::Os;
        let keep_last = config.retention_keep_last && !is_forgotten;
        let by_pattern = config.topic_retention.clone();
        let rules = Rules { by_pattern, keep_last, age_ms: config.retention_age_ms };
        let is_any = !rules.by_pattern.is_empty();
        let has_swept = rules.age_ms.is_some() || rules.by_pattern.iter().any(|(_, own)| is_swept(own));
        let mut limits = Self { rules: Arc::new(rules), is_any, has_swept, ..Self::default() };
        // Who is of no pattern and declared nothing has no limits.
        let has_patterns = is_any;
        let may_be = |glance: Glance| has_patterns || glance.is_declared || glance.last >= hot;
        for (name, state) in fold.iter_where(may_be) {
            let own = limits.rules.of(name, &state);
            let Retention { age_ms, bytes, count, .. } = own;
            limits.has_swept |= is_swept(&own);
            limits.is_any |= age_ms.is_some();
            if state.last >= hot || bytes.or(count).is_some() {
                // Each was a name before it came into the fold.
                let Ok(name) = TopicName::parse(name) else { continue };
                limits.set(&name, &state);
                limits.touch(&name);
            }
        }
        limits
    }

    /// Whether a sweep may ever find anything.
    pub(crate) fn has_swept(&self) -> bool {
        self.has_swept
    }

    fn set(&mut self, name: &TopicName, state: &TopicState) {
        let retention = self.rules.of(name.as_str(), state);
        let Retention { age_ms, bytes, count, .. } = retention;
        if age_ms.or(bytes).or(count).is_none() || !state.exists() {
            return self.remove(name.as_str());
        }
        self.is_any = true;
        self.has_swept |= is_swept(&retention);
        match self.topics.get_mut(name.as_str()) {
            Some(limited) => limited.retention = retention,
            None => {
                let limited = Limited { retention, is_touched: false, due_ms: None };
                self.topics.insert(name.clone(), limited);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some((name, Limited { due_ms: Some(due_ms), .. })) = self.topics.remove_entry(name) {
            self.due.remove(&(due_ms, name));
        }
    }

    fn touch(&mut self, name: &TopicName) {
        if let Some(limited) = self.topics.get_mut(name.as_str())
            && !std::mem::replace(&mut limited.is_touched, true)
        {
            let Retention { bytes, count, .. } = limited.retention;
            let is_swept = bytes.is_none() && count.is_none_or(|count| count == 1);
            if is_swept { &mut self.touched_swept } else { &mut self.touched }.push_back(name.clone());
        }
    }

    /// A topic is still over its limits, for all that is known: it is looked at in the next round.
    pub(crate) fn look_again(&mut self, topic: &TopicName, fold: &Fold) {
        if let Some(state) = fold.get(topic.as_str()) {
            self.set(topic, &state);
            self.touch(topic);
        }
    }

    /// Takes a committed record into account; `fold` has it already.
    pub(crate) fn note(&mut self, record: &Record, fold: &Fold) {
        if !self.is_any && record.event().is_some() {
            return;
        }
        for topic in &record.topics {
            let is_declared = matches!(&record.what, What::Control(Control::Configure(_) | Control::Delete));
            if is_declared || !self.topics.contains_key(topic.as_str()) {
                match fold.get(topic.as_str()) {
                    Some(state) => self.set(topic, &state),
                    None => self.remove(topic.as_str()),
                }
            }
            self.touch(topic);
        }
    }

    /// Lets go of topics that are forgotten, and of those with nothing from `hot` on that wait for no look.
    pub(crate) fn cool(&mut self, fold: &Fold, hot: Seq) {
        let is_hot = |name: &TopicName, limited: &Limited| {
            fold.get(name.as_str()).is_some_and(|state| limited.is_touched || state.last >= hot)
        };
        let due = &mut self.due;
        self.topics.retain(|name, limited| {
            let is_kept = is_hot(name, limited);
            if let Some(due_ms) = limited.due_ms.filter(|_| !is_kept) {
                due.remove(&(due_ms, name.clone()));
            }
            is_kept
        });
    }

    /// Some topics that may be over their limits now, with the limits. They count as looked at.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Vec<(TopicName, Retention)> {
        let mut taken = Vec::new();
        while taken.len() < TOPICS_MAX
            && self.due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms)
            && let Some((_, name)) = self.due.pop_first()
        {
            if let Some(limited) = self.topics.get_mut(name.as_str()) {
                limited.due_ms = None;
                taken.push((name, limited.retention));
            }
        }
        // Who waited longest is first: some busy topics must not keep all others from their turn.
        while taken.len() < 2 * TOPICS_MAX
            && let Some(name) = self.next_touched(taken.len())
        {
            if let Some(limited) = self.topics.get_mut(name.as_str())
                && std::mem::take(&mut limited.is_touched)
            {
                if let Some(due_ms) = limited.due_ms.take() {
                    self.due.remove(&(due_ms, name.clone()));
                }
                taken.push((name, limited.retention));
            }
        }
        taken
    }

    /// One in four that a sweep looks after too, where there are both.
    fn next_touched(&mut self, taken: usize) -> Option<TopicName> {
        let (first, then) = match taken % 4 {
            0 => (&mut self.touched_swept, &mut self.touched),
            _ => (&mut self.touched, &mut self.touched_swept),
        };
        first.pop_front().or_else(|| then.pop_front())
    }

    /// When a topic is to be looked at again, even if nothing is added.
    pub(crate) fn set_due(&mut self, topic: &str, due_ms: u64) {
        if let Some((name, limited)) = self.topics.get_key_value(topic)
            && limited.due_ms != Some(due_ms)
        {
            let name = name.clone();
            if let Some(before) = limited.due_ms {
                self.due.remove(&(before, name.clone()));
            }
            self.due.insert((due_ms, name));
            if let Some(limited) = self.topics.get_mut(topic) {
                limited.due_ms = Some(due_ms);
            }
        }
    }
}

/// Whether a sweep over sealed segments takes a part of what these limits take.
fn is_swept(own: &Retention) -> bool {
    own.age_ms.is_some() || own.count == Some(1)
}

/// How far a topic is to be trimmed, and when to look again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) through: Option<Seq>,
    pub(crate) due_ms: Option<u64>,
}

/// Looks up how far a topic, whose newest event was at `last` when it was asked, is over its limits. What came after that is not
/// looked at: the topic may have been deleted since and be another one, or have other limits, and it is looked at again.
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
    let range = SeqRange { first: lost.next(), last };
    let mut through = over_size(shared, &segments, topic, range, retention)?;
    let mut due_ms = None;
    if let Some(age_ms) = retention.age_ms {
        let range = SeqRange { first: through.unwrap_or(lost).next(), last };
        let age_ms = if is_on(Mutant::TrimTooYoung) { age_ms / 2 } else { age_ms };
        let (old, next_ms) = over_age(shared, &segments, topic, range, now_ms.saturating_sub(age_ms))?;
        through = old.or(through);
        due_ms = next_ms.map(|time_ms| time_ms.saturating_add(age_ms).saturating_add(1));
    }
    if retention.keep_last && !is_on(Mutant::TrimLast) && through.is_some_and(|through| through >= last) {
        through = before_last(shared, &segments, topic, range)?;
    }
    Ok(Trim { through, due_ms })
}

/// What of a topic may go that keeps its newest event: all before it.
fn before_last(
    shared: &Shared,
    segments: &[Segment],
    topic: &str,
    range: SeqRange,
) -> Result<Option<Seq>, Trouble> {
    for segment in segments.iter().rev() {
        let (base, segment_last) = span(segment);
        if segment_last < range.first {
            break;
        }
        let entries = entries(shared, segment, topic, range)?;
        let before = entries.iter().rev().map(|entry| entry.seq(base)).find(|seq| *seq < range.last);
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
    range: SeqRange,
    retention: Retention,
) -> Result<Option<Seq>, Trouble> {
    if retention.count.is_none() && retention.bytes.is_none() {
        return Ok(None);
    }
    let (count_max, bytes_max) = (retention.count.unwrap_or(u64::MAX), retention.bytes.unwrap_or(u64::MAX));
    let (mut count, mut bytes) = (u64::from(is_on(Mutant::TrimOneMore)), 0u64);
    for segment in segments.iter().rev() {
        let (base, last) = span(segment);
        if last < range.first {
            break;
        }
        let (events, their_bytes, newest) = totals(shared, segment, topic)?;
        let all = (count.saturating_add(events), bytes.saturating_add(their_bytes));
        let is_within = base >= range.first && newest <= range.last;
        if is_within && all.0 <= count_max && all.1 <= bytes_max {
            (count, bytes) = all;
            continue;
        }
        for entry in entries(shared, segment, topic, range)?.iter().rev() {
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
    range: SeqRange,
    before_ms: u64,
) -> Result<(Option<Seq>, Option<u64>), Trouble> {
    let mut old = None;
    let mut looks = 0;
    for segment in segments {
        let (base, last) = span(segment);
        if last < range.first {
            continue;
        }
        for entry in entries(shared, segment, topic, range)? {
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

/// A topic's events in a segment, their bytes, and the last one's place.
fn totals(shared: &Shared, segment: &Segment, topic: &str) -> Result<(u64, u64, Seq), Trouble> {
    match segment {
        Segment::Active(active) => {
            let inner = active.inner.read();
            let (events, bytes) = inner.index.totals(topic);
            let last = inner.index.entries(topic).last().map_or(Seq::ZERO, |entry| entry.seq(active.base));
            Ok((events, bytes, last))
        }
        Segment::Sealed(sealed) => {
            let table = shared.table(sealed)?;
            let Some(table) = table else { return Ok((0, 0, Seq::ZERO)) };
            let row = shared.row(sealed, &table, topic)?.flatten();
            let base = sealed.facts.base;
            Ok(row.map_or((0, 0, Seq::ZERO), |row| (row.count.into(), row.bytes, row.last(base))))
        }
    }
}

fn entries(
    shared: &Shared,
    segment: &Segment,
    topic: &str,
    SeqRange { first, last }: SeqRange,
) -> Result<Vec<Entry>, Trouble> {
    match segment {
        Segment::Active(active) => {
            let inner = active.inner.read();
            Ok(within(inner.index.entries(topic), active.base, first, last).to_vec())
        }
        Segment::Sealed(sealed) => {
            let Some(table) = shared.table(sealed)? else { return Ok(Vec::new()) };
            let Some(row) = shared.row(sealed, &table, topic)?.flatten() else { return Ok(Vec::new()) };
            let entries = shared.entries(sealed, &table, &row)?.unwrap_or_default();
            Ok(within(&entries, sealed.facts.base, first, last).to_vec())
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
        over(now_ms, &config, sealed)
    }

    fn over(now_ms: u64, config: &LogConfig, sealed: &[(u64, u64)]) -> usize {
        let facts = |(time_max_ms, bytes): &(u64, u64)| Sealed {
            base: Seq(1),
            last: Seq(2),
            bytes: *bytes,
            time_max_ms: *time_max_ms,
            events: if *time_max_ms > 0 { 5 } else { 0 },
        };
        let sealed: Vec<_> = sealed.iter().map(facts).collect();
        segments_over(now_ms, config, sealed.iter(), &facts(&(400, 10)))
    }

    #[test]
    fn so_many_events_are_kept_at_least() {
        let sealed = [(100, 10), (200, 10), (300, 10)];
        for (count, expected) in [(21, 0), (20, 0), (16, 0), (15, 1), (10, 2), (6, 2), (5, 3), (1, 3)] {
            let bytes = None;
            let config =
                LogConfig { retention_bytes: bytes, retention_count: Some(count), ..LogConfig::default() };
            assert_eq!(over(1_000, &config, &sealed), expected, "{count}");
        }
    }

    /// A compaction may have left nothing in it.
    #[test]
    fn a_segment_without_a_record_makes_none_before_it_old() {
        let sealed = [(100, 10), (200, 10), (0, 10), (300, 10)];
        assert_eq!(dropped(1_000, Some(950), None, &sealed), 0);
        assert_eq!(dropped(1_000, Some(750), None, &sealed), 2);
        assert_eq!(dropped(1_000, Some(650), None, &sealed), 4);
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
