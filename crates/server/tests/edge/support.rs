//! A server on a free port, and requests by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_hub::{Hub, Limits, SystemClock};
use tidings_server::{App, Server, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::store::Store;

/// Whatever takes longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) store: Arc<Store>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        admin: Some("127.0.0.1:0".parse().unwrap()),
        drain_ms: 0,
        grace_ms: 2_000,
        ..ServerConfig::default()
    }
}

pub(crate) fn hub(limits: Limits) -> (Hub, Arc<Store>) {
    let store = Store::new();
    let hub = Hub::open(Arc::clone(&store) as _, Arc::new(SystemClock::new()), limits).unwrap();
    hub.spawn_ticks().unwrap();
    (hub, store)
}

pub(crate) fn start() -> Running {
    start_with(config(), Limits::default(), axum::Router::new())
}

pub(crate) fn start_with(config: ServerConfig, limits: Limits, extra: axum::Router) -> Running {
    let (hub, store) = hub(limits);
    let server = Server::bind(config, hub).unwrap().router_extra(extra);
    let (addr, admin) = (server.local_addrs()[0], server.admin_addr().unwrap());
    let app = Arc::clone(server.app());
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(server.run(async { _ = stopped.await }));
    Running { addr, admin, app, store, stop, done }
}

impl Running {
    /// Begins the end.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        _ = self.stop.send(());
        self.done
    }

    /// One request on a connection of its own; `head` without `Host` and the empty line.
    pub(crate) async fn ask(&self, head: &str, body: &str) -> Answer {
        ask(self.addr, head, body).await
    }

    /// The same of the admin listener.
    pub(crate) async fn ask_admin(&self, head: &str) -> Answer {
        ask(self.admin, head, "").await
    }

    pub(crate) async fn open(&self, head: &str) -> TcpStream {
        open(self.addr, head, "").await
    }
}

/// A stream of the admin listener.
pub(crate) async fn open_admin(server: &Running, head: &str) -> TcpStream {
    open(server.admin, head, "").await
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The slug of a problem document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let json = self.json();
        assert_eq!(json["status"], self.status);
        json["type"].as_str().unwrap().strip_prefix("urn:tidings:problem:").unwrap().to_owned()
    }
}

async fn open(addr: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let host =
        if format!("\n{headers}").contains("\nHost:") { String::new() } else { format!("Host: {addr}\r\n") };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    let request = format!("{line} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn ask(addr: SocketAddr, head: &str, body: &str) -> Answer {
    let stream = open(addr, head, body).await;
    tokio::time::timeout(PATIENCE, read_answer(stream)).await.expect("an answer that ends")
}

/// Reads until the connection ends. Chunks are left as they are.
pub(crate) async fn read_answer(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Reads until `end` was seen, and gives all that was read.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let (mut seen, mut buffer) = (String::new(), [0; 4_096]);
    let read = async {
        while !seen.contains(end) {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    if tokio::time::timeout(PATIENCE, read).await.is_err() {
        panic!("{end:?} never came after {seen:?}");
    }
    seen
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
