//! Delivery when not all is well: clients that stand still, all who come back at once, a topic for everybody.

use super::load::Case;
use super::{Bench, Choice, Report};
use crate::Failure;

const ONE: &[&str] = &["--durability", "memory", "--reactors", "1"];
const FSYNC: &[&str] = &["--durability", "fsync", "--reactors", "1"];

/// All clients get an event at about the same time, so a p99 is that of one event in a hundred: of fewer it is the worst.
const STALLED_SECONDS_MIN: u32 = 40;
/// Ours cuts a connection that has taken nothing for two minutes.
const STALLED_SECONDS_MAX: u32 = 60;

/// The kernel asks those who stand still whether they take something again: all of them in one moment where they stopped
/// in one, 0.2, 0.6, 1.4 s after it and so on, twice as late each time. An event that meets such a moment waits for it. In the
/// first twenty seconds these are more than one event in a hundred, and the p99 nothing else; later they are rare.
const STALLED_REST: &str = "30";

/// Ratios to be told: name, of, to.
pub(super) const RATIOS: &[(&str, &str, &str)] = &[
    ("stalled p99: half stalled to none, tidings", "half stalled/tidings p99", "none stalled/tidings p99"),
    ("stalled p99: half stalled to none, bare", "half stalled/bare p99", "none stalled/bare p99"),
    ("storm, time until all have all: tidings to bare", "storm/tidings all", "storm/bare all"),
    ("storm CPU: tidings to bare", "storm/tidings cpu", "storm/bare cpu"),
    ("storm, time until all have all: fsync to memory", "storm/tidings fsync all", "storm/tidings all"),
    (
        "topics CPU: one for each stream to one for all",
        "topics, one for each/tidings cpu",
        "topics, one for all/tidings cpu",
    ),
    (
        "topics CPU: one for each stream to one for all, bare",
        "topics, one for each/bare cpu",
        "topics, one for all/bare cpu",
    ),
    (
        "topics CPU, one for each stream: tidings to bare",
        "topics, one for each/tidings cpu",
        "topics, one for each/bare cpu",
    ),
    (
        "topics CPU: ten for each stream to one for all",
        "topics, ten for each/tidings cpu",
        "topics, one for all/tidings cpu",
    ),
    (
        "topics p99: ten for each stream to one for all",
        "topics, ten for each/tidings p99",
        "topics, one for all/tidings p99",
    ),
];

/// Measures all of it once.
///
/// # Errors
/// If a program could not be started, or said that something went wrong.
pub(super) fn measure(bench: &Bench, choice: &Choice, report: &mut Report) -> Result<(), Failure> {
    stalled(bench, choice, report)?;
    storm(bench, choice, report)?;
    topics(bench, choice, report)
}

/// The healthy half beside a half that never reads, and the same half alone.
fn stalled(bench: &Bench, choice: &Choice, report: &mut Report) -> Result<(), Failure> {
    let half = choice.subscribers / 2;
    let seconds = choice.seconds.clamp(STALLED_SECONDS_MIN, STALLED_SECONDS_MAX).to_string();
    for (peer, more) in [("bare", &[][..]), ("tidings", ONE), ("axum", &[])] {
        for (name, stalled) in [("none stalled", 0), ("half stalled", half)] {
            let stalled = stalled.to_string();
            // What a socket of a stalled client takes before nothing goes any more is some 100 KB.
            let rest = if stalled == "0" { "0" } else { STALLED_REST };
            let load = ["--rate", "8", "--seconds", &seconds, "--fill", "262144", "--stalled", &stalled];
            let load = [&load[..], &["--rest", rest]].concat();
            let name = &format!("{name}/{peer}");
            if !choice.wants(name) {
                continue;
            }
            Case { name, peer, more, way: "sse", load: &load }.measure(bench, half, report)?;
        }
    }
    Ok(())
}

/// All come at once, each 100 events behind.
fn storm(bench: &Bench, choice: &Choice, report: &mut Report) -> Result<(), Failure> {
    for (name, peer, more) in [
        ("storm/bare", "bare", &[][..]),
        ("storm/tidings", "tidings", ONE),
        ("storm/tidings fsync", "tidings", FSYNC),
    ] {
        if !choice.wants(name) {
            continue;
        }
        let load = ["--behind", "100", "--batch", "10"];
        Case { name, peer, more, way: "storm", load: &load }.measure(bench, choice.subscribers, report)?;
    }
    Ok(())
}

/// The same deliveries a second from one topic for all, from one for each stream, from ten for each, and with nine of ten
/// events for topics that nobody reads. One request publishes to 1,000 topics.
fn topics(bench: &Bench, choice: &Choice, report: &mut Report) -> Result<(), Failure> {
    let streams = choice.subscribers;
    let (many, ten) = (streams.to_string(), (streams * 10).to_string());
    let (rate, batch) = ((streams * 2).to_string(), (streams / 10).clamp(1, 1_000).to_string());
    let cases: [(&str, &str, &[&str]); 4] = [
        ("one for all", "bare", &["--rate", "2"]),
        ("one for each", "bare-own", &["--topics", &many, "--rate", &rate, "--batch", &batch]),
        ("ten for each", "bare-own", &["--topics", &ten, "--each", "10", "--rate", &rate, "--batch", &batch]),
        ("one of ten read", "bare-own", &["--topics", &ten, "--rate", &rate, "--batch", &batch]),
    ];
    for (name, bare, load) in cases {
        let load = [load, &["--seconds", &bench.seconds]].concat();
        for (called, peer, more) in [("bare", bare, &[][..]), ("tidings", "tidings", ONE)] {
            let name = &format!("topics, {name}/{called}");
            if !choice.wants(name) {
                continue;
            }
            Case { name, peer, more, way: "sse", load: &load }.measure(bench, streams, report)?;
        }
    }
    Ok(())
}

/// Every case there is.
#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    "none stalled/bare",
    "half stalled/bare",
    "none stalled/tidings",
    "half stalled/tidings",
    "none stalled/axum",
    "half stalled/axum",
    "storm/bare",
    "storm/tidings",
    "storm/tidings fsync",
    "topics, one for all/bare",
    "topics, one for all/tidings",
    "topics, one for each/bare",
    "topics, one for each/tidings",
    "topics, ten for each/bare",
    "topics, ten for each/tidings",
    "topics, one of ten read/bare",
    "topics, one of ten read/tidings",
];
