//! Where a subscriber begins: pure, from what it asks and what the log spans.

use std::collections::{BTreeSet, VecDeque};

use crate::filter::Filter;
use crate::fold::{Fold, TopicState};
use crate::hot::HotLog;
use crate::ids::ResumePoint;
use crate::ports::SeqRange;
use crate::position::{Epochs, Position, Seq};
use crate::selector::Selectors;
use crate::topic::TopicName;

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest event that is kept.
    Start,
    /// With the last event of each topic, then live: the present state at once.
    Last,
    /// With what comes.
    Tail,
    /// After what was seen last.
    After(ResumePoint),
}

/// How the beginning was found: the header `Tidings-Resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Nothing between what was asked for and what comes.
    Exact,
    /// Something may be missing; the first event says what.
    Gap,
    /// Live.
    Tail,
}

impl Resume {
    /// `exact`, `gap` or `tail`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Gap => "gap",
            Self::Tail => "tail",
        }
    }
}

/// What a reader missed, as the event `tidings.gap` tells it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// Where the reader stood, as it said.
    pub asked: Box<str>,
    /// What comes next stands after this position.
    pub resumes_after: String,
}

/// Why something may be missing. Whoever meets it fetches its state anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GapReason {
    /// Removed by retention, trimming or deletion.
    Trimmed,
    /// The id is not one of this hub's.
    Foreign,
    /// The position lies ahead of the log.
    Future,
    /// The position belongs to a life of the log that ended before it.
    Epoch,
    /// Damaged in the store, and written off by whoever repaired it.
    Lost,
}

/// A beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) through: Seq,
    /// Losses up to this one need no telling (any more).
    pub(crate) told: Told,
    pub(crate) resume: Resume,
    pub(crate) gap: Option<Gap>,
    /// Single places to deliver before going on after `through`.
    pub(crate) lasts: VecDeque<Seq>,
}

/// Which losses were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Of what is stored: the number of the last loss.
    pub(crate) losses: u64,
    /// Of what is not stored: the last place.
    pub(crate) ephemeral: Seq,
}

/// What a beginning is found in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) oldest: Seq,
    pub(crate) head: Seq,
    pub(crate) epochs: &'a Epochs,
    pub(crate) fold: &'a Fold,
    pub(crate) hot: &'a HotLog,
    /// Places whose records were lost by damage.
    pub(crate) lost: &'a [SeqRange],
    /// Events up to here that were never stored may be gone, for the topics asked for.
    pub(crate) ephemeral_lost: Seq,
}

/// `from=last` over too many topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyTopics;

pub(crate) fn start(
    from: &From,
    filter: &Filter,
    grant: &Selectors,
    span: Span<'_>,
    last_topics_max: usize,
) -> Result<Start, TooManyTopics> {
    let told = Told { losses: span.fold.losses(), ephemeral: span.ephemeral_lost };
    let at = |through: Seq, resume| Start { through, told, resume, gap: None, lasts: VecDeque::new() };
    let gap = |through: Seq, reason, asked: &str| Start {
        gap: Some(Gap {
            reason,
            asked: asked.into(),
            resumes_after: span.epochs.position(through).to_string(),
        }),
        ..at(through, Resume::Gap)
    };
    let beginning = span.oldest.prev();
    Ok(match from {
        From::Tail => at(span.head, Resume::Tail),
        From::Start => {
            // What is kept is what was asked for: earlier losses are no gap.
            at(beginning, Resume::Exact)
        }
        From::Last => {
            let mut lasts = lasts(filter, grant, span, last_topics_max)?;
            let all = lasts.len();
            lasts.retain(|place| !span.lost.iter().any(|r| (r.first..=r.last).contains(place)));
            if lasts.len() == all {
                Start { lasts, ..at(span.head, Resume::Exact) }
            } else {
                // The stream begins before the first of those that are left.
                let before = lasts.front().map_or(span.head, |first| first.prev());
                let gap = gap(before, GapReason::Lost, "last");
                Start { lasts, through: span.head, ..gap }
            }
        }
        From::After(ResumePoint::Foreign(asked)) => gap(span.head, GapReason::Foreign, asked),
        From::After(ResumePoint::Position(position)) => {
            let asked = position.to_string();
            match span.epochs.end_of(position.epoch) {
                // Nothing of the present life was seen by somebody who knows another log.
                None => {
                    let first = span.epochs.pairs().last().map_or(Seq(1), |(_, first)| *first);
                    gap(first.prev().max(beginning), GapReason::Epoch, &asked)
                }
                Some(Some(end)) if position.seq >= end => {
                    gap(end.prev().max(beginning), GapReason::Epoch, &asked)
                }
                Some(None) if position.seq > span.head => gap(span.head, GapReason::Future, &asked),
                Some(_) => {
                    let lost = lost_through(filter, span, position.seq);
                    if lost > position.seq {
                        gap(position.seq.max(beginning), GapReason::Trimmed, &asked)
                    } else {
                        at(position.seq, Resume::Exact)
                    }
                }
            }
        }
    })
}

