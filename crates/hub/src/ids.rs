//! Ids on the wire: a position, or `position~publisher-id`. Resume reads only the position.

use std::fmt;

use tidings_codec::EventId;

use crate::position::Position;

/// The native SSE `id` of an event.
#[derive(Clone, Copy, Debug)]
pub struct WireId<'a> {
    /// Where it stands.
    pub position: Position,
    /// What the publisher called it.
    pub publisher: Option<&'a EventId>,
}

impl WireId<'_> {
    /// Appends its text, which has no line end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.position.write(out);
        if let Some(id) = self.publisher {
            out.push(b'~');
            out.extend_from_slice(id.as_str().as_bytes());
        }
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        let mut text = Vec::with_capacity(Position::TEXT_BYTES_MAX);
        self.write(&mut text);
        // Digits, and an id that is text.
        String::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for WireId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// What a client says it saw last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumePoint {
    /// A position of this hub's kind.
    Position(Position),
    /// Something that this hub never wrote: told as a gap, never as an error that would end an `EventSource` for
    /// good. The first bytes of it, for the telling.
    Foreign(Box<str>),
}

impl ResumePoint {
    /// Reads a `Last-Event-ID`, which may be any bytes. `None` if it is empty: the client saw nothing.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let position_end = bytes.iter().position(|byte| *byte == b'~').unwrap_or(bytes.len());
        let position = bytes
            .get(..position_end)
            .filter(|prefix| prefix.len() <= Position::TEXT_BYTES_MAX)
            .and_then(|prefix| std::str::from_utf8(prefix).ok())
            .and_then(|prefix| Position::parse(prefix).ok());
        Some(position.map_or_else(
            || {
                let start = bytes.get(..bytes.len().min(32)).unwrap_or(bytes);
                Self::Foreign(String::from_utf8_lossy(start).into())
            },
            Self::Position,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_position_counts() {
        let position = |text| ResumePoint::Position(Position::parse(text).unwrap());
        assert_eq!(ResumePoint::parse(b"1.2n9c"), Some(position("1.2n9c")));
        assert_eq!(ResumePoint::parse("1.2n9c~ünï~x".as_bytes()), Some(position("1.2n9c")));
        assert_eq!(ResumePoint::parse(b"1.2n9c~\xff"), Some(position("1.2n9c")));
        assert_eq!(ResumePoint::parse(b""), None);
        for foreign in [&b"42"[..], b"urn:uuid:1", b"1.2N", b"\xff\xfe", b"~1.2", b"1.2 ", &[b'9'; 1 << 20]] {
            assert!(
                matches!(ResumePoint::parse(foreign), Some(ResumePoint::Foreign(text)) if text.len() <= 96)
            );
        }
    }
}
