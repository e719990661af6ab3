//! The machine as a table: told this, it wants that. No socket, no clock.

use std::num::{NonZeroU32, NonZeroUsize};

use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};

use tidings_codec::DecodeLimits;

use super::*;
use crate::Backoff;

const STREAM: (HeaderName, &str) = (CONTENT_TYPE, "text/event-stream");

/// A machine and the time it is told.
struct World {
    machine: Machine,
    now: Instant,
}

impl World {
    fn new(policy: Policy) -> Self {
        let now = Instant::now();
        let machine = Machine::new(now, "http://hub.test/topics/a", Method::GET, policy, 7).unwrap();
        Self { machine, now }
    }

    /// A machine whose first stream is open.
    fn open(policy: Policy) -> Self {
        let mut world = Self::new(policy);
        world.connects();
        world.opens();
        world
    }

    #[track_caller]
    fn connects(&mut self) -> Attempt {
        match self.machine.handle_timeout(self.now) {
            Some(Action::Connect(attempt)) => attempt,
            other => panic!("it should connect: {other:?}"),
        }
    }

    fn answered(&mut self, status: u16, headers: &[(HeaderName, &str)]) -> Option<Action> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        self.machine.handle_response(self.now, status, headers.collect())
    }

    #[track_caller]
    fn opens(&mut self) {
        let action = self.answered(200, &[STREAM]);
        assert!(matches!(action, Some(Action::Tell(SourceEvent::Open { .. }))), "{action:?}");
        assert_eq!(self.machine.ready_state(), ReadyState::Open);
    }

    /// What is told of `bytes`, as text.
    #[track_caller]
    fn reads(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(action) = self.machine.handle_bytes(self.now, &mut bytes) {
            told.push(match action {
                Action::Tell(SourceEvent::Message(message)) => format!("{}: {}", message.event, message.data),
                Action::Tell(SourceEvent::Id(id)) => format!("id {id}"),
                Action::Tell(SourceEvent::Comment(text)) => format!("comment {text}"),
                other => panic!("not to be told: {other:?}"),
            });
        }
        assert!(bytes.is_empty());
        told
    }

    /// The wait that `action` asks for; the time then passes.
    #[track_caller]
    fn waits(&mut self, action: Option<Action>) -> u64 {
        let Some(Action::Wait { after_ms, .. }) = action else { panic!("it should wait: {action:?}") };
        assert_eq!(self.machine.ready_state(), ReadyState::Connecting);
        let due = self.now + Duration::from_millis(after_ms);
        assert_eq!(self.machine.poll_timeout(), Some(due));
        if after_ms > 0 {
            assert!(
                self.machine.handle_timeout(due - Duration::from_nanos(1)).is_none(),
                "not before its time"
            );
        }
        self.now = due;
        after_ms
    }

    #[track_caller]
    fn ends(&mut self) -> u64 {
        let action = self.machine.handle_end(self.now);
        self.waits(action)
    }

    #[track_caller]
    fn fails(&mut self) -> u64 {
        let action = self.machine.handle_error(self.now, NetworkError::connecting("refused"));
        self.waits(action)
    }

    /// Whatever it is told from now on, it wants nothing.
    #[track_caller]
    fn stays_over(mut self) {
        assert_eq!(self.machine.ready_state(), ReadyState::Closed);
        assert_eq!(self.machine.poll_timeout(), None);
        let later = self.now + Duration::from_secs(1_000_000);
        assert!(self.machine.handle_timeout(later).is_none());
        assert!(self.machine.reconnect_now(later).is_none());
        assert!(self.machine.handle_end(later).is_none());
        assert!(self.machine.handle_error(later, NetworkError::connected("reset")).is_none());
        assert!(self.answered(200, &[STREAM]).is_none());
        assert_eq!(self.reads(b"data: a\n\n"), [""; 0]);
    }
}

fn policy() -> Policy {
    Policy::default()
}

#[test]
fn it_connects_at_once_and_without_an_id() {
    let mut world = World::new(policy());
    assert_eq!(world.machine.ready_state(), ReadyState::Connecting);
    let attempt = world.connects();
    assert_eq!(attempt.uri, "http://hub.test/topics/a");
    assert_eq!((attempt.method, attempt.last_event_id), (Method::GET, None));
    assert!(attempt.with_body && attempt.with_credentials);
    assert!(world.machine.handle_timeout(world.now).is_none(), "one request at a time");
}

