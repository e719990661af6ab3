//! The ways to break a clean history, each in one place, and the violation that must tell it.

use std::collections::HashMap;

use super::Violation;
use super::random::base36;
use super::world::{Step, World};

/// One way to break a clean script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    Drop,
    Repeat,
    Swap,
    AlterValue,
    ExchangeValue,
    Leak,
    Misdirect,
    Mislabel,
    AlterSeenId,
    AlterAckedId,
    AlterPublisherId,
    SilentGap,
    LoseTail,
    ResumeEarlier,
    SeeRefused,
}

impl Mutation {
    pub(super) const ALL: [Self; 15] = [
        Self::Drop,
        Self::Repeat,
        Self::Swap,
        Self::AlterValue,
        Self::ExchangeValue,
        Self::Leak,
        Self::Misdirect,
        Self::Mislabel,
        Self::AlterSeenId,
        Self::AlterAckedId,
        Self::AlterPublisherId,
        Self::SilentGap,
        Self::LoseTail,
        Self::ResumeEarlier,
        Self::SeeRefused,
    ];

    pub(super) fn is_told_by(self, violation: &Violation) -> bool {
        use Violation as V;
        match self {
            Self::Drop | Self::LoseTail => matches!(violation, V::Hole { .. }),
            Self::SilentGap => matches!(violation, V::Hole { at_resume: true, .. }),
            Self::Repeat => matches!(violation, V::Duplicate { .. }),
            Self::Swap => matches!(violation, V::Inversion { .. }),
            Self::AlterValue => matches!(violation, V::NeverSent { .. }),
            Self::ExchangeValue => matches!(violation, V::TwoValues { .. }),
            Self::Leak => matches!(violation, V::Leaked { .. }),
            Self::Misdirect => matches!(violation, V::Unwanted { .. }),
            Self::Mislabel => matches!(violation, V::WrongTopic { .. }),
            Self::AlterSeenId | Self::AlterAckedId => matches!(violation, V::IdNotAcked { .. }),
            Self::AlterPublisherId => matches!(violation, V::WrongPublisherId { .. }),
            Self::ResumeEarlier => matches!(violation, V::ResumedElsewhere { .. }),
            Self::SeeRefused => matches!(violation, V::RefusedSeen { .. }),
        }
    }
}

