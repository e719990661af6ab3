//! What stands for a key's or producer's text: 127 bits of its SHA-256, and one bit that tells the two apart.
//!
//! Two texts of one fingerprint would be taken for one. Among a million by chance that has odds of 1 to 10²⁶.
//! On purpose it takes 2⁶³ hashes to find any such pair, and the scope of the caller is part of the text: whoever
//! has found one can confuse nothing but two keys of his own. To meet somebody else's key takes 2¹⁰⁷.

use sha2::{Digest as _, Sha256};

/// What a key or producer is remembered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

/// The bit of the last byte that says which kind it is of.
const PRODUCER: u8 = 1;

impl Fingerprint {
    /// Of an idempotency key with its scope.
    pub fn of_key(text: &str) -> Self {
        let Self([head @ .., last]) = Self::of(text);
        Self::with_last(head, last & !PRODUCER)
    }

    /// Of a producer's id with its scope.
    pub fn of_producer(text: &str) -> Self {
        let Self([head @ .., last]) = Self::of(text);
        Self::with_last(head, last | PRODUCER)
    }

    /// As a checkpoint has it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// For a checkpoint.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether it is a producer's.
    pub const fn is_producer(self) -> bool {
        let [.., last] = self.0;
        last & PRODUCER != 0
    }

    /// Bits to hash by; they are as good as any.
    pub(super) const fn bits(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn of(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(byte, of_digest)| *byte = of_digest);
        Self(bytes)
    }

    fn with_last(head: [u8; 15], last: u8) -> Self {
        let mut bytes = [last; 16];
        bytes.iter_mut().zip(head).for_each(|(byte, of_head)| *byte = of_head);
        Self(bytes)
    }
}
