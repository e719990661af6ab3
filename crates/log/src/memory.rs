//! A log that is kept in memory, for `durability = memory`: the same judge, no disk, a new life at every start.
//!
//! **Invariant:** what is kept stays under the configured bytes (the newest event aside); what is let go is told
//! like the retention of a log on disk.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};
use tidings_hub::fold::Fold;
use tidings_hub::judge::Judge;
use tidings_hub::keys::Keys;
use tidings_hub::ports::{
    Batch, Bounds, BoxFuture, Clock, Durability, Health, Log, LogError, Op, Outcome, Page, Refusal, SeqRange,
    Sink, Snapshot, Submission, Trimmed, Want,
};
use tidings_hub::{Epochs, EventBody, Record, Retention, Seq, TopicName};

use crate::config::LogConfig;
use crate::error::OpenError;
use crate::meta::new_epoch;
use crate::pending::all_refused;
use crate::retention::{Limits, RetentionClock};
use crate::shared::Attachment;
use crate::tail::is_stored;

/// What a record costs beside its data.
const RECORD_COST_BYTES: usize = 256;
/// Records that a reader looks at before it lets others have the lock.
const LOOKS_MAX: usize = 4_096;

/// A log in memory. Nothing of it survives the process.
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    config: LogConfig,
    /// Taken first, held while a submission is judged and shown: this is the order of the log.
    writer: Mutex<Writer>,
    kept: RwLock<Kept>,
}

struct Writer {
    judge: Judge,
    attachment: Attachment,
    limits: Limits,
    now: RetentionClock,
    is_stopped: bool,
}

struct Kept {
    bounds: Bounds,
    records: VecDeque<Record>,
    bytes: usize,
    /// Where each topic's events are, ascending.
    topics: HashMap<TopicName, VecDeque<Seq>, RandomState>,
    /// The last place that each topic has lost.
    trimmed: HashMap<TopicName, Seq, RandomState>,
    health: Health,
}

