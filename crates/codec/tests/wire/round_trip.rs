//! What was encoded is what is read: for any text, and however hard it tries to be more than text.

use tidings_codec::{BlockWriter, Event, EventId, EventName, Item, Message, encode, encode_comment};

use crate::support::{Rng, decode};

/// Text made of everything that means something to a parser.
fn text(rng: &mut Rng, pieces_max: usize) -> String {
    const PIECES: [&str; 26] = [
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\r",
        "\r\n\r\n",
        "\0",
        ":",
        " ",
        "\t",
        "data: x",
        "id: forged",
        "event: forged",
        "retry: 1",
        "\nid: forged\n\n",
        "\rdata\r\r",
        "\u{feff}",
        "\u{2028}",
        "\u{85}",
        "é",
        "€",
        "🦀",
        "a",
        "b",
        "\u{fffd}",
        "",
    ];
    let count = rng.below(pieces_max + 1);
    (0..count).map(|_| rng.pick(&PIECES)).collect()
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn event(rng: &mut Rng) -> Event {
    let mut event = Event::new(text(rng, 8));
    let clean = |text: String| text.replace(['\0', '\r', '\n'], "");
    if rng.below(2) == 0 {
        event = event.with_id(EventId::try_from(clean(text(rng, 3))).expect("clean"));
    }
    if let Ok(name) = EventName::try_from(clean(text(rng, 3))) {
        event = event.with_event(name);
    }
    if rng.below(3) == 0 {
        event = event.with_retry_ms(rng.next());
    }
    event
}

/// What a reader must get for `event`, when `last` was the last event id.
fn read_as(event: &Event, last: &mut EventId) -> Vec<Item> {
    if let Some(id) = &event.id {
        *last = id.clone();
    }
    let message = Message {
        event: event.event.clone().unwrap_or_default(),
        data: normalised(&event.data).into(),
        id: event.id.clone(),
        retry_ms: event.retry_ms,
        last_event_id: last.clone(),
    };
    event.retry_ms.map(Item::Retry).into_iter().chain([Item::Event(message)]).collect()
}

#[test]
fn any_events_arrive_as_they_were_sent_and_as_no_more() {
    let mut rng = Rng::seeded(4);
    for _ in 0..5_000 {
        let (mut wire, mut expected, mut last) = (Vec::new(), Vec::new(), EventId::empty());
        for _ in 0..rng.below(4) {
            let event = event(&mut rng);
            encode(&event, &mut wire);
            expected.extend(read_as(&event, &mut last));
        }
        let chunks = rng.cut(&wire, 12);
        assert_eq!(decode("", chunks), (expected, last), "{}", wire.escape_ascii());
    }
}

#[test]
fn what_is_relayed_reads_the_same() {
    let mut rng = Rng::seeded(5);
    for _ in 0..2_000 {
        let (mut wire, mut again) = (Vec::new(), Vec::new());
        encode(&event(&mut rng), &mut wire);
        let (items, _) = decode("", [wire.as_slice()]);
        for item in items.clone() {
            if let Item::Event(message) = item {
                encode(&message.into_event(), &mut again);
            }
        }
        assert_eq!(decode("", [again.as_slice()]).0, items);
    }
}

#[test]
fn comments_stay_comments() {
    let mut rng = Rng::seeded(6);
    for _ in 0..5_000 {
        let text = text(&mut rng, 8);
        let mut wire = Vec::new();
        encode_comment(&text, &mut wire);
        let expected: Vec<_> = normalised(&text).split('\n').map(|line| Item::Comment(line.into())).collect();
        assert_eq!(decode("7", [wire.as_slice()]), (expected, EventId::parse("7").expect("an id")));
    }
}

#[test]
fn a_displayed_id_cannot_inject() {
    let mut rng = Rng::seeded(7);
    for _ in 0..5_000 {
        let (id, data) = (text(&mut rng, 6), text(&mut rng, 4));
        let mut wire = Vec::new();
        BlockWriter::new(&mut wire).comment(&data).id_display(&id).data(&data).end();
        let (items, last) = decode("", [wire.as_slice()]);
        assert_eq!(last.as_str(), id.replace(['\0', '\r', '\n'], ""));
        let events: Vec<_> = items.iter().filter(|item| !matches!(item, Item::Comment(_))).collect();
        let [Item::Event(message)] = events.as_slice() else { panic!("one event: {items:?}") };
        assert_eq!((message.event.as_str(), message.data.as_str()), ("message", normalised(&data).as_str()));
    }
}
