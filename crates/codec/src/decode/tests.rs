//! What the vectors cannot say: limits, work, and several streams through one decoder.

use alloc::vec;

use super::*;

fn read(decoder: &mut Decoder, mut input: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let mut items = Vec::new();
    while let Some(item) = decoder.next(&mut input)? {
        items.push(item);
    }
    assert!(input.is_empty());
    Ok(items)
}

fn data<'a>(items: &'a [Item]) -> Vec<&'a str> {
    let text = |item: &'a Item| match item {
        Item::Event(message) => Some(message.data.as_str()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn limited(event_bytes_max: usize) -> Decoder {
    Decoder::with_limits(DecodeLimits { event_bytes_max })
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
    assert!(decoder.value.capacity() <= SCRATCH_BYTES, "the data went straight to the block");
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
fn work_is_the_input_however_it_is_cut() {
    let line = [b"data: ".as_slice(), &vec![b'x'; 8 * 1024 * 1024], b"\n\n"].concat();
    // Every byte of the line but its end is handed on exactly once; the blank line has none.
    let expected = line.len() - 2;
    for chunks in [1, 2, 1_024, 65_536] {
        let mut decoder = Decoder::new();
        let mut seen = 0;
        for chunk in line.chunks(line.len().div_ceil(chunks)) {
            seen += read(&mut decoder, chunk).unwrap().len();
        }
        assert_eq!((seen, decoder.worked_bytes), (1, expected), "in {chunks} chunks");
    }
}

#[test]
fn data_is_moved_not_copied_when_the_block_ends() {
    let mut decoder = Decoder::new();
    read(&mut decoder, b"data: 0123456789\ndata: abc\n").unwrap();
    let held = decoder.block.data.as_ref().unwrap().as_ptr();
    let items = read(&mut decoder, b"\n").unwrap();
    let [Item::Event(message)] = items.as_slice() else { panic!("one event") };
    assert_eq!(message.data.as_ptr(), held);
}

#[test]
fn a_long_value_gives_its_memory_back() {
    let mut decoder = Decoder::new();
    let long = "1".repeat(1_000_000);
    read(&mut decoder, alloc::format!("id: {long}\nevent: {long}\nretry: {long}\n: {long}\n\n").as_bytes())
        .unwrap();
    assert!(decoder.value.capacity() <= SCRATCH_BYTES, "{}", decoder.value.capacity());
}
