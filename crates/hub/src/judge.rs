//! The judge: from an operation and the state it meets to a record or a refusal. Pure; reads no clock.
//!
//! The embedded log judges before it writes, an engine's hub when it reads; both use this, so all hubs judge
//! alike. Changes stand at once, so that operations of one batch see each other, and can be taken back until
//! [`Judge::settle`]: a batch that could not be written leaves no trace.
//!
//! **Order of calls:** judge, write, sync, show, [`Judge::settle`], answer; or, if the write failed,
//! [`Judge::rollback`]. One round at a time; a checkpoint is taken only of a settled state.

use std::cmp::Ordering;
use std::sync::Arc;

use ahash::RandomState;
use smallvec::SmallVec;

use crate::fold::{Fold, TopicState};
use crate::keys::{Before, Entry, KeyState, KeyWindow, Keys, ProducerState};
use crate::ports::{HeldKey, HeldProducer, Op, Outcome, Publish, Refusal, Submission, Trimmed};
use crate::position::{Epochs, Position, Seq};
use crate::record::{Control, EventBody, ItemKey, Once, Producer, Record, Topics, What};
use crate::topic::{TopicConfig, TopicName};

/// The state that operations are judged against: the fold and the keys, ahead of what is durable.
#[derive(Debug)]
pub struct Judge {
    fold: Fold,
    keys: Keys,
    epochs: Arc<Epochs>,
    last: Seq,
    /// The latest time it was told: a clock that goes back does not make keys older.
    time_ms: u64,
    undo: Vec<Undo>,
    names: Names,
}

#[derive(Debug)]
enum Undo {
    Topic(TopicName, Option<TopicState>),
    Key(Before),
}

/// A moment to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    undo: usize,
    last: Seq,
}

impl Judge {
    /// A judge who knows everything up to `last`.
    pub fn new(fold: Fold, keys: Keys, epochs: Arc<Epochs>, last: Seq) -> Self {
        Self { fold, keys, epochs, last, time_ms: 0, undo: Vec::new(), names: Names::default() }
    }

    /// The fold, ahead of what is durable.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The keys, ahead of what is durable.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The last place that was given out.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Whether nothing waits to be settled or taken back: only then may a checkpoint be taken.
    pub fn is_settled(&self) -> bool {
        self.undo.is_empty()
    }

    /// Takes a record into account that is in the log already (a restart). One that is known already (a replay
    /// over a checkpoint) changes nothing.
    pub fn replay(&mut self, record: &Record) {
        if record.seq <= self.last {
            return;
        }
        self.fold.apply(record);
        if let Some(once) = record.event().and_then(|event| event.once.as_ref()) {
            self.keys.replay(once, record.seq, record.time_ms);
        }
        self.last = self.last.max(record.seq);
    }

    /// Never gives out a place up to and with `seq` again.
    pub fn skip_to(&mut self, seq: Seq) {
        self.last = self.last.max(seq);
    }

    /// History that the store's own limits removed. Not undone by [`Self::rollback`]: what is gone is gone.
    pub fn trim(&mut self, trimmed: &Trimmed) {
        for saved in &mut self.undo {
            if let Undo::Topic(topic, Some(state)) = saved
                && let Some((_, through)) = trimmed.topics.iter().find(|(lost, _)| lost == topic)
            {
                state.trimmed = state.trimmed.max((*through).min(state.last));
            }
        }
        self.fold.trim(trimmed);
    }

    /// Judges a submission. Accepted operations append their records to `out` and change the state.
    pub fn judge(&mut self, submission: Submission, out: &mut Vec<Record>) -> Vec<Outcome> {
        let Submission { ops, atomic, time_ms } = submission;
        self.time_ms = self.time_ms.max(time_ms);
        let (mark, records) = (self.mark(), out.len());
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut refused = false;
        for op in ops {
            if refused {
                outcomes.push(Outcome::Skipped);
                continue;
            }
            let outcome = match self.one(op, time_ms) {
                Verdict::Append { record, existed } => {
                    let position = self.position(record.seq);
                    let stored = !record.event().is_some_and(|event| event.ephemeral);
                    out.push(record);
                    Outcome::Committed { position, existed, stored }
                }
                Verdict::Unchanged { existed } => {
                    Outcome::Unchanged { position: self.position(self.last), existed }
                }
                Verdict::Held(held) => Outcome::Held(held),
                Verdict::Repeated(held) => Outcome::Repeated(held),
                Verdict::Refuse(refusal) => {
                    refused = true;
                    Outcome::Refused(refusal)
                }
            };
            outcomes.push(outcome);
        }
        if atomic && refused {
            self.rollback(mark);
            out.truncate(records);
            for outcome in &mut outcomes {
                if !matches!(outcome, Outcome::Refused(_)) {
                    *outcome = Outcome::Refused(Refusal::WithOthers);
                }
            }
        }
        outcomes
    }

