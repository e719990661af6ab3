//! Frames: a record as the bytes of its SSE block, in one dialect.
//!
//! **Invariant:** a frame is a pure function of record, position and dialect, so that what the hot log began
//! the cold path continues at the same byte.

use std::fmt;

use base64::Engine as _;
use tidings_codec::{BlockWriter, EventId, EventName};

use crate::ids::WireId;
use crate::position::Position;
use crate::record::{EventBody, Topics};

/// How events are put into blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The data as published (base64 for a binary topic).
    #[default]
    Native,
    /// The data within JSON that names the topic: `{"topic":"a","data":"…"}`, `"topics"` beside it when there
    /// are several, `"encoding":"base64"` for binary data.
    Labelled,
}

/// Appends the frame of an event.
pub fn encode(dialect: Dialect, position: Position, topics: &Topics, event: &EventBody, out: &mut Vec<u8>) {
    // As `BlockWriter::id_display` would, which looks through each part for line ends: these have none.
    out.extend_from_slice(b"id: ");
    WireId { position, publisher: event.id.as_ref() }.write(out);
    out.push(b'\n');
    let mut block = BlockWriter::new(out);
    if let Some(name) = &event.event {
        block = block.event(name);
    }
    if let Some(retry_ms) = event.retry_ms {
        block = block.retry_ms(retry_ms);
    }
    let (base64, lossy);
    let text = if event.binary {
        base64 = base64::engine::general_purpose::STANDARD.encode(&event.data);
        base64.as_str()
    } else {
        // Judged at the door to be UTF-8; what a damaged store might give is made harmless instead of trusted.
        match simdutf8::basic::from_utf8(&event.data) {
            Ok(text) => text,
            Err(_) => {
                lossy = String::from_utf8_lossy(&event.data);
                lossy.as_ref()
            }
        }
    };
    match dialect {
        Dialect::Native => block.data(text).end(),
        Dialect::Labelled => block.data(&label(topics, text, event.binary)).end(),
    }
}

/// The same frame in the labelled dialect, from the native one: so the hot log keeps no second copy of the data.
pub fn relabel(native: &[u8], topics: &Topics, binary: bool, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(native);
    let mut data = String::with_capacity(text.len());
    let mut first = true;
    for line in text.lines() {
        match line.strip_prefix("data:") {
            Some(value) => {
                if !first {
                    data.push('\n');
                }
                first = false;
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
            }
            None if !line.is_empty() => {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
            None => {}
        }
    }
    BlockWriter::new(out).data(&label(topics, &data, binary)).end();
}

fn label(topics: &Topics, data: &str, binary: bool) -> String {
    #[derive(serde::Serialize)]
    struct Label<'a> {
        topic: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        topics: Vec<&'a str>,
        data: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        encoding: Option<&'static str>,
    }
    let names: Vec<_> = topics.iter().map(|topic| topic.as_str()).collect();
    let label = Label {
        topic: names.first().copied().unwrap_or(""),
        topics: if names.len() > 1 { names } else { Vec::new() },
        data: &unify_line_ends(data),
        encoding: binary.then_some("base64"),
    };
    // Strings into a string: nothing in it can fail.
    serde_json::to_string(&label).unwrap_or_default()
}

/// Text with every line end as LF: what an `EventSource` makes of it.
pub fn unify_line_ends(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

/// A block that moves the reader's cursor and means nothing else.
pub fn cursor_block(position: Position, as_event: bool, out: &mut Vec<u8>) {
    let block = BlockWriter::new(out);
    if as_event {
        // Gecko forgets the id of a block without data, against the standard; nobody listens to this type.
        block.event(&CURSOR_EVENT).id_display(position).data("").end();
    } else {
        block.id_display(position).end();
    }
}

/// An event that tells a gap: its JSON in `data`.
pub fn gap_block(position: Position, json: &str, out: &mut Vec<u8>) {
    BlockWriter::new(out).event(&GAP_EVENT).id_display(position).data(json).end();
}

/// A block with nothing but a reconnection time.
pub fn retry_block(retry_ms: u64, out: &mut Vec<u8>) {
    BlockWriter::new(out).retry_ms(retry_ms).end();
}

/// A comment line: harmless to every reader.
pub fn comment(text: impl fmt::Display, out: &mut Vec<u8>) {
    BlockWriter::new(out).comment(&format!(" {text}")).end();
}

/// The type of an event that only moves the cursor.
pub const CURSOR_EVENT: EventName = EventName::from_static("tidings.cursor").expect("it has no line end");
/// The type of an event that tells a gap.
pub const GAP_EVENT: EventName = EventName::from_static("tidings.gap").expect("it has no line end");
/// The type of an event that says that the value of its topics is gone. Publishers may use it.
pub const TOMBSTONE_EVENT: EventName =
    EventName::from_static("tidings.tombstone").expect("it has no line end");
/// What no other event type of a publisher may begin with: readers trust these.
pub const RESERVED_PREFIX: &str = "tidings.";

/// An event's type, from its native frame.
pub(crate) fn event_name(native: &[u8]) -> Option<&str> {
    // The lines before the data: id, event, retry.
    let lines = native.split(|byte| *byte == b'\n').take(3).take_while(|line| !line.starts_with(b"data"));
    let mut names = lines.filter_map(|line| line.strip_prefix(b"event: "));
    names.next().and_then(|name| std::str::from_utf8(name).ok())
}

/// Splits a native frame into its parts again: publisher's id, type, retry, data lines joined by LF.
pub(crate) fn parts(native: &[u8]) -> FrameParts {
    let text = String::from_utf8_lossy(native);
    let mut parts = FrameParts::default();
    let mut first = true;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => parts.id = value.split_once('~').and_then(|(_, id)| EventId::parse(id).ok()),
            "event" => parts.event = EventName::parse(value).ok(),
            "retry" => parts.retry_ms = value.parse().ok(),
            "data" => {
                if !first {
                    parts.data.push('\n');
                }
                first = false;
                parts.data.push_str(value);
            }
            _ => {}
        }
    }
    parts
}

