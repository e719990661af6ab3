//! The judge's behaviours, each by what it answers and what it appends.

use bytes::Bytes;

use super::*;
use crate::frame::TOMBSTONE_EVENT;
use crate::position::Epoch;

fn judge() -> Judge {
    let keys = Keys::new(KeyWindow::default());
    Judge::new(Fold::default(), keys, Arc::new(Epochs::first(Epoch(1))), Seq::ZERO)
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn publish(to: &str, item: Option<(&str, u64)>) -> Op {
    Op::Publish(Publish {
        topics: Topics::from_iter([topic(to)]),
        private: false,
        id: None,
        event: None,
        retry_ms: None,
        data: Bytes::from_static(b"x"),
        utf8: true,
        ephemeral: false,
        once: item.map(|(key, index)| Once::Item(ItemKey { key: key.into(), index })),
    })
}

fn numbered(to: &str, id: &str, epoch: u64, seq: u64) -> Op {
    match publish(to, None) {
        Op::Publish(event) => {
            let once = Some(Once::Producer(Producer { id: id.into(), epoch, seq }));
            Op::Publish(Publish { once, ..event })
        }
        other => other,
    }
}

fn binary(to: &str) -> Op {
    let config = TopicConfig { content_type: "image/png".into(), ..TopicConfig::default() };
    Op::Configure { topic: topic(to), config }
}

#[track_caller]
fn check(judge: &mut Judge, ops: Vec<Op>, atomic: bool, said: &[&str], seqs: &[u64]) {
    let mut out = Vec::new();
    let outcomes = judge.judge(Submission { ops, atomic, time_ms: 5 }, &mut out);
    let texts: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Committed { position, existed, .. } => format!("{position} {existed}"),
            Outcome::Unchanged { existed, .. } => format!("same {existed}"),
            Outcome::Held(held) => format!("held {} {} {}", held.count, held.first, held.last),
            Outcome::Repeated(held) => {
                format!("repeated {} {:?}", held.seq, held.position().map(|p| p.seq.0))
            }
            Outcome::Refused(refusal) => format!("{refusal:?}").split([' ', '{']).next().unwrap().to_owned(),
            Outcome::Skipped => "skipped".to_owned(),
        })
        .collect();
    assert_eq!(texts, said);
    assert_eq!(out.iter().map(|record| record.seq.0).collect::<Vec<_>>(), seqs);
}

#[test]
fn items_of_a_key_are_accepted_once_and_in_order() {
    let mut judge = judge();
    check(
        &mut judge,
        vec![publish("a", Some(("k", 0))), publish("a", Some(("k", 1)))],
        false,
        &["1.1 false", "1.2 true"],
        &[1, 2],
    );
    let again =
        || vec![publish("a", Some(("k", 0))), publish("a", Some(("k", 1))), publish("a", Some(("k", 2)))];
    check(&mut judge, again(), false, &["held 2 1.1 1.2", "held 2 1.1 1.2", "1.3 true"], &[3]);
    check(&mut judge, vec![publish("a", Some(("k", 9)))], false, &["KeyAhead"], &[]);
    check(&mut judge, vec![Op::Close { topic: topic("a") }], false, &["1.4 true"], &[4]);
    check(&mut judge, vec![publish("a", Some(("k", 1)))], false, &["held 3 1.1 1.3"], &[]);
}

