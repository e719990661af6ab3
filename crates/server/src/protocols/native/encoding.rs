//! Percent-encoding, read strictly and exactly once.
//! **Invariant:** what comes out is UTF-8; an escape that is none, or bytes that are no text, are errors and
//! never silently something else.

use std::borrow::Cow;
use std::fmt;

/// Why a part of a URL is no text. Whoever wrote the URL must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadEncoding {
    /// A `%` that two hexadecimal digits do not follow.
    Escape {
        /// Its place in the undecoded text, in bytes.
        at: usize,
    },
    /// The decoded bytes are not UTF-8.
    NotUtf8,
}

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escape { at } => {
                write!(f, "has a '%' at byte {at} without two hexadecimal digits; write a plain '%' as %25")
            }
            Self::NotUtf8 => f.write_str("does not decode to UTF-8; encode the UTF-8 bytes of the text"),
        }
    }
}

/// What a `+` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself: in a path.
    Plus,
    /// A space: in a query, as `URLSearchParams` writes it.
    Space,
}

/// Decodes `raw` once.
///
/// # Errors
/// [`BadEncoding`] names what is wrong.
pub(super) fn decode(raw: &str, plus: Plus) -> Result<Cow<'_, str>, BadEncoding> {
    if !raw.bytes().any(|byte| byte == b'%' || (byte == b'+' && plus == Plus::Space)) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|(_, byte)| hex(byte));
                let (high, low) = (digit(), digit());
                let (Some(high), Some(low)) = (high, low) else { return Err(BadEncoding::Escape { at }) };
                high << 4 | low
            }
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadEncoding::NotUtf8)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_once_and_strictly() {
        for (raw, text) in [
            ("a/b", "a/b"),
            ("a%2Fb%2fc", "a/b/c"),
            ("%252F", "%2F"),
            ("na%C3%AFve", "naïve"),
            ("naïve", "naïve"),
            ("%00", "\0"),
            ("", ""),
        ] {
            assert_eq!(decode(raw, Plus::Plus).as_deref(), Ok(text), "{raw:?}");
        }
        assert_eq!(decode("a+b%2B", Plus::Plus).as_deref(), Ok("a+b+"));
        assert_eq!(decode("a+b%2B", Plus::Space).as_deref(), Ok("a b+"));
        for (raw, error) in [
            ("%", BadEncoding::Escape { at: 0 }),
            ("ab%4", BadEncoding::Escape { at: 2 }),
            ("%zz", BadEncoding::Escape { at: 0 }),
            ("%+1", BadEncoding::Escape { at: 0 }),
            ("%4é", BadEncoding::Escape { at: 0 }),
            ("%ff", BadEncoding::NotUtf8),
            ("%c3", BadEncoding::NotUtf8),
        ] {
            assert_eq!(decode(raw, Plus::Plus), Err(error), "{raw:?}");
        }
    }
}
