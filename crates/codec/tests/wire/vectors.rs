//! `conformance/vectors/*.json`: every case whole, in two parts at every byte, and byte by byte.

use std::collections::BTreeSet;
use std::{fs, path::Path};

use base64::Engine as _;
use serde::Deserialize;
use tidings_codec::{EventId, EventName, Item, Message};

use crate::{model, support::decode};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    room: String,
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    last_event_id: String,
    expect: Vec<Told>,
    last_event_id_after: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Told {
    Event { event: String, data: String, id: Option<String>, retry_ms: Option<u64>, last_event_id: String },
    Id { id: String },
    Retry { retry_ms: u64 },
    RetryReset,
    Comment { comment: String },
}

impl Told {
    fn item(&self) -> Item {
        match self {
            Self::Event { event, data, id: own, retry_ms, last_event_id } => Item::Event(Message {
                event: EventName::parse(event).expect("an event's name"),
                data: data.as_str().into(),
                id: own.as_deref().map(id),
                retry_ms: *retry_ms,
                last_event_id: id(last_event_id),
            }),
            Self::Id { id: text } => Item::Id(id(text)),
            Self::Retry { retry_ms } => Item::Retry(*retry_ms),
            Self::RetryReset => Item::RetryReset,
            Self::Comment { comment } => Item::Comment(comment.as_str().into()),
        }
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        match (&self.text, &self.base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(coded)) => base64::engine::general_purpose::STANDARD.decode(coded).expect("base64"),
            _ => panic!("{}: text or base64, not both", self.name),
        }
    }
}

fn id(text: &str) -> EventId {
    EventId::parse(text).expect("an event id")
}

fn check(room: &str, case: &Case) {
    let Case { name, why, last_event_id: seed, .. } = case;
    let bytes = case.bytes();
    let expected = (case.expect.iter().map(Told::item).collect::<Vec<_>>(), id(&case.last_event_id_after));

    assert_eq!(model::read(seed, &bytes), expected, "{room}/{name} by the standard's text: {why}");
    assert_eq!(decode(seed, [bytes.as_slice()]), expected, "{room}/{name}, whole: {why}");
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(decode(seed, [head, tail]), expected, "{room}/{name}, cut at {cut}: {why}");
    }
    assert_eq!(decode(seed, bytes.chunks(1)), expected, "{room}/{name}, byte by byte: {why}");
}

#[test]
fn every_vector_at_every_split() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/vectors");
    let mut rooms = BTreeSet::new();
    for entry in fs::read_dir(dir).expect("the vectors are beside the crates") {
        let path = entry.expect("a readable directory").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable file");
        let Room { room, cases, .. } =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(room.as_str()));
        let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len(), "{room}: every case has a name of its own");
        for case in &cases {
            check(&room, case);
        }
        rooms.insert(room);
    }
    // A room that is not found would pass unseen.
    let known = ["blocks", "bom", "comments", "fields", "ids", "line-ends", "retry", "utf8"];
    assert_eq!(rooms, known.map(String::from).into());
}
