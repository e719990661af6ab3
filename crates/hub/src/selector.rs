//! Selectors: which topics somebody wants or may have. Exact names and globs; other languages live with the
//! protocol that needs them.
//!
//! In a glob `*` stands for any run of characters within a segment, `**` for any run at all.

use std::fmt;

use crate::topic::{InvalidTopic, TopicName};

/// One selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// One topic.
    Exact(TopicName),
    /// All topics whose name matches the pattern. In a box, so that a name, which a million streams may have ten of
    /// each, takes no more than it must.
    Glob(Box<Glob>),
}

const _: () = assert!(size_of::<Selector>() == size_of::<TopicName>());

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob {
    text: Box<str>,
    /// Bytes before the first `*`: what an index can use.
    prefix_bytes: usize,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidSelector {
    /// Without `*` it is a name, and not a valid one.
    Name(InvalidTopic),
    /// A pattern has a character of a selector language that this hub does not speak.
    Syntax {
        /// The character, or `*` for three or more stars in a row.
        character: char,
        /// Its place in bytes.
        at: usize,
    },
}

impl fmt::Display for InvalidSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Syntax { character, at } => write!(
                f,
                "the selector has {character:?} at byte {at}; a selector is a topic's name, or a glob in which '*' stands for a part of a segment and '**' for anything"
            ),
        }
    }
}

impl std::error::Error for InvalidSelector {}

impl Selector {
    /// Reads a selector: a glob if it has a `*`, else a name.
    ///
    /// # Errors
    /// [`InvalidSelector`] says what is wrong and where.
    ///
    /// ```
    /// use tidings_hub::{Selector, TopicName};
    /// let selector = Selector::parse("orders/*").unwrap();
    /// assert!(selector.matches("orders/1"));
    /// assert!(!selector.matches("orders/1/items"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let Some(prefix_bytes) = text.find('*') else {
            return TopicName::parse(text).map(Self::Exact).map_err(InvalidSelector::Name);
        };
        if text.len() > TopicName::BYTES_MAX {
            return Err(InvalidSelector::Name(InvalidTopic::TooLong { bytes: text.len() }));
        }
        let foreign = |c: char| c.is_control() || matches!(c, '?' | '[' | ']' | '{' | '}' | '\\' | '!');
        if let Some((at, character)) = text.char_indices().find(|(_, c)| foreign(*c)) {
            return Err(InvalidSelector::Syntax { character, at });
        }
        if let Some(at) = text.find("***") {
            return Err(InvalidSelector::Syntax { character: '*', at });
        }
        Ok(Self::Glob(Box::new(Glob { text: text.into(), prefix_bytes })))
    }

    /// The selector of all topics.
    pub fn everything() -> Self {
        Self::Glob(Box::new(Glob { text: "**".into(), prefix_bytes: 0 }))
    }

    /// Whether a topic is selected.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == topic,
            Self::Glob(glob) => glob.matches(topic),
        }
    }

    /// Whether every topic that `other` selects is surely selected by this one too. Sound, not complete: a
    /// `false` may be too careful for odd pairs like `a**` over `a*` beside `a/**`, a `true` is never wrong.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.matches(name.as_str()),
            (Self::Exact(_), Self::Glob(_)) => false,
            (Self::Glob(mine), Self::Glob(theirs)) => wild(&mine.text, &theirs.text),
        }
    }

    /// The selector as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Glob(glob) => &glob.text,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Glob {
    /// Whether a topic's name matches.
    pub fn matches(&self, topic: &str) -> bool {
        topic.as_bytes().starts_with(self.literal_prefix().as_bytes()) && wild(&self.text, topic)
    }

    /// What every match begins with.
    pub fn literal_prefix(&self) -> &str {
        self.text.get(..self.prefix_bytes).unwrap_or("")
    }
}

/// Linear-space matching with one point to go back to per kind of star. A later star makes the earlier ones of
/// its kind irrelevant: `**` can take up whatever they would have taken. Stars in `text` (a pattern that is
/// asked whether it is covered) are characters like others, except that `*` never crosses `/` and `**` always may.
/// Works on bytes: every special byte is ASCII, so a star never ends inside a character that a literal needs.
fn wild(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // (pattern place behind the star, text place to try next)
    let mut segment: Option<(usize, usize)> = None;
    let mut any: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            if pattern.get(p + 1) == Some(&b'*') {
                p += 2;
                any = Some((p, t));
                segment = None;
            } else {
                p += 1;
                segment = Some((p, t));
            }
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b && *b != b'*' => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        // Mismatch: let the nearest star take one more, `*` only within its segment.
        if let Some((behind, from)) = segment
            && let Some(taken) = segment_step(text, from)
        {
            (p, t) = (behind, taken);
            segment = Some((behind, taken));
        } else if let Some((behind, from)) = any
            && from < text.len()
        {
            (p, t) = (behind, from + 1);
            any = Some((behind, from + 1));
            segment = None;
        } else {
            return false;
        }
    }
}

/// One character, or one whole `*`, that a `*` may take up; `None` at `/`, at `**` and at the end.
fn segment_step(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'/' => None,
        b'*' if text.get(at + 1) == Some(&b'*') => None,
        _ => Some(at + 1),
    }
}

/// Several selectors: a topic is in the set if any of them selects it. Ordered and without repetitions, so that
/// equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selectors(Box<[Selector]>);

