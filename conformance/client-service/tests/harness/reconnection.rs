//! Streams that break, stall and are restarted.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::Service;

#[tokio::test]
async fn the_last_id_is_sent_and_half_an_event_counts_for_nothing() {
    let service = Service::start().await;
    let (mut server, mut first, mut stream) = service.connected(json!({"initialDelayMs": 0})).await;
    first.send("id: abc\ndata: a\n\ndata: b\n\nid: def\ndata: half").await;
    stream.sees("message", "a", "abc").await;
    stream.sees("message", "b", "abc").await;
    let broken = Instant::now();
    first.cut();
    let mut second = server.accept().await;
    assert!(broken.elapsed() < Duration::from_millis(2_500), "a delay of 0 is none: {:?}", broken.elapsed());
    assert_eq!(second.header("last-event-id"), Some("abc"));
    stream.sees_error().await;
    second.send("data: c\n\n").await;
    stream.sees("message", "c", "abc").await;
    second.send("id: ghi\ndata: d\n\nid:\ndata: e\n\n").await;
    stream.sees("message", "d", "ghi").await;
    stream.sees("message", "e", "").await;
    second.cut();
    assert_eq!(server.accept().await.header("last-event-id"), None, "it was reset");
}

#[tokio::test]
async fn a_stream_that_ends_in_order_is_followed_by_a_new_connection() {
    let service = Service::start().await;
    let (mut server, mut first, mut stream) = service.connected(json!({"initialDelayMs": 0})).await;
    first.send("id: abc\ndata: a\n\nid: def\ndata: half").await;
    stream.sees("message", "a", "abc").await;
    assert_eq!(first.finish().await, b"", "a connection carries one stream");
    stream.sees_error().await;
    let mut second = server.accept().await;
    assert_eq!(second.header("last-event-id"), Some("abc"));
    second.send("id: ghi\ndata: b\n\n").await;
    stream.sees("message", "b", "ghi").await;
}

#[tokio::test]
async fn method_body_headers_and_the_first_id_are_sent_again_each_time() {
    let service = Service::start().await;
    let params = json!({
        "initialDelayMs": 0, "method": "POST", "body": "{\"how\": \"are you\"}", "lastEventId": "abc",
        "headers": {"content-type": "application/json", "x-one": "1"},
    });
    let (mut server, mut connection, _stream) = service.connected(params).await;
    for _ in 0..4 {
        assert_eq!(connection.line, "POST /stream HTTP/1.1");
        assert_eq!(connection.body, "{\"how\": \"are you\"}");
        assert_eq!(connection.header("content-type"), Some("application/json"));
        assert_eq!(
            (connection.header("x-one"), connection.header("last-event-id")),
            (Some("1"), Some("abc"))
        );
        connection.cut();
        connection = server.accept().await;
    }
}

#[tokio::test]
async fn a_silent_stream_is_an_error_and_a_new_connection_and_any_byte_is_no_silence() {
    let service = Service::start().await;
    let params = json!({"initialDelayMs": 0, "readTimeoutMs": 1_000});
    let (mut server, mut connection, mut stream) = service.connected(params).await;
    for byte in "data: slow\n\n".bytes() {
        sleep(Duration::from_millis(120)).await;
        connection.send([byte]).await;
    }
    stream.sees("message", "slow", "").await;
    assert!(stream.sees_error().await.contains("1000 ms"));
    let mut second = server.accept().await;
    second.send("data: again\n\n").await;
    stream.sees("message", "again", "").await;
}

#[tokio::test]
async fn a_restart_drops_the_connection_and_is_no_error() {
    let service = Service::start().await;
    // Whatever the delay is.
    let (mut server, mut first, mut stream) = service.connected(json!({"initialDelayMs": 3_600_000})).await;
    first.send("id: 1\ndata: a\n\n").await;
    stream.sees("message", "a", "1").await;
    assert!(service.command(&stream, json!({"command": "restart"})).await.is_success());
    let mut second = server.accept().await;
    assert_eq!(second.header("last-event-id"), Some("1"));
    second.send("data: b\n\n").await;
    stream.sees("message", "b", "1").await;
    // Also while it waits for its next attempt.
    second.cut();
    stream.sees_error().await;
    let answer = service.command(&stream, json!({"command": "restart"})).await;
    assert_eq!(answer, StatusCode::ACCEPTED);
    let mut third = server.accept().await;
    third.send("data: c\n\n").await;
    stream.sees("message", "c", "1").await;
}

#[tokio::test]
async fn the_delay_is_the_one_that_was_asked_for_until_the_server_says_another() {
    let service = Service::start().await;
    let (mut server, mut first, _stream) = service.connected(json!({"initialDelayMs": 1_500})).await;
    first.send("data: a\n\n").await;
    first.cut();
    server.nobody_for(1_000).await;
    let mut second = server.accept().await;
    second.send("retry: 1\ndata: a\n\n").await;
    let broken = Instant::now();
    second.cut();
    server.accept().await;
    assert!(broken.elapsed() < Duration::from_millis(1_400), "{:?}", broken.elapsed());
}
