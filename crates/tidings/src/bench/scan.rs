//! A streamed response, byte by byte: its head, its chunks, and the marked events in it. Pure.
//!
//! Not an SSE decoder: it looks for the marks that the publisher put into the data, so that measuring costs little. A mark
//! is `@SEQ@NANOSECONDS@`: which event of its topic, and when it was to be published.

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// Bytes of a head; a longer one is none.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The longest mark: two numbers of twenty digits.
const MARK_BYTES_MAX: usize = 43;

/// What arrived, over all streams of a worker.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) opened: u64,
    pub(super) received: u64,
    pub(super) missing: u64,
    pub(super) repeated: u64,
    pub(super) bytes: u64,
    /// Microseconds from the planned publishing to the arrival.
    pub(super) latency_us: Histogram<u64>,
}

impl Tally {
    /// # Errors
    /// As [`histogram`].
    pub(super) fn new() -> Result<Self, Failure> {
        let latency_us = histogram()?;
        Ok(Self { opened: 0, received: 0, missing: 0, repeated: 0, bytes: 0, latency_us })
    }
}

/// Room for latencies of up to an hour; it grows with what it sees. Three digits are exact enough for people.
///
/// # Errors
/// The library refuses these bounds.
pub(super) fn histogram() -> Result<Histogram<u64>, Failure> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .map_err(|error| Failure::new(format!("no histogram: {error}")))?;
    histogram.auto(true);
    Ok(histogram)
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    /// The event that is to come.
    next: Option<u64>,
    /// The part of a mark that came last.
    carry: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// Until the end of the connection.
    Plain,
    /// In the line of a chunk's size, so far.
    Size(usize),
    /// Behind the digits of it.
    Extension(usize),
    /// So many bytes are left of the chunk,
    Chunk(usize),
    /// and so many of the line end behind it.
    ChunkEnd(u8),
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// Why a stream is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

impl Scan {
    /// Takes what came. `now_ns` is when.
    ///
    /// # Errors
    /// The response is not a 200.
    pub(super) fn read(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), Refused> {
        tally.bytes += bytes.len() as u64;
        let State::Head(head) = &mut self.state else {
            self.read_body(bytes, now_ns, tally);
            return Ok(());
        };
        head.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") else {
            let may_end = head.len() <= HEAD_BYTES_MAX;
            return if may_end { Ok(()) } else { Err(Refused("its head has no end".into())) };
        };
        let rest = head.split_off(end + 4);
        self.state = begin(head)?;
        tally.opened += 1;
        self.read_body(&rest, now_ns, tally);
        Ok(())
    }

    /// Whether its head has come.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    fn read_body(&mut self, mut bytes: &[u8], now_ns: u64, tally: &mut Tally) {
        while let Some((first, rest)) = bytes.split_first() {
            self.state = match self.state {
                State::Plain => return self.marks(bytes, now_ns, tally),
                State::Size(size) => {
                    bytes = rest;
                    match char::from(*first).to_digit(16) {
                        Some(digit) => State::Size(size.saturating_mul(16).saturating_add(digit as usize)),
                        None if *first == b'\n' => after_size(size),
                        None => State::Extension(size),
                    }
                }
                State::Extension(size) => {
                    bytes = rest;
                    if *first == b'\n' { after_size(size) } else { State::Extension(size) }
                }
                State::Chunk(left) => {
                    let (chunk, rest) = bytes.split_at(left.min(bytes.len()));
                    bytes = rest;
                    self.marks(chunk, now_ns, tally);
                    if chunk.len() == left { State::ChunkEnd(2) } else { State::Chunk(left - chunk.len()) }
                }
                State::ChunkEnd(left) => {
                    bytes = rest;
                    if left == 1 { State::Size(0) } else { State::ChunkEnd(left - 1) }
                }
                State::Over | State::Head(_) => return,
            };
        }
    }

    /// Finds the marks in a part of the body.
    fn marks(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) {
        let mut rest = bytes;
        if !self.carry.is_empty() {
            // What is left of a mark is short: as much as may complete it is looked at with it.
            let more = rest.len().min(MARK_BYTES_MAX);
            let mut joined = std::mem::take(&mut self.carry);
            let before = joined.len();
            joined.extend_from_slice(&rest[..more]);
            match mark(&joined) {
                Mark::Whole { seq, ns, bytes } => {
                    self.event(seq, now_ns.saturating_sub(ns), tally);
                    rest = &rest[bytes.saturating_sub(before).min(more)..];
                }
                Mark::Part if more == rest.len() => {
                    self.carry = joined;
                    return;
                }
                Mark::Part | Mark::None => {}
            }
        }
        while let Some(at) = memchr::memchr(b'@', rest) {
            rest = &rest[at..];
            match mark(rest) {
                Mark::Whole { seq, ns, bytes } => {
                    self.event(seq, now_ns.saturating_sub(ns), tally);
                    rest = &rest[bytes..];
                }
                Mark::Part => {
                    self.carry = rest.to_vec();
                    return;
                }
                Mark::None => rest = &rest[1..],
            }
        }
    }

    fn event(&mut self, seq: u64, latency_ns: u64, tally: &mut Tally) {
        tally.received += 1;
        tally.latency_us.saturating_record((latency_ns / 1_000).max(1));
        match self.next {
            Some(next) if seq > next => tally.missing += seq - next,
            Some(next) if seq < next => {
                tally.repeated += 1;
                return;
            }
            _ => {}
        }
        self.next = Some(seq + 1);
    }
}

