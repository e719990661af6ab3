//! `POST /topics/{topic}`: one event, or a stream of them, to one topic.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, request::Parts};
use tidings_hub::ports::{Op, Publish, Submission};
use tidings_hub::{TopicName, Topics};

use super::ack::{Receipt, Tally};
use super::ingest::ingest;
use super::items::{self, Common, Items, JsonLines, SseBlocks};
use super::params::{self, Query};
use super::{body, once, path};
use crate::app::App;
use crate::front::body::Payload;
use crate::gate::Access;
use crate::problem::Problem;

const PARAMETERS: &[&str] = &["event", "id", "private", "retry", "topic"];

/// What a body is, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One event whose data is the body, verbatim.
    One,
    /// An event stream.
    Blocks,
    /// One event a line.
    Lines,
}

/// Publishes.
///
/// # Errors
/// What is wrong with the request, or why the hub refused it.
pub(super) async fn publish(
    app: &Arc<App>,
    access: &Access,
    parts: &Parts,
    payload: Payload,
) -> Result<Response, Problem> {
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let topic = path::topic(parts.uri.path(), &query)?;
    access.may_publish(&topic)?;
    let series = once::of_request(&parts.headers, access, format_args!("topics/{topic}"))?;
    let kind = kind(&parts.headers);
    let id = query.id()?;
    if id.is_some() && kind != Kind::One {
        let detail = "an id names one event; give the events of a stream their own and leave out ?id=";
        return Err(params::invalid("id", detail));
    }
    let common = Common {
        topic,
        private: query.flag("private")?,
        event: query.event()?,
        retry_ms: query.retry_ms()?,
        event_bytes_max: app.hub.limits().event_bytes_max,
    };
    match kind {
        Kind::Blocks => {
            return ingest(app, Items::Sse(Box::new(SseBlocks::new(common))), series, payload.into_body())
                .await;
        }
        Kind::Lines => {
            return ingest(app, Items::Json(JsonLines::new(common)), series, payload.into_body()).await;
        }
        Kind::One => {}
    }
    let limit_bytes = common.event_bytes_max;
    let data = body::whole(app, payload, limit_bytes, items::too_large).await?;
    let utf8 = simdutf8::basic::from_utf8(&data).is_ok();
    let mut event = common.publish(data, utf8);
    event.id = id;
    event.once = series.as_ref().map(|series| series.item(0)).transpose()?;
    let (mut tally, id) = (Tally::default(), event.id.clone());
    let submission = Submission { ops: vec![Op::Publish(event)], atomic: false, time_ms: app.hub.now_ms() };
    tally.take_alone(id, app.hub.submit(submission).await)?;
    Ok(tally.answer_one(app, series.is_some()))
}

/// A publish of which only topic and data matter.
#[derive(Debug)]
pub(crate) struct Plain {
    topic: TopicName,
    data: Bytes,
}

impl Plain {
    /// `None`: [`publish`] has to look at it, and may refuse it.
    pub(crate) fn new(app: &App, access: &Access, target: &str, body: &[u8]) -> Option<Self> {
        let topic = path::plain(target)?;
        access.may_publish(&topic).ok()?;
        let data = body::copy(app, body, app.hub.limits().event_bytes_max, items::too_large).ok()?;
        Some(Self { topic, data })
    }

    /// Where it goes to.
    pub(crate) fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Publishes it.
    ///
    /// # Errors
    /// Why the hub refused it.
    pub(crate) async fn publish(self, app: &App) -> Result<Receipt, Problem> {
        let event = Publish::bytes(Topics::from_buf([self.topic]), self.data);
        let submission =
            Submission { ops: vec![Op::Publish(event)], atomic: false, time_ms: app.hub.now_ms() };
        Receipt::of(app, app.hub.submit(submission).await)
    }
}

fn kind(headers: &HeaderMap) -> Kind {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    match () {
        () if essence.eq_ignore_ascii_case("text/event-stream") => Kind::Blocks,
        () if essence.eq_ignore_ascii_case("application/x-ndjson") => Kind::Lines,
        () => Kind::One,
    }
}
