//! `cargo xtask bench compare`: the ways in which a page can be kept up to date, and the servers for them, by turns.
//!
//! One load client for all of them (`bench/peers/load`), so that the same is counted everywhere. Servers of our own that
//! are peers keep nothing, so Tidings keeps nothing beside them; what `fsync` adds is a case of its own.

use std::path::Path;

use super::load::Case;
use super::{Bench, Choice, Report};
use crate::Failure;

const ONE: &[&str] = &["--durability", "memory", "--reactors", "1"];
const FSYNC: &[&str] = &["--durability", "fsync", "--reactors", "1"];
/// Clients where polling is compared: as many as short polling can serve every second on one core.
const POLLING_CLIENTS: u32 = 1_000;

/// A server that pushes.
struct Push {
    name: &'static str,
    peer: &'static str,
    more: &'static [&'static str],
    way: &'static str,
    /// Events in a request where it takes more than one.
    batch: &'static str,
}

const fn push(
    name: &'static str,
    peer: &'static str,
    more: &'static [&'static str],
    way: &'static str,
    batch: &'static str,
) -> Push {
    Push { name, peer, more, way, batch }
}

const PUSHES: &[Push] = &[
    push("bare loop, SSE", "bare", &[], "sse", "8"),
    push("bare loop, WebSocket", "bare-websocket", &[], "websocket", "8"),
    push("tidings, SSE", "tidings", ONE, "sse", "8"),
    push("tidings fsync, SSE", "tidings", FSYNC, "sse", "8"),
    push("axum, SSE", "axum", &[], "sse", "1"),
    push("durable-streams, SSE", "durable-streams", &[], "sse", "1"),
    push("nchan, SSE", "nchan", &[], "sse", "1"),
    push("nchan, WebSocket", "nchan", &[], "websocket", "1"),
    push("node, SSE", "node", &[], "sse", "8"),
    push("ws on node, WebSocket", "ws", &[], "websocket", "8"),
    push("tokio-tungstenite, WebSocket", "websocket", &[], "websocket", "8"),
];

/// A way to hear of events, and how many seconds lie between two questions of a client, if it asks.
struct Way {
    name: &'static str,
    peer: &'static str,
    more: &'static [&'static str],
    way: &'static str,
    interval: u32,
}

const WAYS: &[Way] = &[
    Way { name: "SSE", peer: "tidings", more: ONE, way: "sse", interval: 1 },
    Way { name: "WebSocket", peer: "websocket", more: &[], way: "websocket", interval: 1 },
    Way { name: "long polling", peer: "tidings", more: ONE, way: "long", interval: 1 },
    Way { name: "short polling, 1 s", peer: "tidings", more: ONE, way: "short", interval: 1 },
    Way { name: "short polling, 5 s", peer: "tidings", more: ONE, way: "short", interval: 5 },
];

/// Events a second, and for how many seconds at least.
const RATES: [(&str, u32); 3] = [("0.1", 10), ("1", 1), ("10", 1)];

/// Runs it.
///
/// # Errors
/// If a program could not be built or started, or said that something went wrong.
pub(crate) fn run(root: &Path, choice: &Choice) -> Result<(), Failure> {
    let bench = Bench::new(root, choice)?;
    let mut report = Report::new(root, ("compare", "SSE, WebSocket, long and short polling"), choice)?;
    bench.build(&mut report)?;
    for round in 1..=choice.rounds {
        report.note(&format!("round {round} of {}", choice.rounds));
        for Push { name, peer, more, way, batch } in PUSHES {
            for (pace, load) in [("paced", ["--rate", "8"]), ("flat out", ["--flat-out", batch])] {
                let load = [&load[..], &["--seconds", &bench.seconds]].concat();
                let name = &format!("{pace}/{name}");
                if !choice.wants(name) {
                    continue;
                }
                Case { name, peer, more, way, load: &load }.measure(
                    &bench,
                    choice.subscribers,
                    &mut report,
                )?;
            }
        }
        for (rate, least) in RATES {
            for Way { name, peer, more, way, interval } in WAYS {
                let seconds = choice.seconds.max(least).max(*interval).to_string();
                let interval = interval.to_string();
                let load = ["--rate", rate, "--seconds", &seconds, "--interval", &interval];
                let name = &format!("{rate} a second/{name}");
                if !choice.wants(name) {
                    continue;
                }
                let clients = choice.subscribers.min(POLLING_CLIENTS);
                Case { name, peer, more, way, load: &load }.measure(&bench, clients, &mut report)?;
            }
        }
    }
    for Push { name, .. } in PUSHES {
        for pace in ["paced", "flat out"] {
            let cpu = |name: &str| format!("{pace}/{name} cpu");
            let title = format!("{pace} CPU: {name} to the bare loop");
            report.ratio(&title, &cpu(name), &cpu("bare loop, SSE"));
        }
    }
    report.finish()
}

/// Every case there is.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    let pushes = ["paced", "flat out"].iter().flat_map(|pace| PUSHES.iter().map(move |push| (pace, push)));
    let ways = RATES.iter().flat_map(|(rate, _)| WAYS.iter().map(move |way| (rate, way)));
    let pushes = pushes.map(|(pace, push)| format!("{pace}/{}", push.name));
    pushes.chain(ways.map(|(rate, way)| format!("{rate} a second/{}", way.name))).collect()
}
