//! `cargo xtask bench fanout`: delivery to many streams, by turns with peers and with bare loops as the limit.
//!
//! Each case is a fresh server on one core and `tidings bench` on the other. Where the bare loop is the yardstick, which
//! keeps nothing, ours keeps nothing either (`--durability memory`); what `fsync` adds is a case of its own. What some of
//! our streams received is judged by the history checker.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use super::server::{Server, pinned};
use super::{Bench, Choice, LOAD_CORE, Report, conditions};
use crate::Failure;

/// A server under a load.
struct Case {
    name: &'static str,
    peer: &'static str,
    /// Its arguments, if it is ours.
    more: &'static [&'static str],
    /// Added to the path, where several topics are meant.
    topics: u32,
    load: &'static [&'static str],
}

const MEMORY: &[&str] = &["--durability", "memory"];
const FSYNC: &[&str] = &["--durability", "fsync", "--reactors", "1"];
const NO_REACTOR: &[&str] = &["--durability", "memory", "--reactors", "0"];
const ONE: &[&str] = &["--durability", "memory", "--reactors", "1"];
const PACED: &[&str] = &["--rate", "8"];
const FLAT_OUT: &[&str] = &["--flat-out", "--batch", "8"];
/// Where each event goes to fewer streams, there are more of them.
const FLAT_OUT_MANY: &[&str] = &["--flat-out", "--batch", "64"];
/// Peers that take one event in a request.
const FLAT_OUT_SINGLE: &[&str] = &["--flat-out"];

const CASES: &[Case] = &[
    Case { name: "paced/bare", peer: "bare", more: &[], topics: 1, load: PACED },
    Case { name: "paced/tidings", peer: "tidings", more: ONE, topics: 1, load: PACED },
    Case { name: "paced/tidings fsync", peer: "tidings", more: FSYNC, topics: 1, load: PACED },
    Case { name: "paced/tidings without reactor", peer: "tidings", more: NO_REACTOR, topics: 1, load: PACED },
    Case { name: "paced/axum", peer: "axum", more: &[], topics: 1, load: PACED },
    Case { name: "paced/durable-streams", peer: "durable-streams", more: &[], topics: 1, load: PACED },
    Case { name: "flat out/bare", peer: "bare", more: &[], topics: 1, load: FLAT_OUT },
    Case { name: "flat out/bare-each", peer: "bare-each", more: &[], topics: 1, load: FLAT_OUT },
    Case { name: "flat out/tidings", peer: "tidings", more: ONE, topics: 1, load: FLAT_OUT },
    Case { name: "flat out/tidings fsync", peer: "tidings", more: FSYNC, topics: 1, load: FLAT_OUT },
    Case { name: "flat out/tidings two reactors", peer: "tidings", more: MEMORY, topics: 1, load: FLAT_OUT },
    Case { name: "flat out/axum", peer: "axum", more: &[], topics: 1, load: FLAT_OUT_SINGLE },
    Case {
        name: "flat out/durable-streams",
        peer: "durable-streams",
        more: &[],
        topics: 1,
        load: FLAT_OUT_SINGLE,
    },
    Case {
        name: "flat out, 100 topics/tidings",
        peer: "tidings",
        more: ONE,
        topics: 100,
        load: FLAT_OUT_MANY,
    },
];

/// Ratios to be told: name, of, to.
const RATIOS: &[(&str, &str, &str)] = &[
    ("paced CPU: tidings to bare", "paced/tidings cpu", "paced/bare cpu"),
    ("paced CPU: axum to bare", "paced/axum cpu", "paced/bare cpu"),
    ("paced CPU: durable-streams to bare", "paced/durable-streams cpu", "paced/bare cpu"),
    ("paced p99: tidings to bare", "paced/tidings p99", "paced/bare p99"),
    ("p99 at 70 %: tidings to bare", "at 70 %/tidings p99", "at 70 %/bare p99"),
    ("paced CPU: fsync to memory", "paced/tidings fsync cpu", "paced/tidings cpu"),
    ("paced p99: fsync to memory", "paced/tidings fsync p99", "paced/tidings p99"),
    ("flat out CPU: fsync to memory", "flat out/tidings fsync cpu", "flat out/tidings cpu"),
    ("flat out CPU: tidings to bare", "flat out/tidings cpu", "flat out/bare cpu"),
    ("flat out CPU: 100 topics to one", "flat out, 100 topics/tidings cpu", "flat out/tidings cpu"),
    ("flat out CPU: two reactors to one", "flat out/tidings two reactors cpu", "flat out/tidings cpu"),
    ("flat out deliveries: tidings to bare", "flat out/tidings rate", "flat out/bare rate"),
];

