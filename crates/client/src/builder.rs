//! From settings to a source. Everything that can be refused is refused here, before the first request.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tidings_codec::EventId;
use tower_service::Service;

use crate::connection::{Connection, basic_authorization};
use crate::fresh::{Fresh, MakeFresh, NextAttempt};
use crate::keeper::Keeper;
use crate::machine::{Machine, Policy};
use crate::request::{self, Requests};
use crate::source::{self, EventSource};
use crate::store::{AnyStore, IdStore};
use crate::transport::{BoxError, Transport};
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
    connection: Connection,
    last_event_id: EventId,
    policy: Policy,
    seed: Option<u64>,
    make_fresh: Option<MakeFresh>,
    store: Option<Arc<dyn AnyStore>>,
    store_interval_ms: u64,
    store_by_hand: bool,
}

impl EventSourceBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: Method::GET,
            body: Bytes::new(),
            connection: Connection::default(),
            last_event_id: EventId::empty(),
            policy: Policy::default(),
            seed: None,
            make_fresh: None,
            store: None,
            store_interval_ms: 1_000,
            store_by_hand: false,
        }
    }

    /// A header to send with every request, beside any of the same name. `Authorization`,
    /// `Proxy-Authorization` and `Cookie` do not follow a redirect to another origin.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case(request::LAST_EVENT_ID.as_str()) {
            self.connection.refuse(BuildError::LastEventIdHeader);
        } else {
            self.connection.header(name, value);
        }
        self
    }

    /// Parts of the request made anew for every attempt, whatever that takes: headers, the URL, the body. For tokens
    /// that expire sooner than streams end, for hosts that come and go, for bodies that say how far one has come.
    ///
    /// An error counts as a failure of the network: the source tells it
    /// ([`Reconnecting`](crate::SourceEvent::Reconnecting)) and asks again after the wait; who knows better closes it.
    /// The stall timer runs meanwhile. Redirects belong to the attempt that met them.
    ///
    /// ```
    /// use tidings_client::{EventSource, Fresh};
    ///
    /// # async fn token() -> Result<String, std::io::Error> { Ok("t".into()) }
    /// let source = EventSource::builder("http://127.0.0.1:4000/query")
    ///     .method(http::Method::POST)
    ///     .fresh(|next| async move {
    ///         let bearer = format!("Bearer {}", token().await?);
    ///         let body = format!(r#"{{"resume_after":{:?}}}"#, next.last_event_id.as_str());
    ///         Ok(Fresh::new().header("authorization", &bearer).body(body))
    ///     })
    ///     .build()?;
    /// # Ok::<(), tidings_client::BuildError>(())
    /// ```
    pub fn fresh<F, M>(mut self, mut make: M) -> Self
    where
        M: FnMut(NextAttempt) -> F + Send + 'static,
        F: Future<Output = Result<Fresh, BoxError>> + Send + 'static,
    {
        self.make_fresh = Some(Box::new(move |next| Box::pin(make(next))));
        self
    }

    /// The same where only headers are made: in place of fixed ones of the same name.
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
    pub fn fresh_headers<F, M>(self, mut make: M) -> Self
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<HeaderMap, BoxError>> + Send + 'static,
    {
        self.fresh(move |_| {
            let made = make();
            async move { made.await.map(Fresh::from) }
        })
    }

    /// Where to resume: counts as if a server had sent it.
    pub fn last_event_id(mut self, id: EventId) -> Self {
        self.last_event_id = id;
        self
    }

    /// Keeps the last event id here, so that the next life of this program goes on where this one ended. What is kept
    /// there goes before [`last_event_id`](Self::last_event_id).
    ///
    /// An id is saved when its event is done with: when the next one is asked for. So an event is never lost, and after
    /// a crash those since the last save come again: with [`store_interval_ms`](Self::store_interval_ms) at 0, one at
    /// most. Whoever must not act twice stores the id together with what he did, in one transaction, and gives it back
    /// with [`last_event_id`](Self::last_event_id). Who passes events on before they are done with says it
    /// [by hand](Self::store_by_hand).
    ///
    /// The source has no task of its own: a write goes on while the source is polled. A store that cannot be read ends the source; one that cannot be written is told
    /// ([`NotStored`](crate::SourceEvent::NotStored)) and tried again. The end of the source is told when all before it
    /// is kept.
    ///
    /// ```
    /// use tidings_client::{EventSource, store::FileStore};
    ///
    /// let source = EventSource::builder("http://127.0.0.1:4000/topics/news")
    ///     .store(FileStore::new("/var/lib/reader/news.id"))
    ///     .build()?;
    /// # Ok::<(), tidings_client::BuildError>(())
    /// ```
    pub fn store(mut self, store: impl IdStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The least time between two writes to the store, in milliseconds: what a crash may repeat at most. With 0 each id
    /// is written as soon as the write before it is done. Default: 1,000.
    pub fn store_interval_ms(mut self, store_interval_ms: u64) -> Self {
        self.store_interval_ms = store_interval_ms;
        self
    }

    /// Whether only ids that [`EventSource::done`] names are saved. Default: no.
    pub fn store_by_hand(mut self, store_by_hand: bool) -> Self {
        self.store_by_hand = store_by_hand;
        self
    }

    /// Leaves out events whose own id is among the last `ids_max` that were told: for servers that begin a little early
    /// when they resume, or deliver at least once. Takes some 50 bytes an id. Events without an id of their own are
    /// all told. Leave this off where one id stands for several events. Default: off.
    pub fn deduplicate(mut self, ids_max: NonZeroUsize) -> Self {
        self.policy.deduplicate_ids_max = Some(ids_max);
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
    #[cfg(feature = "hyper")]
    pub fn trust_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.connection.trust_certificate(der.into());
        self
    }

    /// Takes any certificate for good: whoever is on the way can read and forge everything. For trying things
    /// out only; [`trust_certificate`](Self::trust_certificate) is as easy and safe.
    #[cfg(feature = "hyper")]
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.connection.accept_invalid_certs(accept);
        self
    }

    /// Sends the requests with this service: a client of the caller's, with any layers of `tower`'s around it. Default:
    /// hyper with rustls. Whom to trust is then the service's matter, and it must not follow redirects, which is
    /// ours. Each exchange uses a clone.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use tidings_client::EventSource;
    ///
    /// #[derive(Clone)]
    /// struct Canned;
    /// impl tower_service::Service<Request<Full<Bytes>>> for Canned {
    ///     type Response = Response<Full<Bytes>>;
    ///     type Error = std::io::Error;
    ///     type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
    ///
    ///     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
    ///         std::task::Poll::Ready(Ok(()))
    ///     }
    ///
    ///     fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
    ///         let answer = Response::builder().header("content-type", "text/event-stream");
    ///         std::future::ready(Ok(answer.body(Full::from("data: hello\n\n")).expect("an answer")))
    ///     }
    /// }
    /// let source = EventSource::builder("http://nowhere.test/").transport(Canned).build()?;
    /// # Ok::<(), tidings_client::BuildError>(())
    /// ```
    pub fn transport<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.connection.set_transport(Transport::over(service));
        self
    }

    /// The source. It does nothing until it is polled, within a tokio runtime.
    ///
    /// # Errors
    /// The URL or a header cannot be used, or TLS cannot be set up.
    pub fn build(mut self) -> Result<EventSource, BuildError> {
        self.connection.check()?;
        let seed = self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let mut machine = Machine::new(source::now(), &self.url, self.method, self.policy, seed)?;
        machine.set_last_event_id(self.last_event_id);
        self.connection.default_headers([
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ]);
        let transport = self.connection.for_streams(machine.is_tls())?;
        let basic = basic_authorization(&self.url).map(|(_, value)| value);
        let requests = Requests::new(self.connection.headers, basic, self.body, self.make_fresh);
        let keeper = self.store.map(|store| Keeper::new(store, self.store_interval_ms, self.store_by_hand));
        Ok(EventSource::new(machine, transport, requests, keeper))
    }
}
