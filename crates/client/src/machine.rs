//! The reconnect machine: what an `EventSource` does next (WHATWG HTML, 9.2.3), as a pure function of what
//! it was told. Opens no socket and reads no clock.
//! **Invariants:** `Last-Event-ID` is the id of what was told last; after [`Action::Close`] nothing is ever
//! asked for again; nothing is queued here, each call gives at most one action.
//!
//! The order of calls is in [`Machine`]. [`EventSource`](crate::EventSource) drives it over hyper; another
//! driver (a browser, a simulator) can do the same.

mod answer;
mod policy;
mod seen;

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tidings_codec::{DecodeError, Decoder, EventId, ItemRef, Message};
use url::Url;

pub use self::policy::{Policy, RetryStatuses};
use self::seen::Seen;
use crate::backoff::{Rng, WAIT_MS_MAX};
use crate::redirect::{Hop, Refused, Target};
use crate::{BuildError, Disconnect, NetworkError, SourceError};

/// What happened to a source.
///
/// ```
/// use tidings_client::{Disconnect, SourceEvent};
///
/// fn line(event: &SourceEvent) -> String {
///     match event {
///         SourceEvent::Open { status, .. } => format!("open: {status}"),
///         SourceEvent::Message(message) => message.data.to_string(),
///         SourceEvent::Reconnecting { after_ms, cause } => format!("{cause}; again in {after_ms} ms"),
///         _ => String::new(),
///     }
/// }
/// let lost = SourceEvent::Reconnecting { after_ms: 3_000, cause: Disconnect::Ended };
/// assert_eq!(line(&lost), "the stream ended; again in 3000 ms");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// The stream is open.
    Open {
        /// 200.
        status: StatusCode,
        /// What else the server said: `Tidings-Resume`, for one.
        headers: HeaderMap,
    },
    /// An event.
    Message(Message),
    /// The last event id moved (or was said again) without an event.
    Id(EventId),
    /// A comment, as it stood after the colon. Only if asked for.
    Comment(String),
    /// The connection is lost, or was not had; the next attempt comes by itself.
    Reconnecting {
        /// How long until then.
        after_ms: u64,
        /// Why.
        cause: Disconnect,
    },
    /// The last id could not be kept: see [`IdStore`](crate::store::IdStore). It is tried again by itself; until that
    /// goes well, a restart repeats more events than usual.
    NotStored {
        /// What the store said.
        error: std::io::Error,
    },
    /// There will be no more, in good order: the server said so with 204, or the one stream that was asked
    /// for ended. The source is closed.
    Ended,
}

/// What a page would see as `readyState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyState {
    /// Connecting for the first time or again, or waiting to.
    Connecting,
    /// The stream is open.
    Open,
    /// Closed for good, by either side.
    Closed,
}

/// A request to make. The driver adds the caller's headers and body.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How many redirects led here: 0 begins a new attempt.
    pub redirects: u8,
    /// Where to.
    pub uri: Uri,
    /// The caller's method, unless a redirect changed it.
    pub method: Method,
    /// Whether the caller's body goes along (with the headers that describe it).
    pub with_body: bool,
    /// Whether the caller's `Authorization`, `Proxy-Authorization` and `Cookie` go along: not to another
    /// origin.
    pub with_credentials: bool,
    /// `Last-Event-ID` as raw UTF-8; `None` if there is no id, or one that no header can hold.
    pub last_event_id: Option<HeaderValue>,
}

/// What the driver must do now.
#[derive(Debug)]
#[must_use]
pub enum Action {
    /// Drop the connection, if there is one, and make this request.
    Connect(Attempt),
    /// Tell this. Everything else goes on as it was.
    Tell(SourceEvent),
    /// Drop the connection and tell [`SourceEvent::Reconnecting`]; call at [`Machine::poll_timeout`].
    Wait {
        /// How long until then.
        after_ms: u64,
        /// Why the connection is gone.
        cause: Disconnect,
    },
    /// Drop the connection: it is over. Tell the error, or [`SourceEvent::Ended`] if there is none.
    Close(Option<SourceError>),
}

