//! The result: a table for people, JSON for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::crew::{Seen, Status};
use super::plan::{Pace, Plan};
use super::{plot, server::Server};
use crate::failure::Failure;

/// What was measured.
pub(super) struct Report {
    topics: u64,
    data_bytes: usize,
    opened: u64,
    refused: u64,
    open_s: f64,
    memory_bytes_per_stream: Option<f64>,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) seconds: f64,
    pub(super) late: Duration,
    cpu_us: Option<u64>,
    expected: u64,
    seen: Option<Seen>,
    pid: Option<u32>,
    pace: Pace,
}

/// The result as JSON.
#[derive(Serialize)]
struct Json<'a> {
    url: &'a str,
    streams: u64,
    streams_refused: u64,
    streams_lost: u64,
    reason: Option<&'a str>,
    open_seconds: f64,
    topics: u64,
    data_bytes: usize,
    published: u64,
    seconds: f64,
    published_per_second: f64,
    expected: u64,
    delivered: u64,
    delivered_per_second: f64,
    missing: u64,
    repeated: u64,
    publisher_late_ms_max: f64,
    latency_ms: Latency,
    server_cpu_us_per_delivery: Option<f64>,
    server_cores: Option<f64>,
    server_memory_bytes_per_stream: Option<f64>,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        opened: u64,
        refused: u64,
        open_s: f64,
        memory_bytes_per_stream: Option<f64>,
    ) -> Self {
        Self {
            topics: plan.topics,
            data_bytes: plan.data_bytes,
            opened,
            refused,
            open_s,
            memory_bytes_per_stream,
            published: 0,
            delivered: 0,
            seconds: 0.0,
            late: Duration::ZERO,
            cpu_us: None,
            expected: 0,
            seen: None,
            pid: None,
            pace: plan.pace,
        }
    }

    /// What the server's threads used while events were delivered.
    pub(super) fn cpu(&mut self, us: u64) {
        self.cpu_us = Some(us);
    }

    /// What the workers have seen.
    pub(super) fn take(&mut self, seen: Seen, server: Option<&Server>) {
        self.expected = self.published / self.topics * self.opened;
        self.pid = server.map(|server| server.pid);
        self.seen = Some(seen);
    }

    /// Shows all of it, and writes the files that were asked for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn show(&self, plan: &Plan) -> Result<(), Failure> {
        crate::cli::print(self.table().as_bytes())?;
        let write = |path: &std::path::Path, text: String| {
            std::fs::write(path, text)
                .map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))
        };
        if let Some(path) = &plan.json {
            let json = serde_json::to_string_pretty(&self.json(plan.url.as_str()));
            write(path, json.map_err(|error| Failure::new(error.to_string()))? + "\n")?;
        }
        if let (Some(path), Some(seen)) = (&plan.svg, &self.seen) {
            write(path, plot::latency(&seen.latency_us, plan.url.as_str()))?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let json = self.json("");
        let mut lines = vec![format!(
            "streams      {} open after {:.2} s ({} a second), {} refused, {} lost{}",
            count(self.opened),
            self.open_s,
            count(per(self.opened, self.open_s)),
            count(self.refused),
            count(json.streams_lost),
            json.reason.map(|why| format!(" ({why})")).unwrap_or_default(),
        )];
        if self.pace != Pace::None {
            lines.push(format!(
                "published    {} events of {} bytes to {} in {:.2} s ({:.1} a second)",
                count(self.published),
                count(self.data_bytes as u64),
                if self.topics == 1 {
                    "one topic".to_owned()
                } else {
                    format!("{} topics", count(self.topics))
                },
                self.seconds,
                json.published_per_second,
            ));
            lines.push(format!(
                "delivered    {} of {} ({} a second), {} missing, {} repeated",
                count(self.delivered),
                count(self.expected),
                count(per(self.delivered, self.seconds)),
                count(json.missing),
                count(json.repeated),
            ));
            let Latency { p50, p90, p99, p999, max } = json.latency_ms;
            lines.push(format!(
                "latency      p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms"
            ));
            if self.late > Duration::from_millis(100) {
                lines.push(format!(
                    "             the publisher was up to {:.2} s behind its schedule: the server answers too slowly, or this machine is too busy",
                    self.late.as_secs_f64()
                ));
            }
        }
        match self.pid {
            None => {
                lines.push("server       not on this machine: neither CPU nor memory are known".to_owned())
            }
            Some(pid) => {
                let cpu = json.server_cpu_us_per_delivery.map(|us| {
                    format!(
                        ", {us:.2} µs CPU for each delivery, {:.0} % of a core",
                        100.0 * json.server_cores.unwrap_or(0.0)
                    )
                });
                let memory = self
                    .memory_bytes_per_stream
                    .map(|bytes| format!(", {bytes:.0} bytes of memory for each stream"));
                lines.push(format!(
                    "server       process {pid}{}{}",
                    cpu.unwrap_or_default(),
                    memory.unwrap_or_default()
                ));
            }
        }
        lines.join("\n") + "\n"
    }

    fn json<'a>(&'a self, url: &'a str) -> Json<'a> {
        let status = self.seen.as_ref().map_or_else(Status::default, |seen| seen.status);
        let ms = |percentile: f64| {
            let of = |latency: &Histogram<u64>| latency.value_at_percentile(percentile) as f64 / 1_000.0;
            self.seen.as_ref().map_or(0.0, |seen| of(&seen.latency_us))
        };
        let cpu_us = self.cpu_us.map(|us| us as f64);
        Json {
            url,
            streams: self.opened,
            streams_refused: self.refused,
            streams_lost: status.lost,
            reason: self.seen.as_ref().and_then(|seen| seen.reason.as_deref()),
            open_seconds: self.open_s,
            topics: self.topics,
            data_bytes: self.data_bytes,
            published: self.published,
            seconds: self.seconds,
            published_per_second: self.published as f64 / self.seconds.max(1e-9),
            expected: self.expected,
            delivered: self.delivered,
            delivered_per_second: self.delivered as f64 / self.seconds.max(1e-9),
            missing: status.missing,
            repeated: status.repeated,
            publisher_late_ms_max: self.late.as_secs_f64() * 1_000.0,
            latency_ms: Latency {
                p50: ms(50.0),
                p90: ms(90.0),
                p99: ms(99.0),
                p999: ms(99.9),
                max: ms(100.0),
            },
            server_cpu_us_per_delivery: cpu_us.map(|us| us / self.delivered.max(1) as f64),
            server_cores: cpu_us.map(|us| us / 1e6 / self.seconds.max(1e-9)),
            server_memory_bytes_per_stream: self.memory_bytes_per_stream,
        }
    }
}

/// A whole number with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
fn per(number: u64, seconds: f64) -> u64 {
    (number as f64 / seconds.max(1e-9)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
