//! Help, pages, settings and the refusals of `serve`, each with its exit code.

use crate::process::HubProcess;
use crate::tool::{Ended, Tool, data};

fn run(args: &[&str]) -> Ended {
    Tool::start_with(args, &[]).end()
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).well().join("\n");
        for word in ["serve", "relay", "segment-bytes"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    run(&["man", "--out", dir.path().to_str().unwrap()]).well();
    for page in ["tidings.1", "tidings-serve.1", "tidings-pub.1", "tidings-sub.1", "tidings-relay.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains("SYNOPSIS"), "{page}");
    }
    assert!(run(&["man"]).well().join("\n").contains("EventSource"));
}

#[test]
fn settings_say_where_each_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.toml");
    std::fs::write(&file, "retry = \"3s\"\nheartbeat = \"9s\"\n").unwrap();
    let config = file.to_str().unwrap();
    let variables = [("TIDINGS_HEARTBEAT", "8s"), ("TIDINGS_DRAIN", "7s"), ("TIDINGS_CONFIG", config)];
    let lines = Tool::start_with(&["settings", "--drain", "1s"], &variables).end().well();
    let check = |key: &str, value: &str, origin: &str| {
        let line = lines.iter().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
        assert!(line.contains(&format!("= {value} ")) && line.ends_with(origin), "{line}");
    };
    check("drain", "1s", "# --drain");
    check("heartbeat", "8s", "# TIDINGS_HEARTBEAT");
    check("retry", "3s", "hub.toml:1");
    check("durability", "fsync", "# default");
}

#[test]
fn a_hub_that_cannot_be_says_why_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(dir.path(), &[]);
    let (data, elsewhere) = (dir.path().to_str().unwrap().to_owned(), tempfile::tempdir().unwrap());
    let other = elsewhere.path().to_str().unwrap();
    let free = ["serve", "--listen", "127.0.0.1:0", "--admin", "none"];
    let check = |more: &[&str], code: i32, message: &str| {
        let ended = run(&[&free[..], more].concat());
        ended.badly(code, message);
        let said: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("tidings: ")).collect();
        assert_eq!(said.len(), 1, "{ended:?}");
        assert!(!ended.stderr.contains("listening on"), "{ended:?}");
    };
    check(&["--data", &data], 1, "in use by another hub");
    check(&["--data", other, "--listen", &hub.addr.to_string()], 1, "another program listens there");
    check(&["--data", other, "--listen", "0.0.0.0:0"], 2, "--anonymous-subscribe");
    check(&["--data", other, "--log-level", "a=b=c"], 2, "--log-level \"a=b=c\"");
    check(&["--data", other, "--tls-cert", "no.pem", "--tls-key", "no.key"], 1, "no.pem");
    check(&["--data", other, "--hosts", "http://x"], 2, "hosts: \"http://x\" is no host");
    let file = elsewhere.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    check(&["--data", file.to_str().unwrap()], 1, "a-file");
}

#[test]
fn a_damaged_log_stops_the_start_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = HubProcess::start(dir.path(), &[]);
    for n in 0..20 {
        Tool::run(&hub, &["pub", "t", &format!("event {n} {}", "x".repeat(200))]).well();
    }
    hub.kill();
    let segment = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max_by_key(|path| std::fs::read(path).unwrap().windows(6).filter(|bytes| bytes == b"event ").count())
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|bytes| bytes == b"event 5 ").unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(&segment, bytes).unwrap();
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--admin", "none", "--data", dir.path().to_str().unwrap()];
    let ended = run(&args);
    ended.badly(1, "the log is damaged");
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(ended.stderr.contains(name), "{ended:?}");
}

#[test]
fn a_made_key_opens_the_hub_that_has_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let page = run(&["key", "new", "backend"]).well().join("\n");
    let key = page.split_whitespace().find(|word| word.starts_with("tdk_")).unwrap().to_owned();
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, page.replace("publish = []", "publish = [\"open/**\"]")).unwrap();
    let hub = HubProcess::start(
        &dir.path().join("data"),
        &["--config", config.to_str().unwrap(), "--anonymous-subscribe", "**"],
    );
    Tool::run(&hub, &["pub", "open/a", "x"]).badly(1, "(401)");
    Tool::run(&hub, &["pub", "shut", "x", "--key", &key]).badly(1, "(403)");
    Tool::run(&hub, &["pub", "open/a", "x", "--key", "wrong-key-wrong-key"]).badly(1, "(401)");
    let variables = [("TIDINGS_URL", hub.url("")), ("TIDINGS_KEY", key)];
    let variables: Vec<_> = variables.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Tool::start_with(&["pub", "open/a", "x"], &variables).end().well();
    assert_eq!(data(&hub, "open/a"), ["x"]);
    run(&["key", "new", "no\"name"]).badly(2, "is no name for a key");
}

#[test]
fn tls_of_its_own_making_works_with_insecure_and_not_without() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "none", "--data", data, "--tls-self-signed"];
    let hub = Tool::start_with(&args, &[]);
    hub.until_said("listening on https://");
    let said = hub.said();
    let url = said.lines().find_map(|line| line.strip_prefix("tidings: listening on ")).unwrap();
    let check = |args: &[&str]| run(&[args, &["--url", url]].concat());
    check(&["pub", "t", "x", "--patience", "200ms"]).badly(1, "no answer from the hub");
    check(&["pub", "t", "x", "--insecure"]).well();
    let args = ["sub", "t", "--from", "start", "--count", "1", "--insecure"];
    assert_eq!(check(&args).well(), ["x"]);
    hub.terminate();
    hub.end().well();
}

#[test]
fn memory_mode_needs_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("never");
    let hub = HubProcess::start(&data_dir, &["--durability", "memory"]);
    Tool::run(&hub, &["pub", "t", "x"]).well();
    assert_eq!(data(&hub, "t"), ["x"]);
    assert!(!data_dir.exists());
}