    /// The present moment.
    pub fn mark(&self) -> Mark {
        Mark { undo: self.undo.len(), last: self.last }
    }

    /// Takes back everything since `mark`, places included: nobody has seen them.
    pub fn rollback(&mut self, mark: Mark) {
        self.last = mark.last;
        while self.undo.len() > mark.undo {
            match self.undo.pop() {
                Some(Undo::Topic(topic, state)) => self.fold.put_back(&topic, state.as_ref()),
                Some(Undo::Key(before)) => self.keys.undo(before),
                None => break,
            }
        }
    }

    /// What was judged so far is durable and stays. Old keys leave the window.
    pub fn settle(&mut self, time_ms: u64) {
        self.undo.clear();
        self.time_ms = self.time_ms.max(time_ms);
        self.keys.expire(self.time_ms);
    }

    /// The window in which repetitions are known.
    pub fn key_window(&self) -> KeyWindow {
        self.keys.window()
    }

    fn one(&mut self, op: Op, time_ms: u64) -> Verdict {
        match op {
            Op::Publish(publish) => self.publish(publish, time_ms),
            Op::Configure { topic, config } => self.configure(topic, config, time_ms),
            Op::Close { topic } => {
                let state = self.fold.get(topic.as_str());
                let existed = state.as_ref().is_some_and(TopicState::exists);
                if state.is_some_and(|state| state.closed.is_some()) {
                    return Verdict::Unchanged { existed };
                }
                self.control(topic, Control::Close, time_ms, existed)
            }
            Op::Delete { topic } => {
                if !self.fold.get(topic.as_str()).is_some_and(|state| state.exists()) {
                    return Verdict::Unchanged { existed: false };
                }
                self.control(topic, Control::Delete, time_ms, true)
            }
            Op::Trim { topic, through } => {
                let state = self.fold.get(topic.as_str());
                let existed = state.as_ref().is_some_and(TopicState::exists);
                if state.as_ref().is_none_or(|state| state.trimmed >= through.min(state.last)) {
                    return Verdict::Unchanged { existed };
                }
                // What it never had it cannot lose, now or when this is read again.
                let through = state.map_or(through, |state| through.min(state.last));
                self.control(topic, Control::Trim { through }, time_ms, existed)
            }
        }
    }

    fn publish(&mut self, publish: Publish, time_ms: u64) -> Verdict {
        // A repetition is answered before anything else: the topic may have been closed since.
        if let Some(once) = &publish.once
            && let Some(verdict) = self.repetition(once)
        {
            return verdict;
        }
        // Looked up once: this is what judging an event costs.
        let states: States = publish.topics.iter().map(|topic| self.fold.get(topic.as_str())).collect();
        let has =
            |state: &Option<TopicState>, what: fn(&TopicState) -> bool| state.as_ref().is_some_and(what);
        for (topic, state) in publish.topics.iter().zip(&states) {
            if let Some(at) = state.as_ref().and_then(|state| state.closed) {
                return Verdict::Refuse(Refusal::Closed { topic: topic.clone(), at: self.position(at) });
            }
        }
        let binary = states.first().is_some_and(|state| has(state, TopicState::is_binary));
        let mut kinds = publish.topics.iter().zip(&states);
        if let Some((topic, _)) = kinds.find(|(_, state)| has(state, TopicState::is_binary) != binary) {
            return Verdict::Refuse(Refusal::MixedKinds { topic: topic.clone() });
        }
        if !binary && !publish.utf8 {
            let topic = publish.topics.first().cloned();
            return topic.map_or(Verdict::Refuse(Refusal::Stopped), |topic| {
                Verdict::Refuse(Refusal::NotText { topic })
            });
        }
        let declared_ephemeral = states.iter().all(|state| has(state, TopicState::is_ephemeral));
        let existed = states.first().is_some_and(|state| has(state, TopicState::exists));
        let event = EventBody {
            private: publish.private,
            binary,
            ephemeral: publish.ephemeral || declared_ephemeral,
            id: publish.id,
            event: publish.event,
            retry_ms: publish.retry_ms,
            data: publish.data,
            once: publish.once,
        };
        self.append(publish.topics, states, What::Event(event), time_ms, existed)
    }

    /// What becomes of an event that was accepted before, or must not come yet; `None`: it is the next one.
    fn repetition(&mut self, once: &Once) -> Option<Verdict> {
        let known = self.keys.entry(once);
        match once {
            Once::Item(item) => self.repeated_item(item, known.map(Entry::key)),
            Once::Producer(event) => self.repeated_event(event, known.map(Entry::producer)),
        }
    }

