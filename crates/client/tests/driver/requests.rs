//! What is sent, and what the answer's head makes of it.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidings_client::{BuildError, EventId, EventSource, Listeners, ReadyState, SourceEvent};

use crate::server::{CHUNKED, STREAM, Server, Step, says, write};
use crate::{source, tells};

#[tokio::test]
async fn the_first_request_is_the_standards() {
    let mut server = Server::start(vec![says(STREAM, "data: a\n\n")]).await;
    let mut source = source(&server).build().expect("a source");
    assert_eq!(source.ready_state(), ReadyState::Connecting);
    tells(&mut source, &["open 200", "message \"a\" after \"\""]).await;
    assert_eq!(source.ready_state(), ReadyState::Open);
    let request = server.request().await;
    assert_eq!(request.line(), "GET /stream HTTP/1.1");
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.header("cache-control"), Some("no-cache"));
    assert_eq!(request.header("host"), Some(server.address().to_string().as_str()));
    assert_eq!(request.header("last-event-id"), None);
    assert_eq!(request.header("accept-encoding"), None);
    assert_eq!(request.header("content-length"), None);
}

#[tokio::test]
async fn an_id_is_sent_as_it_is() {
    let mut server = Server::start(vec![says(STREAM, "")]).await;
    let id = EventId::parse("ü…1").expect("an id");
    let mut source = source(&server).last_event_id(id).build().expect("a source");
    tells(&mut source, &["open 200"]).await;
    assert_eq!(server.request().await.header("last-event-id"), Some("ü…1"));
}

#[tokio::test]
async fn method_body_and_headers_are_sent_again_on_every_reconnect() {
    let mut server = Server::start(vec![says(STREAM, "id: 1\ndata: a\n\n"), says(STREAM, "")]).await;
    let source = source(&server).method(Method::POST).body("question").header("Content-Type", "text/plain");
    let mut source = source.header("accept", "*/*").header("x-a", "1").build().expect("a source");
    let expected =
        ["open 200", "message \"a\" after \"1\"", "lost: the stream ended, again in 5", "open 200"];
    tells(&mut source, &expected).await;
    for id in [None, Some("1")] {
        let request = server.request().await;
        assert_eq!((request.line(), request.body()), ("POST /stream HTTP/1.1", "question"));
        assert_eq!(request.header("content-type"), Some("text/plain"));
        assert_eq!(request.header("accept"), Some("*/*"), "the caller's own counts");
        assert_eq!(request.header("x-a"), Some("1"));
        assert_eq!(request.header("last-event-id"), id);
    }
}

#[tokio::test]
async fn fresh_headers_are_made_once_an_attempt_and_a_failure_is_tried_again() {
    let moved = "HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let mut server = Server::start(vec![vec![write(moved)], says(STREAM, ""), says(STREAM, "")]).await;
    let mut made = 0;
    let source = source(&server).header("authorization", "old").header("x-a", "1").fresh_headers(move || {
        made += 1;
        async move {
            tokio::task::yield_now().await;
            if made == 2 {
                return Err("no token".into());
            }
            let token = HeaderValue::try_from(format!("token {made}"))?;
            let forged = (HeaderName::from_static("last-event-id"), HeaderValue::from_static("forged"));
            Ok(HeaderMap::from_iter([(AUTHORIZATION, token), forged]))
        }
    });
    let mut source = source.retry_ms(5).build().expect("a source");
    let ended = "lost: the stream ended, again in 5";
    let lines = ["open 200", ended, "lost while connecting, again in 100", "open 200"];
    tells(&mut source, &lines).await;
    for token in ["token 1", "token 1", "token 3"] {
        let request = server.request().await;
        assert_eq!((request.header("authorization"), request.header("x-a")), (Some(token), Some("1")));
        assert_eq!(request.header("last-event-id"), None);
    }
}

