//! What the records say of each topic: a pure fold, the same for everybody who reads the log.
//!
//! **Invariant:** applying the same records and trims in the same order gives the same state, wherever it is
//! done: in the store's judge (ahead of the disk), in the hub (at the visible head), in a restart.
//! **Invariant:** memory is bounded by the topics that have history or a declaration. What is dropped raises
//! `forgotten`, so that a reader who might have missed something there is told so.

mod table;

use std::fmt;
use std::sync::Arc;

use crate::ports::Trimmed;
use crate::position::Seq;
use crate::record::{Control, Record, What};
use crate::selector::Selectors;
use crate::topic::{InvalidTopic, TopicConfig, TopicName};
use table::Table;
pub(crate) use table::{Look, Noted, Place};

/// The state of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// Where it came to be (again, after a deletion); `ZERO` for one that is deleted and not yet forgotten.
    pub created: Seq,
    /// Its last event; `ZERO` if it has none.
    pub last: Seq,
    /// Its last event that is not private.
    pub last_public: Seq,
    /// Its last event says that the topic's value is gone ([`crate::frame::TOMBSTONE_EVENT`]).
    pub last_is_tombstone: bool,
    /// Every event of it up to here is gone (trimmed or deleted), `ZERO` if none ever was.
    pub trimmed: Seq,
    /// Where it was closed.
    pub closed: Option<Seq>,
    /// What was declared, if anything.
    pub config: Option<Arc<TopicConfig>>,
    /// The number of the loss (counted in this process) that raised `trimmed` last; not part of the state.
    pub lost_at: LossCount,
}

/// What of a topic's state is at hand without its name and the rest.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Its last event.
    pub last: Seq,
    /// Every event of it up to here is gone.
    pub trimmed: Seq,
    /// Whether something was declared.
    pub is_declared: bool,
}

/// A count of losses: a note to readers, the same to whoever compares states.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossCount(pub u64);

impl PartialEq for LossCount {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LossCount {}

impl TopicState {
    /// Whether the topic is there: it was published to or declared, and not deleted since.
    pub fn exists(&self) -> bool {
        self.created > Seq::ZERO
    }

    /// Whether its events are delivered live only.
    pub fn is_ephemeral(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.ephemeral)
    }

    /// Whether its data may be any bytes.
    pub fn is_binary(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.is_binary())
    }
}

/// The state of all topics. A copy shares with its original what neither changed since: it takes microseconds.
#[derive(Clone, Default)]
pub struct Fold {
    topics: Table,
    /// A topic that is not in the table may have lost events up to here.
    forgotten: Seq,
    /// No topic lost anything past here: a bound that spares a scan, not a state (an undo may leave it high).
    trimmed_max: Seq,
    losses: u64,
    forgotten_at: u64,
    /// Topics that have nothing left to tell before this place are forgotten; not part of the state.
    swept: Seq,
}

impl PartialEq for Fold {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(name, state): (&str, TopicState)| other.get(name) == Some(state);
        self.len() == other.len() && self.forgotten == other.forgotten && self.iter().all(is_same)
    }
}

impl Eq for Fold {}

