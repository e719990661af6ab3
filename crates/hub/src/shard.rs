//! A shard: a part of the subscribers, and who of them must look at the log now. A pure machine.
//!
//! Its methods are of four kinds, to be called like this:
//! - **entering and leaving**: [`Shard::enter`] when a subscriber comes, [`Shard::leave`] when it goes;
//! - **inputs**: [`Shard::handle_commit`] for every batch, in order, after the hot log has it;
//!   [`Shard::handle_tick`] now and then; [`Shard::drain`] once. They collect wakers, which the caller wakes
//!   after it has let go of its lock;
//! - **looking**: [`Shard::look`] registers a subscriber's waker *first* and then tells what is there, so that
//!   nothing can come in between unnoticed; [`Shard::wrote`] when bytes went out;
//! - **getters**.
//!
//! Reads no clock, touches no socket, holds no frame.
//! **Invariant:** the thread of a filter holds every place its subscribers want in `(from, seen]`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use slab::Slab;

use crate::cold::HeldPage;
use crate::filter::Filter;
use crate::interest::{FilterKey, Interest};
use crate::position::Seq;
use crate::record::{Control, Record, What};

/// The number of a subscriber within its shard.
pub type SubscriberKey = usize;

/// The subscribers of one shard.
#[derive(Debug)]
pub struct Shard {
    seen: Seq,
    now_ms: u64,
    heartbeat_ms: u64,
    draining: bool,
    interest: Interest,
    filters: Slab<FilterEntry>,
    by_filter: HashMap<Arc<Filter>, FilterKey>,
    subscribers: Slab<Subscriber>,
}

#[derive(Debug)]
struct FilterEntry {
    filter: Arc<Filter>,
    thread: VecDeque<Seq>,
    from: Seq,
    members: Vec<SubscriberKey>,
}

#[derive(Debug)]
struct Subscriber {
    filter: FilterKey,
    /// Its place among the filter's members.
    member: usize,
    waker: Option<Waker>,
    /// Every place up to here has been considered; a copy of its cursor, for those who ask how far behind it is.
    through: Seq,
    written_ms: u64,
    looked_ms: u64,
    heartbeat: bool,
    /// When the last event that it had came, on the wall.
    had_ms: u64,
    /// It had everything once: what it lacks since, it lacks because it is slow.
    caught_up: bool,
    /// It was too far behind.
    slow: bool,
    end: End,
    page: Arc<Mutex<Option<HeldPage>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    At { ms: u64 },
    Now,
}

/// Whether a filter is still in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Leave {
    /// Others have the same filter.
    OthersRemain,
    /// It was the last one; the filter's thread is gone.
    LastOfFilter,
}

/// What a look at the log showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The next places that the filter wants, ascending, at most as many as asked for.
    pub places: Vec<Seq>,
    /// If `places` is all there is: everything up to here has been considered.
    pub through: Option<Seq>,
    /// The thread does not reach back to the cursor: fill it from the hot log ([`Shard::fill`]) or read the store.
    pub short_of: Option<Seq>,
    /// It is time for a heartbeat.
    pub heartbeat: bool,
    /// The stream shall end.
    pub end: bool,
}

/// Silence after which a page of old history that nobody takes is let go (it can be read again).
const PAGE_IDLE_MS: u64 = 2_000;

/// Places of a thread that are kept: who is further behind looks into the hot log.
pub(crate) const THREAD_PLACES_MAX: usize = 1_024;

impl FilterEntry {
    /// Lets go what the hot log does not have any more, and what few can want. `from` follows what was let go and
    /// not the hot log: a thread with nothing in it reaches back as far as it is known to have had nothing.
    fn cut(&mut self, base: Seq) {
        while self.thread.len() > THREAD_PLACES_MAX
            || self.thread.front().is_some_and(|oldest| *oldest <= base)
        {
            let Some(gone) = self.thread.pop_front() else { return };
            self.from = self.from.max(gone);
        }
    }
}

impl Shard {
    /// An empty shard that has seen everything up to `seen`.
    pub fn new(now_ms: u64, seen: Seq, heartbeat_ms: u64) -> Self {
        Self {
            seen,
            now_ms,
            heartbeat_ms,
            draining: false,
            interest: Interest::default(),
            filters: Slab::new(),
            by_filter: HashMap::new(),
            subscribers: Slab::new(),
        }
    }

