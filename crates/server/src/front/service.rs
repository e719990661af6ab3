//! One request: through the gate, to its route, into the log.
//!
//! **Invariant:** what is logged has passed [`crate::gate::scrub`]; what a route sees has passed the gate.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tracing::{Level, debug, enabled, warn};

use super::body::{Payload, limit_silence};
use crate::app::App;
use crate::counters::RouteClass;
use crate::gate::{Access, Admitted, Who, scrub};
use crate::problem::{self, Problem};
use crate::protocols::native;

/// What answers the requests of a listener. Clones are cheap: there is one per connection.
pub(crate) trait Handle: Clone + Send + Sync + 'static {
    /// Answers one request; everything that can go wrong is an answer too.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response> + Send;
}

/// The public surface: gate, routes, access log. A test or an embedding program can put requests to it without a
/// socket.
#[derive(Clone)]
pub struct Service {
    app: Arc<App>,
    extra: TowerToHyperService<Router>,
}

impl Service {
    /// The protocols' routes, and `extra` for every path that none of them has.
    pub fn new(app: Arc<App>, extra: Router) -> Self {
        let extra = extra.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
        // Limits on bodies are the routes' own.
        let extra = extra.layer(DefaultBodyLimit::disable());
        Self { app, extra: TowerToHyperService::new(extra) }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        let idle = self.app.config.body_idle_ms.map(Duration::from_millis);
        self.respond(&mut parts, Payload::Flow(limit_silence(body, idle))).await
    }

    /// The same for one whose body, if it has one, may be there already.
    pub(crate) async fn respond(&self, parts: &mut Parts, payload: Payload) -> Response {
        let asked = Asked {
            started: Instant::now(),
            is_whole: payload.bytes().is_some(),
            method: parts.method.clone(),
            // Before the gate takes the key out of it, and only if anybody reads it.
            target: enabled!(Level::WARN).then(|| parts.uri.clone()),
        };
        let (response, access) = match self.app.gate.admit(parts) {
            ControlFlow::Continue(Admitted { access, cors }) => {
                let mut response = match check_codings(parts) {
                    Err(problem) => problem.into_response(),
                    Ok(()) if native::serves(parts.uri.path()) => {
                        native::answer(&self.app, &access, parts, payload).await
                    }
                    // On its own: most requests need no room for it.
                    Ok(()) => Box::pin(self.extra(&access, parts, payload)).await,
                };
                cors.apply(response.headers_mut());
                (response, Some(access))
            }
            ControlFlow::Break(answer) => (answer, None),
        };
        asked.note(&self.app, access.as_deref(), &response);
        response
    }

    async fn extra(&self, access: &Access, parts: &mut Parts, payload: Payload) -> Response {
        let mut request = Request::new(payload.into_body()).into_parts();
        std::mem::swap(&mut request.0, parts);
        request.0.extensions.insert(access.clone());
        match self.extra.call(Request::from_parts(request.0, request.1)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// What is remembered of a request while it is answered.
pub(super) struct Asked {
    pub(super) started: Instant,
    /// Its body had a length from the beginning.
    pub(super) is_whole: bool,
    pub(super) method: Method,
    /// `None`: nobody reads it.
    pub(super) target: Option<Uri>,
}

impl Asked {
    /// Counts and logs its answer; without an access it was refused at the gate.
    pub(super) fn note(self, app: &App, access: Option<&Access>, response: &Response) {
        let class = RouteClass::of(&self.method, response);
        app.counters.request(class, response.status());
        if self.is_whole && class == RouteClass::Publish && response.status().is_success() {
            app.counters.published(self.started.elapsed());
        }
        if let Some(target) = self.target {
            let who = access.map(|access| &access.who);
            log(&self.method, &target, class, response.status(), who, self.started.elapsed());
        }
    }
}

/// Whether each request is logged, not only what went wrong.
pub(super) fn logs_all() -> bool {
    enabled!(Level::DEBUG)
}

/// A coding that nobody undoes would be taken for data, or for lines that mean nothing.
fn check_codings(parts: &Parts) -> Result<(), Problem> {
    for (name, plain) in [(CONTENT_ENCODING, "identity"), (TRANSFER_ENCODING, "chunked")] {
        let is_plain =
            |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(plain.as_bytes());
        if !parts.headers.get_all(&name).iter().all(is_plain) {
            let detail = format!("send the body as it is: {name} may be {plain:?} or missing");
            let identity = HeaderValue::from_static("identity");
            return Err(Problem::new(&problem::ENCODED_BODY, detail).header(ACCEPT_ENCODING, identity));
        }
    }
    Ok(())
}

impl Handle for Service {
    async fn handle(&self, request: Request<Body>) -> Response {
        Self::handle(self, request).await
    }
}

fn log(
    method: &Method,
    target: &Uri,
    class: RouteClass,
    status: StatusCode,
    who: Option<&Who>,
    took: Duration,
) {
    // A full or stopping hub answers 503 in masses, on purpose: metrics count them.
    let is_fault = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
    if !is_fault && !logs_all() {
        return;
    }
    let who = match who {
        Some(Who::Key { name }) => name,
        Some(Who::Anonymous) => "anonymous",
        None => "refused",
    };
    let (target, class, status) = (scrub::target(target), class.as_str(), status.as_u16());
    let us = took.as_micros();
    if is_fault {
        warn!(%method, target, class, status, who, us, "request failed");
    } else {
        debug!(%method, target, class, status, who, us, "request");
    }
}

pub(crate) async fn not_found() -> Response {
    Problem::new(&problem::NOT_FOUND, "nothing is at this path; topics are at /topics/NAME").into_response()
}

pub(crate) async fn method_not_allowed() -> Response {
    Problem::new(&problem::METHOD_NOT_ALLOWED, "use one of the methods that the Allow header names")
        .into_response()
}