impl MemoryLog {
    /// Begins a log. Its epoch is chosen by chance, so positions of an earlier start do not mean anything here.
    ///
    /// # Errors
    /// [`OpenError::Io`] if the system has no random number to give.
    pub fn open(clock: Arc<dyn Clock>, config: LogConfig) -> Result<Self, OpenError> {
        let random = getrandom::u64().map_err(|error| OpenError::Io {
            doing: "asking for a random number".into(),
            source: io::Error::other(error),
        })?;
        let epochs = Arc::new(Epochs::first(new_epoch(random, &[])));
        let keys = Keys::new(config.key_window);
        let judge = Judge::new(Fold::default(), keys, Arc::clone(&epochs), Seq::ZERO);
        let bounds = Bounds { oldest: Seq(1), head: Seq::ZERO, epochs, durability: Durability::Memory };
        let writer = Writer {
            judge,
            attachment: Attachment::Waiting(Fold::default()),
            limits: Limits::new(&config, &Fold::default(), Seq::ZERO),
            now: RetentionClock::new(clock.wall_ms(), clock.monotonic_ms()),
            is_stopped: false,
        };
        let kept = Kept {
            bounds,
            records: VecDeque::new(),
            bytes: 0,
            topics: HashMap::default(),
            trimmed: HashMap::default(),
            health: Health::Ready,
        };
        let shared = Shared { clock, config, writer: Mutex::new(writer), kept: RwLock::new(kept) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A round of upkeep: limits by age, and limits of topics. Call it about once a second.
    pub fn tick(&self) {
        let shared = &self.shared;
        let mut writer = shared.writer.lock();
        let writer = &mut *writer;
        let now_ms = writer.now.advance(shared.clock.wall_ms(), shared.clock.monotonic_ms());
        writer.judge.settle(now_ms);
        shared.let_go(writer, shared.config.retention_age_ms.map(|age_ms| now_ms.saturating_sub(age_ms)));
        for (topic, retention) in writer.limits.take_due(now_ms) {
            let (through, due_ms) = shared.kept.read().trim_of(&topic, retention, now_ms);
            if let Some(due_ms) = due_ms {
                writer.limits.set_due(topic.as_str(), due_ms);
            }
            if let Some(through) = through {
                let ops = vec![Op::Trim { topic, through }];
                let submission = Submission { ops, atomic: true, time_ms: shared.clock.wall_ms() };
                // A topic that was deleted meanwhile has nothing to trim.
                drop(shared.submit(writer, submission));
            }
        }
    }
}

impl Shared {
    fn submit(&self, writer: &mut Writer, submission: Submission) -> Vec<Outcome> {
        let mut records = Vec::new();
        let outcomes = writer.judge.judge(submission, &mut records);
        writer.judge.settle(writer.now.now_ms());
        if records.is_empty() {
            return outcomes;
        }
        {
            let mut kept = self.kept.write();
            for record in &records {
                writer.limits.note(record, writer.judge.fold());
                kept.push(record);
            }
            kept.bounds.head = writer.judge.last();
        }
        let changed: Vec<TopicName> = controlled(&records).cloned().collect();
        writer.attachment.commit(Batch { records, trimmed: None });
        if !changed.is_empty() {
            // What is gone is told first: nobody may find it missing who cannot know why.
            let mut kept = self.kept.write();
            changed.iter().for_each(|topic| kept.lose(topic, writer.judge.fold()));
        }
        self.let_go(writer, None);
        outcomes
    }

    /// Lets the oldest records go: those before a time, and those over the budget. Goes a part below the budget, so
    /// that not every publish pays for a look at all topics.
    fn let_go(&self, writer: &mut Writer, before_ms: Option<u64>) {
        let bytes_max = self.config.memory_bytes;
        let mut lost: HashMap<TopicName, Seq> = HashMap::new();
        let (count, oldest) = {
            let kept = self.kept.read();
            let mut bytes = kept.bytes;
            let target = if bytes > bytes_max { bytes_max - bytes_max / 8 } else { bytes };
            let newest = kept.records.back().map(|record| record.seq);
            let goes = kept.records.iter().take_while(|record| {
                let is_over = bytes > target && Some(record.seq) != newest;
                bytes = bytes.saturating_sub(cost(record));
                is_over || before_ms.is_some_and(|before_ms| record.time_ms < before_ms)
            });
            let mut count = 0;
            for record in goes {
                count += 1;
                lost.extend(record.topics.iter().map(|topic| (topic.clone(), record.seq)));
            }
            let oldest = kept.records.get(count).map_or_else(|| kept.bounds.head.next(), |record| record.seq);
            (count, oldest)
        };
        if count == 0 {
            return;
        }
        let fold = writer.judge.fold();
        let is_news = |topic: &TopicName, seq: Seq| {
            fold.get(topic.as_str()).is_some_and(|state| state.trimmed < seq.min(state.last))
        };
        lost.retain(|topic, seq| is_news(topic, *seq));
        let trimmed = Trimmed { through: oldest.prev(), topics: lost.into_iter().collect() };
        writer.judge.trim(&trimmed);
        let told = trimmed.topics.clone();
        writer.attachment.commit(Batch { records: Vec::new(), trimmed: Some(trimmed) });
        let fold = writer.judge.fold();
        let mut kept = self.kept.write();
        for _ in 0..count {
            kept.pop();
        }
        for (topic, _) in told {
            if let Some(state) = fold.get(topic.as_str()) {
                kept.trimmed.insert(topic, state.trimmed);
            }
        }
        kept.trimmed.retain(|topic, _| fold.get(topic.as_str()).is_some());
        kept.bounds.oldest = oldest;
        writer.limits.cool(fold, Seq::ZERO);
    }

    fn read(&self, want: &Want, range: SeqRange, bytes_max: usize) -> Page {
        let last = range.last.min(self.kept.read().bounds.head);
        let mut page = Page { through: last.max(range.first.prev()), ..Page::default() };
        let (mut from, mut bytes) = (range.first, 0);
        'page: while from <= last {
            let kept = self.kept.read();
            let (places, next) = kept.places(want, from, last);
            for place in places {
                let Some(record) = kept.get(place).filter(|record| kept.is_wanted(want, record)) else {
                    continue;
                };
                bytes += 64 + record.event().map_or(0, |event| event.data.len());
                page.records.push(record.clone());
                if bytes >= bytes_max {
                    page.through = place;
                    break 'page;
                }
            }
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        let kept = self.kept.read();
        page.records.retain(|record| kept.is_wanted(want, record));
        page.oldest = kept.bounds.oldest;
        page
    }
}

/// The topics of the control records among these.
fn controlled(records: &[Record]) -> impl Iterator<Item = &TopicName> {
    records.iter().filter(|record| record.event().is_none()).flat_map(|record| &record.topics)
}

impl Kept {
    fn lose(&mut self, topic: &TopicName, fold: &Fold) {
        let lost = fold.get(topic.as_str()).map_or(Seq::ZERO, |state| state.trimmed);
        if lost > Seq::ZERO {
            self.trimmed.insert(topic.clone(), lost);
            self.forget_through(topic, lost);
        }
    }

    fn push(&mut self, record: &Record) {
        if record.event().is_none() {
            return;
        }
        if !is_stored(record) {
            return;
        }
        self.bytes += cost(record);
        for topic in &record.topics {
            match self.topics.get_mut(topic.as_str()) {
                Some(places) if places.back() == Some(&record.seq) => {}
                Some(places) => places.push_back(record.seq),
                None => _ = self.topics.insert(topic.clone(), VecDeque::from([record.seq])),
            }
        }
        self.records.push_back(record.clone());
    }

    fn pop(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&record));
            for topic in &record.topics {
                self.forget_through(topic, record.seq);
            }
        }
    }

    /// The topic's places up to here are gone. Its records stay in the ring until their turn comes.
    fn forget_through(&mut self, topic: &TopicName, through: Seq) {
        if let Some(places) = self.topics.get_mut(topic.as_str()) {
            while places.front().is_some_and(|place| *place <= through) {
                places.pop_front();
            }
            if places.is_empty() {
                self.topics.remove(topic.as_str());
            }
        }
    }

    fn get(&self, place: Seq) -> Option<&Record> {
        let at = self.records.binary_search_by_key(&place, |record| record.seq).ok()?;
        self.records.get(at)
    }

    fn is_wanted(&self, want: &Want, record: &Record) -> bool {
        let there =
            |topic: &TopicName| self.trimmed.get(topic.as_str()).is_none_or(|lost| *lost < record.seq);
        let asked = |topic: &TopicName| match want {
            Want::Topics(topics) => topics.matches(topic.as_str()),
            Want::Exactly(_) => true,
        };
        record.topics.iter().any(|topic| asked(topic) && there(topic))
    }

    /// Where to look from `from` on, a bounded number of places, and where to go on.
    fn places(&self, want: &Want, from: Seq, last: Seq) -> (Vec<Seq>, Option<Seq>) {
        let in_range = |place: &Seq| *place <= last;
        let mut places: Vec<Seq> = match want {
            Want::Exactly(exactly) => {
                let start = exactly.partition_point(|place| *place < from);
                exactly.iter().skip(start).take(LOOKS_MAX).copied().filter(in_range).collect()
            }
            Want::Topics(topics) => match topics.exact() {
                Some(names) => {
                    let threads = names.filter_map(|name| self.topics.get(name.as_str()));
                    let part = |places: &VecDeque<Seq>| {
                        let start = places.partition_point(|place| *place < from);
                        places
                            .iter()
                            .skip(start)
                            .take(LOOKS_MAX)
                            .copied()
                            .filter(in_range)
                            .collect::<Vec<_>>()
                    };
                    threads.flat_map(part).collect()
                }
                None => {
                    let start = self.records.partition_point(|record| record.seq < from);
                    let records = self.records.iter().skip(start).take(LOOKS_MAX);
                    records.map(|record| record.seq).filter(in_range).collect()
                }
            },
        };
        places.sort_unstable();
        places.dedup();
        let more = places.len() >= LOOKS_MAX;
        places.truncate(LOOKS_MAX);
        let next = places.last().filter(|_| more).map(|place| place.next());
        (places, next)
    }

    /// How far a topic is over its limits, and when to look again.
    fn trim_of(&self, topic: &TopicName, limits: Retention, now_ms: u64) -> (Option<Seq>, Option<u64>) {
        let Some(places) = self.topics.get(topic.as_str()) else { return (None, None) };
        let (count_max, bytes_max) = (limits.count.unwrap_or(u64::MAX), limits.bytes.unwrap_or(u64::MAX));
        let (mut count, mut bytes) = (0, 0u64);
        for (at, place) in places.iter().enumerate().rev() {
            let Some(record) = self.get(*place) else { continue };
            let is_newest = at + 1 == places.len();
            if limits.keep_last && is_newest && !record.event().is_some_and(EventBody::is_tombstone) {
                (count, bytes) = (1, record.event().map_or(0, |event| event.data.len() as u64));
                continue;
            }
            count += 1;
            bytes += record.event().map_or(0, |event| event.data.len() as u64);
            let age_ms = now_ms.saturating_sub(record.time_ms);
            if count > count_max || bytes > bytes_max || limits.age_ms.is_some_and(|max| age_ms > max) {
                return (Some(*place), self.due(places, *place, limits));
            }
        }
        (None, self.due(places, Seq::ZERO, limits))
    }

    fn due(&self, places: &VecDeque<Seq>, after: Seq, limits: Retention) -> Option<u64> {
        let next = places.iter().find(|place| **place > after)?;
        let is_kept = limits.keep_last && places.back() == Some(next);
        if is_kept {
            // A tombstone goes with the next look, when something else comes.
            return None;
        }
        Some(self.get(*next)?.time_ms.saturating_add(limits.age_ms?).saturating_add(1))
    }
}

