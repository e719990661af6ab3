//! `tidings bench` against the real hub: it counts what is there, and notices what is not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod process;

use std::path::Path;
use std::process::{Command, Output};

use process::{DESCRIPTORS_MAX, HubProcess};
use serde_json::Value;

fn bench(url: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings")).args(["bench", url, "--quiet"]).args(more).output().unwrap()
}

#[track_caller]
fn measure(url: &str, more: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let (json, svg) = (dir.path().join("result.json"), dir.path().join("latency.svg"));
    let more = [more, &["--json", json.to_str().unwrap(), "--svg", svg.to_str().unwrap()]].concat();
    let output = bench(url, &more);
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("streams ") && table.contains("\nserver "), "{table}");
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

#[test]
fn every_event_is_counted_once_and_the_server_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(dir.path(), &["--durability", "os"]);
    let url = hub.url("/topics/bench-{}");
    let one = measure(
        &url,
        &[
            "--subscribers",
            "90",
            "--topics",
            "3",
            "--rate",
            "60",
            "--duration",
            "1",
            "--workers",
            "2",
            "--warm-up",
            "0.1",
        ],
    );
    assert_eq!(
        (&one["streams"], &one["streams_refused"], &one["streams_lost"]),
        (&90.into(), &0.into(), &0.into())
    );
    assert_eq!(one["delivered"], one["expected"]);
    assert_eq!((&one["missing"], &one["repeated"]), (&0.into(), &0.into()));
    // No more than was planned; on a machine that is busy it may be less.
    assert!((1..=66).contains(&one["published"].as_u64().unwrap()), "{one}");
    assert_eq!(one["delivered"].as_u64().unwrap(), 30 * one["published"].as_u64().unwrap());
    assert!(one["server_cpu_us_per_delivery"].as_f64().unwrap() > 0.0);
    assert!(one["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    let flat = measure(
        &url,
        &["--subscribers", "20", "--flat-out", "--batch", "7", "--duration", "0.5", "--warm-up", "0"],
    );
    assert_eq!(flat["delivered"], flat["expected"]);
    assert!(
        flat["published"].as_u64().unwrap() > 0 && flat["published"].as_u64().unwrap().is_multiple_of(7),
        "{flat}"
    );
    let idle =
        measure(&url, &["--subscribers", "50", "--no-publish", "--duration", "0.1", "--settle", "0.1"]);
    assert_eq!((&idle["streams"], &idle["published"]), (&50.into(), &0.into()));
}

#[test]
fn what_it_wrote_down_can_be_judged() {
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(&dir.path().join("data"), &["--durability", "fsync"]);
    let traces = ["paced", "flat"].map(|name| dir.path().join(name));
    let judged = |trace: &Path, url: &str, more: &[&str]| {
        let told = ["--warm-up", "0", "--trace", trace.to_str().unwrap()];
        let found = measure(&hub.url(url), &[more, &told].concat());
        let judged = tidings_history::trace::read(trace).unwrap();
        assert_eq!((judged.history.check(), &judged.wrong[..]), (Vec::new(), &[][..]));
        (found, judged)
    };
    let paced = ["--subscribers", "30", "--topics", "3", "--rate", "60", "--duration", "0.5"];
    let (found, paced) = judged(&traces[0], "/topics/paced-{}", &paced);
    let published = found["published"].as_u64().unwrap();
    // Five or six of the sixteen for each topic, which has a third of all.
    assert_eq!((paced.streams, paced.history.events()), (16, published / 3 * 16));
    assert_eq!(u64::try_from(paced.published.1).unwrap(), published);
    let flat = ["--subscribers", "20", "--flat-out", "--batch", "8", "--duration", "0.5"];
    let (found, flat) = judged(&traces[1], "/topics/flat", &flat);
    assert_eq!(flat.history.events(), found["published"].as_u64().unwrap() * 16);
    let again = bench(&hub.url("/topics/flat"), &["--trace", traces[1].to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
    // And a stream that lacks one, or has one twice, is found.
    let stream = traces[1].join("stream-3");
    let text = std::fs::read_to_string(&stream).unwrap();
    let at = text.match_indices("id: ").nth(5).unwrap().0 - 4;
    let end = at + 4 + text[at + 4..].find("\n\n").unwrap() + 4;
    for hurt in [format!("{}{}", &text[..at], &text[end..]), format!("{}{}", &text[..end], &text[at..])] {
        std::fs::write(&stream, hurt).unwrap();
        let judged = tidings_history::trace::read(&traces[1]).unwrap();
        assert_eq!((judged.history.check().len(), judged.wrong.len()), (1, 1), "{:?}", judged.wrong);
    }
}

#[test]
fn a_full_hub_and_one_that_is_not_there_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(
        dir.path(),
        &["--durability", "os", "--subscribers-max", "10", "--overload", "503"],
    );
    let url = hub.url("/topics/bench");
    let full = measure(&url, &["--subscribers", "15", "--rate", "20", "--duration", "0.5", "--warm-up", "0"]);
    assert_eq!((&full["streams"], &full["streams_refused"]), (&10.into(), &5.into()));
    assert!(full["reason"].as_str().unwrap().contains("503"), "{full}");
    assert_eq!(full["delivered"], full["expected"]);
    let refused = bench(&hub.url("/nowhere"), &["--subscribers", "2", "--duration", "0.1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("404"), "{said}");
    drop(hub);
    let gone = bench("http://127.0.0.1:1/topics/a", &["--subscribers", "2"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

#[test]
fn with_a_file_table_each_reactors_hold_more_streams_than_the_limit_of_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let limited = |more: &[&str]| {
        HubProcess::start(dir.path(), &[&[DESCRIPTORS_MAX, "256", "--reactors", "3"], more].concat())
    };
    let hub = limited(&["--reactor-descriptors", "own"]);
    let url = hub.url("/topics/bench-{}");
    let more =
        ["--subscribers", "300", "--topics", "3", "--rate", "50", "--duration", "0.5", "--warm-up", "0"];
    let result = measure(&url, &more);
    assert_eq!((&result["streams"], &result["streams_lost"]), (&300.into(), &0.into()), "{result}");
    assert_eq!(result["delivered"], result["expected"]);
    // What no reactor answers goes to another table.
    let history = || async {
        for _ in 0..20 {
            let page = hub.get("/topics/bench-0?format=json").await.unwrap();
            assert_eq!((page.status, page.json()["events"].is_array()), (200, true), "{page:?}");
        }
    };
    tokio::runtime::Runtime::new().unwrap().block_on(history());
    // The log's files are open once, or the space of those that are removed would not be free.
    let files = |task: std::fs::DirEntry| {
        let opened = std::fs::read_dir(task.path().join("fd")).unwrap();
        let named = opened.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let is_log = named.filter(|path| path.starts_with(dir.path().canonicalize().unwrap())).count();
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap();
        name.starts_with("tidings-reactor").then_some(is_log)
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", hub.pid())).unwrap();
    assert_eq!(tasks.filter_map(|task| files(task.unwrap())).collect::<Vec<_>>(), [0, 0, 0]);
    drop(hub);
    let hub = limited(&["--overload", "503"]);
    let result =
        measure(&hub.url("/topics/bench"), &["--subscribers", "126", "--no-publish", "--duration", "0.1"]);
    assert_eq!(result["streams"], 120, "else the limit did not hold: {result}");
}
