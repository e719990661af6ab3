//! How a history is kept: texts once, what readers were told as numbers.

use std::collections::HashMap;

use super::place::{Id, Place};
use super::{ReaderId, count};

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) value: Box<str>,
    pub(super) topics: Box<[u32]>,
    pub(super) event: Option<Box<str>>,
    pub(super) id: Option<Box<str>>,
    pub(super) private: bool,
    pub(super) ephemeral: bool,
    pub(super) refused: bool,
    pub(super) acked: Option<Id>,
}

/// What a reader asked for and may have. Equal ones are judged once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) wants: Box<[Box<str>]>,
    pub(super) granted: Box<[Box<str>]>,
    pub(super) events: Box<[Box<str>]>,
}

#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: Box<str>,
    pub(super) view: View,
    pub(super) conflating: bool,
    pub(super) items: Vec<Item>,
}

/// What a reader was told, in order: 12 bytes, and runs of what others saw in the same order take one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// The sightings `first .. first + count`.
    Saw { first: u32, count: u32 },
    /// Index into [`History::marks`].
    Mark(u32),
}

#[derive(Debug)]
pub(super) enum Mark {
    Connected { begin: Begin, sent: usize },
    Cursor(Id),
    Gap(Id),
    CaughtUp(Option<Place>),
}

#[derive(Debug)]
pub(super) enum Begin {
    After(Id),
    Oldest,
    Last,
    Tail,
}

/// An event as it is read: id, label and value, kept once however many readers see it.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) id: Id,
    pub(super) topic: Option<Box<str>>,
    pub(super) value: Box<str>,
    /// Who saw it first.
    pub(super) by: ReaderId,
    pub(super) same_hash: Option<u32>,
}

impl Sighting {
    pub(super) fn is(&self, id: &str, topic: Option<&str>, value: &str) -> bool {
        *self.id.text == *id && self.topic.as_deref() == topic && *self.value == *value
    }
}

/// Topic names, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) list: Vec<Box<str>>,
    pub(super) numbers: HashMap<Box<str>, u32>,
}

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = count(self.list.len());
        self.list.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }
}
