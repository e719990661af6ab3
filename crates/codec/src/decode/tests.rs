//! What the vectors cannot say: limits, work, and several streams through one decoder.

use alloc::vec;

use bytes::Bytes;

use super::block::FIELD_KEPT_BYTES;
use super::*;

fn read(decoder: &mut Decoder, chunk: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let mut told = Vec::new();
    let mut items = decoder.read(chunk);
    while let Some(item) = items.next()? {
        told.push(item.to_owned());
    }
    assert!(items.rest().is_empty());
    Ok(told)
}

fn data<'a>(items: &'a [Item]) -> Vec<&'a str> {
    let text = |item: &'a Item| match item {
        Item::Event(message) => Some(message.data.as_str()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn limited(event_bytes_max: usize) -> Decoder {
    Decoder::with_limits(DecodeLimits { event_bytes_max }).with_comments(true)
}

/// The stream passes at exactly `needs_bytes` and fails one below, whole and byte by byte.
fn check_limit(stream: &[u8], needs_bytes: usize) {
    for chunk_bytes in [1, stream.len()] {
        let run = |limit_bytes| {
            let mut decoder = limited(limit_bytes);
            stream.chunks(chunk_bytes).try_for_each(|chunk| read(&mut decoder, chunk).map(drop))
        };
        assert_eq!(run(needs_bytes), Ok(()), "{}", stream.escape_ascii());
        let limit_bytes = needs_bytes - 1;
        assert_eq!(
            run(limit_bytes),
            Err(DecodeError::EventTooLarge { limit_bytes }),
            "{}",
            stream.escape_ascii()
        );
    }
}

#[test]
fn the_limit_counts_what_is_held() {
    check_limit(b"data: 12345\n\n", 5);
    check_limit(b"data: 12\ndata: 45\n\n", 5);
    check_limit(b"data\ndata\ndata\n\n", 2);
    check_limit(b"id: 12\nevent: 34\ndata: 5\n\n", 5);
    check_limit(b": 234\n", 4);
    check_limit(b"data: 12\n:345\n\n", 5);
    check_limit(b"retry: 0000000001\n", 10);
    check_limit(b"id: 123\n", 3);
}

#[test]
fn the_limit_does_not_count_what_is_not_held() {
    let long = "x".repeat(1_000);
    for line in
        [alloc::format!("unknown: {long}\n"), alloc::format!("{long}\n"), alloc::format!("{long}: 1\n")]
    {
        let mut decoder = limited(1);
        let stream = [line.as_bytes(), b"data: a\n\n"].concat();
        for piece in stream.chunks(7) {
            let items = read(&mut decoder, piece).unwrap();
            assert!(decoder.value.is_empty(), "an ignored value is not kept");
            assert!(items.is_empty() || data(&items) == ["a"]);
        }
    }
    // Each block has the whole limit, and a field that is replaced counts no longer.
    let stream = b"data: 12345\n\ndata: 12345\n\nid: 1234\nid: 5\ndata: 7890\n\n";
    assert_eq!(read(&mut limited(5), stream).unwrap().len(), 3);
}

#[test]
fn sixteen_mebibytes_of_data_pass_by_default() {
    let text = "x".repeat(16 * 1024 * 1024);
    let mut decoder = Decoder::new();
    assert_eq!(read(&mut decoder, b"id: 1\nevent: e\ndata: "), Ok(vec![]));
    for piece in text.as_bytes().chunks(64 * 1024) {
        assert_eq!(read(&mut decoder, piece), Ok(vec![]));
    }
    assert_eq!(data(&read(&mut decoder, b"\n\n").unwrap()), [text]);
    assert_eq!(decoder.value.capacity(), 0, "the data went straight to the block");
}

#[test]
fn after_an_error_only_finish_helps() {
    let mut decoder = limited(4);
    decoder.set_last_event_id(EventId::parse("7").unwrap());
    let error = DecodeError::EventTooLarge { limit_bytes: 4 };
    assert_eq!(read(&mut decoder, b"id: 8\ndata: 12345\n\n"), Err(error));
    let mut input: &[u8] = b"data: a\n\n";
    assert_eq!(decoder.next(&mut input), Err(error));
    assert_eq!(input, b"data: a\n\n", "no input is taken");

    decoder.finish();
    let items = read(&mut decoder, input).unwrap();
    let [Item::Event(message)] = items.as_slice() else { panic!("one event") };
    assert_eq!((message.data.as_str(), message.last_event_id.as_str()), ("a", "7"));
    assert_eq!(read(&mut decoder, b"data: 12345\n\n"), Err(error), "the limits stay");
}

#[test]
fn a_new_stream_begins_anew_but_keeps_the_last_id() {
    // Each of these leaves something behind that the next stream must not see.
    for left in
        [&b"id: 9\ndata: cut"[..], b"event: e\n", b"data: x\nda", b"\xef\xbb", b": c", b"retry: 5", b"\r"]
    {
        let mut decoder = Decoder::new();
        read(&mut decoder, b"id: 1\ndata: a\n\n").unwrap();
        read(&mut decoder, left).unwrap();
        decoder.finish();
        assert!(!decoder.has_pending());
        assert_eq!(decoder.last_event_id(), &"1");
        let items = read(&mut decoder, b"\xef\xbb\xbf\ndata: b\n\n").unwrap();
        let [Item::Event(message)] = items.as_slice() else { panic!("one event, after {left:?}: {items:?}") };
        assert_eq!((message.data.as_str(), message.event.as_str()), ("b", "message"));
        assert_eq!((&message.id, message.retry_ms), (&None, None));
        assert_eq!(message.last_event_id, "1");
    }
}

#[test]
fn a_line_feed_after_finish_is_a_line_of_its_own() {
    let mut decoder = Decoder::new();
    read(&mut decoder, b"data: a\r").unwrap();
    assert!(decoder.swallow_lf);
    decoder.finish();
    assert!(!decoder.swallow_lf);
}

#[test]
fn what_would_be_discarded_is_told() {
    let check = |stream: &[u8], pending: bool| {
        let mut decoder = Decoder::new();
        read(&mut decoder, stream).unwrap();
        assert_eq!(decoder.has_pending(), pending, "{}", stream.escape_ascii());
    };
    check(b"", false);
    check(b"\xef\xbb", true);
    check(b"\xef\xbb\xbf", false);
    check(b"data: a\n\n", false);
    check(b"data: a\r\r", false);
    check(b"data: a\n", true);
    check(b"d", true);
    check(b":", true);
    check(b": c\n", false);
    check(b"id\n", true);
    check(b"event: e\n", true);
    check(b"event: e\n\n", false);
}

#[test]
fn an_event_is_there_at_the_second_bare_cr() {
    let mut decoder = Decoder::new();
    assert_eq!(data(&read(&mut decoder, b"data: a\r\r").unwrap()), ["a"]);
    assert_eq!(data(&read(&mut decoder, b"\ndata: b\r\r").unwrap()), ["b"]);
}

#[test]
fn no_byte_is_copied_twice_however_it_is_cut_and_none_if_it_is_not() {
    let line = [b"data: ".as_slice(), &vec![b'x'; 8 * 1024 * 1024], b"\n\n"].concat();
    for (chunks, copied_bytes) in [(1, 0), (2, 8 << 20), (1_024, 8 << 20), (65_536, 8 << 20)] {
        let mut decoder = Decoder::new();
        let mut seen = 0;
        for chunk in line.chunks(line.len().div_ceil(chunks)) {
            let mut items = decoder.read(chunk);
            while let Some(ItemRef::Event(event)) = items.next().unwrap() {
                seen += event.data.len();
            }
        }
        assert_eq!((seen, decoder.copied_bytes), (8 << 20, copied_bytes), "in {chunks} chunks");
    }
}

#[test]
fn a_single_data_line_is_lent_from_the_chunk() {
    let mut decoder = Decoder::new();
    let chunk = b"id: 1\nevent: e\ndata: 0123\n\ndata: ab\n\n";
    let mut items = decoder.read(chunk);
    for (event, data, at) in [("e", "0123", 21), ("message", "ab", 33)] {
        let Ok(Some(ItemRef::Event(seen))) = items.next() else { panic!("an event") };
        assert_eq!((seen.event, seen.data), (event, data));
        assert_eq!(seen.data.as_ptr(), chunk[at..].as_ptr());
    }
}

#[test]
fn what_an_early_end_leaves_can_be_read_later() {
    let mut decoder = Decoder::new();
    let chunk = b"data: a\n\nretry: 5\nevent: e\ndata: b\n\ndata: c";
    let mut items = decoder.read(chunk);
    assert!(matches!(items.next(), Ok(Some(ItemRef::Event(_)))));
    assert!(matches!(items.next(), Ok(Some(ItemRef::Retry(5)))));
    let rest = items.rest();
    let items = read(&mut decoder, rest).unwrap();
    let [Item::Event(message)] = items.as_slice() else { panic!("one event: {items:?}") };
    assert_eq!((message.event.as_str(), message.data.as_str(), message.retry_ms), ("e", "b", Some(5)));
    assert!(decoder.has_pending());
}

#[test]
fn an_owned_event_has_what_it_needs_and_no_more() {
    let mut decoder = Decoder::new();
    // Pieces, so that the large one goes through the decoder's own memory.
    for piece in [b"data: ".as_slice(), &vec![b'x'; 300_000], b"\n\n"] {
        read(&mut decoder, piece).unwrap();
    }
    let items = [read(&mut decoder, b"data: sm").unwrap(), read(&mut decoder, b"all\n\n").unwrap()].concat();
    let [Item::Event(message)] = items.as_slice() else { panic!("one event: {items:?}") };
    let bytes = message.data.clone().into_bytes();
    drop(items);
    assert_eq!(bytes.try_into_mut().map(|own| own.capacity()), Ok(5), "its own, and no larger");
    decoder.advance(&mut Scan::new(b"", true)).unwrap();
    assert!(decoder.block.data.capacity() <= KEPT_BYTES, "nor does the decoder keep it");
}

#[test]
fn a_slice_is_only_shared_when_it_is_one() {
    let chunk = Bytes::from_static(b"data: a\ndata: b\n\ndata: c\n\n");
    let mut decoder = Decoder::new();
    let mut items = decoder.read(&chunk);
    for (data, is_shared) in [("a\nb", false), ("c", true)] {
        let Ok(Some(ItemRef::Event(event))) = items.next() else { panic!("an event") };
        let message = event.to_message_within(&chunk);
        assert_eq!(message.data, data);
        let range = chunk.as_ptr_range();
        assert_eq!(range.contains(&message.data.as_ptr()), is_shared);
    }
}

#[test]
fn a_long_value_gives_its_memory_back() {
    let mut decoder = Decoder::new().with_comments(true);
    let long = "1".repeat(1_000_000);
    let stream = alloc::format!("id: {long}\nevent: {long}\nretry: {long}\n: {long}\n\nid: 2\n\n: c\n");
    for chunk in stream.as_bytes().chunks(7_000) {
        read(&mut decoder, chunk).unwrap();
    }
    assert!(decoder.value.capacity() <= FIELD_KEPT_BYTES, "{}", decoder.value.capacity());
    for held in [&decoder.block.event, &decoder.block.id] {
        assert!(held.capacity() <= FIELD_KEPT_BYTES, "{}", held.capacity());
    }
    assert!(decoder.last_event_id.capacity() <= FIELD_KEPT_BYTES);
}

#[test]
fn comments_that_nobody_wants_are_skipped_whatever_they_are_between() {
    let check = |stream: &str, expected: &[&str]| {
        for chunk_bytes in [1, 7, 64, 100, stream.len()] {
            let mut decoder = Decoder::with_limits(DecodeLimits { event_bytes_max: 8 });
            let mut items = Vec::new();
            for chunk in stream.as_bytes().chunks(chunk_bytes) {
                items.extend(read(&mut decoder, chunk).unwrap());
            }
            assert_eq!(data(&items), expected, "{stream:?} in chunks of {chunk_bytes}");
            assert_eq!(items.len(), expected.len());
        }
    };
    let many = ": keep-alive\n\n".repeat(40);
    check(&alloc::format!("{many}data: a\n\n{many}data: b\n\n{many}"), &["a", "b"]);
    check(&alloc::format!("data: a\n{}data: b\n\n", ":x\n".repeat(300)), &["a\nb"]);
    check(&alloc::format!("{}data: a\r\n\r\n", ":\r\n\r\n".repeat(300)), &["a"]);
    check(&alloc::format!("{}data: a\n\n", ":\n".repeat(300)), &["a"]);
    for padding in 0..130 {
        let long = alloc::format!(":{}\n", "c".repeat(padding));
        check(&alloc::format!("{long}{long}\n{long}data: a\n{long}{long}\n{long}{long}{long}"), &["a"]);
        // One longer than the limit, which counts nothing that is not held.
        check(&alloc::format!("{long}:{}\n{many}{long}\rdata: a\r\r", "c".repeat(500)), &["a"]);
    }
}
