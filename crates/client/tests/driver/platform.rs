//! What the web platform's tests hold of `EventSource`, as far as it means something without a page: a row names the
//! test (`eventsource/<name>` there) and the behaviour. The bytes are our own.
//!
//! Left out: what speaks of documents, workers, event targets, properties and the back-forward cache; relative URLs,
//! which nothing resolves here; CORS, which a browser asks of servers to protect its user's cookies, and which has no
//! meaning for a program that has none but its own. Of `request-credentials` remains where credentials go.

use std::time::Duration;

use tidings_client::{BuildError, EventId, EventSource, ReadyState};

use crate::server::{STREAM, Server, Step, says, write};
use crate::{source, tells, told};

/// An event as it is told: type, data, last event id.
type Told = (&'static str, &'static str, &'static str);

/// One stream: the platform's test, what holds, the bytes, and the events.
type Format = (&'static str, &'static str, &'static [u8], &'static [Told]);

const FORMATS: &[Format] = &[
    (
        "event-data",
        "data lines are joined by LF, an empty one counts, and blocks without data are no events",
        b"data:hello\n\nfoo:x\n\ndata\n\ndata:a\ndata:\ndata:b\n\n:only a comment\n\n",
        &[("message", "hello", ""), ("message", "", ""), ("message", "a\n\nb", "")],
    ),
    (
        "format-bom",
        "a BOM in front is dropped, one in front of a later line makes it unknown",
        b"\xef\xbb\xbfdata:one\n\n\xef\xbb\xbfdata:two\n\ndata:three\n\n",
        &[("message", "one", ""), ("message", "three", "")],
    ),
    (
        "format-bom-2",
        "of two BOMs in front one is dropped",
        b"\xef\xbb\xbf\xef\xbb\xbfdata:one\n\ndata:two\n\n",
        &[("message", "two", "")],
    ),
    (
        "format-comments",
        "comments end with their line, whatever they hold and however it ends",
        b"data:a\r:\0\n:\r\ndata:b\n:data:no\rdata:c\n:\xff\ndata:d\n\n",
        &[("message", "a\nb\nc\nd", "")],
    ),
    (
        "format-field-data",
        "no value is an empty value",
        b"data:\n\ndata\ndata\n\ndata:x\n\n",
        &[("message", "", ""), ("message", "\n", ""), ("message", "x", "")],
    ),
    ("format-field-event", "a type holds for its own event", b"event:e\ndata:x\n\ndata:y\n\n", &[("e", "x", ""), ("message", "y", "")]),
    ("format-field-event-empty", "an empty type is `message`", b"event: \ndata:x\n\n", &[("message", "x", "")]),
    (
        "format-field-id-null",
        "an id with a NUL anywhere changes nothing",
        b"id:1\ndata:a\n\nid:\0\ndata:b\n\nid:x\0\ndata:c\n\nid:\0x\ndata:d\n\nid: \0\ndata:e\n\n",
        &[
            ("message", "a", "1"),
            ("message", "b", "1"),
            ("message", "c", "1"),
            ("message", "d", "1"),
            ("message", "e", "1"),
        ],
    ),
    (
        "format-field-parsing",
        "names are exact: no case, NUL, dash or space more; one space after the colon goes",
        b"data:\0\ndata:  1\rData:no\ndata\0:no\n\0data:no\nda-ta:no\rdata_5\ndata:2\rdata:\r\n data:no\ndata:3\n\n",
        &[("message", "\0\n 1\n2\n\n3", "")],
    ),
    ("format-field-retry-empty", "a retry without a value harms nothing", b"retry\ndata:x\n\n", &[("message", "x", "")]),
    (
        "format-field-unknown",
        "unknown fields and lines without colon are ignored",
        b"data:a\n data\ndata\nfoo:x\njust words\n:remark\ndata:b\n\n",
        &[("message", "a\n\nb", "")],
    ),
    (
        "format-leading-space",
        "of leading white space one U+0020 goes, and never a tab",
        b"data:\tx\rdata: \ndata:  y\n\n",
        &[("message", "\tx\n\n y", "")],
    ),
    ("format-newlines", "CRLF, LF and CR end lines, mixed too", b"data:a\r\ndata\ndata:b\r\n\r", &[("message", "a\n\nb", "")]),
    ("format-null-character", "NUL is data", b"data:\0\n\n\n\n", &[("message", "\0", "")]),
    ("format-utf-8", "bytes are UTF-8", b"data:ok\xe2\x80\xa6\n\n", &[("message", "ok\u{2026}", "")]),
    (
        "format-utf-8 (invalid)",
        "what is no UTF-8 becomes U+FFFD, and the stream goes on",
        b"data:\xff\xe2\x80\n\ndata:x\n\n",
        &[("message", "\u{fffd}\u{fffd}", ""), ("message", "x", "")],
    ),
    ("field-name-event", "`event` is a field like others, in any order", b"data:x\nevent:e\n\n", &[("e", "x", "")]),
];

#[tokio::test]
async fn formats() {
    for (name, holds, bytes, events) in FORMATS {
        // Whole, and byte by byte.
        for pieces in [vec![bytes.to_vec()], bytes.iter().map(|byte| vec![*byte]).collect()] {
            let mut script = vec![write(STREAM)];
            script.extend(pieces.into_iter().map(Step::Write));
            script.extend([write("\nevent: end\ndata: of case\nid\n\n"), Step::Hold]);
            let server = Server::start(vec![script]).await;
            let mut source = source(&server).build().expect("a source");
            assert_eq!(told(&mut source).await, "open 200", "{name}: {holds}");
            for (event, data, id) in *events {
                let expected = format!("{event} {data:?} after {id:?}");
                assert_eq!(told(&mut source).await, expected, "{name}: {holds}");
            }
            let end = "end \"of case\" after \"\"";
            assert_eq!(told(&mut source).await, end, "{name}: {holds}");
        }
    }
}

/// `Content-Type`: the platform's test, and whether it is a stream.
const TYPES: &[(&str, &str, bool)] = &[
    ("format-mime-valid-bogus", "text/event-stream;x bogus", true),
    ("format-mime-trailing-semicolon", "text/event-stream;", true),
    ("format-mime-trailing-semicolon", "text/event-stream; charset=", true),
    ("format-utf-8 (charset)", "text/event-stream;charset=windows-1252", true),
    ("format-mime (case)", "TEXT/Event-Stream", true),
    ("format-mime-bogus", "text/event-stream bogus", false),
    ("format-mime-bogus", "text/x-bogus", false),
    ("format-mime-bogus", "x bogus", false),
    ("format-mime-bogus", "text/html", false),
];

#[tokio::test]
async fn types() {
    for (name, content_type, is_stream) in TYPES {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n");
        let script = vec![write(head), write("data:ok\u{2026}\n\n"), Step::Hold];
        let server = Server::start(vec![script]).await;
        let mut source = source(&server).build().expect("a source");
        let line = told(&mut source).await;
        if *is_stream {
            assert_eq!(line, "open 200", "{name}: {content_type}");
            tells(&mut source, &["message \"ok…\" after \"\""]).await;
        } else {
            assert!(line.starts_with("error: the answer is"), "{name}: {content_type}: {line}");
            assert_eq!(source.ready_state(), ReadyState::Closed, "{name}: {content_type}");
            tells(&mut source, &["none"]).await;
        }
    }
}

#[tokio::test]
async fn request_status_error_any_status_but_200_is_an_end_for_good() {
    for status in [201, 202, 204, 205, 206, 210, 299, 304, 400, 404, 410, 500, 503] {
        let body = if [204, 205, 304].contains(&status) { "" } else { "Content-Length: 11\r\n" };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: text/event-stream\r\n{body}\r\n");
        let text = if body.is_empty() { "" } else { "data: data\n" };
        let server = Server::start(vec![vec![write(head), write(text)], says(STREAM, "data: no\n\n")]).await;
        let mut source = source(&server).build().expect("a source");
        let line = told(&mut source).await;
        if status == 204 {
            assert_eq!(line, "ended");
        } else {
            assert!(line.starts_with(&format!("error: the server answered {status}")), "{line}");
        }
        assert_eq!(source.ready_state(), ReadyState::Closed, "{status}");
        tells(&mut source, &["none"]).await;
    }
}

#[tokio::test]
async fn request_redirect_is_followed_and_a_303_too() {
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Go\r\nLocation: ./there?x#y\r\nContent-Length: 0\r\n\r\n");
        let mut server = Server::start(vec![vec![write(head)], says(STREAM, "data: a\n\n")]).await;
        let mut source = source(&server).build().expect("a source");
        tells(&mut source, &["open 200", "message \"a\" after \"\""]).await;
        server.request().await;
        assert_eq!(server.request().await.line(), "GET /there?x HTTP/1.1");
    }
}

