//! A topic itself: its position, declaration, end and removal.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tidings_hub::ports::{Op, Outcome, Submission};
use tidings_hub::{Position, TopicName};

use super::ack::internal;
use super::declare::{self, Declaration};
use super::params::{self, Query};
use super::{JSON, TIDINGS_POSITION, body, header_value, json, path};
use crate::app::App;
use crate::front::body::Payload;
use crate::gate::Access;
use crate::problem::Problem;

const TIDINGS_CLOSED: HeaderName = HeaderName::from_static("tidings-closed");
const TIDINGS_CONTENT_TYPE: HeaderName = HeaderName::from_static("tidings-content-type");

/// A declaration is a few members.
const DECLARATION_BYTES_MAX: usize = 64 * 1024;

/// The present position: a page rendered from a database subscribes from exactly there. The same for a topic that
/// is not there as for one that is and was never declared.
pub(super) fn head(app: &App, topic: Option<&TopicName>) -> Response {
    // Before the topic is looked at: what is seen of it is then never older than the position.
    let position = app.hub.position();
    let mut response =
        ([(CONTENT_TYPE, JSON), (TIDINGS_POSITION, header_value(&position))], Body::empty()).into_response();
    if let Some(topic) = topic {
        let info = app.hub.topic(topic);
        let headers = response.headers_mut();
        // Declared through another door it may be a text that no header can carry.
        if let Ok(declared) = HeaderValue::from_str(&info.config.content_type) {
            headers.insert(TIDINGS_CONTENT_TYPE, declared);
        }
        if info.closed.is_some() {
            headers.insert(TIDINGS_CLOSED, HeaderValue::from_static("true"));
        }
    }
    response
}

/// Declares a topic, or with `?closed` ends it.
///
/// # Errors
/// What is wrong with the request, or why the hub refused it.
pub(super) async fn put(
    app: &Arc<App>,
    access: &Access,
    parts: &Parts,
    payload: Payload,
) -> Result<Response, Problem> {
    let query = Query::parse(parts.uri.query(), &["closed", "topic"])?;
    let topic = path::topic(parts.uri.path(), &query)?;
    access.may_manage(&topic)?;
    let body = body::whole(app, payload, DECLARATION_BYTES_MAX, body::too_large).await?;
    if query.flag("closed")? {
        if !body.trim_ascii().is_empty() {
            let detail = "?closed takes no body; declare the topic with a request of its own first";
            return Err(params::invalid("closed", detail));
        }
        return close(app, topic).await;
    }
    let config = declare::parse(&body)?;
    let done = one(app, Op::Configure { topic: topic.clone(), config: config.clone() }).await?;
    let status = if done.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(json(
        status,
        &Declared { config: Declaration::of(&topic, &config), position: done.position.to_string() },
    ))
}

#[derive(Serialize)]
struct Declared<'a> {
    #[serde(flatten)]
    config: Declaration<'a>,
    position: String,
}

#[derive(Serialize)]
struct Closed {
    closed: bool,
    position: String,
}

async fn close(app: &App, topic: TopicName) -> Result<Response, Problem> {
    let done = one(app, Op::Close { topic: topic.clone() }).await?;
    // Where it ended, however often it is asked for.
    let at = app.hub.topic(&topic).closed.unwrap_or(done.position);
    Ok(json(StatusCode::OK, &Closed { closed: true, position: at.to_string() }))
}

/// Removes a topic and its history. The same answer whether it was there or not.
///
/// # Errors
/// What is wrong with the request, or why the hub refused it.
pub(super) async fn delete(app: &Arc<App>, access: &Access, parts: &Parts) -> Result<Response, Problem> {
    let query = Query::parse(parts.uri.query(), &["topic"])?;
    let topic = path::topic(parts.uri.path(), &query)?;
    access.may_manage(&topic)?;
    one(app, Op::Delete { topic }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

struct Done {
    position: Position,
    existed: bool,
}

/// Submits one operation.
async fn one(app: &App, op: Op) -> Result<Done, Problem> {
    let submission = Submission { ops: vec![op], atomic: false, time_ms: app.hub.now_ms() };
    match app.hub.submit(submission).await.pop() {
        Some(Outcome::Committed { position, existed, .. } | Outcome::Unchanged { position, existed }) => {
            Ok(Done { position, existed })
        }
        Some(Outcome::Refused(refusal)) => Err(refusal.into()),
        Some(Outcome::Held(_) | Outcome::Repeated(_) | Outcome::Skipped) | None => {
            Err(internal("the log gave no answer to the operation"))
        }
    }
}