#[test]
fn every_status_but_200_ends_it() {
    for status in
        [100, 201, 202, 205, 206, 299, 300, 304, 400, 401, 403, 404, 408, 410, 429, 500, 502, 503, 504]
    {
        let mut world = World::new(policy());
        world.connects();
        let action = world.answered(status, &[STREAM]);
        let expected = StatusCode::from_u16(status).unwrap();
        assert!(
            matches!(&action, Some(Action::Close(Some(SourceError::Status { status }))) if *status == expected),
            "{action:?}"
        );
        world.stays_over();
    }
}

#[test]
fn another_type_ends_it() {
    let mut world = World::new(policy());
    world.connects();
    let action = world.answered(200, &[(CONTENT_TYPE, "text/html")]);
    assert!(matches!(action, Some(Action::Close(Some(SourceError::WrongType { .. })))), "{action:?}");
    world.stays_over();
}

#[test]
fn no_content_ends_it_without_an_error() {
    let mut world = World::open(Policy { retry_statuses: RetryStatuses::custom(|_| true), ..policy() });
    world.ends();
    world.connects();
    let action = world.answered(204, &[]);
    assert!(matches!(action, Some(Action::Close(None))), "{action:?}");
    world.stays_over();
}

#[test]
fn close_ends_it_in_every_state() {
    let check = |mut world: World| {
        world.machine.close();
        world.stays_over();
    };
    check(World::new(policy()));
    check(World::open(policy()));
    let mut requesting = World::new(policy());
    requesting.connects();
    check(requesting);
    let mut waiting = World::open(policy());
    waiting.ends();
    check(waiting);
}

#[test]
fn the_end_and_any_failure_of_the_network_lead_back() {
    let mut world = World::new(policy());
    world.connects();
    assert_eq!(world.fails(), Policy::DEFAULT_RETRY_MS, "also at the first attempt");
    world.connects();
    world.opens();
    assert_eq!(world.ends(), Policy::DEFAULT_RETRY_MS);
    world.connects();
    world.opens();
    assert_eq!(world.fails(), Policy::DEFAULT_RETRY_MS);
    world.connects();
}

#[test]
fn what_was_told_last_is_sent() {
    let check = |stream: &str, sent: Option<&[u8]>| {
        let mut world = World::open(policy());
        world.reads(stream.as_bytes());
        world.ends();
        let id = world.connects().last_event_id;
        assert_eq!(id.as_ref().map(HeaderValue::as_bytes), sent, "{stream:?}");
    };
    check("data: a\n\n", None);
    check("id: 1\ndata: a\n\n", Some(b"1"));
    check("id: 1\n\n", Some(b"1"));
    check("id: 1\ndata: a\n\nid\ndata: b\n\n", None);
    check("id: 1\ndata: a\n\nid: 2\ndata: cut off", Some(b"1"));
    check("id: …\n\n", Some("…".as_bytes()));
    check("id: a\tb\n\n", Some(b"a\tb"));
    // No header can hold these: they are kept, not sent, and it goes on.
    check("id: a\u{1}b\n\n", None);
    check("id: \u{7f}\n\n", None);
}

#[test]
fn what_was_read_but_not_told_does_not_count() {
    let mut world = World::open(policy());
    let mut bytes: &[u8] = b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n";
    assert!(world.machine.handle_bytes(world.now, &mut bytes).is_some());
    let action = world.machine.reconnect_now(world.now);
    assert_eq!(world.waits(action), 0);
    assert_eq!(world.connects().last_event_id, Some(HeaderValue::from_static("1")));
}

#[test]
fn the_id_survives_a_connection_that_brings_none() {
    let mut world = World::new(policy());
    world.machine.set_last_event_id(EventId::parse("seed").unwrap());
    for _ in 0..3 {
        assert_eq!(world.connects().last_event_id, Some(HeaderValue::from_static("seed")));
        world.opens();
        assert_eq!(world.reads(b"\xef\xbb\xbfdata: a\n\n"), ["message: a"], "and each may begin with a BOM");
        world.ends();
    }
    assert_eq!(world.machine.last_event_id(), &"seed");
}

