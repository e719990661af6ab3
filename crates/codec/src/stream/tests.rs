//! What the examples do not show: every split, errors, ends.

use alloc::vec::Vec;
use std::io;

use futures_executor::block_on;
use futures_util::{StreamExt as _, stream};

use super::*;
use crate::DecodeLimits;

const STREAM: &[u8] = b"id: 1\ndata: a\n\n: c\nretry: 7\ndata: b\r\n\r\nid: 2\n\ndata: cut";

#[test]
fn the_events_do_not_depend_on_the_chunks() {
    for chunk_bytes in 1..=STREAM.len() {
        let chunks = stream::iter(STREAM.chunks(chunk_bytes).map(Ok::<_, io::Error>));
        let mut events = chunks.eventsource();
        let seen: Vec<_> = block_on(events.by_ref().map(|event| event.unwrap().data).collect());
        assert_eq!(seen, ["a", "b"], "in chunks of {chunk_bytes}");
        assert!(events.is_terminated());
        assert_eq!(events.last_event_id(), &"2");
        assert!(!events.into_decoder().has_pending(), "what was cut is gone");
    }
}

#[test]
fn items_are_told_too() {
    let chunks = stream::iter([Ok::<_, io::Error>(STREAM)]);
    let items = ItemStream::with_decoder(chunks, Decoder::new().with_comments(true));
    let seen: Vec<_> = block_on(items.map(Result::unwrap).collect());
    assert!(
        matches!(
            seen.as_slice(),
            [Item::Event(_), Item::Comment(_), Item::Retry(7), Item::Event(_), Item::Id(_)]
        ),
        "{seen:?}"
    );
}

#[test]
fn an_error_is_the_last_thing_told() {
    let chunks = [Ok("data: a\n\n"), Err(io::ErrorKind::BrokenPipe), Ok("data: b\n\n")];
    let seen: Vec<_> = block_on(stream::iter(chunks).eventsource().collect());
    assert!(
        matches!(seen.as_slice(), [Ok(_), Err(StreamError::Chunks(io::ErrorKind::BrokenPipe))]),
        "{seen:?}"
    );

    let decoder = Decoder::with_limits(DecodeLimits { event_bytes_max: 3 });
    let chunks = stream::iter(["data: abc\n\ndata: abcd\n\ndata: a\n\n"].map(Ok::<_, io::Error>));
    let seen: Vec<_> = block_on(EventStream::with_decoder(chunks, decoder).collect());
    let [Ok(_), Err(StreamError::Decode(DecodeError::EventTooLarge { limit_bytes: 3 }))] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
}

#[test]
fn a_poll_ends_although_there_are_always_more_chunks_and_nothing_to_tell() {
    use core::future::poll_fn;
    for chunk in [&[b'x'; 4096][..], b"", b"\nretry: 1\n", b"\nid: 1\n\n"] {
        let endless = stream::repeat_with(move || Ok::<_, io::Error>(chunk));
        let first = stream::iter([Ok(&b"data: a\n\n:"[..])]);
        let mut events = first.chain(endless).eventsource();
        assert_eq!(block_on(events.next()).unwrap().unwrap().data, "a");
        let polled = block_on(poll_fn(|cx| Poll::Ready(events.poll_next_unpin(cx))));
        assert!(polled.is_pending(), "whoever reads beside something else is heard");
    }
}
