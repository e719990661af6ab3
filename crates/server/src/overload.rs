//! What a full hub answers, and when it asks refused clients to come back.
//!
//! An `EventSource` that meets a 5xx gives up for good. So it gets a stream that only says when to come back and
//! ends in an orderly way; clients that did not ask for an event stream get 503.
//!
//! **Invariant:** clients are asked back at no more than a set rate, however many are refused: each refusal is
//! remembered until its client is due, and the next one is put behind all that are.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method, request};
use parking_lot::Mutex;

use crate::app::App;
use crate::config::Overload;
use crate::problem::{self, Kind, Problem};

/// The shortest and longest time that a refused client is sent away for, in milliseconds.
const AWAY_MS: std::ops::RangeInclusive<u64> = 1_000..=60_000;

impl App {
    /// The answer to a subscription for which there is no room.
    pub fn overload_response(&self, parts: &request::Parts, subscribers: usize, limit: usize) -> Response {
        self.counters.overloaded();
        let excess = subscribers.saturating_sub(limit);
        let away_ms = self.returns.refuse(Instant::now(), excess);
        let problem = |seconds| {
            Problem::new(&problem::BUSY, "no room for another stream; come back after Retry-After seconds")
                .with("limit", limit)
                .retry_after(seconds)
        };
        self.send_away(parts, away_ms, problem)
    }

    /// The answer to a subscription while the server drains: another hub, or this one after its restart, is there
    /// soon.
    pub fn draining_response(&self, parts: &request::Parts) -> Response {
        let away_ms = self.returns.refuse(Instant::now(), 0);
        self.send_away(parts, away_ms, |seconds| stopping(&problem::STOPPING, seconds))
    }

    fn send_away(
        &self,
        parts: &request::Parts,
        away_ms: u64,
        problem: impl FnOnce(u64) -> Problem,
    ) -> Response {
        let seconds = away_ms.div_ceil(1_000);
        if self.config.overload == Overload::EventSource && wants_event_stream(&parts.method, &parts.headers)
        {
            let mut response = Response::new(Body::from(format!("retry: {away_ms}\n\n")));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        problem(seconds).into_response()
    }
}

fn stopping(kind: &'static Kind, seconds: u64) -> Problem {
    Problem::new(kind, "the hub is shutting down; come back after Retry-After seconds").retry_after(seconds)
}

/// Whether this is an `EventSource`, in a browser or in any other language: it says so by name in `Accept`, and all
/// of them obey the standard's rule about a 5xx. What takes anything (`*/*`) or JSON can read a status.
pub fn wants_event_stream(method: &Method, headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|item| {
                item.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/event-stream")
            })
        })
    };
    method == Method::GET && headers.get_all(ACCEPT).iter().any(named)
}

/// When refused clients were asked to come back.
#[derive(Debug)]
pub(crate) struct Returns {
    per_s: u64,
    noise: RandomState,
    due: Mutex<Due>,
}

#[derive(Debug, Default)]
struct Due {
    start: Option<Instant>,
    /// The second, since `start`, that the first bucket stands for.
    first_s: u64,
    /// How many clients come back in each second from `first_s` on.
    buckets: VecDeque<u64>,
    /// The sum of the buckets.
    away: u64,
    refused: u64,
}

impl Returns {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s: u64::from(per_s.max(1)), noise: RandomState::new(), due: Mutex::default() }
    }

    /// Refuses a client: for how many milliseconds it should stay away. `excess`: how many have to leave before
    /// anybody can be let in.
    pub(crate) fn refuse(&self, now: Instant, excess: usize) -> u64 {
        let mut due = self.due.lock();
        let start = *due.start.get_or_insert(now);
        let now_s = now.saturating_duration_since(start).as_secs();
        due.forget_until(now_s);
        due.refused += 1;
        let ahead = due.away.saturating_add(u64::try_from(excess).unwrap_or(u64::MAX));
        let middle_ms = (ahead.saturating_mul(1_000) / self.per_s).max(*AWAY_MS.start());
        // Three quarters to five quarters of it, so that what was refused together does not return together.
        let spread = self.noise.hash_one(due.refused) % 512;
        let away_ms = middle_ms.saturating_mul(768 + spread) / 1_024;
        let away_ms = away_ms.clamp(*AWAY_MS.start(), *AWAY_MS.end());
        due.expect(away_ms / 1_000);
        away_ms
    }
}

impl Due {
    fn forget_until(&mut self, now_s: u64) {
        while self.first_s < now_s {
            match self.buckets.pop_front() {
                Some(count) => self.away = self.away.saturating_sub(count),
                None => {
                    self.first_s = now_s;
                    return;
                }
            }
            self.first_s += 1;
        }
    }

    fn expect(&mut self, in_s: u64) {
        let place = usize::try_from(in_s).unwrap_or(usize::MAX).min(60);
        if self.buckets.len() <= place {
            self.buckets.resize(place + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
            self.away += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn returns_are_spread_over_the_rate_and_bounded() {
        let (returns, start) = (Returns::new(100), Instant::now());
        let mut per_second = [0u32; 61];
        for _ in 0..2_000 {
            let away_ms = returns.refuse(start, 0);
            assert!(AWAY_MS.contains(&away_ms));
            per_second[usize::try_from(away_ms / 1_000).unwrap()] += 1;
        }
        // 2,000 clients at 100 a second fill about 20 seconds; none of them gets a stampede.
        assert!(per_second[30..].iter().all(|n| *n == 0), "{per_second:?}");
        assert!(per_second[3..15].iter().all(|n| (50..=170).contains(n)), "{per_second:?}");
        // Half a minute later all are due again, and the first one waits the shortest time.
        let later = start + Duration::from_secs(61);
        assert!(returns.refuse(later, 0) <= 1_250);
        assert_eq!(returns.refuse(later, usize::MAX), 60_000);
    }

    #[test]
    fn an_event_source_is_known_by_its_accept() {
        let check = |method: Method, accept: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(wants_event_stream(&method, &headers), expected, "{method} {accept:?}");
        };
        check(Method::GET, Some("text/event-stream"), true);
        check(Method::GET, Some("application/json;q=0.5, Text/Event-Stream; q=1"), true);
        check(Method::GET, Some("*/*"), false);
        check(Method::GET, Some("application/json"), false);
        check(Method::GET, None, false);
        check(Method::POST, Some("text/event-stream"), false);
    }
}
