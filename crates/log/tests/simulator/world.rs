//! The world that a seed makes: what is asked of the log, and what happens to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tidings_hub::ports::{Durability, Health, Log, Op, Outcome, Refusal, SeqRange, Submission};
use tidings_hub::{ItemKey, Once, Producer, Record, Retention, Selector, Seq};
use tidings_log::{LogConfig, OpenError};
use tidings_testkit::disk::{Call, Fault, Lie, Random, SimDisk};

use super::common::{Manual, TestClock, config, event, now, numbered, topic};
use super::model::producers::{IDS, Known, Number, Token};
use super::model::{Deed, GONE, Model, Rules, TOPICS, Wish};

mod beside;
mod copies;

use beside::Beside;

/// From this seed on the keeper and the writer are at work at once. Those before it are as they were when they were recorded.
pub(crate) const BESIDE_FROM: u64 = 7_000_000;

pub(crate) struct World {
    random: Random,
    disk: SimDisk,
    clock: Arc<TestClock>,
    config: LogConfig,
    model: Model,
    log: Option<Manual>,
    told: usize,
    events: u64,
    /// One submission of so many is a control: where that is often, there is much to compact.
    control_every: u64,
    /// Where backups are made.
    backup: Option<SimDisk>,
    /// Faults that had struck when the present life began.
    struck: u64,
    is_told: bool,
    tally: Tally,
    /// The last number of each producer, if all is accepted that is planned.
    planned: BTreeMap<&'static str, Number>,
    is_beside: bool,
    /// Of the present life.
    beside: Option<Arc<Beside>>,
}

/// What happened in a seed, or in many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) acked: u64,
    /// Lives of the log that began, or tried to.
    pub(crate) starts: u64,
    pub(crate) losses: u64,
    pub(crate) kills: u64,
    /// Calls that failed because they were told to.
    pub(crate) faults: u64,
    /// Numbered events that were accepted, and that were answered as a repetition or refused.
    pub(crate) numbered: u64,
    pub(crate) repeated: u64,
}

impl Tally {
    #[allow(dead_code, reason = "a campaign adds, a hunt does not")]
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acked += other.acked;
        self.starts += other.starts;
        self.losses += other.losses;
        self.kills += other.kills;
        self.faults += other.faults;
        self.numbered += other.numbered;
        self.repeated += other.repeated;
    }
}

/// Runs a seed: some dozens of steps, or, one seed in sixteen, some hundreds.
pub(crate) fn run(seed: u64, lie: Option<Lie>) -> Result<Tally, String> {
    let mut world = World::seeded(seed, lie);
    let steps = if world.random.once_in(16) { 200 } else { 20 + world.random.below(36) };
    for _ in 0..steps {
        world.step()?;
    }
    world.finish()
}

