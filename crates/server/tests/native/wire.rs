//! Over a socket: what HTTP/1.1 does to a body on its way, and a shutdown in the middle of one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_hub::clock::SystemClock;
use tidings_hub::{Hub, Limits};
use tidings_server::{Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(10);

struct Served {
    addr: SocketAddr,
    store: Arc<Store>,
    shutdown: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

fn serve() -> Served {
    let store = Store::new();
    let hub = Hub::open(store.clone(), Arc::new(SystemClock::new()), Limits::default()).unwrap();
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        admin: None,
        drain_ms: 50,
        ..ServerConfig::default()
    };
    let server = Server::bind(config, hub).unwrap();
    let addr = server.local_addrs()[0];
    let (shutdown, ordered) = oneshot::channel::<()>();
    let done = tokio::spawn(server.run(async move { _ = ordered.await }));
    Served { addr, store, shutdown, done }
}

impl Served {
    async fn send(&self, text: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
        socket
    }

    async fn until_stored(&self, count: usize) {
        let all = async {
            while self.store.stored().await < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("never {count} stored"));
    }
}

/// Reads until a text has come.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&text).contains(end) {
            assert!(socket.read_buf(&mut text).await.unwrap() > 0, "the end came first");
        }
    };
    let waited = tokio::time::timeout(PATIENCE, all).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    waited.unwrap_or_else(|_| panic!("{text}"));
    text
}

const CHUNKED: &str = "POST /topics/t HTTP/1.1\nHost: localhost\nContent-Type: application/x-ndjson\nTransfer-Encoding: chunked\n\n";

#[tokio::test]
async fn a_cut_connection_leaves_what_was_complete() {
    let served = serve();
    // One ends without its last chunk.
    let mut socket = served.send(CHUNKED).await;
    socket.write_all(b"4\r\n\"1\"\n\r\n1\r\n7\r\n").await.unwrap();
    served.until_stored(1).await;
    drop(socket);
    // One without the rest of its length, and its client still listens.
    let length = CHUNKED.replace("Transfer-Encoding: chunked", "Content-Length: 100");
    let mut socket = served.send(&length).await;
    socket.write_all(b"21\n22\n23").await.unwrap();
    served.until_stored(3).await;
    socket.shutdown().await.unwrap();
    let answer = read_until(&mut socket, "body-broken").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"count\":2"), "{answer}");
    // One is reset.
    let mut socket = served.send(CHUNKED).await;
    socket.write_all(b"6\r\n31\n32\n\r\n2\r\n33\r\n").await.unwrap();
    served.until_stored(5).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(served.store.stored().await, 5, "no line that had no end");
}

#[tokio::test]
async fn events_stream_through() {
    let served = serve();
    let at = served.store.prefix();
    let mut reader =
        served.send("GET /topics/t HTTP/1.1\nHost: localhost\nAccept: text/event-stream\n\n").await;
    let head = read_until(&mut reader, &format!("id: {at}0\n\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut publisher = served.send(CHUNKED).await;
    publisher.write_all(b"4\r\n\"1\"\n\r\n").await.unwrap();
    read_until(&mut reader, &format!("id: {at}1\ndata: \"1\"\n\n")).await;
    publisher.write_all(b"3\r\n\"2\"\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut reader, &format!("id: {at}2\ndata: \"2\"\n\n")).await;
    let answer = read_until(&mut publisher, "}\n").await;
    assert!(answer.contains("\"count\":2,\"held\":0"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_answers_streamed_bodies_with_what_they_have() {
    let served = serve();
    let mut publisher = served.send(CHUNKED).await;
    publisher.write_all(b"6\r\n\"1\"\n\"2\r\n").await.unwrap();
    served.until_stored(1).await;
    served.shutdown.send(()).unwrap();
    let answer = read_until(&mut publisher, "}\n").await;
    let last = format!("\"last_id\":\"{}1\"", served.store.prefix());
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("problem:stopping") && answer.contains(&last), "{answer}");
    tokio::time::timeout(PATIENCE, served.done).await.expect("an end in time").unwrap();
    assert_eq!(served.store.stored().await, 1);
}
