//! The short way of a publish answers as the long one does: each request is sent as it is, and with a line that means
//! nothing but is not known to the short way. A program of its own: where each request is logged, none takes it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[expect(dead_code, reason = "the other program's too")]
#[path = "../edge/store.rs"]
mod store;
#[expect(dead_code, reason = "the other program's too")]
#[path = "../edge/support.rs"]
mod support;

use axum::Router;
use tidings_hub::Limits;
use tidings_server::gate::{AnonymousConfig, GateConfig, KeyConfig, keys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, Running, config, start_with};

const KEY: &str = "correct-horse-battery-staple";

fn server() -> Running {
    let mut config = config();
    config.gate = GateConfig {
        keys: vec![KeyConfig {
            name: "press".into(),
            hash: keys::hash(KEY).unwrap(),
            publish: vec!["news/*".into()],
            subscribe: vec!["news/*".into()],
            manage: vec!["**".into()],
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

/// How many took the short way since it was asked last.
fn short(server: &Running, before: &mut u64) -> u64 {
    let now = server.app.counters.plain_publishes();
    now - std::mem::replace(before, now)
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
    let (large, mut before) = ("x".repeat(1_001), 0);
    let to = |lines: &str| format!("POST /topics/open/a{lines}");
    let key = |text: &str| format!("POST /topics/news/1\r\nAuthorization: {text}");
    // Each with the status, and whether it can take the short way.
    for (head, body, status, is_short) in [
        (to(""), "x", 200, true),
        (to(""), "", 200, true),
        (to(""), "zwei\nZeilen \u{1f4e8}", 200, true),
        (to("\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: t"), "{}", 200, true),
        (to("\r\nACCEPT-ENCODING: gzip\r\naccept-language: de"), "x", 200, true),
        (to("\r\nHost: hub.example.com:99"), "x", 200, true),
        (to("\r\nHost: HUB.example.com"), "x", 200, false),
        ("POST /topics/open/live".to_owned(), "x", 200, true),
        ("POST /topics/open/bytes".to_owned(), "x", 200, true),
        ("POST /topics/open/closed".to_owned(), "x", 409, true),
        (key(&format!("Bearer {KEY}")), "x", 200, true),
        (key(&format!("bearer  {KEY}")), "x", 200, true),
        (to(""), &large, 413, false),
        (to("\r\nHost: evil.com"), "x", 421, false),
        (to("\r\nHost: a\r\nHost: a"), "x", 400, false),
        (to("\r\nContent-Encoding: gzip"), "x", 415, false),
        (to("\r\nContent-Type: text/event-stream"), ": nothing\n\n", 200, false),
        (to("\r\nOrigin: https://evil.com"), "x", 403, false),
        (to("\r\nSec-Fetch-Site: cross-site"), "x", 403, false),
        (to("\r\nCookie: tidings_key=wrong-wrong-wrong-wrong"), "x", 401, false),
        (to("?access_token=wrong-wrong-wrong-wrong"), "x", 401, false),
        ("POST /topics/open/../a".to_owned(), "x", 400, false),
        ("POST /topics/news/1".to_owned(), "x", 401, false),
        (key(&format!("Basic {KEY}")), "x", 401, false),
        (key("Bearer wrong-wrong-wrong-wrong"), "x", 401, false),
        (key(&format!("Bearer {KEY}\r\nAuthorization: Bearer {KEY}")), "x", 401, false),
        (format!("POST /topics/other\r\n{manage}"), "x", 403, false),
    ] {
        let one = server.ask(&head, body).await;
        assert_eq!(short(&server, &mut before), u64::from(is_short), "{head}");
        let other = server.ask(&format!("{head}\r\nX-Unknown: 1"), body).await;
        assert_eq!(short(&server, &mut before), 0, "{head}");
        assert_eq!((one.status, shape(&one)), (status, shape(&other)), "{head}");
    }
    let history = server.ask(&format!("GET /topics/news/1?format=json\r\n{manage}"), "").await;
    assert_eq!(history.body.matches("\"data\":\"x\"").count(), 4, "{}", history.body);
}

#[tokio::test]
async fn a_connection_that_is_kept_is_answered_alike_on_both_ways() {
    let server = server();
    let request = |line: &str, body: &[u8]| {
        let head = format!(
            "POST /topics/open/a HTTP/1.1\r\nHost: localhost\r\n{line}Content-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let mut bytes = Vec::new();
    for body in [&b"text"[..], b"\xff is no text", b""] {
        bytes.extend(request("", body));
        bytes.extend(request("X-Unknown: 1\r\n", body));
    }
    bytes.extend(request("Connection: close\r\n", b"last"));
    let mut socket = TcpStream::connect(server.addr).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.unwrap();
    let answers: Vec<_> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|text| {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            shape(&Answer { status: 0, head: head.to_owned(), body: body.to_owned() })
        })
        .collect();
    assert_eq!(answers.len(), 7, "{answers:?}");
    for pair in answers.chunks_exact(2) {
        assert_eq!(pair[0], pair[1]);
    }
    assert!(answers[2].starts_with("415 ") && answers[4].starts_with("200 "), "{answers:?}");
    assert!(answers[6].contains("connection: close") && !answers[0].contains("connection"), "{answers:?}");
    assert_eq!(server.app.counters.plain_publishes(), 4);
}

#[tokio::test]
async fn both_ways_are_counted_alike() {
    let counts = async |line: &str| {
        let server = server();
        for topic in ["open/a", "open/b", "elsewhere"] {
            server.ask(&format!("POST /topics/{topic}{line}"), "x").await;
        }
        let counters = &server.app.counters;
        let classes: Vec<_> =
            counters.requests().map(|(class, status, count)| (class.as_str(), status, count)).collect();
        assert_eq!(classes, [("publish", 200, 2), ("publish", 401, 1)]);
        assert!(counters.publishes().counts().percentile_us(50).is_some());
        assert_eq!(server.app.hub.stats().events_in, 2);
        counters.plain_publishes()
    };
    assert_eq!((counts("").await, counts("\r\nX-Unknown: 1").await), (2, 0));
}
