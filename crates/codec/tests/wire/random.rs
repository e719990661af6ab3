//! Streams nobody would write: the decoder agrees with the standard's text on all of them, at any split.

use crate::model;
use crate::support::{Rng, decode};

fn check(rng: &mut Rng, stream: &[u8], seed: &str) {
    let expected = model::read(seed, stream);
    assert_eq!(decode(seed, [stream]), expected, "whole: {stream:?}");
    assert_eq!(decode(seed, stream.chunks(1)), expected, "byte by byte: {stream:?}");
    let chunks = rng.cut(stream, 9);
    assert_eq!(decode(seed, chunks.iter().copied()), expected, "in {chunks:?}");
}

#[test]
fn any_bytes() {
    let mut rng = Rng::seeded(1);
    for _ in 0..4_000 {
        let len = rng.below(80);
        let stream: Vec<u8> = (0..len).map(|_| rng.next().to_le_bytes()[0]).collect();
        check(&mut rng, &stream, "");
    }
}

#[test]
fn pieces_of_the_grammar_in_any_order() {
    // Bare bytes seldom make a field: these make thousands of blocks, ids, resets and near misses.
    let pieces: [&[u8]; 38] = [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b":",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\n",
        b" ",
        b"\t",
        b"\0",
        b"a",
        b"datax",
        b"Data",
        b"12",
        b"99999999999999999999",
        b"+5",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xbb",
        b"\xbf",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xe2\x82",
        b"\xf0\x9f\xa6\x80",
        b"\xf0\x9f",
        b"\x80",
        b"\xe2\x80\xa8",
        b"\x0b",
        b"data: x\n",
        b"id: 7\n",
        b"event: e\r",
        b"\r\n\r\n",
    ];
    let mut rng = Rng::seeded(2);
    for _ in 0..20_000 {
        let count = rng.below(24);
        let stream: Vec<u8> = (0..count).flat_map(|_| rng.pick(&pieces)).copied().collect();
        check(&mut rng, &stream, "seed");
    }
}

#[test]
fn data_is_decoded_as_from_utf8_lossy_does_wherever_it_is_cut() {
    let pieces: [&[u8]; 12] = [
        b"ascii",
        b"\xc3\xa9",
        b"\xc3",
        b"\xe2\x82\xac",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf0\x9f\xa6\x80",
        b"\xf0\x9f\xa6",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"\x80",
        b"\xff",
    ];
    let mut rng = Rng::seeded(3);
    for _ in 0..10_000 {
        let count = rng.below(12);
        let value: Vec<u8> = (0..count).flat_map(|_| rng.pick(&pieces)).copied().collect();
        let stream = [b"data:x".as_slice(), &value, b"\n\n"].concat();
        let chunks = rng.cut(&stream, 4);
        let (items, _) = decode("", chunks);
        let [tidings_codec::Item::Event(message)] = items.as_slice() else { panic!("one event: {items:?}") };
        assert_eq!(message.data, format!("x{}", String::from_utf8_lossy(&value)));
    }
}