#[tokio::test]
async fn one_stream_and_no_more() {
    let broken = vec![write(CHUNKED), write("9\r\ndata: a\n\n\r\n"), Step::Pause, write("ff\r\n")];
    let server = Server::start(vec![says(STREAM, "data: a\n\n"), broken]).await;
    let once = || source(&server).once(true).build().expect("a source");
    tells(&mut once(), &["open 200", "message \"a\" after \"\"", "ended", "none"]).await;
    let mut second = once();
    tells(&mut second, &["open 200", "message \"a\" after \"\""]).await;
    let line = crate::told(&mut second).await;
    assert!(line.starts_with("error: the stream broke off: the connection failed"), "{line}");
    tells(&mut second, &["none"]).await;
}

#[tokio::test]
async fn user_information_becomes_basic_authentication() {
    let mut server = Server::start(vec![says(STREAM, "")]).await;
    let url = format!("http://al%20ice:p%40ss@{}/", server.address());
    let mut source = EventSource::builder(&url).build().expect("a source");
    tells(&mut source, &["open 200"]).await;
    let request = server.request().await;
    assert_eq!(request.header("authorization"), Some("Basic YWwgaWNlOnBAc3M="));
    assert_eq!(request.header("host"), Some(server.address().to_string().as_str()));
    assert_eq!(request.line(), "GET / HTTP/1.1");
}

#[tokio::test]
async fn credentials_stay_behind_when_the_origin_changes() {
    let mut other = Server::start(vec![says(STREAM, "data: a\n\n")]).await;
    let away = format!("HTTP/1.1 307 Away\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url("/b"));
    let here = "HTTP/1.1 302 Here\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n".to_owned();
    let mut server = Server::start(vec![vec![write(here)], vec![write(away)]]).await;
    let source =
        source(&server).header("authorization", "Bearer s").header("cookie", "c=1").header("x-a", "1");
    let mut source = source.last_event_id(EventId::parse("7").expect("an id")).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"7\""]).await;

    let (first, second, third) = (server.request().await, server.request().await, other.request().await);
    assert_eq!(second.line(), "GET /there HTTP/1.1");
    for request in [&first, &second] {
        assert_eq!(request.header("authorization"), Some("Bearer s"));
        assert_eq!(request.header("cookie"), Some("c=1"));
    }
    assert_eq!(third.line(), "GET /b HTTP/1.1");
    assert_eq!((third.header("authorization"), third.header("cookie")), (None, None));
    assert_eq!((third.header("x-a"), third.header("last-event-id")), (Some("1"), Some("7")));
}

#[tokio::test]
async fn a_post_that_becomes_a_get_leaves_its_body_and_what_describes_it() {
    let see_other = "HTTP/1.1 303 See\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let mut server = Server::start(vec![vec![write(see_other)], says(STREAM, "")]).await;
    let source = source(&server).method(Method::POST).body("question");
    let mut source = source.header("content-type", "text/plain").build().expect("a source");
    tells(&mut source, &["open 200"]).await;
    assert_eq!(server.request().await.body(), "question");
    let second = server.request().await;
    assert_eq!((second.line(), second.body()), ("GET /b HTTP/1.1", ""));
    assert_eq!(second.header("content-type"), None);
}

#[tokio::test]
async fn redirects_that_lead_nowhere_end_it() {
    for location in ["", "Location: \r\n", "Location: ftp://a/\r\n"] {
        let head = format!("HTTP/1.1 301 Moved\r\n{location}Content-Length: 0\r\n\r\n");
        let server = Server::start(vec![vec![write(head)]]).await;
        let mut source = source(&server).build().expect("a source");
        let line = crate::told(&mut source).await;
        assert!(line.starts_with("error: the server answered 301"), "{line}");
        tells(&mut source, &["none"]).await;
    }
}

#[tokio::test]
async fn a_status_or_a_type_that_is_not_a_stream_ends_it() {
    let check = async |answer: &str, error: &str| {
        let server = Server::start(vec![vec![write(answer)]]).await;
        let mut source = source(&server).build().expect("a source");
        tells(&mut source, &[error, "none", "none"]).await;
        assert_eq!(source.ready_state(), ReadyState::Closed);
    };
    check(
        "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
        "error: the server answered 500 Internal Server Error",
    )
    .await;
    check("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "error: the server answered 404 Not Found").await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
        "error: the answer is \"text/html\", not an event stream",
    )
    .await;
}

