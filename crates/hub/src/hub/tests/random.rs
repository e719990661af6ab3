//! Random walks, seeded: whatever happens in whatever order, each reader gets the log filtered by its interest
//! from its cursor on, in order, without a hole, or is told a gap.

use super::world::*;
use crate::limits::Limits;
use crate::position::Seq;
use crate::resume::From;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

const TOPICS: [&str; 4] = ["a", "b", "c/1", "c/2"];
const WISHES: [&str; 6] = ["a", "a b", "c/*", "**", "b c/1", "c/2"];

struct Sent {
    seq: Seq,
    topics: Vec<usize>,
    number: usize,
}

struct Walker {
    wish: usize,
    peer: Peer,
    /// Index into what was sent: everything before is seen, not wanted, or lies under a told gap.
    next: usize,
}

fn wants(wish: usize, sent: &Sent) -> bool {
    let selectors = filter(WISHES[wish]);
    sent.topics.iter().any(|t| selectors.selectors().matches(TOPICS[*t]))
}

fn walk(seed: u64) -> (usize, usize) {
    let mut rng = Rng(seed);
    let limits =
        Limits { chunk_bytes: 1 + rng.below(5_000), cold_read_bytes: 1 + rng.below(40_000), ..small() };
    let world = World::new(limits);
    let (mut sent, mut walkers): (Vec<Sent>, Vec<Walker>) = (Vec::new(), Vec::new());
    // For each topic: everything of it up to here is gone.
    let (mut trimmed, mut deleted) = (Seq::ZERO, [Seq::ZERO; 4]);
    let (mut delivered, mut gaps) = (0, 0);
    for step in 0..1_500 {
        match rng.below(100) {
            0..55 => {
                for _ in 0..1 + rng.below(12) {
                    let mut topics = vec![rng.below(4)];
                    if rng.below(5) == 0 {
                        topics.push((topics[0] + 1) % 4);
                    }
                    let number = sent.len();
                    let data = format!("{number} {}", "x".repeat(rng.below(1_500)));
                    let names: Vec<_> = topics.iter().map(|t| TOPICS[*t]).collect();
                    let seq = world.publish(&names.join(" "), &data);
                    sent.push(Sent { seq, topics, number });
                }
            }
            55..60 if walkers.len() < 12 => {
                let wish = rng.below(WISHES.len());
                let peer = world.subscribe(WISHES[wish], From::Tail);
                walkers.push(Walker { wish, peer, next: sent.len() });
            }
            60..68 if !walkers.is_empty() => {
                // The link breaks; what was on the way is lost; it comes back with its last id.
                let at = rng.below(walkers.len());
                let walker = &mut walkers[at];
                let _ = walker.peer.chunk();
                let last = walker.peer.last();
                if last != From::Tail {
                    walker.peer = world.subscribe(WISHES[walker.wish], last);
                } else {
                    walkers.swap_remove(at);
                }
            }
            68..70 => {
                let topic = rng.below(4);
                if let Some(last) = sent.iter().rev().find(|s| s.topics.contains(&topic)) {
                    deleted[topic] = last.seq;
                }
                world.delete(TOPICS[topic]);
            }
            70..72 if !sent.is_empty() => {
                let seq = sent[rng.below(sent.len())].seq;
                if seq > trimmed {
                    trimmed = seq;
                    world.trim(seq);
                }
            }
            72..74 => world.pass(1_000 * (1 + rng.below(40) as u64)),
            74..76 => world.hold_reads(step % 2 == 0),
            _ if !walkers.is_empty() => {
                let at = rng.below(walkers.len());
                let chunks = rng.below(20);
                let state = Known { world: &world, sent: &sent, trimmed, deleted };
                state.take(&mut walkers[at], chunks, (seed, step), (&mut delivered, &mut gaps));
            }
            _ => {}
        }
    }
    world.hold_reads(false);
    let state = Known { world: &world, sent: &sent, trimmed, deleted };
    for walker in &mut walkers {
        state.take(walker, usize::MAX, (seed, usize::MAX), (&mut delivered, &mut gaps));
        let missing =
            sent[walker.next..].iter().find(|s| wants(walker.wish, s) && !state.gone(walker.wish, s));
        assert!(missing.is_none(), "seed {seed}: {} never came", missing.unwrap().number);
    }
    (delivered, gaps)
}

/// What a walk knows of the log.
struct Known<'a> {
    world: &'a World,
    sent: &'a [Sent],
    trimmed: Seq,
    deleted: [Seq; 4],
}

impl Known<'_> {
    /// Whether an event is gone for a wish: removed, or all the topics it is wanted for were deleted.
    fn gone(&self, wish: usize, s: &Sent) -> bool {
        let wish = filter(WISHES[wish]);
        let mut wanted = s.topics.iter().filter(|t| wish.selectors().matches(TOPICS[**t]));
        s.seq <= self.trimmed || wanted.all(|t| s.seq <= self.deleted[*t])
    }

    fn take(&self, walker: &mut Walker, chunks: usize, at: (u64, usize), counts: (&mut usize, &mut usize)) {
        for _ in 0..chunks {
            let chunk = match walker.peer.chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) => {
                    // Half an event went: only a removal may do this.
                    assert!(self.trimmed > Seq::ZERO || self.deleted.iter().any(|d| *d > Seq::ZERO));
                    walker.peer = self.world.subscribe(WISHES[walker.wish], walker.peer.last());
                    continue;
                }
            };
            for data in walker.peer.decode(&chunk) {
                if data == "!trimmed" {
                    // Careful, not exact: a topic that was forgotten, or one of several, may have lost it.
                    let lost = |s: &Sent| {
                        s.seq <= self.trimmed || s.topics.iter().any(|t| s.seq <= self.deleted[*t])
                    };
                    assert!(self.sent[walker.next..].iter().any(lost), "{at:?}: a gap without a loss");
                    *counts.1 += 1;
                    continue;
                }
                let number: usize = data.split(' ').next().unwrap().parse().unwrap();
                assert!(number >= walker.next, "{at:?}: {number} again");
                let missing = |s: &&Sent| wants(walker.wish, s) && !self.gone(walker.wish, s);
                let missing = self.sent[walker.next..number].iter().find(missing);
                assert!(missing.is_none(), "{at:?}: {} is missing before {number}", missing.unwrap().number);
                assert!(wants(walker.wish, &self.sent[number]), "{at:?}: not wanted");
                walker.next = number + 1;
                *counts.0 += 1;
            }
        }
    }
}

#[test]
fn random_walks_keep_every_promise() {
    let (mut delivered, mut gaps) = (0, 0);
    for seed in 0..60 {
        let (more, told) = walk(seed);
        delivered += more;
        gaps += told;
    }
    assert!(delivered > 50_000 && gaps > 100, "{delivered} events, {gaps} gaps: the walks do not see enough");
}
