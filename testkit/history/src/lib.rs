//! The history checker: what was published, what each reader was told, and whether the two agree.
//!
//! A [`History`] is filled by a test while it runs and judged at the end. It knows nothing of hubs, sockets or
//! clocks and shares no code with what it judges: positions, order and patterns are read anew here.
//!
//! **What must hold** (each breach is a [`Violation`]):
//! - what is read was sent, by somebody, to a topic that the reader asked for and, if private, may have;
//! - a position means one value, a value has one position, and the id that is seen is the id that was acked;
//! - per reader positions rise: no hole, no inversion, no duplicate, over all its connections;
//! - after a resume at X comes the successor of X, or a told gap;
//! - whoever is caught up has seen all that was acked.
//!
//! **How to fill it**
//! ```
//! use tidings_history::{History, Publish, Reader, Start};
//!
//! let mut history = History::new();
//! let alice = history.reader(Reader::new("alice").wants(&["orders/*"]));
//! history.connected(alice, Start::Tail); // when the head of the answer is there
//! history.cursor(alice, "1.0"); // an `id:`-only block
//!
//! let paid = history.sent(Publish::new("paid 1", &["orders/1"])); // before the request goes out
//! history.acked(paid, "1.1"); // no answer: say nothing; a certain refusal: `refused`
//! history.saw(alice, "1.1", None, "paid 1");
//!
//! history.connected(alice, Start::After("1.1")); // it lost the connection and came back
//! history.caught_up(alice);
//! assert_eq!(history.check(), []);
//! ```
//!
//! **Rules for the caller.** Values are unique: put a number into each. A retry under an idempotency key is the
//! same publish; a retry without one is a new publish with a new value. Call `sent` before the request is written
//! and `acked` after its answer was read; calls of one reader are in the order in which it read. Tasks share a
//! history behind a mutex. A reader that goes back on purpose (a page reload at an older position) is a new reader.
//!
//! **Order** is (life, seq): lives rank as they first appear in any id, or as [`History::lives`] says.

#![forbid(unsafe_code)]

mod check;
mod facts;
mod kept;
mod pattern;
mod place;
pub mod trace;
mod violation;
mod walk;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use self::violation::Violation;

use self::kept::{Begin, Item, Mark, Names, Sent, Sighting, Told, View};
use self::place::{Id, Lives, Place};

/// What happened in one run. See the module for how to fill it.
#[derive(Debug, Default)]
pub struct History {
    lives: Lives,
    publishes: Vec<Sent>,
    by_value: HashMap<Box<str>, u32>,
    topics: Names,
    readers: Vec<Told>,
    sightings: Vec<Sighting>,
    /// First sighting of each hash; others follow in `Sighting::same_hash`.
    by_hash: HashMap<u64, u32>,
    marks: Vec<Mark>,
    /// Patterns whose events were removed, and up to where.
    removed: Vec<(Box<str>, Id)>,
    last_acked: Option<Place>,
    /// What contradicted itself while it was being told.
    misreports: Vec<Violation>,
}

/// An event that somebody tries to publish.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    value: &'a str,
    topics: &'a [&'a str],
    event: Option<&'a str>,
    id: Option<&'a str>,
    private: bool,
    ephemeral: bool,
}

impl<'a> Publish<'a> {
    /// A public event without a type. The value is unique in the history.
    pub fn new(value: &'a str, topics: &'a [&'a str]) -> Self {
        Self { value, topics, event: None, id: None, private: false, ephemeral: false }
    }

    /// Only for readers with a grant for one of its topics.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Never stored: it may be missed without a word, but comes in order and once.
    #[must_use]
    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }

    /// The publisher's own id: it is read as `position~id`, and an event without one as `position`.
    #[must_use]
    pub fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// Its type.
    #[must_use]
    pub fn event(mut self, event: &'a str) -> Self {
        self.event = Some(event);
        self
    }
}

/// Somebody who reads: what it asked for and what it may have, for all its connections.
#[derive(Clone, Debug)]
pub struct Reader {
    name: Box<str>,
    view: View,
    conflating: bool,
}

