//! Following a log over connections that are cut anywhere: a server that resumes exactly, or a little early, or repeats
//! itself; bytes in any pieces. Every event is told, in order; with de-duplication, once.

use std::num::NonZeroUsize;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidings_client::machine::{Action, Machine, Policy};
use tidings_client::{Disconnect, NetworkError, ReadyState, SourceEvent};

use crate::input::Input;

/// Events of the server's log; their ids are their numbers, from 1.
const EVENTS: usize = 40;
/// How many events before the right one a server begins at most.
const EARLY_MAX: usize = 8;
/// Exactly what such a server needs: one more and an event would come twice.
const WINDOW: usize = EARLY_MAX;

/// What stands between events, and how their lines end.
const BETWEEN: [&str; 6] = ["", ":beat\n", "retry: 7\n\n", "\n\n", "event: no data\n\n", ":\r\n\r\n"];
const ENDS: [&str; 3] = ["\n", "\r\n", "\r"];

/// The input chooses the policy, then for each connection where the server begins, what it says, how it is cut and how
/// it ends.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let deduplicates = input.below(2) == 1;
    let mut policy = Policy::default();
    if deduplicates {
        policy.deduplicate_ids_max = NonZeroUsize::new(WINDOW);
    }
    let mut now = Instant::now();
    let mut machine = Machine::new(now, "http://hub.test/a", Method::GET, policy, 7).expect("a URL");
    let mut seen = 0;
    while !input.is_empty() {
        now = machine.poll_timeout().expect("it wants to connect").max(now);
        let Some(Action::Connect(attempt)) = machine.handle_timeout(now) else { panic!("it connects") };
        let last = attempt.last_event_id.map_or(0, |id| number(id.to_str().expect("a number")));
        assert_eq!(last, seen, "it resumes exactly behind what was told");
        if input.below(8) == 0 {
            assert!(machine.handle_error(now, NetworkError::connecting("refused")).is_some());
            continue;
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
        assert!(machine.handle_response(now, StatusCode::OK, headers).is_some());

        let early = if deduplicates { input.below(EARLY_MAX + 1) } else { 0 };
        let stream = stream(&mut input, last, early, deduplicates);
        let cut = usize::from(input.byte()) * stream.len() / 255;
        let mut rest = &stream.as_bytes()[..cut];
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at((1 + input.below(40)).min(rest.len()));
            rest = behind;
            while let Some(action) = machine.handle_bytes(now, &mut piece) {
                let Action::Tell(SourceEvent::Message(message)) = action else {
                    panic!("only events: {action:?}")
                };
                let told = number(message.id.as_ref().expect("an id").as_str());
                assert_eq!(message.data, format!("event {told}"), "whole");
                assert_eq!(told, seen + 1, "none is missed, none comes twice");
                seen = told;
            }
        }
        let lost = match input.below(3) {
            0 => machine.handle_end(now),
            1 => machine.reconnect_now(now),
            _ => machine.handle_error(now, NetworkError::connected("reset")),
        };
        assert!(matches!(lost, Some(Action::Wait { .. })), "{lost:?}");
        if let Some(Action::Wait { after_ms, cause: Disconnect::Requested }) = lost {
            assert_eq!(after_ms, 0);
        }
        assert_eq!(machine.ready_state(), ReadyState::Connecting);
    }
}

/// What a server says that was asked to begin behind `last`.
fn stream(input: &mut Input<'_>, last: usize, early: usize, repeats: bool) -> String {
    let mut text = String::new();
    let mut number = last.saturating_sub(early);
    let mut highest = last;
    for _ in 0..input.below(EVENTS) {
        // A server that delivers at least once says some again.
        if repeats && input.below(6) == 0 {
            number = number.saturating_sub(input.below(3)).max(highest.saturating_sub(EARLY_MAX));
        }
        number += 1;
        highest = highest.max(number);
        if number > EVENTS {
            break;
        }
        let end = ENDS[input.below(ENDS.len())];
        text.push_str(BETWEEN[input.below(BETWEEN.len())]);
        let id = format!("id: {number}{end}");
        let data = format!("data: event {number}{end}");
        let (first, second) = if input.below(2) == 0 { (id, data) } else { (data, id) };
        text.extend([first.as_str(), &second, end]);
    }
    text
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