/// The machine itself. A driver owns one connection at a time and calls, in this order:
///
/// 1. *time*: at [`poll_timeout`](Self::poll_timeout) call [`handle_timeout`](Self::handle_timeout); a new
///    machine wants that at once, and so begins its first attempt;
/// 2. *the attempt*: [`handle_response`](Self::handle_response) or [`handle_error`](Self::handle_error);
/// 3. *the stream*: [`handle_bytes`](Self::handle_bytes) until the chunk is empty, at last
///    [`handle_end`](Self::handle_end) or [`handle_error`](Self::handle_error);
/// 4. *the caller*: [`close`](Self::close) and [`reconnect_now`](Self::reconnect_now) at any time.
///
/// After each call it does what the [`Action`] says. A call that does not fit the state, such as bytes of a
/// connection that was given up, does nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
/// use tidings_client::machine::{Action, Machine, Policy};
/// use tidings_client::{Disconnect, SourceEvent};
///
/// let now = Instant::now();
/// let mut machine = Machine::new(now, "http://hub.test/topics/a", Method::GET, Policy::default(), 1)?;
/// let Some(Action::Connect(attempt)) = machine.handle_timeout(now) else { panic!("it connects") };
/// assert_eq!(attempt.last_event_id, None);
///
/// let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
/// machine.handle_response(now, StatusCode::OK, headers);
/// let mut chunk: &[u8] = b"id: 7\ndata: hello\n\n";
/// let told = machine.handle_bytes(now, &mut chunk);
/// assert!(matches!(told, Some(Action::Tell(SourceEvent::Message(message))) if message.data == "hello"));
///
/// let lost = machine.handle_end(now);
/// assert!(matches!(lost, Some(Action::Wait { after_ms: 3_000, cause: Disconnect::Ended })));
/// let Some(Action::Connect(attempt)) = machine.handle_timeout(now + Duration::from_secs(3)) else {
///     panic!("it connects again");
/// };
/// assert_eq!(attempt.last_event_id, Some(HeaderValue::from_static("7")));
/// # Ok::<(), tidings_client::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    first: Hop,
    decoder: Decoder,
    /// The reconnection time in force.
    retry_ms: u64,
    /// Losses in a row, that of a good connection included: what the backoff grows by.
    failures: u32,
    /// Attempts in a row that came to nothing.
    fruitless: u32,
    rng: Rng,
    /// What was told, if what comes again shall not be, and the id of the last of it: the decoder's own may be that of
    /// a duplicate, and a server that begins early would be asked to begin earlier each time.
    seen: Option<(Seen, EventId)>,
    /// How often that happened.
    duplicates: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The next attempt begins then.
    Waiting {
        until: Instant,
    },
    /// A request was made, and that long nothing was heard.
    Requesting {
        hop: Hop,
        silent_since: Instant,
    },
    /// The stream is open. `good`: an event or an id came.
    Open {
        since: Instant,
        silent_since: Instant,
        good: bool,
    },
    Closed,
}

impl Machine {
    /// A machine that wants to connect at once. `seed` makes the jitter.
    ///
    /// # Errors
    /// `url` is no absolute http or https URL.
    pub fn new(
        now: Instant,
        url: &str,
        method: Method,
        policy: Policy,
        seed: u64,
    ) -> Result<Self, BuildError> {
        let target = parse_target(url)?;
        Ok(Self {
            first: Hop::first(target, method),
            decoder: Decoder::with_limits(policy.limits).with_comments(policy.comments),
            retry_ms: policy.retry_ms,
            failures: 0,
            fruitless: 0,
            rng: Rng::seeded(seed),
            seen: policy.deduplicate_ids_max.map(|ids_max| (Seen::new(ids_max), EventId::empty())),
            duplicates: 0,
            state: State::Waiting { until: now },
            policy,
        })
    }

