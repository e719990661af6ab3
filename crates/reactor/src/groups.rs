//! Groups: all live subscribers that get the same bytes, and where in the log they are. Pure.
//!
//! **Invariant:** `thread` holds every place that the group wants in `(from, scanned]`, ascending; every member that does
//! not lag has considered everything up to `served`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use slab::Slab;
use smallvec::SmallVec;
use tidings_hub::Seq;
use tidings_hub::interest::Interest;
use tidings_hub::live::Spec;

use crate::conn::Key;

/// A group's number.
pub type GroupKey = u32;

/// Places kept for members that lag: who is further behind goes another way.
pub const PLACES_MAX: usize = 4_096;

/// A group.
#[derive(Debug)]
pub struct Group {
    /// What its members get.
    pub spec: Arc<Spec>,
    /// Who they are.
    pub members: SmallVec<[Key; 4]>,
    /// Places that not all of them have.
    pub thread: VecDeque<Seq>,
    /// The thread has all places after this one.
    pub from: Seq,
    /// Those that do not lag have everything up to here.
    pub served: Seq,
    /// How many lag.
    pub lagging: u32,
    /// It waits for its round.
    pub queued: bool,
    /// All its topics are closed.
    pub over: bool,
}

impl Group {
    /// Lets go the places that nobody needs here any more.
    pub fn trim(&mut self) {
        let served = self.served;
        let is_needless = |thread: &VecDeque<Seq>, lagging: u32| {
            thread
                .front()
                .is_some_and(|first| *first <= served && (lagging == 0 || thread.len() > PLACES_MAX))
        };
        while is_needless(&self.thread, self.lagging) {
            if let Some(gone) = self.thread.pop_front() {
                self.from = self.from.max(gone);
            }
        }
        if self.thread.is_empty() && self.thread.capacity() > 16 {
            self.thread = VecDeque::new();
        }
    }
}

/// All groups of a reactor.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Slab<Group>,
    by_spec: HashMap<Arc<Spec>, GroupKey, RandomState>,
    interest: Interest,
}

impl Groups {
    /// Adds a member to the group of a spec. Everything up to `scanned` was scanned; a new group begins there.
    pub fn enter(&mut self, spec: Spec, key: Key, scanned: Seq) -> (GroupKey, u32) {
        let group = match self.by_spec.get(&spec) {
            Some(group) => *group,
            None => self.create(spec, scanned),
        };
        let Some(entry) = self.groups.get_mut(group as usize) else { return (group, 0) };
        entry.members.push(key);
        (group, u32::try_from(entry.members.len() - 1).unwrap_or(u32::MAX))
    }

    fn create(&mut self, spec: Spec, scanned: Seq) -> GroupKey {
        let spec = Arc::new(spec);
        let group = self.groups.insert(Group {
            spec: Arc::clone(&spec),
            members: SmallVec::new(),
            thread: VecDeque::new(),
            from: scanned,
            served: scanned,
            lagging: 0,
            queued: false,
            over: false,
        });
        for selector in spec.filter.selectors().iter() {
            self.interest.add(selector, group);
        }
        let group = u32::try_from(group).unwrap_or(u32::MAX);
        self.by_spec.insert(spec, group);
        group
    }

    /// Takes a member out. The member that takes its place is told, with the place; the last one takes the group away.
    pub fn leave(&mut self, group: GroupKey, member: u32) -> Option<(Key, u32)> {
        let entry = self.groups.get_mut(group as usize)?;
        if (member as usize) < entry.members.len() {
            entry.members.swap_remove(member as usize);
        }
        let moved = entry.members.get(member as usize).map(|key| (*key, member));
        if entry.members.is_empty() {
            let gone = self.groups.remove(group as usize);
            for selector in gone.spec.filter.selectors().iter() {
                self.interest.remove(selector, group as usize);
            }
            self.by_spec.remove(&gone.spec);
        } else if entry.members.len() < entry.members.capacity() / 4 {
            entry.members.shrink_to_fit();
        }
        moved
    }

    /// A group.
    pub fn get(&self, group: GroupKey) -> Option<&Group> {
        self.groups.get(group as usize)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, group: GroupKey) -> Option<&mut Group> {
        self.groups.get_mut(group as usize)
    }

    /// All groups.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().map(|(_, group)| group)
    }

    /// The groups that name a topic; one that names it several times, several times.
    pub fn each(&self, topic: &str, mut found: impl FnMut(GroupKey)) {
        self.interest.each(topic, |group| found(u32::try_from(group).unwrap_or(u32::MAX)));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::frame::Dialect;
    use tidings_hub::{CursorBlock, Filter, Selector, Selectors};

    use super::*;

    fn spec(text: &str) -> Spec {
        let filter = Arc::new(Filter::topics(Selectors::new(vec![Selector::parse(text).unwrap()])));
        Spec { filter, grant: Arc::default(), dialect: Dialect::Native, cursor_block: CursorBlock::IdOnly }
    }

    #[test]
    fn equal_wishes_share_a_group_and_the_last_one_takes_it_away() {
        let mut groups = Groups::default();
        let (a, at) = groups.enter(spec("a"), 7, Seq(10));
        assert_eq!((at, groups.enter(spec("a"), 8, Seq(12))), (0, (a, 1)));
        let (b, _) = groups.enter(spec("*"), 9, Seq(12));
        let mut found = Vec::new();
        groups.each("a", |group| found.push(group));
        assert_eq!(found, [a, b]);
        assert_eq!(groups.get(a).unwrap().from, Seq(10));
        assert_eq!(groups.leave(a, 0), Some((8, 0)), "the last one moves into the gap");
        assert_eq!(groups.leave(a, 0), None);
        assert!(groups.get(a).is_none());
        assert_eq!(groups.leave(b, 0), None);
        assert!(groups.is_empty() && groups.by_spec.is_empty() && groups.interest.is_empty());
    }

    #[test]
    fn places_are_kept_for_those_who_lag_and_not_for_long() {
        let mut groups = Groups::default();
        let (key, _) = groups.enter(spec("a"), 1, Seq(10));
        let group = groups.get_mut(key).unwrap();
        group.thread.extend((11..=6_000).map(Seq));
        group.served = Seq(5_000);
        group.lagging = 1;
        group.trim();
        assert_eq!((group.from, group.thread.len()), (Seq(6_000 - 4_096), PLACES_MAX));
        group.lagging = 0;
        group.trim();
        assert_eq!((group.from, group.thread.front()), (Seq(5_000), Some(&Seq(5_001))));
    }
}
