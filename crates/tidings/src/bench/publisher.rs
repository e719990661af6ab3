//! Publishes marked events, on a schedule or as fast as they arrive.
//!
//! The schedule does not wait: an event whose turn came while an earlier one was not answered yet is sent at once when it
//! can be, and carries the moment that was planned. So a server that stops for a second shows a second of latency in
//! all events of that second, not in one (coordinated omission).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::plan::{Pace, Plan, host, resolve, with_topic};
use super::scan::write_mark;
use super::trace::Published;
use super::worker::now_ns;
use crate::failure::Failure;

/// Events that may be on their way to the slowest half of the streams when nothing else bounds them.
const AHEAD: u64 = 64;
/// How long a server may take to answer a publish.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Publisher {
    connection: BufReader<TcpStream>,
    /// The request's head for each topic, up to the length.
    heads: Vec<String>,
    published: u64,
    batch: u64,
    data_bytes: usize,
    request: Vec<u8>,
    body: Vec<u8>,
    late: Duration,
    trace: Option<Published>,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there.
    pub(super) fn new(plan: &Plan) -> Result<Self, Failure> {
        let addr = resolve(&plan.publish_url)?;
        let connection = TcpStream::connect(addr)
            .and_then(|connection| {
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                Ok(connection)
            })
            .map_err(|error| Failure::new(format!("{addr} takes no connection to publish: {error}")))?;
        let kind = if plan.batch > 1 { "text/event-stream" } else { "text/plain" };
        let headers: String = plan.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = |topic| {
            let (path, host) = (with_topic(&plan.publish_url, topic), host(&plan.publish_url));
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Type: {kind}\r\nContent-Length: "
            )
        };
        Ok(Self {
            connection: BufReader::new(connection),
            heads: (0..plan.topics).map(head).collect(),
            published: 0,
            batch: plan.batch,
            data_bytes: plan.data_bytes,
            request: Vec::new(),
            body: Vec::new(),
            late: Duration::ZERO,
            trace: plan.trace.as_ref().map(|_| Published::default()),
        })
    }

    /// Nothing more is published: what was is written down, if somebody wants that.
    ///
    /// # Errors
    /// It cannot be.
    pub(super) fn end(self, plan: &Plan) -> Result<(), Failure> {
        match self.trace.zip(plan.trace.as_ref()) {
            Some((trace, dir)) => trace.end(dir, plan),
            None => Ok(()),
        }
    }

    /// How many events were published so far.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// How far behind its schedule it was at worst.
    pub(super) fn late(&self) -> Duration {
        self.late
    }

    /// Publishes for a time, and then until each topic has had as many events.
    ///
    /// # Errors
    /// The server refuses an event, or answers none.
    pub(super) fn run(&mut self, plan: &Plan, crew: &Crew, time: Duration) -> Result<(), Failure> {
        let (begun, begun_ns) = (Instant::now(), now_ns());
        self.late = Duration::ZERO;
        let mut sent = 0u64;
        while begun.elapsed() < time || !self.published.is_multiple_of(plan.topics * self.batch) {
            let planned_ns = match plan.pace {
                Pace::Rate(rate) => {
                    let after = Duration::from_secs_f64(sent as f64 / rate);
                    let now = begun.elapsed();
                    match after.checked_sub(now) {
                        Some(early) => std::thread::sleep(early),
                        None => self.late = self.late.max(now - after),
                    }
                    begun_ns + u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)
                }
                Pace::FlatOut => {
                    self.wait_for_arrivals(plan, crew)?;
                    now_ns()
                }
                Pace::None => return Ok(()),
            };
            self.send(plan, planned_ns)?;
            sent += self.batch;
        }
        Ok(())
    }

    /// Waits until the streams have got all but the newest events.
    fn wait_for_arrivals(&self, plan: &Plan, crew: &Crew) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let status = crew.status();
            // What the workers tell is up to 20 ms old: at full speed that is many events.
            let ahead = AHEAD.max(2 * self.batch) * plan.topics;
            let needed = plan.expected(self.published.saturating_sub(ahead), status.opened);
            if status.received >= needed {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(format!("nothing arrives: {} of {needed}", status.received)));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Publishes one request: the next event, or the next few of one topic.
    fn send(&mut self, plan: &Plan, planned_ns: u64) -> Result<(), Failure> {
        let request = self.published / self.batch;
        let topic = request % plan.topics;
        let first = request / plan.topics * self.batch;
        self.body.clear();
        for seq in first..first + self.batch {
            if self.batch > 1 {
                self.body.extend_from_slice(b"data: ");
            }
            let from = self.body.len();
            write_mark(seq, planned_ns, &mut self.body);
            self.body.resize((from + self.data_bytes).max(self.body.len()), b'x');
            if self.batch > 1 {
                self.body.extend_from_slice(b"\n\n");
            }
        }
        self.request.clear();
        let head = usize::try_from(topic).ok().and_then(|topic| self.heads.get(topic));
        self.request.extend_from_slice(head.map_or(&[][..], |head| head.as_bytes()));
        self.request.extend_from_slice(format!("{}\r\n\r\n", self.body.len()).as_bytes());
        self.request.extend_from_slice(&self.body);
        let failed = |error: std::io::Error| Failure::new(format!("an event was not answered: {error}"));
        self.connection.get_mut().write_all(&self.request).map_err(failed)?;
        let answer = self.answer().map_err(failed)??;
        if let Some(trace) = &mut self.trace {
            trace.note(topic, (first, self.batch), planned_ns, answer);
        }
        self.published += self.batch;
        Ok(())
    }

    /// Reads an answer whole.
    fn answer(&mut self) -> std::io::Result<Result<String, Failure>> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        if line.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let status = line.trim_end().to_owned();
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.connection.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        let mut body = Vec::new();
        loop {
            if chunked {
                line.clear();
                self.connection.read_line(&mut line)?;
                length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            }
            let from = body.len();
            body.resize(from + length, 0);
            self.connection.read_exact(body.get_mut(from..).unwrap_or_default())?;
            if !chunked {
                break;
            }
            line.clear();
            self.connection.read_line(&mut line)?;
            if length == 0 {
                break;
            }
        }
        let is_fine = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
        let text = String::from_utf8_lossy(&body);
        Ok(if is_fine {
            Ok(text.into_owned())
        } else {
            Err(Failure::new(format!("an event was refused: {status} {text}")))
        })
    }
}