#[tokio::test]
async fn no_content_is_the_end() {
    let server = Server::start(vec![vec![write("HTTP/1.1 204 No Content\r\n\r\n")]]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["ended", "none", "none"]).await;
}

#[tokio::test]
async fn chunks_are_read_as_they_come() {
    let script = vec![
        write(CHUNKED),
        write("7\r\ndata: h\r\n"),
        Step::Pause,
        write("6\r\ni\nid: \r\n3\r\n1\n\n\r\n"),
        Step::Pause,
        write("0\r\n\r\n"),
    ];
    let server = Server::start(vec![script]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "message \"hi\" after \"1\"", "lost: the stream ended, again in 5"])
        .await;
}

#[tokio::test]
async fn large_events_pass() {
    let text = "x".repeat(14 * 1024 * 1024);
    let server = Server::start(vec![vec![write(STREAM), write(format!("data: {text}\n\n"))]]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", &format!("message {text:?} after \"\"")]).await;
}

#[tokio::test]
async fn an_event_beyond_the_limit_ends_it() {
    let server = Server::start(vec![says(STREAM, "data: 12345\n\n")]).await;
    let mut source = source(&server).event_bytes_max(4).build().expect("a source");
    tells(&mut source, &["open 200", "error: an event is larger than event_bytes_max (4 bytes)", "none"])
        .await;
}

#[test]
fn what_cannot_be_sent_is_refused_before_the_first_request() {
    let refused = |builder: tidings_client::EventSourceBuilder| builder.build().expect_err("it is refused");
    let url = "http://hub.test/";
    for bad in ["", "/topics/a", "ftp://a/", "http://", "https://a b/"] {
        assert!(matches!(refused(EventSource::builder(bad)), BuildError::InvalidUrl { .. }), "{bad}");
    }
    let forged = refused(EventSource::builder(url).header("x", "a\r\nb: c"));
    assert!(matches!(forged, BuildError::InvalidHeader { name } if name == "x"));
    let unnamed = refused(EventSource::builder(url).header("a b", "c"));
    assert!(matches!(unnamed, BuildError::InvalidHeader { .. }));
    let id = refused(EventSource::builder(url).header("Last-Event-ID", "1"));
    assert!(matches!(id, BuildError::LastEventIdHeader));
}

#[test]
fn a_source_can_move_between_threads_and_needs_no_pin() {
    fn check<T: Send + Unpin + 'static>() {}
    check::<EventSource>();
}

#[tokio::test]
async fn listeners_hear_their_type_and_one_hears_the_rest() {
    let stream = "event: add\ndata: a\n\ndata: b\n\nevent: Add\ndata: c\n\nevent: add\ndata: d\n\n";
    let server = Server::start(vec![says(STREAM, stream), vec![write("HTTP/1.1 204 No\r\n\r\n")]]).await;
    let mut source = source(&server).build().expect("a source");
    let heard = std::sync::Mutex::new(Vec::new());
    let note = |line: String| heard.lock().expect("a list").push(line);
    let mut listeners = Listeners::new()
        .on("add", |_| panic!("a later listener takes its place"))
        .on("add", |message| note(format!("add {}", message.data)))
        .on_message(|message| note(format!("message {}", message.data)))
        .on_other(|event| {
            note(match event {
                SourceEvent::Message(message) => format!("other {}", message.data),
                SourceEvent::Open { .. } => "open".into(),
                SourceEvent::Ended => "ended".into(),
                _ => "lost".into(),
            });
        });
    listeners.run(&mut source).await.expect("a good end");
    drop(listeners);
    let expected = ["open", "add a", "message b", "other c", "add d", "lost", "ended"];
    assert_eq!(heard.into_inner().expect("a list"), expected);
}
