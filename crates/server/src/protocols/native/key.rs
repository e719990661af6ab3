//! Idempotency keys: what makes a repeated request known.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use tidings_hub::ItemKey;
use tidings_hub::judge::scoped_key;

use super::params;
use crate::gate::Access;
use crate::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// Longest scope that leaves room for the longest key.
const SCOPE_BYTES_MAX: usize = ItemKey::BYTES_MAX - KEY_BYTES_MAX - 1;

/// The key of a request, in the scope of who asks and of `resource`: the same key on another topic, or from
/// another caller, is another key.
///
/// # Errors
/// `invalid-parameter` unless it is 1 to 256 visible ASCII characters, given once.
pub(super) fn of_request(
    headers: &HeaderMap,
    access: &Access,
    resource: &str,
) -> Result<Option<Arc<str>>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |text: &&str| {
        !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = value.to_str().ok().filter(visible).filter(|_| values.next().is_none());
    let scope = fitting(format!("{}\0{resource}", access.scope));
    key.and_then(|key| scoped_key(&scope, key)).map(Some).ok_or_else(|| {
        params::invalid(
            "Idempotency-Key",
            format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} visible ASCII characters, given once"),
        )
    })
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

    fn key(value: &str, resource: &str) -> Result<Option<Arc<str>>, Problem> {
        let headers =
            HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
        of_request(&headers, &Access::everything(), resource)
    }

    #[test]
    fn keys_are_kept_apart_and_fit() {
        assert_eq!(of_request(&HeaderMap::new(), &Access::everything(), "a").unwrap(), None);
        let short = key("k", "topics/a").unwrap().unwrap();
        assert_ne!(short, key("k", "topics/b").unwrap().unwrap());
        let (long_key, long_topic) = ("k".repeat(KEY_BYTES_MAX), "t".repeat(1_024));
        let long = key(&long_key, &long_topic).unwrap().unwrap();
        assert!(long.len() <= ItemKey::BYTES_MAX);
        assert_ne!(long, key(&long_key, &format!("{}u", &long_topic[1..])).unwrap().unwrap());
        assert!(!long.contains('\n') && long.ends_with(&long_key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", " ", "a b", "ü", "a\tb", &"k".repeat(KEY_BYTES_MAX + 1)] {
            assert_eq!(key(bad, "topics/a").unwrap_err().status(), 400, "{bad:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(of_request(&twice, &Access::everything(), "a").is_err());
    }
}
