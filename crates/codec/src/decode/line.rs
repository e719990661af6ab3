//! One line of the stream, whole or as far as it was read, and what the fields' values mean.
//! Holds no value: that goes to where the decoder wants it.

use super::scan::{Scan, Span};

/// The fields the standard knows; everything else is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Data,
    Event,
    Id,
    Retry,
    /// A line that begins with a colon.
    Comment,
    Unknown,
}

/// How far the current line was read.
#[derive(Debug)]
pub(super) enum Line {
    /// No colon yet. Empty: the line has not begun, and if it ends here it is blank.
    Name(Name),
    /// Behind the colon, or in a name that is too long to be known.
    Value { field: Field, at_start: bool },
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(Name::default())
    }
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Name(name) if name.is_empty())
    }

    /// Reads on in the name; gives the field in the moment it is known, colon passed.
    pub(super) fn read_name(&mut self, piece: &mut &[u8]) -> Option<Field> {
        let Self::Name(name) = self else { return None };
        while let Some((byte, rest)) = piece.split_first() {
            let field = if *byte != b':' {
                if name.push(*byte) {
                    *piece = rest;
                    continue;
                }
                Field::Unknown
            } else if name.is_empty() {
                Field::Comment
            } else {
                name.field()
            };
            *piece = rest;
            *self = Self::Value { field, at_start: true };
            return Some(field);
        }
        None
    }

    /// Behind the colon: drops the one space that may follow it (never a tab, and none in a comment) and says
    /// whose value the rest of `piece` is.
    pub(super) fn read_value_start(&mut self, piece: &mut &[u8]) -> Option<Field> {
        let Self::Value { field, at_start } = self else { return None };
        if *at_start && !piece.is_empty() {
            *at_start = false;
            if *field != Field::Comment {
                *piece = piece.strip_prefix(b" ").unwrap_or(piece);
            }
        }
        Some(*field)
    }
}

/// As much of a field's name as can matter: the longest known one has five bytes.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: [u8; 5],
    len: usize,
}

impl Name {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// False if there is no room, which no known name needs.
    fn push(&mut self, byte: u8) -> bool {
        let Some(slot) = self.bytes.get_mut(self.len) else { return false };
        *slot = byte;
        self.len += 1;
        true
    }

    /// Names are compared byte by byte: `Data`, ` data` and `data\0` are not `data`.
    pub(super) fn field(&self) -> Field {
        known(self.bytes.get(..self.len).unwrap_or_default())
    }
}

/// Where the value begins in a line that begins with `data:`.
#[inline]
pub(super) fn data_start(word: u64) -> Option<usize> {
    let is_data = word << 24 == u64::from_le_bytes(*b"\0\0\0data:");
    let space = usize::from((word >> 40) & 0xFF == u64::from(b' '));
    is_data.then_some(5 + space)
}

/// A whole line that is not blank: its field and where the value stands. `word` are its first eight bytes.
#[inline]
pub(super) fn split(word: u64, line: Span, scan: &Scan<'_>) -> (Field, Span) {
    let starts = |name: &[u8; 8], name_bytes: usize| {
        let mask = u64::MAX >> (64 - 8 * name_bytes);
        word & mask == u64::from_le_bytes(*name)
    };
    // No name holds a line end, so what begins like one does not reach beyond the line.
    if let Some(start) = data_start(word) {
        return (Field::Data, Span { start: line.start + start, end: line.end });
    }
    let (field, name_bytes) = if starts(b":\0\0\0\0\0\0\0", 1) {
        return (Field::Comment, Span { start: line.start + 1, end: line.end });
    } else if starts(b"id:\0\0\0\0\0", 3) {
        (Field::Id, 3)
    } else if starts(b"event:\0\0", 6) {
        (Field::Event, 6)
    } else if starts(b"retry:\0\0", 6) {
        (Field::Retry, 6)
    } else {
        return (known(scan.get(line)), Span { start: line.end, end: line.end });
    };
    // Exactly one space is dropped, never a tab.
    let space = usize::from((word >> (8 * name_bytes)) & 0xFF == u64::from(b' '));
    (field, Span { start: line.start + name_bytes + space, end: line.end })
}

/// The field of a name that is all of `line`. Such a line is a field with an empty value; with a colon in it, it
/// is none that anybody knows.
#[cold]
fn known(line: &[u8]) -> Field {
    match line {
        b"data" => Field::Data,
        b"event" => Field::Event,
        b"id" => Field::Id,
        b"retry" => Field::Retry,
        _ => Field::Unknown,
    }
}

/// A `retry` value: ASCII digits and nothing else, decimal whatever it begins with. `None` if it is not;
/// `u64::MAX` if it does not fit.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}