impl Reader {
    /// A reader who wants nothing and may have no private event.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), view: View::default(), conflating: false }
    }

    /// Topics or patterns (`*` within a segment, `**` anything) that it asks for.
    #[must_use]
    pub fn wants(mut self, patterns: &[&str]) -> Self {
        self.view.wants = boxed(patterns);
        self
    }

    /// Topics or patterns whose private events it may have.
    #[must_use]
    pub fn granted(mut self, patterns: &[&str]) -> Self {
        self.view.granted = boxed(patterns);
        self
    }

    /// Keeps only these event types (`message` is an event without one); none given keeps all.
    #[must_use]
    pub fn events(mut self, events: &[&str]) -> Self {
        self.view.events = boxed(events);
        self
    }

    /// It may be spared what a later event of the same topic supersedes.
    #[must_use]
    pub fn conflating(mut self) -> Self {
        self.conflating = true;
        self
    }
}

/// Where a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// After an id, as `Last-Event-ID` or in the query.
    After(&'a str),
    /// `from=start`: with the oldest event that is kept.
    Oldest,
    /// `from=last`: what is superseded may be missing, in all of this connection.
    Last,
    /// What comes from now on.
    Tail,
}

/// A publish of this history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishId(u32);

/// A reader of this history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId(u32);

impl History {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lives (epochs) of the log in their order, where ids of a later one may be met first. Base 36.
    pub fn lives(&mut self, epochs: &[&str]) {
        for epoch in epochs {
            if self.lives.declare(epoch).is_none() {
                self.misreports.push(Violation::NotAnId { by: "lives".into(), text: (*epoch).into() });
            }
        }
    }

    /// A life ended such that its places from `first` on were lost (`os` or `memory` mode, a restored backup):
    /// nobody is owed them any more, and whoever resumes there is owed a gap. `first` is an id of that life.
    pub fn life_ended(&mut self, first: &str) {
        let id = self.id(first);
        match id.place {
            Some(place) => self.lives.end(place),
            None => self.misreports.push(Violation::NotAnId { by: "life_ended".into(), text: id.text }),
        }
    }

    /// A publish is about to be tried.
    pub fn sent(&mut self, publish: Publish<'_>) -> PublishId {
        let index = count(self.publishes.len());
        if self.by_value.insert(publish.value.into(), index).is_some() {
            self.misreports.push(Violation::ValueSentTwice { value: publish.value.into() });
        }
        self.publishes.push(Sent {
            value: publish.value.into(),
            topics: publish.topics.iter().map(|topic| self.topics.intern(topic)).collect(),
            event: publish.event.map(Into::into),
            id: publish.id.map(Into::into),
            private: publish.private,
            ephemeral: publish.ephemeral,
            refused: false,
            acked: None,
        });
        PublishId(index)
    }

    /// It was acknowledged under this id, with or without the publisher's own. A retry that is told the same is fine.
    pub fn acked(&mut self, publish: PublishId, id: &str) {
        let id = self.id(id);
        let Some(sent) = self.publishes.get_mut(index(publish.0)) else { return self.stranger() };
        match (&sent.acked, id.place) {
            (_, None) => {
                self.misreports.push(Violation::NotAnId { by: sent.value.clone(), text: id.text });
            }
            (Some(earlier), place) if earlier.place != place => {
                self.misreports.push(Violation::AckedTwice {
                    value: sent.value.clone(),
                    first: earlier.text.clone(),
                    then: id.text,
                });
            }
            (_, place) => {
                sent.acked = Some(id);
                self.last_acked = self.last_acked.max(place);
            }
        }
    }

    /// It was refused with a word that means "not stored". A failure that leaves it open is no refusal.
    pub fn refused(&mut self, publish: PublishId) {
        match self.publishes.get_mut(index(publish.0)) {
            Some(sent) => sent.refused = true,
            None => self.stranger(),
        }
    }

    /// Events of the topics that match up to and with `through` may be gone (trimmed, deleted, retention). Say it
    /// before the hub is asked to. Readers are owed them no longer once they were told a gap or began at the oldest.
    pub fn removed(&mut self, pattern: &str, through: &str) {
        let id = self.id(through);
        self.removed.push((pattern.into(), id));
    }

    /// Somebody will read.
    pub fn reader(&mut self, reader: Reader) -> ReaderId {
        let id = count(self.readers.len());
        self.readers.push(Told {
            name: reader.name,
            view: reader.view,
            conflating: reader.conflating,
            items: Vec::new(),
        });
        ReaderId(id)
    }

