//! How a connection is lost, and what is found again.

use std::time::Duration;

use tidings_client::{Backoff, ReadyState, RetryStatuses};
use tokio::net::TcpListener;

use crate::server::{CHUNKED, STREAM, Server, Step, says, write};
use crate::{source, tells, told};

#[tokio::test]
async fn what_was_cut_off_is_discarded_and_the_id_before_it_is_sent() {
    let cut = "id: 1\ndata: a\n\nid: 2\nevent: e\ndata: half";
    let mut server = Server::start(vec![says(STREAM, cut), says(STREAM, "data: b\n\n")]).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", lost]).await;
    assert_eq!(source.ready_state(), ReadyState::Connecting);
    tells(&mut source, &["open 200", "message \"b\" after \"1\""]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), Some("1"));
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_chunk_is_lost_too() {
    let script =
        vec![write(CHUNKED), write("f\r\nid: 1\ndata: a\n\n\r\n"), Step::Pause, write("ff\r\ndata: b")];
    let server = Server::start(vec![script, says(STREAM, "")]).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost while connected, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", lost, "open 200"]).await;
}

#[tokio::test]
async fn the_id_survives_connections_that_bring_none_and_each_may_begin_with_a_bom() {
    let later = || says(STREAM, "\u{feff}data: b\n\n");
    let first = says(STREAM, "\u{feff}id: 1\ndata: a\n\n");
    let mut server = Server::start(vec![first, later(), later(), says(STREAM, "")]).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", lost]).await;
    tells(&mut source, &["open 200", "message \"b\" after \"1\"", lost]).await;
    tells(&mut source, &["open 200", "message \"b\" after \"1\"", lost, "open 200"]).await;
    assert_eq!(server.request().await.header("last-event-id"), None);
    for _ in 0..3 {
        assert_eq!(server.request().await.header("last-event-id"), Some("1"));
    }
    assert_eq!(source.last_event_id().as_str(), "1");
}

#[tokio::test]
async fn an_id_without_an_event_moves_the_cursor() {
    let mut server = Server::start(vec![says(STREAM, "id: 9\n\n"), says(STREAM, "")]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "id \"9\"", "lost: the stream ended, again in 5", "open 200"]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), Some("9"));
}

#[tokio::test]
async fn an_id_that_no_header_can_hold_is_not_sent_and_does_no_harm() {
    let mut server = Server::start(vec![says(STREAM, "id: a\u{1}\n\n"), says(STREAM, "data: b\n\n")]).await;
    let mut source = source(&server).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "id \"a\\u{1}\"", lost, "open 200", "message \"b\" after \"a\\u{1}\""])
        .await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), None);
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let server = Server::start(vec![says(STREAM, "retry: 37\n\n"), says(STREAM, "retry\n")]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "lost: the stream ended, again in 37"]).await;
    let waited = tokio::time::Instant::now();
    tells(&mut source, &["open 200"]).await;
    assert!(waited.elapsed() >= Duration::from_millis(37), "it waits: {:?}", waited.elapsed());
    tells(&mut source, &["lost: the stream ended, again in 5"]).await;
}

