//! What an operator asks: is it alive, should it get traffic, what does it do. A listener of its own, which has no
//! keys and shows no event.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};

use crate::app::App;
use crate::front::service::Handle;
use crate::problem::{self, Problem};

pub mod metrics;
pub mod ready;

const INDEX: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Tidings admin</title>\n\
<h1>Tidings admin</h1>\n<ul>\n\
<li><a href=\"/healthz\">/healthz</a>: the process is alive\n\
<li><a href=\"/readyz\">/readyz</a>: whether it should get traffic, and why not\n\
<li><a href=\"/metrics\">/metrics</a>: numbers, in the text format of Prometheus\n\
</ul>\n</html>\n";

/// The admin surface.
#[derive(Clone)]
pub struct Admin(Arc<App>);

impl Admin {
    /// Of this server.
    pub fn new(app: Arc<App>) -> Self {
        Self(app)
    }

    fn answer(&self, method: &Method, path: &str) -> Result<Response, Problem> {
        let known = matches!(path, "/" | "/healthz" | "/readyz" | "/metrics");
        if known && !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Problem::new(&problem::METHOD_NOT_ALLOWED, "use GET").allow("GET, HEAD"));
        }
        Ok(match path {
            "/" => text(StatusCode::OK, "text/html; charset=utf-8", INDEX.into()),
            "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into()),
            "/readyz" => {
                let reasons = ready::reasons(&ready::Facts::of(&self.0));
                let status =
                    if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, "application/json", ready::to_json(&reasons))
            }
            "/metrics" => {
                let facts = metrics::Facts::of(&self.0);
                text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(&facts))
            }
            _ => return Err(Problem::new(&problem::NOT_FOUND, "nothing is here; / says what there is")),
        })
    }
}

impl Handle for Admin {
    async fn handle(&self, request: Request<Body>) -> Response {
        let (parts, _) = request.into_parts();
        let admitted = self.0.gate.admit_admin(&parts);
        let answer = admitted.and_then(|()| self.answer(&parts.method, parts.uri.path()));
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
