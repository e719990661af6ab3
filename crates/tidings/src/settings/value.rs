//! Kinds of settings: how each is written, and what it means. Text to value, nothing else.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tidings_hub::ports::Durability;
use tidings_hub::{Retention, Selector};
use tidings_log::OnDamage;
use tidings_server::{Descriptors, Overload};

use super::units::{parse_bytes, parse_duration_ms, show_bytes, show_duration};

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `127.0.0.1:4000`, one or several.
    Addresses,
    /// One address, or `none`.
    Address,
    /// A file or directory, relative to where the program was started.
    Path,
    /// `30s`, `7d`.
    Duration,
    /// `64MiB`.
    Bytes,
    /// A whole number.
    Count,
    /// `true` or `false`; the bare flag is `true`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Topics and globs.
    Selectors,
    /// Topics and what is kept of them.
    TopicLimits,
    /// Any texts.
    Texts,
    /// Any text.
    Text,
}

impl Kind {
    /// Whether there may be several values.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::Addresses | Self::Selectors | Self::TopicLimits | Self::Texts)
    }

    /// The placeholder in the help.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Addresses | Self::Address => "ADDRESS",
            Self::Path => "PATH",
            Self::Duration => "DURATION",
            Self::Bytes => "BYTES",
            Self::Count => "COUNT",
            Self::Bool => "BOOL",
            Self::Choice(_) => "CHOICE",
            Self::Selectors => "SELECTOR",
            Self::TopicLimits => "SELECTOR LIMITS",
            Self::Texts | Self::Text => "TEXT",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addresses => "list of addresses",
            Self::Address => "address, or `none`",
            Self::Path => "path",
            Self::Duration => "duration",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Bool => "`true` or `false`",
            Self::Choice(words) => return write!(f, "`{}`", words.join("`, `")),
            Self::Selectors => "list of selectors",
            Self::TopicLimits => "[list of topic limits](#limits-of-topics)",
            Self::Texts => "list of texts",
            Self::Text => "text",
        })
    }
}

/// The smallest and the largest number that a setting may be, in its base unit (milliseconds, bytes, 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Bounds {
    /// Any number.
    pub(crate) const ANY: Self = Self { min: 0, max: u64::MAX };

    fn check(self, number: u64, show: fn(u64) -> String) -> Result<u64, String> {
        if (self.min..=self.max).contains(&number) {
            return Ok(number);
        }
        let (min, max) = (show(self.min), show(self.max));
        Err(if self.max == u64::MAX {
            format!("at least {min} is needed")
        } else {
            format!("it must be from {min} to {max}")
        })
    }
}

/// What a setting can be.
pub(crate) trait Value: Sized {
    /// How it is written.
    const KIND: Kind;
    /// Reads it. A kind that is no list is given exactly one text.
    ///
    /// # Errors
    /// Says what is wrong and how to write it.
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String>;
}

fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] => Ok(text.trim()),
        _ => Err("one value is wanted, not a list".to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    if let Some(port) = local {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        "an address is an IP address and a port: 127.0.0.1:4000, [::1]:4000, or 0.0.0.0:4000 for all interfaces"
            .to_owned()
    })
}

impl Value for Vec<SocketAddr> {
    const KIND: Kind = Kind::Addresses;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        let addresses: Self = texts.iter().map(|text| address(text.trim())).collect::<Result<_, _>>()?;
        if addresses.is_empty() { Err("at least one address is needed".to_owned()) } else { Ok(addresses) }
    }
}

impl Value for Option<SocketAddr> {
    const KIND: Kind = Kind::Address;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        match one(texts)? {
            "none" => Ok(None),
            text => address(text).map(Some),
        }
    }
}

impl Value for PathBuf {
    const KIND: Kind = Kind::Path;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        match one(texts)? {
            "" => Err("a path is needed".to_owned()),
            text => Ok(text.into()),
        }
    }
}

impl Value for Option<PathBuf> {
    const KIND: Kind = Kind::Path;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        let text = one(texts)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis(pub(crate) u64);

impl Value for Millis {
    const KIND: Kind = Kind::Duration;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        parse_duration_ms(one(texts)?).and_then(|ms| bounds.check(ms, show_duration)).map(Self)
    }
}

impl Value for Option<Millis> {
    const KIND: Kind = Kind::Duration;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        if one(texts)? == "none" { Ok(None) } else { Millis::read(texts, bounds).map(Some) }
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    /// As a size in memory, which a machine of fewer bits cuts to what it has.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Value for Bytes {
    const KIND: Kind = Kind::Bytes;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        parse_bytes(one(texts)?).and_then(|bytes| bounds.check(bytes, show_bytes)).map(Self)
    }
}

impl Value for Option<Bytes> {
    const KIND: Kind = Kind::Bytes;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        if one(texts)? == "none" { Ok(None) } else { Bytes::read(texts, bounds).map(Some) }
    }
}