    /// A subscriber comes, with everything up to `through` considered.
    pub fn enter(
        &mut self,
        filter: Filter,
        through: Seq,
        page: Arc<Mutex<Option<HeldPage>>>,
    ) -> SubscriberKey {
        let key = match self.by_filter.get(&filter) {
            Some(key) => *key,
            None => self.intern(filter),
        };
        let members = &mut self.filters[key].members;
        let subscriber = self.subscribers.insert(Subscriber {
            filter: key,
            member: members.len(),
            waker: None,
            through,
            written_ms: self.now_ms,
            looked_ms: self.now_ms,
            heartbeat: false,
            had_ms: 0,
            caught_up: false,
            slow: false,
            // Who slipped in as the drain began is ended with the next tick.
            end: if self.draining { End::At { ms: self.now_ms } } else { End::Open },
            page,
        });
        members.push(subscriber);
        subscriber
    }

    /// A subscriber goes.
    pub fn leave(&mut self, key: SubscriberKey) -> Leave {
        let Some(gone) = self.subscribers.try_remove(key) else { return Leave::OthersRemain };
        let entry = &mut self.filters[gone.filter];
        entry.members.swap_remove(gone.member);
        if let Some(moved) = entry.members.get(gone.member) {
            self.subscribers[*moved].member = gone.member;
        }
        if !entry.members.is_empty() {
            return Leave::OthersRemain;
        }
        let entry = self.filters.remove(gone.filter);
        for selector in entry.filter.selectors().iter() {
            self.interest.remove(selector, gone.filter);
        }
        self.by_filter.remove(&entry.filter);
        Leave::LastOfFilter
    }

    /// Records became visible; the hot log holds everything after `base`. Collects who must look.
    pub fn handle_commit(&mut self, records: &[Record], base: Seq, wake: &mut Vec<Waker>) {
        let Some(last) = records.last() else { return };
        if !self.interest.is_empty() {
            let mut wanted: Vec<FilterKey> = Vec::new();
            for record in records {
                wanted.clear();
                for topic in &record.topics {
                    self.interest.each(topic.as_str(), |filter| wanted.push(filter));
                }
                if record.topics.len() > 1 || wanted.len() > 1 {
                    wanted.sort_unstable();
                    wanted.dedup();
                }
                for key in &wanted {
                    self.touch(*key, record, base, wake);
                }
            }
        }
        self.seen = last.seq;
    }

    fn touch(&mut self, key: FilterKey, record: &Record, base: Seq, wake: &mut Vec<Waker>) {
        let entry = &mut self.filters[key];
        match &record.what {
            What::Event(event) if !entry.filter.keeps(event.event.as_ref()) => return,
            What::Event(_) => {
                entry.thread.push_back(record.seq);
                entry.cut(base);
            }
            // A closed topic ends streams. Who waits has seen all that a removal could take.
            What::Control(Control::Close) => {}
            What::Control(_) => return,
        }
        for member in &entry.members {
            wake.extend(self.subscribers[*member].waker.take());
        }
    }

    /// Time went by. Collects who has something to do: a heartbeat, an end.
    pub fn handle_tick(&mut self, now_ms: u64, base: Seq, wake: &mut Vec<Waker>) {
        self.now_ms = now_ms;
        for (key, subscriber) in &mut self.subscribers {
            // Spread over the sixth before the moment, so that streams that began together do not beat together.
            let early = self.heartbeat_ms / 6 * (spread(key) % 64) / 64;
            let silent_ms = now_ms.saturating_sub(subscriber.written_ms);
            let beat = self.heartbeat_ms > 0 && silent_ms >= self.heartbeat_ms - early;
            let over = matches!(subscriber.end, End::At { ms } if ms <= now_ms);
            if over {
                subscriber.end = End::Now;
            }
            subscriber.heartbeat |= beat;
            if beat || over {
                wake.extend(subscriber.waker.take());
            }
            if now_ms.saturating_sub(subscriber.looked_ms) >= PAGE_IDLE_MS {
                // One that is locked is in use.
                let idle = subscriber.page.try_lock().and_then(|mut page| page.take());
                drop(idle);
            }
        }
        for (_, entry) in &mut self.filters {
            entry.cut(base);
            entry.thread.shrink_to(2 * entry.thread.len());
        }
    }

    /// Ends all streams within `over_ms`, spread, so that their clients do not come back all at once.
    pub fn drain(&mut self, over_ms: u64) {
        self.draining = true;
        for (key, subscriber) in &mut self.subscribers {
            subscriber.end =
                End::At { ms: self.now_ms.saturating_add(over_ms / 1_024 * (spread(key) % 1_024)) };
        }
    }

