//! What may have been missed of topics that are never stored: their events live in the hot log only, and a
//! reader who comes back later than that is told so.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::position::Seq;
use crate::record::{Control, Record, What};
use crate::selector::{Selector, Selectors};
use crate::topic::TopicName;

/// Which topics are not stored, and up to where their events may be gone.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    declared: BTreeSet<TopicName>,
    lost: Seq,
}

impl Ephemeral {
    /// After a start at `head`: whatever was not stored is gone.
    pub(crate) fn new(declared: impl Iterator<Item = TopicName>, head: Seq) -> Self {
        Self { declared: declared.collect(), lost: head }
    }

    /// Takes a record into account that declares or removes a topic.
    pub(crate) fn apply(&mut self, record: &Record) {
        let What::Control(control) = &record.what else { return };
        for topic in &record.topics {
            match control {
                Control::Configure(config) if config.ephemeral => _ = self.declared.insert(topic.clone()),
                // What was missed while it was not stored stays missed.
                Control::Configure(_) => {}
                Control::Delete => _ = self.declared.remove(topic.as_str()),
                Control::Close | Control::Trim { .. } | Control::Lost => {}
            }
        }
    }

    /// An event left the hot log and is nowhere else.
    pub(crate) fn lose(&mut self, seq: Seq) {
        self.lost = self.lost.max(seq);
    }

    /// Up to where events of the selected topics may be gone; `patterns` are the topics that the hub's own
    /// configuration declares.
    pub(crate) fn lost_through(&self, selectors: &Selectors, patterns: &Selectors) -> Seq {
        let concerned = selectors.iter().any(|selector| match selector {
            Selector::Exact(name) => self.declared.contains(name.as_str()) || patterns.matches(name.as_str()),
            Selector::Glob(glob) => {
                let prefix = glob.literal_prefix();
                let from = (Bound::Included(prefix), Bound::Unbounded);
                let mut near =
                    self.declared.range::<str, _>(from).take_while(|n| n.as_str().starts_with(prefix));
                near.any(|name| glob.matches(name.as_str()))
                    || patterns.iter().any(|pattern| may_meet(prefix, pattern))
            }
        });
        if concerned { self.lost } else { Seq::ZERO }
    }
}

/// Whether a glob with this literal prefix and a pattern may select a topic in common: careful, by their prefixes.
fn may_meet(prefix: &str, pattern: &Selector) -> bool {
    let theirs = match pattern {
        Selector::Exact(name) => name.as_str(),
        Selector::Glob(glob) => glob.literal_prefix(),
    };
    prefix.starts_with(theirs) || theirs.starts_with(prefix)
}