fn begin(head: &[u8]) -> Result<State, Refused> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Refused(status.to_owned()));
    }
    let chunked = lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    Ok(if chunked { State::Size(0) } else { State::Plain })
}

fn after_size(size: usize) -> State {
    if size == 0 { State::Over } else { State::Chunk(size) }
}

#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Whole {
        seq: u64,
        ns: u64,
        bytes: usize,
    },
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
    let [seq, ns] = numbers;
    Mark::Whole { seq, ns, bytes: at }
}

/// Writes a mark.
pub(super) fn write_mark(seq: u64, ns: u64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Into memory: it cannot fail.
    _ = write!(out, "@{seq}@{ns}@");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: (u64, u64, u64)) {
        for cut in 0..=response.len() {
            for second in [cut, (cut + 7).min(response.len())] {
                let (mut scan, mut tally) = (Scan::default(), Tally::new().unwrap());
                let bytes = response.as_bytes();
                for part in [&bytes[..cut], &bytes[cut..second], &bytes[second..]] {
                    scan.read(part, 5_000_000, &mut tally).unwrap();
                }
                let found = (tally.received, tally.missing, tally.repeated);
                assert_eq!(found, expected, "cut at {cut} and {second}");
                assert_eq!(tally.opened, 1);
            }
        }
    }

    #[test]
    fn marks_are_found_at_any_split() {
        let plain = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nid: x@y\ndata: @7@1000@xx\n\ndata: @8@2000@\n\ndata: @@10@3000@ @1x@";
        check(plain, (3, 1, 0));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n9\r\ndata: @1@\r\nC;x=1\r\n1000@ @1@9@x\r\n0\r\n\r\n";
        check(chunked, (2, 0, 1));
    }

    #[test]
    fn latency_is_counted_from_the_mark() {
        let (mut scan, mut tally) = (Scan::default(), Tally::new().unwrap());
        scan.read(b"HTTP/1.1 200 OK\r\n\r\n@1@1000000@", 3_500_000, &mut tally).unwrap();
        assert!((2_495..=2_505).contains(&tally.latency_us.max()), "{}", tally.latency_us.max());
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let mut tally = Tally::new().unwrap();
        let refused = Scan::default().read(b"HTTP/1.1 503 Busy\r\n\r\n", 0, &mut tally);
        assert_eq!(refused, Err(Refused("HTTP/1.1 503 Busy".into())));
        let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert!(Scan::default().read(&endless, 0, &mut tally).is_err());
        assert_eq!(tally.opened, 0);
    }
}
