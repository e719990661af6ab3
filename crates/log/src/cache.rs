//! What was loaded lately, up to a budget: tables and entries of sealed segments, and open files.
//!
//! **Invariant:** the sum of costs stays at or under the budget, except for one single value that is larger.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The least recently used goes first.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    budget: usize,
    used: usize,
    clock: u64,
    values: HashMap<K, Held<V>>,
    by_use: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    cost: usize,
    used_at: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Lru<K, V> {
    pub(crate) fn new(budget: usize) -> Self {
        Self { budget, used: 0, clock: 0, values: HashMap::new(), by_use: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        let held = self.values.get_mut(key)?;
        self.clock += 1;
        if let Some(key) = self.by_use.remove(&held.used_at) {
            self.by_use.insert(self.clock, key);
        }
        held.used_at = self.clock;
        Some(held.value.clone())
    }

    pub(crate) fn put(&mut self, key: K, value: V, cost: usize) {
        self.remove(&key);
        self.clock += 1;
        self.used += cost;
        self.by_use.insert(self.clock, key.clone());
        self.values.insert(key, Held { value, cost, used_at: self.clock });
        while self.used > self.budget && self.values.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some(held) = self.values.remove(&oldest) {
                self.used -= held.cost;
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(held) = self.values.remove(key) {
            self.by_use.remove(&held.used_at);
            self.used -= held.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_and_one_large_value_may_stay() {
        let mut lru = Lru::new(10);
        lru.put("a", 1, 4);
        lru.put("b", 2, 4);
        assert_eq!(lru.get(&"a"), Some(1));
        lru.put("c", 3, 4);
        assert_eq!((lru.get(&"a"), lru.get(&"b"), lru.get(&"c")), (Some(1), None, Some(3)));
        lru.put("large", 4, 99);
        assert_eq!((lru.get(&"a"), lru.get(&"c"), lru.get(&"large")), (None, None, Some(4)));
        lru.put("large", 5, 1);
        lru.put("a", 6, 9);
        assert_eq!((lru.get(&"a"), lru.get(&"large")), (Some(6), Some(5)));
        assert_eq!(lru.used, 10);
    }
}