#[tokio::test]
async fn eventsource_reconnect_goes_to_the_first_url_again_and_is_connecting_meanwhile() {
    let here = "HTTP/1.1 302 Go\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let scripts = vec![vec![write(here)], says(STREAM, "data: a\n\n"), says(STREAM, "data: b\n\n")];
    let mut server = Server::start(scripts).await;
    let mut source = source(&server).build().expect("a source");
    assert_eq!(
        source.ready_state(),
        ReadyState::Connecting,
        "user-agent-announce-connection: before the answer"
    );
    tells(&mut source, &["open 200"]).await;
    assert_eq!(source.ready_state(), ReadyState::Open, "user-agent-announce-connection: with it");
    tells(&mut source, &["message \"a\" after \"\"", "lost: the stream ended, again in 5"]).await;
    assert_eq!(source.ready_state(), ReadyState::Connecting, "eventsource-close: the server's is no end");
    tells(&mut source, &["open 200", "message \"b\" after \"\""]).await;
    for line in ["GET /stream HTTP/1.1", "GET /there HTTP/1.1", "GET /stream HTTP/1.1"] {
        assert_eq!(server.request().await.line(), line, "a temporary redirect binds nobody");
    }
}

#[tokio::test]
async fn eventsource_reconnect_after_a_refusal_does_not_happen() {
    // `resources/reconnect-fail`: a stream, then an error, and that is all.
    let refusal = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    let scripts =
        vec![says(STREAM, "id: 1\ndata: a\n\n"), vec![write(refusal)], says(STREAM, "data: no\n\n")];
    let server = Server::start(scripts).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", lost]).await;
    tells(&mut source, &["error: the server answered 500 Internal Server Error", "none"]).await;
    assert_eq!(source.ready_state(), ReadyState::Closed);
}

