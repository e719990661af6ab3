//! `tidings sub`: what it prints, how it resumes, how it ends.

use crate::process::HubProcess;
use crate::tool::Tool;

fn hub() -> (HubProcess, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (HubProcess::start(dir.path(), &["--drain", "200ms"]), dir)
}

fn publish(hub: &HubProcess, topic: &str, data: &str) -> String {
    Tool::run(hub, &["pub", topic, data]).well().remove(0)
}

#[test]
fn it_goes_on_where_it_was_also_when_nothing_had_come_yet() {
    let (mut hub, _dir) = hub();
    publish(&hub, "quiet", "before");
    let reader = Tool::start(&hub, &["sub", "quiet", "-v"]);
    // Proof that it is open: an event of its own topic would spoil the test, so the hub is asked.
    until_subscribed(&hub);
    hub.kill();
    reader.until_said("trying again");
    hub.restart();
    // Published before the reader is back, or after: it makes no difference.
    publish(&hub, "quiet", "one");
    assert_eq!(reader.line(), "one");
    assert!(hub.stop().success());
    hub.restart();
    publish(&hub, "quiet", "two");
    assert_eq!(reader.line(), "two");
    assert!(reader.is_silent(300));
}

fn until_subscribed(hub: &HubProcess) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        loop {
            let metrics = crate::process::request(hub.admin, "GET", "/metrics", "", b"").await.unwrap();
            let text = String::from_utf8_lossy(&metrics.body).into_owned();
            if text.lines().any(|line| line.starts_with("tidings_subscribers") && line.ends_with(" 1")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn starts_filters_and_counts_are_kept() {
    let (hub, _dir) = hub();
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|data| publish(&hub, "t", data)).collect();
    Tool::run(&hub, &["pub", "t", "named", "--event", "x"]).well();
    publish(&hub, "u/1", "other");
    let check = |args: &[&str], expected: &[&str]| {
        let count = expected.len().to_string();
        let args = [&["sub"], args, &["--count", &count]].concat();
        assert_eq!(Tool::run(&hub, &args).well(), expected, "{args:?}");
    };
    check(&["t", "--from", "start"], &["a", "b", "c", "named"]);
    check(&["t", "--from", "last"], &["named"]);
    check(&["t", "--from", &format!("id:{}", ids[0])], &["b", "c", "named"]);
    check(&["t", "--from", "start", "--event", "x"], &["named"]);
    check(&["t", "u/*", "--from", "start"], &["t: a", "t: b", "t: c", "t: named", "u/1: other"]);
    check(&["**", "--no-follow", "--from", &format!("id:{}", ids[2])], &["t: named", "u/1: other"]);

    let line = Tool::run(&hub, &["sub", "u/*", "--json", "--from", "start", "--count", "1"]).well().remove(0);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((event["topic"].as_str(), event["data"].as_str()), (Some("u/1"), Some("other")));
    assert_eq!(event["event"].as_str(), Some("message"));
}

#[test]
fn history_is_paged_to_its_end() {
    let (hub, _dir) = hub();
    let lines: Vec<_> = (0..2_500).map(|n| format!("{n}")).collect();
    Tool::run_with_input(&hub, &["pub", "long", "-"], lines.join("\n").as_bytes()).well();
    assert_eq!(Tool::run(&hub, &["sub", "long", "--no-follow"]).well(), lines);
    assert_eq!(Tool::run(&hub, &["sub", "none", "--no-follow"]).well(), Vec::<String>::new());
}

#[test]
fn a_gap_is_told() {
    let (hub, _dir) = hub();
    publish(&hub, "t", "kept");
    let check = |line: &str| {
        let gap: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(gap["gap"]["reason"].as_str(), Some("foreign"), "{gap}");
    };
    let args = ["sub", "t", "--json", "--from", "id:never-given-out"];
    let reader = Tool::start(&hub, &args);
    check(&reader.line());
    reader.until_said("a gap: ");
    publish(&hub, "t", "next");
    assert!(reader.line().contains("next"));

    let ended = Tool::run(&hub, &[&args[..], &["--no-follow"]].concat());
    assert!(ended.stderr.contains("a gap: "), "{ended:?}");
    check(&ended.well()[0]);
}

#[test]
fn a_closed_topic_is_an_orderly_end() {
    let (hub, _dir) = hub();
    publish(&hub, "done", "last words");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let closed = runtime.block_on(crate::process::request(hub.addr, "PUT", "/topics/done?closed", "", b""));
    assert_eq!(closed.unwrap().status, 200);
    let ended = Tool::run(&hub, &["sub", "done", "--from", "start"]);
    assert!(ended.stderr.contains("the topic is closed"), "{ended:?}");
    assert_eq!(ended.well(), ["last words"]);
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let (hub, _dir) = hub();
    for n in 0..3_000 {
        // Enough to fill every pipe on the way.
        if n % 1_000 == 0 {
            let lines = vec!["x".repeat(300); 1_000].join("\n");
            Tool::run_with_input(&hub, &["pub", "flood", "-"], lines.as_bytes()).well();
        }
    }
    let script =
        format!("'{}' sub flood --from start --url {} | head -1", env!("CARGO_BIN_EXE_tidings"), hub.url(""));
    let ended = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(ended.status.success());
    assert_eq!(ended.stdout.len(), 301);
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_refusal_is_told_in_the_hubs_words() {
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(dir.path(), &["--anonymous-subscribe", "open/**"]);
    let refused = Tool::run(&hub, &["sub", "shut"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(401)"), "{refused:?}");
    Tool::run(&hub, &["sub", "shut", "--no-follow"]).badly(1, "(401)");
    Tool::run(&hub, &["sub", "a{b}"]).badly(2, "'{' at byte 1");
    Tool::run(&hub, &["sub", "a", "--from", "now"]).badly(2, "start, last, tail or id:ID");
}
