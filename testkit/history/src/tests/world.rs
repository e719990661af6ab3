//! A model hub that does everything right, at random: what its readers are told is a clean history.

use std::collections::HashMap;

use super::random::base36;
use super::*;

/// A script that fills a history.
pub(super) struct World {
    pub(super) publishes: Vec<Event>,
    pub(super) readers: Vec<Subscriber>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) value: String,
    pub(super) topics: Vec<&'static str>,
    pub(super) event: Option<&'static str>,
    pub(super) private: bool,
    pub(super) id: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) wants: &'static str,
    pub(super) granted: &'static str,
    pub(super) events: &'static [&'static str],
}

/// One line of the script. Numbers are of publishes and readers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Sent(usize),
    Acked(usize, String),
    Refused(usize),
    Removed(&'static str, String),
    Connected(usize, Option<String>),
    Saw(usize, String, Option<&'static str>, String),
    Cursor(usize, String),
    Gap(usize, String),
    CaughtUp(usize),
}

impl Step {
    pub(super) fn reader(&self) -> Option<usize> {
        match self {
            Self::Connected(reader, _)
            | Self::Saw(reader, ..)
            | Self::Cursor(reader, _)
            | Self::Gap(reader, _)
            | Self::CaughtUp(reader) => Some(*reader),
            Self::Sent(_) | Self::Acked(..) | Self::Refused(_) | Self::Removed(..) => None,
        }
    }
}

/// What a model reader is at.
#[derive(Clone, Default)]
struct At {
    connected: bool,
    /// Entries of the log that were considered.
    considered: usize,
    id: Option<String>,
    /// Entries of the log that the id covers: where a resume begins.
    covered: usize,
}

struct Model {
    world: World,
    random: Random,
    /// Publishes that stand in the log, each with its id.
    log: Vec<(usize, String)>,
    at: Vec<At>,
    /// By topic: entries of the log before this number are gone.
    removed: HashMap<&'static str, usize>,
    head: u64,
}

const TOPICS: [&str; 5] = ["a/1", "a/2", "b/1", "b/2/x", "c"];

impl World {
    /// A run of some hundred steps; with `removals`, topics lose history and readers are told gaps.
    pub(super) fn random(seed: u64, removals: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let everything = Subscriber { wants: "**", granted: "**", events: &[] };
        let others = (0..6).map(|_| Subscriber {
            wants: random.one(&["**", "a/*", "b/**", "c", "*/1"]),
            granted: random.one(&["**", "a/1", "none", "none"]),
            events: random.one(&[&[][..], &[], &[], &["note"], &["message", "note"]]),
        });
        let readers: Vec<_> = others.chain([everything]).collect();
        let at = vec![At::default(); readers.len()];
        let world = Self { publishes: Vec::new(), readers, steps: Vec::new() };
        let mut model = Model { world, random, log: Vec::new(), at, removed: HashMap::new(), head: 2 };
        for _ in 0..150 {
            model.publish();
            if removals && model.random.below(6) == 0 {
                model.remove();
            }
            for reader in 0..model.at.len() {
                match model.random.below(8) {
                    0 => model.at[reader].connected = false,
                    1 | 2 => {}
                    burst => model.read(reader, burst),
                }
            }
        }
        for reader in 0..model.at.len() {
            model.read(reader, usize::MAX);
            model.world.steps.push(Step::CaughtUp(reader));
        }
        model.world
    }

    /// The history of the script.
    pub(super) fn history(&self) -> History {
        let mut history = History::new();
        let readers: Vec<_> = self
            .readers
            .iter()
            .enumerate()
            .map(|(n, r)| {
                let reader =
                    Reader::new(&format!("r{n}")).wants(&[r.wants]).granted(&[r.granted]).events(r.events);
                history.reader(reader)
            })
            .collect();
        let mut publishes = HashMap::new();
        for step in &self.steps {
            match step {
                Step::Sent(n) => {
                    let event = &self.publishes[*n];
                    let mut publish = Publish::new(&event.value, &event.topics);
                    publish.private = event.private;
                    publish.event = event.event;
                    publish.id = event.id.as_deref();
                    publishes.insert(*n, history.sent(publish));
                }
                Step::Acked(n, id) => history.acked(publishes[n], id),
                Step::Refused(n) => history.refused(publishes[n]),
                Step::Removed(topic, through) => history.removed(topic, through),
                Step::Connected(reader, after) => {
                    let start = after.as_deref().map_or(Start::Tail, Start::After);
                    history.connected(readers[*reader], start);
                }
                Step::Saw(reader, id, topic, value) => history.saw(readers[*reader], id, *topic, value),
                Step::Cursor(reader, id) => history.cursor(readers[*reader], id),
                Step::Gap(reader, id) => history.gap(readers[*reader], id),
                Step::CaughtUp(reader) => history.caught_up(readers[*reader]),
            }
        }
        history
    }
}

impl Model {
    fn publish(&mut self) {
        let n = self.world.publishes.len();
        let mut topics = vec![self.random.one(&TOPICS)];
        let further = self.random.one(&TOPICS);
        if self.random.below(4) == 0 && further != topics[0] {
            topics.push(further);
        }
        let event = self.random.one(&[None, None, Some("note"), Some("other")]);
        let private = self.random.below(4) == 0;
        let id = (self.random.below(3) == 0).then(|| format!("p{n}"));
        let own = id.as_ref().map_or_else(String::new, |id| format!("~{id}"));
        self.world.publishes.push(Event { value: format!("value {n}"), topics, event, private, id });
        self.world.steps.push(Step::Sent(n));
        let fate = self.random.below(20);
        if fate == 0 {
            self.world.steps.push(Step::Refused(n));
        }
        if fate > 1 {
            // Even numbers only: an odd one is surely nobody's.
            self.head += 2 * (1 + self.random.below(3) as u64);
            let id = self.position() + &own;
            self.log.push((n, id.clone()));
            if fate > 3 {
                self.world.steps.push(Step::Acked(n, id));
            }
        }
    }

    fn remove(&mut self) {
        let Some(through) = self.log.len().checked_sub(1 + self.random.below(20)) else { return };
        let topic = self.random.one(&TOPICS);
        self.world.steps.push(Step::Removed(topic, self.log[through].1.clone()));
        let gone = self.removed.entry(topic).or_default();
        *gone = (*gone).max(through + 1);
    }

    /// Gives a reader up to `burst` entries of the log, connecting it if need be.
    fn read(&mut self, reader: usize, burst: usize) {
        if !self.at[reader].connected {
            let id = self.at[reader].id.clone();
            self.world.steps.push(Step::Connected(reader, id.clone()));
            self.at[reader].connected = true;
            self.at[reader].considered = self.at[reader].covered;
            if id.is_none() {
                self.at[reader].considered = self.log.len();
                self.heartbeat(reader);
            }
        }
        let from = self.at[reader].considered;
        let until = self.log.len().min(from.saturating_add(burst));
        let lost =
            (from..until).any(|entry| self.sees(reader, entry, false) && !self.sees(reader, entry, true));
        if lost && let Some(id) = self.at[reader].id.clone() {
            self.world.steps.push(Step::Gap(reader, id));
        }
        for entry in from..until {
            if self.sees(reader, entry, true) {
                let (n, id) = self.log[entry].clone();
                let event = &self.world.publishes[n];
                let (value, label) = (event.value.clone(), event.topics[0]);
                let label = (self.random.below(2) == 0).then_some(label);
                self.world.steps.push(Step::Saw(reader, id.clone(), label, value));
                self.at[reader].id = Some(id);
                self.at[reader].covered = entry + 1;
            }
        }
        self.at[reader].considered = until;
        if until == self.log.len() && self.random.below(4) == 0 {
            self.heartbeat(reader);
        }
    }

    fn heartbeat(&mut self, reader: usize) {
        let id = self.position();
        self.world.steps.push(Step::Cursor(reader, id.clone()));
        self.at[reader].id = Some(id);
        self.at[reader].covered = self.log.len();
    }

    fn sees(&self, reader: usize, entry: usize, kept_only: bool) -> bool {
        let (event, reader) = (&self.world.publishes[self.log[entry].0], &self.world.readers[reader]);
        let kept = |topic: &str| !kept_only || self.removed.get(topic).is_none_or(|gone| entry >= *gone);
        let wants = |topic: &&str| pattern::matches(reader.wants, topic) && kept(topic);
        let may = !event.private || event.topics.iter().any(|topic| pattern::matches(reader.granted, topic));
        let of_type = reader.events.is_empty() || reader.events.contains(&event.event.unwrap_or("message"));
        may && of_type && event.topics.iter().any(wants)
    }

    fn position(&self) -> String {
        format!("1.{}", String::from_utf8(base36(self.head)).unwrap())
    }
}

/// A small generator: the same seed, the same world.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