#[tokio::test]
async fn format_field_id_goes_out_as_utf_8_and_stays_over_streams_without_one() {
    // `format-field-id` and `format-field-id-2`.
    let bare = || says(STREAM, "data: b\n\n");
    let scripts = vec![says(STREAM, "id: \u{2026}7\ndata: a\n\n"), bare(), bare(), says(STREAM, "")];
    let mut server = Server::start(scripts).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"…7\"", lost]).await;
    for _ in 0..2 {
        tells(&mut source, &["open 200", "message \"b\" after \"…7\"", lost]).await;
    }
    tells(&mut source, &["open 200"]).await;
    for id in [None, Some("…7"), Some("…7"), Some("…7")] {
        assert_eq!(server.request().await.header("last-event-id"), id);
    }
}

#[tokio::test]
async fn format_field_id_3_an_empty_id_takes_the_header_away() {
    for reset in ["id\n\n", "id:\n\n", "id: \ndata: b\n\n"] {
        let scripts = vec![says(STREAM, &format!("id: 7\ndata: a\n\n{reset}")), says(STREAM, "")];
        let mut server = Server::start(scripts).await;
        let mut source = source(&server).build().expect("a source");
        tells(&mut source, &["open 200", "message \"a\" after \"7\""]).await;
        let line = told(&mut source).await;
        assert!(line == "id \"\"" || line == "message \"b\" after \"\"", "{reset:?}: {line}");
        tells(&mut source, &["lost: the stream ended, again in 5", "open 200"]).await;
        server.request().await;
        assert_eq!(server.request().await.header("last-event-id"), None, "{reset:?}");
    }
}

