//! What makes a repeated request known: an idempotency key, or a producer that numbers its events.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use tidings_hub::judge::scoped_key;
use tidings_hub::{ItemKey, Once, Producer};

use super::params;
use crate::gate::Access;
use crate::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
const PRODUCER_EPOCH: HeaderName = crate::problem::PRODUCER_EPOCH;
const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
static NAMES: [HeaderName; 4] = [IDEMPOTENCY_KEY, PRODUCER_ID, PRODUCER_EPOCH, PRODUCER_SEQ];

/// Longest key or producer's id, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// Longest scope that leaves room for the longest key.
const SCOPE_BYTES_MAX: usize = ItemKey::BYTES_MAX - KEY_BYTES_MAX - 1;

/// What the items of a request are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// The key with its scope; its items are counted from 0.
    Key(Arc<str>),
    /// The producer's id with its scope; its items are counted from `first`.
    Producer { id: Arc<str>, epoch: u64, first: u64 },
}

impl Series {
    /// What makes item `index` of the body known.
    ///
    /// # Errors
    /// `invalid-parameter` if there is no number for it.
    pub(super) fn item(&self, index: u64) -> Result<Once, Problem> {
        match self {
            Self::Key(key) => Ok(Once::Item(ItemKey { key: Arc::clone(key), index })),
            Self::Producer { id, epoch, first } => {
                let seq = first.checked_add(index).filter(|seq| *seq <= Producer::NUMBER_MAX);
                let seq = seq.ok_or_else(|| invalid_number(&PRODUCER_SEQ))?;
                Ok(Once::Producer(Producer { id: Arc::clone(id), epoch: *epoch, seq }))
            }
        }
    }
}

/// What a request says of itself, in the scope of who asks and of `resource`: the same key or producer on another
/// topic, or from another caller, is another one.
///
/// # Errors
/// `invalid-parameter` unless it is a whole key, a whole producer, or neither.
pub(super) fn of_request(
    headers: &HeaderMap,
    access: &Access,
    resource: impl fmt::Display,
) -> Result<Option<Series>, Problem> {
    // Most requests are known by nothing, and cost nothing here: their few names are gone through faster than four are
    // looked up.
    if !headers.keys().any(|name| NAMES.contains(name)) {
        return Ok(None);
    }
    let scope = fitting(format!("{}\0{resource}", access.scope));
    let key = text(headers, &IDEMPOTENCY_KEY, &scope)?;
    let id = text(headers, &PRODUCER_ID, &scope)?;
    let (epoch, first) = (number(headers, &PRODUCER_EPOCH)?, number(headers, &PRODUCER_SEQ)?);
    match (key, id, epoch, first) {
        (None, None, None, None) => Ok(None),
        (Some(key), None, None, None) => Ok(Some(Series::Key(key))),
        (None, Some(id), Some(epoch), Some(first)) => Ok(Some(Series::Producer { id, epoch, first })),
        (Some(_), ..) => Err(params::invalid(
            "Idempotency-Key",
            "a request is known by its Idempotency-Key or by its producer, not by both; leave one out",
        )),
        (None, id, epoch, _) => {
            let missing = [(id.is_none(), "Producer-Id"), (epoch.is_none(), "Producer-Epoch")];
            let missing = missing.iter().find(|(is_missing, _)| *is_missing);
            let name = missing.map_or("Producer-Seq", |(_, name)| name);
            Err(params::invalid(
                name,
                format!("{name} is missing: a producer sends its id, epoch and seq together"),
            ))
        }
    }
}

/// A header's text within its scope.
fn text(headers: &HeaderMap, name: &HeaderName, scope: &str) -> Result<Option<Arc<str>>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |text: &&str| {
        !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let text = value.to_str().ok().filter(visible).filter(|_| values.next().is_none());
    text.and_then(|text| scoped_key(scope, text)).map(Some).ok_or_else(|| {
        let name = written(name);
        let detail = format!("{name} must be 1 to {KEY_BYTES_MAX} visible ASCII characters, given once");
        params::invalid(name, detail)
    })
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| *number <= Producer::NUMBER_MAX);
    number.filter(|_| values.next().is_none()).map(Some).ok_or_else(|| invalid_number(name))
}

