//! The service's own answers: capabilities, bad parameters, unknown streams and commands, stops.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::Service;

#[tokio::test]
async fn it_says_what_the_client_can_do() {
    let service = Service::start().await;
    let answer = service.ask(Method::GET, "/", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let expected = json!([
        "bom",
        "comments",
        "headers",
        "last-event-id",
        "payload-size-stress-testable",
        "post",
        "read-timeout",
        "report",
        "restart",
        "server-directed-shutdown-request",
    ]);
    assert_eq!(told["capabilities"], expected);
}

#[tokio::test]
async fn what_it_does_not_understand_it_refuses() {
    let service = Service::start().await;
    let start = |body: Value| service.ask(Method::POST, "/", body.to_string());
    let (url, back) = ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b");
    for body in [
        json!({}),
        json!({"streamUrl": url}),
        json!({"callbackUrl": back}),
        json!({"streamUrl": "no url", "callbackUrl": back}),
        json!({"streamUrl": url, "callbackUrl": "no url"}),
        json!({"streamUrl": url, "callbackUrl": back, "initialDelayMs": "soon"}),
        json!({"streamUrl": url, "callbackUrl": back, "readTimeoutMs": -1}),
        json!({"streamUrl": url, "callbackUrl": back, "headers": {"bad name": "x"}}),
        json!({"streamUrl": url, "callbackUrl": back, "method": "NOT A METHOD"}),
        json!([]),
    ] {
        let answer = start(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!answer.body.is_empty(), "it says why");
    }
    assert_eq!(service.ask(Method::POST, "/", "{").await.status, StatusCode::BAD_REQUEST);

    let (_server, _connection, stream) = service.connected(json!({})).await;
    let status = service.command(&stream, json!({"command": "dance"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(service.command(&stream, json!({})).await, StatusCode::BAD_REQUEST);
    let listen = json!({"command": "listen", "listen": {"type": "a"}});
    assert!(service.command(&stream, listen).await.is_success());

    let restart = json!({"command": "restart"}).to_string();
    for place in ["/streams/999", "/streams/x", "/streams/-1"] {
        assert_eq!(service.ask(Method::POST, place, restart.clone()).await.status, StatusCode::NOT_FOUND);
        assert_eq!(service.ask(Method::DELETE, place, "").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(service.ask(Method::GET, "/elsewhere", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stream_that_was_stopped_is_gone_and_tells_nothing_more() {
    let service = Service::start().await;
    let (mut server, mut connection, mut stream) = service.connected(json!({"initialDelayMs": 0})).await;
    connection.send("data: a\n\n").await;
    stream.sees("message", "a", "").await;
    // The harness takes 200 and 204 for a stop, no other 2xx.
    assert_eq!(service.ask(Method::DELETE, &stream.place, "").await.status, StatusCode::NO_CONTENT);
    server.nobody_for(150).await;
    stream.sees_nothing_for(1).await;
    assert_eq!(service.ask(Method::DELETE, &stream.place, "").await.status, StatusCode::NOT_FOUND);
    let restart = json!({"command": "restart"});
    assert_eq!(service.command(&stream, restart).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stream_that_is_over_can_still_be_commanded_and_stopped() {
    let service = Service::start().await;
    let mut server = crate::world::StreamServer::start().await;
    let mut stream = service.stream(&server.url, json!({})).await;
    server.request().await.write(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    stream.sees_error().await;
    assert!(service.command(&stream, json!({"command": "restart"})).await.is_success());
    assert!(service.ask(Method::DELETE, &stream.place, "").await.status.is_success());
}

#[tokio::test]
async fn streams_are_apart_and_the_end_of_the_service_ends_them() {
    let mut service = Service::start().await;
    let (_a_server, mut a_connection, mut a) = service.connected(json!({})).await;
    let (_b_server, mut b_connection, mut b) = service.connected(json!({})).await;
    assert_ne!(a.place, b.place);
    b_connection.send("id: b\ndata: to b\n\n").await;
    a_connection.send("data: to a\n\n").await;
    a.sees("message", "to a", "").await;
    b.sees("message", "to b", "b").await;
    assert!(service.ask(Method::DELETE, "/", "").await.status.is_success());
    let ended = timeout(Duration::from_secs(5), service.process.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
}