#[tokio::test]
async fn a_closed_port_is_tried_again_from_the_first_attempt_on() {
    let server = Server::start(vec![]).await;
    let address = server.address();
    let mut source = source(&server).retry_ms(150).build().expect("a source");
    drop(server);
    // The listener closes with its task, which ends a moment later.
    while TcpListener::bind(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lost = "lost while connecting, again in 150";
    tells(&mut source, &[lost, lost, lost]).await;
    assert_eq!(source.ready_state(), ReadyState::Connecting);
}

#[tokio::test]
async fn passing_troubles_are_tried_again_if_asked_for() {
    let busy = || vec![write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")];
    let many = vec![write("HTTP/1.1 429 Many\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")];
    let server = Server::start(vec![busy(), many, says(STREAM, "data: a\n\n")]).await;
    let mut source = source(&server).retry_statuses(RetryStatuses::transient()).build().expect("a source");
    tells(
        &mut source,
        &[
            "lost: the server answered 503 Service Unavailable, again in 5",
            "lost: the server answered 429 Too Many Requests, again in 100",
            "open 200",
            "message \"a\" after \"\"",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_backoff_waits_within_its_bounds() {
    let busy = || vec![write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")];
    let server = Server::start(vec![busy(), busy(), says(STREAM, "")]).await;
    let source = source(&server).retry_statuses(RetryStatuses::transient());
    let mut source = source.backoff(Backoff::exponential(120)).seed(1).build().expect("a source");
    for most_ms in [5, 120] {
        let line = told(&mut source).await;
        let wait_ms: u64 = line.rsplit(' ').next().and_then(|last| last.parse().ok()).expect("a wait");
        assert!(wait_ms <= most_ms, "{line}");
    }
    tells(&mut source, &["open 200"]).await;
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let hold = || vec![write(STREAM), write("id: 1\ndata: a\n\n"), Step::Hold];
    let mut server = Server::start(vec![hold(), hold()]).await;
    let mut source = source(&server).stall_timeout_ms(400).build().expect("a source");
    let stalled = "lost: nothing came for 400 ms, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", stalled, "open 200"]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), Some("1"));
}

#[tokio::test]
async fn a_server_that_takes_the_request_and_is_silent_is_given_up() {
    let server = Server::start(vec![vec![Step::Hold], says(STREAM, "")]).await;
    let mut source = source(&server).stall_timeout_ms(400).build().expect("a source");
    tells(&mut source, &["lost: nothing came for 400 ms, again in 5", "open 200"]).await;
}

#[tokio::test]
async fn a_far_stall_does_not_hold_up_a_near_reconnect() {
    let script = vec![write(STREAM), Step::Pause, Step::Pause];
    let server = Server::start(vec![script, says(STREAM, "")]).await;
    let mut source = source(&server).stall_timeout_ms(3_600_000).build().expect("a source");
    tells(&mut source, &["open 200", "lost: the stream ended, again in 5", "open 200"]).await;
}

#[tokio::test]
async fn every_byte_puts_off_the_stall() {
    // Forty pauses of 20 ms are more than the 600 ms that are allowed; half of them are not.
    let mut script = vec![write(STREAM)];
    for _ in 0..40 {
        script.extend([Step::Pause, write(":")]);
    }
    script.extend([write("\ndata: a\n\n"), Step::Hold]);
    let server = Server::start(vec![script]).await;
    let mut source = source(&server).stall_timeout_ms(600).comments(true).build().expect("a source");
    let colons = format!("comment {:?}", ":".repeat(39));
    tells(&mut source, &["open 200", &colons, "message \"a\" after \"\""]).await;
}

#[tokio::test]
async fn a_consumer_that_comes_late_finds_what_came_and_no_stall() {
    let server =
        Server::start(vec![vec![write(STREAM), Step::Pause, write("data: a\n\n"), Step::Hold]]).await;
    let mut source = source(&server).stall_timeout_ms(600).build().expect("a source");
    tells(&mut source, &["open 200"]).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    tells(&mut source, &["message \"a\" after \"\""]).await;
}

#[tokio::test]
async fn a_reconnect_can_be_asked_for_while_open_and_while_waiting() {
    let hold = vec![write(STREAM), write("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"), Step::Hold];
    let mut server = Server::start(vec![hold, says(STREAM, "retry: 3600000\n\n"), says(STREAM, "")]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"1\""]).await;
    source.reconnect_now();
    tells(&mut source, &["lost: a reconnect was asked for, again in 0", "open 200"]).await;
    tells(&mut source, &["lost: the stream ended, again in 3600000"]).await;
    source.reconnect_now();
    tells(&mut source, &["open 200"]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), Some("1"), "what was told, not what was read");
}

#[tokio::test]
async fn a_closed_source_tells_nothing_more() {
    let server = Server::start(vec![says(STREAM, "data: a\n\ndata: b\n\n")]).await;
    let mut source = source(&server).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"\""]).await;
    source.close();
    assert_eq!(source.ready_state(), ReadyState::Closed);
    source.reconnect_now();
    tells(&mut source, &["none", "none"]).await;
}