#[tokio::test]
async fn format_data_before_final_empty_line_a_block_cut_off_is_no_event_and_its_id_none() {
    let scripts = vec![says(STREAM, "retry:1\ndata:a\n\nid:cut\nevent:e\ndata:off\n"), says(STREAM, "")];
    let mut server = Server::start(scripts).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 1";
    tells(&mut source, &["open 200", "message \"a\" after \"\"", lost, "open 200"]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), None);
}

#[tokio::test]
async fn format_field_retry_counts_and_a_bogus_one_does_not() {
    // `format-field-retry`, `-bogus` and `-empty`; the wait told is the wait kept, which other tests hold.
    for (fields, after_ms) in [
        ("retry:30", 30),
        ("retry:30\nretry:1000x", 30),
        ("retry:30\nretry:-1\nretry:+1\nretry: 1 \nretry:1.5", 30),
        ("retry:0030", 30),
        ("retry:30\nretry", 5),
        ("retry:30\nretry:", 5),
        ("retry:0", 0),
    ] {
        let server = Server::start(vec![says(STREAM, &format!("{fields}\ndata:x\n\n"))]).await;
        let mut source = source(&server).build().expect("a source");
        let lost = format!("lost: the stream ended, again in {after_ms}");
        tells(&mut source, &["open 200", "message \"x\" after \"\"", &lost]).await;
    }
}

#[tokio::test]
async fn requests_say_what_they_accept_and_that_they_want_nothing_from_a_cache() {
    // `request-accept`, `request-cache-control`, `accept-header-include-text-event-stream`; again on a reconnect.
    let mut server = Server::start(vec![says(STREAM, ""), says(STREAM, "")]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "lost: the stream ended, again in 5", "open 200"]).await;
    for _ in 0..2 {
        let request = server.request().await;
        assert_eq!(request.header("accept"), Some("text/event-stream"));
        assert_eq!(request.header("cache-control"), Some("no-cache"));
        assert_eq!(request.header("last-event-id"), None);
    }
}

#[tokio::test]
async fn request_credentials_go_to_the_origin_they_are_for_and_no_other() {
    let mut other = Server::start(vec![says(STREAM, ""), says(STREAM, "")]).await;
    let away = format!("HTTP/1.1 307 Go\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url("/"));
    let mut server = Server::start(vec![vec![write(&away)], vec![write(&away)]]).await;
    let source = source(&server).header("cookie", "a=b").last_event_id(EventId::parse("…").expect("an id"));
    let mut source = source.build().expect("a source");
    tells(&mut source, &["open 200", "lost: the stream ended, again in 5", "open 200"]).await;
    for _ in 0..2 {
        assert_eq!(server.request().await.header("cookie"), Some("a=b"), "again with each attempt");
        let there = other.request().await;
        assert_eq!(there.header("cookie"), None);
        // `cross-origin-preflight` asks a server before such an id is sent; here it is sent.
        assert_eq!(there.header("last-event-id"), Some("…"));
    }
}

#[tokio::test]
async fn eventsource_close_is_at_once_and_cancels_a_request_on_its_way() {
    // `eventsource-close` and `eventsource-request-cancellation`.
    let script = vec![write(STREAM), write("data: a\n\ndata: b\n\n"), Step::Hold];
    let mut server = Server::start(vec![vec![Step::Hold], script]).await;
    let mut first = source(&server).build().expect("a source");
    tokio::time::timeout(Duration::from_millis(100), told(&mut first)).await.expect_err("nothing comes");
    server.request().await;
    first.close();
    assert_eq!(first.ready_state(), ReadyState::Closed);
    tells(&mut first, &["none"]).await;
    let mut second = source(&server).build().expect("a source");
    tells(&mut second, &["open 200", "message \"a\" after \"\""]).await;
    second.close();
    assert_eq!(second.ready_state(), ReadyState::Closed);
    tells(&mut second, &["none"]).await;
}

#[test]
fn eventsource_constructor_url_bogus_is_refused_at_once() {
    for url in
        ["http://this is invalid/", "http://", "", "//example.org/", "ftp://example.org/", "http://[::1/"]
    {
        let refused = EventSource::builder(url).build();
        assert!(matches!(refused, Err(BuildError::InvalidUrl { .. })), "{url}");
    }
}
