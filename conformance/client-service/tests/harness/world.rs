//! The service as a process, a stream server whose every chunk is the test's, and the receiver of callbacks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::routing::post;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Far longer than the harness waits for a message: a busy machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const OPEN: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The service, and a client to talk to it.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) process: Child,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_client-service"))
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { url, process }
    }

    pub(crate) async fn ask(&self, method: Method, url: &str, body: impl Into<Bytes>) -> Answer {
        let url = if url.starts_with('/') { format!("{}{url}", self.url) } else { url.to_owned() };
        let request = Request::builder().method(method).uri(url).body(Full::new(body.into())).unwrap();
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Starts a stream at `url` with more parameters.
    pub(crate) async fn stream(&self, url: &str, mut params: Value) -> Sse {
        let callbacks = Callbacks::start().await;
        params["streamUrl"] = url.into();
        params["callbackUrl"] = callbacks.url.clone().into();
        params["tag"] = "a test".into();
        let answer = self.ask(Method::POST, "/", params.to_string()).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, answer.body);
        let place = answer.headers["location"].to_str().unwrap().to_owned();
        assert!(place.starts_with("http://"), "{place}");
        Sse { callbacks, place }
    }

    /// The usual test: a server, a stream that has reached it, and its connection.
    pub(crate) async fn connected(&self, params: Value) -> (StreamServer, Connection, Sse) {
        let mut server = StreamServer::start().await;
        let stream = self.stream(&server.url, params).await;
        let connection = server.accept().await;
        (server, connection, stream)
    }

    pub(crate) async fn command(&self, stream: &Sse, command: Value) -> StatusCode {
        self.ask(Method::POST, &stream.place, command.to_string()).await.status
    }
}

/// A stream that the service runs.
pub(crate) struct Sse {
    pub(crate) callbacks: Callbacks,
    pub(crate) place: String,
}

impl Sse {
    /// The next message is this event.
    #[track_caller]
    pub(crate) fn sees<'a>(
        &'a mut self,
        event: &'a str,
        data: &'a str,
        id: &'a str,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let expected = json!({"kind": "event", "event": {"type": event, "data": data, "id": id}});
            assert_eq!(self.callbacks.next().await, expected, "from {caller}");
        }
    }

    pub(crate) async fn sees_comment(&mut self, comment: &str) {
        assert_eq!(self.callbacks.next().await, json!({"kind": "comment", "comment": comment}));
    }

    pub(crate) async fn sees_error(&mut self) -> String {
        let message = self.callbacks.next().await;
        assert_eq!(message["kind"], "error", "{message}");
        message["comment"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn sees_nothing_for(&mut self, millis: u64) {
        let seen = timeout(Duration::from_millis(millis), self.callbacks.messages.recv()).await;
        assert!(seen.is_err(), "{seen:?}");
    }
}

/// Takes callbacks; what is out of order, or comes while another is being taken, is a failure.
pub(crate) struct Callbacks {
    url: String,
    messages: mpsc::Receiver<Result<Value, String>>,
}

struct Desk {
    busy: AtomicBool,
    next: std::sync::atomic::AtomicU64,
    messages: mpsc::Sender<Result<Value, String>>,
}

impl Callbacks {
    pub(crate) async fn start() -> Self {
        let (sender, messages) = mpsc::channel(4_096);
        let desk = Arc::new(Desk { busy: AtomicBool::new(false), next: 1.into(), messages: sender });
        let app = Router::new().route("/back/{number}", post(take)).layer(DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/back", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app.with_state(desk)).await.unwrap() });
        Self { url, messages }
    }

    pub(crate) async fn next(&mut self) -> Value {
        let message = timeout(PATIENCE, self.messages.recv()).await;
        message.expect("a message in time").expect("the desk is open").unwrap()
    }
}

async fn take(State(desk): State<Arc<Desk>>, Path(number): Path<u64>, body: Bytes) -> StatusCode {
    let overlaps = desk.busy.swap(true, Ordering::SeqCst);
    // Long enough that a second one, if it were sent, would come meanwhile.
    sleep(Duration::from_millis(1)).await;
    let expected = desk.next.fetch_add(1, Ordering::SeqCst);
    let message = match serde_json::from_slice(&body) {
        _ if overlaps => Err(format!("callback {number} came before the one before it was taken")),
        _ if number != expected => Err(format!("callback {number} in place of {expected}")),
        Ok(message) => Ok(message),
        Err(error) => Err(error.to_string()),
    };
    desk.busy.store(false, Ordering::SeqCst);
    // Nobody waits for it once the test is over.
    _ = desk.messages.send(message).await;
    StatusCode::ACCEPTED
}

/// A server that accepts, reads a request and leaves the rest to the test.
pub(crate) struct StreamServer {
    pub(crate) url: String,
    listener: TcpListener,
}

impl StreamServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { url: format!("http://{}/stream", listener.local_addr().unwrap()), listener }
    }

    /// The next connection, its request read, nothing answered.
    pub(crate) async fn request(&mut self) -> Connection {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.expect("a connection in time");
        let (mut socket, _): (TcpStream, SocketAddr) = accepted.unwrap();
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let mut lines: VecDeque<&str> = head.lines().collect();
                let line = lines.pop_front().unwrap().to_owned();
                let headers: Vec<(String, String)> = lines
                    .iter()
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                    .collect();
                let length = headers.iter().find(|(name, _)| name == "content-length");
                let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
                if body.len() >= length {
                    return Connection { socket, line, headers, body: body.to_owned() };
                }
            }
            assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "a whole request");
        }
    }

    /// The same with the stream opened.
    pub(crate) async fn accept(&mut self) -> Connection {
        let mut connection = self.request().await;
        connection.write(OPEN.as_bytes()).await;
        connection
    }

    pub(crate) async fn nobody_for(&mut self, millis: u64) {
        let accepted = timeout(Duration::from_millis(millis), self.listener.accept()).await;
        assert!(accepted.is_err(), "nobody should come");
    }
}

pub(crate) struct Connection {
    socket: TcpStream,
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As it stands.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// A chunk of the stream. The pause makes it arrive by itself.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.write(&chunk).await;
        sleep(Duration::from_millis(2)).await;
    }

    /// Ends the stream and keeps the connection, as a server does whose handler returns. What comes over it after that
    /// is given back: none of it may be a request.
    pub(crate) async fn finish(mut self) -> Vec<u8> {
        self.write(b"0\r\n\r\n").await;
        let mut more = Vec::new();
        _ = timeout(PATIENCE, self.socket.read_to_end(&mut more)).await.expect("it is closed in time");
        more
    }

    /// Breaks the connection within the stream.
    pub(crate) fn cut(self) {
        drop(self);
    }
}
