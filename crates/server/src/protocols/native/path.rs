//! Which topic a request is about: the path, or `?topic=` in place of it.

use tidings_hub::TopicName;

use super::encoding::{self, Plus};
use super::params::{self, Query};
use crate::problem::{self, Problem};

/// What stands before a topic's name in the path.
const PREFIX: &str = "/topics";

/// The topic of a request to `/topics/{topic}` or `/topics?topic=`. The path is decoded exactly once; `//` and
/// `%2F` are taken as they are.
///
/// # Errors
/// `invalid-topic`, `invalid-encoding`, `invalid-parameter`: no name, two names, or one that is none.
pub(super) fn topic(path: &str, query: &Query) -> Result<TopicName, Problem> {
    let in_path = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')).unwrap_or("");
    match (in_path, query.one("topic")?) {
        ("", None) => Err(Problem::new(
            &problem::INVALID_TOPIC,
            "name a topic: /topics/NAME, or /topics?topic=NAME for a name that a path cannot carry",
        )),
        ("", Some(name)) => topic_name(name),
        (_, Some(_)) => {
            Err(params::invalid("topic", "a topic is named in the path and in ?topic=; name it once"))
        }
        (raw, None) => from_path(raw),
    }
}

/// The topic of a path that means what it says, without query or encoding. `None`: [`topic`] has to look at it.
pub(super) fn plain(path: &str) -> Option<TopicName> {
    let name = path.strip_prefix(PREFIX)?.strip_prefix('/')?;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b':' | b'/' | b'.');
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    if !name.bytes().all(is_plain) || name.contains('.') && name.split('/').any(is_dots) {
        return None;
    }
    TopicName::parse(name).ok()
}

/// Checks a topic's name.
///
/// # Errors
/// `invalid-topic`: what is wrong with it, and where.
pub(super) fn topic_name(text: &str) -> Result<TopicName, Problem> {
    TopicName::parse(text).map_err(|error| Problem::new(&problem::INVALID_TOPIC, error.to_string()))
}

fn from_path(raw: &str) -> Result<TopicName, Problem> {
    let name = encoding::decode(raw, Plus::Plus)
        .map_err(|error| Problem::new(&problem::INVALID_ENCODING, format!("the path {error}")))?;
    // Clients and proxies resolve such segments, some of them after decoding: the same URL would be another
    // topic depending on the way it took.
    if name.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Problem::new(
            &problem::INVALID_TOPIC,
            "the path has a segment \".\" or \"..\", which proxies rewrite; name this topic with ?topic= instead",
        ));
    }
    topic_name(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, query: &str, expected: Option<&str>) {
        let query = Query::parse(Some(query), &["topic"]).unwrap();
        let found = topic(path, &query);
        assert_eq!(found.as_ref().ok().map(TopicName::as_str), expected, "{path} {query:?}");
    }

    #[test]
    fn a_name_is_taken_from_the_path_or_the_query() {
        check("/topics/orders/1", "", Some("orders/1"));
        check("/topics//a//b/", "", Some("/a//b/"));
        check("/topics/a%2Fb", "", Some("a/b"));
        check("/topics/a%252Fb", "", Some("a%2Fb"));
        check("/topics/a+b", "", Some("a+b"));
        check("/topics/...", "", Some("..."));
        check("/topics", "topic=..%2F*", None);
        check("/topics", "topic=../x", Some("../x"));
        check("/topics/", "topic=a+b", Some("a b"));
        check("/topics", "topic=https://example.com/a?b%26c", Some("https://example.com/a?b&c"));
    }

    #[test]
    fn the_short_way_finds_what_the_long_one_does_or_nothing() {
        for path in ["/topics/a", "/topics/a/b.c/-_~:9", "/topics//a//", "/topics/...", "/topics/a/.b/c."] {
            let query = Query::parse(None, &["topic"]).unwrap();
            assert_eq!(plain(path), topic(path, &query).ok(), "{path}");
            assert!(plain(path).is_some(), "{path}");
        }
        for path in [
            "/topics",
            "/topics/",
            "/topicsx/a",
            "/events",
            "/topics/.",
            "/topics/a/../b",
            "/topics/a%2Fb",
            "/topics/a?b",
            "/topics/a#b",
            "/topics/a+b",
            "/topics/a*",
            "/topics/ü",
            "http://a/topics/a",
        ] {
            assert_eq!(plain(path), None, "{path}");
        }
        assert_eq!(plain(&format!("/topics/{}", "a".repeat(2_000))), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for path in [
            "/topics",
            "/topics/",
            "/topics/.",
            "/topics/a/../b",
            "/topics/%2e%2E/b",
            "/topics/a%2F..%2Fb",
            "/topics/%",
            "/topics/%ff",
            "/topics/a%0Ab",
            "/topics/%00",
            "/topics/a*",
            "/topics/%7Bx%7D",
        ] {
            check(path, "", None);
        }
        check("/topics/a", "topic=a", None);
        check("/topics", "topic=", None);
        check("/topics", "topic=a&topic=b", None);
    }
}
