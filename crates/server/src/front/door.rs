//! What the reactor asks about HTTP/1.1: which requests are answered on its thread, and their answers as bytes.
//!
//! Two kinds are: publishes whose body has come whole, and subscriptions to event streams. They go through the same
//! gate and the same routes as all others. Everything else (also whatever is odd, or malformed) goes on to the HTTP
//! library with the bytes that were read, so that there is one place which refuses.
//!
//! **Invariant:** a request is taken only if its length has one meaning: one `Content-Length` of digits, or none, and no
//! `Transfer-Encoding` (RFC 9112, 6.3).

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use tidings_reactor::{Answer, Door, Look, Then};
use tokio::net::TcpStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::accept::Grumble;
use super::carry::Carry;
use super::connection::{self, Limits};
use super::crossing::{Crossing, Leaving};
use super::service::Service;
use crate::app::App;
use crate::drain::Stage;
use crate::protocols::native;

/// Bytes of a body that is taken whole here.
const BODY_BYTES_MAX: usize = 60 << 10;
/// Header lines that are looked at; a request with more is for the library.
const HEADERS_MAX: usize = 64;
/// Room for a usual answer.
const ANSWER_BYTES: usize = 512;

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

/// What a request's head says that matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    method: Method,
    target: &'a str,
    head_bytes: usize,
    body_bytes: usize,
    /// The body is to be read as it comes.
    flows: bool,
    closes: bool,
}

/// What was found where a request begins.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    Partial,
    Other,
    Head(Head<'a>),
}

