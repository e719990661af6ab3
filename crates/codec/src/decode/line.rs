//! One line of the stream, as far as it was read, and what the fields' values mean.
//! Holds no value: that goes to where the decoder wants it.

use crate::{EventName, utf8};

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
        match self.bytes.get(..self.len) {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            Some(b"id") => Field::Id,
            Some(b"retry") => Field::Retry,
            _ => Field::Unknown,
        }
    }
}

/// The value of an `event` field; `None`, which means `message`, if it is empty.
pub(super) fn event_name(value: &[u8]) -> Option<EventName> {
    let text = utf8::as_text(value);
    // The only refusal left is a NUL: the value is not empty then, and holds no line end.
    EventName::parse(&text)
        .or_else(|refused| match refused {
            crate::InvalidEventName::Empty => Err(refused),
            _ => EventName::parse(&text.replace('\0', "\u{fffd}")),
        })
        .ok()
}

/// A `retry` value: ASCII digits and nothing else, decimal whatever it begins with. `None` if it is not;
/// `u64::MAX` if it does not fit.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}
