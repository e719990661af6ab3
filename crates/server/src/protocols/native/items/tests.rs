//! Items from bytes: each kind of body, at every cut, and what is refused.

use std::sync::Arc;

use tidings_hub::ports::Publish;
use tidings_hub::{Selectors, TopicName};

use super::{Common, Ending, Items, JsonLines, RoutedLines, SseBlocks};
use crate::gate::Access;
use crate::problem::Problem;

const EVENT_BYTES_MAX: usize = 32;

fn common() -> Common {
    Common {
        topic: TopicName::parse("t").unwrap(),
        private: false,
        event: Some(tidings_hub::EventName::parse("default").unwrap()),
        retry_ms: Some(7),
        event_bytes_max: EVENT_BYTES_MAX,
    }
}

fn sse() -> Items {
    Items::Sse(Box::new(SseBlocks::new(common())))
}

fn ndjson() -> Items {
    Items::Json(JsonLines::new(common()))
}

fn routed() -> Items {
    Items::Routed(RoutedLines::new(Arc::new(Access::everything()), EVENT_BYTES_MAX))
}

/// An item in one line: topics, data, and what else it has.
fn shown(item: &Publish) -> String {
    let topics: Vec<_> = item.topics.iter().map(TopicName::as_str).collect();
    let data = String::from_utf8_lossy(&item.data);
    let mut text = format!("{} {data:?}", topics.join("+"));
    let event = item.event.as_ref().map(|event| format!(" event={event}"));
    let id = item.id.as_ref().map(|id| format!(" id={id}"));
    let retry = item.retry_ms.map(|retry_ms| format!(" retry={retry_ms}"));
    let private = item.private.then(|| " private".to_owned());
    text.extend([event, id, retry, private].into_iter().flatten());
    text
}

/// All items, and how it ended: `whole`, `discarded`, or the problem's slug.
fn read(items: &mut Items, pieces: &[&[u8]]) -> (Vec<String>, String, Option<Problem>) {
    let mut found = Vec::new();
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            match items.next(&mut piece) {
                Ok(item) => found.extend(item.as_ref().map(shown)),
                Err(problem) => return (found, problem.kind().slug.to_owned(), Some(problem)),
            }
        }
    }
    match items.finish() {
        Ok(Ending::Whole(item)) => {
            found.extend(item.as_ref().map(shown));
            (found, "whole".to_owned(), None)
        }
        Ok(Ending::Discarded) => (found, "discarded".to_owned(), None),
        Err(problem) => (found, problem.kind().slug.to_owned(), Some(problem)),
    }
}

#[track_caller]
fn check(items: fn() -> Items, body: &str, expected: &[&str], end: &str) -> Option<Problem> {
    let body = body.as_bytes();
    for cut in 0..=body.len() {
        let (head, tail) = body.split_at(cut);
        let (found, ending, _) = read(&mut items(), &[head, tail]);
        let body = String::from_utf8_lossy(body);
        assert_eq!(
            (found, ending.as_str()),
            (expected.iter().map(ToString::to_string).collect(), end),
            "{body:?} cut at {cut}"
        );
    }
    read(&mut items(), &[body]).2
}

#[track_caller]
fn check_bytes(items: fn() -> Items, body: &[u8], expected: &[&str], end: &str) {
    let (found, ending, _) = read(&mut items(), &[body]);
    assert_eq!(
        (found.iter().map(String::as_str).collect::<Vec<_>>(), ending.as_str()),
        (expected.to_vec(), end)
    );
}

#[test]
fn blocks_are_events() {
    check(
        sse,
        ": hi\n\ndata: one\ndata: two\n\nid: 7\nevent: x\nretry: 30\ndata:\n\n",
        &["t \"one\\ntwo\" event=default retry=7", "t \"\" event=x id=7 retry=30"],
        "whole",
    );
    check(sse, "id: 1\n\nevent: y\n\nretry: 5\n\n: c\n", &[], "whole");
    check(sse, "data: a\n\ndata: b", &["t \"a\" event=default retry=7"], "discarded");
    check(sse, "data: a\n\ndata: b\n", &["t \"a\" event=default retry=7"], "discarded");
    check(sse, "id:\ndata: a\n\n", &["t \"a\" event=default retry=7"], "whole");
    check(sse, "", &[], "whole");
    check_bytes(sse, b"data: \xff\n\n", &["t \"\u{fffd}\" event=default retry=7"], "whole");
}

#[test]
fn a_block_has_limits() {
    let (long, name) = ("x".repeat(EVENT_BYTES_MAX), "n".repeat(257));
    check(sse, &format!("data: {long}\n\n"), &[&format!("t {long:?} event=default retry=7")], "whole");
    let problem = check(
        sse,
        &format!("data: a\n\ndata: {long}y\n\n"),
        &["t \"a\" event=default retry=7"],
        "event-too-large",
    );
    assert_eq!(problem.unwrap().to_json()["limit_bytes"], EVENT_BYTES_MAX);
    check(sse, &format!("data: {}\n", "y".repeat(5_000)), &[], "event-too-large");
    check(sse, &format!("id: {name}\ndata: a\n\n"), &[], "invalid-event");
    check(sse, &format!("event: {name}\ndata: a\n\n"), &[], "invalid-event");
    // Three bytes for one.
    check_bytes(sse, &[&b"data: "[..], &[0xff; 11], b"\n\n"].concat(), &[], "event-too-large");
}

