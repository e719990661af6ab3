//! What comes over a connection, byte by byte: HTTP responses one after the other, an open stream, WebSocket frames; and
//! the marks in what they carry. Pure.
//!
//! A mark is `@SEQ@NANOSECONDS@`, as `tidings bench` writes it: which event, and when it was to be published.

/// Bytes of a head; a longer one is none.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A step of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// A head, with its status.
    Begun(u16),
    /// Payload, without what frames it.
    Bytes(&'a [u8]),
    /// A response is whole.
    End,
    /// The peer of a WebSocket asks for an answer to these bytes.
    Ping(&'a [u8]),
    /// The peer of a WebSocket says goodbye.
    Close,
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// Until the end of the connection.
    Plain,
    Counted(usize),
    /// In the line of a chunk's size, so far.
    Size(usize),
    /// Behind the digits of it.
    Extension(usize),
    Chunk(usize),
    /// So many bytes of the line end behind a chunk; behind the last one the response is whole.
    ChunkEnd(u8, bool),
    /// A frame's head, as far as it came.
    Frame(Vec<u8>),
    Payload(usize),
    /// A control frame: its kind, how long it is, and what came of it.
    Control(u8, usize, Vec<u8>),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    state: State,
}

impl Default for Wire {
    fn default() -> Self {
        Self { state: State::Head(Vec::new()) }
    }
}

impl Wire {
    /// Takes what came, and says what it was. False: that is no HTTP.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut say: impl FnMut(Part<'_>)) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            let next = match &mut self.state {
                State::Head(head) => {
                    let before = head.len();
                    head.extend_from_slice(bytes);
                    let from = before.saturating_sub(3);
                    let Some(end) = head[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
                        return head.len() <= HEAD_BYTES_MAX;
                    };
                    let end = from + end + 4;
                    bytes = &bytes[end - before..];
                    let Some((status, state)) = begin(&head[..end]) else { return false };
                    say(Part::Begun(status));
                    if matches!(state, State::Counted(0)) { end_of(&mut say) } else { state }
                }
                State::Plain => {
                    say(Part::Bytes(bytes));
                    return true;
                }
                State::Counted(left) | State::Chunk(left) | State::Payload(left) => {
                    let (now, rest) = bytes.split_at((*left).min(bytes.len()));
                    bytes = rest;
                    *left -= now.len();
                    let left = *left;
                    say(Part::Bytes(now));
                    match (&self.state, left) {
                        (State::Counted(_), 0) => end_of(&mut say),
                        (State::Chunk(_), 0) => State::ChunkEnd(2, false),
                        (State::Payload(_), 0) => State::Frame(Vec::new()),
                        _ => continue,
                    }
                }
                State::Size(size) | State::Extension(size) if *first == b'\n' => {
                    bytes = rest;
                    if *size == 0 { State::ChunkEnd(2, true) } else { State::Chunk(*size) }
                }
                State::Size(size) => {
                    bytes = rest;
                    match char::from(*first).to_digit(16) {
                        Some(digit) => State::Size(size.saturating_mul(16).saturating_add(digit as usize)),
                        None => State::Extension(*size),
                    }
                }
                State::Extension(_) => {
                    bytes = rest;
                    continue;
                }
                State::ChunkEnd(left, is_last) => {
                    bytes = rest;
                    match (*left, *is_last) {
                        (1, true) => end_of(&mut say),
                        (1, false) => State::Size(0),
                        (left, is_last) => State::ChunkEnd(left - 1, is_last),
                    }
                }
                State::Frame(head) => {
                    bytes = rest;
                    head.push(*first);
                    match frame(head) {
                        Some((kind, length)) if kind >= 8 => control(kind, length, Vec::new(), &mut say),
                        Some((_, 0)) => State::Frame(Vec::new()),
                        Some((_, length)) => State::Payload(length),
                        None => continue,
                    }
                }
                State::Control(kind, length, came) => {
                    bytes = rest;
                    came.push(*first);
                    control(*kind, *length, std::mem::take(came), &mut say)
                }
            };
            self.state = next;
        }
        true
    }
}

