//! The two texts that share a line with a field name: the event's id and its name.
//! **Invariant:** neither holds NUL, CR or LF, so neither can end its line early; a name is never empty.
//! There is no other way to make one than through the check, and no way to change one afterwards.

use alloc::borrow::{Borrow, Cow, ToOwned};
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// An event id: UTF-8 without NUL, CR or LF, so it can never end a line early.
///
/// May be empty: an `id` field without a value resets the reader's last event id (HTML, 9.2.6).
///
/// ```
/// use tidings_codec::{EventId, InvalidEventId};
///
/// assert_eq!(EventId::parse("1.2n9c")?.as_str(), "1.2n9c");
/// assert_eq!(EventId::parse("7\ndata: forged"), Err(InvalidEventId::LineFeed { at_byte: 1 }));
/// assert!(EventId::empty().is_empty());
/// # Ok::<(), InvalidEventId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId(String);

impl EventId {
    /// Takes `text` as an id.
    ///
    /// # Errors
    /// Names the first NUL, CR or LF and the byte it stands at.
    pub fn parse(text: &str) -> Result<Self, InvalidEventId> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Becomes `text`, in the memory it has; one that was much longer gives it back. For the decoder alone: a
    /// NUL is seen before, and a line end never comes to it.
    pub(crate) fn assign(&mut self, text: &str) {
        debug_assert!(check(text).is_ok());
        if self.0.capacity() > KEPT_BYTES.max(text.len()) {
            self.0 = String::new();
        }
        self.0.clear();
        self.0.push_str(text);
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The id that resets: what a reader has before it has read any.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the id that resets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for EventId {
    type Error = InvalidEventId;

    fn try_from(text: String) -> Result<Self, InvalidEventId> {
        check(&text)?;
        Ok(Self(text))
    }
}

/// Memory that an id which is replaced again and again may keep: no usual one is longer.
const KEPT_BYTES: usize = 1024;

/// An event's name (its type): UTF-8 without NUL, CR or LF, never empty.
///
/// An event without a name is read as [`EventName::MESSAGE`].
///
/// ```
/// use tidings_codec::{EventName, InvalidEventName};
///
/// const GAP: EventName = EventName::from_static("tidings.gap").expect("a wrong name does not compile");
/// assert_eq!(EventName::parse("tidings.gap")?, GAP);
/// assert_eq!(EventName::parse(""), Err(InvalidEventName::Empty));
/// # Ok::<(), InvalidEventName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(Cow<'static, str>);

impl EventName {
    /// `message`: the name of an event that carries none (HTML, 9.2.6).
    pub const MESSAGE: Self = Self(Cow::Borrowed("message"));

    /// Takes `text` as a name.
    ///
    /// # Errors
    /// The text is empty, or holds NUL, CR or LF: names the first and the byte it stands at.
    pub fn parse(text: &str) -> Result<Self, InvalidEventName> {
        check_name(text)?;
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// A name known when the program is compiled; `None` if it is none. Allocates nothing.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Option<Self> {
        if text.is_empty() || first_forbidden(text).is_some() {
            return None;
        }
        Some(Self(Cow::Borrowed(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EventName {
    type Error = InvalidEventName;

    fn try_from(text: String) -> Result<Self, InvalidEventName> {
        check_name(&text)?;
        Ok(Self(Cow::Owned(text)))
    }
}

impl Default for EventName {
    fn default() -> Self {
        Self::MESSAGE
    }
}

/// Why a text is no [`EventId`]. Whoever made the id must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEventId {
    /// A NUL: readers ignore such an id altogether.
    Nul {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
    /// A CR: it would end the line.
    CarriageReturn {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
    /// A LF: it would end the line.
    LineFeed {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
}

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id must not contain ")?;
        write_forbidden(f, *self)
    }
}

impl core::error::Error for InvalidEventId {}

/// Why a text is no [`EventName`]. Whoever named the event must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEventName {
    /// Nothing at all: leave the name out instead.
    Empty,
    /// A NUL.
    Nul {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
    /// A CR: it would end the line.
    CarriageReturn {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
    /// A LF: it would end the line.
    LineFeed {
        /// Where it stands, counted in bytes from 0.
        at_byte: usize,
    },
}

impl fmt::Display for InvalidEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forbidden = match *self {
            Self::Empty => return f.write_str("an event name must not be empty: leave it out instead"),
            Self::Nul { at_byte } => InvalidEventId::Nul { at_byte },
            Self::CarriageReturn { at_byte } => InvalidEventId::CarriageReturn { at_byte },
            Self::LineFeed { at_byte } => InvalidEventId::LineFeed { at_byte },
        };
        f.write_str("an event name must not contain ")?;
        write_forbidden(f, forbidden)
    }
}

impl core::error::Error for InvalidEventName {}

/// What both types give: text out by every usual way, text in by every fallible one.
macro_rules! text_traits {
    ($type:ident, $error:ident) => {
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Sound for maps: Eq, Ord and Hash are those of the text.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.as_str(), f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, text: &str) -> bool {
                self.as_str() == text
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, text: &&str) -> bool {
                self.as_str() == *text
            }
        }

        impl FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }
    };
}

text_traits!(EventId, InvalidEventId);
text_traits!(EventName, InvalidEventName);

const fn first_forbidden(text: &str) -> Option<InvalidEventId> {
    let mut rest = text.as_bytes();
    let mut at_byte = 0;
    while let [byte, tail @ ..] = rest {
        match *byte {
            0 => return Some(InvalidEventId::Nul { at_byte }),
            b'\r' => return Some(InvalidEventId::CarriageReturn { at_byte }),
            b'\n' => return Some(InvalidEventId::LineFeed { at_byte }),
            _ => {}
        }
        rest = tail;
        at_byte += 1;
    }
    None
}

fn check(text: &str) -> Result<(), InvalidEventId> {
    // The search is the fast path; the loop only runs to say what it was.
    match memchr::memchr3(0, b'\r', b'\n', text.as_bytes()) {
        None => Ok(()),
        Some(_) => first_forbidden(text).map_or(Ok(()), Err),
    }
}

fn check_name(text: &str) -> Result<(), InvalidEventName> {
    if text.is_empty() {
        return Err(InvalidEventName::Empty);
    }
    check(text).map_err(|forbidden| match forbidden {
        InvalidEventId::Nul { at_byte } => InvalidEventName::Nul { at_byte },
        InvalidEventId::CarriageReturn { at_byte } => InvalidEventName::CarriageReturn { at_byte },
        InvalidEventId::LineFeed { at_byte } => InvalidEventName::LineFeed { at_byte },
    })
}

fn write_forbidden(f: &mut fmt::Formatter<'_>, forbidden: InvalidEventId) -> fmt::Result {
    match forbidden {
        InvalidEventId::Nul { at_byte } => write!(f, "NUL (U+0000), found at byte {at_byte}"),
        InvalidEventId::CarriageReturn { at_byte } => write!(f, "CR (U+000D), found at byte {at_byte}"),
        InvalidEventId::LineFeed { at_byte } => write!(f, "LF (U+000A), found at byte {at_byte}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn refused(text: &str, id: &str, name: &str) {
        assert_eq!(EventId::parse(text).unwrap_err().to_string(), id);
        assert_eq!(EventName::parse(text).unwrap_err().to_string(), name);
        assert_eq!(EventId::try_from(String::from(text)).unwrap_err().to_string(), id);
        assert_eq!(EventName::try_from(String::from(text)).unwrap_err().to_string(), name);
    }

    #[test]
    fn what_would_end_a_line_is_refused_by_name_and_place() {
        refused(
            "ü\0",
            "an event id must not contain NUL (U+0000), found at byte 2",
            "an event name must not contain NUL (U+0000), found at byte 2",
        );
        refused(
            "\rx\n",
            "an event id must not contain CR (U+000D), found at byte 0",
            "an event name must not contain CR (U+000D), found at byte 0",
        );
        refused(
            "abc\n",
            "an event id must not contain LF (U+000A), found at byte 3",
            "an event name must not contain LF (U+000A), found at byte 3",
        );
    }

    #[test]
    fn an_empty_id_resets_and_an_empty_name_is_none() {
        assert_eq!(EventId::parse(""), Ok(EventId::empty()));
        assert_eq!(EventName::parse(""), Err(InvalidEventName::Empty));
        assert_eq!(EventName::from_static(""), None);
        assert_eq!(EventName::from_static("a\nb"), None);
    }

    #[test]
    fn other_control_and_separator_characters_are_text() {
        let text = "\u{1}\t\u{b}\u{c}\u{85}\u{2028}\u{2029}\u{feff}:";
        assert_eq!(EventId::parse(text).unwrap().as_str(), text);
        assert_eq!(EventName::parse(text).unwrap().as_str(), text);
    }
}
