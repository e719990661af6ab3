//! Query parameters, read strictly: an unknown one is an error that names the nearest known one, so that a
//! typing error never means "all events" or "not private".

use std::borrow::Cow;

use tidings_codec::EventName;
use tidings_hub::EventId;
use tidings_hub::frame::{RESERVED_PREFIX, TOMBSTONE_EVENT};

use super::encoding::{self, Plus};
use crate::problem::{self, Problem};

/// Longest publisher's id and longest event name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// The gate reads it; every resource knows it.
const ACCESS_TOKEN: &str = "access_token";

/// How much of a client's text an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// The parameters of a request, decoded.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, Option<String>)>);

impl Query {
    /// Reads a query. `known` are the names that this resource has.
    ///
    /// # Errors
    /// `invalid-encoding` for a malformed escape, `invalid-parameter` for an unknown name.
    pub(super) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (pair, None),
            };
            let name = decode(name)?;
            if name == ACCESS_TOKEN {
                continue;
            }
            if !known.contains(&&*name) {
                return Err(unknown(&name, known));
            }
            let value = value.map(decode).transpose()?.map(Cow::into_owned);
            pairs.push((name.into_owned(), value));
        }
        Ok(Self(pairs))
    }

    /// A parameter's value; `Some("")` if it was given without one.
    ///
    /// # Errors
    /// `invalid-parameter` if it was given more than once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(invalid(name, format!("{name} is given more than once; give it once"))),
        }
    }

    /// All values of a parameter that may be repeated, in order.
    pub(super) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.as_deref().unwrap_or(""))
    }

    /// A switch: `?name`, `?name=true` or `?name=false`.
    ///
    /// # Errors
    /// `invalid-parameter` for any other value.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(invalid(
                name,
                format!(
                    "{name} is a switch: write ?{name}, ?{name}=true or ?{name}=false, not {:?}",
                    echo(other)
                ),
            )),
        }
    }

    /// The name of an event to be published.
    ///
    /// # Errors
    /// `invalid-event`: what is wrong with it, and where.
    pub(super) fn event(&self) -> Result<Option<EventName>, Problem> {
        self.one("event")?.map(own_event_name).transpose()
    }

    /// A publisher's id.
    ///
    /// # Errors
    /// `invalid-event`: what is wrong with it, and where.
    pub(super) fn id(&self) -> Result<Option<EventId>, Problem> {
        let Some(text) = self.one("id")? else { return Ok(None) };
        event_id(text)?.map_or_else(
            || Err(invalid_event("id", "an id must not be empty; leave it out instead")),
            |id| Ok(Some(id)),
        )
    }

    /// A reconnection time, in milliseconds.
    ///
    /// # Errors
    /// `invalid-event` for anything but ASCII digits.
    pub(super) fn retry_ms(&self) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one("retry")? else { return Ok(None) };
        // `parse` alone takes "+5" too, which no reader of the stream would.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().map_or_else(
            || Err(invalid_event("retry", "retry must be a whole number of milliseconds, in digits only")),
            |retry_ms| Ok(Some(retry_ms)),
        )
    }
}

/// Checks an event's name.
///
/// # Errors
/// `invalid-event`.
pub(super) fn event_name(text: &str) -> Result<EventName, Problem> {
    if text.len() > NAME_BYTES_MAX {
        let detail = format!("the event name has {} bytes; at most {NAME_BYTES_MAX} are allowed", text.len());
        return Err(invalid_event("event", detail).with("limit_bytes", NAME_BYTES_MAX));
    }
    EventName::parse(text).map_err(|error| invalid_event("event", error.to_string()))
}

/// Checks the name of an event that is to be published: readers trust that some come from the hub alone.
///
/// # Errors
/// `invalid-event`.
pub(super) fn own_event_name(text: &str) -> Result<EventName, Problem> {
    if text.starts_with(RESERVED_PREFIX) && text != TOMBSTONE_EVENT.as_str() {
        let detail = format!(
            "event names that begin with {RESERVED_PREFIX:?} are the hub's own, but for {TOMBSTONE_EVENT}; use another"
        );
        return Err(invalid_event("event", detail));
    }
    event_name(text)
}

