//! Errors over HTTP: problem documents (RFC 9457), from one table of kinds.
//!
//! **Invariant:** a detail says what to do and never repeats a secret; `type` is stable and means the same for ever.

use std::borrow::Cow;
use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use tidings_hub::ports::Refusal;

/// The epoch of a producer: of a request, and in its refusal the present one.
pub(crate) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
const PRODUCER_EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
const PRODUCER_RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");

/// A kind of problem: what `type`, `status` and `title` of a document are.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The stable name: `type` is `urn:tidings:problem:<slug>`.
    pub slug: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The same words every time.
    pub title: &'static str,
}

/// Writes the constants and the table of them, so that none can be missing from it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $slug:literal $title:literal;)*) => {
        $($(#[$doc])* pub static $name: Kind = Kind { slug: $slug, status: $status, title: $title };)*
        /// Every kind there is, in the order of the reference page.
        pub static KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    /// A name that no topic can have.
    INVALID_TOPIC = 400 "invalid-topic" "This is no topic name";
    /// A selector of unknown syntax.
    INVALID_SELECTOR = 400 "invalid-selector" "This is no selector";
    /// A query parameter or header that is unknown or has a bad value; the detail names it.
    INVALID_PARAMETER = 400 "invalid-parameter" "A parameter is wrong";
    /// An `id`, `event` or `retry` that no event can have.
    INVALID_EVENT = 400 "invalid-event" "This is no event";
    /// A body or a line of it that should be JSON and is not, or has unknown members.
    INVALID_JSON = 400 "invalid-json" "The JSON is wrong";
    /// Malformed percent-encoding, or bytes that are not UTF-8 where text must be.
    INVALID_ENCODING = 400 "invalid-encoding" "The encoding is wrong";
    /// No `Host`, several, or one that is no authority.
    INVALID_HOST = 400 "invalid-host" "The Host is missing or malformed";
    /// More selectors than one subscription may have.
    TOO_MANY_SELECTORS = 400 "too-many-selectors" "Too many selectors";
    /// More topics than one request may look up.
    TOO_MANY_TOPICS = 400 "too-many-topics" "Too many topics";
    /// The first event of a producer's new epoch was not number 0.
    EPOCH_NOT_AT_ZERO = 400 "epoch-not-at-zero" "A new epoch must begin at 0";
    /// The body broke off or was malformed on its way.
    BODY_BROKEN = 400 "body-broken" "The body could not be read";
    /// The publisher fell silent for longer than is allowed.
    BODY_TIMEOUT = 408 "body-timeout" "The body stopped coming";
    /// Credentials are missing or wrong.
    UNAUTHORIZED = 401 "unauthorized" "A key is needed";
    /// The key is known and does not grant this.
    FORBIDDEN = 403 "forbidden" "The key does not grant this";
    /// A page of a foreign origin tried to write.
    FOREIGN_ORIGIN = 403 "foreign-origin" "The origin is foreign";
    /// The producer lives in a later epoch.
    STALE_EPOCH = 403 "stale-epoch" "The producer was replaced";
    /// There is nothing at this path.
    NOT_FOUND = 404 "not-found" "Nothing is here";
    /// The path does not take this method.
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "The method is not allowed here";
    /// Neither of the representations is acceptable.
    NOT_ACCEPTABLE = 406 "not-acceptable" "No acceptable representation";
    /// The topic has ended.
    TOPIC_CLOSED = 409 "topic-closed" "The topic is closed";
    /// The topic has events of the other kind (text, binary).
    CONTENT_TYPE_CONFLICT = 409 "content-type-conflict" "The content type cannot change";
    /// Items of an idempotency key came out of order.
    KEY_OUT_OF_ORDER = 409 "key-out-of-order" "An item of the key came too early";
    /// The events of a producer came out of order, or it is not known any more.
    PRODUCER_OUT_OF_ORDER = 409 "producer-out-of-order" "An event of the producer came too early";
    /// Another event of the same atomic request was refused.
    REFUSED_WITH_OTHERS = 409 "refused-with-others" "Another event of the request was refused";
    /// One event is larger than allowed.
    EVENT_TOO_LARGE = 413 "event-too-large" "The event is too large";
    /// The body is larger than allowed.
    BODY_TOO_LARGE = 413 "body-too-large" "The body is too large";
    /// An atomic request is larger than one batch can be.
    TOO_LARGE = 413 "too-large" "The atomic request is too large";
    /// The data is not UTF-8 and the topic is not declared binary.
    NOT_TEXT = 415 "not-text" "The data is not text";
    /// The body has a coding (compression) that nobody here undoes.
    ENCODED_BODY = 415 "encoded-body" "The body is encoded";
    /// The `Host` is not one of this hub's.
    FOREIGN_HOST = 421 "foreign-host" "The Host is foreign";
    /// Something went wrong inside the hub.
    INTERNAL = 500 "internal" "The hub made a mistake";
    /// No space is left in the store.
    FULL = 503 "full" "The store is full";
    /// The store has failed.
    FAILED = 503 "failed" "The store has failed";
    /// The hub is shutting down.
    STOPPING = 503 "stopping" "The hub is shutting down";
    /// As much is going on as is allowed.
    BUSY = 503 "busy" "The hub is busy";
}

/// A problem document on its way to a client.
///
/// ```
/// use tidings_server::problem::{self, Problem};
/// let problem = Problem::new(&problem::EVENT_TOO_LARGE, "send at most 1048576 bytes per event")
///     .with("limit_bytes", 1_048_576);
/// assert_eq!(problem.status().as_u16(), 413);
/// ```
#[derive(Clone)]
pub struct Problem(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: &'static Kind,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// A problem of a kind; `detail` is one sentence that says what to do.
    pub fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let (members, headers) = (Map::new(), HeaderMap::new());
        Self(Box::new(Inner { kind, detail: detail.into(), members, headers }))
    }

    /// Adds an extension member, e.g. `limit_bytes`. The five members of the RFC cannot be replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if !matches!(name, "type" | "title" | "status" | "detail" | "instance") {
            self.0.members.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Says when it may be worth trying again, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Says which methods the path takes.
    #[must_use]
    pub fn allow(self, methods: &'static str) -> Self {
        self.header(ALLOW, HeaderValue::from_static(methods))
    }

    /// The kind.
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }

    /// What to do.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let mut document = Map::new();
        document.insert("type".into(), format!("urn:tidings:problem:{}", self.0.kind.slug).into());
        document.insert("title".into(), self.0.kind.title.into());
        document.insert("status".into(), self.0.kind.status.into());
        document.insert("detail".into(), self.0.detail.as_ref().into());
        document.extend(self.0.members.clone());
        Value::Object(document)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({} {}: {})", self.0.kind.status, self.0.kind.slug, self.0.detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, mut body) = (self.status(), self.to_json().to_string());
        body.push('\n');
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidings\""));
        }
        headers.extend(self.0.headers);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Closed { topic, at } => Self::new(&TOPIC_CLOSED, detail)
                .with("topic", topic.as_str())
                .with("closed_at", at.to_string()),
            Refusal::MixedKinds { topic } => {
                Self::new(&CONTENT_TYPE_CONFLICT, detail).with("topic", topic.as_str())
            }
            Refusal::EventTooLarge { limit_bytes, .. } => {
                Self::new(&EVENT_TOO_LARGE, detail).with("limit_bytes", limit_bytes)
            }
            Refusal::NotText { topic } => Self::new(&NOT_TEXT, detail).with("topic", topic.as_str()),
            Refusal::ContentTypeFixed { topic, declared } => Self::new(&CONTENT_TYPE_CONFLICT, detail)
                .with("topic", topic.as_str())
                .with("declared", &*declared),
            Refusal::KeyAhead { expected, got } => {
                Self::new(&KEY_OUT_OF_ORDER, detail).with("expected", expected).with("got", got)
            }
            Refusal::StaleEpoch { current, got } => Self::new(&STALE_EPOCH, detail)
                .with("current", current)
                .with("got", got)
                .header(PRODUCER_EPOCH, HeaderValue::from(current)),
            Refusal::EpochNotAtZero { epoch, got } => {
                Self::new(&EPOCH_NOT_AT_ZERO, detail).with("epoch", epoch).with("got", got)
            }
            Refusal::ProducerAhead { expected, got } => Self::new(&PRODUCER_OUT_OF_ORDER, detail)
                .with("expected", expected)
                .with("got", got)
                .header(PRODUCER_EXPECTED_SEQ, HeaderValue::from(expected))
                .header(PRODUCER_RECEIVED_SEQ, HeaderValue::from(got)),
            Refusal::TooLarge { limit_bytes } => {
                Self::new(&TOO_LARGE, detail).with("limit_bytes", limit_bytes)
            }
            Refusal::Full => Self::new(&FULL, detail).retry_after(5),
            Refusal::Failed => Self::new(&FAILED, detail).retry_after(30),
            Refusal::Stopped => Self::new(&STOPPING, detail).retry_after(2),
            Refusal::WithOthers => Self::new(&REFUSED_WITH_OTHERS, detail),
            _ => Self::new(&INTERNAL, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_and_have_statuses() {
        let mut slugs: Vec<_> = KINDS.iter().map(|kind| kind.slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), KINDS.len());
        for kind in KINDS {
            assert!((400..600).contains(&kind.status), "{kind:?}");
            assert!(kind.slug.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind:?}");
            assert_eq!(Problem::new(kind, "x").status().as_u16(), kind.status);
        }
    }

    #[test]
    fn members_cannot_replace_those_of_the_rfc() {
        let problem = Problem::new(&BUSY, "try later").with("status", 200).with("limit", 7);
        let json = problem.to_json();
        assert_eq!(json["status"], 503);
        assert_eq!(json["limit"], 7);
        assert_eq!(json["type"], "urn:tidings:problem:busy");
    }

    #[test]
    fn answers_say_what_they_are() {
        let response = Problem::new(&UNAUTHORIZED, "send a key").into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(response.headers().contains_key(WWW_AUTHENTICATE));
        let refused = Problem::from(Refusal::Full).into_response();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()[RETRY_AFTER]),
            (503, &"5".parse().unwrap())
        );
    }
}
