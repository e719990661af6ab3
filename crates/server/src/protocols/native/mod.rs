//! The native surface: `/topics/{topic}` and `/events`.
//!
//! Parses at the door and hands on: what an event becomes is the hub's business, who may do what the gate's (it
//! runs before, and tells an [`Access`]). Here is no state.
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

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use serde::Serialize;

pub(crate) use self::ack::Receipt;
pub(crate) use self::publish::Plain;
pub(crate) use self::subscribe::selected;

use self::ack::internal;
use crate::app::App;
use crate::front::body::Payload;
use crate::gate::Access;
use crate::problem::{self, Problem};

/// A position of the log: where a stream begins, where a reader may subscribe from.
const TIDINGS_POSITION: HeaderName = HeaderName::from_static("tidings-position");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Room for a usual answer, so that it is written without growing.
const JSON_BYTES: usize = 192;
const HEADERS: usize = 6;

const TOPIC_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const EVENTS_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Where the topics are.
const TOPICS: &str = "/topics";
/// Where many of them are at once.
const EVENTS: &str = "/events";

/// Whether a path belongs to this surface.
pub fn serves(path: &str) -> bool {
    path == EVENTS || path.strip_prefix(TOPICS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request to a path that this surface [`serves`]. Whoever calls this puts the gate before it.
pub async fn answer(app: &Arc<App>, access: &Arc<Access>, parts: &Parts, payload: Payload) -> Response {
    let is_head = parts.method == Method::HEAD;
    // A connection keeps room for what it waits for: on its own it is there only while somebody does.
    let answer = match (parts.uri.path() == EVENTS, &parts.method) {
        (false, &Method::POST) => Box::pin(publish::publish(app, access, parts, payload)).await,
        (false, _) => Box::pin(one_topic(app, access, parts, payload)).await,
        (true, _) => Box::pin(many_topics(app, access, parts, payload)).await,
    };
    let mut response = protect(answer.unwrap_or_else(IntoResponse::into_response));
    if is_head {
        let body = std::mem::take(response.body_mut());
        if let Some(bytes) = body.size_hint().exact() {
            response.headers_mut().entry(CONTENT_LENGTH).or_insert(bytes.into());
        }
    }
    response
}

async fn one_topic(
    app: &Arc<App>,
    access: &Access,
    parts: &Parts,
    payload: Payload,
) -> Result<Response, Problem> {
    match parts.method {
        Method::GET | Method::HEAD => subscribe::one_topic(app, access, parts).await,
        Method::PUT => topic::put(app, access, parts, payload).await,
        Method::DELETE => topic::delete(app, access, parts).await,
        _ => Err(method_not_allowed(parts, TOPIC_METHODS)),
    }
}

async fn many_topics(
    app: &Arc<App>,
    access: &Arc<Access>,
    parts: &Parts,
    payload: Payload,
) -> Result<Response, Problem> {
    match parts.method {
        Method::GET | Method::HEAD => subscribe::many_topics(app, access, parts).await,
        Method::POST => events::publish(app, access, parts, payload).await,
        _ => Err(method_not_allowed(parts, EVENTS_METHODS)),
    }
}

fn method_not_allowed(parts: &Parts, methods: &'static str) -> Problem {
    let detail = format!("{} does nothing here; use one of {methods}", params::echo(parts.method.as_str()));
    Problem::new(&problem::METHOD_NOT_ALLOWED, detail).allow(methods)
}

/// What holds for every answer: it is kept nowhere and is what it says it is.
fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A JSON answer. It ends with a line end, for people with a terminal.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(JSON_BYTES);
    if serde_json::to_writer(&mut body, value).is_err() {
        return internal("the answer could not be written as JSON").into_response();
    }
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A text of the hub's own as a header's value.
fn header_value(text: &impl ToString) -> HeaderValue {
    HeaderValue::from_str(&text.to_string()).unwrap_or(HeaderValue::from_static(""))
}
