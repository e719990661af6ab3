//! Which figures the page shows, and how they are called there.

/// A table: each cell is the figure that its column's pattern means for its row's key.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Over the rows' labels.
    pub(super) head: &'static str,
    /// Label and key.
    pub(super) rows: &'static [(&'static str, &'static str)],
    /// Title, pattern, unit.
    pub(super) columns: &'static [(&'static str, &'static str, &'static str)],
}

impl Table {
    /// What its columns show.
    pub(super) fn titles(&self) -> String {
        self.columns.iter().map(|(title, ..)| *title).collect::<Vec<_>>().join("; ")
    }

    /// Whether no run ever measures this: not every server is shown under every load.
    pub(super) fn is_never(&self, pattern: &str, key: &str) -> bool {
        let is_flat_out = pattern.starts_with("flat out");
        self.name == "fanout"
            && match key {
                "bare-each" => !is_flat_out,
                "tidings without reactor" => is_flat_out,
                _ => false,
            }
    }
}

/// Bars: the groups share their rows.
pub(super) struct Chart {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// Heading and pattern.
    pub(super) groups: &'static [(&'static str, &'static str)],
    pub(super) rows: &'static [(&'static str, &'static str)],
    /// Keys of rows that are ours.
    pub(super) ours: &'static [&'static str],
}

const PUSHES: &[(&str, &str)] = &[
    ("bare loop, SSE", "bare loop, SSE"),
    ("bare loop, WebSocket", "bare loop, WebSocket"),
    ("**Tidings**, SSE", "tidings, SSE"),
    ("**Tidings**, SSE, `fsync`", "tidings fsync, SSE"),
    ("axum 0.8, SSE", "axum, SSE"),
    ("durable-streams 0.1.5, SSE", "durable-streams, SSE"),
    ("Nchan, SSE", "nchan, SSE"),
    ("Nchan, WebSocket", "nchan, WebSocket"),
    ("Node, SSE", "node, SSE"),
    ("Node `ws`, WebSocket", "ws on node, WebSocket"),
    ("tokio-tungstenite, WebSocket", "tokio-tungstenite, WebSocket"),
];

/// As in the tables, without what a plot cannot show.
const PUSH_BARS: &[(&str, &str)] = &[
    ("bare loop, SSE", "bare loop, SSE"),
    ("bare loop, WebSocket", "bare loop, WebSocket"),
    ("Tidings, SSE", "tidings, SSE"),
    ("Tidings with fsync, SSE", "tidings fsync, SSE"),
    ("axum, SSE", "axum, SSE"),
    ("durable-streams, SSE", "durable-streams, SSE"),
    ("Nchan, SSE", "nchan, SSE"),
    ("Nchan, WebSocket", "nchan, WebSocket"),
    ("Node, SSE", "node, SSE"),
    ("Node ws, WebSocket", "ws on node, WebSocket"),
    ("tokio-tungstenite, WebSocket", "tokio-tungstenite, WebSocket"),
];

const OUR_PUSHES: &[&str] = &["tidings, SSE", "tidings fsync, SSE"];

const WAYS: &[(&str, &str)] = &[
    ("SSE", "SSE"),
    ("WebSocket", "WebSocket"),
    ("long polling", "long polling"),
    ("short polling, every second", "short polling, 1 s"),
    ("short polling, every 5 s", "short polling, 5 s"),
];

