//! What the reactor asks about HTTP/1.1: which requests are answered on its thread, and their answers as bytes.
//!
//! Two kinds are: publishes whose body has come whole, and subscriptions to event streams. They go through the same
//! gate and the same routes as all others, but for publishes that need less ([`super::plain`]). Everything else (also
//! whatever is odd, or malformed) goes on to the HTTP library with the bytes that were read, so that there is one place
//! which refuses.
//!
//! What the bytes mean, [`super::request`] says.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tidings_reactor::{Answer, Door, Look, Then};
use tokio::net::TcpStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::accept::Grumble;
use super::body::Payload;
use super::carry::Carry;
use super::connection::{self, Limits};
use super::crossing::{Crossing, Leaving};
use super::plain::Short;
use super::request::{Found, HEADERS_MAX, look, request};
use super::service::Service;
use crate::app::App;
use crate::drain::Stage;
use crate::protocols::native;

/// Room for a usual answer.
pub(super) const ANSWER_BYTES: usize = 768;

/// One reactor's front door.
pub(crate) struct FrontDoor {
    app: Arc<App>,
    service: Service,
    /// One per connection that may be open.
    room: Arc<Semaphore>,
    runtime: Runtime,
    /// The way of a connection to another thread, if the reactor has a file table of its own.
    leaving: Option<Leaving>,
    full: Grumble,
    refused: Grumble,
}

impl FrontDoor {
    pub(crate) fn new(
        app: Arc<App>,
        service: Service,
        room: Arc<Semaphore>,
        runtime: Runtime,
        crossing: Option<Arc<Crossing>>,
    ) -> Self {
        let (lost_app, lost_room) = (Arc::clone(&app), Arc::clone(&room));
        let lost = move |error: io::Error| {
            debug!(%error, "a connection was lost on its way to another thread");
            drop(Open::new(&lost_app, &lost_room));
        };
        let leaving = crossing.map(|crossing| Leaving::new(crossing, Arc::new(lost)));
        Self { app, service, room, runtime, leaving, full: Grumble::default(), refused: Grumble::default() }
    }
}

/// Serves a connection that no reactor serves, in a task of its own.
pub(crate) fn serve(
    runtime: &Runtime,
    service: &Service,
    handed: Open,
    socket: std::net::TcpStream,
    read: Vec<u8>,
) {
    let service = service.clone();
    runtime.spawn(async move {
        match TcpStream::from_std(socket) {
            Ok(socket) => {
                let app = &handed.app;
                let limits = Limits::new(&app.config);
                let registered = app.connections.enter(socket.peer_addr().ok(), "public");
                connection::serve(socket, read, service, &limits, &app.drain, registered.held()).await;
            }
            Err(error) => debug!(%error, "connection was gone before it was handed on"),
        }
        drop(handed);
    });
}

impl Door for FrontDoor {
    fn look(&mut self, bytes: &[u8]) -> Look {
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let (head, lines) = match look(bytes, &mut lines, self.app.config.headers_max, native::serves) {
            Found::More => return Look::More,
            Found::Other => return Look::Other,
            Found::TooMany(lines) => {
                debug!(lines, "more header lines than headers_max");
                return Look::Other;
            }
            Found::Whole(head, lines) => (head, lines),
        };
        if let Some(short) = Short::new(&self.app, &head, lines, bytes) {
            return Look::Request {
                bytes: head.bytes(),
                answer: Box::pin(short.answer(Arc::clone(&self.app))),
            };
        }
        let Some(request) = request(&head, lines, bytes) else { return Look::Other };
        let (mut parts, body) = request.into_parts();
        let carry = (head.method == Method::GET).then(Carry::default);
        if let Some(carry) = &carry {
            parts.extensions.insert(carry.clone());
        }
        let (service, app, closes) = (self.service.clone(), Arc::clone(&self.app), head.closes);
        let answer = Box::pin(async move {
            let response = service.respond(&mut parts, Payload::Whole(body)).await;
            answer(response, carry, closes || is_stopping(&app)).await
        });
        Look::Request { bytes: head.bytes(), answer }
    }

    fn hand_off(&mut self, socket: std::net::TcpStream, read: Vec<u8>) {
        if let Some(leaving) = &mut self.leaving {
            return leaving.send(socket, read);
        }
        serve(&self.runtime, &self.service, Open::new(&self.app, &self.room), socket, read);
    }