    fn repeated_event(&self, event: &Producer, known: Option<ProducerState>) -> Option<Verdict> {
        let Producer { epoch, seq: got, .. } = *event;
        let refuse = |refusal| Some(Verdict::Refuse(refusal));
        let Some(state) = known else {
            return (got > 0).then_some(Verdict::Refuse(Refusal::ProducerAhead { expected: 0, got }));
        };
        let expected = state.seq.saturating_add(1);
        match epoch.cmp(&state.epoch) {
            Ordering::Less => refuse(Refusal::StaleEpoch { current: state.epoch, got: epoch }),
            Ordering::Greater if got > 0 => refuse(Refusal::EpochNotAtZero { epoch, got }),
            Ordering::Equal if got <= state.seq => {
                let last = self.position(state.last);
                Some(Verdict::Repeated(HeldProducer { seq: state.seq, last, got }))
            }
            Ordering::Equal if got > expected => refuse(Refusal::ProducerAhead { expected, got }),
            Ordering::Greater | Ordering::Equal => None,
        }
    }

    fn repeated_item(&self, item: &ItemKey, known: Option<KeyState>) -> Option<Verdict> {
        let expected = known.map_or(0, |state| state.count);
        match known {
            Some(state) if item.index < expected => Some(Verdict::Held(self.held(state))),
            _ if item.index > expected => {
                Some(Verdict::Refuse(Refusal::KeyAhead { expected, got: item.index }))
            }
            _ => None,
        }
    }

    fn configure(&mut self, topic: TopicName, config: TopicConfig, time_ms: u64) -> Verdict {
        let state = self.fold.get(topic.as_str());
        let existed = state.as_ref().is_some_and(TopicState::exists);
        if let Some(state) = state.filter(TopicState::exists) {
            if state.config.as_deref() == Some(&config) {
                return Verdict::Unchanged { existed };
            }
            if let Some(at) = state.closed {
                return Verdict::Refuse(Refusal::Closed { topic, at: self.position(at) });
            }
            let has_events = state.last > state.trimmed;
            if has_events && state.is_binary() != config.is_binary() {
                let declared = state.config.as_ref().map_or_else(
                    || TopicConfig::default().content_type,
                    |declared| declared.content_type.clone(),
                );
                return Verdict::Refuse(Refusal::ContentTypeFixed { topic, declared });
            }
        }
        self.control(topic, Control::Configure(config), time_ms, existed)
    }

    fn control(&mut self, topic: TopicName, control: Control, time_ms: u64, existed: bool) -> Verdict {
        let states = States::from_iter([self.fold.get(topic.as_str())]);
        self.append(Topics::from_iter([topic]), states, What::Control(control), time_ms, existed)
    }

    /// Appends; `states` are the topics' present ones.
    fn append(
        &mut self,
        mut topics: Topics,
        states: States,
        what: What,
        time_ms: u64,
        existed: bool,
    ) -> Verdict {
        self.last = self.last.next();
        for (topic, state) in topics.iter_mut().zip(states) {
            self.names.share(topic);
            self.undo.push(Undo::Topic(topic.clone(), state));
        }
        let record = Record { seq: self.last, time_ms, topics, what };
        self.fold.apply(&record);
        if let Some(once) = record.event().and_then(|event| event.once.as_ref()) {
            self.undo.extend(self.keys.accept(once, record.seq, self.time_ms).map(Undo::Key));
        }
        Verdict::Append { record, existed }
    }

    fn held(&self, state: KeyState) -> HeldKey {
        HeldKey { count: state.count, first: self.position(state.first), last: self.position(state.last) }
    }

    fn position(&self, seq: Seq) -> Position {
        self.epochs.position(seq)
    }
}

/// What is known of a record's topics, in their order.
type States = SmallVec<[Option<TopicState>; 1]>;

/// Names that were used lately, so that the records of a topic share one.
#[derive(Debug, Default)]
struct Names {
    places: Vec<Option<TopicName>>,
    hasher: RandomState,
}

impl Names {
    const PLACES: u64 = 4_096;

    fn share(&mut self, name: &mut TopicName) {
        if self.places.is_empty() {
            self.places.resize(usize::try_from(Self::PLACES).unwrap_or(0), None);
        }
        let at = usize::try_from(self.hasher.hash_one(name.as_str()) % Self::PLACES).unwrap_or(0);
        match self.places.get_mut(at) {
            Some(Some(known)) if known == name => *name = known.clone(),
            Some(place) => *place = Some(name.clone()),
            None => {}
        }
    }
}

enum Verdict {
    Append { record: Record, existed: bool },
    Unchanged { existed: bool },
    Held(HeldKey),
    Repeated(HeldProducer),
    Refuse(Refusal),
}

/// Puts a key's scope and text together.
///
/// # Errors
/// `None` if it would be longer than [`ItemKey::BYTES_MAX`].
pub fn scoped_key(scope: &str, key: &str) -> Option<Arc<str>> {
    (scope.len() + 1 + key.len() <= ItemKey::BYTES_MAX).then(|| format!("{scope}\0{key}").into())
}

#[cfg(test)]
mod tests;
