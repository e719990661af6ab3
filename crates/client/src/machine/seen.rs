//! Ids that were told, as far back as there is room: what comes again is not told again.
//! **Invariant:** memory is bounded by the number of ids, however long they are.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::num::NonZeroUsize;

use tidings_codec::EventId;

/// The last ids. Kept as 128 bits each, by two hashes with keys of this machine's own: no server can make two ids meet,
/// and by chance none will.
#[derive(Debug)]
pub(super) struct Seen {
    ids_max: usize,
    known: HashSet<u128>,
    order: VecDeque<u128>,
    keys: [RandomState; 2],
}

impl Seen {
    pub(super) fn new(ids_max: NonZeroUsize) -> Self {
        Self {
            ids_max: ids_max.get(),
            known: HashSet::new(),
            order: VecDeque::new(),
            keys: [RandomState::new(), RandomState::new()],
        }
    }

    /// Whether it was not there before. The oldest makes room for it.
    pub(super) fn insert(&mut self, id: &EventId) -> bool {
        let [high, low] = [0, 1].map(|key: usize| u128::from(self.keys[key].hash_one(id.as_str())));
        let mark = (high << 64) | low;
        if !self.known.insert(mark) {
            return false;
        }
        if self.order.len() >= self.ids_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(mark);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_what_is_held_stays_bounded() {
        let mut seen = Seen::new(NonZeroUsize::new(3).unwrap());
        let mut insert = |id: &str| seen.insert(&EventId::parse(id).unwrap());
        assert!(insert("a") && insert("b") && insert("c"));
        assert!(!insert("a") && !insert("b") && !insert("c"), "the window is exactly three");
        assert!(insert("d"));
        assert!(insert("a"), "it was the oldest");
        assert!(!insert("c") && !insert("d"));
        for number in 0..10_000 {
            assert!(insert(&number.to_string()));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (3, 3));
        assert!(seen.order.capacity() < 16 && seen.known.capacity() < 64);
    }
}
