//! Connections, with bytes written by hand: what is malformed, slow or many-tongued.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connection::{self, Limits};
use super::held::Connections;
use super::service::Handle;
use crate::config::ServerConfig;
use crate::drain::{Drain, Stage};

/// Answers with what it understood.
#[derive(Clone)]
struct Echo;

impl Handle for Echo {
    async fn handle(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        match body.collect().await {
            Ok(body) => {
                format!("<{} {} {}>", parts.method, parts.uri.path(), body.to_bytes().len()).into_response()
            }
            Err(_) => (StatusCode::BAD_REQUEST, "<broken>").into_response(),
        }
    }
}

struct Line {
    client: DuplexStream,
    server: JoinHandle<()>,
    drain: Arc<Drain>,
}

fn open() -> Line {
    open_with(|_| {})
}

fn open_with(change: impl FnOnce(&mut ServerConfig)) -> Line {
    let mut config = ServerConfig::default();
    change(&mut config);
    let (client, io) = tokio::io::duplex(1 << 20);
    let drain = Arc::new(Drain::default());
    let shared = Arc::clone(&drain);
    let server = tokio::spawn(async move {
        {
            let registered = Arc::<Connections>::default().enter(None, "public");
            let (limits, held) = (Limits::new(&config), registered.held());
            connection::serve(io, Vec::new(), Echo, &limits, &shared, held).await;
        }
    });
    Line { client, server, drain }
}

impl Line {
    /// Sends, ends, and reads all that is answered.
    async fn exchange(mut self, bytes: &[u8]) -> String {
        // The server may close before it has read all.
        _ = self.client.write_all(bytes).await;
        _ = self.client.shutdown().await;
        let mut answer = Vec::new();
        _ = self.client.read_to_end(&mut answer).await;
        self.server.await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads until `end` was seen.
    async fn read_until(&mut self, end: &str) -> String {
        let mut seen = String::new();
        let mut buffer = [0; 4_096];
        while !seen.contains(end) {
            let read = self.client.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        seen
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Sends a request followed by a lure: what is wrongly taken for a second request would be answered too.
async fn check(request: impl AsRef<[u8]>, expected: &[u16]) {
    let request = request.as_ref();
    let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    let mut bytes = request.to_vec();
    bytes.extend_from_slice(b"GET /lure HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = open().exchange(&bytes).await;
    assert!(expected.contains(&status(&answer)), "{shown:?}: {answer:?}");
    if expected.iter().all(|status| *status != 200) {
        assert!(!answer.contains("/lure"), "{shown:?} left the connection open: {answer:?}");
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_end_the_connection() {
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    for line in
        ["GARBAGE", "GET", "GET /", "GET / HTTP/3.0", "GET / HTTP/1.2", "GET / http/1.1", "G\0T / HTTP/1.1"]
    {
        check(format!("{line}\r\nHost: a\r\n\r\n"), &[400]).await;
    }
    for target in ["/\x01", "/a b", "", "http://", "/\u{7f}"] {
        check(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), &[400]).await;
    }
    for header in ["Host : a", "no colon", ": empty", "a\0b: c", "a: b\0c", "a: b\r\n folded", "a: \x01"] {
        check(get(&format!("{header}\r\n")), &[400]).await;
    }
    for length in ["abc", "-1", "+5", "5, 6", "5 5", "0x5", "", "99999999999999999999999"] {
        check(post(&format!("Content-Length: {length}\r\n"), "hello"), &[400]).await;
    }
    check(post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), &[400]).await;
    check(post("Transfer-Encoding: gzip\r\n", "hello"), &[400]).await;
    check(post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), &[400]).await;
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]).await;
    let smuggled = "0\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: chunked\r\nx: y\r\nCONTENT-LENGTH: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
    ] {
        check(post(headers, smuggled), &[400]).await;
    }
    for chunks in ["zz\r\n", "-1\r\na\r\n", "1\r\nabc\r\n0\r\n\r\n", "fffffffffffffffff\r\n", "\r\n\r\n"] {
        check(post("Transfer-Encoding: chunked\r\n", chunks), &[400]).await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let long = |bytes: usize| "x".repeat(bytes);
    check(format!("GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {}\r\n\r\n", long(1 << 20)), &[431]).await;
    check(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(70_000)), &[414, 431]).await;
    check(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(120)), &[431]).await;
    check(format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", long(60_000)), &[200]).await;
}

#[tokio::test]
async fn what_is_odd_but_right_passes() {
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200]).await;
    check("GET / HTTP/1.1\nHost: a\n\n", &[200]).await;
    check(b"GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: \xff\xfe\r\n\r\n", &[200]).await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", &[200]).await;
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[200]).await;
    check("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", &[200]).await;
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let sent = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut line = open();
    line.client.write_all(sent.as_bytes()).await.unwrap();
    let answers = line.read_until("<GET /3 0>").await;
    assert!(answers.contains("<POST /1 5>") && answers.contains("<POST /2 4>"), "{answers}");
    line.server.await.unwrap();
}

