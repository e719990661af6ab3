//! Idempotency keys: how far the body of each key was accepted.
//!
//! **Invariant:** the state is a fold over the accepted items, so it never lags the data.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::position::Seq;
use crate::record::ItemKey;

/// For how long repetitions are known; whichever ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWindow {
    /// Milliseconds since an item of the key was last accepted.
    pub age_ms: u64,
    /// Keys that are remembered at once.
    pub count: usize,
}

impl Default for KeyWindow {
    fn default() -> Self {
        Self { age_ms: 24 * 60 * 60 * 1_000, count: 1_000_000 }
    }
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// How many items are held: 0 … count − 1.
    pub count: u64,
    /// Where the first one stands.
    pub first: Seq,
    /// Where the last one stands.
    pub last: Seq,
    /// When an item was last accepted, in milliseconds since 1970.
    pub time_ms: u64,
}

/// The remembered keys, oldest use first out.
#[derive(Clone, Debug)]
pub struct Keys {
    window: KeyWindow,
    states: HashMap<Arc<str>, KeyState>,
    /// In order of use when queued. A key that was used since is queued again when its turn comes.
    queue: VecDeque<(u64, Arc<str>)>,
}

impl Keys {
    /// No key yet.
    pub fn new(window: KeyWindow) -> Self {
        Self { window, states: HashMap::new(), queue: VecDeque::new() }
    }

    /// The window.
    pub fn window(&self) -> KeyWindow {
        self.window
    }

    /// What is remembered of a key.
    pub fn get(&self, key: &str) -> Option<KeyState> {
        self.states.get(key).copied()
    }

    /// All keys, in no order: for a checkpoint.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &KeyState)> {
        self.states.iter()
    }

    /// Puts a remembered key back (a checkpoint). Call it in order of `time_ms`.
    pub fn restore(&mut self, key: Arc<str>, state: KeyState) {
        self.queue.push_back((state.time_ms, Arc::clone(&key)));
        self.states.insert(key, state);
    }

    /// An item was accepted at `seq`.
    pub fn accept(&mut self, item: &ItemKey, seq: Seq, time_ms: u64) {
        if let Some(state) = self.states.get_mut(&item.key) {
            // A replay over a checkpoint meets items that are in it already.
            if item.index >= state.count {
                *state = KeyState { count: item.index + 1, last: seq, time_ms, ..*state };
            }
            return;
        }
        let state = KeyState { count: item.index + 1, first: seq, last: seq, time_ms };
        self.restore(Arc::clone(&item.key), state);
    }

    /// Lets go what is past the window.
    pub fn expire(&mut self, time_ms: u64) {
        while let Some((queued_ms, key)) = self.queue.front() {
            let over = self.states.len() > self.window.count;
            if !over && queued_ms.saturating_add(self.window.age_ms) > time_ms {
                break;
            }
            let used_since =
                self.states.get(key).filter(|state| state.time_ms > *queued_ms).map(|s| s.time_ms);
            let Some((_, key)) = self.queue.pop_front() else { break };
            match used_since {
                Some(used_ms) => self.queue.push_back((used_ms, key)),
                None => _ = self.states.remove(&key),
            }
        }
    }

    /// Puts a state back (the judge's undo): `None` removes the key.
    pub(crate) fn put_back(&mut self, key: &Arc<str>, state: Option<KeyState>) {
        match state {
            Some(state) => _ = self.states.insert(Arc::clone(key), state),
            None => {
                self.states.remove(key);
                // Undo goes backwards and nothing expires in between: its place in the queue is the last one.
                if self.queue.back().is_some_and(|(_, queued)| queued == key) {
                    self.queue.pop_back();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, index: u64) -> ItemKey {
        ItemKey { key: key.into(), index }
    }

    #[test]
    fn the_window_ends_by_age_of_last_use_and_by_count() {
        let mut keys = Keys::new(KeyWindow { age_ms: 100, count: 2 });
        keys.accept(&item("a", 0), Seq(1), 0);
        keys.accept(&item("b", 0), Seq(2), 10);
        keys.accept(&item("a", 1), Seq(3), 90);
        keys.expire(111);
        assert_eq!(keys.get("b"), None);
        assert_eq!(keys.get("a"), Some(KeyState { count: 2, first: Seq(1), last: Seq(3), time_ms: 90 }));
        keys.accept(&item("c", 0), Seq(4), 112);
        keys.accept(&item("d", 0), Seq(5), 113);
        keys.expire(113);
        assert_eq!(keys.get("a"), None, "one over the count: the oldest use goes");
        assert!(keys.get("c").is_some() && keys.get("d").is_some());
        keys.expire(u64::MAX);
        assert_eq!(keys.iter().count(), 0);
    }
}
