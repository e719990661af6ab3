//! What a hub shows to whoever watches over it: its topics, and how many read them. For a console, not for delivery.
//!
//! **Invariant:** nobody is kept waiting for the length of a list: the topics are a copy that shares with the original.

use std::fmt;
use std::sync::Arc;

use crate::fold::{Fold, TopicState};
use crate::hub::Hub;
use crate::position::{Epochs, Position, Seq};

/// All topics at one moment.
#[derive(Clone)]
pub struct TopicsNow {
    fold: Fold,
    epochs: Arc<Epochs>,
    head: Seq,
}

impl fmt::Debug for TopicsNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} topics at {:?}", self.fold.len(), self.head)
    }
}

impl TopicsNow {
    /// The topics that are there, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TopicState)> {
        self.fold.iter().filter(|(_, state)| state.exists())
    }

    /// The names of all of them, and of some that were deleted a moment ago: cheaper than their states.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fold.names()
    }

    /// The state of one topic, if it is there.
    pub fn get(&self, name: &str) -> Option<TopicState> {
        self.fold.get(name).filter(TopicState::exists)
    }

    /// A place as it is told.
    pub fn position(&self, seq: Seq) -> Position {
        self.epochs.position(seq)
    }

    /// The last visible place.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// How many there are, those that were deleted a moment ago among them.
    pub fn len(&self) -> usize {
        self.fold.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fold.is_empty()
    }
}

impl Hub {
    /// The topics of this moment. Publishing waits for the copy only, which takes microseconds.
    pub fn topics(&self) -> TopicsNow {
        let visible = self.inner.visible.read();
        let (fold, epochs) = (visible.fold.clone(), Arc::clone(&visible.epochs));
        TopicsNow { fold, epochs, head: visible.hot.head() }
    }

    /// Events a second of each of some topics: over the last minute, or over the newest events if there were many, as far as
    /// they are in memory.
    pub fn rates<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<f64> {
        /// As long as that is looked back,
        const SPAN_MS: u64 = 60_000;
        /// and no further than so many events of a topic, so that publishing does not wait for it.
        const EVENTS_MAX: usize = 100;
        /// What came at once came within this.
        const SPAN_MS_MIN: u64 = 1_000;
        let now_ms = self.now_ms();
        let visible = self.inner.visible.read();
        let rate = |name: &'a str| {
            let (mut count, mut span_ms) = (0usize, SPAN_MS);
            for entry in visible.hot.thread(name, Seq::ZERO) {
                let ago_ms = now_ms.saturating_sub(entry.time_ms);
                if ago_ms > SPAN_MS {
                    break;
                }
                count += 1;
                if count == EVENTS_MAX {
                    span_ms = ago_ms.max(SPAN_MS_MIN);
                    break;
                }
            }
            count as f64 * 1_000.0 / span_ms as f64
        };
        names.into_iter().map(rate).collect()
    }

    /// Bytes that the history takes where it is kept; `None` if the store does not know.
    pub fn log_bytes(&self) -> Option<u64> {
        self.inner.log.bytes()
    }

    /// How many subscribers of this hub's own select a topic: those that others carry are not among them.
    pub fn readers_of(&self, topic: &str) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().readers_of(topic)).sum()
    }
}
