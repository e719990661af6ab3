//! Where each request of an HTTP/1 connection begins and ends, followed byte by byte beside the parser, to spoil a
//! head whose length has two meanings.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is read one way here and maybe another way by a
//! proxy in front: that is how requests are smuggled (RFC 9112, 6.3). The HTTP library takes the second meaning and
//! goes on. So the colon of whichever header comes second is overwritten before the library sees it, which makes
//! the line malformed: it answers 400 and closes. Everything else that is malformed is left to the library.
//!
//! Not a parser: it understands only as much as it needs to know where a body ends, and refuses nothing itself.

/// Follows one connection's incoming bytes.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    state: State,
    head: Head,
}

#[derive(Debug, Default)]
enum State {
    /// At the start of a request, where empty lines may stand.
    #[default]
    Start,
    /// In the request line.
    RequestLine,
    /// At the start of a header line; an empty line ends the head.
    LineStart,
    /// In a header's name: so many bytes of it are kept in [`Head::name`].
    Name(usize),
    /// In the value of a header that says nothing about length.
    Value,
    /// In the value of `Content-Length`.
    Length,
    /// In a body: so many bytes are left.
    Body(u64),
    /// In the line that gives a chunk's size.
    ChunkSize(u64, Digits),
    /// In a chunk and the line end after it.
    Chunk(u64),
    /// In a line behind the last chunk: so many bytes of it were seen.
    Trailer(usize),
    /// Malformed: the library answers and closes, nothing further matters.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Expected,
    Over,
}

#[derive(Debug, Default)]
struct Head {
    name: [u8; NAME_BYTES],
    length: Option<u64>,
    chunked: bool,
}

/// `transfer-encoding` has 17 bytes; a longer name is another one.
const NAME_BYTES: usize = 18;

