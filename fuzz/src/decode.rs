//! Decoding: the same whole, byte by byte and cut at random, by both ways to read, with comments and without, and
//! as the standard's text says. With a limit, the same items come before the same error.

use tidings_codec::{DecodeError, DecodeLimits, Decoder, EventId, Item};

use crate::input::{Input, Rng};
use crate::model;

/// What a stream came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    items: Vec<Item>,
    end: Result<(), DecodeError>,
    has_pending: bool,
    last_event_id: EventId,
}

#[derive(Clone, Copy)]
struct How<'a> {
    limit_bytes: Option<usize>,
    comments: bool,
    seed: &'a str,
}

/// The first bytes choose limit, seed and cuts; the rest is the stream.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let limit_bytes = match input.byte() {
        limit @ ..64 => Some(usize::from(limit)),
        _ => None,
    };
    let mut cuts = Rng::seeded(u64::from(input.byte()));
    let longest = 1 + input.below(200);
    let how = How { limit_bytes, comments: true, seed: "seed" };
    let stream = input.rest();

    let whole = read(how, [stream]);
    if limit_bytes.is_none() {
        let (items, last_event_id) = model::read(how.seed, stream);
        assert_eq!(whole.end, Ok(()));
        assert_eq!((&whole.items, &whole.last_event_id), (&items, &last_event_id), "by the standard's text");
    }
    let mut chunks = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(cuts.below(longest + 1).min(rest.len()));
        chunks.push(head);
        rest = tail;
    }
    assert_eq!(read(how, stream.chunks(1)), whole, "byte by byte");
    assert_eq!(read(how, chunks.iter().copied()), whole, "in {chunks:?}");
    assert_eq!(one_by_one(how, [stream]), whole, "one by one");
    assert_eq!(one_by_one(how, chunks.iter().copied()), whole, "one by one in {chunks:?}");

    let quiet = How { comments: false, ..how };
    let silent = read(quiet, [stream]);
    assert_eq!(read(quiet, chunks.iter().copied()), silent, "without comments in {chunks:?}");
    if whole.end.is_ok() {
        let told = whole.items.iter().filter(|item| !matches!(item, Item::Comment(_)));
        assert!(told.eq(&silent.items), "without comments: {:?}, with: {:?}", silent.items, whole.items);
    }
}

fn decoder(how: How<'_>) -> Decoder {
    let limits = how
        .limit_bytes
        .map_or_else(DecodeLimits::default, |event_bytes_max| DecodeLimits { event_bytes_max });
    let mut decoder = Decoder::with_limits(limits).with_comments(how.comments);
    decoder.set_last_event_id(EventId::parse(how.seed).unwrap_or_default());
    decoder
}

fn read<'a>(how: How<'_>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = decoder(how);
    let mut told = Vec::new();
    let mut end = Ok(());
    'chunks: for chunk in chunks {
        let mut items = decoder.read(chunk);
        loop {
            match items.next() {
                Ok(Some(item)) => told.push(item.to_owned()),
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break 'chunks;
                }
            }
        }
        assert!(items.rest().is_empty(), "None means that the chunk is used up");
    }
    outcome(decoder, told, end)
}

fn one_by_one<'a>(how: How<'_>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = decoder(how);
    let mut told = Vec::new();
    let mut end = Ok(());
    'chunks: for mut chunk in chunks {
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(item)) => told.push(item.to_owned()),
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break 'chunks;
                }
            }
        }
        assert!(chunk.is_empty(), "None means that the input is used up");
    }
    outcome(decoder, told, end)
}

fn outcome(mut decoder: Decoder, items: Vec<Item>, end: Result<(), DecodeError>) -> Outcome {
    // After an error it is undefined how much of the block is still there.
    let has_pending = end.is_ok() && decoder.has_pending();
    decoder.finish();
    assert!(!decoder.has_pending());
    Outcome { items, end, has_pending, last_event_id: decoder.last_event_id().clone() }
}