#[test]
fn the_server_says_how_long_to_wait() {
    let check = |stream: &[u8], wait_ms: u64| {
        let mut world = World::open(Policy { retry_ms: 1_234, ..policy() });
        world.reads(stream);
        assert_eq!(world.ends(), wait_ms, "{}", stream.escape_ascii());
    };
    check(b"data: a\n\n", 1_234);
    check(b"retry: 10\n", 10);
    check(b"retry: 0\n", 0);
    check(b"retry: +5\n", 1_234);
    check(b"retry: 10\nretry:\n", 1_234);
    check(b"retry: 99999999999999999999999\n", WAIT_MS_MAX);
}

#[test]
fn the_time_to_wait_stays_for_further_failures() {
    let mut world = World::open(policy());
    world.reads(b"retry: 500\n\n");
    assert_eq!(world.ends(), 500);
    world.connects();
    assert_eq!(world.fails(), 500);
    world.connects();
    assert_eq!(world.fails(), 500);
}

#[test]
fn no_wait_is_no_busy_loop_when_attempts_fail() {
    let mut world = World::open(policy());
    world.reads(b"retry: 0\ndata: a\n\n");
    assert_eq!(world.ends(), 0);
    world.connects();
    assert!(world.fails() > 0);
    world.connects();
    assert!(world.fails() > 0);
}

#[test]
fn one_stream_and_no_more() {
    let once = || Policy { once: true, retry_statuses: RetryStatuses::transient(), ..policy() };
    let mut world = World::open(once());
    assert_eq!(world.reads(b"data: a\n\n"), ["message: a"]);
    let action = world.machine.handle_end(world.now);
    assert!(matches!(action, Some(Action::Close(None))), "{action:?}");
    world.stays_over();

    let mut world = World::open(once());
    let action = world.machine.handle_error(world.now, NetworkError::connected("reset"));
    let lost = |action: &Option<Action>| matches!(action, Some(Action::Close(Some(SourceError::Lost(_)))));
    assert!(lost(&action), "{action:?}");
    world.stays_over();

    let mut world = World::new(once());
    world.connects();
    let action = world.answered(503, &[]);
    assert!(lost(&action), "{action:?}");
    world.stays_over();

    let mut world = World::open(once());
    let action = world.machine.reconnect_now(world.now);
    assert_eq!(world.waits(action), 0, "the caller may ask for another");
}

#[test]
fn so_many_attempts_in_a_row_that_came_to_nothing_and_no_more() {
    let three = || Policy {
        attempts_max: NonZeroU32::new(3),
        retry_statuses: RetryStatuses::transient(),
        ..policy()
    };
    let exhausted = |action: &Option<Action>| {
        matches!(action, Some(Action::Close(Some(SourceError::Exhausted { attempts: 3, .. }))))
    };
    let mut world = World::new(three());
    world.connects();
    world.fails();
    world.connects();
    let busy = world.answered(503, &[]);
    world.waits(busy);
    world.connects();
    world.opens();
    // Asked for by the caller, it is nobody's failure.
    let asked = world.machine.reconnect_now(world.now);
    world.waits(asked);
    world.connects();
    world.opens();
    let third = world.machine.handle_end(world.now);
    assert!(exhausted(&third), "an answer that ends at once is nothing: {third:?}");
    world.stays_over();

    // What brought something, or held, begins the count anew.
    let mut world = World::new(three());
    for brought in [&b"id: 1\n\n"[..], b"data: a\n\n", b""] {
        for _ in 0..2 {
            world.connects();
            world.fails();
        }
        world.connects();
        world.opens();
        world.reads(brought);
        if brought.is_empty() {
            world.now += Duration::from_millis(Policy::DEFAULT_RETRY_MS + 1);
        }
        world.ends();
    }
    for _ in 0..2 {
        world.connects();
        world.fails();
    }
    world.connects();
    let third = world.machine.handle_error(world.now, NetworkError::connecting("refused"));
    assert!(exhausted(&third), "{third:?}");
}

#[test]
fn comments_are_told_if_asked_for() {
    let stream = b": hi\ndata: a\n\nid: 1\n\n";
    assert_eq!(World::open(policy()).reads(stream), ["message: a", "id 1"]);
    let aloud = Policy { comments: true, ..policy() };
    assert_eq!(World::open(aloud).reads(stream), ["comment  hi", "message: a", "id 1"]);
}