    fn take_room(&mut self) -> bool {
        if let Ok(place) = self.room.try_acquire() {
            place.forget();
            return true;
        }
        self.app.counters.waited();
        if self.full.may_speak(Instant::now()) {
            let connections = self.app.counters.connections();
            warn!(connections, "connections_max reached; others wait in the backlog");
        }
        false
    }

    fn give_room_back(&mut self) {
        self.room.add_permits(1);
    }

    fn opened(&mut self) {
        self.app.counters.connected();
    }

    fn left(&mut self) {
        drop(Open::new(&self.app, &self.room));
    }

    fn accept_failed(&mut self, error: &io::Error) {
        self.app.counters.accept_error();
        if self.refused.may_speak(Instant::now()) {
            warn!(
                %error,
                "the system refuses new connections; raise the limit of open files, or lower connections_max"
            );
        }
    }
}

/// A connection that is counted, and in its room, for as long as this lives.
pub(crate) struct Open {
    app: Arc<App>,
    room: Arc<Semaphore>,
}

impl Open {
    /// One that was let in and is counted.
    pub(crate) fn new(app: &Arc<App>, room: &Arc<Semaphore>) -> Self {
        Self { app: Arc::clone(app), room: Arc::clone(room) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.counters.disconnected();
        self.room.add_permits(1);
    }
}

/// Whether a connection ends with the answer that it gets now.
pub(super) fn is_stopping(app: &App) -> bool {
    app.drain.stage() >= Stage::Stopping
}

/// An answer as bytes, in the order in which the HTTP library writes them.
pub(super) async fn answer(response: Response, carry: Option<Carry>, closes: bool) -> Answer {
    let (parts, body) = response.into_parts();
    let carried = carry.and_then(|carry| carry.take());
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    write_status(parts.status, &mut bytes);
    for (name, value) in &parts.headers {
        write_header(name, value.as_bytes(), &mut bytes);
    }
    if let Some(carried) = carried {
        write_header(&TRANSFER_ENCODING, b"chunked", &mut bytes);
        write_date(&mut bytes);
        return Answer { bytes, then: Then::Stream(carried) };
    }
    let body = match whole(body).await {
        Ok(body) => body,
        Err(error) => {
            debug!(%error, "an answer broke off");
            return Answer { bytes: Vec::new(), then: Then::Close };
        }
    };
    let has_length = parts.status != StatusCode::NO_CONTENT
        && parts.status != StatusCode::NOT_MODIFIED
        && !parts.headers.contains_key(CONTENT_LENGTH);
    write_end(&body, has_length, closes, &mut bytes);
    Answer { bytes, then: if closes { Then::Close } else { Then::Next } }
}

/// The body of an answer. What these routes answer is in memory already, and small: it comes in one piece.
async fn whole(mut body: Body) -> Result<Bytes, axum::Error> {
    let first = match body.frame().await {
        None => return Ok(Bytes::new()),
        Some(frame) => frame?.into_data().unwrap_or_default(),
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = Box::pin(body.collect()).await?.to_bytes();
    Ok([first, rest].concat().into())
}

/// What follows the headers of an answer: those that the connection adds, and the body.
pub(super) fn write_end(body: &[u8], has_length: bool, closes: bool, out: &mut Vec<u8>) {
    if has_length {
        write_header(&CONTENT_LENGTH, decimal(body.len(), &mut [0; 20]), out);
    }
    if closes {
        write_header(&CONNECTION, b"close", out);
    }
    write_date(out);
    out.extend_from_slice(body);
}

/// A number's digits, at the end of some room for them.
fn decimal(mut number: usize, room: &mut [u8; 20]) -> &[u8] {
    let mut from = room.len();
    for place in room.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        from -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    room.get(from..).unwrap_or_default()
}

fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_header(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The last header line, and the end of the head.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        /// The second, and how both are written.
        static NOW: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    NOW.with_borrow_mut(|(written, text)| {
        if *written != second {
            text.clear();
            write_header(&DATE, httpdate::fmt_http_date(now).as_bytes(), text);
            text.extend_from_slice(b"\r\n");
            *written = second;
        }
        out.extend_from_slice(text);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_as_digits() {
        for number in [0, 7, 10, 109, 4_096, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
