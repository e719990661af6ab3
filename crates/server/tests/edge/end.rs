//! The end of a server: streams first, requests under way finish, the store is closed last.

use std::time::{Duration, Instant};

use tidings_hub::Limits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{PATIENCE, config, eventually, read_answer, read_until, start_with};

#[tokio::test]
async fn streams_end_in_order_and_the_store_is_closed() {
    let mut config = config();
    config.drain_ms = 400;
    let server = start_with(config, Limits::default(), axum::Router::new());
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
        read_until(&mut stream, "\r\n\r\n").await;
        streams.push(stream);
    }
    eventually("all are there", || server.app.hub.stats().subscribers == 20).await;
    let (addr, admin, store) = (server.addr, server.admin, server.store.clone());
    let app = server.app.clone();
    let done = server.stop();
    // While it drains it is not ready, still answers, and sends new streams away without a 5xx.
    eventually("draining", || app.drain.is_draining()).await;
    let ready = crate::support::read_answer(send(admin, "GET /readyz", "").await).await;
    assert!(ready.status == 503 && ready.body.contains("draining"), "{} {}", ready.status, ready.body);
    let late = read_answer(send(addr, "GET /topics/a", "Accept: text/event-stream\r\n").await).await;
    assert!(late.status == 200 && late.body.contains("retry: "), "{} {}", late.head, late.body);
    let late = read_answer(send(addr, "GET /topics/a", "Accept: */*\r\n").await).await;
    assert_eq!((late.status, late.problem().as_str()), (503, "stopping"));
    for stream in &mut streams {
        // The last chunk: the stream was ended, not cut.
        read_until(stream, "0\r\n\r\n").await;
    }
    tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    assert!(store.was_shut_down());
    assert!(TcpStream::connect(addr).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_request_under_way_finishes() {
    let server = start_with(config(), Limits::default(), axum::Router::new());
    let mut publisher = send(server.addr, "POST /topics/a", "Content-Length: 5\r\n").await;
    publisher.write_all(b"he").await.unwrap();
    eventually("connected", || server.app.counters.connections() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let done = server.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    publisher.write_all(b"llo").await.unwrap();
    let answer = read_answer(publisher).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut() {
    let mut config = config();
    config.grace_ms = 200;
    let server = start_with(config, Limits::default(), axum::Router::new());
    let mut publisher = send(server.addr, "POST /topics/a", "Content-Length: 5\r\n").await;
    publisher.write_all(b"he").await.unwrap();
    eventually("connected", || server.app.counters.connections() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (begun, store) = (Instant::now(), server.store.clone());
    tokio::time::timeout(PATIENCE, server.stop()).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(5));
    assert!(store.was_shut_down());
}

async fn send(addr: std::net::SocketAddr, line: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}