fn cost(record: &Record) -> usize {
    RECORD_COST_BYTES + record.event().map_or(0, |event| event.data.len())
}

impl Log for MemoryLog {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        let mut writer = self.shared.writer.lock();
        let outcomes = if writer.is_stopped {
            all_refused(&submission, Refusal::Stopped)
        } else {
            let now = (self.shared.clock.wall_ms(), self.shared.clock.monotonic_ms());
            writer.now.advance(now.0, now.1);
            self.shared.submit(&mut writer, submission)
        };
        Box::pin(std::future::ready(outcomes))
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        let mut writer = self.shared.writer.lock();
        match std::mem::replace(&mut writer.attachment, Attachment::Sink(sink)) {
            Attachment::Waiting(fold) => Ok(Snapshot { bounds: self.bounds(), fold, lost: Arc::default() }),
            attached @ Attachment::Sink(_) => {
                writer.attachment = attached;
                Err(LogError::Attached)
            }
        }
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        Box::pin(std::future::ready(Ok(self.shared.read(&want, range, bytes_max))))
    }

    fn bounds(&self) -> Bounds {
        self.shared.kept.read().bounds.clone()
    }

    fn health(&self) -> Health {
        self.shared.kept.read().health.clone()
    }

    fn bytes(&self) -> Option<u64> {
        self.shared.kept.read().bytes.try_into().ok()
    }

    fn tick(&self) {
        Self::tick(self);
    }

    fn shutdown(&self) -> BoxFuture<()> {
        let mut writer = self.shared.writer.lock();
        writer.is_stopped = true;
        self.shared.kept.write().health = Health::Stopped;
        writer.attachment.health(Health::Stopped);
        Box::pin(std::future::ready(()))
    }
}
