//! What must be true of the log, kept beside it in the plainest way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tidings_hub::fold::Fold;
use tidings_hub::ports::Bounds;
use tidings_hub::{Epoch, Once, Position, Record, Retention, Selectors, Seq};

use super::common::{text, topic};

#[path = "producers.rs"]
pub(crate) mod producers;

use producers::{Known, Number, Producers, Token};

/// The topics that are published to, besides `marker`.
pub(crate) const TOPICS: [&str; 5] = ["a", "b", "c/1", "c/2", "c/3"];

/// What the data of a tombstone begins with.
pub(crate) const GONE: &str = "gone";

/// A submission as the world made it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) atomic: bool,
    pub(crate) deeds: Vec<Deed>,
}

/// An operation as the world made it. Controls come in one atomic submission with an event to `marker`, which
/// tells after a crash whether they happened.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Event {
        topics: Vec<&'static str>,
        data: String,
        key: Option<(String, u64)>,
        number: Option<Token>,
        ephemeral: bool,
    },
    Close(&'static str),
    Delete(&'static str),
    Trim(&'static str, Seq),
}

#[derive(Clone, Debug)]
struct Event {
    topics: Vec<&'static str>,
    data: String,
    time_ms: u64,
}

/// The limits that a world has.
#[derive(Default)]
pub(crate) struct Rules {
    /// The whole log has a limit by size: anything may go that another one does not keep.
    pub(crate) has_bytes: bool,
    /// Events of the whole log that are kept at least.
    pub(crate) count: Option<u64>,
    pub(crate) age_ms: Option<u64>,
    /// What holds for `c/*` beside.
    pub(crate) of_c: Option<Retention>,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) now_ms: u64,
    /// The whole log has a limit: history may go, if it is told.
    pub(crate) is_limited: bool,
    /// The newest event of a topic stays in spite of it, unless it is a tombstone.
    pub(crate) keeps_last: bool,
    /// All that was acked and stored, or was found after a crash, in order.
    deeds: BTreeMap<Seq, Deed>,
    /// The events among them.
    events: BTreeMap<Seq, Event>,
    /// Every position that anybody saw, and what it meant.
    seen: HashMap<(Epoch, Seq), String>,
    gone_through: HashMap<&'static str, Seq>,
    /// What a limit took, by topic, as it was told.
    excused: HashMap<&'static str, Seq>,
    /// Topics of which the newest event may have been let go just before a loss of power: nobody can tell.
    loose: HashSet<&'static str>,
    /// The data of events that may have been stored and deleted before anybody looked: limits count them, and where the
    /// deletion itself is lost to damage they are back.
    unseen: HashSet<String>,
    /// Where topics were closed. One that has no history left may be forgotten.
    pub(crate) closed: HashMap<&'static str, Seq>,
    /// The highest head so far.
    pub(crate) head: Seq,
    /// The oldest place that was ever the oldest that is kept.
    pub(crate) oldest: Seq,
    pub(crate) keys: HashMap<String, u64>,
    pub(crate) producers: Producers,
    /// What may or may not have happened.
    open: Vec<Wish>,
    pub(crate) acked: u64,
}

/// What had been excused.
pub(crate) struct Excused(HashMap<&'static str, Seq>);

type Checked = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Model {
    /// The sink was told a record.
    pub(crate) fn see(&mut self, epoch: Epoch, record: &Record) -> Checked {
        let data = text(record);
        let earlier = self.seen.insert((epoch, record.seq), data.clone());
        ensure(earlier.is_none(), || {
            format!("{epoch:?} {:?} was {earlier:?} and is now {data:?}", record.seq)
        })
    }

    /// An operation was acked.
    pub(crate) fn ack(&mut self, deed: &Deed, position: Position) -> Checked {
        self.acked += 1;
        if let Deed::Event { number: Some(token), ephemeral, .. } = deed {
            self.producers.accept(token, position.seq, Some(position), !ephemeral)?;
        }
        self.apply(deed, position.seq, self.now_ms)
    }

    fn apply(&mut self, deed: &Deed, seq: Seq, time_ms: u64) -> Checked {
        if !matches!(deed, Deed::Event { ephemeral: true, .. }) {
            self.deeds.insert(seq, deed.clone());
        }
        match deed {
            Deed::Event { topics, data, key, ephemeral, .. } => {
                let closed =
                    topics.iter().find(|topic| self.closed.get(*topic).is_some_and(|at| *at >= self.oldest));
                ensure(closed.is_none(), || format!("{data} was accepted by a closed topic: {closed:?}"))?;
                if let Some((key, index)) = key {
                    let count = self.keys.insert(key.clone(), index + 1).unwrap_or(0);
                    ensure(count == *index, || format!("item {index} of {key} was accepted at {count}"))?;
                }
                if !ephemeral {
                    topics.iter().for_each(|topic| _ = self.loose.remove(topic));
                    self.events.insert(seq, Event { topics: topics.clone(), data: data.clone(), time_ms });
                }
            }
            // Closing what is closed changes nothing.
            Deed::Close(topic) => {
                let at = self.closed.entry(topic).or_insert(seq);
                if *at < self.oldest {
                    *at = seq;
                }
            }
            Deed::Delete(topic) => {
                self.closed.remove(topic);
                self.gone_through.insert(topic, seq);
            }
            Deed::Trim(topic, through) => {
                let gone = self.gone_through.entry(topic).or_default();
                *gone = (*gone).max(*through);
            }
        }
        Ok(())
    }

    /// More of a key is held than was known (its events were deleted before anybody looked).
    pub(crate) fn hold(&mut self, deed: &Deed, count: u64) {
        if let Deed::Event { key: Some((key, _)), .. } = deed {
            self.keys.insert(key.clone(), count);
        }
    }

    /// It is not known what became of a submission.
    pub(crate) fn doubt(&mut self, wish: Wish) {
        for deed in &wish.deeds {
            if let Deed::Event { topics, number: Some(token), ephemeral, .. } = deed {
                self.producers.doubt(token, topics, !ephemeral);
            }
        }
        self.open.push(wish);
    }

    pub(crate) fn stored_places(&self) -> Vec<Seq> {
        self.events.keys().copied().collect()
    }

    fn is_there(&self, seq: Seq, event: &Event, oldest: Seq) -> bool {
        let alive = |topic: &&str| self.gone_through.get(topic).is_none_or(|gone| *gone < seq);
        seq >= oldest && event.topics.iter().any(alive)
    }

    /// After a start: settles what was in doubt by what is found, and checks all that must hold. In `os` mode a
    /// loss of power may have taken the newest events.
    pub(crate) fn meet(
        &mut self,
        found: &[Record],
        bounds: &Bounds,
        fold: &Fold,
        may_lose_tail: bool,
    ) -> Checked {
        // A removal that was not durable yet may be undone; what was forgotten meanwhile stays forgiven.
        self.oldest = self.oldest.max(bounds.oldest);
        self.head = self.head.max(bounds.head);
        ensure(found.is_sorted_by(|a, b| a.seq < b.seq), || "places do not rise".into())?;
        let was_in_doubt = self.is_in_doubt();
        self.settle_doubts(found)?;
        if was_in_doubt {
            self.raise(fold)
        } else {
            self.excuse(fold)?
        }
        let kept = may_lose_tail.then(|| self.lose_tail(found, bounds, fold)).transpose()?;
        self.producers.restart(kept);
        self.check(found, bounds, fold)?;
        self.check_fold(fold)?;
        for ((epoch, seq), data) in &self.seen {
            let end = bounds.epochs.end_of(*epoch).ok_or_else(|| format!("{epoch:?} is forgotten"))?;
            if end.is_some_and(|end| *seq >= end) {
                continue; // void
            }
            ensure(*seq <= bounds.head, || format!("{data} was seen at {seq:?}, past the head"))?;
            let now = found.iter().find(|record| record.seq == *seq);
            let other = now.filter(|record| text(record) != *data);
            ensure(other.is_none(), || format!("{seq:?} was {data}, and is now {other:?}"))?;
        }
        Ok(())
    }

    /// Lets go of what a loss of power took. The last place that is surely kept, and the last one that may be.
    fn lose_tail(&mut self, found: &[Record], bounds: &Bounds, fold: &Fold) -> Result<(Seq, Seq), String> {
        // Controls are followed by an event that is never deleted, so the last event found tells the end; under a
        // limit, what is not found behind it may have been let go before, and the fold may know of it.
        let found = found.last().map_or(Seq::ZERO, |record| record.seq);
        let mut lost = self.events.split_off(&found.next());
        let first_lost = |model: &Self, lost: &BTreeMap<Seq, Event>| {
            let owed = lost.iter().find(|(seq, event)| model.is_owed(**seq, event, bounds.oldest));
            owed.map_or(Seq(u64::MAX), |(seq, _)| *seq)
        };
        let end = if self.is_limited { first_lost(self, &lost) } else { Seq(u64::MAX) };
        let states = TOPICS.into_iter().chain(["marker"]).filter_map(|name| fold.get(name));
        let known = states.map(|state| state.last.max(state.closed.unwrap_or_default())).max();
        let last = found.max(known.unwrap_or_default());
        ensure(last < end, || format!("{end:?} is lost, and {last:?} behind it is known"))?;
        let mut deeds = std::mem::take(&mut self.deeds);
        let open = deeds.split_off(&last.next());
        let mut events = std::mem::take(&mut self.events);
        events.append(&mut lost);
        (self.closed, self.gone_through, self.keys, self.loose) = Default::default();
        for (seq, deed) in deeds {
            // Earlier items may be there, behind a deletion that hides them, without being known.
            if let Deed::Event { key: Some((key, index)), .. } = &deed {
                self.keys.insert(key.clone(), *index);
            }
            self.apply(&deed, seq, events.get(&seq).map_or(0, |event| event.time_ms))?;
        }
        let lost = events.split_off(&last.next());
        let end = if self.is_limited { end } else { first_lost(self, &lost) };
        for deed in open.range(..end).map(|(_, deed)| deed) {
            match deed {
                Deed::Event { topics, .. } => {
                    self.loose.extend(topics.iter().filter(|topic| fold.get(topic).is_none()));
                }
                Deed::Close(topic) | Deed::Delete(topic) | Deed::Trim(topic, _) => {
                    self.loose.extend([*topic]);
                }
            }
        }
        Ok((last, end.prev()))
    }

    /// What a log says of a producer.
    pub(crate) fn settle(&mut self, id: &'static str, known: Option<Known>, bounds: &Bounds) -> Checked {
        let mut producers = std::mem::take(&mut self.producers);
        let is_hidden = |seq: Seq, topics: &[&'static str]| {
            let event = Event { topics: topics.to_vec(), data: String::new(), time_ms: 0 };
            !self.is_owed(seq, &event, bounds.oldest)
        };
        let settled = producers.settle(id, known, is_hidden);
        self.producers = producers;
        settled
    }

    /// Under a limit, what is told to be lost may be gone before the log begins later: what a limit lets go.
    pub(crate) fn excuse(&mut self, fold: &Fold) -> Checked {
        let before = self.excused.clone();
        self.raise(fold);
        if self.is_in_doubt() {
            // What is not known to have happened may be why something went.
            return Ok(());
        }
        for (name, through) in &self.excused {
            let before = before.get(name).copied().unwrap_or_default();
            let gone = self.gone_through.get(name).copied().unwrap_or_default();
            let from = before.max(gone).next();
            if from <= *through {
                let let_go = self.events.range(from..=*through);
                for (seq, event) in let_go.filter(|(_, event)| event.topics.contains(name)) {
                    ensure(self.may_go(name, *seq, event), || {
                        format!("{} at {seq:?} was taken from {name}, and no limit says so", event.data)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Whether an event is past a limit.
    fn may_go(&self, name: &str, seq: Seq, event: &Event) -> bool {
        let own = self.rules.of_c.filter(|_| name.starts_with("c/")).unwrap_or_default();
        let is_old = |age_ms: Option<u64>| age_ms.is_some_and(|age_ms| event.time_ms + age_ms < self.now_ms);
        let newer = || self.events.range(seq.next()..);
        let is_many = |count: Option<u64>, newer: usize| {
            count.is_some_and(|count| (newer + self.unseen.len()) as u64 >= count)
        };
        self.rules.has_bytes
            || is_old(self.rules.age_ms)
            || is_old(own.age_ms)
            || is_many(self.rules.count, newer().count())
            || is_many(own.count, newer().filter(|(_, event)| event.topics.contains(&name)).count())
    }

    fn raise(&mut self, fold: &Fold) {
        if self.is_limited {
            for name in TOPICS.into_iter().chain(["marker"]) {
                let told = fold.get(name).map_or(Seq::ZERO, |state| state.trimmed);
                let excused = self.excused.entry(name).or_default();
                *excused = (*excused).max(told);
            }
        }
    }

    /// The same until it is taken back.
    pub(crate) fn excuse_for_now(&mut self, fold: &Fold) -> Excused {
        let before = self.excused.clone();
        self.raise(fold);
        Excused(before)
    }

    pub(crate) fn take_back(&mut self, before: Excused) {
        self.excused = before.0;
    }

    /// Events of a topic up to here may be gone. (They may be back too: a loss that was told need not be durable.)
    fn excused(&self, name: &str) -> Seq {
        self.excused.get(name).copied().unwrap_or_default()
    }

    fn is_owed(&self, seq: Seq, event: &Event, oldest: Seq) -> bool {
        self.is_there(seq, event, oldest)
            && event.topics.iter().any(|topic| {
                self.excused(topic).max(self.gone_through.get(topic).copied().unwrap_or_default()) < seq
            })
    }

    /// Whether something may or may not have happened.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.open.is_empty()
    }

    /// A start over damaged files that was not refused.
    pub(crate) fn check_rotten(
        &self,
        found: &[Record],
        bounds: &Bounds,
        fold: &Fold,
        is_clean: bool,
    ) -> Checked {
        let seen = self.seen.keys().filter(|(epoch, _)| *epoch == bounds.epochs.current());
        let seen = seen.map(|(_, seq)| *seq).max().unwrap_or_default();
        let is_past = bounds.head >= seen || !is_clean;
        ensure(is_past, || format!("{seen:?} was seen, and the head is {:?}", bounds.head))?;
        // Places may be reserved that nobody saw.
        let reserve = 1 << 21;
        let is_near = bounds.head.0 <= self.head.0 + reserve;
        ensure(is_near, || format!("the head was {:?} and is {:?}", self.head, bounds.head))?;
        if is_clean {
            return self.check(found, bounds, fold);
        }
        self.check_published(found)
    }

    /// Up to here a topic's events are gone, as the fold tells that goes with what is served.
    fn gone(&self, name: &str, fold: &Fold) -> Seq {
        self.gone_through.get(name).copied().unwrap_or_default().max(fold.trimmed(name))
    }

    /// Exactly what should be found is found: no less than is owed, and no more and no less than was not told to be
    /// gone.
    pub(crate) fn check(&self, found: &[Record], bounds: &Bounds, fold: &Fold) -> Checked {
        let there: BTreeMap<Seq, &Record> = found.iter().map(|record| (record.seq, record)).collect();
        let names = TOPICS.into_iter().chain(["marker"]);
        let gone: Vec<(&str, Seq)> = names.map(|name| (name, self.gone(name, fold))).collect();
        for (seq, event) in &self.events {
            let is_left = |(name, gone): &(&str, Seq)| gone < seq && event.topics.contains(name);
            let is_shown = *seq >= bounds.oldest && gone.iter().any(is_left);
            match there.get(seq) {
                None if is_shown || self.is_owed(*seq, event, bounds.oldest) => {
                    return Err(format!("{} at {seq:?} is lost (oldest {:?})", event.data, bounds.oldest));
                }
                Some(record) if text(record) != event.data => {
                    return Err(format!("{seq:?} was {} and is {}", event.data, text(record)));
                }
                Some(_) if !is_shown => {
                    return Err(format!("{} at {seq:?} is back", event.data));
                }
                _ => {}
            }
        }
        let unknown = found.iter().find(|record| !self.events.contains_key(&record.seq));
        ensure(unknown.is_none(), || format!("nobody published {unknown:?}"))?;
        if !self.keeps_last {
            return Ok(());
        }
        TOPICS.into_iter().chain(["marker"]).try_for_each(|name| {
            let Some((seq, event)) = self.newest(name) else { return Ok(()) };
            if self.loose.contains(name) {
                return Ok(());
            }
            let what = || format!("{} at {seq:?} is lost, the newest of {name}", event.data);
            ensure(there.contains_key(&seq), what)
        })
    }

    /// The fold tells of each topic's newest event, as long as that is there.
    fn check_fold(&self, fold: &Fold) -> Checked {
        for name in TOPICS.into_iter().chain(["marker"]) {
            let Some(state) = fold.get(name).filter(|state| state.last > state.trimmed) else { continue };
            let newest = self.events.iter().rfind(|(_, event)| event.topics.contains(&name));
            let is_same = newest.is_some_and(|(seq, event)| {
                *seq == state.last && event.data.starts_with(GONE) == state.last_is_tombstone
            });
            ensure(is_same, || format!("{name} is {state:?}, and its newest event {newest:?}"))?;
        }
        Ok(())
    }

    /// The newest event of a topic, if it is one that is kept past limits.
    fn newest(&self, name: &str) -> Option<(Seq, &Event)> {
        let (seq, event) = self.events.iter().rfind(|(_, event)| event.topics.contains(&name))?;
        let is_gone = self.gone_through.get(name).is_some_and(|gone| gone >= seq);
        (!is_gone && !event.data.starts_with(GONE)).then_some((*seq, event))
    }

    /// What a repaired log serves: nothing that nobody published, and all but what may be missing.
    pub(crate) fn check_mended(
        &self,
        found: &[Record],
        there: &BTreeSet<Seq>,
        bounds: &Bounds,
        may_miss: impl Fn(Seq) -> bool,
    ) -> Checked {
        for (seq, event) in &self.events {
            let is_fine = there.contains(seq) || !self.is_owed(*seq, event, bounds.oldest) || may_miss(*seq);
            ensure(is_fine, || format!("{} at {seq:?} is lost, and nobody is told", event.data))?;
        }
        self.check_published(found)
    }

    /// Where something may be missing, a deletion may: what is there was published, and no more is known of it.
    fn check_published(&self, found: &[Record]) -> Checked {
        let is_odd = |record: &&Record| match self.events.get(&record.seq) {
            Some(event) => event.data != text(record),
            None => !self.unseen.contains(&text(record)),
        };
        let odd = found.iter().find(is_odd);
        ensure(odd.is_none(), || format!("nobody published {odd:?}"))
    }

    /// What a log that was mended says of a producer, beside the events that are found in it.
    pub(crate) fn check_mended_producer(&self, id: &str, known: Option<Known>, found: &[Record]) -> Checked {
        let numbers = found.iter().filter_map(|record| match &record.event()?.once {
            Some(Once::Producer(producer)) if &*producer.id == id => {
                Some(Number { epoch: producer.epoch, seq: producer.seq })
            }
            _ => None,
        });
        self.producers.check_mended(id, known, numbers.max())
    }

    /// No position of a restored log can be one that was given out.
    pub(crate) fn check_new_life(&self, bounds: &Bounds) -> Checked {
        let epoch = bounds.epochs.current();
        let seen = self.seen.keys().find(|(other, _)| *other == epoch);
        ensure(seen.is_none(), || format!("{seen:?} was given out in the life that goes on"))
    }

    /// Without limits the log begins at the latest with the first event that nobody deleted.
    pub(crate) fn check_beginning(&self, bounds: &Bounds) -> Checked {
        let early = self
            .events
            .iter()
            .find(|(seq, event)| **seq < bounds.oldest && self.is_there(**seq, event, Seq::ZERO));
        ensure(early.is_none(), || format!("the log begins at {:?}, and {early:?} is alive", bounds.oldest))
    }

    /// What a topic's readers should find.
    fn of_topic(&self, name: &str, bounds: &Bounds, fold: &Fold) -> Vec<String> {
        let events = self.events.range(bounds.oldest.max(self.gone(name, fold).next())..);
        events
            .filter(|(_, event)| event.topics.contains(&name))
            .map(|(_, event)| event.data.clone())
            .collect()
    }

    /// A topic's readers find exactly what they should.
    pub(crate) fn check_topic(&self, name: &str, found: &[Record], bounds: &Bounds, fold: &Fold) -> Checked {
        let found: Vec<String> = found.iter().map(text).collect();
        let expected = self.of_topic(name, bounds, fold);
        ensure(found == expected, || format!("{name} has {found:?} instead of {expected:?}"))
    }

    /// Whoever missed an event is told a gap.
    pub(crate) fn check_gaps(&self, fold: &Fold, bounds: &Bounds) -> Checked {
        for (seq, event) in &self.events {
            for name in &event.topics {
                let gone = self.gone_through.get(name).copied().unwrap_or_default();
                if *seq < bounds.oldest || *seq <= gone {
                    let lost = fold.lost_through(&Selectors::one(topic(name)), Seq::ZERO);
                    ensure(lost >= *seq, || {
                        format!(
                            "{name} lost {seq:?} and tells a gap to {lost:?} only; oldest {:?}, gone {gone:?}, {:?}",
                            bounds.oldest,
                            fold.get(name)
                        )
                    })?;
                }
            }
        }
        Ok(())
    }

    fn settle_doubts(&mut self, found: &[Record]) -> Checked {
        let place: HashMap<String, Seq> = found.iter().map(|record| (text(record), record.seq)).collect();
        let times: HashMap<Seq, u64> = found.iter().map(|record| (record.seq, record.time_ms)).collect();
        for wish in std::mem::take(&mut self.open) {
            self.unseen.extend(wish.deeds.iter().filter_map(|deed| match deed {
                Deed::Event { data, ephemeral: false, .. } if !place.contains_key(data) => Some(data.clone()),
                _ => None,
            }));
            let mark = wish.deeds.iter().find_map(|deed| match deed {
                Deed::Event { data, .. } => place.get(data).copied(),
                _ => None,
            });
            let Some(mark) = mark else { continue };
            for (at, deed) in wish.deeds.iter().enumerate() {
                let seq = match deed {
                    Deed::Event { data, .. } => match place.get(data) {
                        Some(seq) => *seq,
                        // Hidden by a deletion in the same round, or refused, or never stored.
                        None => continue,
                    },
                    _ => Seq(mark.0 - (wish.deeds.len() - 1 - at) as u64),
                };
                // A control that changed nothing has no place: there stands what came before it.
                if self.deeds.contains_key(&seq) {
                    continue;
                }
                if let Deed::Event { number: Some(token), ephemeral, .. } = deed {
                    self.producers.accept(token, seq, None, !ephemeral)?;
                }
                self.apply(deed, seq, times.get(&seq).copied().unwrap_or(self.now_ms))?;
            }
            let is_new = |number: &Option<Token>| number.is_none_or(|token| token.is_new);
            let events = wish.deeds.iter().filter_map(|deed| match deed {
                Deed::Event { data, number, ephemeral: false, .. } if is_new(number) => {
                    Some(place.contains_key(data))
                }
                _ => None,
            });
            let events: Vec<bool> = events.collect();
            let is_half = wish.atomic && events.contains(&true) && events.contains(&false);
            ensure(!is_half, || format!("an atomic submission is there in part: {wish:?}"))?;
        }
        Ok(())
    }
}
