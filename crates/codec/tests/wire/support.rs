//! Decoding a stream cut in any way, and a small seeded generator.

use tidings_codec::{Decoder, EventId, Item};

/// All items of a stream that arrives in `chunks` and ends, and the last event id after it.
pub(crate) fn decode<'a>(seed: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, EventId) {
    let mut decoder = Decoder::new();
    decoder.set_last_event_id(EventId::parse(seed).expect("seeds are ids"));
    let mut items = Vec::new();
    for mut chunk in chunks {
        while let Some(item) = decoder.next(&mut chunk).expect("within the limit") {
            items.push(item);
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
