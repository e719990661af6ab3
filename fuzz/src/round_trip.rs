//! What was encoded is what is read, by our decoder and by a second parser written from the standard's text; and
//! no text, however hostile, becomes more than the text of its field.

use tidings_codec::{BlockWriter, Decoder, Event, EventId, EventName, Item, Message, encode};

use crate::input::Input;
use crate::model;

/// The input is a list of events, comments and hostile ids.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut wire, mut expected, mut last) = (Vec::new(), Vec::new(), EventId::empty());
    while !input.is_empty() {
        if input.below(4) == 0 {
            hostile(&mut input, &mut wire, &mut expected, &mut last);
        } else {
            ordinary(&mut input, &mut wire, &mut expected, &mut last);
        }
    }
    assert_eq!(model::read("", &wire), (expected.clone(), last.clone()), "by the standard's text");
    let mut decoder = Decoder::new().with_comments(true);
    let mut told = Vec::new();
    let mut items = decoder.read(&wire);
    while let Some(item) = items.next().expect("within the limit") {
        told.push(item.to_owned());
    }
    assert_eq!((&told, decoder.last_event_id()), (&expected, &last));
    assert!(!decoder.has_pending(), "every block was ended");

    let mut again = Vec::new();
    for item in told {
        if let Item::Event(message) = item {
            encode(&message.into_event(), &mut again);
        }
    }
    let events: Vec<_> = expected.into_iter().filter(|item| !matches!(item, Item::Comment(_))).collect();
    assert_eq!(model::read("", &again).0, events, "what is relayed reads the same");
}

fn ordinary(input: &mut Input<'_>, wire: &mut Vec<u8>, expected: &mut Vec<Item>, last: &mut EventId) {
    let choices = input.byte();
    let mut event = Event::new(input.text(60));
    if choices & 1 != 0
        && let Ok(id) = EventId::try_from(input.text(12))
    {
        event = event.with_id(id);
    }
    if choices & 2 != 0
        && let Ok(name) = EventName::try_from(input.text(12))
    {
        event = event.with_event(name);
    }
    if choices & 4 != 0 {
        event = event.with_retry_ms(u64::from(input.byte()) << (choices >> 2));
    }
    encode(&event, wire);
    if let Some(id) = &event.id {
        *last = id.clone();
    }
    expected.extend(event.retry_ms.map(Item::Retry));
    expected.push(Item::Event(Message {
        event: event.event.unwrap_or_default(),
        data: normalised(&event.data).into(),
        id: event.id,
        retry_ms: event.retry_ms,
        last_event_id: last.clone(),
    }));
}

fn hostile(input: &mut Input<'_>, wire: &mut Vec<u8>, expected: &mut Vec<Item>, last: &mut EventId) {
    let (comment, id, data) = (input.text(20), input.text(20), input.text(20));
    BlockWriter::new(wire).comment(&comment).id_display(&id).data(&data).end();
    *last = EventId::try_from(id.replace(['\0', '\r', '\n'], "")).expect("nothing forbidden is left");
    expected.extend(normalised(&comment).split('\n').map(|line| Item::Comment(line.into())));
    expected.push(Item::Event(Message {
        event: EventName::MESSAGE,
        data: normalised(&data).into(),
        id: Some(last.clone()),
        retry_ms: None,
        last_event_id: last.clone(),
    }));
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
