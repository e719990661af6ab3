//! What is known of producers: which numbers were accepted, where, and what each next one has to be answered.
//!
//! An entry is *sure* if it was stored and found again; behind the last sure one stand those that a restart may have
//! forgotten: events that are not stored, and in `os` mode those that a loss of power may have taken.

use std::collections::{BTreeMap, BTreeSet};

use tidings_hub::ports::{HeldProducer, Outcome, Refusal};
use tidings_hub::{Position, Seq};

use super::{Checked, ensure};

/// Who numbers events.
pub(crate) const IDS: [&str; 3] = ["p", "q", "r"];

/// What an event is numbered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) id: &'static str,
    pub(crate) number: Number,
    /// It is the one that comes next, if all before it is accepted: no repetition.
    pub(crate) is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// What a log says of a producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: Number,
    pub(crate) last: Position,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: Number,
    /// Where it stands; unknown of one that was hidden before anybody looked, and that others followed.
    at: Option<Seq>,
    /// The first answer.
    answer: Option<Position>,
    is_stored: bool,
}

/// An event that may or may not have been accepted.
#[derive(Clone, Debug)]
struct Open {
    number: Number,
    topics: Vec<&'static str>,
    is_stored: bool,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    /// What was accepted, in order.
    entries: Vec<Entry>,
    /// So many of them are sure, unless `is_settled`: then all are.
    sure: usize,
    open: Vec<Open>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    all: BTreeMap<&'static str, Producer>,
    /// A start came since anybody asked the log what it knows of these.
    unsettled: BTreeSet<&'static str>,
}

/// What an event must be answered.
#[derive(Debug)]
enum Due {
    Append,
    Repeated(Entry),
    Refused(Refusal),
}

impl Producers {
    /// The number that was accepted last.
    pub(crate) fn last(&self, id: &str) -> Option<Number> {
        self.all.get(id)?.entries.last().map(|entry| entry.number)
    }

