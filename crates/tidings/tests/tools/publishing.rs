//! `tidings pub`: what goes in comes out, once and in order, whatever becomes of the hub meanwhile.

use std::time::Duration;

use crate::lossy::lossy_way;
use crate::process::HubProcess;
use crate::tool::{Tool, data, history};

fn hub(args: &[&str]) -> (HubProcess, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (HubProcess::start(dir.path(), args), dir)
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("line {n}")).collect()
}

#[test]
fn a_pipe_loses_nothing_while_the_hub_is_stopped_killed_and_started() {
    const LINES: usize = 900;
    let (mut hub, _dir) = hub(&["--drain", "200ms"]);
    let reader = Tool::start(&hub, &["sub", "vmstat", "--from", "start", "--count", &LINES.to_string()]);
    let mut writer = Tool::start(&hub, &["pub", "vmstat", "-", "-v"]);
    for (n, line) in numbers(LINES).iter().enumerate() {
        writer.write(format!("{line}\n").as_bytes());
        std::thread::sleep(Duration::from_millis(2));
        match n {
            200 | 500 => hub.kill(),
            350 => assert!(hub.stop().success()),
            250 | 400 | 560 => hub.restart(),
            _ => {}
        }
    }
    let written = writer.end();
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(written.stderr.contains(&format!("{LINES} events in ")), "{written:?}");
    assert!(
        written.stderr.contains("trying again until it works"),
        "it never met a hub that was away: {written:?}"
    );
    assert_eq!(reader.end().well(), numbers(LINES));
    assert_eq!(data(&hub, "vmstat"), numbers(LINES));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_doubles_nothing() {
    const LINES: usize = 200;
    let (hub, _dir) = hub(&[]);
    let url = format!("http://{}", lossy_way(hub.addr).await);
    let mut writer = Tool::start(&hub, &["pub", "lossy", "-", "-v", "--url", &url]);
    let reader = Tool::start(&hub, &["sub", "lossy", "--from", "start"]);
    for line in numbers(LINES).chunks(10) {
        writer.write(format!("{}\n", line.join("\n")).as_bytes());
        // One request for each chunk, so that many answers can be lost.
        for expected in line {
            assert_eq!(&reader.line(), expected);
        }
    }
    let ended = writer.end();
    assert!(!ended.stderr.contains("(0 events were held already)"), "no answer was lost: {ended:?}");
    ended.well();
    assert_eq!(data(&hub, "lossy"), numbers(LINES));
    for n in 0..5 {
        Tool::run(&hub, &["pub", "single", &n.to_string(), "--url", &url]).well();
    }
    assert_eq!(data(&hub, "single"), ["0", "1", "2", "3", "4"]);
}

#[test]
fn each_line_is_there_at_once() {
    let (hub, _dir) = hub(&[]);
    let reader = Tool::start(&hub, &["sub", "slow", "--from", "start"]);
    let mut writer = Tool::start(&hub, &["pub", "slow", "-"]);
    for line in ["one", "two", ""] {
        writer.write(format!("{line}\n").as_bytes());
        assert_eq!(reader.line(), line);
    }
    // Half a line is no event until it ends.
    writer.write(b"ha");
    assert!(reader.is_silent(300));
    writer.write(b"lf\n");
    assert_eq!(reader.line(), "half");
    writer.end().well();
}

#[test]
fn many_lines_at_once_are_many_events_in_order() {
    let (hub, _dir) = hub(&[]);
    let lines = numbers(20_000);
    Tool::run_with_input(&hub, &["pub", "many", "-"], lines.join("\n").as_bytes()).well();
    assert_eq!(data(&hub, "many"), lines);
}

#[test]
fn a_bad_line_is_told_with_its_number_and_what_precedes_it_is_there() {
    let (hub, _dir) = hub(&["--event-bytes-max", "1KiB"]);
    let check = |topic: &str, flags: &[&str], input: &[u8], code: i32, message: &str, expected: &[&str]| {
        let args = [&["pub", topic, "-"], flags].concat();
        Tool::run_with_input(&hub, &args, input).badly(code, message);
        assert_eq!(data(&hub, topic), expected, "{topic}");
    };
    check("utf8", &[], b"a\nb\n\xff\nc\n", 1, "line 3: it is not UTF-8", &["a", "b"]);
    check("utf8-skip", &["--skip-bad"], b"a\n\xff\nc", 1, "line 2: it is not UTF-8; skipped", &["a", "c"]);
    let long = "line 2: it is longer than --line-bytes-max (2 bytes)";
    check("long", &["--line-bytes-max", "2"], b"ab\nabc\nd\n", 1, long, &["ab"]);
    // What the hub alone knows to be too much.
    let mut large = b"a\n".to_vec();
    large.extend(std::iter::repeat_n(b'x', 2_000));
    large.extend_from_slice(b"\nb\n");
    check("large", &[], &large, 1, "line 2: ", &["a"]);
    check("large-skip", &["--skip-bad"], &large, 1, "1024", &["a", "b"]);
}

#[test]
fn an_event_stream_keeps_ids_types_and_retry() {
    let (hub, _dir) = hub(&[]);
    let input = b": comment\nid: 7\nevent: score\nretry: 99\ndata: a\ndata: b\n\ndata: plain\n\n";
    Tool::run_with_input(&hub, &["pub", "sse", "-", "--sse"], input).well();
    let events = history(&hub, "sse");
    assert_eq!(events.len(), 2);
    assert_eq!((events[0]["event"].as_str(), events[0]["data"].as_str()), (Some("score"), Some("a\nb")));
    assert!(events[0]["id"].as_str().unwrap().ends_with("~7"), "{events:?}");
    assert_eq!(events[1]["event"].as_str(), Some("message"));
    let cut = Tool::run_with_input(&hub, &["pub", "sse", "-", "--sse"], b"data: whole\n\ndata: cut");
    cut.badly(1, "event 2: the input ended before its blank line");
    assert_eq!(data(&hub, "sse").len(), 3);
}

#[test]
fn one_event_is_published_and_its_id_printed() {
    let (hub, _dir) = hub(&[]);
    let args = ["pub", "one", "-x\ny", "--event", "e", "--id", "mine", "--retry", "5s"];
    let printed = Tool::run(&hub, &args).well();
    let events = history(&hub, "one");
    assert_eq!(printed, [events[0]["id"].as_str().unwrap()]);
    assert_eq!((events[0]["data"].as_str(), events[0]["event"].as_str()), (Some("-x\ny"), Some("e")));
    assert!(printed[0].ends_with("~mine"));
    Tool::run(&hub, &["pub", "one", "secret", "--private"]).well();
    assert_eq!(history(&hub, "one").len(), 1, "nobody without a key sees a private event");
}

#[test]
fn what_can_never_work_is_told_at_once() {
    let (mut hub, _dir) = hub(&[]);
    Tool::run(&hub, &["pub", "a*", "x"]).badly(2, "'*' at byte 1");
    Tool::run(&hub, &["pub", "a", "-", "--id", "1"]).badly(2, "--id names one event");
    Tool::run(&hub, &["pub", "a", "x", "--sse"]).badly(2, "leave DATA out");
    Tool::run(&hub, &["pub", "a", "x", "--url", "localhost:4000"]).badly(2, "must be http:// or https://");
    Tool::run(&hub, &["pub", "a", "x", "--url", &hub.url("/nowhere")]).badly(1, "/topics/NAME");
    hub.kill();
    Tool::run(&hub, &["pub", "a", "x", "--patience", "300ms"]).badly(1, "no answer from the hub");
}

#[test]
fn an_interrupted_pipe_delivers_what_it_has_read() {
    let (hub, _dir) = hub(&[]);
    let mut writer = Tool::start(&hub, &["pub", "cut", "-"]);
    writer.write(b"one\ntwo\nthree");
    let reader = Tool::start(&hub, &["sub", "cut", "--from", "start"]);
    assert_eq!((reader.line().as_str(), reader.line().as_str()), ("one", "two"));
    writer.terminate();
    writer.until_said("delivering what was read");
    // Its input stays open until it has ended.
    assert_eq!(reader.line(), "three");
    writer.end().well();
}
