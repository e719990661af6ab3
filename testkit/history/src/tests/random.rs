//! Random histories pass as they are, are caught when broken, and one of full size is judged in seconds.

use super::mutation::Mutation;
use super::world::World;
use super::*;

#[test]
fn clean_random_histories_pass() {
    let (mut gaps, mut events) = (0, 0);
    for seed in 0..300 {
        let history = World::random(seed, seed % 2 == 0).history();
        assert_eq!(history.check(), [], "seed {seed}");
        gaps += history.gaps();
        events += history.events();
    }
    assert!(gaps > 100 && events > 100_000, "{gaps} gaps, {events} events: the model does too little");
}

#[test]
fn every_mutation_of_a_clean_history_is_caught() {
    for mutation in Mutation::ALL {
        let mut applied = 0;
        for seed in 0..60 {
            let mut world = World::random(seed, false);
            if !world.break_by(mutation) {
                continue;
            }
            applied += 1;
            let found = world.history().check();
            assert!(found.iter().any(|v| mutation.is_told_by(v)), "{mutation:?}, seed {seed}: {found:?}");
        }
        assert!(applied > 40, "{mutation:?} applied to {applied} of 60 only");
    }
}

#[test]
fn a_hundred_thousand_events_for_two_hundred_readers() {
    let (events, readers) = (100_000u64, 200u64);
    let mut history = History::new();
    let all: Vec<_> = (0..readers)
        .map(|n| {
            // Half want all, the others a tenth each: no two neighbours read the same.
            let topic = format!("t/{}", n % 10);
            let wants = if n % 2 == 0 { "**" } else { &*topic };
            let reader = history.reader(Reader::new(&format!("r{n}")).wants(&[wants]));
            history.connected(reader, Start::Oldest);
            reader
        })
        .collect();
    let digits = |n: u64| format!("1.{}", std::str::from_utf8(&base36(n)).unwrap());
    for n in 1..=events {
        let (id, value, topic) = (digits(n), format!("an event of usual length, number {n}"), n % 10);
        let publish = history.sent(Publish::new(&value, &[&format!("t/{topic}")]));
        history.acked(publish, &id);
        for (number, reader) in all.iter().enumerate() {
            if number % 2 == 0 || number as u64 % 10 == topic {
                history.saw(*reader, &id, None, &value);
            }
        }
    }
    for reader in &all {
        history.caught_up(*reader);
    }
    assert_eq!(history.check(), []);
    assert_eq!(history.events(), events * readers / 2 + events / 2 * readers / 10);
}

/// The digits of a sequence.
pub(super) fn base36(mut n: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while n > 0 {
        digits.insert(0, b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(n % 36).unwrap()]);
        n /= 36;
    }
    digits
}