impl World {
    fn seeded(seed: u64, lie: Option<Lie>) -> Self {
        let mut random = Random::seeded(seed);
        let disk = SimDisk::seeded(random.next());
        if let Some(lie) = lie {
            disk.lie(lie);
        }
        let config = LogConfig {
            durability: if random.once_in(4) { Durability::Os } else { Durability::Fsync },
            segment_bytes: 400 + random.below(2_500),
            // Some so small that a segment goes as soon as it is sealed.
            retention_bytes: match random.below(6) {
                0 => Some(200 + random.below(800)),
                1 | 2 => Some(2_000 + random.below(6_000)),
                _ => None,
            },
            erase_after_ms: random.below(20_000),
            ..config()
        };
        let config = LogConfig { ..limits(&mut random, config) };
        let clock = TestClock::at(1_000_000);
        let control_every = if random.once_in(3) { 2 } else { 6 };
        let mut model = Model::default();
        model.is_limited = config.retention_bytes.is_some()
            || config.retention_age_ms.is_some()
            || config.retention_count.is_some()
            || !config.topic_retention.is_empty();
        model.keeps_last = config.retention_keep_last;
        model.rules = Rules {
            has_bytes: config.retention_bytes.is_some(),
            count: config.retention_count,
            age_ms: config.retention_age_ms,
            of_c: config.topic_retention.first().map(|(_, retention)| *retention),
        };
        let is_told = std::env::var_os("TIDINGS_SEED").is_some();
        if is_told {
            println!("{config:?}");
        }
        Self {
            random,
            disk,
            clock,
            config,
            model,
            log: None,
            told: 0,
            events: 0,
            control_every,
            backup: None,
            struck: 0,
            is_told,
            tally: Tally::default(),
            planned: BTreeMap::new(),
            is_beside: seed >= BESIDE_FROM,
            beside: None,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.tally.steps += 1;
        if self.log.is_none() {
            self.start()?;
        }
        self.clock.pass(self.random.below(2_000));
        let dice = self.random.below(16);
        self.say(|| {
            format!("-- {dice} {:?} {:?}", self.disk.names(), self.log.as_ref().map(|log| log.log.bounds()))
        });
        match dice {
            0 => self.plan_loss(12),
            1 => {
                let call = Call::ALL[self.random.up_to(Call::ALL.len() - 1)];
                let full = !matches!(call, Call::Read | Call::Open) && self.random.once_in(2);
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                self.disk.fail(Fault { call, after: self.random.below(4), kind });
            }
            2 => {
                let room = self.random.below(1_500);
                self.disk.set_capacity(Some(self.disk.bytes() + room));
            }
            3 | 4 => self.disk.set_capacity(None),
            5 => self.restart()?,
            6 => {
                // Much of what the keeper does follows from this, and takes many calls.
                if self.random.once_in(2) {
                    self.plan_loss(40);
                }
                if let Some(log) = &mut self.log {
                    log.log.tick();
                    if let Some(beside) = &self.beside {
                        beside.keep(log, &mut self.random);
                    }
                    log.pump();
                }
                self.listen()?;
            }
            7 if self.random.once_in(3) => self.back_up()?,
            7 => self.look()?,
            _ => self.work()?,
        }
        if self.disk.is_dark() {
            return self.power_cycle();
        }
        let has_failed = |log: &Manual| matches!(log.log.health(), Health::Failed { .. });
        if self.log.as_ref().is_some_and(has_failed) {
            if self.disk.struck() == self.struck {
                return Err("the log has failed for no reason".into());
            }
            // A failed log still serves what it showed.
            self.look()?;
            self.log = None;
            return if self.random.once_in(2) { self.power_cycle() } else { self.kill() };
        }
        Ok(())
    }

    /// Power will go within so many calls; or at one of the rare ones, between which there is most to lose.
    fn plan_loss(&mut self, calls: u64) {
        const RARE: [Call; 5] = [Call::Create, Call::Rename, Call::Unlink, Call::SyncDir, Call::Truncate];
        if self.random.once_in(2) {
            let call = RARE[self.random.up_to(RARE.len() - 1)];
            self.disk.lose_power_on(call, self.random.below(4));
        } else {
            self.disk.lose_power_in(1 + self.random.below(calls));
        }
    }

    /// Tells what happens, when one seed is looked at.
    fn say(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{}", what());
        }
    }

    fn finish(mut self) -> Result<Tally, String> {
        self.disk.set_capacity(None);
        if self.log.is_none() {
            self.start()?;
        }
        self.restart()?;
        self.power_cycle()?;
        self.look()?;
        (self.tally.acked, self.tally.faults) = (self.model.acked, self.disk.struck());
        Ok(std::mem::take(&mut self.tally))
    }

    /// Starts the log, through losses of power while it does.
    fn start(&mut self) -> Result<(), String> {
        self.start_after(false)
    }

    fn start_after(&mut self, mut lost_power: bool) -> Result<(), String> {
        self.alone();
        for attempt in 0..20 {
            if attempt < 4 && self.random.once_in(4) {
                self.disk.lose_power_in(1 + self.random.below(12));
            }
            let struck = self.disk.struck();
            self.tally.starts += 1;
            let opened = Manual::open(self.disk.clone(), &self.clock, self.config.clone());
            self.say(|| {
                let sizes =
                    self.disk.names().into_iter().map(|n| (self.disk.content(&n).map(|c| c.len()), n));
                format!("{:?}", sizes.collect::<Vec<_>>())
            });
            self.say(|| format!("start {:?}, dark {}", opened.as_ref().err(), self.disk.is_dark()));
            match opened {
                Ok(log) if !self.disk.is_dark() => {
                    (self.told, self.struck) = (0, struck);
                    return self.meet(log, lost_power);
                }
                Err(error) if !self.disk.is_dark() => {
                    // A scheduled fault, or no space: said, and tried again. Anything else is a log that is lost.
                    let is_fault = match error {
                        OpenError::Io { .. } => self.disk.struck() > struck,
                        OpenError::Full { .. } => true,
                        _ => false,
                    };
                    if !is_fault {
                        return Err(format!("it does not start: {error}"));
                    }
                    self.disk.set_capacity(None);
                }
                _ => {
                    self.disk = self.disk.power_on();
                    self.tally.losses += 1;
                    lost_power = true;
                }
            }
        }
        Err("it never starts".into())
    }

