//! `tidings relay`: another server's stream, recorded without a hole and without a double, whoever is restarted.

use std::time::Duration;

use tokio::time::sleep;

use crate::process::HubProcess;
use crate::source::{Manner, Source};
use crate::tool::{Tool, data, history};

const EVENTS: usize = 1_500;

/// Every third event has a type of its own; ids have characters that are not digits.
fn block(n: usize) -> String {
    let name = if n.is_multiple_of(3) { "event: third\n" } else { "" };
    format!("id: number~-{n}\n{name}data: event\ndata: {n}\n\n")
}

const PLAIN: Manner = Manner { block, replays_last: false, ends_after: EVENTS };

fn hub() -> (HubProcess, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (HubProcess::start(dir.path(), &["--drain", "200ms"]), dir)
}

/// That the topic holds all events of the source, once and in order, under the source's ids and types.
#[track_caller]
fn complete(hub: &HubProcess, topic: &str) {
    let events = history(hub, topic);
    for (event, n) in events.iter().zip(1..) {
        assert_eq!(event["data"].as_str(), Some(format!("event\n{n}").as_str()));
        let id = event["id"].as_str().unwrap();
        assert!(id.ends_with(&format!("~number~-{n}")), "{id} is event {n}");
        let name = if n % 3 == 0 { "third" } else { "message" };
        assert_eq!(event["event"].as_str(), Some(name), "event {n}");
    }
    assert_eq!(events.len(), EVENTS);
}

async fn until_made(source: &Source, count: usize) {
    while source.made() < count {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_and_nothing_twice_when_all_are_restarted_in_turn() {
    let (mut hub, _dir) = hub();
    let mut source = Source::start(PLAIN).await;
    let args = ["relay", &source.url(), "--topic", "copy", "-v"];
    let mut relay = Tool::start(&hub, &args);
    for round in 0..2 {
        let from = round * 600;
        until_made(&source, from + 100).await;
        source.stop().await;
        sleep(Duration::from_millis(100)).await;
        source.restart();

        until_made(&source, from + 250).await;
        hub.kill();
        sleep(Duration::from_millis(100)).await;
        hub.restart();

        until_made(&source, from + 400).await;
        relay.kill();
        sleep(Duration::from_millis(50)).await;
        relay = Tool::start(&hub, &args);

        until_made(&source, from + 500).await;
        assert!(hub.stop().success());
        source.stop().await;
        hub.restart();
        source.restart();
    }
    // The source says 204 to whoever has seen all: the relay ends by itself.
    let ended = relay.end();
    assert!(ended.stderr.contains("there will be no more"), "{ended:?}");
    assert!(ended.stderr.contains("going on behind the source's id"), "{ended:?}");
    ended.well();
    complete(&hub, "copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_sends_its_last_event_again_is_not_recorded_twice() {
    let (hub, _dir) = hub();
    let mut source = Source::start(Manner { replays_last: true, ..PLAIN }).await;
    let args = ["relay", &source.url(), "--topic", "copy", "-v"];
    let relay = Tool::start(&hub, &args);
    until_made(&source, 200).await;
    source.stop().await;
    source.restart();
    until_made(&source, 400).await;
    relay.terminate();
    relay.end().well();
    let ended = Tool::start(&hub, &args).end();
    assert!(ended.stderr.contains(" 1 sent again by the source"), "{ended:?}");
    ended.well();
    complete(&hub, "copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_ids_is_told_once() {
    let (hub, _dir) = hub();
    let manner = Manner { block: |n| format!("data: {n}\n\n"), replays_last: false, ends_after: usize::MAX };
    let source = Source::start(manner).await;
    let relay = Tool::start(&hub, &["relay", &source.url(), "--topic", "copy"]);
    relay.until_said("no ids");
    until_made(&source, source.made() + 50).await;
    relay.terminate();
    let ended = relay.end();
    assert_eq!(ended.stderr.matches("no ids").count(), 1, "{ended:?}");
    ended.well();
    let seen = data(&hub, "copy");
    assert!(seen.len() >= 50 && seen[0] == "1", "{} events", seen.len());
    let again = Tool::start(&hub, &["relay", &source.url(), "--topic", "copy"]);
    again.until_said("the last event there has no id of the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_told_and_nothing_is_recorded_behind_it() {
    let (hub, _dir) = hub();
    let long = |n: usize| {
        let id = if n == 3 { "x".repeat(300) } else { n.to_string() };
        format!("id: {id}\ndata: {n}\n\n")
    };
    let source = Source::start(Manner { block: long, replays_last: false, ends_after: 5 }).await;
    let args = ["relay", &source.url(), "--topic", "copy"];
    Tool::run(&hub, &args).badly(1, "event 3: the source's id has 300 bytes");
    assert_eq!(data(&hub, "copy"), ["1", "2"]);
    let skipping = [&args[..], &["--skip-bad"]].concat();
    let ended = Tool::run(&hub, &skipping);
    assert!(ended.stderr.contains("skipped"), "{ended:?}");
    ended.well();
    assert_eq!(data(&hub, "copy"), ["1", "2", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hub_is_a_source_too_and_headers_reach_it() {
    let (hub, _dir) = hub();
    let other_dir = tempfile::tempdir().unwrap();
    let key = "a-key-for-this-test-alone";
    let hash = tidings_server::gate::keys::hash(key).unwrap();
    let config = other_dir.path().join("hub.toml");
    let table =
        format!("[[keys]]\nname = \"k\"\nhash = \"{hash}\"\npublish = [\"**\"]\nsubscribe = [\"**\"]\n");
    std::fs::write(&config, table).unwrap();
    let other = HubProcess::start(&other_dir.path().join("data"), &["--config", config.to_str().unwrap()]);
    for n in 0..3 {
        Tool::run(&other, &["pub", "t", &n.to_string(), "--key", key]).well();
    }
    let url = other.url("/topics/t?from=start");
    let refused = Tool::run(&hub, &["relay", &url, "--topic", "copy"]);
    refused.badly(1, "the source: the server answered 401");
    let bearer = format!("Authorization: Bearer {key}");
    let args = ["relay", &url, "--topic", "copy", "--header", &bearer];
    let relay = Tool::start(&hub, &args);
    let reader = Tool::start(&hub, &["sub", "copy", "--from", "start"]);
    for n in 0..3 {
        assert_eq!(reader.line(), n.to_string());
    }
    relay.kill();
    Tool::run(&other, &["pub", "t", "3", "--key", key]).well();
    let _relay = Tool::start(&hub, &args);
    assert_eq!(reader.line(), "3");
    assert!(reader.is_silent(300));
}