    /// Whether the first request needs TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.first.target.is_tls()
    }

    /// The id that the next attempt sends: that of the last event or id told, or the one it was seeded with.
    #[must_use]
    pub fn last_event_id(&self) -> &EventId {
        self.seen.as_ref().map_or_else(|| self.decoder.last_event_id(), |(_, told)| told)
    }

    /// Seeds the last event id, as if a server had sent it, and its event was told.
    pub fn set_last_event_id(&mut self, id: EventId) {
        if let Some((seen, told)) = &mut self.seen {
            if !id.is_empty() {
                seen.insert(&id);
            }
            told.clone_from(&id);
        }
        self.decoder.set_last_event_id(id);
    }

    /// How many events were left out because their ids had been told: see [`Policy::deduplicate_ids_max`].
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What a page would see.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        match self.state {
            State::Waiting { .. } | State::Requesting { .. } => ReadyState::Connecting,
            State::Open { .. } => ReadyState::Open,
            State::Closed => ReadyState::Closed,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, whatever else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Requesting { silent_since, .. } | State::Open { silent_since, .. } => {
                let stall = Duration::from_millis(self.policy.stall_timeout_ms?);
                // A stall that no clock can reach is none.
                silent_since.checked_add(stall)
            }
            State::Closed => None,
        }
    }

    /// The time has come: an attempt begins, or a silent connection is given up. Too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            State::Waiting { .. } => Some(self.connect(now, self.first.clone())),
            _ => {
                let silent_ms = self.policy.stall_timeout_ms.unwrap_or_default();
                Some(self.lose(now, Disconnect::Stalled { silent_ms }))
            }
        }
    }

    /// The head of the answer is there.
    pub fn handle_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        headers: HeaderMap,
    ) -> Option<Action> {
        let State::Requesting { hop, .. } = &self.state else { return None };
        let next = match hop.follow(status, &headers) {
            Ok(next) => next,
            Err(Refused::Now(cause)) => return Some(self.lose(now, cause)),
            Err(Refused::ForGood(error)) => return Some(self.end(Some(error))),
        };
        if let Some(hop) = next {
            return Some(self.connect(now, hop));
        }
        if status == StatusCode::NO_CONTENT {
            return Some(self.end(None));
        }
        if status != StatusCode::OK {
            return Some(if self.policy.retry_statuses.contains(status) {
                let retry_after_ms = answer::retry_after_ms(&headers);
                self.lose(now, Disconnect::Status { status, retry_after_ms })
            } else {
                self.end(Some(SourceError::Status { status }))
            });
        }
        if let Err(error) = answer::check_stream(&headers) {
            return Some(self.end(Some(error)));
        }
        self.state = State::Open { since: now, silent_since: now, good: false };
        Some(Action::Tell(SourceEvent::Open { status, headers }))
    }

    /// Bytes of the stream: takes them from the front of `input` until there is something to tell, or until
    /// it is empty.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut &[u8]) -> Option<Action> {
        let State::Open { silent_since, good, .. } = &mut self.state else {
            *input = &[];
            return None;
        };
        *silent_since = now;
        loop {
            let item = match self.decoder.next(input) {
                Ok(item) => item?,
                Err(DecodeError::EventTooLarge { limit_bytes }) => {
                    return Some(self.end(Some(SourceError::EventTooLarge { limit_bytes })));
                }
                Err(error) => {
                    return Some(self.lose(now, Disconnect::Network(NetworkError::connected(error))));
                }
            };
            let event = match item {
                ItemRef::Event(event) => {
                    let own_id = event.id().filter(|id| !id.is_empty());
                    if let (Some((seen, _)), Some(id)) = (&mut self.seen, own_id)
                        && !seen.insert(id)
                    {
                        // The stream is good all the same: it resumed a little early.
                        *good = true;
                        self.duplicates = self.duplicates.saturating_add(1);
                        continue;
                    }
                    SourceEvent::Message(event.to_message())
                }
                ItemRef::Id(id) => SourceEvent::Id(id.clone()),
                ItemRef::Comment(text) => SourceEvent::Comment(text.into()),
                ItemRef::Retry(retry_ms) => {
                    self.retry_ms = retry_ms.min(WAIT_MS_MAX);
                    continue;
                }
                ItemRef::RetryReset => {
                    self.retry_ms = self.policy.retry_ms;
                    continue;
                }
                _ => continue,
            };
            *good |= !matches!(event, SourceEvent::Comment(_));
            if let Some((_, told)) = &mut self.seen {
                match &event {
                    SourceEvent::Message(message) => told.clone_from(&message.last_event_id),
                    SourceEvent::Id(id) => told.clone_from(id),
                    _ => {}
                }
            }
            return Some(Action::Tell(event));
        }
    }

    /// The stream ended in good order.
    pub fn handle_end(&mut self, now: Instant) -> Option<Action> {
        matches!(self.state, State::Open { .. }).then(|| self.lose(now, Disconnect::Ended))
    }

    /// The attempt or the stream failed.
    pub fn handle_error(&mut self, now: Instant, error: NetworkError) -> Option<Action> {
        matches!(self.state, State::Requesting { .. } | State::Open { .. })
            .then(|| self.lose(now, Disconnect::Network(error)))
    }

    /// Gives up the connection, or the wait, and begins an attempt at once.
    pub fn reconnect_now(&mut self, now: Instant) -> Option<Action> {
        match &mut self.state {
            State::Closed => None,
            State::Waiting { until } => {
                *until = now;
                None
            }
            State::Requesting { .. } | State::Open { .. } => Some(self.lose(now, Disconnect::Requested)),
        }
    }

    /// The caller has enough. Nothing is told any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.decoder.finish();
    }

    /// Sends the attempt that has just begun to another URL: this one and no later one. `None` if none has begun, or
    /// it was redirected already.
    ///
    /// # Errors
    /// `url` is no absolute http or https URL. Nothing has changed then.
    pub fn retarget(&mut self, url: &str) -> Result<Option<Attempt>, BuildError> {
        let target = parse_target(url)?;
        let id = self.header_id();
        let State::Requesting { hop, .. } = &mut self.state else { return Ok(None) };
        if hop.redirects > 0 {
            return Ok(None);
        }
        *hop = Hop::first(target, hop.method.clone());
        Ok(Some(attempt(hop, id)))
    }

    fn connect(&mut self, now: Instant, hop: Hop) -> Action {
        if let Some((_, told)) = &self.seen {
            self.decoder.set_last_event_id(told.clone());
        }
        let attempt = attempt(&hop, self.header_id());
        self.state = State::Requesting { hop, silent_since: now };
        Action::Connect(attempt)
    }

    /// An id with control bytes is no header value. It is kept, and not sent: the server then starts where it
    /// starts, which beats never connecting again.
    fn header_id(&self) -> Option<HeaderValue> {
        let id = self.last_event_id();
        (!id.is_empty()).then(|| HeaderValue::from_bytes(id.as_str().as_bytes()).ok()).flatten()
    }

    /// The connection is gone, and there will be another.
    fn lose(&mut self, now: Instant, cause: Disconnect) -> Action {
        match cause {
            Disconnect::Ended if self.policy.once => return self.end(None),
            Disconnect::Requested => {}
            cause if self.policy.once => return self.end(Some(SourceError::Lost(cause))),
            _ => {}
        }
        self.decoder.finish();
        let (good, held) = match self.state {
            State::Open { since, good, .. } => (good, Some(now.saturating_duration_since(since))),
            _ => (false, None),
        };
        let holds_after = self.policy.backoff.holds_after();
        if good || held.is_some_and(|held| held > holds_after) {
            self.failures = 0;
        }
        // Without a backoff a stream that ends at once would count as one that held.
        let holds_after = holds_after.max(Duration::from_millis(self.retry_ms));
        if good || held.is_some_and(|held| held > holds_after) {
            self.fruitless = 0;
        } else if !matches!(cause, Disconnect::Requested) {
            self.fruitless = self.fruitless.saturating_add(1);
            if self.policy.attempts_max.is_some_and(|max| self.fruitless >= max.get()) {
                return self.end(Some(SourceError::Exhausted { attempts: self.fruitless, cause }));
            }
        }
        self.failures = self.failures.saturating_add(1);
        let after_ms = match cause {
            Disconnect::Requested => 0,
            Disconnect::Status { retry_after_ms: Some(asked_ms), .. } => {
                self.wait_ms().max(asked_ms.min(WAIT_MS_MAX))
            }
            _ => self.wait_ms(),
        };
        // A day at most, so no clock ends before it; if one did, at once beats never.
        let until = now.checked_add(Duration::from_millis(after_ms)).unwrap_or(now);
        self.state = State::Waiting { until };
        Action::Wait { after_ms, cause }
    }

    fn wait_ms(&mut self) -> u64 {
        self.policy.backoff.wait_ms(self.retry_ms, self.failures, self.rng.next())
    }

    fn end(&mut self, error: Option<SourceError>) -> Action {
        self.close();
        Action::Close(error)
    }
}

fn parse_target(url: &str) -> Result<Target, BuildError> {
    let target = Url::parse(url).map_err(|error| error.to_string()).and_then(Target::new);
    target.map_err(|reason| BuildError::InvalidUrl { reason })
}

fn attempt(hop: &Hop, last_event_id: Option<HeaderValue>) -> Attempt {
    Attempt {
        redirects: hop.redirects,
        uri: hop.target.uri().clone(),
        method: hop.method.clone(),
        with_body: hop.with_body,
        with_credentials: hop.with_credentials,
        last_event_id,
    }
}

#[cfg(test)]
mod tests;
