//! Decoding a stream cut in any way, and a small seeded generator.

use tidings_codec::{Decoder, EventId, Item};

/// All items of a stream that arrives in `chunks` and ends, and the last event id after it: the same by both
/// ways to read, and the events the same whether comments are told or not.
pub(crate) fn decode<'a>(
    seed: &str,
    chunks: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
) -> (Vec<Item>, EventId) {
    let chunks = chunks.into_iter();
    let told = read(seed, chunks.clone(), true);
    assert_eq!(told, one_by_one(seed, chunks.clone()));
    let (items, last) = read(seed, chunks, false);
    let quiet = told.0.iter().filter(|item| !matches!(item, Item::Comment(_)));
    assert!(quiet.eq(items.iter()) && told.1 == last, "without comments: {items:?}, with: {told:?}");
    told
}

fn decoder(seed: &str, comments: bool) -> Decoder {
    let mut decoder = Decoder::new().with_comments(comments);
    decoder.set_last_event_id(EventId::parse(seed).expect("seeds are ids"));
    decoder
}

fn read<'a>(seed: &str, chunks: impl Iterator<Item = &'a [u8]>, comments: bool) -> (Vec<Item>, EventId) {
    let mut decoder = decoder(seed, comments);
    let mut told = Vec::new();
    for chunk in chunks {
        let mut items = decoder.read(chunk);
        while let Some(item) = items.next().expect("within the limit") {
            told.push(item.to_owned());
        }
        assert!(items.rest().is_empty(), "None means that the chunk is used up");
    }
    decoder.finish();
    (told, decoder.last_event_id().clone())
}

fn one_by_one<'a>(seed: &str, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Item>, EventId) {
    let mut decoder = decoder(seed, true);
    let mut items = Vec::new();
    for mut chunk in chunks {
        while let Some(item) = decoder.next(&mut chunk).expect("within the limit") {
            items.push(item.to_owned());
        }
        assert!(chunk.is_empty(), "None means that the input is used up");
    }
    decoder.finish();
    (items, decoder.last_event_id().clone())
}

/// splitmix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Cuts `bytes` into pieces, some of them empty.
    pub(crate) fn cut<'a>(&mut self, mut bytes: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(self.below(longest + 1).min(bytes.len()));
            chunks.push(head);
            bytes = tail;
        }
        chunks
    }
}