/// Looks at a request's head; `headers` is room for its lines.
fn head<'h, 'b: 'h>(
    bytes: &'b [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'b>>],
) -> (Found<'b>, &'h [httparse::Header<'b>]) {
    let mut request = httparse::Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return (Found::Partial, &[]),
        Err(_) => return (Found::Other, &[]),
    };
    let method = match request.method {
        Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        _ => return (Found::Other, &[]),
    };
    let (Some(target), Some(1)) = (request.path, request.version) else { return (Found::Other, &[]) };
    let headers: &'h [httparse::Header<'b>] = request.headers;
    let (mut length, mut closes, mut flows, mut wants_json) = (None, false, false, false);
    for header in headers {
        let is = |name: HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        match () {
            () if is(CONTENT_LENGTH) => match digits(header.value) {
                Some(bytes) if length.is_none() => length = Some(bytes),
                _ => return (Found::Other, headers),
            },
            () if is(TRANSFER_ENCODING) || is(http::header::EXPECT) || is(http::header::UPGRADE) => {
                return (Found::Other, headers);
            }
            () if is(CONNECTION) => match header.value {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => closes = true,
                _ => return (Found::Other, headers),
            },
            () if is(http::header::ACCEPT) => wants_json |= has(header.value, b"json"),
            () if is(http::header::CONTENT_TYPE) => {
                flows |= has(header.value, b"event-stream") || has(header.value, b"ndjson");
            }
            () => {}
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body_bytes = length.unwrap_or(0);
    // History is read and written in one piece: not on a thread that others wait for.
    let is_history = method == Method::GET && (wants_json || query.contains("format"));
    if !native::serves(path) || is_history || body_bytes > BODY_BYTES_MAX {
        return (Found::Other, headers);
    }
    if method == Method::GET && body_bytes > 0 {
        return (Found::Other, headers);
    }
    (Found::Head(Head { method, target, head_bytes, body_bytes, flows, closes }), headers)
}

fn has(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

fn digits(value: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// A request as the routes take it. It shares one copy of the bytes.
fn request(head: &Head<'_>, lines: &[httparse::Header<'_>], bytes: &[u8]) -> Option<Request<Body>> {
    let all = Bytes::copy_from_slice(bytes.get(..head.head_bytes + head.body_bytes)?);
    let place = |part: &[u8]| {
        let from = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
        (from + part.len() <= all.len()).then(|| all.slice(from..from + part.len()))
    };
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(place(line.value)?).ok()?);
    }
    let mut request = Request::new(Body::from(all.slice(head.head_bytes..)));
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from_maybe_shared(place(head.target.as_bytes())?).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

impl Door for FrontDoor {
    fn look(&mut self, bytes: &[u8]) -> Look {
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let (found, lines) = head(bytes, &mut lines);
        let head = match found {
            Found::Partial => return Look::More,
            Found::Other => return Look::Other,
            Found::Head(head) if lines.len() > self.app.config.headers_max => {
                debug!(lines = lines.len(), target = head.target.len(), "more header lines than headers_max");
                return Look::Other;
            }
            Found::Head(head) => head,
        };
        let taken = head.head_bytes + head.body_bytes;
        if bytes.len() < taken {
            return if head.flows { Look::Other } else { Look::More };
        }
        let Some(mut request) = request(&head, lines, bytes) else { return Look::Other };
        let carry = (head.method == Method::GET).then(Carry::default);
        if let Some(carry) = &carry {
            request.extensions_mut().insert(carry.clone());
        }
        let (service, app, closes) = (self.service.clone(), Arc::clone(&self.app), head.closes);
        let answer = Box::pin(async move {
            let response = service.handle(request).await;
            let closes = closes || app.drain.stage() >= Stage::Stopping;
            answer(response, carry, closes).await
        });
        Look::Request { bytes: taken, answer }
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

/// An answer as bytes, in the order in which the HTTP library writes them.
async fn answer(response: Response, carry: Option<Carry>, closes: bool) -> Answer {
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
    // What these routes answer is in memory already, and small.
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            debug!(%error, "an answer broke off");
            return Answer { bytes: Vec::new(), then: Then::Close };
        }
    };
    let has_body = parts.status != StatusCode::NO_CONTENT && parts.status != StatusCode::NOT_MODIFIED;
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        // Into memory: it cannot fail.
        _ = write!(bytes, "{CONTENT_LENGTH}: {}\r\n", body.len());
    }
    if closes {
        write_header(&CONNECTION, b"close", &mut bytes);
    }
    write_date(&mut bytes);
    bytes.extend_from_slice(&body);
    Answer { bytes, then: if closes { Then::Close } else { Then::Next } }
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
        /// The second, and how it is written.
        static NOW: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    NOW.with_borrow_mut(|(written, text)| {
        if *written != second {
            (*written, *text) = (second, httpdate::fmt_http_date(now));
        }
        write_header(&DATE, text.as_bytes(), out);
    });
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: &str) {
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let found = match head(bytes.as_bytes(), &mut lines).0 {
            Found::Partial => "partial".to_owned(),
            Found::Other => "other".to_owned(),
            Found::Head(head) => format!(
                "{} {} {}+{}{}",
                head.method,
                head.target,
                head.head_bytes,
                head.body_bytes,
                if head.closes { " close" } else { "" }
            ),
        };
        assert_eq!(found, expected, "{bytes}");
    }

    #[test]
    fn only_plain_publishes_and_subscriptions_stay() {
        check("GET /topics/a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /topics/a 35+0");
        check(
            "POST /topics/a?event=x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "POST /topics/a?event=x 54+3",
        );
        check("POST /events HTTP/1.1\r\nConnection: Close\r\n\r\n", "POST /events 44+0 close");
        check("GET /events?topic=*", "partial");
        for other in [
            "GET /topics/a HTTP/1.0\r\n\r\n",
            "PUT /topics/a HTTP/1.1\r\n\r\n",
            "HEAD /topics/a HTTP/1.1\r\n\r\n",
            "GET /elsewhere HTTP/1.1\r\n\r\n",
            "GET http://a/topics/a HTTP/1.1\r\n\r\n",
            "GET /topics/a?format=json HTTP/1.1\r\n\r\n",
            "GET /topics/a HTTP/1.1\r\nAccept: application/JSON\r\n\r\n",
            "GET /topics/a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
            "GET /topics/a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "POST /topics/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            "POST /topics/a HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01",
        ] {
            check(other, "other");
        }
    }

    #[test]
    fn a_length_with_two_meanings_is_not_taken() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Transfer-Encoding: identity",
            "transfer-encoding: xchunked",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nCONTENT-LENGTH: 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 1, 1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 18446744073709551617",
            "Content-Length : 1",
            "Content-Length: 1\r\n folded: x",
        ] {
            check(&format!("POST /topics/a HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\nx"), "other");
        }
    }

    #[test]
    fn a_request_shares_the_bytes_and_loses_none() {
        let bytes = b"POST /topics/a?event=x HTTP/1.1\r\nHost: b\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 4\r\n\r\ndataGET";
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let (Found::Head(head), lines) = head(bytes, &mut lines) else { panic!() };
        let request = request(&head, lines, bytes).unwrap();
        assert_eq!((request.uri().path(), request.uri().query()), ("/topics/a", Some("event=x")));
        assert_eq!(request.headers().get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.head_bytes + head.body_bytes, bytes.len() - 3);
    }
}