/// See [`parts`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameParts {
    pub(crate) id: Option<EventId>,
    pub(crate) event: Option<EventName>,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) data: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicName;
    use bytes::Bytes;

    fn frame(dialect: Dialect, topics: &[&str], event: &EventBody) -> String {
        let topics = topics.iter().map(|t| TopicName::parse(t).unwrap()).collect();
        let mut out = Vec::new();
        encode(dialect, Position::parse("1.2n9c").unwrap(), &topics, event, &mut out);
        if dialect == Dialect::Labelled {
            let (mut native, mut again) = (Vec::new(), Vec::new());
            encode(Dialect::Native, Position::parse("1.2n9c").unwrap(), &topics, event, &mut native);
            relabel(&native, &topics, event.binary, &mut again);
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&out), "one frame, two ways");
        }
        String::from_utf8(out).unwrap()
    }

    fn event(data: &'static [u8]) -> EventBody {
        EventBody { data: Bytes::from_static(data), ..EventBody::default() }
    }

    #[test]
    fn frames_say_all_and_only_what_the_record_says() {
        let full = EventBody {
            id: Some(EventId::parse("o~1").unwrap()),
            event: Some(EventName::parse("paid").unwrap()),
            retry_ms: Some(50),
            ..event(b"a\r\nb\rc")
        };
        assert_eq!(
            frame(Dialect::Native, &["x"], &full),
            "id: 1.2n9c~o~1\nevent: paid\nretry: 50\ndata: a\ndata: b\ndata: c\n\n"
        );
        assert_eq!(
            frame(Dialect::Labelled, &["x", "y"], &full),
            "id: 1.2n9c~o~1\nevent: paid\nretry: 50\ndata: {\"topic\":\"x\",\"topics\":[\"x\",\"y\"],\"data\":\"a\\nb\\nc\"}\n\n"
        );
        assert_eq!(frame(Dialect::Native, &["x"], &event(b"")), "id: 1.2n9c\ndata:\n\n");
        assert_eq!(
            frame(Dialect::Labelled, &["x"], &event(b"")),
            "id: 1.2n9c\ndata: {\"topic\":\"x\",\"data\":\"\"}\n\n"
        );
    }

    #[test]
    fn binary_data_is_base64_in_both() {
        let binary = EventBody { binary: true, ..event(b"\xff\x00\n") };
        assert_eq!(frame(Dialect::Native, &["x"], &binary), "id: 1.2n9c\ndata: /wAK\n\n");
        assert!(frame(Dialect::Labelled, &["x"], &binary).contains(r#""data":"/wAK","encoding":"base64""#));
    }

    #[test]
    fn a_frame_comes_apart_again() {
        let full = EventBody {
            id: Some(EventId::parse("p").unwrap()),
            event: Some(EventName::parse("e").unwrap()),
            retry_ms: Some(5),
            ..event(b" a\n\nb: c")
        };
        let text = frame(Dialect::Native, &["x"], &full);
        let parts = parts(text.as_bytes());
        assert_eq!(event_name(text.as_bytes()), Some("e"));
        assert_eq!(event_name(b"id: 1.1\ndata: x\ndata: event: y\n\n"), None);
        assert_eq!((parts.id, parts.event, parts.retry_ms), (full.id, full.event, full.retry_ms));
        assert_eq!(parts.data, " a\n\nb: c");
    }
}
