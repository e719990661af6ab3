//! A full hub: no 5xx to an `EventSource`, a status to everybody else.

use tidings_hub::Limits;
use tidings_server::Overload;

use crate::support::{Running, config, read_until, start_with};

async fn full(overload: Overload) -> (Running, tokio::net::TcpStream) {
    let mut config = config();
    config.overload = overload;
    let limits = Limits { subscribers_max: 1, ..Limits::default() };
    let server = start_with(config, limits, axum::Router::new());
    let mut admitted = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
    let begun = read_until(&mut admitted, "retry: ").await;
    assert!(begun.starts_with("HTTP/1.1 200"), "an admitted stream sets the normal time: {begun}");
    (server, admitted)
}

#[tokio::test]
async fn an_event_source_is_asked_to_come_back() {
    let (server, _admitted) = full(Overload::EventSource).await;
    let head = "GET /topics/a\r\nAccept: text/event-stream\r\nOrigin: http://localhost:3000";
    let answer = server.ask(head, "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let retry: u64 = answer.body.trim().strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1_000..=60_000).contains(&retry) && answer.body.ends_with("\n\n"), "{}", answer.body);

    for accept in ["*/*", "text/html"] {
        let answer = server.ask(&format!("GET /events?topic=a&format=sse\r\nAccept: {accept}"), "").await;
        assert_eq!(answer.problem(), "busy", "{accept}");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(answer.json()["limit"], 1);
    }
    assert_eq!(server.app.counters.overloads(), 3);
}

#[tokio::test]
async fn the_setting_503_is_the_same_for_all() {
    let (server, _admitted) = full(Overload::Status503).await;
    let answer = server.ask("GET /topics/a\r\nAccept: text/event-stream", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
}
