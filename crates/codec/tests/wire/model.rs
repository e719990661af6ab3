//! The standard's algorithm as its text has it (HTML, 9.2.6): decode everything, split everything, then go
//! line by line. Slow and plain on purpose; the decoder is compared with it.

use tidings_codec::{EventId, EventName, Item, Message};

/// What a whole stream means.
pub(crate) fn read(seed: &str, stream: &[u8]) -> (Vec<Item>, EventId) {
    // "UTF-8 decode", which drops one BOM.
    let text = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).into_owned();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // what no line end follows is no line

    let mut items = Vec::new();
    let mut last = id(seed);
    let (mut data, mut event) = (String::new(), String::new());
    let (mut own_id, mut own_retry) = (None, None);
    for line in lines {
        if line.is_empty() {
            if let Some(id) = &own_id {
                last = EventId::clone(id);
            }
            if let Some(data) = data.strip_suffix('\n') {
                let name = if event.is_empty() { "message" } else { &event };
                items.push(Item::Event(Message {
                    event: EventName::parse(&name.replace('\0', "\u{fffd}")).expect("no line end is left"),
                    data: data.into(),
                    id: own_id.clone(),
                    retry_ms: own_retry,
                    last_event_id: last.clone(),
                }));
            } else if let Some(id) = &own_id {
                items.push(Item::Id(EventId::clone(id)));
            }
            (data, event, own_id, own_retry) = (String::new(), String::new(), None, None);
        } else if let Some(comment) = line.strip_prefix(':') {
            items.push(Item::Comment(comment.into()));
        } else {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event = value.to_owned(),
                "data" => data += &format!("{value}\n"),
                "id" if !value.contains('\0') => own_id = Some(id(value)),
                "retry" if value.is_empty() => {
                    own_retry = None;
                    items.push(Item::RetryReset);
                }
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    // Digits only, so the one way to fail is to be too large.
                    let retry_ms = value.parse().unwrap_or(u64::MAX);
                    own_retry = Some(retry_ms);
                    items.push(Item::Retry(retry_ms));
                }
                _ => {}
            }
        }
    }
    (items, last)
}

fn id(text: &str) -> EventId {
    EventId::parse(text).expect("no NUL and no line end is left")
}