    fn meet(&mut self, log: Manual, lost_power: bool) -> Result<(), String> {
        self.set_beside(&log);
        let bounds = log.log.bounds();
        // A fault strikes once: the next read gets through.
        let mut found = self.read(&log, "**")?;
        while found.is_none() && !self.disk.is_dark() {
            found = self.read(&log, "**")?;
        }
        self.log = Some(log);
        let Some(found) = found else { return self.power_cycle() };
        self.say(|| {
            format!("found {:?} within {bounds:?}", found.iter().map(|r| r.seq.0).collect::<Vec<_>>())
        });
        let may_lose_tail = lost_power && self.config.durability == Durability::Os;
        let fold = self.log.as_ref().map(Manual::fold).unwrap_or_default();
        self.model.now_ms = tidings_hub::ports::Clock::wall_ms(&*self.clock);
        self.model.meet(&found, &bounds, &fold, may_lose_tail)?;
        if !self.model.is_limited {
            self.model.check_beginning(&bounds)?;
        }
        self.look()?;
        self.check_keys()?;
        self.settle_producers()
    }

    fn kill(&mut self) -> Result<(), String> {
        self.log = None;
        self.disk = self.disk.kill();
        self.tally.kills += 1;
        if self.random.once_in(2) {
            self.rot(false)?;
        }
        self.start_after(false)
    }

    fn power_cycle(&mut self) -> Result<(), String> {
        self.say(|| format!("power goes {:?}", self.disk.names()));
        self.listen()?;
        self.disk.lose_power();
        self.log = None;
        self.disk = self.disk.power_on();
        self.tally.losses += 1;
        self.start_after(true)
    }

    fn restart(&mut self) -> Result<(), String> {
        match self.random.below(3) {
            0 => self.kill(),
            1 => self.power_cycle(),
            _ => {
                let rots = self.random.once_in(2);
                if rots {
                    self.disk.set_capacity(None);
                }
                if let Some(log) = self.log.take() {
                    log.end();
                }
                self.say(|| format!("ended {:?}", self.disk.names()));
                if rots && !self.disk.is_dark() && self.disk.struck() == self.struck {
                    self.rot(true)?;
                }
                if self.disk.is_dark() { self.power_cycle() } else { self.start_after(false) }
            }
        }
    }

