//! The admin listener: alive, ready and why not, numbers.

use tidings_hub::Limits;
use tidings_hub::ports::Health;

use crate::support::{config, eventually, read_until, start, start_with};

#[tokio::test]
async fn it_is_alive_and_says_what_there_is() {
    let server = start();
    let alive = server.ask_admin("GET /healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    assert_eq!(alive.header("cache-control"), Some("no-store"));
    let index = server.ask_admin("GET /").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(index.body.contains(path));
        let head = server.ask_admin(&format!("HEAD {path}")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let post = server.ask_admin(&format!("POST {path}")).await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(post.problem(), "method-not-allowed");
    }
    assert_eq!(server.ask_admin("GET /topics/a").await.problem(), "not-found");
}

#[tokio::test]
async fn it_checks_host_and_origin_too() {
    let server = start();
    assert_eq!(server.ask_admin("GET /metrics\r\nHost: evil.com").await.problem(), "foreign-host");
    assert_eq!(server.ask_admin("GET /metrics\r\nHost: localhost").await.status, 200);
    let write = server.ask_admin("POST /metrics\r\nOrigin: https://evil.com").await;
    assert_eq!(write.problem(), "foreign-origin");
}

#[tokio::test]
async fn readiness_follows_the_store_and_the_number_of_streams() {
    let limits = Limits { subscribers_max: 10, ..Limits::default() };
    let server = start_with(config(), limits, axum::Router::new());
    assert_eq!(server.ask_admin("GET /readyz").await.json()["ready"], true);

    server.store.set_health(Health::Full { message: "disk is full".into() });
    let answer = server.ask_admin("GET /readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &"store-full".into()));
    assert!(answer.body.contains("disk is full"));
    server.store.set_health(Health::Ready);
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);

    let mut streams = Vec::new();
    for _ in 0..9 {
        let mut stream = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
        assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    let answer = server.ask_admin("GET /readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &"subscribers".into()));
    drop(streams);
    eventually("left streams are noticed", || server.app.hub.stats().subscribers == 0).await;
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = start();
    for _ in 0..3 {
        assert_eq!(server.ask("POST /topics/a", "hello").await.status, 200);
    }
    assert_eq!(server.ask("GET /nothing", "").await.status, 404);
    let metrics = server.ask_admin("GET /metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "tidings_events_in_total 3",
        "tidings_http_requests_total{class=\"publish\",status=\"200\"} 3",
        "tidings_http_requests_total{class=\"read\",status=\"404\"} 1",
        "tidings_store_ready 1",
        "# TYPE tidings_subscribers gauge",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line}\n{}", metrics.body);
    }
}
