//! An attempt as a request: the caller's headers and body, as far as they go along.
//! **Invariant:** `Last-Event-ID` comes from the machine alone.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Request};
use http_body_util::Full;

use crate::machine::Attempt;

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(crate) type FreshHeaders = Result<HeaderMap, Box<dyn Error + Send + Sync>>;
type FreshFuture = Pin<Box<dyn Future<Output = FreshHeaders> + Send>>;
pub(crate) type MakeFresh = Box<dyn FnMut() -> FreshFuture + Send>;

/// What every request of a source has in common.
pub(crate) struct Requests {
    headers: HeaderMap,
    body: Bytes,
    make_fresh: Option<MakeFresh>,
    /// What was made for the present attempt, redirects and all.
    fresh: HeaderMap,
}

impl Requests {
    pub(crate) fn new(headers: HeaderMap, body: Bytes, make_fresh: Option<MakeFresh>) -> Self {
        Self { headers, body, make_fresh, fresh: HeaderMap::new() }
    }

    /// What to wait for before the request can be made, if anything.
    pub(crate) fn prepare(&mut self, attempt: &Attempt) -> Option<Preparing> {
        // A redirect belongs to the attempt that met it.
        if attempt.redirects > 0 {
            return None;
        }
        self.make_fresh.as_mut().map(|make| Preparing(make()))
    }

    pub(crate) fn set_fresh(&mut self, fresh: HeaderMap) {
        self.fresh = fresh;
    }

    pub(crate) fn request(&self, attempt: &Attempt) -> Request<Full<Bytes>> {
        let body = if attempt.with_body { self.body.clone() } else { Bytes::new() };
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = attempt.uri.clone();
        *request.method_mut() = attempt.method.clone();
        let replaced = |name: &HeaderName| self.fresh.contains_key(name);
        let lasting = self.headers.iter().filter(|(name, _)| !replaced(name));
        for (name, value) in lasting.chain(&self.fresh) {
            let goes_along = name != LAST_EVENT_ID
                && (attempt.with_credentials || !is_credential(name))
                && (attempt.with_body || !name.as_str().starts_with("content-"));
            if goes_along {
                request.headers_mut().append(name, value.clone());
            }
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

/// The caller at work on the headers of an attempt.
pub(crate) struct Preparing(FreshFuture);

impl Preparing {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FreshHeaders> {
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