impl Value for usize {
    const KIND: Kind = Kind::Count;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        let digits = one(texts)?.replace('_', "");
        let number = digits.parse().map_err(|_| "a whole number is needed".to_owned())?;
        let number = bounds.check(number, |number| number.to_string())?;
        Self::try_from(number).map_err(|_| "that is more than this machine can count".to_owned())
    }
}

/// A number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One for each core.
    Cores,
    /// So many.
    Count(usize),
}

impl Threads {
    /// How many that are on this machine.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Cores => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            Self::Count(count) => count,
        }
    }
}

impl Value for Threads {
    const KIND: Kind = Kind::Count;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        if one(texts)? == "cores" { Ok(Self::Cores) } else { usize::read(texts, bounds).map(Self::Count) }
    }
}

impl Value for Option<u64> {
    const KIND: Kind = Kind::Count;
    fn read(texts: &[String], bounds: Bounds) -> Result<Self, String> {
        let text = one(texts)?;
        if text == "none" {
            return Ok(None);
        }
        let number =
            text.replace('_', "").parse().map_err(|_| "a whole number is needed, or none".to_owned())?;
        bounds.check(number, |number| number.to_string()).map(Some)
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Bool;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        match one(texts)? {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("true or false is needed".to_owned()),
        }
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        one(texts).map(str::to_owned)
    }
}

/// A list of texts that nothing here looks into.
pub(crate) type Texts = Vec<String>;

impl Value for Texts {
    const KIND: Kind = Kind::Texts;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        Ok(texts.to_vec())
    }
}

/// Topics and globs, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectorList(pub(crate) Vec<Selector>);

impl SelectorList {
    /// As they were written.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl Value for SelectorList {
    const KIND: Kind = Kind::Selectors;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        let parse = |text: &String| Selector::parse(text).map_err(|error| format!("{text:?}: {error}"));
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

/// What is kept of topics: selectors with their limits, the first that matches counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicLimits(pub(crate) Vec<(Selector, Retention)>);

impl Value for TopicLimits {
    const KIND: Kind = Kind::TopicLimits;
    fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
        texts.iter().map(|text| topic_limits(text)).collect::<Result<_, _>>().map(Self)
    }
}

/// Reads `scores/** age=2h count=100 keep_last`. What is no limit at its end is the selector.
fn topic_limits(text: &str) -> Result<(Selector, Retention), String> {
    let mut retention = Retention::default();
    let mut rest = text.trim();
    while let Some((before, word)) = rest.rsplit_once(char::is_whitespace) {
        let at_least_one = |number: u64| match number {
            0 => Err(format!("{word}: a limit must be more than nothing")),
            number => Ok(Some(number)),
        };
        match word.split_once('=').unwrap_or((word, "")) {
            ("age", age) => retention.age_ms = at_least_one(parse_duration_ms(age)?)?,
            ("bytes", bytes) => retention.bytes = at_least_one(parse_bytes(bytes)?)?,
            ("count", count) => {
                let count = count.replace('_', "");
                let count = count.parse().map_err(|_| format!("{word}: a whole number is needed"))?;
                retention.count = at_least_one(count)?;
            }
            ("keep_last", "" | "true") => retention.keep_last = true,
            ("keep_last", "false") => retention.keep_last = false,
            _ => break,
        }
        rest = before.trim_end();
    }
    let selector = Selector::parse(rest).map_err(|error| format!("{rest:?}: {error}"))?;
    if retention.is_unlimited() {
        return Err(format!(
            "{text:?} says nothing of what is kept; write it as: scores/** age=2h bytes=10MiB count=100 keep_last"
        ));
    }
    Ok((selector, retention))
}

/// One of a few words.
trait Choice: Copy + 'static {
    const WORDS: &'static [&'static str];
    /// In the order of [`Self::WORDS`].
    const VALUES: &'static [Self];
}

fn choose<C: Choice>(texts: &[String]) -> Result<C, String> {
    let text = one(texts)?;
    let at = C::WORDS.iter().position(|word| *word == text);
    at.and_then(|at| C::VALUES.get(at)).copied().ok_or_else(|| match C::WORDS {
        [words @ .., last] => format!("it must be {} or {last}", words.join(", ")),
        [] => String::new(),
    })
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

macro_rules! choices {
    ($($kind:ty { $($word:literal => $value:expr),+ $(,)? })+) => {$(
        impl Choice for $kind {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const VALUES: &'static [Self] = &[$($value),+];
        }
        impl Value for $kind {
            const KIND: Kind = Kind::Choice(<Self as Choice>::WORDS);
            fn read(texts: &[String], _: Bounds) -> Result<Self, String> {
                choose(texts)
            }
        }
    )+};
}

choices! {
    Durability { "fsync" => Self::Fsync, "os" => Self::Os, "memory" => Self::Memory }
    Overload { "eventsource" => Self::EventSource, "503" => Self::Status503 }
    Descriptors { "shared" => Self::Shared, "own" => Self::Own }
    OnDamage { "refuse" => Self::Refuse, "cut" => Self::Cut }
    LogFormat { "text" => Self::Text, "json" => Self::Json }
}
