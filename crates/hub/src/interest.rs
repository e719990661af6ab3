//! Interest: from an event's topics to the filters that want it. The cost depends on who wants it, not on how
//! many topics or filters there are.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ahash::RandomState;

use crate::selector::{Glob, Selector};
use crate::topic::TopicName;

/// The number of a filter within its shard.
pub type FilterKey = usize;

/// Which filters name which topics.
#[derive(Debug, Default)]
pub struct Interest {
    exact: HashMap<TopicName, Filters, RandomState>,
    /// Patterns under what they begin with, so that a topic looks at those only which may match it.
    globs: HashMap<Box<str>, Vec<Pattern>>,
    /// How many patterns have a literal prefix of each length: the lengths to look up.
    prefix_lengths: BTreeMap<usize, usize>,
}

/// The filters of a topic: mostly one, which then takes no room of its own.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a million topics have one filter each: what few need stands elsewhere"
)]
enum Filters {
    One(FilterKey),
    Many(Box<BTreeSet<FilterKey>>),
}

impl Filters {
    fn insert(&mut self, filter: FilterKey) {
        match self {
            Self::One(one) if *one == filter => {}
            Self::One(one) => *self = Self::Many(Box::new([*one, filter].into())),
            Self::Many(many) => _ = many.insert(filter),
        }
    }

    /// Takes one out; whether none is left.
    fn remove(&mut self, filter: FilterKey) -> bool {
        match self {
            Self::One(one) => *one == filter,
            Self::Many(many) => {
                many.remove(&filter);
                many.is_empty()
            }
        }
    }
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
            Selector::Exact(topic) => match self.exact.entry(topic.clone()) {
                Entry::Occupied(mut filters) => filters.get_mut().insert(filter),
                Entry::Vacant(place) => _ = place.insert(Filters::One(filter)),
            },
            Selector::Glob(glob) => {
                let prefix = glob.literal_prefix();
                let patterns = self.globs.entry(prefix.into()).or_default();
                match patterns.iter_mut().find(|pattern| pattern.glob == **glob) {
                    Some(pattern) => pattern.filters.push(filter),
                    None => {
                        patterns.push(Pattern { glob: Glob::clone(glob), filters: vec![filter] });
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
                if self.exact.get_mut(topic.as_str()).is_some_and(|filters| filters.remove(filter)) {
                    self.exact.remove(topic.as_str());
                }
            }
            Selector::Glob(glob) => {
                let prefix = glob.literal_prefix();
                let Some(patterns) = self.globs.get_mut(prefix) else { return };
                let Some(at) = patterns.iter().position(|pattern| pattern.glob == **glob) else { return };
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
        match self.exact.get(topic) {
            Some(Filters::One(one)) => found(*one),
            Some(Filters::Many(many)) => many.iter().copied().for_each(&mut found),
            None => {}
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