#[test]
fn transient_statuses_are_tried_again_if_asked_for() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let mut world = World::new(Policy { retry_statuses: RetryStatuses::transient(), ..policy() });
        world.connects();
        let action = world.answered(status, &[]);
        assert_eq!(world.waits(action), Policy::DEFAULT_RETRY_MS, "{status}");
        world.connects();
        world.opens();
    }
    let mut world = World::new(Policy { retry_statuses: RetryStatuses::transient(), ..policy() });
    world.connects();
    assert!(matches!(world.answered(404, &[]), Some(Action::Close(Some(_)))));
}

#[test]
fn retry_after_makes_the_wait_longer_never_shorter() {
    let check = |seconds: &str, wait_ms: u64| {
        let mut world = World::new(Policy { retry_statuses: RetryStatuses::transient(), ..policy() });
        world.connects();
        let action = world.answered(503, &[(RETRY_AFTER, seconds)]);
        assert_eq!(world.waits(action), wait_ms, "{seconds}");
    };
    check("10", 10_000);
    check("1", 3_000);
    check("99999999999999", WAIT_MS_MAX);
    check("soon", 3_000);
}

#[test]
fn redirects_are_followed_within_the_attempt_and_forgotten_after_it() {
    let mut world = World::new(policy());
    world.machine.set_last_event_id(EventId::parse("7").unwrap());
    world.connects();
    let action = world.answered(307, &[(LOCATION, "http://other.test/b")]);
    let Some(Action::Connect(attempt)) = action else { panic!("it follows: {action:?}") };
    assert_eq!(attempt.uri, "http://other.test/b");
    assert!(!attempt.with_credentials);
    assert_eq!(attempt.last_event_id, Some(HeaderValue::from_static("7")));
    world.opens();
    world.ends();
    let attempt = world.connects();
    assert_eq!(attempt.uri, "http://hub.test/topics/a");
    assert!(attempt.with_credentials);
}

#[test]
fn a_redirect_to_nowhere_ends_it_and_a_loop_waits() {
    let mut world = World::new(policy());
    world.connects();
    let action = world.answered(301, &[]);
    assert!(matches!(action, Some(Action::Close(Some(SourceError::BadRedirect { .. })))), "{action:?}");
    world.stays_over();

    let mut world = World::new(policy());
    world.connects();
    let last = loop {
        match world.answered(302, &[(LOCATION, "/again")]) {
            Some(Action::Connect(_)) => {}
            other => break other,
        }
    };
    assert!(
        matches!(last, Some(Action::Wait { cause: Disconnect::TooManyRedirects { .. }, .. })),
        "{last:?}"
    );
}

#[test]
fn a_silent_connection_is_given_up_if_asked_for() {
    let mut world = World::open(Policy { stall_timeout_ms: Some(1_000), ..policy() });
    // Any byte counts, also one that means nothing.
    for _ in 0..5 {
        world.now += Duration::from_millis(999);
        assert!(world.machine.handle_timeout(world.now).is_none());
        world.reads(b":");
    }
    world.now += Duration::from_millis(1_000);
    let action = world.machine.handle_timeout(world.now);
    assert!(
        matches!(action, Some(Action::Wait { cause: Disconnect::Stalled { silent_ms: 1_000 }, .. })),
        "{action:?}"
    );
    world.waits(action);

    // So is a server that takes the request and says nothing.
    world.connects();
    world.now += Duration::from_millis(1_000);
    let action = world.machine.handle_timeout(world.now);
    world.waits(action);
    assert!(World::open(policy()).machine.poll_timeout().is_none(), "by the standard it waits forever");
}

#[test]
fn an_event_beyond_the_limit_ends_it() {
    let limits = DecodeLimits { event_bytes_max: 4 };
    let mut world = World::open(Policy { limits, ..policy() });
    let mut bytes: &[u8] = b"data: 12345\n\n";
    let action = world.machine.handle_bytes(world.now, &mut bytes);
    assert!(
        matches!(action, Some(Action::Close(Some(SourceError::EventTooLarge { limit_bytes: 4 })))),
        "{action:?}"
    );
    world.stays_over();
}

#[test]
fn a_reconnect_that_is_asked_for_does_not_wait() {
    let mut world = World::open(policy());
    let action = world.machine.reconnect_now(world.now);
    assert!(matches!(action, Some(Action::Wait { after_ms: 0, cause: Disconnect::Requested })), "{action:?}");
    world.connects();
    // Nor does it go on waiting.
    let action = world.machine.handle_error(world.now, NetworkError::connecting("refused"));
    assert!(matches!(action, Some(Action::Wait { after_ms: 3_000, .. })));
    assert!(world.machine.handle_timeout(world.now).is_none());
    assert!(world.machine.reconnect_now(world.now).is_none());
    world.connects();
}