    /// What the sink was told since.
    fn listen(&mut self) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        let bounds = log.log.bounds();
        self.model.oldest = self.model.oldest.max(bounds.oldest);
        self.model.head = self.model.head.max(bounds.head);
        let news = log.told.with(|told| told.records[self.told..].to_vec());
        self.told += news.len();
        for record in &news {
            if record.seq > bounds.head {
                return Err(format!("{:?} was shown past the head", record.seq));
            }
            self.model.see(bounds.epochs.position(record.seq).epoch, record)?;
        }
        self.model.now_ms = tidings_hub::ports::Clock::wall_ms(&*self.clock);
        log.told.with(|told| self.model.excuse(&told.fold))
    }

    /// Readers find exactly what they should, by everything and by topic.
    fn look(&mut self) -> Result<(), String> {
        self.listen()?;
        let Some(log) = &self.log else { return Ok(()) };
        let bounds = log.log.bounds();
        let Some(all) = self.read(log, "**")? else { return Ok(()) };
        let fold = log.fold();
        self.model.check(&all, &bounds, &fold)?;
        for name in TOPICS {
            let Some(found) = self.read(log, name)? else { return Ok(()) };
            self.model.check_topic(name, &found, &bounds, &fold)?;
        }
        let random = &mut self.random;
        let places = self.model.stored_places();
        let some: Vec<Seq> = places.into_iter().filter(|_| random.once_in(3)).collect();
        let range = SeqRange { first: Seq(1), last: Seq(u64::MAX) };
        let exactly = tidings_hub::ports::Want::Exactly(some.clone().into());
        let struck = self.disk.struck();
        let page = match now(log.log.read(exactly, range, usize::MAX)) {
            Ok(page) => page,
            Err(_) if self.disk.is_dark() || self.disk.struck() > struck => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let expected: Vec<Seq> =
            all.iter().map(|record| record.seq).filter(|seq| some.contains(seq)).collect();
        let found: Vec<Seq> = page.records.iter().map(|record| record.seq).collect();
        if found != expected {
            return Err(format!("exactly {some:?} gave {found:?} instead of {expected:?}"));
        }
        log.told.with(|told| self.model.check_gaps(&told.fold, &bounds))
    }

    /// What a reader finds; `None` if there is no power to read with, or a fault struck.
    fn read(&self, log: &Manual, selector: &str) -> Result<Option<Vec<Record>>, String> {
        let struck = self.disk.struck();
        match log.try_all(selector) {
            Ok(records) => Ok(Some(records)),
            Err(_) if self.disk.is_dark() || self.disk.struck() > struck => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A repetition of what was acked is known, whatever happened since.
    fn check_keys(&mut self) -> Result<(), String> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        let checked = self.check_keys_of(&mut log);
        self.log = Some(log);
        checked
    }

    fn check_keys_of(&self, log: &mut Manual) -> Result<(), String> {
        for (key, count) in self.model.keys.clone() {
            let once = Some(Once::Item(ItemKey { key: key.as_str().into(), index: count - 1 }));
            let publish = tidings_hub::ports::Publish { once, ..event(&["a"], "again") };
            match log.one(Op::Publish(publish)) {
                Outcome::Held(held) if held.count >= count => {}
                Outcome::Refused(Refusal::Failed | Refusal::Full) => return Ok(()),
                other => return Err(format!("item {} of {key} again: {other:?}", count - 1)),
            }
        }
        Ok(())
    }

    /// What is known of producers is asked, and has to be what it may be.
    fn settle_producers(&mut self) -> Result<(), String> {
        let Some(log) = &mut self.log else { return Ok(()) };
        for id in IDS {
            let Some(known) = ask(log, id)? else { return Ok(()) };
            self.model.settle(id, known, &log.log.bounds())?;
        }
        Ok(())
    }

    /// A round of submissions, handled as one group.
    fn work(&mut self) -> Result<(), String> {
        self.listen()?;
        if !self.model.producers.is_settled() {
            self.settle_producers()?;
        }
        self.planned = IDS.into_iter().filter_map(|id| Some((id, self.model.producers.last(id)?))).collect();
        let wishes: Vec<Wish> = (0..=self.random.below(4)).map(|_| self.wish()).collect();
        let Some(log) = &mut self.log else { return Ok(()) };
        let time_ms = tidings_hub::ports::Clock::wall_ms(&*self.clock);
        let mut waiting = Vec::new();
        for wish in &wishes {
            let ops = wish.deeds.iter().map(op).collect();
            waiting.push(log.log.submit(Submission { ops, atomic: wish.atomic, time_ms }));
        }
        if let Some(beside) = &self.beside {
            beside.keep(log, &mut self.random);
        }
        // Sometimes the keeper is slow: it gets to one job, or to none.
        if self.random.once_in(3) {
            log.pump_alone();
            if self.random.once_in(2) {
                log.keep();
            }
        } else {
            log.pump();
        }
        if self.is_beside {
            // History may have gone in the middle of it, and what was closed with it.
            self.model.oldest = self.model.oldest.max(log.log.bounds().oldest);
        }
        for (wish, outcomes) in wishes.into_iter().zip(waiting) {
            let outcomes = now(outcomes);
            self.say(|| format!("{wish:?}\n   {outcomes:?}"));
            self.judge(wish, &outcomes)?;
        }
        self.listen()
    }

    fn judge(&mut self, wish: Wish, outcomes: &[Outcome]) -> Result<(), String> {
        if outcomes.len() != wish.deeds.len() {
            return Err(format!("{} outcomes for {wish:?}", outcomes.len()));
        }
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(Refusal::Failed))) {
            self.model.doubt(wish);
            return Ok(());
        }
        // What is refused as a whole leaves nothing behind, and what was expected of it neither.
        let is_taken_back = wish.atomic && outcomes.iter().any(|o| matches!(o, Outcome::Refused(_)));
        let before = is_taken_back.then(|| self.model.producers.clone());
        for (deed, outcome) in wish.deeds.iter().zip(outcomes) {
            if let Deed::Event { number: Some(token), .. } = deed {
                self.model.producers.judge(token, outcome)?;
                self.tally.numbered += u64::from(matches!(outcome, Outcome::Committed { .. }));
                self.tally.repeated += u64::from(is_of_number(outcome));
            }
            match outcome {
                Outcome::Committed { position, .. } => self.model.ack(deed, *position)?,
                Outcome::Refused(Refusal::Closed { topic, .. }) => {
                    if !self.model.closed.contains_key(topic.as_str()) {
                        return Err(format!("{topic} is said to be closed"));
                    }
                }
                Outcome::Held(held) => self.model.hold(deed, held.count),
                outcome if is_of_number(outcome) && matches!(deed, Deed::Event { number: Some(_), .. }) => {}
                Outcome::Unchanged { .. }
                | Outcome::Skipped
                | Outcome::Refused(Refusal::Full | Refusal::WithOthers | Refusal::KeyAhead { .. }) => {}
                Outcome::Refused(other) => return Err(format!("refused: {other:?}")),
                Outcome::Repeated(held) => return Err(format!("nobody numbered it: {held:?}")),
            }
        }
        if let Some(before) = before {
            self.model.producers = before;
        }
        Ok(())
    }

    fn wish(&mut self) -> Wish {
        if self.random.once_in(self.control_every) {
            let name = self.topic();
            let places = self.model.stored_places();
            let control = match self.random.below(4) {
                0 => Deed::Close(name),
                1 => Deed::Trim(name, places.get(places.len() / 2).copied().unwrap_or(Seq(1))),
                _ => Deed::Delete(name),
            };
            let mut marker = self.event(vec!["marker"]);
            if let Deed::Event { number, .. } = &mut marker {
                // A repetition would leave no mark.
                *number = None;
            }
            return Wish { atomic: true, deeds: vec![control, marker] };
        }
        let count = 1 + self.random.below(4);
        let deeds = (0..count)
            .map(|_| {
                let first = self.topic();
                let second = self.topic();
                let both = self.random.once_in(5) && first != second;
                self.event(if both { vec![first, second] } else { vec![first] })
            })
            .collect();
        // A topic that is never deleted, and no keys, for all of an atomic one: nothing may hide a part of it.
        let mut wish = Wish { atomic: self.random.once_in(3), deeds };
        if wish.atomic {
            for deed in &mut wish.deeds {
                if let Deed::Event { topics, key, data, .. } = deed {
                    (*topics, *key) = (vec!["marker"], None);
                    *data = data.replacen(GONE, "e", 1);
                }
            }
        }
        wish
    }

    fn event(&mut self, topics: Vec<&'static str>) -> Deed {
        self.events += 1;
        let filling = "x".repeat(self.random.up_to(if self.random.clone().once_in(8) { 1_500 } else { 60 }));
        let is_marker = topics == ["marker"];
        let kind = if !is_marker && self.random.once_in(6) { GONE } else { "e" };
        let data = format!("{kind}{} {filling}", self.events);
        let ephemeral = !is_marker && self.random.once_in(8);
        let key = (!is_marker && !ephemeral && self.random.once_in(3)).then(|| {
            let key = format!("k{}", self.random.below(12));
            let count = self.model.keys.get(&key).copied().unwrap_or(0);
            (key, count)
        });
        let number = (key.is_none() && self.model.producers.is_settled() && self.random.once_in(3))
            .then(|| self.number());
        Deed::Event { topics, data, key, number, ephemeral }
    }

    /// Mostly the next number of a producer, or the first of its next life; or one that must not be accepted.
    fn number(&mut self) -> Token {
        let id = IDS[self.random.up_to(IDS.len() - 1)];
        let Some(last) = self.planned.get(id).copied() else {
            // So that one before it has a number too, and none is 0.
            let number = Number { epoch: 2 + self.random.below(3), seq: u64::from(self.random.once_in(8)) };
            return self.plan(Token { id, number, is_new: number.seq == 0 });
        };
        let Number { epoch, seq } = last;
        let next = Number { epoch, seq: seq + 1 };
        let (number, is_new) = match self.random.below(24) {
            0 | 1 => (last, false),
            2 => (Number { epoch, seq: self.random.below(seq + 1) }, false),
            3 => (Number { epoch, seq: seq + 2 + self.random.below(3) }, false),
            4 => (Number { epoch: epoch - 1, seq: self.random.below(seq + 2) }, false),
            5 => (Number { epoch: epoch + 1, seq: 1 + self.random.below(seq + 2) }, false),
            6 | 7 => (Number { epoch: epoch + 1 + self.random.below(2), seq: 0 }, true),
            _ => (next, true),
        };
        self.plan(Token { id, number, is_new })
    }

    fn plan(&mut self, token: Token) -> Token {
        if token.is_new {
            self.planned.insert(token.id, token.number);
        }
        token
    }

    fn topic(&mut self) -> &'static str {
        TOPICS[self.random.up_to(TOPICS.len() - 1)]
    }
}

