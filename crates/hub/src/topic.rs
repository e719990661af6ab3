//! Topics: their names and what may be declared of them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A topic's name: 1 to 1,024 bytes of UTF-8 without control characters and without `*`, `{`, `}`, `\`
/// (these belong to selector languages). `/` separates segments for globs and means nothing else. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTopic {
    /// No name at all.
    Empty,
    /// Longer than [`TopicName::BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character that no name may have.
    Forbidden {
        /// The character.
        character: char,
        /// Its place in bytes.
        at: usize,
    },
}

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a topic needs a name"),
            Self::TooLong { bytes } => {
                write!(f, "the topic's name has {bytes} bytes; at most {} are allowed", TopicName::BYTES_MAX)
            }
            Self::Forbidden { character, at } => write!(
                f,
                "the topic's name has {character:?} at byte {at}; control characters, '*', '{{', '}}' and '\\' are not allowed in names"
            ),
        }
    }
}

impl std::error::Error for InvalidTopic {}

impl TopicName {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 1_024;

    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidTopic`] says what is wrong and where.
    ///
    /// ```
    /// use tidings_hub::TopicName;
    /// assert_eq!(TopicName::parse("orders/1").unwrap().as_str(), "orders/1");
    /// assert!(TopicName::parse("orders/*").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        Self::check(text).map(|()| Self(text.into()))
    }

    /// Checks a name and keeps nothing of it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn check(text: &str) -> Result<(), InvalidTopic> {
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(InvalidTopic::TooLong { bytes: text.len() });
        }
        let is_plain = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'*' | b'{' | b'}' | b'\\');
        if text.bytes().all(is_plain) {
            return Ok(());
        }
        let forbidden = |c: char| c.is_control() || matches!(c, '*' | '{' | '}' | '\\');
        match text.char_indices().find(|(_, c)| forbidden(*c)) {
            Some((at, character)) => Err(InvalidTopic::Forbidden { character, at }),
            None => Ok(()),
        }
    }

    /// A name of which nobody else counts the owners: what is cloned and dropped on one thread stays with its core.
    pub(crate) fn to_own(&self) -> Self {
        Self(self.as_str().into())
    }

    /// Whether both count the same owners.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is declared of a topic. A topic that nobody declared has the default: text, the hub's retention, stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// The media type of each event's data, as declared. Never used as the type of an answer.
    pub content_type: Box<str>,
    /// How long its events are kept, where that is shorter than the hub keeps all.
    pub retention: Retention,
    /// Its events are delivered live and never stored.
    pub ephemeral: bool,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { content_type: "text/plain".into(), retention: Retention::default(), ephemeral: false }
    }
}

impl TopicConfig {
    /// Whether data may be any bytes (delivered as base64) instead of UTF-8 text.
    pub fn is_binary(&self) -> bool {
        !is_text(&self.content_type)
    }
}

/// Limits on a topic's history; `None` is no limit of its own. The hub's limits hold beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this many milliseconds are removed.
    pub age_ms: Option<u64>,
    /// At most this many bytes of data are kept, the newest ones.
    pub bytes: Option<u64>,
    /// At most this many events are kept, the newest ones.
    pub count: Option<u64>,
    /// The newest event is kept, whatever limit it is past (the hub's too), unless it is a tombstone
    /// ([`EventBody::is_tombstone`](crate::EventBody::is_tombstone)). A deletion removes it.
    pub keep_last: bool,
}

impl Retention {
    /// Whether nothing is asked for.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether data of this media type is text that SSE carries as it is.
pub fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/x-ndjson"
                | "application/yaml"
                | "application/toml"
                | "application/x-www-form-urlencoded"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "orders/1", "//", "..", "https://example.com/books/1?x=y#z", "naïve ünïcode 名前"]
        {
            assert!(TopicName::parse(good).is_ok(), "{good:?}");
        }
        assert_eq!(TopicName::parse(""), Err(InvalidTopic::Empty));
        assert_eq!(TopicName::parse(&"x".repeat(1_025)), Err(InvalidTopic::TooLong { bytes: 1_025 }));
        for (bad, character, at) in [
            ("a\nb", '\n', 1),
            ("\0", '\0', 0),
            ("a*", '*', 1),
            ("ü{", '{', 2),
            ("a\\", '\\', 1),
            ("a\u{85}", '\u{85}', 1),
        ] {
            assert_eq!(TopicName::parse(bad), Err(InvalidTopic::Forbidden { character, at }), "{bad:?}");
        }
    }

    #[test]
    fn text_types_are_known() {
        for text in ["text/html; charset=utf-8", "application/json", "application/vnd.x+json", "TEXT/PLAIN"] {
            assert!(is_text(text), "{text}");
        }
        for binary in ["application/octet-stream", "image/png", ""] {
            assert!(!is_text(binary), "{binary}");
        }
    }
}