fn invalid_number(name: &HeaderName) -> Problem {
    let (name, max) = (written(name), Producer::NUMBER_MAX);
    params::invalid(
        name,
        format!("{name} must be a whole number from 0 to {max}, in digits only, given once"),
    )
}

/// As the book writes it.
fn written(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "producer-id" => "Producer-Id",
        "producer-epoch" => "Producer-Epoch",
        "producer-seq" => "Producer-Seq",
        _ => "Idempotency-Key",
    }
}

/// The scope as it is, or its digest if it is longer than a scope may be.
fn fitting(scope: String) -> String {
    if scope.len() <= SCOPE_BYTES_MAX {
        return scope;
    }
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(scope.as_bytes()) {
        _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(pairs: &[(HeaderName, &str)], resource: &str) -> Result<Option<Series>, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        of_request(&headers, &Access::everything(), resource)
    }

    fn key(value: &str, resource: &str) -> Arc<str> {
        match of(&[(IDEMPOTENCY_KEY, value)], resource) {
            Ok(Some(Series::Key(key))) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_kept_apart_and_fit() {
        assert_eq!(of(&[], "a").unwrap(), None);
        let short = key("k", "topics/a");
        assert_ne!(short, key("k", "topics/b"));
        let (long_key, long_topic) = ("k".repeat(KEY_BYTES_MAX), "t".repeat(1_024));
        let long = key(&long_key, &long_topic);
        assert!(long.len() <= ItemKey::BYTES_MAX);
        assert_ne!(long, key(&long_key, &format!("{}u", &long_topic[1..])));
        assert!(!long.contains('\n') && long.ends_with(&long_key));
    }

    #[test]
    fn a_producer_counts_on_from_its_number() {
        let [id, epoch, seq] =
            [(PRODUCER_ID, "p"), (PRODUCER_EPOCH, "7"), (PRODUCER_SEQ, "9007199254740990")];
        let series = of(&[id.clone(), epoch.clone(), seq.clone()], "topics/a").unwrap().unwrap();
        let numbered = |index| match series.item(index) {
            Ok(Once::Producer(Producer { epoch: 7, seq, .. })) => Some(seq),
            _ => None,
        };
        assert_eq!(
            [0, 1, 2].map(numbered),
            [Some(Producer::NUMBER_MAX - 1), Some(Producer::NUMBER_MAX), None]
        );
        for (some, parameter) in [
            (vec![epoch.clone(), seq.clone()], "Producer-Id"),
            (vec![id.clone(), seq.clone()], "Producer-Epoch"),
            (vec![id.clone(), epoch.clone()], "Producer-Seq"),
            (vec![id.clone()], "Producer-Epoch"),
            (vec![(IDEMPOTENCY_KEY, "k"), id.clone(), epoch.clone(), seq.clone()], "Idempotency-Key"),
            (vec![(IDEMPOTENCY_KEY, "k"), seq.clone()], "Idempotency-Key"),
            (vec![id.clone(), epoch.clone(), seq.clone(), (PRODUCER_SEQ, "1")], "Producer-Seq"),
        ] {
            let problem = of(&some, "topics/a").unwrap_err();
            assert_eq!(
                (problem.status().as_u16(), &problem.to_json()["parameter"]),
                (400, &parameter.into())
            );
        }
        for bad in ["", "-1", "+1", "1.0", " 1", "0x1", "9007199254740992", "99999999999999999999", "ü"] {
            let given = [id.clone(), (PRODUCER_EPOCH, bad), seq.clone()];
            assert_eq!(of(&given, "a").unwrap_err().to_json()["parameter"], "Producer-Epoch", "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for name in [IDEMPOTENCY_KEY, PRODUCER_ID] {
            for bad in ["", " ", "a b", "ü", "a\tb", &"k".repeat(KEY_BYTES_MAX + 1)] {
                assert_eq!(of(&[(name.clone(), bad)], "a").unwrap_err().status(), 400, "{bad:?}");
            }
            assert!(of(&[(name.clone(), "a"), (name, "a")], "a").is_err());
        }
    }
}