    /// It is connected (again): the head of the answer was read.
    pub fn connected(&mut self, reader: ReaderId, start: Start<'_>) {
        let begin = match start {
            Start::After(text) => Begin::After(self.id(text)),
            Start::Oldest => Begin::Oldest,
            Start::Last => Begin::Last,
            Start::Tail => Begin::Tail,
        };
        let sent = self.publishes.len();
        self.mark(reader, Mark::Connected { begin, sent });
    }

    /// It read an event. `topic` is the label, if the stream has labels.
    pub fn saw(&mut self, reader: ReaderId, id: &str, topic: Option<&str>, value: &str) {
        let Some(told) = self.readers.get(index(reader.0)) else { return self.stranger() };
        // Readers mostly see what others saw, in the same order: try what followed before hashing anything.
        let guess = match told.items.last() {
            Some(Item::Saw { first, count }) => Some(first + count),
            _ => None,
        };
        let known = guess.filter(|at| self.sightings.get(index(*at)).is_some_and(|s| s.is(id, topic, value)));
        let sighting = known.unwrap_or_else(|| self.sighting(reader, id, topic, value));
        let Some(told) = self.readers.get_mut(index(reader.0)) else { return };
        match told.items.last_mut() {
            Some(Item::Saw { first, count }) if *first + *count == sighting => *count += 1,
            _ => told.items.push(Item::Saw { first: sighting, count: 1 }),
        }
    }

    /// It read a block that only moves the cursor: it was offered everything up to here.
    pub fn cursor(&mut self, reader: ReaderId, id: &str) {
        let id = self.id(id);
        self.mark(reader, Mark::Cursor(id));
    }

    /// It was told a gap and goes on after `id`, the id of the gap's block. All between its cursor and `id` is
    /// excused, and from here to the end of the connection also what [`Self::removed`] names.
    pub fn gap(&mut self, reader: ReaderId, id: &str) {
        let id = self.id(id);
        self.mark(reader, Mark::Gap(id));
    }

    /// The test waited until nothing more came: all that was acked before this call is owed to it by now.
    pub fn caught_up(&mut self, reader: ReaderId) {
        self.mark(reader, Mark::CaughtUp(self.last_acked));
    }

    /// How many gaps were told: a run that removes nothing may want none.
    pub fn gaps(&self) -> usize {
        self.marks.iter().filter(|mark| matches!(mark, Mark::Gap(_))).count()
    }

    /// How many events were read by all readers together.
    pub fn events(&self) -> u64 {
        let of = |item: &Item| if let Item::Saw { count, .. } = item { u64::from(*count) } else { 0 };
        self.readers.iter().flat_map(|told| &told.items).map(of).sum()
    }

    /// Judges: every breach, at most [`Violation::COUNT_MAX`], those of the log first, then reader by reader.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        check::check(self)
    }

    fn mark(&mut self, reader: ReaderId, mark: Mark) {
        let Some(told) = self.readers.get_mut(index(reader.0)) else { return self.stranger() };
        told.items.push(Item::Mark(count(self.marks.len())));
        self.marks.push(mark);
    }

    fn id(&mut self, text: &str) -> Id {
        Id { text: text.into(), place: self.lives.place(text) }
    }

    fn stranger(&mut self) {
        self.misreports.push(Violation::Stranger);
    }

    fn sighting(&mut self, by: ReaderId, id: &str, topic: Option<&str>, value: &str) -> u32 {
        let mut hasher = DefaultHasher::new();
        (id, topic, value).hash(&mut hasher);
        let hash = hasher.finish();
        let first = self.by_hash.get(&hash).copied();
        let mut at = first;
        while let Some(sighting) = at.and_then(|at| self.sightings.get(index(at))) {
            if sighting.is(id, topic, value) {
                break;
            }
            at = sighting.same_hash;
        }
        at.unwrap_or_else(|| {
            let new = count(self.sightings.len());
            let id = self.id(id);
            let (topic, value) = (topic.map(Into::into), value.into());
            self.sightings.push(Sighting { id, topic, value, by, same_hash: first });
            self.by_hash.insert(hash, new);
            new
        })
    }
}

fn boxed(texts: &[&str]) -> Box<[Box<str>]> {
    texts.iter().map(|text| (*text).into()).collect()
}

/// Lengths fit: 2³² entries would take hundreds of gigabytes. Saturates, so that a wrong number is a `Stranger`.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