/// Checks a publisher's id; an empty one is none.
///
/// # Errors
/// `invalid-event`.
pub(super) fn event_id(text: &str) -> Result<Option<EventId>, Problem> {
    if text.len() > NAME_BYTES_MAX {
        let detail = format!("the id has {} bytes; at most {NAME_BYTES_MAX} are allowed", text.len());
        return Err(invalid_event("id", detail).with("limit_bytes", NAME_BYTES_MAX));
    }
    let id = EventId::parse(text).map_err(|error| invalid_event("id", error.to_string()))?;
    Ok((!id.is_empty()).then_some(id))
}

/// A parameter has a value that it cannot have.
pub(super) fn invalid(parameter: &str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(&problem::INVALID_PARAMETER, detail).with("parameter", parameter)
}

fn invalid_event(field: &str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(&problem::INVALID_EVENT, detail).with("field", field)
}

/// The beginning of a client's text, for an error that repeats it.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

fn decode(raw: &str) -> Result<Cow<'_, str>, Problem> {
    encoding::decode(raw, Plus::Space)
        .map_err(|error| Problem::new(&problem::INVALID_ENCODING, format!("the query {error}")))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let short = echo(name);
    let hint = match nearest(&short, known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("it knows {}", known.join(", ")),
    };
    let detail = format!("this resource has no query parameter {short:?}; {hint}");
    Problem::new(&problem::INVALID_PARAMETER, detail).with("parameter", short)
}

/// The known name that a typing error most likely meant, if any is near.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = |known: &&'k str| strsim::normalized_damerau_levenshtein(name, known);
    let best = known.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    (near(&best) >= 0.5).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["event", "id", "retry", "private", "topic"];

    fn query(raw: &str) -> Query {
        Query::parse(Some(raw), KNOWN).unwrap()
    }

    #[test]
    fn pairs_are_decoded_and_the_token_is_not_kept() {
        let query = query("&topic=a%2Fb+c&event=&private&topic=%C3%BC&access_token=s3cret&");
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a/b c", "ü"]);
        assert_eq!(query.one("event").unwrap(), Some(""));
        assert_eq!(query.one("id").unwrap(), None);
        assert!(query.one("topic").is_err(), "twice");
        assert!(!format!("{query:?}").contains("s3cret"));
        assert!(Query::parse(None, KNOWN).unwrap().0.is_empty());
    }

    #[test]
    fn a_switch_has_three_spellings() {
        for (raw, on) in [
            ("", false),
            ("private", true),
            ("private=", true),
            ("private=true", true),
            ("private=false", false),
        ] {
            assert_eq!(query(raw).flag("private").unwrap(), on, "{raw:?}");
        }
        for raw in ["private=1", "private=True", "private&private"] {
            assert!(query(raw).flag("private").is_err(), "{raw:?}");
        }
    }

    #[test]
    fn retry_is_digits_and_nothing_else() {
        assert_eq!(query("retry=0030").retry_ms().unwrap(), Some(30));
        for raw in [
            "retry=",
            "retry",
            "retry=%2B5",
            "retry=-1",
            "retry=1.5",
            "retry=5s",
            "retry=99999999999999999999",
        ] {
            assert!(query(raw).retry_ms().is_err(), "{raw:?}");
        }
    }

    #[test]
    fn ids_and_names_cannot_end_a_line_and_have_a_length() {
        let long = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(query(&format!("id={long}")).id().unwrap().unwrap().as_str(), long);
        assert_eq!(query(&format!("event={long}")).event().unwrap().unwrap().as_str(), long);
        assert!(query("event=tidings.gap").event().is_err());
        assert!(query("event=tidings.tombstone").event().is_ok());
        for bad in ["", "a%0Ab", "a%0D", "%00", &format!("{long}x")] {
            assert!(query(&format!("id={bad}")).id().is_err(), "id {bad:?}");
            assert!(query(&format!("event={bad}")).event().is_err(), "event {bad:?}");
        }
    }

    #[test]
    fn the_nearest_known_name_is_told() {
        for (name, hint) in [
            ("evnt", Some("event")),
            ("events", Some("event")),
            ("privat", Some("private")),
            ("Topic", Some("topic")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, KNOWN), hint, "{name:?}");
        }
        for raw in ["evnt=1", "=1", "Event=1", "ac%63ess_toke=x", "id=%", "%zz=1"] {
            assert!(Query::parse(Some(raw), KNOWN).is_err(), "{raw:?}");
        }
    }
}