    /// Whether it is known exactly what the log knows.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn due(&self, token: &Token) -> Due {
        let Number { epoch, seq: got } = token.number;
        let Some(last) = self.all.get(token.id).and_then(|producer| producer.entries.last()) else {
            let ahead = Due::Refused(Refusal::ProducerAhead { expected: 0, got });
            return if got == 0 { Due::Append } else { ahead };
        };
        let (current, expected) = (last.number.epoch, last.number.seq + 1);
        if epoch < current {
            Due::Refused(Refusal::StaleEpoch { current, got: epoch })
        } else if epoch > current {
            if got == 0 { Due::Append } else { Due::Refused(Refusal::EpochNotAtZero { epoch, got }) }
        } else if got < expected {
            Due::Repeated(*last)
        } else if got == expected {
            Due::Append
        } else {
            Due::Refused(Refusal::ProducerAhead { expected, got })
        }
    }

    /// Holds the answer to a numbered event against what it must be. What was committed is to be accepted next.
    pub(crate) fn judge(&mut self, token: &Token, outcome: &Outcome) -> Checked {
        let due = self.due(token);
        let is_fine = match (outcome, &due) {
            (Outcome::Refused(Refusal::WithOthers), Due::Append) => {
                // What comes after it in the same submission was judged with it.
                self.push(token.id, Entry { number: token.number, at: None, answer: None, is_stored: true });
                true
            }
            (Outcome::Skipped | Outcome::Refused(Refusal::Full | Refusal::WithOthers), _)
            | (Outcome::Committed { .. } | Outcome::Refused(Refusal::Closed { .. }), Due::Append) => true,
            (Outcome::Repeated(HeldProducer { seq, last, got }), Due::Repeated(entry)) => {
                let is_there = entry.at.is_none_or(|at| at == last.seq);
                let is_first = entry.answer.is_none_or(|answer| answer == *last);
                (*seq, *got) == (entry.number.seq, token.number.seq) && is_there && is_first
            }
            (Outcome::Refused(refusal), Due::Refused(due)) => refusal == due,
            _ => false,
        };
        ensure(is_fine, || format!("{token:?} was answered {outcome:?}, and is due {due:?}"))
    }

    fn push(&mut self, id: &'static str, entry: Entry) {
        self.all.entry(id).or_default().entries.push(entry);
    }

    /// An event was accepted. Between it and the last one may only stand what is in doubt.
    pub(crate) fn accept(
        &mut self,
        token: &Token,
        at: Seq,
        answer: Option<Position>,
        is_stored: bool,
    ) -> Checked {
        let Token { id, number, .. } = *token;
        self.fill(id, number).map_err(|message| format!("{token:?} was accepted at {at:?}: {message}"))?;
        self.push(id, Entry { number, at: Some(at), answer, is_stored });
        Ok(())
    }

    /// What has to have been accepted before a number.
    fn fill(&mut self, id: &'static str, number: Number) -> Checked {
        let producer = self.all.entry(id).or_default();
        let last = producer.entries.last().map(|entry| entry.number);
        ensure(last.is_none_or(|last| last < number), || format!("a second time, after {last:?}"))?;
        let from = match last {
            Some(last) if last.epoch == number.epoch => last.seq + 1,
            _ => 0,
        };
        for seq in from..number.seq {
            let between = Number { seq, ..number };
            let open = producer.open.iter().find(|open| open.number == between);
            let Some(open) = open else { return Err(format!("before {between:?}, after {last:?}")) };
            let is_stored = open.is_stored;
            producer.entries.push(Entry { number: between, at: None, answer: None, is_stored });
        }
        Ok(())
    }

    /// An event may have been accepted.
    pub(crate) fn doubt(&mut self, token: &Token, topics: &[&'static str], is_stored: bool) {
        let open = Open { number: token.number, topics: topics.to_vec(), is_stored };
        self.all.entry(token.id).or_default().open.push(open);
    }

    /// After a start, or of a copy: what is stored is sure, and what is not stored may be forgotten. A loss of power
    /// may have taken what stands past `kept.0`, and has taken what stands past `kept.1`.
    pub(crate) fn restart(&mut self, kept: Option<(Seq, Seq)>) {
        for (id, producer) in &mut self.all {
            if let Some((_, end)) = kept {
                let lost = producer.entries.iter().position(|entry| entry.at.is_some_and(|at| at > end));
                producer.entries.truncate(lost.unwrap_or(usize::MAX));
            }
            let is_sure = |entry: &Entry| {
                entry.is_stored && kept.is_none_or(|(sure, _)| entry.at.is_some_and(|at| at <= sure))
            };
            producer.sure = producer.entries.iter().rposition(is_sure).map_or(0, |at| at + 1);
            self.unsettled.insert(id);
        }
        self.unsettled.extend(IDS);
    }

    /// Holds what a log says of a producer against what it may know, and takes it over. `is_hidden`: whether an event
    /// of these topics, at this place, may be there without being found.
    pub(crate) fn settle(
        &mut self,
        id: &'static str,
        known: Option<Known>,
        is_hidden: impl Fn(Seq, &[&'static str]) -> bool,
    ) -> Checked {
        let producer = self.all.entry(id).or_default();
        let sure = producer.sure.min(producer.entries.len());
        self.unsettled.remove(id);
        let Some(Known { number, last }) = known else {
            ensure(sure == 0, || format!("{id} is not known, and had {:?}", producer.entries))?;
            *producer = Producer::default();
            return Ok(());
        };
        let at = producer.entries.iter().position(|entry| entry.number == number);
        if let Some(at) = at {
            let entry = producer.entries[at];
            ensure(at + 1 >= sure, || format!("{id} is at {number:?} only, and had {:?}", producer.entries))?;
            let is_first = entry.answer.is_none_or(|answer| answer == last);
            let is_there = is_first && entry.at.is_none_or(|at| at == last.seq);
            ensure(is_there, || format!("{id} {number:?} is at {last:?} now, and was {entry:?}"))?;
            producer.entries.truncate(at + 1);
            producer.entries[at].at = Some(last.seq);
        } else {
            let open = producer.open.iter().find(|open| open.number == number).cloned();
            let Some(open) = open else {
                return Err(format!("{id} is at {number:?}, and has only {:?}", producer.entries));
            };
            let may_be = !open.is_stored || is_hidden(last.seq, &open.topics);
            ensure(may_be, || format!("{id} is at {number:?}, which {:?} lacks", open.topics))?;
            self.fill(id, number)?;
            let is_stored = open.is_stored;
            self.push(id, Entry { number, at: Some(last.seq), answer: None, is_stored });
        }
        self.all.entry(id).or_default().open.clear();
        Ok(())
    }

    /// What is mended has lost something, and what is left is known all the same: up to `found` at least.
    pub(crate) fn check_mended(&self, id: &str, known: Option<Known>, found: Option<Number>) -> Checked {
        let known = known.map(|known| known.number);
        ensure(known >= found, || format!("{id} is known up to {known:?}, and has {found:?}"))?;
        let last = self.last(id);
        ensure(known <= last, || format!("{id} is known up to {known:?}, and had {last:?} only"))
    }
}