/// Runs it.
///
/// # Errors
/// If a program could not be built or started, or said that something went wrong.
pub(crate) fn run(root: &Path, choice: &Choice) -> Result<(), Failure> {
    let bench = Bench::new(root, choice)?;
    let mut report = Report::new(root, ("fanout", "Delivery to many streams"), choice)?;
    bench.build(&mut report)?;
    for round in 1..=choice.rounds {
        report.note(&format!("round {round} of {}", choice.rounds));
        for case in CASES.iter().filter(|case| choice.wants(case.name)) {
            measure(&bench, case, case.load, choice, &mut report)?;
        }
        if choice.wants("at 70 %") {
            at_70_percent(&bench, choice, &mut report)?;
        }
        conditions::measure(&bench, choice, &mut report)?;
    }
    for (name, of, to) in RATIOS.iter().chain(conditions::RATIOS) {
        report.ratio(name, of, to);
    }
    report.finish()
}

/// How late events come when there is still room: the rate is a part of what this round could do flat out, the same for both.
fn at_70_percent(bench: &Bench, choice: &Choice, report: &mut Report) -> Result<(), Failure> {
    let Some(most) = report.newest("flat out/tidings rate") else { return Ok(()) };
    let rate = (0.7 * most / f64::from(choice.subscribers)).to_string();
    for (name, peer, more) in [
        ("at 70 %/bare", "bare", &[][..]),
        ("at 70 %/tidings", "tidings", ONE),
        ("at 70 %/tidings fsync", "tidings", FSYNC),
    ] {
        let case = Case { name, peer, more, topics: 1, load: &[] };
        measure(bench, &case, &["--batch", "8", "--rate", &rate], choice, report)?;
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    case: &Case,
    how: &[&str],
    choice: &Choice,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(server) = Server::start(case.peer, bench, case.more, report)? else {
        return Ok(());
    };
    if server.is_created {
        create(&server)?;
    }
    let json = bench.dir.join("result.json");
    let mut load = pinned(LOAD_CORE, &bench.tidings());
    let topic = if case.topics == 1 { "" } else { "-{}" };
    let (read, write) = (format!("{}{topic}", server.read), format!("{}{topic}", server.path));
    load.arg("bench").arg(format!("http://{}{read}", server.address));
    load.args(["--publish-url", &format!("http://{}{write}", server.address)]);
    load.args(["--subscribers", &choice.subscribers.to_string(), "--topics", &case.topics.to_string()]);
    load.args(["--duration", &choice.seconds.to_string(), "--workers", "1", "--quiet"]).args(how);
    load.arg("--json").arg(&json);
    if case.peer == "tidings" {
        load.arg("--trace").arg(bench.new_trace()?);
    }
    report.run("", &mut load)?;
    drop(server);
    if case.peer == "tidings" {
        bench.judge(case.name, report)?;
    }
    let text = std::fs::read_to_string(&json).map_err(|error| format!("no result: {error}"))?;
    let result: Value = serde_json::from_str(&text).map_err(|error| format!("no result: {error}"))?;
    report.note(&serde_json::to_string(&result).unwrap_or_default());
    let mut add = |what: &str, pointer: &str, unit: &str| {
        if let Some(value) = result.pointer(pointer).and_then(Value::as_f64) {
            report.add(&format!("{} {what}", case.name), value, unit);
        }
    };
    add("cpu", "/server_cpu_us_per_delivery", "µs/delivery");
    add("rate", "/delivered_per_second", "deliveries/s");
    add("p50", "/latency_ms/p50", "ms");
    add("p99", "/latency_ms/p99", "ms");
    add("memory", "/server_memory_bytes_per_stream", "B/stream");
    add("missing", "/missing", "events");
    Ok(())
}

/// Every case there is.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    let more = ["at 70 %/bare", "at 70 %/tidings", "at 70 %/tidings fsync"].iter().chain(conditions::NAMES);
    CASES.iter().map(|case| case.name.to_owned()).chain(more.map(|&name| name.to_owned())).collect()
}

/// Makes the stream of a peer that wants that first.
pub(super) fn create(server: &Server) -> Result<(), Failure> {
    let request = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        server.path
    );
    let answer = || {
        let mut socket = TcpStream::connect(&server.address)?;
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = answer().map_err(|error| format!("{}: {error}", server.path))?;
    if answer.starts_with("HTTP/1.1 2") { Ok(()) } else { Err(format!("{}: {answer}", server.path)) }
}
