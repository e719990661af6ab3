//! Keep-alive connections with one request under way on each.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Options;

/// Longest answer that is understood.
const ANSWER_BYTES_MAX: usize = 16 << 10;

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    begun: Instant,
}

pub fn run(options: &Options) -> Result<(), String> {
    let to = options.address()?;
    let count = options.number("connections", 64)?;
    let warm_up = Duration::from_secs(options.number("warm-up", 1)?);
    let time = Duration::from_secs(options.number("seconds", 3)?);
    let data = vec![b'x'; usize::try_from(options.number("data", 100)?).map_err(|e| e.to_string())?];
    let kind = options.text("content-type", "text/plain");
    let failed = |error: std::io::Error| format!("{to}: {error}");

    let mut poll = Poll::new().map_err(failed)?;
    let mut connections = Vec::new();
    for number in 0..count {
        let path = options.text("path", "/topics/bench").replace("{n}", &number.to_string());
        if options.text("create", "no") == "yes" {
            create(to, &path, kind)?;
        }
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            data.len()
        );
        // Connected before it is watched: what is measured begins with the first request.
        let stream = std::net::TcpStream::connect(to).map_err(failed)?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(failed)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(connections.len());
        poll.registry().register(&mut stream, token, Interest::READABLE).map_err(failed)?;
        let request = [head.as_bytes(), &data].concat();
        connections.push(Connection { stream, request, answer: Vec::new(), begun: Instant::now() });
    }

    let begun = Instant::now();
    let mut events = Events::with_capacity(1_024);
    let mut counted_from = None;
    let mut latencies = Histogram::new();
    for connection in &mut connections {
        connection.send(begun).map_err(failed)?;
    }
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(5))).map_err(failed)?;
        if events.is_empty() {
            return Err(format!("{to}: no answer for five seconds"));
        }
        let now = Instant::now();
        let since = *match &mut counted_from {
            None if now - begun < warm_up => &begun,
            None => counted_from.insert(now),
            Some(since) => since,
        };
        if counted_from.is_some() && now - since >= time {
            break;
        }
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if connection.receive()? {
                if counted_from.is_some() {
                    latencies.note(now - connection.begun);
                }
                connection.send(now).map_err(failed)?;
            }
        }
    }
    let took = counted_from.map_or(time, |since| since.elapsed());
    println!("requests {:.1} per_s", latencies.count as f64 / took.as_secs_f64());
    println!("latency_p50 {:.3} ms", latencies.at(0.50));
    println!("latency_p99 {:.3} ms", latencies.at(0.99));
    println!("latency_p999 {:.3} ms", latencies.at(0.999));
    Ok(())
}

impl Connection {
    fn send(&mut self, now: Instant) -> std::io::Result<()> {
        self.begun = now;
        self.answer.clear();
        // A request is far smaller than a socket's buffer, which is empty when an answer has come.
        self.stream.write_all(&self.request)
    }

    /// Reads what has come. Whether the answer is whole.
    fn receive(&mut self) -> Result<bool, String> {
        let mut piece = [0; 4_096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => {
                    self.answer.extend_from_slice(&piece[..count]);
                    match whole(&self.answer)? {
                        Answer::Partial => {}
                        Answer::Whole => return Ok(true),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

pub enum Answer {
    Partial,
    Whole,
}

/// Whether an answer is whole.
///
/// # Errors
/// It is no success, or not understood.
pub fn whole(bytes: &[u8]) -> Result<Answer, String> {
    let Some(head_bytes) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > ANSWER_BYTES_MAX {
            Err("an answer without an end".into())
        } else {
            Ok(Answer::Partial)
        };
    };
    let head = &bytes[..head_bytes];
    if head.get(9) != Some(&b'2') {
        return Err(format!("refused: {}", String::from_utf8_lossy(bytes)));
    }
    if head.get(9..12) == Some(b"204") {
        return Ok(Answer::Whole);
    }
    let body_bytes = content_length(head)
        .ok_or_else(|| format!("an answer without Content-Length: {}", String::from_utf8_lossy(head)))?;
    Ok(if bytes.len() >= head_bytes + 4 + body_bytes { Answer::Whole } else { Answer::Partial })
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

fn create(to: SocketAddr, path: &str, kind: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{to}: {error}");
    let mut stream = std::net::TcpStream::connect(to).map_err(failed)?;
    write!(stream, "PUT {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: {kind}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    if answer.get(9) == Some(&b'2') {
        return Ok(());
    }
    Err(format!("PUT {path}: {}", String::from_utf8_lossy(&answer)))
}

/// Latencies in buckets that are a few percent wide.
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

/// Buckets per doubling.
const FINE: f64 = 16.0;

impl Histogram {
    fn new() -> Self {
        Self { buckets: vec![0; 1_024], count: 0 }
    }

    fn note(&mut self, latency: Duration) {
        let at = ((latency.as_nanos() as f64).max(1.0).log2() * FINE) as usize;
        let last = self.buckets.len() - 1;
        self.buckets[at.min(last)] += 1;
        self.count += 1;
    }

    /// In milliseconds.
    fn at(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share) as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen > wanted {
                return ((at as f64 + 0.5) / FINE).exp2() / 1e6;
            }
        }
        0.0
    }
}