    /// Registers who is to be woken, then tells what a subscriber's cursor lacks.
    pub fn look(&mut self, key: SubscriberKey, waker: &Waker, through: Seq, places_max: usize) -> Look {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return Look::default() };
        if !subscriber.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            subscriber.waker = Some(waker.clone());
        }
        subscriber.through = through;
        subscriber.looked_ms = self.now_ms;
        let entry = &self.filters[subscriber.filter];
        let mut look =
            Look { heartbeat: subscriber.heartbeat, end: subscriber.end == End::Now, ..Look::default() };
        if through < entry.from {
            look.short_of = Some(entry.from);
            return look;
        }
        let first = entry.thread.partition_point(|seq| *seq <= through);
        look.places = entry.thread.range(first..).take(places_max).copied().collect();
        if first + look.places.len() == entry.thread.len() {
            look.through = Some(self.seen.max(through));
        }
        look
    }

    /// What a subscriber knows of its own way.
    pub fn note(&mut self, key: SubscriberKey, had_ms: u64, caught_up: bool) {
        if let Some(subscriber) = self.subscribers.get_mut(key) {
            (subscriber.had_ms, subscriber.caught_up) = (had_ms, caught_up);
        }
    }

    /// Who had everything once and lacks something now: where it stands, and when its last event came.
    pub fn lagging(&self) -> Vec<(SubscriberKey, Seq, u64)> {
        let lags =
            |one: &Subscriber| one.caught_up && one.end != End::Now && lacks(&self.filters[one.filter], one);
        let lagging = self.subscribers.iter().filter(|(_, one)| lags(one));
        lagging.map(|(key, one)| (key, one.through, one.had_ms)).collect()
    }

    /// A subscriber that stood at a place is too far behind: it ends. Whether it was still there.
    pub fn end_slow(&mut self, key: SubscriberKey, through: Seq, wake: &mut Vec<Waker>) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(key).filter(|one| one.through == through) else {
            return false;
        };
        (subscriber.end, subscriber.slow) = (End::Now, true);
        wake.extend(subscriber.waker.take());
        true
    }

    /// Whether a subscriber was too far behind.
    pub fn is_slow(&self, key: SubscriberKey) -> bool {
        self.subscribers.get(key).is_some_and(|subscriber| subscriber.slow)
    }

    /// Lengthens a filter's thread back to `from`: `places` are all that it wants in `(from, short_of]`, ascending.
    pub fn fill(&mut self, key: SubscriberKey, from: Seq, short_of: Seq, places: &[Seq]) {
        let Some(subscriber) = self.subscribers.get(key) else { return };
        let entry = &mut self.filters[subscriber.filter];
        // Another subscriber may have filled it, or eviction cut it, since it was found short.
        if entry.from == short_of && from < short_of {
            for place in places.iter().rev() {
                entry.thread.push_front(*place);
            }
            entry.from = from;
        }
    }

    /// Bytes went out to a subscriber.
    pub fn wrote(&mut self, key: SubscriberKey) {
        if let Some(subscriber) = self.subscribers.get_mut(key) {
            subscriber.written_ms = self.now_ms;
            subscriber.heartbeat = false;
        }
    }

    /// Places in all threads.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.filters.iter().map(|(_, entry)| entry.thread.len()).sum()
    }

    /// A subscriber's filter.
    pub fn filter(&self, key: SubscriberKey) -> Option<Arc<Filter>> {
        self.subscribers.get(key).map(|subscriber| Arc::clone(&self.filters[subscriber.filter].filter))
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Every record up to here is in the threads.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// How far the slowest is behind, in places.
    pub fn lag_max(&self) -> u64 {
        self.subscribers.iter().map(|(_, subscriber)| self.behind(subscriber)).max().unwrap_or(0)
    }

    /// The same of one of them.
    pub fn lag_of(&self, key: SubscriberKey) -> u64 {
        self.subscribers.get(key).map_or(0, |subscriber| self.behind(subscriber))
    }

    fn behind(&self, subscriber: &Subscriber) -> u64 {
        let is_behind = lacks(&self.filters[subscriber.filter], subscriber);
        if is_behind { self.seen.0.saturating_sub(subscriber.through.0) } else { 0 }
    }

    /// How many subscribers select a topic.
    pub fn readers_of(&self, topic: &str) -> usize {
        let mut filters = Vec::new();
        self.interest.each(topic, |filter| filters.push(filter));
        filters.sort_unstable();
        filters.dedup();
        filters.iter().filter_map(|filter| self.filters.get(*filter)).map(|entry| entry.members.len()).sum()
    }

    fn intern(&mut self, filter: Filter) -> FilterKey {
        let filter = Arc::new(filter);
        let key = self.filters.insert(FilterEntry {
            filter: Arc::clone(&filter),
            thread: VecDeque::new(),
            from: self.seen,
            members: Vec::new(),
        });
        for selector in filter.selectors().iter() {
            self.interest.add(selector, key);
        }
        self.by_filter.insert(filter, key);
        key
    }
}

