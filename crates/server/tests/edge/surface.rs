//! The gate and the routes of a running server.

use axum::Router;
use axum::routing::get;
use tidings_hub::Limits;
use tidings_server::Access;
use tidings_server::gate::{AnonymousConfig, GateConfig, KeyConfig, keys};

use crate::support::{Running, config, start, start_with};

const KEY: &str = "correct-horse-battery-staple";

fn guarded() -> Running {
    let mut config = config();
    config.gate = GateConfig {
        keys: vec![KeyConfig {
            name: "press".into(),
            hash: keys::hash(KEY).unwrap(),
            publish: vec!["news/*".into()],
            ..KeyConfig::default()
        }],
        anonymous: Some(AnonymousConfig { subscribe: vec!["news/*".into()], ..AnonymousConfig::default() }),
        ..GateConfig::default()
    };
    start_with(config, Limits::default(), Router::new())
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let server = start();
    for path in ["/", "/nothing", "/topic/a", "/metrics", "/readyz", "/%00", "/topics"] {
        let answer = server.ask(&format!("DELETE {path}x"), "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    let answer = server.ask("PATCH /topics/a", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"));
    let allowed = answer.header("allow").unwrap();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        assert!(allowed.contains(method), "{allowed}");
    }
}

#[tokio::test]
async fn the_gate_stands_before_everything() {
    let server = start();
    assert_eq!(server.ask("GET /nothing\r\nHost: evil.com", "").await.problem(), "foreign-host");
    let write = server.ask("POST /topics/a\r\nOrigin: https://evil.com", "x").await;
    assert_eq!(write.problem(), "foreign-origin");
    let head = "OPTIONS /topics/a\r\nOrigin: http://localhost:1\r\nAccess-Control-Request-Method: PUT";
    let preflight = server.ask(head, "").await;
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    let shared = server.ask("GET /topics/a?format=json\r\nOrigin: http://localhost:1", "").await;
    assert_eq!(shared.header("access-control-allow-origin"), Some("http://localhost:1"));
    assert_eq!(server.app.hub.stats().events_in, 0, "nothing refused left a trace");
}

#[tokio::test]
async fn keys_decide() {
    let server = guarded();
    let check = async |head: String, expected: u16| {
        let answer = server.ask(&head, "x").await;
        assert_eq!(answer.status, expected, "{head}: {}", answer.body);
        assert!(!answer.body.contains(KEY) && !answer.head.contains(KEY));
    };
    check("POST /topics/news%2F1".into(), 401).await;
    check(format!("POST /topics/news/1\r\nAuthorization: Bearer {KEY}"), 200).await;
    check(format!("POST /topics/news/1?access_token={KEY}"), 200).await;
    check(format!("POST /topics/news/1\r\nCookie: tidings_key={KEY}"), 200).await;
    check(format!("POST /topics/other\r\nAuthorization: Bearer {KEY}"), 403).await;
    check(format!("POST /topics/news/1\r\nAuthorization: Bearer {KEY}x"), 401).await;
    check(format!("DELETE /topics/news/1\r\nAuthorization: Bearer {KEY}"), 403).await;
    assert_eq!(server.ask("GET /topics/news/1?format=json", "").await.status, 200);
    assert_eq!(server.ask("GET /topics/other?format=json", "").await.status, 401);
    let bad = server.ask("GET /topics/news/1?format=json&access_token=wrong-wrong-wrong", "").await;
    assert_eq!(bad.status, 401, "a bad key is not nobody");
    assert!(bad.header("www-authenticate").unwrap().starts_with("Bearer"));
}

#[tokio::test]
async fn encoded_bodies_are_refused_before_they_are_taken_for_data() {
    let server = start();
    for header in
        ["Content-Encoding: gzip", "Content-Encoding: identity, br", "Transfer-Encoding: gzip, chunked"]
    {
        let answer = server.ask(&format!("POST /topics/a\r\n{header}"), "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (415, "encoded-body"), "{header}");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    assert_eq!(server.ask("POST /topics/a\r\nContent-Encoding: Identity", "x").await.status, 200);
}

#[tokio::test]
async fn other_pages_live_behind_the_gate_too() {
    let page = get(|access: axum::Extension<Access>| async move { format!("{:?}", access.who) });
    let server = start_with(config(), Limits::default(), Router::new().route("/page", page));
    assert_eq!(server.ask("GET /page", "").await.body, "Anonymous");
    assert_eq!(server.ask("GET /page\r\nHost: evil.com", "").await.status, 421);
    assert_eq!(server.ask("GET /page2", "").await.problem(), "not-found");
    let answer = server.ask("POST /page", "").await;
    assert_eq!((answer.problem().as_str(), answer.header("allow")), ("method-not-allowed", Some("GET,HEAD")));
    assert_eq!(server.ask("POST /topics/a", "x").await.status, 200, "protocols come first");
}
