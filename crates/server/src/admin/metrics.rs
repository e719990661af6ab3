//! Metrics: one table of names, help and types, written in the text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use tidings_hub::Stats;
use tidings_hub::ports::Health;

use crate::app::App;

/// A metric: what the reference page says of it.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it says, and in which unit.
    pub help: &'static str,
    value: Value,
}

/// Where its value comes from.
#[derive(Debug)]
enum Value {
    Of(fn(&Facts) -> u64),
    Requests,
}

/// What metrics are made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Of the hub.
    pub hub: Stats,
    /// Whether the store takes publishes.
    pub store_ready: bool,
    /// Whether a shutdown has begun.
    pub draining: bool,
    /// Answered requests: class, status, how many.
    pub requests: Vec<(&'static str, u16, u64)>,
    /// Open connections.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
    /// Connections accepted since the start.
    pub connections_accepted: u64,
    /// Publishes that took the short way.
    pub plain_publishes: u64,
    /// How often accepting waited for room.
    pub connections_waited: u64,
    /// How often the system refused a connection.
    pub accept_errors: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// Streams refused because the hub was full.
    pub overloads: u64,
}

impl Facts {
    /// At this moment.
    pub fn of(app: &App) -> Self {
        let counters = &app.counters;
        Self {
            hub: app.hub.stats(),
            store_ready: app.hub.health() == Health::Ready,
            draining: app.drain.is_draining(),
            requests: counters.requests().map(|(class, status, n)| (class.as_str(), status, n)).collect(),
            connections: counters.connections(),
            connections_max: wide(app.connections_max),
            connections_accepted: counters.connections_accepted(),
            plain_publishes: counters.plain_publishes(),
            connections_waited: counters.connections_waited(),
            accept_errors: counters.accept_errors(),
            tls_failures: counters.tls_failures(),
            overloads: counters.overloads(),
        }
    }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Facts) -> u64) -> Metric {
    Metric { name, kind: "counter", help, value: Value::Of(value) }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Facts) -> u64) -> Metric {
    Metric { name, kind: "gauge", help, value: Value::Of(value) }
}

/// Every metric there is.
pub static METRICS: &[Metric] = &[
    gauge("tidings_subscribers", "Open streams.", |f| wide(f.hub.subscribers)),
    gauge("tidings_topics", "Topics the hub knows.", |f| wide(f.hub.topics)),
    counter("tidings_events_in_total", "Events accepted.", |f| f.hub.events_in),
    counter("tidings_bytes_in_total", "Bytes of data of the events accepted.", |f| f.hub.bytes_in),
    counter("tidings_frames_out_total", "Events delivered, over all streams.", |f| f.hub.frames_out),
    counter("tidings_bytes_out_total", "Bytes delivered, over all streams.", |f| f.hub.bytes_out),
    counter("tidings_gaps_total", "Gaps told to streams whose history was gone.", |f| f.hub.gaps),
    gauge("tidings_hot_log_bytes", "Bytes of encoded frames and their index in memory.", |f| {
        wide(f.hub.hot_bytes)
    }),
    gauge("tidings_hot_log_events", "Events in memory.", |f| wide(f.hub.hot_events)),
    counter("tidings_cold_reads_total", "Reads of stored history for streams that lag.", |f| {
        f.hub.cold_reads
    }),
    gauge("tidings_lag_max", "Positions between the slowest live stream and the head.", |f| f.hub.lag_max),
    gauge(
        "tidings_lag_ms_max",
        "Milliseconds since the oldest event came that a stream lacks which had everything before.",
        |f| f.hub.lag_ms_max,
    ),
    counter("tidings_slow_ended_total", "Streams ended because they were too far behind.", |f| {
        f.hub.slow_ended
    }),
    gauge("tidings_store_ready", "1 if the store takes publishes, else 0.", |f| u64::from(f.store_ready)),
    gauge("tidings_draining", "1 if a shutdown has begun, else 0.", |f| u64::from(f.draining)),
    Metric {
        name: "tidings_http_requests_total",
        kind: "counter",
        help: "Answered requests by class and status; a stream counts when it begins.",
        value: Value::Requests,
    },
    counter("tidings_plain_publishes_total", "Publishes of one event that took the short way.", |f| {
        f.plain_publishes
    }),
    gauge("tidings_connections", "Open connections.", |f| f.connections),
    gauge("tidings_connections_limit", "How many connections there may be.", |f| f.connections_max),
    counter("tidings_connections_accepted_total", "Connections accepted.", |f| f.connections_accepted),
    counter("tidings_connections_waited_total", "Times that accepting waited for room.", |f| {
        f.connections_waited
    }),
    counter("tidings_accept_errors_total", "Times that the system refused a connection.", |f| {
        f.accept_errors
    }),
    counter("tidings_tls_failures_total", "TLS handshakes that failed or took too long.", |f| f.tls_failures),
    counter("tidings_overloads_total", "Streams refused because the hub was full.", |f| f.overloads),
];

/// Writes all of them.
pub fn render(facts: &Facts) -> String {
    let mut out = String::with_capacity(4_096);
    for metric in METRICS {
        // Writing to a String cannot fail.
        _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind);
        match metric.value {
            Value::Of(value) => _ = writeln!(out, "{} {}", metric.name, value(facts)),
            Value::Requests => {
                for (class, status, count) in &facts.requests {
                    _ = writeln!(out, "{}{{class=\"{class}\",status=\"{status}\"}} {count}", metric.name);
                }
            }
        }
    }
    out
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let facts = Facts {
            hub: Stats { subscribers: 7, ..Stats::default() },
            requests: vec![("publish", 200, 3), ("read", 404, 1)],
            ..Facts::default()
        };
        let text = render(&facts);
        assert!(text.contains("# TYPE tidings_subscribers gauge\ntidings_subscribers 7\n"), "{text}");
        assert!(text.contains("tidings_http_requests_total{class=\"publish\",status=\"200\"} 3\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<u64>().is_ok() && name.starts_with("tidings_"), "{line}");
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn names_follow_the_conventions() {
        for metric in METRICS {
            let is_counter = metric.kind == "counter";
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']), "{}", metric.name);
            let times = METRICS.iter().filter(|other| other.name == metric.name).count();
            assert_eq!(times, 1, "{}", metric.name);
        }
    }
}