#[test]
fn backoff_grows_while_attempts_fail_and_begins_anew_when_something_came() {
    let backoff = Backoff::exponential(60_000);
    let mut world = World::new(Policy { retry_ms: 1_000, backoff, ..policy() });
    let mut longest = 0;
    for _ in 0..40 {
        world.connects();
        longest = longest.max(world.fails());
    }
    assert!((10_000..=60_000).contains(&longest), "{longest}");

    world.connects();
    world.opens();
    world.reads(b"data: a\n\n");
    assert!(world.ends() <= 1_000, "an event came");

    for _ in 0..40 {
        world.connects();
        world.opens();
        longest = world.ends();
        if longest > 10_000 {
            break;
        }
    }
    assert!(longest > 10_000, "a stream that ends without a word is a failure: {longest}");

    world.connects();
    world.opens();
    world.now += Duration::from_millis(60_001);
    assert!(world.ends() <= 1_000, "it held");
}

#[test]
fn jitter_comes_from_the_seed() {
    let waits = |seed| {
        let now = Instant::now();
        let policy = Policy { backoff: Backoff::exponential(60_000), ..policy() };
        let machine = Machine::new(now, "http://hub.test/", Method::GET, policy, seed).unwrap();
        let mut world = World { machine, now };
        std::iter::repeat_with(|| {
            world.connects();
            world.fails()
        })
        .take(8)
        .collect::<Vec<_>>()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn an_attempt_can_be_sent_elsewhere_before_it_was_redirected_and_only_it() {
    let mut world = World::new(policy());
    assert!(world.machine.retarget("http://other.test/b").unwrap().is_none(), "nothing has begun");
    world.connects();
    assert!(world.machine.retarget("other").is_err());
    let attempt = world.machine.retarget("http://other.test/b").unwrap().unwrap();
    assert_eq!((attempt.uri.to_string().as_str(), attempt.redirects), ("http://other.test/b", 0));
    let Some(Action::Connect(hop)) = world.answered(307, &[(LOCATION, "/c")]) else { panic!("it follows") };
    assert_eq!((hop.uri.to_string().as_str(), hop.with_credentials), ("http://other.test/c", true));
    assert!(world.machine.retarget("http://hub.test/").unwrap().is_none(), "it was redirected");
    world.opens();
    assert!(world.machine.retarget("http://hub.test/").unwrap().is_none(), "it is open");
    world.ends();
    assert_eq!(world.connects().uri, "http://hub.test/topics/a");
    world.machine.close();
    assert!(world.machine.retarget("http://hub.test/").unwrap().is_none());
}

#[test]
fn a_duplicate_is_not_told_and_does_not_move_the_place_to_resume_from() {
    let policy = Policy { deduplicate_ids_max: NonZeroUsize::new(9), ..policy() };
    let mut world = World::new(policy);
    world.machine.set_last_event_id(EventId::parse("0").unwrap());
    world.connects();
    world.opens();
    assert_eq!(world.reads(b"id:0\ndata\n\nid:1\ndata:a\n\nid:2\ndata:b\n\n"), ["message: a", "message: b"]);
    assert_eq!(world.reads(b"id:1\ndata:a\n\n"), [""; 0]);
    assert_eq!((world.machine.last_event_id().as_str(), world.machine.duplicates()), ("2", 2));
    // A server that begins early each time is not asked to begin earlier and earlier.
    for _ in 0..3 {
        world.ends();
        assert_eq!(world.connects().last_event_id, Some(HeaderValue::from_static("2")));
        world.opens();
        assert_eq!(world.reads(b"id:1\ndata:a\n\n"), [""; 0]);
    }
    // What is told counts, with the id that the standard gives it.
    assert_eq!(world.reads(b"data:c\n\n"), ["message: c"]);
    assert_eq!(world.machine.last_event_id().as_str(), "1");
    assert_eq!(world.reads(b"id:2\n\n"), ["id 2"]);
    assert_eq!(world.machine.last_event_id().as_str(), "2");
    assert_eq!(world.reads(b"id:1\ndata:cut"), [""; 0]);
    world.ends();
    assert_eq!(world.connects().last_event_id, Some(HeaderValue::from_static("2")));
}
