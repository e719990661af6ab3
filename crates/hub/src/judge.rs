//! The judge: from an operation and the state it meets to a record or a refusal. Pure; reads no clock.
//!
//! The embedded log judges before it writes, an engine's hub when it reads; both use this, so all hubs judge
//! alike. Changes stand at once, so that operations of one batch see each other, and can be taken back until
//! [`Judge::settle`]: a batch that could not be written leaves no trace.
//!
//! **Order of calls:** judge, write, sync, show, [`Judge::settle`], answer; or, if the write failed,
//! [`Judge::rollback`]. One round at a time; a checkpoint is taken, and history removed, only of a settled state.

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::fold::{Fold, Look, Noted, Place, TopicState};
use crate::keys::{Before, Entry, KeyState, KeyWindow, Keys, ProducerState};
use crate::ports::{HeldKey, HeldProducer, Op, Outcome, Publish, Refusal, Submission, Trimmed};
use crate::position::{Epochs, Position, Seq};
use crate::record::{Control, EventBody, ItemKey, Once, Producer, Record, Topics, What, gather};
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
    /// One more event of a topic: nearly all are of this kind, which is why it is small.
    Event(Noted),
    Topic(Box<(TopicName, Option<TopicState>)>),
    Key(Box<Before>),
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

    /// Whether nothing waits to be settled or taken back: only then may a checkpoint be taken, or history removed.
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

    /// History that the store's own limits removed. To be called between batches: what would be taken back stands in
    /// rows, of which this may remove some, so what was judged before it stands.
    pub fn trim(&mut self, trimmed: &Trimmed) {
        self.undo.clear();
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
            let outcome = match self.one(op, time_ms, out) {
                Verdict::Appended { existed, stored } => {
                    Outcome::Committed { position: self.position(self.last), existed, stored }
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
                Some(Undo::Event(noted)) => self.fold.forget(&noted),
                Some(Undo::Topic(before)) => self.fold.put_back(&before.0, before.1.as_ref()),
                Some(Undo::Key(before)) => self.keys.undo(*before),
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

    /// Appends its record, if it has one, to `out`.
    fn one(&mut self, op: Op, time_ms: u64, out: &mut Vec<Record>) -> Verdict {
        match op {
            Op::Publish(publish) => self.publish(publish, time_ms, out),
            Op::Configure { topic, config } => self.configure(topic, config, time_ms, out),
            Op::Close { topic } => {
                let state = self.fold.get(topic.as_str());
                let existed = state.as_ref().is_some_and(TopicState::exists);
                if state.is_some_and(|state| state.closed.is_some()) {
                    return Verdict::Unchanged { existed };
                }
                self.control(topic, Control::Close, time_ms, existed, out)
            }
            Op::Delete { topic } => {
                if !self.fold.get(topic.as_str()).is_some_and(|state| state.exists()) {
                    return Verdict::Unchanged { existed: false };
                }
                self.control(topic, Control::Delete, time_ms, true, out)
            }
            Op::Trim { topic, through } => {
                let state = self.fold.get(topic.as_str());
                let existed = state.as_ref().is_some_and(TopicState::exists);
                if state.as_ref().is_none_or(|state| state.trimmed >= through.min(state.last)) {
                    return Verdict::Unchanged { existed };
                }
                // What it never had it cannot lose, now or when this is read again.
                let through = state.map_or(through, |state| through.min(state.last));
                self.control(topic, Control::Trim { through }, time_ms, existed, out)
            }
        }
    }

    fn publish(&mut self, publish: Publish, time_ms: u64, out: &mut Vec<Record>) -> Verdict {
        // A repetition is answered before anything else: the topic may have been closed since.
        if let Some(once) = &publish.once
            && let Some(verdict) = self.repetition(once)
        {
            return verdict;
        }
        // Looked up once: this is what judging an event costs.
        let places: Places = gather(publish.topics.iter().map(|topic| self.fold.place(topic.as_str())));
        let config = |place: &Option<Place>| self.fold.at(*place).and_then(|look| look.config());
        let is_binary = |place: &Option<Place>| config(place).is_some_and(|config| config.is_binary());
        for (topic, place) in publish.topics.iter().zip(&places) {
            if let Some(at) = self.fold.at(*place).and_then(|look| look.closed()) {
                return Verdict::Refuse(Refusal::Closed { topic: topic.clone(), at: self.position(at) });
            }
        }
        let binary = places.first().is_some_and(is_binary);
        let mut kinds = publish.topics.iter().zip(&places);
        if let Some((topic, _)) = kinds.find(|(_, place)| is_binary(place) != binary) {
            return Verdict::Refuse(Refusal::MixedKinds { topic: topic.clone() });
        }
        if !binary && !publish.utf8 {
            let topic = publish.topics.first().cloned();
            return topic.map_or(Verdict::Refuse(Refusal::Stopped), |topic| {
                Verdict::Refuse(Refusal::NotText { topic })
            });
        }
        let declared_ephemeral =
            places.iter().all(|place| config(place).is_some_and(|config| config.ephemeral));
        let existed = places.first().is_some_and(|place| self.fold.at(*place).is_some_and(exists));
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
        self.append(publish.topics, &places, What::Event(event), time_ms, existed, out)
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

    fn configure(
        &mut self,
        topic: TopicName,
        config: TopicConfig,
        time_ms: u64,
        out: &mut Vec<Record>,
    ) -> Verdict {
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
        self.control(topic, Control::Configure(config), time_ms, existed, out)
    }

    fn control(
        &mut self,
        topic: TopicName,
        control: Control,
        time_ms: u64,
        existed: bool,
        out: &mut Vec<Record>,
    ) -> Verdict {
        let places = [self.fold.place(topic.as_str())];
        self.append(Topics::from_iter([topic]), &places, What::Control(control), time_ms, existed, out)
    }

    /// Appends; `places` are those of the topics.
    fn append(
        &mut self,
        mut topics: Topics,
        places: &[Option<Place>],
        what: What,
        time_ms: u64,
        existed: bool,
        out: &mut Vec<Record>,
    ) -> Verdict {
        self.last = self.last.next();
        for (topic, place) in topics.iter_mut().zip(places) {
            self.names.share(topic, *place);
        }
        let record = Record { seq: self.last, time_ms, topics, what };
        for (topic, place) in record.topics.iter().zip(places) {
            if let Some(noted) = self.fold.note(*place, &record) {
                self.undo.push(Undo::Event(noted));
                continue;
            }
            let before = self.fold.at(*place).map(|look| look.state());
            self.undo.push(Undo::Topic(Box::new((topic.clone(), before))));
            self.fold.apply_to(topic, &record);
        }
        let event = record.event();
        if let Some(once) = event.and_then(|event| event.once.as_ref()) {
            let before = self.keys.accept(once, record.seq, self.time_ms);
            self.undo.extend(before.map(|before| Undo::Key(Box::new(before))));
        }
        let stored = event.is_none_or(|event| !event.ephemeral);
        out.push(record);
        Verdict::Appended { existed, stored }
    }

    fn held(&self, state: KeyState) -> HeldKey {
        HeldKey { count: state.count, first: self.position(state.first), last: self.position(state.last) }
    }

    fn position(&self, seq: Seq) -> Position {
        self.epochs.position(seq)
    }
}

/// Where a record's topics stand in the fold, in their order.
type Places = SmallVec<[Option<Place>; 1]>;

fn exists(look: Look<'_>) -> bool {
    look.created() > Seq::ZERO
}

/// Names that were used lately, so that the records of a topic share one.
#[derive(Debug, Default)]
struct Names(Vec<Option<TopicName>>);

impl Names {
    const COUNT: usize = 4_096;

    /// Topics are told apart by their places: a new one has none, so the names of its first two events are their own.
    fn share(&mut self, name: &mut TopicName, place: Option<Place>) {
        let Some(place) = place else { return };
        if self.0.is_empty() {
            self.0.resize(Self::COUNT, None);
        }
        match self.0.get_mut(place.number() % Self::COUNT) {
            Some(Some(known)) if known == name => {
                if known.is_same(name) {
                    // A publisher keeps it too, on another core.
                    *known = name.to_own();
                }
                *name = known.clone();
            }
            Some(known) => *known = Some(name.clone()),
            None => {}
        }
    }
}

enum Verdict {
    Appended { existed: bool, stored: bool },
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
