//! Old segments on their way out: who loses what with them.
//!
//! **Order:** known by a durable checkpoint, then told, then out of sight, then off the disk. So nothing is ever
//! answered that rests on an absence which a crash could undo. Where no checkpoint can be written (a full disk), the
//! files go under an older one that has all their records in it, and nothing is written until they are gone.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_hub::fold::Fold;
use tidings_hub::ports::Trimmed;
use tidings_hub::{Seq, TopicName};

use crate::shared::{SealedSegment, Shared};

/// Segments that are to go: the oldest ones.
pub(crate) struct Removal {
    pub(crate) dropped: Vec<Arc<SealedSegment>>,
    /// The base of the first segment that stays.
    pub(crate) oldest: Seq,
}

/// A removal, and what it takes from whom.
pub(crate) struct Retired {
    pub(crate) removal: Removal,
    pub(crate) trimmed: Trimmed,
}

impl Removal {
    /// The last place that goes.
    pub(crate) fn last(&self) -> Seq {
        self.dropped.last().map_or(Seq::ZERO, |segment| segment.facts.last)
    }

    /// Finds out what each topic loses: the last place of it that goes. Reads the indexes of these segments.
    pub(crate) fn retire(self, shared: &Shared, fold: &Fold) -> Retired {
        let topics = losses(shared, fold, &self.dropped, self.oldest);
        Retired { trimmed: Trimmed { through: self.oldest.prev(), topics }, removal: self }
    }
}

fn losses(
    shared: &Shared,
    fold: &Fold,
    dropped: &[Arc<SealedSegment>],
    oldest: Seq,
) -> Vec<(TopicName, Seq)> {
    // Each was a name before it came into the fold.
    let named = |(name, through): (&str, Seq)| Some((TopicName::parse(name).ok()?, through));
    // Topics with nothing newer lose all they have.
    let all = fold.iter().filter(|(_, state)| state.last < oldest && state.trimmed < state.last);
    let mut losses: Vec<_> = all.map(|(name, state)| (name, state.last)).filter_map(named).collect();
    let mut partly = HashMap::new();
    for segment in dropped {
        let rows = shared.table(segment).ok().flatten();
        let Some(table) = rows else {
            // Its index is not to be had: every topic may have lost something there.
            let last = segment.facts.last;
            partly.extend(fold.names().map(|name| (name, last)).filter_map(named));
            continue;
        };
        for row in table.rows() {
            partly.insert(row.name.clone(), row.last(segment.facts.base));
        }
    }
    for (name, through) in partly {
        let state = fold.get(name.as_str());
        if state.is_some_and(|state| state.last >= oldest && state.trimmed < through) {
            losses.push((name, through));
        }
    }
    losses
}