macro_rules! polling {
    ($name:literal, $rate:literal) => {
        Table {
            name: $name,
            head: concat!($rate, " events a second"),
            rows: WAYS,
            columns: &[
                ("half within", concat!($rate, " a second/{} p50"), "ms"),
                ("99 % within", concat!($rate, " a second/{} p99"), "ms"),
                ("CPU for each delivery", concat!($rate, " a second/{} cpu"), "µs"),
                ("CPU for each client", concat!($rate, " a second/{} cpu_client"), "µs/s"),
                ("bytes for each delivery", concat!($rate, " a second/{} bytes"), "B"),
            ],
        }
    };
}

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "push",
        head: "10,000 clients",
        rows: PUSHES,
        columns: &[
            ("CPU for each delivery, paced", "paced/{} cpu", "µs"),
            ("half within", "paced/{} p50", "ms"),
            ("99 % within", "paced/{} p99", "ms"),
            ("bytes for each delivery", "paced/{} bytes", "B"),
            ("memory of a client", "paced/{} memory", "B"),
            ("deliveries a second, flat out", "flat out/{} rate", ""),
        ],
    },
    polling!("polling-0.1", "0.1"),
    polling!("polling-1", "1"),
    polling!("polling-10", "10"),
    Table {
        name: "fanout",
        head: "10,000 streams, one topic",
        rows: &[
            ("bare loop, a cursor on a log", "bare"),
            ("bare loop, a write for each event", "bare-each"),
            ("**Tidings**, one reactor", "tidings"),
            ("Tidings, `fsync`", "tidings fsync"),
            ("Tidings without reactors (the way of TLS and HTTP/2)", "tidings without reactor"),
            ("`durable-streams` 0.1.5", "durable-streams"),
            ("axum 0.8, a broadcast channel", "axum"),
        ],
        columns: &[
            ("CPU for each delivery, paced", "paced/{} cpu", "µs"),
            ("99 % within, paced", "paced/{} p99", "ms"),
            ("memory of a stream", "paced/{} memory", "B"),
            ("CPU for each delivery, flat out", "flat out/{} cpu", "µs"),
            ("deliveries a second, flat out", "flat out/{} rate", ""),
        ],
    },
    Table {
        name: "room",
        head: "at 70 % of the most",
        rows: &[("bare loop", "bare"), ("**Tidings**", "tidings"), ("Tidings, `fsync`", "tidings fsync")],
        columns: &[
            ("half within", "at 70 %/{} p50", "ms"),
            ("99 % within", "at 70 %/{} p99", "ms"),
            ("CPU for each delivery", "at 70 %/{} cpu", "µs"),
        ],
    },
    Table {
        name: "stalled",
        head: "5,000 that read",
        rows: &[("bare loop", "bare"), ("**Tidings**", "tidings"), ("axum 0.8", "axum")],
        columns: &[
            ("99 % within, alone", "none stalled/{} p99", "ms"),
            ("99 % within, beside 5,000 that stand still", "half stalled/{} p99", "ms"),
            ("that truly stand still", "half stalled/{} stalled", ""),
            ("the server's memory before", "half stalled/{} memory_before", "MB"),
            ("and after", "half stalled/{} memory_after", "MB"),
            ("the kernel's for all sockets, after", "half stalled/{} sockets_after", "MB"),
        ],
    },
    Table {
        name: "storm",
        head: "10,000 at once, 100 events behind",
        rows: &[("bare loop", "bare"), ("**Tidings**", "tidings"), ("Tidings, `fsync`", "tidings fsync")],
        columns: &[
            ("until all have all", "storm/{} all", "ms"),
            ("half of them within", "storm/{} p50", "ms"),
            ("CPU for each client", "storm/{} cpu_client", "µs"),
            ("missing", "storm/{} missing", ""),
        ],
    },
    Table {
        name: "topics",
        head: "10,000 streams, 20,000 events a second",
        rows: &[
            ("one topic for all (2 events a second)", "one for all"),
            ("10,000 topics, one for each stream", "one for each"),
            ("100,000 topics, ten for each stream", "ten for each"),
            ("100,000 topics, one for each stream, the others unread", "one of ten read"),
        ],
        columns: &[
            ("CPU for each delivery", "topics, {}/tidings cpu", "µs"),
            ("of the bare loop", "topics, {}/bare cpu", "µs"),
            ("half within", "topics, {}/tidings p50", "ms"),
            ("99 % within", "topics, {}/tidings p99", "ms"),
            ("memory of a stream", "topics, {}/tidings memory", "B"),
        ],
    },
];

pub(super) const CHARTS: &[Chart] = &[
    Chart {
        name: "bench-push-cpu",
        title: "CPU time of the server for each delivery, 8 events a second to 10,000 clients",
        unit: "µs",
        groups: &[("", "paced/{} cpu")],
        rows: PUSH_BARS,
        ours: OUR_PUSHES,
    },
    Chart {
        name: "bench-push-memory",
        title: "Memory of the server for each client",
        unit: "bytes",
        groups: &[("", "paced/{} memory")],
        rows: PUSH_BARS,
        ours: OUR_PUSHES,
    },
    Chart {
        name: "bench-push-rate",
        title: "Deliveries a second, as fast as they go, 10,000 clients",
        unit: "",
        groups: &[("", "flat out/{} rate")],
        rows: PUSH_BARS,
        ours: OUR_PUSHES,
    },
    Chart {
        name: "bench-polling-latency",
        title: "Half of the events arrive within, 1,000 clients, one event a second",
        unit: "ms",
        groups: &[("", "1 a second/{} p50")],
        rows: WAYS,
        ours: &["SSE"],
    },
    Chart {
        name: "bench-polling-cpu",
        title: "CPU time of the server for each client and second, 1,000 clients",
        unit: "µs",
        groups: &[
            ("an event every 10 seconds", "0.1 a second/{} cpu_client"),
            ("one event a second", "1 a second/{} cpu_client"),
            ("10 events a second", "10 a second/{} cpu_client"),
        ],
        rows: WAYS,
        ours: &["SSE"],
    },
];

/// The cases that `fanout` and `compare` measure.
#[cfg(test)]
pub(super) fn measured() -> Vec<String> {
    [crate::bench::fanout::names(), crate::bench::compare::names()].concat()
}