/// The last place that may be missing for this filter, past `after`.
pub(crate) fn lost_through(filter: &Filter, span: Span<'_>, after: Seq) -> Seq {
    span.fold.lost_through(filter.selectors(), after).max(span.ephemeral_lost)
}

/// The newest event of each wanted topic that this reader may see and that is still there, ascending.
fn lasts(
    filter: &Filter,
    grant: &Selectors,
    span: Span<'_>,
    max: usize,
) -> Result<VecDeque<Seq>, TooManyTopics> {
    let mut lasts = BTreeSet::new();
    let mut take = |name: &str| {
        if let Some(state) = span.fold.get(name) {
            let last = visible_last(name, &state, grant);
            if last > state.trimmed {
                lasts.insert(last);
            }
            // Private, and perhaps allowed by another of its topics: the delivery knows.
            if state.last > last.max(state.trimmed) && !grant.is_empty() {
                lasts.insert(state.last);
            }
        }
        // What is not stored is not in the fold.
        let live_only = span.hot.newest(name).filter(|entry| entry.ephemeral);
        if let Some(entry) = live_only.filter(|entry| !entry.private || grant.matches(name)) {
            lasts.insert(entry.seq);
        }
        lasts.len() <= max
    };
    let all = match filter.selectors().exact() {
        Some(mut names) => names.all(|name| take(name.as_str())),
        None => {
            let names = span.fold.names().chain(span.hot.topics().map(TopicName::as_str));
            let mut wanted = names.filter(|name| filter.selectors().matches(name));
            wanted.all(take)
        }
    };
    if all { Ok(lasts.into_iter().collect()) } else { Err(TooManyTopics) }
}

/// The newest event of a topic that a reader with this grant may see.
pub(crate) fn visible_last(name: &str, state: &TopicState, grant: &Selectors) -> Seq {
    if state.last == state.last_public || grant.matches(name) { state.last } else { state.last_public }
}

/// Whether nothing will ever come after `through`: all topics are closed and what they have was delivered.
pub(crate) fn is_over(filter: &Filter, fold: &Fold, hot: &HotLog, through: Seq) -> bool {
    fold.ended(filter.selectors()).is_some()
        && filter.selectors().exact().is_some_and(|mut names| {
            names.all(|name| {
                fold.get(name.as_str()).is_none_or(|state| {
                    // Also a private one: who may see it by another of its topics is known to the event alone.
                    (state.last <= through || state.last <= state.trimmed)
                        && hot
                            .newest(name.as_str())
                            .is_none_or(|entry| !entry.ephemeral || entry.seq <= through)
                })
            })
        })
}

/// Where a told gap goes on.
pub(crate) fn gap_while_reading(reason: GapReason, position: Position, asked: Position) -> Gap {
    Gap { reason, asked: asked.to_string().into(), resumes_after: position.to_string() }
}