impl Framing {
    /// Looks at what came, in order, and spoils what must not pass.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while let Some((first, _)) = rest.split_first_mut() {
            let taken = match &mut self.state {
                State::Done => return,
                State::Body(left) | State::Chunk(left) => {
                    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkSize(0, Digits::Expected),
                            _ => State::Start,
                        };
                    }
                    usize::try_from(here).unwrap_or(usize::MAX)
                }
                _ => {
                    self.step(first);
                    1
                }
            };
            rest = rest.get_mut(taken..).unwrap_or_default();
        }
    }

    fn step(&mut self, byte: &mut u8) {
        let state = std::mem::take(&mut self.state);
        self.state = match (state, *byte) {
            (State::Start, b'\r' | b'\n') => State::Start,
            (State::Start, _) => {
                self.head = Head::default();
                State::RequestLine
            }
            (State::RequestLine | State::Value | State::Length, b'\n') => State::LineStart,
            (State::RequestLine, _) => State::RequestLine,
            (State::LineStart, b'\r') => State::LineStart,
            (State::LineStart, b'\n') => self.body(),
            // Only visible in lenient parsers; the library refuses such a line.
            (State::LineStart, b' ' | b'\t') => State::Done,
            (State::LineStart, first) => self.name(0, first),
            (State::Name(_), b'\n') => State::Done,
            (State::Name(seen), b':') => self.value(seen, byte),
            (State::Name(seen), next) => self.name(seen, next),
            (State::Length, digit) => {
                self.digit(digit);
                State::Length
            }
            (State::Value, _) => State::Value,
            (State::ChunkSize(0, _), b'\n') => State::Trailer(0),
            // The line end behind the chunk's bytes counts as part of it; the library checks that it is one.
            (State::ChunkSize(size, _), b'\n') => State::Chunk(size.saturating_add(2)),
            (State::ChunkSize(size, Digits::Expected), digit) => match char::from(digit).to_digit(16) {
                Some(digit) => {
                    let size = size.saturating_mul(16).saturating_add(u64::from(digit));
                    State::ChunkSize(size, Digits::Expected)
                }
                None => State::ChunkSize(size, Digits::Over),
            },
            (State::ChunkSize(size, Digits::Over), _) => State::ChunkSize(size, Digits::Over),
            (State::Trailer(0), b'\n') => State::Start,
            (State::Trailer(_), b'\n') => State::Trailer(0),
            (State::Trailer(seen), b'\r') => State::Trailer(seen),
            (State::Trailer(seen), _) => State::Trailer(seen.saturating_add(1)),
            (State::Body(_) | State::Chunk(_) | State::Done, _) => State::Done,
        };
    }

    fn name(&mut self, seen: usize, byte: u8) -> State {
        match self.head.name.get_mut(seen) {
            Some(place) => {
                *place = byte.to_ascii_lowercase();
                State::Name(seen + 1)
            }
            None => State::Name(seen),
        }
    }

    fn value(&mut self, seen: usize, colon: &mut u8) -> State {
        let name = self.head.name.get(..seen).unwrap_or_default();
        let (length, chunked) = (name == b"content-length", name == b"transfer-encoding");
        // Nor can a body be chunked twice.
        if self.head.chunked && (length || chunked) || chunked && self.head.length.is_some() {
            // No header name has a NUL in it.
            *colon = 0;
            return State::Done;
        }
        self.head.chunked |= chunked;
        if length {
            // A repeated one with another value is refused by the library.
            self.head.length = Some(0);
            return State::Length;
        }
        State::Value
    }

    fn digit(&mut self, byte: u8) {
        if let (Some(length), Some(digit)) = (&mut self.head.length, char::from(byte).to_digit(10)) {
            *length = length.saturating_mul(10).saturating_add(u64::from(digit));
        }
    }

    fn body(&self) -> State {
        match self.head.length {
            _ if self.head.chunked => State::ChunkSize(0, Digits::Expected),
            Some(0) | None => State::Start,
            Some(length) => State::Body(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes at every split; `spoilt` is where a NUL must stand then, if anywhere.
    #[track_caller]
    fn check(input: &str, spoilt: Option<usize>) {
        let mut expected = input.as_bytes().to_vec();
        if let Some(place) = spoilt {
            assert_eq!(expected[place], b':');
            expected[place] = 0;
        }
        for cut in 0..=input.len() {
            let (mut framing, mut bytes) = (Framing::default(), input.as_bytes().to_vec());
            let (head, tail) = bytes.split_at_mut(cut);
            framing.pass(head);
            framing.pass(tail);
            assert_eq!(bytes, expected, "cut at {cut}: {}", String::from_utf8_lossy(&bytes));
        }
    }

    fn colon_of(input: &str, header: &str) -> Option<usize> {
        Some(input.rfind(header).unwrap() + header.len())
    }

    #[test]
    fn two_lengths_are_spoilt_in_either_order() {
        let te_last = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        check(te_last, colon_of(te_last, "Transfer-Encoding"));
        let cl_last = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nHost: a\r\nCONTENT-LENGTH: 5\r\n\r\n";
        check(cl_last, colon_of(cl_last, "CONTENT-LENGTH"));
        let twice = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(twice, colon_of(twice, "Transfer-Encoding"));
        let bare_lf = "POST / HTTP/1.1\ntransfer-encoding: chunked\nContent-Length: 5\n\n";
        check(bare_lf, colon_of(bare_lf, "Content-Length"));
    }

    #[test]
    fn one_length_passes_and_bodies_are_skipped() {
        let lure = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for good in [
            format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{lure}GET / HTTP/1.1\r\n\r\n", lure.len()),
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x};ext=\"1\"\r\n{lure}\r\n0\r\nContent-Length: 3\r\n\r\n\
                 POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                lure.len()
            ),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /Transfer-Encoding: HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nx-transfer-encoding: chunked\r\n\r\na".to_owned(),
            format!(
                "GET / HTTP/1.1\r\n{}: a\r\ncontent-length: 0\r\n\r\n",
                "transfer-encoding-long".repeat(9)
            ),
        ] {
            check(&good, None);
        }
    }

    #[test]
    fn later_requests_are_looked_at_too() {
        for first in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
        ] {
            let input =
                format!("{first}PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
            check(&input, colon_of(&input, "Transfer-Encoding"));
        }
    }

    #[test]
    fn any_bytes_are_followed() {
        let mut state = 9u64;
        for _ in 0..20_000 {
            let mut framing = Framing::default();
            let mut bytes: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"\r\n: 0fFtT\0\xff"[usize::try_from(state >> 40).unwrap() % 11]
                })
                .collect();
            framing.pass(&mut bytes);
        }
        let mut huge =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx".to_vec();
        Framing::default().pass(&mut huge);
    }
}
