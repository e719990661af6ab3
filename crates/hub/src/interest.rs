//! Interest: from an event's topics to the filters that want it. The cost depends on who wants it, not on how
//! many topics or filters there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ahash::RandomState;

use crate::selector::{Glob, Selector};
use crate::topic::TopicName;

/// The number of a filter within its shard.
pub type FilterKey = usize;

/// Which filters name which topics.
#[derive(Debug, Default)]
pub struct Interest {
    exact: HashMap<TopicName, BTreeSet<FilterKey>, RandomState>,
    /// Patterns under what they begin with, so that a topic looks at those only which may match it.
    globs: HashMap<Box<str>, Vec<Pattern>>,
    /// How many patterns have a literal prefix of each length: the lengths to look up.
    prefix_lengths: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Pattern {
    glob: Glob,
    filters: Vec<FilterKey>,
}

impl Interest {
    /// A filter names this selector.
    pub fn add(&mut self, selector: &Selector, filter: FilterKey) {
        match selector {
            Selector::Exact(topic) => _ = self.exact.entry(topic.clone()).or_default().insert(filter),
            Selector::Glob(glob) => {
                let prefix = glob.literal_prefix();
                let patterns = self.globs.entry(prefix.into()).or_default();
                match patterns.iter_mut().find(|pattern| pattern.glob == *glob) {
                    Some(pattern) => pattern.filters.push(filter),
                    None => {
                        patterns.push(Pattern { glob: glob.clone(), filters: vec![filter] });
                        *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                    }
                }
            }
        }
    }

    /// A filter that named this selector is gone.
    pub fn remove(&mut self, selector: &Selector, filter: FilterKey) {
        match selector {
            Selector::Exact(topic) => {
                if let Some(filters) = self.exact.get_mut(topic.as_str()) {
                    filters.remove(&filter);
                    if filters.is_empty() {
                        self.exact.remove(topic.as_str());
                    }
                }
            }
            Selector::Glob(glob) => {
                let prefix = glob.literal_prefix();
                let Some(patterns) = self.globs.get_mut(prefix) else { return };
                let Some(at) = patterns.iter().position(|pattern| pattern.glob == *glob) else { return };
                patterns[at].filters.retain(|f| *f != filter);
                if !patterns[at].filters.is_empty() {
                    return;
                }
                patterns.swap_remove(at);
                if patterns.is_empty() {
                    self.globs.remove(prefix);
                }
                if let Some(count) = self.prefix_lengths.get_mut(&prefix.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// Calls `found` for every filter that names the topic; for one that names it several times, several times.
    pub fn each(&self, topic: &str, mut found: impl FnMut(FilterKey)) {
        if let Some(filters) = self.exact.get(topic) {
            filters.iter().copied().for_each(&mut found);
        }
        for length in self.prefix_lengths.range(..=topic.len()).map(|(length, _)| *length) {
            let Some(patterns) = topic.get(..length).and_then(|prefix| self.globs.get(prefix)) else {
                continue;
            };
            for pattern in patterns.iter().filter(|pattern| pattern.glob.matches(topic)) {
                pattern.filters.iter().copied().for_each(&mut found);
            }
        }
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.globs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_names_a_topic_and_forgets_who_left() {
        let selectors = ["a/1", "a/*", "**", "a/1", "*é*", "a/**", "b"];
        let parsed: Vec<_> = selectors.iter().map(|s| Selector::parse(s).unwrap()).collect();
        let mut interest = Interest::default();
        for (filter, selector) in parsed.iter().enumerate() {
            interest.add(selector, filter);
        }
        let found = |interest: &Interest, topic: &str| {
            let mut found = Vec::new();
            interest.each(topic, |filter| found.push(filter));
            found.sort_unstable();
            found
        };
        for topic in ["a/1", "a/2", "é", "b", "zzz", "a/1/x", "a"] {
            let expected: Vec<_> = (0..parsed.len()).filter(|f| parsed[*f].matches(topic)).collect();
            assert_eq!(found(&interest, topic), expected, "{topic}");
        }
        interest.remove(&parsed[0], 0);
        interest.remove(&parsed[2], 2);
        assert_eq!(found(&interest, "a/1"), [1, 3, 5]);
        for (filter, selector) in parsed.iter().enumerate() {
            interest.remove(selector, filter);
        }
        assert!(interest.is_empty() && interest.prefix_lengths.is_empty());
    }
}