#[test]
fn events_of_a_producer_are_accepted_once_in_order_and_by_its_last_life() {
    let mut judge = judge();
    let say = |epoch, seq| vec![numbered("a", "p", epoch, seq)];
    // Each: what comes, what is said, where it goes.
    check(&mut judge, say(3, 1), false, &["ProducerAhead"], &[]);
    check(&mut judge, say(3, 0), false, &["1.1 false"], &[1]);
    check(&mut judge, say(3, 1), false, &["1.2 true"], &[2]);
    check(&mut judge, say(3, 1), false, &["repeated 1 Some(2)"], &[]);
    check(&mut judge, say(3, 0), false, &["repeated 1 None"], &[]);
    check(&mut judge, say(3, 3), false, &["ProducerAhead"], &[]);
    check(&mut judge, say(2, 2), false, &["StaleEpoch"], &[]);
    check(&mut judge, say(4, 2), false, &["EpochNotAtZero"], &[]);
    check(&mut judge, say(4, 0), false, &["1.3 true"], &[3]);
    check(&mut judge, say(3, 2), false, &["StaleEpoch"], &[]);
    check(&mut judge, vec![numbered("a", "q", 0, 0)], false, &["1.4 true"], &[4]);
    check(&mut judge, vec![Op::Close { topic: topic("a") }], false, &["1.5 true"], &[5]);
    check(&mut judge, say(4, 0), false, &["repeated 0 Some(3)"], &[]);
    check(&mut judge, say(4, 1), false, &["Closed"], &[]);
}

#[test]
fn what_a_refused_batch_of_a_producer_changed_is_taken_back() {
    let mut judge = judge();
    check(&mut judge, vec![Op::Close { topic: topic("closed") }], false, &["1.1 false"], &[1]);
    let body = |epoch| {
        vec![numbered("a", "p", epoch, 0), numbered("b", "p", epoch, 1), numbered("closed", "p", epoch, 2)]
    };
    check(&mut judge, body(1), true, &["WithOthers", "WithOthers", "Closed"], &[]);
    assert!(judge.keys().is_empty());
    check(&mut judge, body(1), false, &["1.2 false", "1.3 false", "Closed"], &[2, 3]);
    judge.settle(5);
    let (before, mark) = (judge.keys().producer("p"), judge.mark());
    assert_eq!(before.map(|state| (state.epoch, state.seq, state.last)), Some((1, 1, Seq(3))));
    // The disk was full: nothing of it happened, and the same is taken when there is room.
    check(
        &mut judge,
        vec![numbered("a", "p", 2, 0), numbered("a", "p", 2, 1)],
        false,
        &["1.4 true", "1.5 true"],
        &[4, 5],
    );
    judge.rollback(mark);
    assert_eq!(judge.keys().producer("p"), before);
    check(
        &mut judge,
        vec![numbered("a", "p", 1, 2), numbered("a", "p", 2, 0)],
        false,
        &["1.4 true", "1.5 true"],
        &[4, 5],
    );
}

#[test]
fn what_follows_a_refusal_is_skipped_and_a_retry_goes_on_there() {
    let mut judge = judge();
    let close = Op::Close { topic: topic("closed") };
    check(&mut judge, vec![close], false, &["1.1 false"], &[1]);
    let body = || {
        vec![publish("a", Some(("k", 0))), publish("closed", Some(("k", 1))), publish("a", Some(("k", 2)))]
    };
    check(&mut judge, body(), false, &["1.2 false", "Closed", "skipped"], &[2]);
    check(&mut judge, vec![Op::Delete { topic: topic("closed") }], false, &["1.3 true"], &[3]);
    check(&mut judge, body(), false, &["held 1 1.2 1.2", "1.4 false", "1.5 true"], &[4, 5]);
}

#[test]
fn an_atomic_submission_leaves_no_trace_when_refused() {
    let mut judge = judge();
    check(&mut judge, vec![Op::Close { topic: topic("closed") }], false, &["1.1 false"], &[1]);
    let before = judge.fold().clone();
    let body = vec![publish("a", Some(("k", 0))), publish("closed", None), publish("b", None)];
    check(&mut judge, body, true, &["WithOthers", "Closed", "WithOthers"], &[]);
    assert_eq!((judge.fold(), judge.last(), judge.keys().key("k")), (&before, Seq(1), None));
}

