//! The table against a plain map, and what it costs.
#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::collections::BTreeMap;

use super::*;

/// Chance from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

type Model = BTreeMap<String, TopicState>;

fn state(chance: &mut Chance) -> TopicState {
    let last = Seq(chance.below(1_000));
    TopicState {
        created: Seq(1 + chance.below(9)),
        last,
        last_public: [last, Seq::ZERO, Seq(chance.below(1_000))][chance.below(3) as usize],
        last_is_tombstone: chance.below(2) == 0,
        trimmed: Seq(chance.below(1_000)),
        closed: (chance.below(4) == 0).then(|| Seq(chance.below(1_000))),
        config: (chance.below(4) == 0).then(Arc::default),
        lost_at: LossCount(
            [7, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX][chance.below(4) as usize],
        ),
    }
}

#[track_caller]
fn check(table: &Table, model: &Model) {
    assert_eq!(table.len(), model.len());
    let found: Model = table.iter().map(|look| (look.name().to_owned(), look.state())).collect();
    assert_eq!(&found, model);
    for (name, state) in model {
        let look = table.get(name).unwrap();
        assert_eq!((&look.state(), look.lost_at().0), (state, state.lost_at.0), "{name}");
        assert_eq!((look.closed(), look.is_declared()), (state.closed, state.config.is_some()));
    }
}

#[test]
fn it_is_a_map_and_its_copies_do_not_change_with_it() {
    for seed in 0..6 {
        let mut chance = Chance(seed);
        let (mut table, mut model) = (Table::default(), Model::new());
        let mut copies = Vec::new();
        let names = [20, 3_000][seed as usize % 2];
        for step in 0..20_000u64 {
            let number = chance.below(names);
            let name = format!("{number}{}", "x".repeat((number % 97) as usize * usize::from(seed > 3)));
            match chance.below(8) {
                0..4 => {
                    let state = state(&mut chance);
                    table.put(&name, &state);
                    model.insert(name, state);
                }
                4..6 => {
                    table.remove(&name);
                    model.remove(&name);
                }
                6 => {
                    let seq = Seq(step);
                    let place = table.place(&name);
                    let noted = place.and_then(|place| table.note_public(place, seq, step % 2 == 0));
                    let known = model.get_mut(&name).filter(|state| state.last_public == state.last);
                    assert_eq!(noted.is_some(), known.is_some());
                    if let (Some(noted), Some(state)) = (&noted, &known) {
                        table.forget(noted);
                        assert_eq!(table.get(&name).map(|look| look.state()).as_ref(), Some(&**state));
                        table.note_public(noted.place, seq, step % 2 == 0).unwrap();
                    }
                    if let Some(state) = known {
                        (state.last, state.last_public, state.last_is_tombstone) = (seq, seq, step % 2 == 0);
                    }
                }
                _ => {
                    let is_there = table.change(&name, |state| state.trimmed = Seq(step));
                    let known = model.get_mut(&name);
                    assert_eq!(is_there, known.is_some());
                    if let Some(state) = known {
                        state.trimmed = Seq(step);
                    }
                }
            }
            if step % 4_000 == 0 {
                copies.push((table.clone(), model.clone()));
            }
        }
        check(&table, &model);
        copies.iter().for_each(|(table, model)| check(table, model));
        for name in model.keys() {
            table.remove(name);
        }
        check(&table, &Model::new());
        assert!(table.chunks.iter().all(|chunk| chunk.rows.is_empty() && chunk.names.is_empty()));
        assert!(table.open.len() <= table.chunks.len());
    }
}

#[test]
fn the_names_of_removed_topics_do_not_pile_up() {
    let mut table = Table::default();
    table.put("stays", &TopicState::default());
    for n in 0..100_000 {
        let name = format!("comes and goes {n}");
        table.put(&name, &TopicState::default());
        table.remove(&name);
    }
    assert_eq!(table.chunks.len(), 1);
    assert!(table.chunks[0].names.capacity() < 2 * GARBAGE_BYTES_MAX);
}

#[test]
fn a_topic_costs_about_sixty_bytes_with_its_name() {
    let count = 100_000usize;
    let mut table = Table::default();
    for n in 0..count {
        table.add(&format!("devices/{n:07}"), &TopicState { created: Seq(1), ..TopicState::default() });
    }
    let chunk = |chunk: &Arc<Chunk>| {
        size_of::<Chunk>() + chunk.rows.capacity() * size_of::<Row>() + chunk.names.capacity()
    };
    let shard = |shard: &Arc<HashTable<u32>>| size_of_val(shard) + shard.allocation_size();
    let bytes: usize = table.chunks.iter().map(chunk).sum::<usize>()
        + table.shards.iter().flatten().map(shard).sum::<usize>();
    assert!(bytes / count <= 64, "{} bytes", bytes / count);
}