/// Limits beside that by size, in some worlds; and in half of those that have any, the newest event is kept.
fn limits(random: &mut Random, config: LogConfig) -> LogConfig {
    let one_topic = Retention {
        age_ms: random.once_in(2).then(|| random.below(30_000)),
        count: Some(1 + random.below(4)),
        ..Retention::default()
    };
    let some = |is_there: bool, limit: u64| is_there.then_some(limit);
    LogConfig {
        retention_age_ms: some(random.once_in(6), 2_000 + random.below(40_000)),
        retention_count: some(random.once_in(6), 3 + random.below(40)),
        topic_retention: if random.once_in(4) {
            Selector::parse("c/*").map(|topics| vec![(topics, one_topic)]).unwrap_or_default()
        } else {
            Vec::new()
        },
        retention_keep_last: random.once_in(2),
        ..config
    }
}

/// Whether it says that a number was accepted before, or must not come.
fn is_of_number(outcome: &Outcome) -> bool {
    use Refusal::{EpochNotAtZero, ProducerAhead, StaleEpoch};
    match outcome {
        Outcome::Repeated(_) => true,
        Outcome::Refused(refusal) => {
            matches!(refusal, StaleEpoch { .. } | EpochNotAtZero { .. } | ProducerAhead { .. })
        }
        _ => false,
    }
}

