//! One reader's way through the log, connection by connection: what it was owed, and what it got.
//!
//! Linear in what the reader was told and in the entries of the log.

use std::collections::HashMap;

use super::check::Found;
use super::facts::{Entry, Facts, Status};
use super::place::{Id, Place};
use super::{Begin, History, Item, Mark, Told, Violation, index, pattern};

/// One reader's way through the log.
pub(super) struct Walk<'a> {
    history: &'a History,
    facts: &'a Facts<'a>,
    told: &'a Told,
    statuses: &'a [Status],
    /// By topic: the last entry that this reader may see. Made when something is first said to be superseded.
    last_on_topic: Option<HashMap<u32, usize>>,
    /// The id that the reader holds.
    cursor: Option<(Place, &'a str)>,
    /// Entries before this one are settled.
    next: usize,
    /// The beginning of the connection is not known exactly: an earlier first event moves `next` back.
    open: bool,
    /// A gap is owed before anything else: the id that the reader came back with is void.
    void: Option<&'a str>,
    /// Superseded events may be missing in this connection.
    conflating: bool,
    /// Removed events may be missing in this connection.
    excused: bool,
    /// Nothing was read yet since the reader came back.
    at_resume: bool,
    /// The highest place that was read and not lost since.
    high: Option<(Place, &'a str)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        history: &'a History,
        facts: &'a Facts<'a>,
        told: &'a Told,
        statuses: &'a [Status],
    ) -> Self {
        Self {
            history,
            facts,
            told,
            statuses,
            last_on_topic: None,
            cursor: None,
            next: usize::MAX,
            open: true,
            void: None,
            conflating: told.conflating,
            excused: false,
            at_resume: false,
            high: None,
        }
    }

    pub(super) fn run(&mut self, found: &mut Found) {
        for (at, item) in self.told.items.iter().enumerate() {
            match *item {
                Item::Saw { first, count } => {
                    for sighting in first..first + count {
                        self.saw(at, sighting, found);
                    }
                }
                Item::Mark(mark) => match self.history.marks.get(index(mark)) {
                    Some(Mark::Connected { begin, sent }) => self.connected(begin, *sent, found),
                    Some(Mark::Cursor(id)) => self.cursor(id, found),
                    Some(Mark::Gap(id)) => self.gap(id, found),
                    Some(Mark::CaughtUp(owed)) => {
                        self.settle_void(found);
                        self.pass(owed.map_or(0, |owed| self.facts.after(owed)), found);
                    }
                    None => {}
                },
            }
        }
    }

    fn saw(&mut self, item: usize, sighting: u32, found: &mut Found) {
        // A sighting without a place is told as `NotAnId` and says nothing about order.
        let Some(entry) = self.facts.of_sighting.get(index(sighting)).copied().flatten() else { return };
        let Some(Entry { place, id, .. }) = self.facts.entries.get(entry) else { return };
        match self.statuses.get(entry) {
            Some(Status::Unwanted) => found.add(|| Violation::Unwanted { reader: self.name(), id: text(id) }),
            Some(Status::Forbidden) => found.add(|| Violation::Leaked { reader: self.name(), id: text(id) }),
            Some(Status::Owed | Status::Unknown) | None => {}
        }
        self.settle_void(found);
        if let Some((cursor, after)) = self.cursor.filter(|(cursor, _)| cursor >= place) {
            let again = cursor == *place || self.saw_before(item, sighting, entry);
            return found.add(|| match again {
                true => Violation::Duplicate { reader: self.name(), id: text(id) },
                false => Violation::Inversion { reader: self.name(), id: text(id), after: text(after) },
            });
        }
        self.begin_at(entry);
        self.pass(entry, found);
        self.next = self.next.max(entry + 1);
        self.cursor = Some((*place, id));
        self.high = self.cursor;
    }

    fn cursor(&mut self, id: &'a Id, found: &mut Found) {
        let Some(place) = id.place else { return self.not_an_id(id, found) };
        self.settle_void(found);
        if let Some((_, after)) = self.cursor.filter(|(cursor, _)| *cursor > place) {
            let (id, after) = (id.text.clone(), text(after));
            return found.add(|| Violation::Inversion { reader: self.name(), id, after });
        }
        let past = self.facts.after(place);
        self.begin_at(past);
        self.pass(past, found);
        self.cursor = Some((place, &id.text));
    }

    fn gap(&mut self, id: &'a Id, found: &mut Found) {
        let Some(place) = id.place else { return self.not_an_id(id, found) };
        (self.void, self.excused, self.open, self.at_resume) = (None, true, false, false);
        let back = self.high.filter(|(high, _)| *high > place && !self.history.lives.lost(*high));
        if let Some((_, high)) = back {
            let (id, after) = (id.text.clone(), text(high));
            found.add(|| Violation::Inversion { reader: self.name(), id, after });
        }
        self.cursor = Some((place, &id.text));
        self.next = self.facts.after(place);
    }

    fn connected(&mut self, begin: &'a Begin, sent: usize, found: &mut Found) {
        self.void = None;
        self.conflating = self.told.conflating || matches!(begin, Begin::Last);
        self.excused = matches!(begin, Begin::Last | Begin::Oldest);
        self.at_resume = matches!(begin, Begin::After(_));
        let (asked, place) = match begin {
            Begin::After(id) => (&*id.text, id.place),
            Begin::Oldest => ("start", None),
            Begin::Last => ("last", None),
            Begin::Tail => ("tail", None),
        };
        let was = self.cursor;
        if let Some((_, cursor)) = was.filter(|(cursor, _)| Some(*cursor) != place) {
            let (asked, cursor) = (asked.into(), text(cursor));
            found.add(|| Violation::ResumedElsewhere { reader: self.name(), asked, cursor });
        }
        self.cursor = place.map(|place| (place, asked));
        self.open = matches!(begin, Begin::Tail) || (self.at_resume && place.is_none());
        self.next = match begin {
            Begin::Oldest | Begin::Last => 0,
            Begin::Tail => self.facts.tail_after.get(sent).copied().unwrap_or(usize::MAX),
            Begin::After(_) => place.map_or(usize::MAX, |place| {
                let same = was.is_some_and(|(cursor, _)| cursor == place);
                let settled = if same { self.next } else { 0 };
                self.facts.after(place).max(settled)
            }),
        };
        if self.at_resume && place.is_none_or(|place| self.history.lives.lost(place)) {
            self.void = Some(asked);
        }
    }

    /// Everything before `until` has had its chance to come.
    fn pass(&mut self, until: usize, found: &mut Found) {
        let from = self.next;
        for entry in from..until {
            if self.statuses.get(entry) == Some(&Status::Owed) && !self.may_miss(entry) {
                let Some(Entry { id, publish: Some(sent), .. }) = self.facts.entries.get(entry) else {
                    continue;
                };
                let (missed, value, at_resume) = (text(id), sent.value.clone(), self.at_resume);
                found.add(|| Violation::Hole { reader: self.name(), missed, value, at_resume });
            }
        }
        self.next = from.max(until);
        self.at_resume = false;
    }

    /// Whether an owed event may be missing without a word.
    fn may_miss(&mut self, entry: usize) -> bool {
        let facts = self.facts;
        let Some(Entry { place, publish: Some(sent), .. }) = facts.entries.get(entry) else { return true };
        if sent.ephemeral || self.history.lives.lost(*place) {
            return true;
        }
        let names = &self.history.topics.list;
        let asked = |topic: &&u32| {
            names.get(index(**topic)).is_some_and(|name| pattern::any(&self.told.view.wants, name))
        };
        let topics: Vec<u32> = sent.topics.iter().filter(asked).copied().collect();
        let gone = |topic: &u32| facts.removed.get(index(*topic)).copied().flatten() >= Some(*place);
        if self.excused && topics.iter().all(gone) {
            return true;
        }
        self.conflating && {
            let last = self.last_on_topic();
            topics.iter().all(|topic| last.get(topic).is_some_and(|last| *last > entry))
        }
    }

    fn last_on_topic(&mut self) -> &HashMap<u32, usize> {
        let (facts, names, granted) = (self.facts, &self.history.topics.list, &self.told.view.granted);
        self.last_on_topic.get_or_insert_with(|| {
            let granted: Vec<_> = names.iter().map(|name| pattern::any(granted, name)).collect();
            let mut last = HashMap::new();
            for (at, entry) in facts.entries.iter().enumerate() {
                let Some(sent) = entry.publish else { continue };
                if !sent.private || sent.topics.iter().any(|topic| granted[index(*topic)]) {
                    last.extend(sent.topics.iter().map(|topic| (*topic, at)));
                }
            }
            last
        })
    }

    /// Whether this reader read the same entry earlier. Slow, and asked only when something is wrong.
    fn saw_before(&self, item: usize, sighting: u32, entry: usize) -> bool {
        let is = |number: u32| self.facts.of_sighting.get(index(number)).copied().flatten() == Some(entry);
        self.told.items.iter().take(item + 1).enumerate().any(|(at, earlier)| match *earlier {
            Item::Saw { first, count } => {
                let end = if at == item { sighting } else { first + count };
                (first..end).any(is)
            }
            Item::Mark(_) => false,
        })
    }

    /// The first thing that is read fixes the beginning of a connection that had none.
    fn begin_at(&mut self, entry: usize) {
        if self.open {
            self.next = self.next.min(entry);
            self.open = false;
        }
    }

    fn settle_void(&mut self, found: &mut Found) {
        if let Some(asked) = self.void.take() {
            found.add(|| Violation::NotToldGap { reader: self.name(), asked: text(asked) });
        }
    }

    fn not_an_id(&self, id: &Id, found: &mut Found) {
        found.add(|| Violation::NotAnId { by: self.name(), text: id.text.clone() });
    }

    fn name(&self) -> Box<str> {
        self.told.name.clone()
    }
}

fn text(text: &str) -> Box<str> {
    text.into()
}