impl World {
    /// Breaks the script in one place. `false` if it has no place for it.
    pub(super) fn break_by(&mut self, mutation: Mutation) -> bool {
        let acked: HashMap<String, usize> = self
            .steps
            .iter()
            .filter_map(|step| if let Step::Acked(n, id) = step { Some((id.clone(), *n)) } else { None })
            .collect();
        let saw = |step: &Step| matches!(step, Step::Saw(_, id, ..) if acked.contains_key(id));
        let sightings: Vec<_> = (0..self.steps.len()).filter(|at| saw(&self.steps[*at])).collect();
        let Some(&middle) = sightings.get(sightings.len() / 2) else { return false };
        // What the same reader was told next, if that is an event too.
        let next = |at: usize| {
            let reader = self.steps[at].reader();
            let next = (at + 1..self.steps.len()).find(|n| self.steps[*n].reader() == reader)?;
            saw(&self.steps[next]).then_some(next)
        };
        match mutation {
            Mutation::Drop | Mutation::Swap => {
                let pair =
                    sightings.iter().find_map(|at| next(*at).filter(|_| *at >= middle).map(|n| (*at, n)));
                let Some((at, next)) = pair else { return false };
                match mutation {
                    Mutation::Drop => _ = self.steps.remove(at),
                    _ => self.steps.swap(at, next),
                }
            }
            Mutation::Repeat => {
                let again = self.steps[middle].clone();
                self.steps.insert(middle + 1, again);
            }
            Mutation::AlterValue => self.alter(middle, |_, _, value| value.push('!')),
            Mutation::ExchangeValue => {
                let other = self.publishes[0].value.clone();
                self.alter(middle, |_, _, value| *value = other);
            }
            Mutation::Mislabel => self.alter(middle, |_, topic, _| *topic = Some("d")),
            Mutation::AlterSeenId => self.alter(middle, |id, _, _| *id = odd(id)),
            Mutation::AlterPublisherId => self.alter(middle, |id, _, _| id.push_str("~other")),
            Mutation::AlterAckedId => {
                let Step::Saw(_, seen, ..) = self.steps[middle].clone() else { return false };
                for step in &mut self.steps {
                    if let Step::Acked(_, id) = step
                        && *id == seen
                    {
                        *id = odd(id);
                    }
                }
            }
            Mutation::Leak => {
                let readers = &self.readers;
                let publish = sightings.iter().find_map(|at| match &self.steps[*at] {
                    Step::Saw(reader, id, ..) if readers[*reader].granted == "none" => acked.get(id),
                    _ => None,
                });
                let Some(publish) = publish else { return false };
                self.publishes[*publish].private = true;
            }
            Mutation::Misdirect => {
                let publish = sightings.iter().find_map(|at| match &self.steps[*at] {
                    Step::Saw(reader, id, ..) if self.readers[*reader].wants != "**" => acked.get(id),
                    _ => None,
                });
                let Some(publish) = publish else { return false };
                self.publishes[*publish].topics = vec!["elsewhere"];
            }
            Mutation::SilentGap => {
                let resumed = |at: &usize| matches!(self.steps[*at], Step::Connected(_, Some(_)));
                let lost = (0..self.steps.len()).filter(resumed).find_map(|at| {
                    let first = next(at)?;
                    next(first).map(|second| (first, second))
                });
                let Some((first, second)) = lost else { return false };
                // Two are lost; what comes behind them must be an event or the end, not a resume past them.
                let reader = self.steps[first].reader();
                let later = self.steps[second + 1..].iter().find(|step| step.reader() == reader);
                if matches!(later, Some(Step::Connected(..))) {
                    return false;
                }
                self.steps.remove(second);
                self.steps.remove(first);
            }
            Mutation::LoseTail => {
                let from = self.steps.len() * 9 / 10;
                let sent = self.steps[..from].iter().filter(|step| matches!(step, Step::Sent(_))).count();
                // From here on nobody is told anything: the tail of the log is gone, its acks are not.
                let mut at = 0;
                self.steps.retain(|step| {
                    at += 1;
                    at <= from || step.reader().is_none() || matches!(step, Step::CaughtUp(_))
                });
                let tail = self.publishes[sent..].iter().any(|event| !event.private && event.event.is_none());
                return tail && self.readers.iter().any(|r| r.wants == "**" && r.events.is_empty());
            }
            Mutation::ResumeEarlier => {
                let changed = |step: &mut Step| match step {
                    Step::Connected(_, Some(id)) if id != "1.2" => {
                        *id = "1.2".into();
                        true
                    }
                    _ => false,
                };
                return self.steps.iter_mut().any(changed);
            }
            Mutation::SeeRefused => {
                let Step::Saw(_, _, _, seen) = self.steps[middle].clone() else { return false };
                let Some(n) = self.publishes.iter().position(|event| event.value == seen) else {
                    return false;
                };
                self.steps.push(Step::Refused(n));
            }
        }
        true
    }

    fn alter(&mut self, at: usize, change: impl FnOnce(&mut String, &mut Option<&'static str>, &mut String)) {
        if let Step::Saw(_, id, topic, value) = &mut self.steps[at] {
            change(id, topic, value);
        }
    }
}

/// The id one further, which nothing in a model's log has.
fn odd(id: &str) -> String {
    let (position, publisher) =
        id.split_once('~').map_or((id, String::new()), |(p, own)| (p, format!("~{own}")));
    let seq = u64::from_str_radix(position.trim_start_matches("1."), 36).unwrap() + 1;
    format!("1.{}{publisher}", String::from_utf8(base36(seq)).unwrap())
}