#[test]
fn an_unwritten_batch_is_taken_back_whole() {
    let mut judge = judge();
    check(&mut judge, vec![publish("a", Some(("k", 0)))], false, &["1.1 false"], &[1]);
    judge.settle(5);
    let (before, mark) = (judge.fold().clone(), judge.mark());
    let batch = vec![
        publish("a", Some(("k", 1))),
        binary("b"),
        Op::Delete { topic: topic("a") },
        publish("a", Some(("n", 0))),
    ];
    check(&mut judge, batch, false, &["1.2 true", "1.3 false", "1.4 true", "1.5 false"], &[2, 3, 4, 5]);
    judge.rollback(mark);
    assert_eq!((judge.fold(), judge.last()), (&before, Seq(1)));
    assert_eq!((judge.keys().key("k").unwrap().count, judge.keys().key("n")), (1, None));
}

#[test]
fn text_and_binary_do_not_mix() {
    let mut judge = judge();
    let raw = |to: &str| match publish(to, None) {
        Op::Publish(publish) => Op::Publish(Publish { utf8: false, ..publish }),
        other => other,
    };
    check(&mut judge, vec![raw("b")], false, &["NotText"], &[]);
    check(
        &mut judge,
        vec![binary("b"), raw("b"), binary("b")],
        false,
        &["1.1 false", "1.2 true", "same true"],
        &[1, 2],
    );
    check(&mut judge, vec![publish("t", None), binary("t")], false, &["1.3 false", "ContentTypeFixed"], &[3]);
    let mut out = Vec::new();
    let _ = judge.judge(Submission { ops: vec![publish("b", None)], atomic: false, time_ms: 0 }, &mut out);
    assert!(out[0].event().unwrap().binary, "a binary topic's text is framed like its bytes");
}

#[test]
fn closing_deleting_and_trimming_twice_changes_nothing() {
    let mut judge = judge();
    let trim = || Op::Trim { topic: topic("a"), through: Seq(9) };
    check(
        &mut judge,
        vec![publish("a", None), trim(), trim()],
        false,
        &["1.1 false", "1.2 true", "same true"],
        &[1, 2],
    );
    let close = || Op::Close { topic: topic("a") };
    check(&mut judge, vec![close(), close()], false, &["1.3 true", "same true"], &[3]);
    let delete = || Op::Delete { topic: topic("a") };
    check(&mut judge, vec![delete(), delete()], false, &["1.4 true", "same false"], &[4]);
}

#[test]
fn a_replay_over_a_checkpoint_changes_nothing() {
    let (mut first, mut records) = (judge(), Vec::new());
    let ops = vec![
        publish("a", Some(("k", 0))),
        Op::Trim { topic: topic("a"), through: Seq(9_999) },
        publish("a", Some(("k", 1))),
        numbered("a", "p", 1, 0),
        numbered("a", "p", 1, 1),
        numbered("a", "p", 2, 0),
    ];
    let _ = first.judge(Submission { ops, atomic: false, time_ms: 0 }, &mut records);
    first.settle(0);
    let mut keys = Keys::new(KeyWindow::default());
    first.keys().snapshot().for_each(|entry| keys.restore(entry));
    let mut again = Judge::new(first.fold().clone(), keys, Arc::new(Epochs::first(Epoch(1))), first.last());
    records.iter().for_each(|record| again.replay(record));
    assert_eq!((again.fold(), again.last()), (first.fold(), first.last()));
    assert_eq!(
        again.fold().get("a").unwrap().trimmed,
        Seq(1),
        "a trim removes what was there, not what came after"
    );
    let mut fresh = judge();
    records.iter().for_each(|record| fresh.replay(record));
    assert_eq!(fresh.fold(), first.fold());
    assert!(
        fresh.keys().snapshot().eq(first.keys().snapshot())
            && again.keys().snapshot().eq(first.keys().snapshot())
    );
    assert_eq!(fresh.keys().producer("p").map(|state| (state.epoch, state.seq)), Some((2, 0)));
}

