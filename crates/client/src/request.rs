//! An attempt as a request: the caller's headers and body, as far as they go along.
//! **Invariant:** `Last-Event-ID` comes from the machine alone.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use tidings_codec::EventId;

use crate::fresh::{Fresh, Made, MakeFresh, NextAttempt};
use crate::machine::Attempt;
use crate::transport::BoxFuture;

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What every request of a source has in common.
pub(crate) struct Requests {
    headers: HeaderMap,
    /// Of the user information in the builder's URL; goes to no other.
    basic: Option<HeaderValue>,
    body: Bytes,
    make_fresh: Option<MakeFresh>,
    /// What was made for the present attempt, redirects and all.
    fresh: Fresh,
    attempts: u64,
}

impl Requests {
    pub(crate) fn new(
        headers: HeaderMap,
        basic: Option<HeaderValue>,
        body: Bytes,
        make_fresh: Option<MakeFresh>,
    ) -> Self {
        Self { headers, basic, body, make_fresh, fresh: Fresh::new(), attempts: 0 }
    }

    /// What to wait for before the request can be made, if anything.
    pub(crate) fn prepare(&mut self, attempt: &Attempt, last_event_id: &EventId) -> Option<Preparing> {
        // A redirect belongs to the attempt that met it.
        if attempt.redirects > 0 {
            return None;
        }
        let next = NextAttempt { before: self.attempts, last_event_id: last_event_id.clone() };
        self.attempts = self.attempts.saturating_add(1);
        self.make_fresh.as_mut().map(|make| Preparing(make(next)))
    }

    pub(crate) fn set_fresh(&mut self, mut fresh: Fresh) {
        fresh.settle();
        self.fresh = fresh;
    }

    pub(crate) fn request(&self, attempt: &Attempt) -> Request<Full<Bytes>> {
        let body = self.fresh.body.as_ref().unwrap_or(&self.body);
        let body = if attempt.with_body { body.clone() } else { Bytes::new() };
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = attempt.uri.clone();
        *request.method_mut() = attempt.method.clone();
        let fresh = &self.fresh.headers;
        let lasting = self.headers.iter().filter(|(name, _)| !fresh.contains_key(*name));
        for (name, value) in lasting.chain(fresh) {
            let goes_along = name != LAST_EVENT_ID
                && (attempt.with_credentials || !is_credential(name))
                && (attempt.with_body || !name.as_str().starts_with("content-"));
            if goes_along {
                request.headers_mut().append(name, value.clone());
            }
        }
        let basic = self.basic.as_ref().filter(|_| attempt.with_credentials && self.fresh.url.is_none());
        if let (Some(basic), false) = (basic, request.headers().contains_key(AUTHORIZATION)) {
            request.headers_mut().insert(AUTHORIZATION, basic.clone());
        }
        if let Some(id) = &attempt.last_event_id {
            request.headers_mut().insert(LAST_EVENT_ID, id.clone());
        }
        request
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither values, which may be secrets, nor the body.
        f.debug_struct("Requests").field("headers", &self.headers.len()).finish_non_exhaustive()
    }
}

/// The caller at work on an attempt.
pub(crate) struct Preparing(BoxFuture<Made<Fresh>>);

impl Preparing {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Made<Fresh>> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Preparing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preparing")
    }
}

/// What stays behind when a redirect leads to another origin.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name)
}
