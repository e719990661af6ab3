//! Bytes to text as the standard asks: invalid sequences become U+FFFD and are never an error.
//! **Invariants:** exactly what `String::from_utf8_lossy` gives on the whole, wherever the bytes were cut; every
//! byte is checked once.

use alloc::string::String;
use alloc::vec::Vec;

/// Pieces from this size on are checked as they come, while the processor still has them at hand; smaller ones
/// are collected first, because a check of sixteen bytes costs as much as one of two hundred.
const PIECE_BYTES: usize = 1024;

/// So much is collected before it is checked.
const COLLECTED_BYTES: usize = 4 * 1024;

/// Text that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Checked.
    text: String,
    /// Not yet checked, and behind `text`.
    raw: Vec<u8>,
}

impl Gathered {
    /// Empties it, and gives back what it has beyond `kept_bytes`.
    pub(crate) fn clear(&mut self, kept_bytes: usize) {
        self.raw.clear();
        self.text.clear();
        if self.text.capacity() > kept_bytes {
            self.text = String::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.raw.capacity()
    }

    #[inline]
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if piece.len() < PIECE_BYTES {
            self.raw.extend_from_slice(piece);
            if self.raw.len() >= COLLECTED_BYTES {
                self.check();
            }
        } else {
            self.push_long(piece);
        }
    }

    /// Everything, as text. To be cleared afterwards.
    #[inline]
    pub(crate) fn finish(&mut self) -> &str {
        if self.text.is_empty()
            && let Ok(text) = simdutf8::basic::from_utf8(&self.raw)
        {
            return text;
        }
        push_lossy(&mut self.text, &self.raw);
        &self.text
    }

    fn push_long(&mut self, mut piece: &[u8]) {
        self.check();
        if !self.raw.is_empty() {
            // A character was cut: give it what continues it, which is three bytes at most.
            let more = piece.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            let (end, rest) = piece.split_at_checked(more).unwrap_or((piece, &[]));
            self.raw.extend_from_slice(end);
            piece = rest;
            push_lossy(&mut self.text, &self.raw);
            self.raw.clear();
        }
        let (whole, cut) = split_cut(piece);
        push_checked(&mut self.text, whole);
        self.raw.extend_from_slice(cut);
    }

    /// Moves what is collected to the text, but for a character that is not complete.
    fn check(&mut self) {
        let (whole, _) = split_cut(&self.raw);
        push_checked(&mut self.text, whole);
        let whole_bytes = whole.len();
        self.raw.drain(..whole_bytes);
    }
}

/// Sets apart the beginning of a character at the end of `bytes`, three bytes at most.
pub(crate) fn split_cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    let continues = |byte: u8| byte & 0xC0 == 0x80;
    let cut_bytes = match *bytes {
        [.., lead] if lead >= 0xC0 => 1,
        [.., lead, a] if lead >= 0xE0 && continues(a) => 2,
        [.., lead, a, b] if lead >= 0xF0 && continues(a) && continues(b) => 3,
        _ => 0,
    };
    bytes.split_at_checked(bytes.len() - cut_bytes).unwrap_or((bytes, &[]))
}

fn push_checked(text: &mut String, bytes: &[u8]) {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(valid) => text.push_str(valid),
        Err(_) => push_lossy(text, bytes),
    }
}

/// Appends `bytes`, all of them; a character that is cut is an invalid one.
pub(crate) fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
