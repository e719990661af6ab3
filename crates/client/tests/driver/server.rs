//! One connection after another, each with a script: what it reads is kept, what it answers is given.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The head of an event stream that ends with its connection.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/// The head of an event stream in chunks.
pub(crate) const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What a connection does after it has read the request.
pub(crate) enum Step {
    /// Writes this.
    Write(Vec<u8>),
    /// Waits, so that what was written arrives by itself.
    Pause,
    /// Stays open, silent, for as long as the test lasts.
    Hold,
}

pub(crate) fn write(bytes: impl AsRef<[u8]>) -> Step {
    Step::Write(bytes.as_ref().to_vec())
}

/// The usual script: `head`, `body`, close.
pub(crate) fn says(head: &str, body: &str) -> Vec<Step> {
    vec![write(head), write(body)]
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves the scripts in turn, one connection each; then it accepts no more.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("a bound address");
        let (seen, requests) = mpsc::channel(64);
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            for script in scripts {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                seen.send(read_request(&mut stream).await).await.expect("the test looks at requests");
                if play(&mut stream, script).await {
                    held.push(stream);
                } else {
                    // Reading to the end before closing: unread bytes would turn the close into a reset.
                    let _ = stream.shutdown().await;
                }
            }
            drop(listener);
            std::future::pending::<()>().await;
            drop(held);
        });
        Self { address, requests, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request, head and body, names of headers in lower case as they came.
    pub(crate) async fn request(&mut self) -> Request {
        let text = tokio::time::timeout(Duration::from_secs(10), self.requests.recv()).await;
        Request(text.expect("a request within ten seconds").expect("the server runs"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Request(pub(crate) String);

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().expect("a request line")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next().expect("a head");
        let mut values = head.lines().filter_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        let first = values.next();
        assert_eq!(values.next(), None, "{name} comes once");
        first
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").expect("a head").1
    }
}

/// Plays `script`; true if the connection is to be held.
async fn play(stream: &mut TcpStream, script: Vec<Step>) -> bool {
    for step in script {
        match step {
            Step::Write(bytes) => {
                // A client that hung up early is a matter of the test, not of its server.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
            }
            Step::Pause => tokio::time::sleep(Duration::from_millis(20)).await,
            Step::Hold => return true,
        }
    }
    false
}

pub(crate) async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().expect("a length"))
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.expect("a request");
        assert_ne!(read, 0, "the request is whole");
        bytes.extend_from_slice(&piece[..read]);
    }
}
