//! From settings to a source. Everything that can be refused is refused here, before the first request.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _};
use std::num::NonZeroU32;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use tidings_codec::EventId;
use url::Url;

use crate::machine::{Machine, Policy};
use crate::request::{self, MakeFresh, Requests};
use crate::source::{self, EventSource};
use crate::tls::{self, Trust};
use crate::{Backoff, BuildError, RetryStatuses};

/// Settings of an [`EventSource`]. Without any it behaves as a browser's.
///
/// ```
/// use tidings_client::{Backoff, EventId, EventSource, RetryStatuses};
///
/// let source = EventSource::builder("http://127.0.0.1:4000/topics/news")
///     .header("authorization", "Bearer …")
///     .last_event_id(EventId::parse("1.2n9c")?)
///     .retry_statuses(RetryStatuses::transient())
///     .backoff(Backoff::exponential(30_000))
///     .stall_timeout_ms(90_000)
///     .build()?;
/// assert_eq!(source.last_event_id().as_str(), "1.2n9c");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct EventSourceBuilder {
    url: String,
    method: Method,
    body: Bytes,
    headers: HeaderMap,
    /// The first header that cannot be sent: told by `build`, so that settings can be chained.
    refused: Option<BuildError>,
    last_event_id: EventId,
    policy: Policy,
    seed: Option<u64>,
    trust: Trust,
    make_fresh: Option<MakeFresh>,
}

impl EventSourceBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: Method::GET,
            body: Bytes::new(),
            headers: HeaderMap::new(),
            refused: None,
            last_event_id: EventId::empty(),
            policy: Policy::default(),
            seed: None,
            trust: Trust::System,
            make_fresh: None,
        }
    }

    /// A header to send with every request, beside any of the same name. `Authorization`,
    /// `Proxy-Authorization` and `Cookie` do not follow a redirect to another origin.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(_)) if name == request::LAST_EVENT_ID => {
                self.refused.get_or_insert(BuildError::LastEventIdHeader);
            }
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(request::is_credential(&name));
                self.headers.append(name, value);
            }
            _ => {
                self.refused.get_or_insert_with(|| BuildError::InvalidHeader { name: name.to_owned() });
            }
        }
        self
    }

    /// Headers made anew for every attempt, in place of fixed ones of the same name: for tokens that expire
    /// sooner than streams end. An error counts as a failure of the network, and is tried again.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
    /// use tidings_client::EventSource;
    ///
    /// # async fn token() -> Result<String, std::io::Error> { Ok("t".into()) }
    /// let source = EventSource::builder("http://127.0.0.1:4000/topics/news")
    ///     .fresh_headers(|| async {
    ///         let bearer = format!("Bearer {}", token().await?);
    ///         Ok(HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(bearer)?)]))
    ///     })
    ///     .build()?;
    /// # Ok::<(), tidings_client::BuildError>(())
    /// ```
    pub fn fresh_headers<F, M>(mut self, mut make: M) -> Self
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<HeaderMap, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.make_fresh = Some(Box::new(move || Box::pin(make())));
        self
    }

    /// Where to resume: counts as if a server had sent it.
    pub fn last_event_id(mut self, id: EventId) -> Self {
        self.last_event_id = id;
        self
    }

    /// The method of every request. Default: GET.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The body of every request, sent again on each reconnect. Default: none.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The reconnection time in milliseconds until the server says another. Default: 3,000.
    pub fn retry_ms(mut self, retry_ms: u64) -> Self {
        self.policy.retry_ms = retry_ms;
        self
    }

    /// Answers other than 200 after which to try again. Default: none, as in a browser. Failures of the
    /// network are always tried again, the first attempt included.
    pub fn retry_statuses(mut self, statuses: RetryStatuses) -> Self {
        self.policy.retry_statuses = statuses;
        self
    }

    /// How the wait grows while attempts fail. Default: it does not.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// Give up after so many attempts in a row that came to nothing, with
    /// [`SourceError::Exhausted`](crate::SourceError::Exhausted). Default: never, as in a browser.
    pub fn attempts_max(mut self, attempts_max: NonZeroU32) -> Self {
        self.policy.attempts_max = Some(attempts_max);
        self
    }

    /// Reconnect when not one byte came for so many milliseconds, in the stream or while waiting for its
    /// beginning. Choose more than twice the server's heartbeat. Default: never.
    pub fn stall_timeout_ms(mut self, stall_timeout_ms: u64) -> Self {
        self.policy.stall_timeout_ms = Some(stall_timeout_ms);
        self
    }

    /// Whether comments are told. Default: no.
    pub fn comments(mut self, comments: bool) -> Self {
        self.policy.comments = comments;
        self
    }

    /// One stream and no more, for an answer that is streamed once, such as a language model's: its end is
    /// [`SourceEvent::Ended`](crate::SourceEvent::Ended), and what would otherwise lead to a reconnect is
    /// [`SourceError::Lost`](crate::SourceError::Lost). Default: no.
    pub fn once(mut self, once: bool) -> Self {
        self.policy.once = once;
        self
    }

    /// The largest event in bytes; a larger one ends the source. Default: 16 MiB of data.
    pub fn event_bytes_max(mut self, event_bytes_max: usize) -> Self {
        self.policy.limits.event_bytes_max = event_bytes_max;
        self
    }

    /// Makes the jitter of the backoff repeatable. Default: another seed for every source.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Trusts this certificate (DER), and others given so, instead of the operating system's roots: for a
    /// server with a certificate of its own making.
    pub fn trust_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        match &mut self.trust {
            Trust::Roots(roots) => roots.push(der.into()),
            _ => self.trust = Trust::Roots(vec![der.into()]),
        }
        self
    }

    /// Takes any certificate for good: whoever is on the way can read and forge everything. For trying things
    /// out only; [`trust_certificate`](Self::trust_certificate) is as easy and safe.
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        match (accept, &self.trust) {
            (true, _) => self.trust = Trust::Anybody,
            (false, Trust::Anybody) => self.trust = Trust::System,
            (false, _) => {}
        }
        self
    }

    /// The source. It does nothing until it is polled, within a tokio runtime.
    ///
    /// # Errors
    /// The URL or a header cannot be used, or TLS cannot be set up.
    pub fn build(mut self) -> Result<EventSource, BuildError> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let seed = self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let mut machine = Machine::new(source::now(), &self.url, self.method, self.policy, seed)?;
        machine.set_last_event_id(self.last_event_id);
        let defaults = [
            (ACCEPT, Some(HeaderValue::from_static("text/event-stream"))),
            (CACHE_CONTROL, Some(HeaderValue::from_static("no-cache"))),
            (
                USER_AGENT,
                Some(HeaderValue::from_static(concat!("tidings-client/", env!("CARGO_PKG_VERSION")))),
            ),
            (AUTHORIZATION, basic_authorization(&self.url)),
        ];
        for (name, value) in defaults {
            if let (false, Some(value)) = (self.headers.contains_key(&name), value) {
                self.headers.insert(name, value);
            }
        }
        let connector = tls::connector(self.trust, machine.is_tls()).map_err(BuildError::Tls)?;
        let requests = Requests::new(self.headers, self.body, self.make_fresh);
        Ok(EventSource::new(machine, connector, requests))
    }
}

/// User information in a URL is Basic authentication, as in a browser and in curl.
pub(crate) fn basic_authorization(url: &str) -> Option<HeaderValue> {
    let url = Url::parse(url).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let coded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {coded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