#[test]
fn lines_are_data_verbatim() {
    let default = |data: &str| format!("t {data:?} event=default retry=7");
    let body = "{\"a\":1}\r\n\n  \n [1, 2] \n\"\\u00fc\"\nnull\n7";
    check(
        ndjson,
        body,
        &[
            &default("{\"a\":1}"),
            &default(" [1, 2] "),
            &default("\"\\u00fc\""),
            &default("null"),
            &default("7"),
        ],
        "whole",
    );
    let long = format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX - 2));
    check(ndjson, &format!("{long}\r\n1\n"), &[&default(&long), &default("1")], "whole");
}

#[test]
fn a_bad_line_is_named() {
    let one = "t \"1\" event=default retry=7";
    for bad in ["{", "1 2", "{a:1}", "'x'", "nul", "\"a", "\u{feff}1"] {
        let problem = check(ndjson, &format!("1\n\n{bad}\n2\n"), &[one], "invalid-json").unwrap();
        assert_eq!(problem.to_json()["line"], 3, "{bad}");
        assert!(problem.detail().starts_with("line 3, column "), "{problem}");
    }
    check_bytes(ndjson, b"1\n\"\xff\"\n", &[one], "invalid-json");
    check(ndjson, "1\n{", &[one], "invalid-json");
    let problem =
        check(ndjson, &format!("1\n\"{}\"\n", "x".repeat(EVENT_BYTES_MAX)), &[one], "event-too-large");
    assert_eq!(problem.unwrap().to_json()["line"], 2);
}

#[test]
fn a_line_says_where_it_goes() {
    check(
        routed,
        concat!(
            "{\"topic\":\"a\",\"data\":\"text \\\"x\\\" \\ud83d\\ude00\"}\n",
            "{\"topic\":[\"b\",\"c/d\",\"b\"],\"data\":{ \"n\" : 1.50 },\"event\":\"e\\u00fc\",\"id\":\"7\",\"retry\":30,\"private\":true}\n",
            "\n{\"data\":null,\"topic\":\"a\",\"event\":null,\"id\":null,\"retry\":null}",
        ),
        &[
            "a \"text \\\"x\\\" 😀\"",
            "b+c/d \"{ \\\"n\\\" : 1.50 }\" event=eü id=7 retry=30 private",
            "a \"null\"",
        ],
        "whole",
    );
}

#[test]
fn a_line_that_cannot_be_is_refused_with_its_number() {
    let ok = r#"{"topic":"a","data":1}"#;
    let hundred: Vec<_> = (0..100).map(|n| format!("\"t{n}\"")).collect();
    let name = "n".repeat(257);
    for (bad, slug) in [
        ("7", "invalid-json"),
        (r#"["a","x"]"#, "invalid-json"),
        (r#"{"topic":"a"}"#, "invalid-json"),
        (r#"{"data":"a"}"#, "invalid-json"),
        (r#"{"topic":"a","data":1,"extra":1}"#, "invalid-json"),
        (r#"{"topic":"a","data":1,"data":2}"#, "invalid-json"),
        (r#"{"topic":7,"data":1}"#, "invalid-json"),
        (r#"{"topic":"a","data":"\ud800"}"#, "invalid-json"),
        (r#"{"topic":"a","data":1,"retry":-1}"#, "invalid-json"),
        (r#"{"topic":"a","data":1,"retry":"5"}"#, "invalid-json"),
        (r#"{"topic":"a","data":1,"private":1}"#, "invalid-json"),
        (r#"{"topic":[],"data":1}"#, "invalid-topic"),
        (r#"{"topic":"","data":1}"#, "invalid-topic"),
        (r#"{"topic":"a*","data":1}"#, "invalid-topic"),
        (r#"{"topic":["a","b\n"],"data":1}"#, "invalid-topic"),
        (r#"{"topic":"a","data":1,"id":""}"#, "invalid-event"),
        (r#"{"topic":"a","data":1,"id":"a\nb"}"#, "invalid-event"),
        (r#"{"topic":"a","data":1,"event":"a\u0000"}"#, "invalid-event"),
        (r#"{"topic":"a","data":1,"event":""}"#, "invalid-event"),
        (&format!(r#"{{"topic":"a","data":1,"id":"{name}"}}"#), "invalid-event"),
        (&format!(r#"{{"topic":[{},"one more"],"data":1}}"#, hundred.join(",")), "too-many-topics"),
        (&format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(EVENT_BYTES_MAX + 1)), "event-too-large"),
    ] {
        let body = format!("{ok}\n\n{bad}\n{ok}\n");
        let (found, end, problem) = read(&mut routed(), &[body.as_bytes()]);
        assert_eq!((found.len(), end.as_str()), (1, slug), "{bad}");
        assert_eq!(problem.unwrap().to_json()["line"], 3, "{bad}");
    }
    let many = format!("{{\"topic\":[{}],\"data\":1}}", hundred.join(","));
    assert_eq!(read(&mut routed(), &[many.as_bytes()]).0.len(), 1);
    let endless = "x".repeat(EVENT_BYTES_MAX * 2 + 128 * 1024 + 2);
    assert_eq!(read(&mut routed(), &[endless.as_bytes()]).1, "event-too-large");
}

#[test]
fn every_topic_of_a_line_needs_a_grant() {
    let some = |text| Arc::new(Selectors::new(vec![tidings_hub::Selector::parse(text).unwrap()]));
    let access = Access { publish: some("mine/*"), ..Access::everything() };
    let mut items = Items::Routed(RoutedLines::new(Arc::new(access), EVENT_BYTES_MAX));
    let body = "{\"topic\":\"mine/a\",\"data\":1}\n{\"topic\":[\"mine/a\",\"yours/a\"],\"data\":2}\n";
    let (found, end, problem) = read(&mut items, &[body.as_bytes()]);
    assert_eq!((found.len(), end.as_str()), (1, "forbidden"));
    assert_eq!(problem.unwrap().to_json()["line"], 2);
}