#[tokio::test]
async fn random_damage_never_breaks_the_server() {
    let whole =
        b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut state = 42u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % n
    };
    for _ in 0..2_000 {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + next(4) {
            if bytes.is_empty() {
                break;
            }
            let place = next(bytes.len());
            match next(4) {
                0 => bytes[place] = b"\r\n :;,\0\xff0fz"[next(11)],
                1 => bytes = [&bytes[..place], &bytes[(place + 1 + next(8)).min(bytes.len())..]].concat(),
                2 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, u8::try_from(next(256)).unwrap()),
            }
        }
        // It ends by itself, whatever came: `exchange` waits for that and fails on a panic.
        tokio::time::timeout(Duration::from_secs(10), open().exchange(&bytes)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn slow_heads_and_idle_connections_end() {
    let begun = Instant::now();
    let mut line = open_with(|config| config.head_ms = 30_000);
    line.client.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut rest = Vec::new();
    line.client.read_to_end(&mut rest).await.unwrap();
    line.server.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30, "{}", String::from_utf8_lossy(&rest));

    let begun = Instant::now();
    let mut line = open_with(|config| config.head_ms = 30_000);
    line.client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    line.read_until("<GET / 0>").await;
    line.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);

    let begun = Instant::now();
    let mut line = open_with(|config| config.handshake_ms = 7_000);
    line.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 7, "a client that says nothing at all");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_not_a_slow_head() {
    let mut line = open_with(|config| config.head_ms = 1_000);
    line.client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        line.client.write_all(b"x").await.unwrap();
    }
    line.read_until("<POST / 3>").await;
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge() {
    let line = open();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(line.client)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut answers = Vec::new();
    for n in 0..3 {
        let request = Request::post(format!("http://localhost/{n}")).body(Body::from("hello")).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        answers.push(response.into_body().collect().await.unwrap().to_bytes());
    }
    assert_eq!(answers, ["<POST /0 5>", "<POST /1 5>", "<POST /2 5>"]);
    // GOAWAY, and the end.
    line.drain.advance(Stage::Stopping);
    driver.await.unwrap().unwrap();
    line.server.await.unwrap();
}

#[tokio::test]
async fn an_end_lets_requests_finish() {
    let mut line = open();
    line.client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx").await.unwrap();
    tokio::task::yield_now().await;
    line.drain.advance(Stage::Stopping);
    tokio::task::yield_now().await;
    line.client.write_all(b"yz").await.unwrap();
    let answer = line.read_until("<POST / 3>").await;
    assert!(answer.contains("connection: close"), "{answer}");
    line.server.await.unwrap();

    let idle = open();
    idle.drain.advance(Stage::Stopping);
    idle.server.await.unwrap();

    let mut stuck = open();
    stuck.client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx").await.unwrap();
    tokio::task::yield_now().await;
    stuck.drain.advance(Stage::Stopping);
    tokio::task::yield_now().await;
    assert!(!stuck.server.is_finished());
    stuck.drain.advance(Stage::Ended);
    stuck.server.await.unwrap();
}