/// One with nothing to read is not behind, however old its cursor: nothing it wants came since.
fn lacks(entry: &FilterEntry, subscriber: &Subscriber) -> bool {
    subscriber.through < entry.from || entry.thread.back() > Some(&subscriber.through)
}

/// A number for a key that has nothing to do with its neighbours' (SplitMix64's last step).
fn spread(key: usize) -> u64 {
    let mut z = u64::try_from(key).unwrap_or(0).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EventBody;
    use crate::selector::{Selector, Selectors};
    use crate::topic::TopicName;

    fn filter(text: &str) -> Filter {
        Filter::topics(Selectors::new(vec![Selector::parse(text).unwrap()]))
    }

    fn event(seq: u64, topic: &str) -> Record {
        let topics = [TopicName::parse(topic).unwrap()].into_iter().collect();
        Record { seq: Seq(seq), time_ms: 0, topics, what: What::Event(EventBody::default()) }
    }

    fn enter(shard: &mut Shard, text: &str, through: u64) -> SubscriberKey {
        shard.enter(filter(text), Seq(through), Arc::default())
    }

    #[test]
    fn equal_filters_share_a_thread_and_the_last_one_takes_it_away() {
        let mut shard = Shard::new(0, Seq(10), 0);
        let (one, two, other) =
            (enter(&mut shard, "a", 10), enter(&mut shard, "a", 10), enter(&mut shard, "b", 10));
        assert_eq!(shard.filters.len(), 2);
        assert_eq!(shard.leave(one), Leave::OthersRemain);
        let mut wake = Vec::new();
        assert!(shard.look(two, Waker::noop(), Seq(10), 9).places.is_empty());
        shard.handle_commit(&[event(11, "a"), event(12, "b"), event(13, "a")], Seq(0), &mut wake);
        assert_eq!(wake.len(), 1, "who looked is woken, once");
        let look = shard.look(two, Waker::noop(), Seq(10), 1);
        assert_eq!((look.places, look.through), (vec![Seq(11)], None));
        let look = shard.look(two, Waker::noop(), Seq(11), 9);
        assert_eq!((look.places, look.through), (vec![Seq(13)], Some(Seq(13))));
        assert_eq!(shard.lag_max(), 3);
        assert_eq!((shard.leave(two), shard.leave(other)), (Leave::LastOfFilter, Leave::LastOfFilter));
        assert_eq!(shard.leave(other), Leave::OthersRemain, "a key that is gone changes nothing");
        assert!(
            shard.is_empty()
                && shard.interest.is_empty()
                && shard.by_filter.is_empty()
                && shard.filters.is_empty()
        );
    }

    #[test]
    fn a_thread_is_lengthened_once_and_only_if_it_is_still_short() {
        let mut shard = Shard::new(0, Seq(10), 0);
        let one = enter(&mut shard, "a", 5);
        assert_eq!(shard.look(one, Waker::noop(), Seq(5), 9).short_of, Some(Seq(10)));
        shard.handle_commit(&[event(11, "a")], Seq(0), &mut Vec::new());
        for _ in 0..2 {
            shard.fill(one, Seq(5), Seq(10), &[Seq(7), Seq(9)]);
            assert_eq!(shard.look(one, Waker::noop(), Seq(5), 9).places, [Seq(7), Seq(9), Seq(11)]);
        }
        // Eviction cuts it again, also while somebody is about to fill it.
        shard.handle_commit(&[event(12, "a")], Seq(9), &mut Vec::new());
        shard.fill(one, Seq(5), Seq(5), &[Seq(6)]);
        let look = shard.look(one, Waker::noop(), Seq(5), 9);
        assert_eq!((look.short_of, look.places), (Some(Seq(9)), vec![]));
    }
}
