//! The HTTP surface that the harness drives: start, command and stop streams, end the service.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::params::{Command, Params};
use crate::stream::Stream;

/// What a source of ours can do. Not `event-type-listeners`: it tells events of all types by itself.
const CAPABILITIES: [&str; 10] = [
    "bom",
    "comments",
    "headers",
    "last-event-id",
    "payload-size-stress-testable",
    "post",
    "read-timeout",
    "report",
    "restart",
    "server-directed-shutdown-request",
];

/// Streams at once; a harness that runs one test after the other needs a few.
const STREAMS_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 32 << 20;
/// A stream that does not stop is left after this.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Whoever still talks to a service that ends is cut off after this: long enough for the last answer.
const END_TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Clone, Default)]
struct Service(Arc<Inner>);

#[derive(Default)]
struct Inner {
    streams: Mutex<Streams>,
    end: Notify,
}

#[derive(Default)]
struct Streams {
    started: u64,
    running: HashMap<u64, Stream>,
}

/// Serves until `DELETE /`.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    let service = Service::default();
    let app = Router::new()
        .route("/", get(status).post(start).delete(end))
        .route("/streams/{number}", post(command).delete(stop))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service.clone());
    let ended = Arc::clone(&service.0);
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(async move { ended.end.notified().await });
    let serving = tokio::spawn(serving.into_future());
    let ended = Arc::clone(&service.0);
    tokio::select! {
        served = serving => served.map_err(io::Error::other)?,
        () = async { ended.end.notified().await; tokio::time::sleep(END_TIMEOUT).await } => Ok(()),
    }
}

impl Service {
    fn streams<T>(&self, look: impl FnOnce(&mut Streams) -> T) -> T {
        look(&mut self.0.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn status() -> Response {
    let body = json!({
        "name": "tidings-client",
        "clientVersion": env!("CARGO_PKG_VERSION"),
        "capabilities": CAPABILITIES,
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn start(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let order = match Params::parse(&body).and_then(Params::order) {
        Ok(order) => order,
        Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
    };
    let number = service.streams(|streams| {
        if streams.running.len() >= STREAMS_MAX {
            return None;
        }
        streams.started += 1;
        streams.running.insert(streams.started, Stream::start(order));
        Some(streams.started)
    });
    let Some(number) = number else {
        let error = format!("{STREAMS_MAX} streams run: stop some");
        return (StatusCode::SERVICE_UNAVAILABLE, error).into_response();
    };
    // By the name that the harness has for this place, which may not be ours.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let place = host.map(|host| format!("http://{host}")).unwrap_or_default();
    (StatusCode::CREATED, [(header::LOCATION, format!("{place}/streams/{number}"))]).into_response()
}

async fn command(State(service): State<Service>, Path(number): Path<String>, body: Bytes) -> Response {
    let commands = number.parse().ok().and_then(|number: u64| {
        service.streams(|streams| streams.running.get(&number).map(Stream::commands))
    });
    let Some(commands) = commands else { return StatusCode::NOT_FOUND.into_response() };
    match Command::parse(&body) {
        Ok(command) => {
            // A stream that is over is there until it is stopped, and has nothing to do.
            _ = commands.send(command).await;
            StatusCode::ACCEPTED.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}

async fn stop(State(service): State<Service>, Path(number): Path<String>) -> Response {
    let stream = number
        .parse()
        .ok()
        .and_then(|number: u64| service.streams(|streams| streams.running.remove(&number)));
    let Some(stream) = stream else { return StatusCode::NOT_FOUND.into_response() };
    // A stream stops at once; one that would not must not hold up the harness.
    _ = timeout(STOP_TIMEOUT, stream.stop()).await;
    StatusCode::NO_CONTENT.into_response()
}

async fn end(State(service): State<Service>) -> StatusCode {
    let streams: Vec<Stream> =
        service.streams(|streams| streams.running.drain().map(|(_, stream)| stream).collect());
    for stream in streams {
        _ = timeout(STOP_TIMEOUT, stream.stop()).await;
    }
    service.0.end.notify_waiters();
    StatusCode::NO_CONTENT
}