/// What a log knows of a producer, asked so that nothing can be appended; `None`: it cannot answer now.
#[expect(clippy::option_option, reason = "no answer, or the answer that nothing is known")]
fn ask(log: &mut Manual, id: &str) -> Result<Option<Option<Known>>, String> {
    // Lives begin with 1, so this one is over, or nobody knows of any.
    let epoch = match log.one(numbered("a", "again", id, 0, 1_000_000)) {
        Outcome::Refused(Refusal::ProducerAhead { expected: 0, .. }) => return Ok(Some(None)),
        Outcome::Refused(Refusal::StaleEpoch { current, .. }) => current,
        Outcome::Refused(Refusal::Failed | Refusal::Full) => return Ok(None),
        other => return Err(format!("a life of {id} that never was: {other:?}")),
    };
    match log.one(numbered("a", "again", id, epoch, 0)) {
        Outcome::Repeated(held) => {
            Ok(Some(Some(Known { number: Number { epoch, seq: held.seq }, last: held.last })))
        }
        Outcome::Refused(Refusal::Failed | Refusal::Full) => Ok(None),
        other => Err(format!("event 0 of life {epoch} of {id} again: {other:?}")),
    }
}

fn op(deed: &Deed) -> Op {
    match deed {
        Deed::Event { topics, data, key, number, ephemeral } => {
            let item = |(key, index): &(String, u64)| ItemKey { key: key.as_str().into(), index: *index };
            let producer = |Token { id, number: Number { epoch, seq }, .. }: &Token| {
                Once::Producer(Producer { id: (*id).into(), epoch: *epoch, seq: *seq })
            };
            let once = key.as_ref().map(item).map(Once::Item).or_else(|| number.as_ref().map(producer));
            let tombstone = data.starts_with(GONE).then_some(tidings_hub::frame::TOMBSTONE_EVENT);
            let publish = event(topics, data);
            Op::Publish(tidings_hub::ports::Publish {
                once,
                ephemeral: *ephemeral,
                event: tombstone,
                ..publish
            })
        }
        Deed::Close(name) => Op::Close { topic: topic(name) },
        Deed::Delete(name) => Op::Delete { topic: topic(name) },
        Deed::Trim(name, through) => Op::Trim { topic: topic(name), through: *through },
    }
}
