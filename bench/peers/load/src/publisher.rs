//! Publishes marked events by HTTP, on a schedule or as fast as they arrive.
//!
//! The schedule does not wait: an event whose turn came while an earlier one was not answered yet carries the moment that
//! was planned. So a server that stops for a second shows a second of latency in all events of that second.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::wire::{Part, Wire, write_mark};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Publisher {
    socket: TcpStream,
    pub(crate) published: u64,
    /// How many deliveries these make.
    pub(crate) expected: u64,
    request: Vec<u8>,
    body: Vec<u8>,
    buffer: Vec<u8>,
    /// Requests that were answered: the first event, how many, the moment, the answer. Written down in the end.
    trace: Vec<(u64, u64, u64, Vec<u8>)>,
}

impl Publisher {
    pub(crate) fn new(plan: &Plan) -> Result<Self, String> {
        let connect = || {
            let socket = TcpStream::connect(plan.to)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = connect().map_err(|error| format!("no connection to publish: {error}"))?;
        let (request, body, buffer) = (Vec::new(), Vec::new(), vec![0; 64 << 10]);
        Ok(Self { socket, published: 0, expected: 0, request, body, buffer, trace: Vec::new() })
    }

    /// Publishes so many events in one request.
    pub(crate) fn send(&mut self, plan: &Plan, count: u64, data: usize, ns: u64) -> Result<(), String> {
        self.body.clear();
        let (path, kind) = match (plan.topics, count) {
            (1, 1) => (plan.publish.as_str(), "text/plain"),
            (1, _) => (plan.publish.as_str(), "text/event-stream"),
            _ => ("/events", "application/x-ndjson"),
        };
        for seq in self.published..self.published + count {
            let topic = topic(seq, plan.topics);
            let (before, behind) = match (plan.topics, count) {
                (1, 1) => (String::new(), ""),
                (1, _) => ("data: ".to_owned(), "\n\n"),
                _ => (format!("{{\"topic\":\"bench-{topic}\",\"data\":\""), "\"}\n"),
            };
            self.body.extend_from_slice(before.as_bytes());
            let from = self.body.len();
            write_mark(seq, ns, &mut self.body);
            self.body.resize((from + data).max(self.body.len()), b'x');
            self.body.extend_from_slice(behind.as_bytes());
            self.expected += plan.readers(topic);
        }
        self.request.clear();
        let (host, length) = (plan.to, self.body.len());
        _ = write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.request.extend_from_slice(&self.body);
        let failed = |error: std::io::Error| format!("an event was not answered: {error}");
        self.socket.write_all(&self.request).map_err(failed)?;
        let (mut wire, mut status, mut is_whole, mut answer) = (Wire::default(), 0, false, Vec::new());
        while !is_whole {
            let read = self.socket.read(&mut self.buffer).map_err(failed)?;
            let is_http = wire.read(&self.buffer[..read], |part| match part {
                Part::Begun(said) => status = said,
                Part::End => is_whole = true,
                Part::Bytes(bytes) => answer.extend_from_slice(bytes),
                _ => {}
            });
            if read == 0 || !is_http {
                return Err("an event was not answered".to_owned());
            }
        }
        if !(200..300).contains(&status) {
            return Err(format!("an event was refused: {status}"));
        }
        if plan.trace.is_some() {
            self.trace.push((self.published, count, ns, answer));
        }
        self.published += count;
        Ok(())
    }

    /// Nothing more is published: what was is written down, if somebody wants that.
    pub(crate) fn end(&self, plan: &Plan) -> Result<(), String> {
        let Some(dir) = &plan.trace else { return Ok(()) };
        let mut text = Vec::new();
        for (first, count, ns, answer) in &self.trace {
            note(&mut text, plan, (*first, *count), *ns, answer);
        }
        std::fs::write(dir.join("published"), text).map_err(|error| format!("no trace: {error}"))
    }

    /// Publishes at the rate for about a time, at least once; each event stands in the middle of its turn, so that at the
    /// end the last one has had half a turn to arrive. How late it was at worst.
    pub(crate) fn paced(
        &mut self,
        plan: &Plan,
        time: Duration,
        now_ns: fn() -> u64,
    ) -> Result<Duration, String> {
        let turn = Duration::from_secs_f64(plan.batch as f64 / plan.rate);
        let turns = (time.as_secs_f64() / turn.as_secs_f64()).round().max(1.0) as u32;
        let (begun, begun_ns, mut late) = (Instant::now(), now_ns(), Duration::ZERO);
        for number in 0..turns {
            let planned = turn * number + turn / 2;
            match planned.checked_sub(begun.elapsed()) {
                Some(early) => std::thread::sleep(early),
                None => late = late.max(begun.elapsed() - planned),
            }
            self.send(plan, plan.batch, plan.data, begun_ns + planned.as_nanos() as u64)?;
        }
        std::thread::sleep((turn * turns).saturating_sub(begun.elapsed()));
        Ok(late)
    }
}

/// Writes down a request that was answered. One for many topics is told event by event, of which the answer names the first
/// and the last one.
fn note(out: &mut Vec<u8>, plan: &Plan, (first, count): (u64, u64), ns: u64, answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer).trim_end().replace('\n', " ");
    if plan.topics == 1 {
        _ = writeln!(out, "{} {first} {count} {ns} {answer}", plan.publish);
        return;
    }
    for seq in first..first + count {
        let id = match () {
            () if seq + 1 == first + count => answer.clone(),
            () if seq == first => answer.replace("last_id", "-").replace("first_id", "last_id"),
            () => "-".to_owned(),
        };
        _ = writeln!(out, "/topics/bench-{} {seq} 1 {ns} {id}", topic(seq, plan.topics));
    }
}

/// The topic of an event: each has its turn once before any has it again, and any few turns go all over them.
fn topic(seq: u64, topics: u64) -> u64 {
    // A prime, so that nothing is left out unless it divides the count.
    const STRIDE: u64 = 7_919;
    let stride = if topics.is_multiple_of(STRIDE) { 1 } else { STRIDE };
    seq.wrapping_mul(stride) % topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_all_over_the_topics() {
        for topics in [1, 10, 7_919, 10_000] {
            let mut all: Vec<_> = (0..topics).map(|seq| topic(seq, topics)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..topics), "{topics}");
        }
        let read = (30_000..31_000).filter(|seq| topic(*seq, 100_000) < 10_000).count();
        assert!((90..110).contains(&read), "{read}");
    }
}
