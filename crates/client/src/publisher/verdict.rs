//! What an answer to a publish means: done, again, or never. Pure.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

/// What a hub answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) body: Bytes,
}

impl Answer {
    /// What a problem document says, or the status if it is none.
    fn detail(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        detail.map_or_else(
            || format!("the hub answered {}", self.status),
            |detail| format!("{detail} ({})", self.status.as_u16()),
        )
    }
}

/// What to do after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All events are held by the hub.
    Done {
        /// The id of the last one, as its readers see it.
        last_id: Option<String>,
        /// How many of them had been accepted by an earlier attempt.
        held: u64,
    },
    /// The same body under the same numbers, later.
    Again {
        /// Not before, if the hub said so.
        after_ms: Option<u64>,
        /// For whoever watches.
        why: String,
    },
    /// One event will never be taken. Those before it are held.
    BadItem {
        /// Which one, from 0.
        item: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The hub expects another number.
    Ahead {
        /// What would be next; 0 for a producer that is not known.
        expected: u64,
    },
    /// A later epoch has begun elsewhere.
    Replaced {
        /// For whoever must stop.
        why: String,
    },
    /// Nothing of this will ever be taken.
    Never {
        /// Why.
        why: String,
    },
}

#[derive(Deserialize)]
struct Ack {
    count: u64,
    #[serde(default)]
    held: u64,
    last_id: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    item: Option<usize>,
    expected: Option<u64>,
}

/// Problems that an event brings along: without it the rest of a body would pass.
const OF_THE_EVENT: &[&str] = &["event-too-large", "invalid-event", "invalid-encoding", "not-text"];

/// Judges an answer to `events` events.
pub(super) fn judge(answer: &Answer, events: usize) -> Verdict {
    if answer.status.is_success() {
        return acked(answer, events);
    }
    let after_ms = answer.retry_after_ms;
    let transient = answer.status.is_server_error() || matches!(answer.status.as_u16(), 408 | 425 | 429);
    if transient {
        return Verdict::Again { after_ms, why: answer.detail() };
    }
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let Some(problem) = problem else { return Verdict::Never { why: answer.detail() } };
    match (problem.kind.rsplit(':').next().unwrap_or(""), problem.expected) {
        ("stale-epoch", _) => return Verdict::Replaced { why: answer.detail() },
        ("producer-out-of-order", Some(expected)) => return Verdict::Ahead { expected },
        (slug, _) if OF_THE_EVENT.contains(&slug) => {
            // A single event is a body of its own: the hub has no need to say which one.
            let item = problem.item.or_else(|| (events == 1).then_some(0));
            if let Some(item) = item.filter(|item| *item < events) {
                return Verdict::BadItem { item, why: answer.detail() };
            }
        }
        _ => {}
    }
    Verdict::Never { why: answer.detail() }
}

fn acked(answer: &Answer, events: usize) -> Verdict {
    let ack: Option<Ack> = serde_json::from_slice(&answer.body).ok();
    match ack {
        Some(ack) if usize::try_from(ack.count) == Ok(events) => {
            Verdict::Done { last_id: ack.last_id, held: ack.held }
        }
        // A body that broke off on its way ends where it ended: the rest is not lost, it is sent again.
        Some(ack) => {
            Verdict::Again { after_ms: None, why: format!("the hub took {} of {events} events", ack.count) }
        }
        None if answer.status == StatusCode::OK => {
            Verdict::Never { why: "the answer is not one of a Tidings hub; is the URL right?".to_owned() }
        }
        None => Verdict::Never { why: answer.detail() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, events: usize, expected: Verdict) {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after_ms: (status == 503).then_some(2_000),
            body: body.to_owned().into(),
        };
        assert_eq!(judge(&answer, events), expected, "{status} {body}");
    }

    #[test]
    fn acks_count_only_when_they_are_whole() {
        let done = |held| Verdict::Done { last_id: Some("1.5".into()), held };
        check(200, r#"{"first_id":"1.4","last_id":"1.5","count":2,"held":0}"#, 2, done(0));
        check(200, r#"{"first_id":"1.4","last_id":"1.5","count":2,"held":2}"#, 2, done(2));
        let why = "the hub took 1 of 2 events".to_owned();
        check(200, r#"{"last_id":"1.5","count":1}"#, 2, Verdict::Again { after_ms: None, why });
        let why = "the answer is not one of a Tidings hub; is the URL right?".to_owned();
        check(200, "<html>", 1, Verdict::Never { why });
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let problem = |slug: &str, more: &str| {
            format!(r#"{{"type":"urn:tidings:problem:{slug}","detail":"do it"{more}}}"#)
        };
        let again = |status: u16, after_ms| Verdict::Again { after_ms, why: format!("do it ({status})") };
        check(503, &problem("stopping", r#","item":1,"count":1"#), 2, again(503, Some(2_000)));
        check(500, &problem("internal", ""), 2, again(500, None));
        check(429, &problem("busy", ""), 2, again(429, None));
        let why = "the hub answered 502 Bad Gateway".to_owned();
        check(502, "<html>", 2, Verdict::Again { after_ms: None, why });

        let bad = |status: u16, item| Verdict::BadItem { item, why: format!("do it ({status})") };
        check(413, &problem("event-too-large", r#","item":1"#), 2, bad(413, 1));
        check(413, &problem("event-too-large", ""), 1, bad(413, 0));
        check(400, &problem("invalid-event", r#","item":0"#), 2, bad(400, 0));

        check(
            409,
            &problem("producer-out-of-order", r#","expected":0,"got":7"#),
            2,
            Verdict::Ahead { expected: 0 },
        );
        let why = "do it (403)".to_owned();
        check(403, &problem("stale-epoch", r#","current":4"#), 2, Verdict::Replaced { why });

        let never = |status: u16| Verdict::Never { why: format!("do it ({status})") };
        check(413, &problem("event-too-large", r#","item":9"#), 2, never(413));
        check(409, &problem("topic-closed", r#","item":1"#), 2, never(409));
        check(403, &problem("forbidden", ""), 1, never(403));
        check(404, "", 1, Verdict::Never { why: "the hub answered 404 Not Found".to_owned() });
    }
}
