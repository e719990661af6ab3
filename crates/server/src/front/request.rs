//! Which requests a reactor answers itself, and where each ends: the plain ones, whose bytes have one meaning. Pure: it knows
//! bytes, and no socket, route or hub. Everything else is left to the HTTP library.
//!
//! **Invariant:** a request is taken only if its length has one meaning: one `Content-Length` of digits, or none, and no
//! `Transfer-Encoding` (RFC 9112, 6.3). The fuzzer holds it (`fuzz/src/door.rs`).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// Bytes of a body that is taken whole here.
const BODY_BYTES_MAX: usize = 60 << 10;
/// Header lines that are looked at; a request with more is for the library.
pub(crate) const HEADERS_MAX: usize = 64;

/// What a request's head says that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) method: Method,
    pub(crate) target: &'a str,
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: usize,
    /// The body is to be read as it comes.
    pub(crate) flows: bool,
    pub(crate) closes: bool,
}

/// What was found where a request begins.
#[derive(Debug)]
pub(crate) enum Found<'h, 'b> {
    /// A part of something that may be one.
    More,
    /// Nothing that is taken here.
    Other,
    /// Nor is this: so many header lines are too many.
    TooMany(usize),
    /// A whole request: its head, and the lines of it.
    Whole(Head<'b>, &'h [httparse::Header<'b>]),
}

impl Head<'_> {
    /// Of the whole request.
    pub(crate) fn bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

/// Looks at what begins where a request begins; `headers` is room for its lines, of which there may be `lines_max`, and `serves` says of a path whether it is
/// one of those that are answered here.
pub(crate) fn look<'h, 'b: 'h>(
    bytes: &'b [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'b>>],
    lines_max: usize,
    serves: fn(&str) -> bool,
) -> Found<'h, 'b> {
    match head(bytes, headers, serves) {
        Ok((_, lines)) if lines.len() > lines_max => Found::TooMany(lines.len()),
        Ok((head, lines)) if head.bytes() <= bytes.len() => Found::Whole(head, lines),
        Ok((head, _)) if head.flows => Found::Other,
        Ok(_) => Found::More,
        Err(found) => found,
    }
}

type Lines<'h, 'b> = &'h [httparse::Header<'b>];

/// Looks at a request's head.
fn head<'h, 'b: 'h>(
    bytes: &'b [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'b>>],
    serves: fn(&str) -> bool,
) -> Result<(Head<'b>, Lines<'h, 'b>), Found<'h, 'b>> {
    let mut request = httparse::Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Err(Found::More),
        Err(_) => return Err(Found::Other),
    };
    let method = match request.method {
        Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        _ => return Err(Found::Other),
    };
    let (Some(target), Some(1)) = (request.path, request.version) else { return Err(Found::Other) };
    let headers: &'h [httparse::Header<'b>] = request.headers;
    let (mut length, mut closes, mut flows, mut wants_json) = (None, false, false, false);
    for header in headers {
        let is = |name: HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        match () {
            () if is(CONTENT_LENGTH) => match digits(header.value) {
                Some(bytes) if length.is_none() => length = Some(bytes),
                _ => return Err(Found::Other),
            },
            () if is(TRANSFER_ENCODING) || is(http::header::EXPECT) || is(http::header::UPGRADE) => {
                return Err(Found::Other);
            }
            () if is(CONNECTION) => match header.value {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => closes = true,
                _ => return Err(Found::Other),
            },
            () if is(http::header::ACCEPT) => wants_json |= has(header.value, b"json"),
            () if is(http::header::CONTENT_TYPE) => {
                flows |= has(header.value, b"event-stream") || has(header.value, b"ndjson");
            }
            () => {}
        }
    }
    let mark = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at_checked(mark).unwrap_or((target, ""));
    let body_bytes = length.unwrap_or(0);
    // History is read and written in one piece: not on a thread that others wait for.
    let is_history = method == Method::GET && (wants_json || query.contains("format"));
    if !serves(path) || is_history || body_bytes > BODY_BYTES_MAX {
        return Err(Found::Other);
    }
    if method == Method::GET && body_bytes > 0 {
        return Err(Found::Other);
    }
    Ok((Head { method, target, head_bytes, body_bytes, flows, closes }, headers))
}

fn has(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

fn digits(value: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// A request as the routes take it. It shares one copy of the bytes.
pub(crate) fn request(
    head: &Head<'_>,
    lines: &[httparse::Header<'_>],
    bytes: &[u8],
) -> Option<Request<Bytes>> {
    let all = Bytes::copy_from_slice(bytes.get(..head.bytes())?);
    let place = |part: &[u8]| {
        let from = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
        (from + part.len() <= all.len()).then(|| all.slice(from..from + part.len()))
    };
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(place(line.value)?).ok()?);
    }
    let mut request = Request::new(all.slice(head.head_bytes..));
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from_maybe_shared(place(head.target.as_bytes())?).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(path: &str) -> bool {
        path == "/events" || path.starts_with("/topics/")
    }

    #[track_caller]
    fn check(bytes: &str, expected: &str) {
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let found = match head(bytes.as_bytes(), &mut lines, serves) {
            Err(Found::More) => "partial".to_owned(),
            Err(_) => "other".to_owned(),
            Ok((head, _)) => format!(
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
        let Found::Whole(head, lines) = look(bytes, &mut lines, HEADERS_MAX, serves) else { panic!() };
        let request = request(&head, lines, bytes).unwrap();
        assert_eq!((request.uri().path(), request.uri().query()), ("/topics/a", Some("event=x")));
        assert_eq!(request.headers().get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((head.bytes(), request.body().as_ref()), (bytes.len() - 3, &b"data"[..]));
    }
}
