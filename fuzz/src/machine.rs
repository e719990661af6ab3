//! The client's reconnect machine: header values out of hostile ids, and sequences of operations that no driver
//! would make.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidings_client::machine::{Action, Attempt, Machine, Policy};
use tidings_client::{Backoff, EventId, NetworkError, ReadyState, RetryStatuses};

use crate::input::Input;

/// Actions in a row that bring no time on. Redirects are bounded by the machine, far below.
const BUSY_MAX: usize = 64;

/// A stream with any bytes in its ids: the next attempt sends exactly the id that was committed, or none if no
/// header can hold it.
pub fn check_ids(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let start = Instant::now();
    let mut now = start;
    let mut machine = machine(now);
    while !input.is_empty() {
        let mut attempt = connect(&mut machine, &mut now);
        assert_sends(&attempt, machine.last_event_id());
        let told = machine.handle_response(now, StatusCode::OK, event_stream());
        assert!(told.is_some() && machine.ready_state() == ReadyState::Open);
        let stream = [b"id:", input.bytes(40), b"\ndata\n\n".as_slice()].concat();
        let mut chunk = stream.as_slice();
        while machine.handle_bytes(now, &mut chunk).is_some() {}
        assert!(chunk.is_empty());
        let lost = machine.handle_end(now);
        assert!(matches!(lost, Some(Action::Wait { .. })), "{lost:?}");
        attempt = connect(&mut machine, &mut now);
        assert_sends(&attempt, machine.last_event_id());
        let lost = machine.handle_error(now, NetworkError::connected("gone"));
        assert!(matches!(lost, Some(Action::Wait { .. })), "{lost:?}");
    }
}

/// Operations in any order: nothing panics, nothing happens after the end, no attempt begins before its time.
pub fn check_operations(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut now = Instant::now();
    let policy = policy(&mut input);
    let mut machine = Machine::new(now, "http://hub.test/a", Method::GET, policy, 7).expect("a URL");
    while !input.is_empty() {
        let was = machine.ready_state();
        let due = machine.poll_timeout();
        let mut is_timeout = false;
        let action = match input.below(10) {
            0 | 1 => {
                now = due.map_or(now, |due| due.max(now));
                is_timeout = true;
                machine.handle_timeout(now)
            }
            2 => {
                now += Duration::from_millis(u64::from(input.byte()) << input.below(12));
                is_timeout = true;
                machine.handle_timeout(now)
            }
            3 => machine.handle_response(now, StatusCode::OK, event_stream()),
            4 => {
                let status =
                    StatusCode::from_u16(100 + 2 * u16::from(input.byte())).unwrap_or(StatusCode::OK);
                machine.handle_response(now, status, headers(&mut input))
            }
            5 | 6 => {
                let mut chunk = input.bytes(60);
                let mut told = None;
                while !chunk.is_empty() {
                    let before_bytes = chunk.len();
                    told = machine.handle_bytes(now, &mut chunk);
                    assert!(told.is_some() || chunk.is_empty());
                    assert!(chunk.len() < before_bytes || machine.ready_state() == ReadyState::Closed);
                    if machine.ready_state() == ReadyState::Closed {
                        break;
                    }
                }
                told
            }
            7 => machine.handle_end(now),
            8 => machine.handle_error(now, NetworkError::connecting("refused")),
            _ => match input.below(8) {
                2 => {
                    let attempt = machine.retarget(&input.text(20)).ok().flatten();
                    assert!(attempt.is_none_or(|attempt| attempt.redirects == 0 && attempt.with_credentials));
                    assert_eq!(machine.ready_state(), was);
                    None
                }
                0 => {
                    machine.close();
                    None
                }
                1 => {
                    machine.set_last_event_id(EventId::try_from(input.text(9)).unwrap_or_default());
                    None
                }
                _ => machine.reconnect_now(now),
            },
        };
        if was == ReadyState::Closed {
            assert!(action.is_none(), "after the end: {action:?}");
            assert_eq!((machine.ready_state(), machine.poll_timeout()), (ReadyState::Closed, None));
        }
        match action {
            Some(Action::Connect(attempt)) => {
                assert_sends(&attempt, machine.last_event_id());
                assert!(!is_timeout || due.is_some_and(|due| due <= now), "before its time");
                assert_eq!(machine.ready_state(), ReadyState::Connecting);
            }
            Some(Action::Wait { after_ms, .. }) => {
                let due = machine.poll_timeout().expect("who waits says until when");
                assert!(due.duration_since(now) <= Duration::from_millis(after_ms + 1));
                assert_eq!(machine.ready_state(), ReadyState::Connecting);
            }
            Some(Action::Close(_)) => assert_eq!(machine.ready_state(), ReadyState::Closed),
            Some(Action::Tell(_)) => assert_eq!(machine.ready_state(), ReadyState::Open),
            None => {}
        }
    }
}

/// A policy with limits so small that they are met.
fn policy(input: &mut Input<'_>) -> Policy {
    let bits = input.byte();
    let has = |bit: u8| bits & (1 << bit) != 0;
    let mut policy = Policy { comments: has(0), once: has(1), ..Policy::default() };
    if has(2) {
        policy.retry_statuses = RetryStatuses::transient();
    }
    if has(3) {
        policy.backoff = Backoff::exponential(u64::from(input.byte()) << input.below(60));
    }
    if has(4) {
        policy.attempts_max = NonZeroU32::new(1 + u32::from(input.byte()));
    }
    if has(5) {
        policy.stall_timeout_ms = Some(u64::from(input.byte()) << input.below(60));
    }
    if has(6) {
        policy.deduplicate_ids_max = NonZeroUsize::new(1 + input.below(9));
    }
    if has(7) {
        policy.limits.event_bytes_max = input.below(50);
    }
    policy
}

fn machine(now: Instant) -> Machine {
    Machine::new(now, "http://hub.test/a", Method::GET, Policy::default(), 7).expect("a URL")
}

/// Waits as long as it must for the next attempt.
fn connect(machine: &mut Machine, now: &mut Instant) -> Attempt {
    for _ in 0..BUSY_MAX {
        *now = machine.poll_timeout().expect("it wants to connect").max(*now);
        if let Some(Action::Connect(attempt)) = machine.handle_timeout(*now) {
            return attempt;
        }
    }
    panic!("it never connects");
}

fn assert_sends(attempt: &Attempt, id: &EventId) {
    match &attempt.last_event_id {
        Some(value) => assert_eq!(value.as_bytes(), id.as_str().as_bytes()),
        None => assert!(
            id.is_empty() || HeaderValue::from_bytes(id.as_str().as_bytes()).is_err(),
            "{id:?} could be sent"
        ),
    }
}

fn event_stream() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))])
}

fn headers(input: &mut Input<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, LOCATION] {
        if let Ok(value) = HeaderValue::from_bytes(input.bytes(30)) {
            headers.insert(name, value);
        }
    }
    headers
}