impl Selectors {
    /// Puts a set together.
    pub fn new(mut selectors: Vec<Selector>) -> Self {
        selectors.sort_unstable();
        selectors.dedup();
        Self(selectors.into())
    }

    /// No topic.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every topic.
    pub fn everything() -> Self {
        Self::new(vec![Selector::everything()])
    }

    /// Exactly one topic.
    pub fn one(topic: TopicName) -> Self {
        Self::new(vec![Selector::Exact(topic)])
    }

    /// Whether a topic is in the set.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|selector| selector.matches(topic))
    }

    /// Whether all that `other` selects is surely in the set (see [`Selector::covers`]).
    pub fn covers(&self, other: &Selector) -> bool {
        self.0.iter().any(|selector| selector.covers(other))
    }

    /// The selectors, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// The names, if there is no glob among them.
    pub fn exact(&self) -> Option<impl Iterator<Item = &TopicName>> {
        let no_glob = self.0.iter().all(|s| matches!(s, Selector::Exact(_)));
        no_glob.then(|| {
            self.0.iter().filter_map(|s| match s {
                Selector::Exact(name) => Some(name),
                Selector::Glob(_) => None,
            })
        })
    }

    /// Whether no topic can be in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many selectors there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, yes: &[&str], no: &[&str]) {
        let parsed = Selector::parse(selector).unwrap();
        for topic in yes {
            assert!(parsed.matches(topic), "{selector} should match {topic}");
        }
        for topic in no {
            assert!(!parsed.matches(topic), "{selector} should not match {topic}");
        }
    }

    #[test]
    fn globs_match() {
        check("orders/1", &["orders/1"], &["orders/11", "orders", "orders/1/"]);
        check("orders/*", &["orders/1", "orders/"], &["orders", "orders/1/items", "xorders/1"]);
        check("orders/**", &["orders/1", "orders/", "orders/1/items"], &["orders", "order/1"]);
        check("**", &["a", "a/b", "/"], &[]);
        check("*", &["a", "é"], &["a/b"]);
        check("a/*/c", &["a/b/c", "a//c"], &["a/b/b/c", "a/c"]);
        check("a/**/c", &["a/b/c", "a/b/b/c"], &["a/c", "a/b/d"]);
        check("**/x*/**y", &["a/x/y", "b/c/xx/k/y", "a/x/x/y"], &["a/x", "x/y"]);
        check("a*b*c", &["abc", "axbxc", "abbcc"], &["ab/c", "abcd"]);
        check("*a**b", &["ab", "xa/y/b", "aab"], &["x/ab", "ba"]);
    }

    #[test]
    fn matching_agrees_with_the_plain_definition() {
        fn plain(p: &[u8], t: &[u8]) -> bool {
            match p {
                [b'*', b'*', rest @ ..] => (0..=t.len()).any(|n| plain(rest, &t[n..])),
                [b'*', rest @ ..] => {
                    let free = t.iter().position(|b| *b == b'/').unwrap_or(t.len());
                    (0..=free).any(|n| plain(rest, &t[n..]))
                }
                [c, rest @ ..] => t.first() == Some(c) && plain(rest, &t[1..]),
                [] => t.is_empty(),
            }
        }
        let (mut state, mut matched) = (7u64, 0);
        let mut next = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        for _ in 0..60_000 {
            let word = |next: &mut dyn FnMut(u64) -> u64, parts: &[&str]| {
                (0..1 + next(6))
                    .map(|_| parts[usize::try_from(next(parts.len() as u64)).unwrap()])
                    .collect::<String>()
            };
            let pattern = format!("*{}", word(&mut next, &["a", "b", "/", "*", "a*"]));
            let topic = word(&mut next, &["a", "b", "/"]);
            let Ok(selector) = Selector::parse(&pattern) else { continue };
            let expected = plain(pattern.as_bytes(), topic.as_bytes());
            assert_eq!(selector.matches(&topic), expected, "{pattern} {topic}");
            matched += u32::from(expected);
        }
        assert!(matched > 1_000);
    }

    #[test]
    fn covering_is_sound() {
        let covers = |a: &str, b: &str| Selector::parse(a).unwrap().covers(&Selector::parse(b).unwrap());
        for (a, b) in [
            ("**", "a/**"),
            ("a/**", "a/*"),
            ("a/*", "a/b*"),
            ("a/**", "a/b/**"),
            ("*", "a*"),
            ("a/*", "a/x"),
        ] {
            assert!(covers(a, b), "{a} covers {b}");
        }
        for (a, b) in
            [("a/*", "a/**"), ("a/*", "**"), ("a", "*"), ("a/*/c", "a/**/c"), ("a*", "*"), ("a/b*", "a/*")]
        {
            assert!(!covers(a, b), "{a} does not cover {b}");
        }
    }

    #[test]
    fn foreign_syntax_is_refused() {
        for bad in ["a/[bc]*", "a*?", "{a,b}*", "a***", "a*\n", "!a*", "a\\*"] {
            assert!(matches!(Selector::parse(bad), Err(InvalidSelector::Syntax { .. })), "{bad:?}");
        }
        assert!(matches!(Selector::parse("a/{id}"), Err(InvalidSelector::Name(_))));
        assert!(matches!(Selector::parse(""), Err(InvalidSelector::Name(_))));
    }
}
