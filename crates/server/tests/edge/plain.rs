//! The short way of a publish answers as the long one does: each request is sent as it is, and with a line that means
//! nothing but is not known to the short way.

use axum::Router;
use tidings_hub::Limits;
use tidings_server::gate::{AnonymousConfig, GateConfig, KeyConfig, keys};

use crate::support::{Answer, Running, config, start_with};

const KEY: &str = "correct-horse-battery-staple";

fn server() -> Running {
    let mut config = config();
    config.gate = GateConfig {
        keys: vec![KeyConfig {
            name: "press".into(),
            hash: keys::hash(KEY).unwrap(),
            publish: vec!["news/*".into()],
            manage: vec!["**".into()],
            ..KeyConfig::default()
        }],
        anonymous: Some(AnonymousConfig { publish: vec!["open/**".into()], ..AnonymousConfig::default() }),
        hosts: vec!["hub.example.com".into()],
        ..GateConfig::default()
    };
    start_with(config, Limits { event_bytes_max: 1_000, ..Limits::default() }, Router::new())
}

/// All of an answer but what differs between two events, and the time.
fn shape(answer: &Answer) -> String {
    let lines = answer.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
    let text = lines.collect::<Vec<_>>().join("\n") + "\n\n" + &answer.body;
    match answer.header("tidings-id") {
        Some(id) => text.replace(id, "ID"),
        None => text,
    }
}

#[tokio::test]
async fn both_ways_answer_alike() {
    let server = server();
    let manage = format!("Authorization: Bearer {KEY}");
    for (topic, body) in [
        ("open/closed?closed=true", ""),
        ("open/live", r#"{"ephemeral":true}"#),
        ("open/bytes", r#"{"content_type":"image/png"}"#),
    ] {
        let made = server.ask(&format!("PUT /topics/{topic}\r\n{manage}"), body).await;
        assert!(made.status < 300, "{}", made.body);
    }
    let large = "x".repeat(1_001);
    let key = |text: &str| format!("POST /topics/news/1\r\nAuthorization: {text}");
    for (head, body, status) in [
        ("POST /topics/open/a".to_owned(), "x", 200),
        ("POST /topics/open/a".to_owned(), "", 200),
        ("POST /topics/open/a".to_owned(), "zwei\nZeilen \u{1f4e8}", 200),
        (
            "POST /topics/open/a\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: t"
                .to_owned(),
            "{}",
            200,
        ),
        ("POST /topics/open/a\r\nACCEPT-ENCODING: gzip\r\naccept-language: de".to_owned(), "x", 200),
        ("POST /topics/open/a\r\nHost: hub.example.com:99".to_owned(), "x", 200),
        ("POST /topics/open/a\r\nHost: HUB.example.com".to_owned(), "x", 200),
        ("POST /topics/open/live".to_owned(), "x", 200),
        ("POST /topics/open/bytes".to_owned(), "x", 200),
        ("POST /topics/open/closed".to_owned(), "x", 409),
        ("POST /topics/open/a".to_owned(), &large, 413),
        ("POST /topics/open/a\r\nHost: evil.com".to_owned(), "x", 421),
        ("POST /topics/open/a\r\nHost: a\r\nHost: a".to_owned(), "x", 400),
        ("POST /topics/open/a\r\nContent-Encoding: gzip".to_owned(), "x", 415),
        ("POST /topics/open/../a".to_owned(), "x", 400),
        ("POST /topics/news/1".to_owned(), "x", 401),
        (key(&format!("Bearer {KEY}")), "x", 200),
        (key(&format!("bearer  {KEY}")), "x", 200),
        (key(&format!("Basic {KEY}")), "x", 401),
        (key("Bearer wrong-wrong-wrong-wrong"), "x", 401),
        (key(&format!("Bearer {KEY}\r\nAuthorization: Bearer {KEY}")), "x", 401),
        (format!("POST /topics/other\r\n{manage}"), "x", 403),
    ] {
        let short = server.ask(&head, body).await;
        let long = server.ask(&format!("{head}\r\nX-Unknown: 1"), body).await;
        assert_eq!((short.status, shape(&short)), (status, shape(&long)), "{head}");
    }
}

#[tokio::test]
async fn both_ways_are_counted_alike() {
    let server = server();
    for line in ["", "\r\nX-Unknown: 1"] {
        for topic in ["open/a", "open/b", "elsewhere"] {
            server.ask(&format!("POST /topics/{topic}{line}"), "x").await;
        }
    }
    let counters = &server.app.counters;
    let seen: Vec<_> =
        counters.requests().map(|(class, status, count)| (class.as_str(), status, count)).collect();
    assert_eq!(seen, [("publish", 200, 4), ("publish", 401, 2)]);
    assert!(counters.publishes().counts().percentile_us(50).is_some());
    assert_eq!(server.app.hub.stats().events_in, 4);
}