fn end_of(say: &mut impl FnMut(Part<'_>)) -> State {
    say(Part::End);
    State::Head(Vec::new())
}

fn control(kind: u8, length: usize, came: Vec<u8>, say: &mut impl FnMut(Part<'_>)) -> State {
    if came.len() < length {
        return State::Control(kind, length, came);
    }
    match kind {
        8 => say(Part::Close),
        9 => say(Part::Ping(&came)),
        _ => {}
    }
    State::Frame(Vec::new())
}

/// A frame's kind and length, once its head is whole. What a server sends is not masked.
fn frame(head: &[u8]) -> Option<(u8, usize)> {
    let [first, length, more @ ..] = head else { return None };
    let number = |bytes: &[u8]| bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    let length = match length & 0x7f {
        126 => more.get(..2).map(number)?,
        127 => more.get(..8).map(number)?,
        short => usize::from(short),
    };
    Some((first & 0x0f, length))
}

fn begin(head: &[u8]) -> Option<(u16, State)> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = text.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let state = match status {
        101 => State::Frame(Vec::new()),
        204 | 304 => State::Counted(0),
        _ if value("transfer-encoding:") == Some("chunked") => State::Size(0),
        _ => value("content-length:").map_or(Some(State::Plain), |n| n.parse().ok().map(State::Counted))?,
    };
    Some((status, state))
}

/// The marks in what a client receives.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// What may be the beginning of one.
    tail: Vec<u8>,
}

impl Marks {
    /// Says which events are in these bytes: their number, and when they were to be published.
    pub(crate) fn read(&mut self, bytes: &[u8], mut say: impl FnMut(u64, u64)) {
        let joined;
        let mut rest = bytes;
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.tail);
            rest = &joined;
        }
        while let Some(at) = memchr::memchr(b'@', rest) {
            rest = &rest[at..];
            match mark(rest) {
                Mark::Whole(seq, ns, length) => {
                    say(seq, ns);
                    rest = &rest[length..];
                }
                Mark::Part => {
                    self.tail = rest.to_vec();
                    return;
                }
                Mark::None => rest = &rest[1..],
            }
        }
    }

    /// What comes next does not continue what came.
    pub(crate) fn cut(&mut self) {
        self.tail.clear();
    }
}

enum Mark {
    /// Its numbers, and how long it is.
    Whole(u64, u64, usize),
    /// More bytes may make it one.
    Part,
    None,
}

/// Reads a mark that begins at the first byte.
fn mark(bytes: &[u8]) -> Mark {
    let (mut numbers, mut at) = ([0u64; 2], 1);
    for number in &mut numbers {
        let from = at;
        loop {
            match bytes.get(at) {
                Some(digit @ b'0'..=b'9') => {
                    *number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                    at += 1;
                }
                Some(b'@') if at > from => break,
                None if at - from <= 20 => return Mark::Part,
                _ => return Mark::None,
            }
        }
        at += 1;
    }
    Mark::Whole(numbers[0], numbers[1], at)
}

/// Writes a mark.
pub(crate) fn write_mark(seq: u64, ns: u64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Into memory: it cannot fail.
    _ = write!(out, "@{seq}@{ns}@");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `bytes` say, whole and at every split, as one text.
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        for cut in 0..=bytes.len() {
            let (mut wire, mut said, mut marks) = (Wire::default(), String::new(), Marks::default());
            for part in [&bytes[..cut], &bytes[cut..]] {
                let is_http = wire.read(part, |part| match part {
                    Part::Bytes(bytes) => marks.read(bytes, |seq, ns| said += &format!("{seq}@{ns} ")),
                    Part::Begun(status) => said += &format!("{status} "),
                    other => said += &format!("{other:?} "),
                });
                assert!(is_http);
            }
            assert_eq!(said.trim_end(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn responses_follow_each_other() {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"@1@22@\"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n@2@3\r\n2\r\n3@\r\n0\r\n\r\nHTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        check(two.as_bytes(), "200 1@22 End 204 End 200 2@33 End 503 End");
        check(b"HTTP/1.1 200 OK\r\n\r\nx@y @@7@8@x@9@1@", "200 7@8 9@1");
    }

    #[test]
    fn frames_are_taken_apart() {
        let mut bytes = b"HTTP/1.1 101 Switching\r\n\r\n".to_vec();
        bytes.extend_from_slice(b"\x81\x05@1@2@\x89\x02hi\x81\x00\x81\x7e\x00\xc8@3@4@");
        bytes.extend_from_slice(&[b'x'; 195]);
        bytes.extend_from_slice(b"\x81\x7f\0\0\0\0\0\0\0\x05@5@6@\x88\x00");
        check(&bytes, "101 1@2 Ping([104, 105]) 3@4 5@6 Close");
    }

    #[test]
    fn what_is_no_http_is_refused() {
        assert!(!Wire::default().read(b"SSH-2.0\r\n\r\n", |_| {}));
        assert!(!Wire::default().read(&vec![b'a'; HEAD_BYTES_MAX + 1], |_| {}));
    }
}