#[test]
fn what_the_store_removed_is_not_put_back() {
    let mut judge = judge();
    check(&mut judge, vec![publish("a", None)], false, &["1.1 false"], &[1]);
    judge.settle(0);
    judge.trim(&Trimmed { through: Seq::ZERO, topics: vec![(topic("a"), Seq(1))] });
    let mark = judge.mark();
    check(&mut judge, vec![publish("a", None)], false, &["1.2 true"], &[2]);
    judge.rollback(mark);
    assert_eq!(judge.fold().get("a").unwrap().trimmed, Seq(1));
}

#[test]
fn a_refused_key_leaves_nothing_in_the_window() {
    let mut judge = judge();
    check(&mut judge, vec![Op::Close { topic: topic("closed") }], false, &["1.1 false"], &[1]);
    for n in 0..100 {
        let key = format!("k{n}");
        check(
            &mut judge,
            vec![publish("a", Some((&key, 0))), publish("closed", None)],
            true,
            &["WithOthers", "Closed"],
            &[],
        );
    }
    assert!(judge.keys().is_empty());
}

#[test]
fn topics_of_one_event_are_of_one_kind() {
    let mut judge = judge();
    let both = |a: &str, b: &str| match publish(a, None) {
        Op::Publish(one) => Op::Publish(Publish { topics: Topics::from_iter([topic(a), topic(b)]), ..one }),
        other => other,
    };
    check(&mut judge, vec![binary("bin"), both("bin", "text")], false, &["1.1 false", "MixedKinds"], &[1]);
    check(&mut judge, vec![both("text", "bin")], false, &["MixedKinds"], &[]);
}

/// Any batch taken back leaves the fold as it was, and any that stays leaves it as if there were no shorter way for
/// plain events.
#[test]
fn random_batches_are_taken_back_whole() {
    let mut state = 1u64;
    let mut chance = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut judge = judge();
    let mut plain = Fold::default();
    let mut taken_back = 0;
    for round in 0..3_000 {
        if chance(8) == 0 {
            let through = judge.last();
            let lost = |(name, state): (&str, TopicState)| {
                (state.last > state.trimmed && state.last <= through).then(|| (topic(name), state.last))
            };
            let trimmed = Trimmed { through, topics: judge.fold().iter().filter_map(lost).collect() };
            judge.trim(&trimmed);
            plain.trim(&trimmed);
        }
        let (before, mark) = (judge.fold().clone(), judge.mark());
        let mut records = Vec::new();
        for _ in 0..=chance(6) {
            let name = format!("t{}", chance(7));
            let op = match chance(12) {
                0 => Op::Delete { topic: topic(&name) },
                1 => Op::Close { topic: topic(&name) },
                2 => binary(&name),
                3 => Op::Trim { topic: topic(&name), through: Seq(chance(judge.last().0 + 2)) },
                at => match publish(&name, None) {
                    Op::Publish(event) => {
                        let mut topics = event.topics.clone();
                        topics.extend((at == 4).then(|| topic("more")));
                        let event = Publish { event: (at == 7).then_some(TOMBSTONE_EVENT), ..event };
                        let (private, ephemeral) = (at == 5, at == 8);
                        Op::Publish(Publish { topics, private, ephemeral, utf8: at != 6, ..event })
                    }
                    other => other,
                },
            };
            let submission = Submission { ops: vec![op], atomic: chance(2) == 0, time_ms: round };
            drop(judge.judge(submission, &mut records));
        }
        if chance(2) == 0 {
            judge.rollback(mark);
            assert_eq!((judge.fold(), judge.last()), (&before, mark.last), "round {round}");
            taken_back += 1;
        } else {
            judge.settle(round);
            for record in &records {
                record.topics.iter().for_each(|topic| plain.apply_to(topic, record));
            }
            assert_eq!(judge.fold(), &plain, "round {round}");
        }
    }
    assert!(taken_back > 1_000, "{taken_back}");
}
