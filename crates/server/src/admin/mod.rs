//! What an operator asks: is it alive, should it get traffic, what does it do; and a console that shows it. A listener of
//! its own. Health and numbers need no key. Whatever tells of topics, events, clients or the configuration, or changes
//! something, goes through the same gate as on the public listener, with the same keys, and gets never more.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};

use crate::app::App;
use crate::front::service::{Handle, Service};
use crate::problem::{self, Problem};
use crate::protocols::native;

mod api;
mod assets;
mod clients;
pub mod metrics;
pub mod ready;
pub mod sample;
mod topics;

/// The admin surface.
#[derive(Clone)]
pub struct Admin {
    app: Arc<App>,
    /// The public surface: what the console reads and writes of topics goes its way.
    public: Service,
}

impl Admin {
    /// Of this server.
    pub fn new(app: Arc<App>) -> Self {
        let public = Service::new(Arc::clone(&app), Router::new());
        Self { app, public }
    }

    fn answer(&self, parts: &Parts) -> Result<Response, Problem> {
        let path = parts.uri.path();
        let known = matches!(path, "/healthz" | "/readyz" | "/metrics");
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_read && (known || assets::has(path)) {
            return Err(Problem::new(&problem::METHOD_NOT_ALLOWED, "use GET").allow("GET, HEAD"));
        }
        Ok(match path {
            "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into()),
            "/readyz" => {
                let reasons = ready::reasons(&ready::Facts::of(&self.app));
                let status =
                    if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, "application/json", ready::to_json(&reasons))
            }
            "/metrics" => {
                let facts = metrics::Facts::of(&self.app);
                text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(&facts))
            }
            path => match assets::answer(path, &parts.headers) {
                Some(response) => response,
                None => {
                    return Err(Problem::new(&problem::NOT_FOUND, "nothing is here; / is the console"));
                }
            },
        })
    }
}

impl Handle for Admin {
    async fn handle(&self, request: Request<Body>) -> Response {
        let path = request.uri().path();
        if native::serves(path) {
            return self.public.handle(request).await;
        }
        if path.starts_with(api::PREFIX) {
            return Box::pin(api::answer(&self.app, request)).await;
        }
        let (parts, _) = request.into_parts();
        let admitted = self.app.gate.admit_admin(&parts);
        let answer = admitted.and_then(|()| self.answer(&parts));
        answer.unwrap_or_else(IntoResponse::into_response)
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
