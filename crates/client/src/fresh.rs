//! What the caller makes anew for an attempt: a token that would have expired, the URL of a node that is there, a
//! body that says how far one has come.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use tidings_codec::EventId;

use crate::BuildError;
use crate::connection::{basic_authorization, parse_header};
use crate::transport::{BoxError, BoxFuture};

pub(crate) type Made<T> = Result<T, BoxError>;
pub(crate) type MakeFresh = Box<dyn FnMut(NextAttempt) -> BoxFuture<Made<Fresh>> + Send>;
pub(crate) type MakeHeaders = Box<dyn FnMut() -> BoxFuture<Made<HeaderMap>> + Send>;

/// The attempt that something is to be made for: see
/// [`EventSourceBuilder::fresh`](crate::EventSourceBuilder::fresh).
///
/// ```
/// use tidings_client::NextAttempt;
///
/// fn body(next: &NextAttempt) -> String {
///     format!(r#"{{"after":{:?}}}"#, next.last_event_id.as_str())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NextAttempt {
    /// How many there were before it.
    pub before: u64,
    /// Where it resumes: what `Last-Event-ID` will say, unless it is empty or no header can hold it.
    pub last_event_id: EventId,
}

/// Parts of a request, made for one attempt and those redirects that it meets. What is not given is as the builder
/// has it.
///
/// ```
/// use tidings_client::Fresh;
///
/// let fresh = Fresh::new().url("https://node-3.example.org/stream").header("authorization", "Bearer …").body("{}");
/// ```
#[derive(Clone, Default)]
#[must_use = "it is to be given back"]
pub struct Fresh {
    pub(crate) url: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    refused: Option<String>,
}

impl Fresh {
    /// Nothing anew.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to. The builder's headers go there too, credentials included: it is the caller who names the place. User
    /// information in the builder's URL stays with that URL.
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// A header, in place of the builder's of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match parse_header(name, value) {
            Ok((name, value)) => _ = self.headers.append(name, value),
            Err(_) => _ = self.refused.get_or_insert_with(|| name.to_owned()),
        }
        self
    }

    /// These headers, each in place of the builder's of the same name.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// A header that cannot be sent is an attempt that failed: it may be another token the next time.
    pub(crate) fn check(mut self) -> Result<Self, BuildError> {
        self.refused.take().map_or(Ok(self), |name| Err(BuildError::InvalidHeader { name }))
    }

    /// The headers, with what the URL says of the user.
    pub(crate) fn settle(&mut self) {
        let basic = self.url.as_deref().and_then(basic_authorization);
        if let Some((name, value)) = basic.filter(|(name, _)| !self.headers.contains_key(name)) {
            self.headers.insert(name, value);
        }
    }
}

impl From<HeaderMap> for Fresh {
    fn from(headers: HeaderMap) -> Self {
        Self::new().headers(headers)
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither values nor the URL, which may hold secrets, nor the body.
        f.debug_struct("Fresh").field("headers", &self.headers.len()).finish_non_exhaustive()
    }
}
