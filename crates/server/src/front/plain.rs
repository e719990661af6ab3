//! The short way of a publish: one event, to a topic that the path names plainly, by a request of which nothing else
//! matters. No tables of headers are made for it.
//!
//! **Invariant:** its answers are, but for `Date`, those of the long way ([`super::service`]). Whatever might matter and
//! is not looked at here makes a request take the long way, and so does a refusal before the hub is asked
//! (`tests/plain` sends each request both ways).

use std::sync::Arc;
use std::time::Instant;

use axum::response::IntoResponse as _;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    USER_AGENT,
};
use http::{HeaderName, Method, StatusCode};
use tidings_reactor::{Answer, Then};

use super::door::{ANSWER_BYTES, answer, is_stopping, write_end};
use super::request::Head;
use super::service::{Asked, logs_all};
use crate::app::App;
use crate::counters::RouteClass;
use crate::gate::{Access, Cors};
use crate::protocols::native::{Plain, Receipt};

/// Lines that mean nothing here: the door has read what matters of them ([`Head`]).
const READ: [HeaderName; 7] =
    [CONTENT_LENGTH, CONTENT_TYPE, CONNECTION, ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT];

/// A publish that takes the short way, let in.
pub(super) struct Short {
    started: Instant,
    access: Arc<Access>,
    publish: Plain,
    closes: bool,
}

impl Short {
    /// Looks whether a request can take it.
    pub(super) fn new(
        app: &App,
        head: &Head<'_>,
        lines: &[httparse::Header<'_>],
        bytes: &[u8],
    ) -> Option<Self> {
        // Where each request is logged, it is logged in one place.
        if head.method != Method::POST || head.flows || logs_all() {
            return None;
        }
        let started = Instant::now();
        let (host, authorization) = for_the_gate(lines)?;
        let access = app.gate.admit_plain(host, authorization)?;
        let body = bytes.get(head.head_bytes..head.bytes())?;
        let publish = Plain::new(app, &access, head.target, body)?;
        app.counters.plain_publish();
        Some(Self { started, access, publish, closes: head.closes })
    }

    /// Publishes, and answers.
    pub(super) async fn answer(self, app: Arc<App>) -> Answer {
        let Self { started, access, publish, closes } = self;
        let topic = publish.topic().clone();
        match publish.publish(&app).await {
            Ok(receipt) => {
                app.counters.request(RouteClass::Publish, StatusCode::OK);
                app.counters.published(started.elapsed());
                accepted(&receipt, closes || is_stopping(&app))
            }
            // On its own: most publishes need no room for it.
            Err(problem) => {
                let mut response = problem.into_response();
                Cors::unsaid().apply(response.headers_mut());
                let target = format!("/topics/{topic}").parse().ok();
                Asked { started, is_whole: true, method: Method::POST, target }.note(
                    &app,
                    Some(&access),
                    &response,
                );
                Box::pin(answer(response, None, closes || is_stopping(&app))).await
            }
        }
    }
}

/// The `Host` of a request, and its `Authorization`; `None` if any line is not known to mean nothing.
fn for_the_gate<'b>(lines: &[httparse::Header<'b>]) -> Option<(&'b [u8], Option<&'b [u8]>)> {
    let (mut host, mut authorization) = (None, None);
    for line in lines {
        let is = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str());
        let place = match () {
            () if is(&HOST) => &mut host,
            () if is(&AUTHORIZATION) => &mut authorization,
            () if READ.iter().any(is) => continue,
            () => return None,
        };
        if place.replace(line.value).is_some() {
            return None;
        }
    }
    Some((host?, authorization))
}

/// Up to the event's id, and from there to the end of its line and of those that are always the same.
const BEFORE_ID: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntidings-id: ";
const AFTER_ID: &[u8] = b"\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nvary: Origin\r\n";

/// The answer to an event that was accepted.
fn accepted(receipt: &Receipt, closes: bool) -> Answer {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    for part in [BEFORE_ID, receipt.id.as_bytes(), AFTER_ID] {
        bytes.extend_from_slice(part);
    }
    write_end(receipt.body.as_bytes(), true, closes, &mut bytes);
    Answer { bytes, then: if closes { Then::Close } else { Then::Next } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&str, &str)], expected: Option<(&str, Option<&str>)>) {
        let lines: Vec<_> =
            lines.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        let expected = expected.map(|(host, key)| (host.as_bytes(), key.map(str::as_bytes)));
        assert_eq!(for_the_gate(&lines), expected, "{lines:?}");
    }

    #[test]
    fn only_known_lines_take_the_short_way() {
        let host = ("Host", "a");
        check(&[host], Some(("a", None)));
        check(&[("USER-agent", "x"), ("accept", "*/*"), host, ("content-length", "3")], Some(("a", None)));
        check(&[host, ("authorization", "Bearer k")], Some(("a", Some("Bearer k"))));
        check(&[], None);
        check(&[("Accept", "*/*")], None);
        check(&[host, host], None);
        check(&[host, ("Authorization", "a"), ("Authorization", "a")], None);
        for name in [
            "Origin",
            "Cookie",
            "Sec-Fetch-Site",
            "Idempotency-Key",
            "Producer-Id",
            "Producer-Epoch",
            "Producer-Seq",
            "Content-Encoding",
            "Transfer-Encoding",
            "Hosts",
            "X",
        ] {
            check(&[host, (name, "x")], None);
        }
    }
}
