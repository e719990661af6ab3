//! API keys: configured as digests, presented as text, looked up by digest.
//!
//! **Invariant:** no key's text is kept. What is compared is the SHA-256 of what came, so how long a comparison
//! takes tells about a digest that nobody can steer, and the last step takes the same time whatever differs.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidings_hub::{Selector, Selectors};

use super::GateConfigError;
use super::scrub::{TOKEN_PARAMETER, pairs};
use crate::problem::{self, Problem};

/// The cookie that may carry a key.
pub const COOKIE_NAME: &str = "tidings_key";
/// The shortest text that is a key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;
/// The longest text that is a key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// A key as it stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyConfig {
    /// For logs and messages, and to keep idempotency keys apart: 1 to 64 visible ASCII characters.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits: the digest of the key's text. See [`hash`].
    pub hash: String,
    /// Selectors of topics it may publish to.
    pub publish: Vec<String>,
    /// Selectors of topics it may read, private events included.
    pub subscribe: Vec<String>,
    /// Selectors of topics it may configure, close and delete.
    pub manage: Vec<String>,
}

/// What to put into the configuration for a key's text; `None` if the text is shorter than [`KEY_BYTES_MIN`],
/// longer than [`KEY_BYTES_MAX`], or has characters that no header carries.
///
/// ```
/// let hash = tidings_server::gate::keys::hash("correct-horse-battery").unwrap();
/// assert!(hash.starts_with("sha256:") && hash.len() == 71);
/// assert!(tidings_server::gate::keys::hash("short").is_none());
/// ```
pub fn hash(text: &str) -> Option<String> {
    let digest = digest(text.as_bytes())?;
    Some(digest.iter().fold("sha256:".to_owned(), |out, byte| out + &format!("{byte:02x}")))
}

type Digest = [u8; 32];

fn digest(text: &[u8]) -> Option<Digest> {
    let fits = (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&text.len());
    (fits && text.iter().all(u8::is_ascii_graphic)).then(|| Sha256::digest(text).into())
}

/// A key that was found.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: Arc<str>,
    pub(crate) publish: Selectors,
    pub(crate) subscribe: Selectors,
    pub(crate) manage: Selectors,
}

/// The configured keys.
#[derive(Debug, Default)]
pub(crate) struct Keys<T>(HashMap<Digest, T>);

impl<T> Keys<T> {
    /// Checks the configuration; `make` turns a key into what [`Self::find`] gives.
    pub(crate) fn new(configs: &[KeyConfig], make: impl Fn(Key) -> T) -> Result<Self, GateConfigError> {
        let (mut found, mut names) = (HashMap::new(), std::collections::HashSet::new());
        for config in configs {
            let name = config.name.as_str();
            let well_formed = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
            if !well_formed {
                return Err(GateConfigError::KeyName { name: name.into() });
            }
            if !names.insert(name) {
                return Err(GateConfigError::KeyTwice { name: name.into() });
            }
            let digest =
                parse_hash(&config.hash).ok_or_else(|| GateConfigError::KeyHash { name: name.into() })?;
            let key = Key {
                name: name.into(),
                publish: selectors(&config.publish, || format!("publish of key {name:?}"))?,
                subscribe: selectors(&config.subscribe, || format!("subscribe of key {name:?}"))?,
                manage: selectors(&config.manage, || format!("manage of key {name:?}"))?,
            };
            if found.insert(digest, make(key)).is_some() {
                return Err(GateConfigError::KeyTwice { name: name.into() });
            }
        }
        Ok(Self(found))
    }

    /// The key with this text.
    pub(crate) fn find(&self, text: &[u8]) -> Option<&T> {
        let digest = digest(text)?;
        let (stored, key) = self.0.get_key_value(&digest)?;
        bool::from(stored.ct_eq(&digest)).then_some(key)
    }
}

/// Reads selectors of a setting.
pub(crate) fn selectors(
    texts: &[String],
    setting: impl Fn() -> String,
) -> Result<Selectors, GateConfigError> {
    let parse = |text: &String| {
        Selector::parse(text).map_err(|cause| GateConfigError::Selector {
            setting: setting(),
            text: text.as_str().into(),
            cause,
        })
    };
    Ok(Selectors::new(texts.iter().map(parse).collect::<Result<_, _>>()?))
}

fn parse_hash(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let mut digest = Digest::default();
    if digits.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        let nibble = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(nibble(0)? << 4 | nibble(1)?).ok()?;
    }
    Some(digest)
}

/// The text that a request presents as its key: the header before the query before the cookie. `None`: nothing.
///
/// # Errors
/// 401 if credentials came that are no key at all: they never count as none.
pub(crate) fn presented(parts: &Parts) -> Result<Option<Vec<u8>>, Problem> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = headers.next() {
        let text = bearer(value.as_bytes()).filter(|_| headers.next().is_none()).ok_or_else(bad_key)?;
        return Ok(Some(text.to_vec()));
    }
    let mut in_query = pairs(parts.uri.query().unwrap_or(""))
        .filter(|(name, _)| name == TOKEN_PARAMETER)
        .map(|(_, value)| value.into_owned().into_bytes());
    if let Some(text) = in_query.next() {
        return if in_query.next().is_some() { Err(bad_key()) } else { Ok(Some(text)) };
    }
    let cookies = parts.headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    let found = cookies.filter_map(|cookie| {
        let mut halves = cookie.trim_ascii().splitn(2, |b| *b == b'=');
        let is_ours = halves.next()?.trim_ascii() == COOKIE_NAME.as_bytes();
        let value = halves.next()?.trim_ascii();
        let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        is_ours.then(|| bare.to_vec())
    });
    Ok(found.into_iter().next())
}

/// The answer to a key that is not one of ours: never "as if none had come".
pub(crate) fn bad_key() -> Problem {
    Problem::new(
        &problem::UNAUTHORIZED,
        "the key is not one of this hub's; send a configured key as 'Authorization: Bearer KEY', or none at all",
    )
    .header(
        http::header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static("Bearer realm=\"tidings\", error=\"invalid_token\""),
    )
}

/// The key in the value of an `Authorization` header; `None`: it is of another kind.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then_some(rest.trim_ascii())
}
