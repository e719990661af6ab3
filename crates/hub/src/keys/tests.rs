//! What the window holds, how it comes back, and what it costs.

use super::*;

fn item(key: &str, index: u64) -> Once {
    Once::Item(ItemKey { key: key.into(), index })
}

fn made(id: &str, epoch: u64, seq: u64) -> Once {
    Once::Producer(Producer { id: id.into(), epoch, seq })
}

#[test]
fn the_window_ends_by_age_of_last_use_and_by_count() {
    let mut keys = Keys::new(KeyWindow { age_ms: 100, count: 2 });
    keys.accept(&item("a", 0), Seq(1), 0);
    keys.accept(&made("b", 0, 0), Seq(2), 10);
    keys.accept(&item("a", 1), Seq(3), 90);
    keys.expire(109);
    assert!(keys.producer("b").is_some());
    keys.expire(110);
    assert_eq!(keys.producer("b"), None);
    assert_eq!(keys.key("a"), Some(KeyState { count: 2, first: Seq(1), last: Seq(3), time_ms: 90 }));
    keys.accept(&made("c", 0, 0), Seq(4), 112);
    keys.accept(&item("d", 0), Seq(5), 113);
    keys.expire(113);
    assert_eq!(keys.key("a"), None, "one over the count: the oldest use goes");
    assert!(keys.producer("c").is_some() && keys.key("d").is_some());
    keys.expire(u64::MAX);
    assert!(keys.is_empty() && keys.snapshot().next().is_none());
}

#[test]
fn the_last_used_of_many_stay_whatever_was_first() {
    let mut keys = Keys::new(KeyWindow { age_ms: u64::MAX, count: 100 });
    for round in 0..3 {
        for n in 0..1_500_u64 {
            keys.accept(&item(&format!("k{n}"), round), Seq(n + 1), n);
            keys.expire(n);
        }
    }
    keys.accept(&item("k1400", 9), Seq(2_000), 1_500);
    keys.accept(&item("new", 0), Seq(2_001), 1_500);
    keys.expire(1_500);
    let kept = (0..1_500).filter(|n| keys.key(&format!("k{n}")).is_some()).collect::<Vec<_>>();
    assert_eq!(kept, (1_400..1_401).chain(1_402..1_500).collect::<Vec<_>>());
}

#[test]
fn a_key_and_a_producer_of_one_text_are_two() {
    let mut keys = Keys::new(KeyWindow::default());
    keys.accept(&item("x", 4), Seq(1), 1);
    keys.accept(&made("x", 7, 8), Seq(2), 2);
    assert_eq!(keys.key("x"), Some(KeyState { count: 5, first: Seq(1), last: Seq(1), time_ms: 1 }));
    assert_eq!(keys.producer("x"), Some(ProducerState { epoch: 7, seq: 8, last: Seq(2), time_ms: 2 }));
    assert_eq!((keys.key("y"), keys.producer("y")), (None, None));
}

#[test]
fn undone_in_reverse_nothing_has_happened() {
    let mut keys = Keys::new(KeyWindow::default());
    for n in 0..50 {
        keys.accept(&made(&format!("p{n}"), 1, 0), Seq(n + 1), n);
    }
    let before: Vec<Entry> = keys.snapshot().collect();
    // Heads, tails, neighbours, the same one twice, new ones between.
    let ids = [0, 49, 49, 25, 24, 26, 0, 70, 71, 70, 1, 49];
    let undo: Vec<_> = (1..)
        .zip(ids)
        .filter_map(|(n, id)| keys.accept(&made(&format!("p{id}"), 2, n), Seq(100 + n), 60))
        .collect();
    assert_eq!(undo.len(), ids.len());
    assert_ne!(keys.snapshot().collect::<Vec<_>>(), before);
    undo.into_iter().rev().for_each(|before| keys.undo(before));
    assert_eq!(keys.snapshot().collect::<Vec<_>>(), before);
    assert_eq!((keys.len(), keys.producer("p70")), (50, None));
    keys.accept(&made("p70", 0, 0), Seq(9), 61);
    assert_eq!(keys.snapshot().last().map(Entry::producer).map(|state| state.last), Some(Seq(9)));
}

#[test]
fn a_snapshot_stays_and_gives_the_same_state_back() {
    let mut keys = Keys::new(KeyWindow { age_ms: u64::MAX, count: 2_000 });
    for n in 0..2_000 {
        keys.accept(&item(&format!("k{n}"), 0), Seq(n + 1), n);
    }
    keys.accept(&item("k0", 1), Seq(2_001), 2_000);
    let snapshot = keys.snapshot();
    let entries: Vec<Entry> = snapshot.clone().collect();
    for n in 0..3_000 {
        keys.accept(&item(&format!("later{n}"), 0), Seq(n + 3_000), 3_000);
        keys.expire(3_000);
    }
    assert_eq!(snapshot.len(), 2_000);
    assert_eq!(snapshot.collect::<Vec<_>>(), entries);
    let mut back = Keys::new(keys.window());
    back.reserve(entries.len());
    entries.iter().for_each(|entry| back.restore(*entry));
    assert_eq!(back.snapshot().collect::<Vec<_>>(), entries);
    assert_eq!(back.key("k0").map(|state| (state.count, state.first)), Some((2, Seq(1))));
    back.window.count = 1;
    back.expire(0);
    assert!(back.key("k0").is_some(), "the order of use comes back too");
}

#[test]
fn a_clock_that_goes_back_makes_nothing_older() {
    let mut keys = Keys::new(KeyWindow { age_ms: 10, count: 9 });
    keys.accept(&item("a", 0), Seq(1), 100);
    keys.accept(&item("b", 0), Seq(2), 50);
    keys.expire(109);
    assert!(keys.key("a").is_some() && keys.key("b").is_some());
    keys.expire(110);
    assert!(keys.is_empty());
}

#[test]
fn each_costs_what_is_stated() {
    for count in [40_000, 100_000, 120_000] {
        let mut keys = Keys::new(KeyWindow { age_ms: u64::MAX, count });
        for n in 0..count as u64 * 2 {
            keys.accept(&made(&n.to_string(), 0, 0), Seq(n + 1), n);
            keys.expire(n);
        }
        let bytes = keys.table.bytes();
        assert!(bytes <= count * Keys::BYTES_EACH, "{} each of {count}", bytes / count);
    }
}
