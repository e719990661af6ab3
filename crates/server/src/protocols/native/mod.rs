//! The native surface: `/topics/{topic}` and `/events`.
//!
//! Parses at the door and hands on: what an event becomes is the hub's business, who may do what the gate's (it
//! runs before, and leaves an [`Access`] with the request). Here is no state.
//! **Invariant:** every refusal is a problem document that says what to do; nothing that a client sends panics.

mod ack;
mod body;
mod declare;
mod encoding;
mod events;
mod history;
mod ingest;
mod items;
mod negotiate;
mod object;
mod once;
mod params;
mod path;
mod publish;
mod subscribe;
mod time;
mod topic;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use self::ack::internal;
use crate::app::App;
use crate::gate::Access;
use crate::problem::{self, Problem};

/// A position of the log: where a stream begins, where a reader may subscribe from.
const TIDINGS_POSITION: HeaderName = HeaderName::from_static("tidings-position");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

const TOPIC_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const EVENTS_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// The routes. Whoever mounts them puts the gate before them.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/topics", any(one_topic))
        .route("/topics/", any(one_topic))
        .route("/topics/{*topic}", any(one_topic))
        .route("/events", any(many_topics))
        .layer(axum::middleware::map_response(protect))
}

async fn one_topic(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let (parts, access, body) = take_apart(request)?;
    match parts.method {
        Method::GET | Method::HEAD => subscribe::one_topic(&app, &access, &parts).await,
        Method::POST => publish::publish(&app, &access, &parts, body).await,
        Method::PUT => topic::put(&app, &access, &parts, body).await,
        Method::DELETE => topic::delete(&app, &access, &parts).await,
        _ => Err(method_not_allowed(&parts, TOPIC_METHODS)),
    }
}

async fn many_topics(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let (parts, access, body) = take_apart(request)?;
    match parts.method {
        Method::GET | Method::HEAD => subscribe::many_topics(&app, &access, &parts).await,
        Method::POST => events::publish(&app, &access, &parts, body).await,
        _ => Err(method_not_allowed(&parts, EVENTS_METHODS)),
    }
}

fn take_apart(request: Request) -> Result<(Parts, Access, Body), Problem> {
    let (parts, body) = request.into_parts();
    let access = parts.extensions.get::<Access>().cloned();
    let access = access.ok_or_else(|| internal("the request did not pass the gate"))?;
    Ok((parts, access, body))
}

fn method_not_allowed(parts: &Parts, methods: &'static str) -> Problem {
    let detail = format!("{} does nothing here; use one of {methods}", params::echo(parts.method.as_str()));
    Problem::new(&problem::METHOD_NOT_ALLOWED, detail).allow(methods)
}

/// What holds for every answer: it is kept nowhere and is what it says it is.
async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A JSON answer. It ends with a line end, for people with a terminal.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let Ok(mut body) = serde_json::to_vec(value) else {
        return internal("the answer could not be written as JSON").into_response();
    };
    body.push(b'\n');
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

/// A text of the hub's own as a header's value.
fn header_value(text: &impl ToString) -> HeaderValue {
    HeaderValue::from_str(&text.to_string()).unwrap_or(HeaderValue::from_static(""))
}
