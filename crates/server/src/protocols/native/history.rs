//! History as JSON, a page at a time, and long polling.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tidings_hub::ports::LogError;
use tidings_hub::{EventName, Gap, Position, ReadEvent, ReadPage, Reader, Resume, TopicName};
use tokio::time::Instant;

use super::params::{self, Query};
use super::subscribe::TIDINGS_RESUME;
use super::time::rfc3339;
use super::{TIDINGS_POSITION, header_value, json};
use crate::app::App;
use crate::drain::Stage;
use crate::problem::{self, Problem};

/// Events of a page, unless it is asked for others.
const LIMIT_DEFAULT: usize = 100;

/// Events of a page at most.
const LIMIT_MAX: usize = 1_000;

/// Data of a page, about, in bytes: it is held whole until it is written.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The longest wait of a long poll: shorter than proxies' usual patience.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How much, and how long to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    limit: usize,
    wait: Duration,
}

impl Paging {
    /// Reads `?limit=` and `?wait=`.
    ///
    /// # Errors
    /// `invalid-parameter` outside their ranges.
    pub(super) fn parse(query: &Query) -> Result<Self, Problem> {
        let limit = match query.one("limit")? {
            None => LIMIT_DEFAULT,
            Some(text) => digits(text)
                .and_then(|text| text.parse().ok())
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| {
                    params::invalid("limit", format!("limit is a number from 1 to {LIMIT_MAX}"))
                })?,
        };
        let wait = match query.one("wait")? {
            None => Duration::ZERO,
            Some(text) => seconds(text).filter(|wait| *wait <= WAIT_MAX).ok_or_else(|| {
                let detail = format!("wait is a number of seconds from 0 to {}", WAIT_MAX.as_secs());
                params::invalid("wait", detail)
            })?,
        };
        Ok(Self { limit, wait })
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// `20`, `0.25`: no sign, no exponent.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole)?;
    digits(fraction)?;
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Reads a page; with a wait, waits until something is there.
///
/// # Errors
/// `busy` if too many old pages are being read, `internal` if the store cannot be read.
pub(super) async fn answer(app: &App, mut reader: Reader, paging: Paging) -> Result<Response, Problem> {
    let deadline = Instant::now() + paging.wait;
    let (mut before, mut woken) = (None, false);
    loop {
        let page = reader.page(paging.limit, PAGE_BYTES_MAX).await.map_err(unreadable)?;
        let something = !page.events.is_empty() || page.gap.is_some() || page.ended;
        // Not caught up, and not further than before either: let the client ask again.
        let stuck = !page.caught_up && before == Some(page.position);
        // Woken, and still nothing is there: the hub drains.
        if something || stuck || woken || app.drain.is_draining() {
            return Ok(write(&reader, &page));
        }
        before = Some(page.position);
        if !page.caught_up {
            continue;
        }
        if Instant::now() >= deadline {
            return Ok(write(&reader, &page));
        }
        tokio::select! {
            () = reader.changed() => woken = true,
            () = tokio::time::sleep_until(deadline) => {}
            () = app.drain.reached(Stage::Draining) => {}
        }
    }
}

/// All topics have ended and nothing is left: an empty page that says so.
pub(super) fn ended(at: Position) -> Response {
    let page = Page {
        events: Vec::new(),
        next: at.to_string(),
        more: false,
        closed: true,
        gap: None,
        resume: Resume::Exact.as_str(),
    };
    respond(&page, at)
}

fn write(reader: &Reader, page: &ReadPage) -> Response {
    let resume = if page.gap.is_some() { Resume::Gap } else { reader.resume() };
    let document = Page {
        events: page.events.iter().map(Event::of).collect(),
        next: page.position.to_string(),
        more: !page.caught_up && !page.ended,
        closed: page.ended,
        gap: page.gap.as_ref(),
        resume: resume.as_str(),
    };
    respond(&document, page.position)
}

fn respond(page: &Page<'_>, position: Position) -> Response {
    let mut response = json(StatusCode::OK, page);
    response.headers_mut().insert(TIDINGS_RESUME, HeaderValue::from_static(page.resume));
    response.headers_mut().insert(TIDINGS_POSITION, header_value(&position));
    response
}

/// What a client can do about it, and nothing about files.
fn unreadable(error: LogError) -> Problem {
    match error {
        LogError::Busy => Problem::new(&problem::BUSY, error.to_string()).retry_after(1),
        _ => {
            tracing::error!(%error, "history could not be read");
            let detail = "the store could not be read; the hub's log says why, and whoever runs it must act";
            Problem::new(&problem::INTERNAL, detail)
        }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    events: Vec<Event<'a>>,
    /// To be passed as `last_event_id` for what follows.
    next: String,
    more: bool,
    closed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'a Gap>,
    resume: &'static str,
}

#[derive(Serialize)]
struct Event<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    data: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    time: String,
}

impl<'a> Event<'a> {
    fn of(event: &'a ReadEvent) -> Self {
        let (topic, topics) = match event.topics.as_slice() {
            [one] => (Some(one.as_str()), None),
            several => (None, Some(several.iter().map(TopicName::as_str).collect())),
        };
        Self {
            id: event.wire_id(),
            topic,
            topics,
            event: event.event.as_ref().map(EventName::as_str),
            // The hub gives binary data as base64 already.
            encoding: event.binary.then_some("base64"),
            data: String::from_utf8_lossy(&event.data),
            retry: event.retry_ms,
            private: event.private.then_some(true),
            time: rfc3339(event.time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_bounds() {
        let parse = |raw| Paging::parse(&Query::parse(Some(raw), &["limit", "wait"]).unwrap()).ok();
        let paging = |limit, wait_ms| Some(Paging { limit, wait: Duration::from_millis(wait_ms) });
        assert_eq!(parse(""), paging(100, 0));
        assert_eq!(parse("limit=1&wait=0"), paging(1, 0));
        assert_eq!(parse("limit=1000&wait=60"), paging(1_000, 60_000));
        assert_eq!(parse("wait=0.25"), paging(100, 250));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=%2B1",
            "limit=1&limit=2",
            "wait=61",
            "wait=60.1",
            "wait=-1",
            "wait=",
            "wait=.5",
            "wait=1.",
            "wait=1e1",
            "wait=inf",
            "wait=NaN",
            "wait=1.2.3",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
