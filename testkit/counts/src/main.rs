//! `tidings-counts PATH TIMES`: goes a hot path so many times, under a program that counts instructions. Twice as
//! many times shows what one time costs, without what is done once.

mod deliver;

use std::hint::black_box;
use std::process::ExitCode;

use bytes::Bytes;
use tidings_codec::{Decoder, Event, EventId, EventName, ItemRef, encode};
use tidings_counts::hub;
use tidings_hub::ports::{Op, Outcome, Publish, Submission};
use tidings_hub::{Hub, TopicName};

/// Topics that are published to by turns.
const TOPICS: usize = 100;
/// Events of one submission.
const BATCH: usize = 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(path), Some(Ok(times))) = (words.first(), words.get(1).map(|times| times.parse())) else {
        eprintln!("tidings-counts decode|encode|commit|deliver|deliver-own TIMES");
        return ExitCode::FAILURE;
    };
    match path.as_str() {
        "decode" => decode_events(times),
        "encode" => encode_events(times),
        "commit" => commit(times),
        "deliver" => deliver::run(times, false),
        "deliver-own" => deliver::run(times, true),
        other => {
            eprintln!("{other} is no path");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// An event of 120 bytes, as most are.
fn event() -> Event {
    Event {
        id: EventId::parse("1.2n9c").ok(),
        event: EventName::parse("price").ok(),
        data: "x".repeat(100).into(),
        ..Event::default()
    }
}

fn encode_events(times: u64) {
    let (event, mut out) = (event(), Vec::new());
    for _ in 0..times {
        out.clear();
        encode(black_box(&event), &mut out);
        black_box(&out);
    }
}

fn decode_events(times: u64) {
    let mut wire = Vec::new();
    for _ in 0..BATCH {
        encode(&event(), &mut wire);
    }
    let (mut decoder, mut seen) = (Decoder::new(), 0);
    while seen < times {
        let mut items = decoder.read(black_box(&wire));
        while let Some(item) = items.next().expect("within the limits") {
            if let ItemRef::Event(event) = item {
                seen += 1;
                black_box(event);
            }
        }
    }
}

/// An event to a topic.
pub(crate) fn event_to(topic: &TopicName, data: &Bytes) -> Op {
    Op::Publish(Publish::bytes([topic.clone()].into_iter().collect(), data.clone()))
}

/// Has a submission done.
pub(crate) fn submit(hub: &Hub, ops: Vec<Op>) {
    let submission = Submission { ops, atomic: false, time_ms: 1 };
    let outcomes = futures_executor::block_on(hub.submit(submission));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
}

/// From a publish in hand to its frame in the hot log.
fn commit(times: u64) {
    let (hub, data) = (hub(), Bytes::from(vec![b'x'; 100]));
    let topics: Vec<_> = (0..TOPICS).map(|n| TopicName::parse(&format!("t/{n}")).expect("a name")).collect();
    let mut topics = topics.iter().cycle();
    for _ in 0..times.div_ceil(BATCH as u64) {
        submit(&hub, topics.by_ref().take(BATCH).map(|topic| event_to(topic, &data)).collect());
    }
}