impl fmt::Debug for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forgotten {:?}, ", self.forgotten)?;
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Fold {
    /// Puts a fold together from a checkpoint: what [`Self::iter`] and [`Self::forgotten`] gave.
    pub fn restore(topics: impl IntoIterator<Item = (TopicName, TopicState)>, forgotten: Seq) -> Self {
        let mut fold = Self { forgotten, trimmed_max: forgotten, ..Self::default() };
        for (name, state) in topics {
            fold.trimmed_max = fold.trimmed_max.max(state.trimmed);
            fold.topics.put(name.as_str(), &state);
        }
        fold
    }

    /// Room for so many more topics: spares some growth while a checkpoint is read.
    pub fn reserve(&mut self, count: usize) {
        self.topics.reserve(count);
    }

    /// Puts one more topic back, one that is not there yet.
    ///
    /// # Errors
    /// [`InvalidTopic`]: no topic has this name.
    pub fn restore_topic(&mut self, name: &str, state: &TopicState) -> Result<(), InvalidTopic> {
        TopicName::check(name)?;
        self.trimmed_max = self.trimmed_max.max(state.trimmed);
        self.topics.add(name, state);
        Ok(())
    }

    /// All topics, also deleted ones that are not yet forgotten, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TopicState)> {
        self.topics.iter().map(|look| (look.name(), look.state()))
    }

    /// The topics that a glance says are wanted: what is not costs next to nothing.
    pub fn iter_where(&self, is_wanted: impl Fn(Glance) -> bool) -> impl Iterator<Item = (&str, TopicState)> {
        let is_wanted = move |look: &Look<'_>| {
            let (last, trimmed, is_declared) = (look.last(), look.trimmed(), look.is_declared());
            is_wanted(Glance { last, trimmed, is_declared })
        };
        self.topics.iter().filter(is_wanted).map(|look| (look.name(), look.state()))
    }

    /// The names of all topics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|look| look.name())
    }

    /// A topic that is not in the table may have lost events up to here.
    pub fn forgotten(&self) -> Seq {
        self.forgotten
    }

    /// One topic.
    pub fn get(&self, topic: &str) -> Option<TopicState> {
        self.topics.get(topic).map(|look| look.state())
    }

    /// Every event of the topic up to here is gone.
    pub fn trimmed(&self, topic: &str) -> Seq {
        self.topics.get(topic).map_or(self.forgotten, |look| look.trimmed())
    }

    /// How many topics are in the table.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topics.len() == 0
    }

    /// Where a topic stands in here, as long as none is removed: a look-up that is made once.
    pub(crate) fn place(&self, topic: &str) -> Option<Place> {
        self.topics.place(topic)
    }

    pub(crate) fn at(&self, place: Option<Place>) -> Option<Look<'_>> {
        self.topics.at(place?)
    }

    /// Takes the next record into account.
    pub fn apply(&mut self, record: &Record) {
        for topic in &record.topics {
            if self.note(self.place(topic.as_str()), record).is_none() {
                self.apply_to(topic, record);
            }
        }
    }

    /// Takes a record into account for one of its topics, if that is all that there is to it: one more public event of
    /// a topic that exists, after a public one or none. What has to be forgotten to take it back, if it was.
    pub(crate) fn note(&mut self, place: Option<Place>, record: &Record) -> Option<Noted> {
        let event = record.event().filter(|event| !event.private && !event.ephemeral)?;
        self.topics.note_public(place?, record.seq, event.is_tombstone())
    }

    /// Takes a record into account for one of its topics.
    pub(crate) fn apply_to(&mut self, topic: &TopicName, record: &Record) {
        match &record.what {
            // Not in the store, so not in the state: a fold over what is stored is the same after a restart.
            What::Event(event) if event.ephemeral => {}
            What::Event(event) => self.change(topic, record.seq, |state| {
                (state.last, state.last_is_tombstone) = (record.seq, event.is_tombstone());
                if !event.private {
                    state.last_public = record.seq;
                }
            }),
            What::Control(Control::Configure(config)) => {
                let config = Arc::new(config.clone());
                self.change(topic, record.seq, |state| state.config = Some(config));
            }
            What::Control(Control::Close) => {
                self.change(topic, record.seq, |state| state.closed = Some(record.seq));
            }
            What::Control(Control::Delete) => {
                // Up to its last event, not to here: who has seen that one missed nothing.
                // One that was forgotten (a replay over what retention removed) may have lost events before.
                let new = || TopicState { trimmed: self.forgotten, ..TopicState::default() };
                let state = self.get(topic.as_str()).unwrap_or_else(new);
                // What was never stored is not counted in `last`.
                let last = if state.is_ephemeral() { record.seq } else { state.last };
                let trimmed = state.trimmed.max(last);
                self.losses += 1;
                let lost_at = LossCount(self.losses);
                self.topics.put(topic.as_str(), &TopicState { trimmed, lost_at, ..TopicState::default() });
                self.trimmed_max = self.trimmed_max.max(trimmed);
            }
            What::Control(Control::Trim { through }) => self.lose(topic, *through),
            // It names no topic.
            What::Control(Control::Lost) => {}
        }
    }

    /// Takes into account that a topic lost its events up to and with `through`.
    pub fn lose(&mut self, topic: &TopicName, through: Seq) {
        self.losses += u64::from(self.lose_as(topic, through, self.losses + 1));
    }

    /// Whether anything was lost.
    fn lose_as(&mut self, topic: &TopicName, through: Seq, number: u64) -> bool {
        let Some(look) = self.topics.get(topic.as_str()) else { return false };
        // What it never had it cannot lose: a quiet topic is no reason for a gap.
        let through = through.min(look.last());
        self.trimmed_max = self.trimmed_max.max(through.max(look.trimmed()));
        through > look.trimmed()
            && self.topics.change(topic.as_str(), |state| {
                (state.trimmed, state.lost_at) = (through, LossCount(number));
            })
    }

    /// Takes into account what the store's own limits removed, and forgets the topics that have nothing left to
    /// tell: no history, no declaration, not closed within the history. Linear in the topics; once per removed segment.
    pub fn trim(&mut self, trimmed: &Trimmed) {
        let number = self.losses + 1;
        for (topic, through) in &trimmed.topics {
            if self.lose_as(topic, *through, number) {
                self.losses = number;
            }
        }
        let oldest = trimmed.through.next();
        if oldest <= self.swept && trimmed.topics.iter().all(|(_, through)| *through >= oldest) {
            // Nobody's history ends before the log's now who had some before.
            return;
        }
        self.swept = oldest;
        let mut forgotten = self.forgotten;
        let tells_nothing = |look: &Look<'_>| {
            let history_gone =
                look.last() <= look.trimmed() && look.trimmed() < oldest && look.created() < oldest;
            history_gone && !look.is_declared() && look.closed().is_none_or(|closed| closed < oldest)
        };
        let gone: Vec<Box<str>> = self
            .topics
            .iter()
            .filter(tells_nothing)
            .map(|look| {
                forgotten = forgotten.max(look.trimmed());
                look.name().into()
            })
            .collect();
        gone.iter().for_each(|name| self.topics.remove(name));
        if forgotten > self.forgotten {
            self.losses += 1;
            self.forgotten_at = self.losses;
        }
        self.forgotten = forgotten;
        self.trimmed_max = self.trimmed_max.max(forgotten);
    }

    /// No topic lost anything past here.
    pub fn trimmed_max(&self) -> Seq {
        self.trimmed_max
    }

    /// How many losses there were in this process.
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// As [`Self::lost_through`], counting only what was lost after the loss number `told`.
    pub fn lost_since(&self, selectors: &Selectors, after: Seq, told: u64) -> Seq {
        if self.trimmed_max <= after || self.losses <= told {
            return Seq::ZERO;
        }
        let forgotten = if self.forgotten_at > told { self.forgotten } else { Seq::ZERO };
        let news = |look: Look<'_>| if look.lost_at().0 > told { look.trimmed() } else { Seq::ZERO };
        match selectors.exact() {
            Some(names) => {
                names.map(|n| self.topics.get(n.as_str()).map_or(forgotten, news)).max().unwrap_or_default()
            }
            None => {
                let of = |look: Look<'_>| {
                    let is_news = look.trimmed() > after && news(look) > after;
                    (is_news && selectors.matches(look.name())).then(|| look.trimmed())
                };
                self.topics.iter().filter_map(of).max().unwrap_or_default().max(forgotten)
            }
        }
    }

    /// The last place that the selected topics may have lost: whoever has considered all up to there missed nothing.
    /// `after` is where the asker stands; what lies before it need not be exact.
    pub fn lost_through(&self, selectors: &Selectors, after: Seq) -> Seq {
        if self.trimmed_max <= after {
            return Seq::ZERO;
        }
        match selectors.exact() {
            Some(names) => names.map(|name| self.trimmed(name.as_str())).max().unwrap_or_default(),
            None => {
                let of = |look: Look<'_>| {
                    (look.trimmed() > after && selectors.matches(look.name())).then(|| look.trimmed())
                };
                self.topics.iter().filter_map(of).max().unwrap_or_default().max(self.forgotten)
            }
        }
    }

    /// Whether all of the selected topics are closed (never so with a glob: a new topic may come); if so, the
    /// last place at which anything happened to them.
    pub fn ended(&self, selectors: &Selectors) -> Option<Seq> {
        let mut last = None;
        for name in selectors.exact()? {
            last = last.max(Some(self.topics.get(name.as_str())?.closed()?));
        }
        last
    }

    /// Puts a state back (the judge's undo): `None` removes the topic.
    pub(crate) fn put_back(&mut self, topic: &TopicName, state: Option<&TopicState>) {
        match state {
            Some(state) => self.topics.put(topic.as_str(), state),
            None => self.topics.remove(topic.as_str()),
        }
    }

    /// Takes back what was noted last.
    pub(crate) fn forget(&mut self, noted: &Noted) {
        self.topics.forget(noted);
    }

    /// Changes a topic, which comes to be at `seq` if it is not there.
    fn change(&mut self, topic: &TopicName, seq: Seq, change: impl FnOnce(&mut TopicState)) {
        // One that was forgotten may have lost events before it came back.
        let new = || TopicState {
            trimmed: self.forgotten,
            lost_at: LossCount(self.forgotten_at),
            ..TopicState::default()
        };
        let mut state = self.get(topic.as_str()).unwrap_or_else(new);
        if !state.exists() {
            state.created = seq;
        }
        change(&mut state);
        self.topics.put(topic.as_str(), &state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EventBody;
    use crate::selector::Selector;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    fn event(seq: u64, topic: &str) -> Record {
        Record {
            seq: Seq(seq),
            time_ms: 0,
            topics: [name(topic)].into_iter().collect(),
            what: What::Event(EventBody::default()),
        }
    }

    fn control(seq: u64, topic: &str, control: Control) -> Record {
        Record { what: What::Control(control), ..event(seq, topic) }
    }

    fn set(text: &str) -> Selectors {
        Selectors::new(vec![Selector::parse(text).unwrap()])
    }

    #[test]
    fn a_quiet_topic_is_no_reason_for_a_gap() {
        let mut fold = Fold::default();
        fold.apply(&event(5, "quiet"));
        for seq in 6..100 {
            fold.apply(&event(seq, "busy"));
        }
        fold.lose(&name("quiet"), Seq(90));
        fold.lose(&name("busy"), Seq(90));
        assert_eq!(fold.lost_through(&set("quiet"), Seq(3)), Seq(5));
        assert_eq!(fold.lost_through(&set("busy"), Seq(3)), Seq(90));
        assert_eq!(fold.lost_through(&set("never"), Seq(3)), Seq::ZERO);
        assert_eq!(fold.lost_through(&set("b*"), Seq(3)), Seq(90));
        assert_eq!(fold.lost_through(&set("busy"), Seq(90)), Seq::ZERO);
    }

    #[test]
    fn a_forgotten_topic_still_tells_its_gap() {
        let mut fold = Fold::default();
        fold.apply(&event(5, "a"));
        fold.trim(&Trimmed { through: Seq(50), topics: vec![] });
        assert!(!fold.is_empty(), "it has history");
        fold.trim(&Trimmed { through: Seq(40), topics: vec![(name("a"), Seq(5))] });
        assert!(fold.is_empty());
        assert_eq!(fold.lost_through(&set("a"), Seq(3)), Seq(5));
        assert_eq!(fold.lost_through(&set("*"), Seq(3)), Seq(5));
        assert_eq!(fold.lost_through(&set("a"), Seq(5)), Seq::ZERO);
        let mut replayed = fold.clone();
        fold.apply(&event(100, "a"));
        assert_eq!(fold.lost_through(&set("a"), Seq(3)), Seq(5), "also when it came back");
        replayed.apply(&control(100, "a", Control::Delete));
        assert_eq!(replayed.lost_through(&set("a"), Seq(3)), Seq(5), "also when it is deleted once more");
    }

    #[test]
    fn what_is_deleted_or_closed_is_forgotten_with_its_history() {
        let mut fold = Fold::default();
        fold.apply(&event(1, "deleted"));
        fold.apply(&control(2, "deleted", Control::Delete));
        fold.apply(&control(3, "closed", Control::Close));
        fold.apply(&control(4, "declared", Control::Configure(TopicConfig::default())));
        fold.trim(&Trimmed { through: Seq(2), topics: vec![] });
        assert_eq!(fold.len(), 2);
        fold.trim(&Trimmed { through: Seq(9), topics: vec![] });
        assert_eq!(fold.names().collect::<Vec<_>>(), ["declared"]);
    }

    #[test]
    fn what_is_not_stored_leaves_no_trace() {
        let mut fold = Fold::default();
        let body = EventBody { ephemeral: true, ..EventBody::default() };
        fold.apply(&Record { what: What::Event(body), ..event(1, "typing/1") });
        assert_eq!(fold, Fold::default());
    }

    #[test]
    fn deletion_hides_all_and_allows_a_new_life() {
        let mut fold = Fold::default();
        fold.apply(&event(1, "a"));
        fold.apply(&control(2, "a", Control::Close));
        assert_eq!(fold.ended(&set("a")), Some(Seq(2)));
        fold.apply(&control(3, "a", Control::Delete));
        assert!(!fold.get("a").unwrap().exists());
        assert_eq!(fold.ended(&set("a")), None);
        assert_eq!(fold.lost_through(&set("a"), Seq(0)), Seq(1));
        assert_eq!(fold.lost_through(&set("a"), Seq(1)), Seq::ZERO, "who saw the last one missed nothing");
        fold.apply(&event(4, "a"));
        let state = fold.get("a").unwrap();
        assert_eq!((state.created, state.last, state.trimmed, state.closed), (Seq(4), Seq(4), Seq(1), None));
    }

    #[test]
    fn a_checkpoint_restores_the_same_fold() {
        let mut fold = Fold::default();
        fold.apply(&event(1, "a"));
        fold.apply(&control(
            2,
            "b",
            Control::Configure(TopicConfig { ephemeral: true, ..TopicConfig::default() }),
        ));
        fold.lose(&name("a"), Seq(1));
        fold.apply(&event(3, "c"));
        let copy = Fold::restore(fold.iter().map(|(n, state)| (name(n), state)), fold.forgotten());
        assert_eq!(copy, fold);
    }
}
