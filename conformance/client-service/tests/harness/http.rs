//! Requests and answers: what is sent, redirects, ends.

use serde_json::json;

use crate::world::{Service, StreamServer};

#[tokio::test]
async fn the_usual_request() {
    let service = Service::start().await;
    let (_server, connection, _stream) = service.connected(json!({})).await;
    assert_eq!(connection.line, "GET /stream HTTP/1.1");
    assert_eq!(connection.header("accept"), Some("text/event-stream"));
    assert_eq!(connection.header("cache-control"), Some("no-cache"));
    assert_eq!(connection.header("last-event-id"), None);
    assert_eq!(connection.body, "");
}

#[tokio::test]
async fn headers_id_method_and_body_are_those_that_were_asked_for() {
    let service = Service::start().await;
    for method in ["POST", "REPORT"] {
        let params = json!({
            "headers": {"x-one": "1", "x-two": "2", "content-type": "application/json; charset=utf-8"},
            "lastEventId": "abc", "method": method, "body": "{\"how\": \"are you\"}",
        });
        let (_server, connection, mut stream) = service.connected(params).await;
        assert_eq!(connection.line, format!("{method} /stream HTTP/1.1"));
        assert_eq!((connection.header("x-one"), connection.header("x-two")), (Some("1"), Some("2")));
        assert_eq!(connection.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(connection.header("last-event-id"), Some("abc"));
        assert_eq!(connection.body, "{\"how\": \"are you\"}");
        // The id counts as if an event had set it.
        let mut connection = connection;
        connection.send("data: a\n\n").await;
        stream.sees("message", "a", "abc").await;
    }
    let (_server, connection, _stream) = service.connected(json!({"method": "POST", "body": "x"})).await;
    assert_eq!(connection.header("content-type"), Some("text/plain"));
    let (_server, connection, _stream) = service.connected(json!({"lastEventId": ""})).await;
    assert_eq!(connection.header("last-event-id"), None);
}

#[tokio::test]
async fn redirects_are_followed() {
    let service = Service::start().await;
    for status in [301, 302, 303, 307, 308] {
        let (mut first, mut second) = (StreamServer::start().await, StreamServer::start().await);
        let mut stream = service.stream(&first.url, json!({})).await;
        let location =
            format!("HTTP/1.1 {status} Go\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", second.url);
        first.request().await.write(location.as_bytes()).await;
        let mut connection = second.accept().await;
        connection.send("data: there\n\n").await;
        stream.sees("message", "there", "").await;
    }
}

#[tokio::test]
async fn a_redirect_without_a_place_is_an_error_and_no_loop() {
    let service = Service::start().await;
    for status in [301, 307] {
        for location in ["", "Location: \r\n", "Location:\r\n"] {
            let mut server = StreamServer::start().await;
            let mut stream = service.stream(&server.url, json!({"initialDelayMs": 0})).await;
            let head = format!("HTTP/1.1 {status} Go\r\n{location}Content-Length: 0\r\n\r\n");
            server.request().await.write(head.as_bytes()).await;
            assert!(stream.sees_error().await.contains(&status.to_string()));
            server.nobody_for(150).await;
            stream.sees_nothing_for(1).await;
        }
    }
}

#[tokio::test]
async fn no_content_and_refusals_end_it_for_good() {
    let service = Service::start().await;
    for status in ["204 No Content", "404 Not Found", "500 Oh"] {
        let mut server = StreamServer::start().await;
        let mut stream = service.stream(&server.url, json!({"initialDelayMs": 0})).await;
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let head =
            if status.starts_with("204") { "HTTP/1.1 204 No Content\r\n\r\n".to_owned() } else { head };
        server.request().await.write(head.as_bytes()).await;
        stream.sees_error().await;
        server.nobody_for(300).await;
        stream.sees_nothing_for(1).await;
    }
}
