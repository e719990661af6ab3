//! Answers of language models: the published shapes, read at every split. Bytes and events only; what a field
//! means is the business of whoever reads the JSON.

use std::path::Path;

use serde_json::Value;
use tidings_codec::{Decoder, ItemRef};

/// What a reader of an answer wants to know.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    finish: Option<String>,
    error: Option<String>,
    pings: usize,
    /// Whether the stream said itself that it is complete.
    is_marked: bool,
}

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut decoder = Decoder::new();
    let mut answer = Answer::default();
    for chunk in chunks {
        let mut items = decoder.read(chunk);
        while let Some(item) = items.next().expect("within the limit") {
            if let ItemRef::Event(event) = item {
                take(&mut answer, event.event, event.data);
            }
        }
    }
    assert!(!decoder.has_pending(), "the samples end with a blank line");
    answer
}

fn take(answer: &mut Answer, event: &str, data: &str) {
    if data == "[DONE]" {
        answer.is_marked = true;
        return;
    }
    let json: Value = serde_json::from_str(data).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match event {
        "ping" => answer.pings += 1,
        "error" => {
            let error = json.get("error").unwrap_or(&json);
            answer.error = text(&error["message"]);
        }
        "message_stop" => answer.is_marked = true,
        _ => {}
    }
    let deltas = [
        &json["choices"][0]["delta"]["content"],
        &json["delta"]["text"],
        &json["candidates"][0]["content"]["parts"][0]["text"],
        if event == "response.output_text.delta" { &json["delta"] } else { &Value::Null },
    ];
    answer.text.extend(deltas.iter().filter_map(|delta| delta.as_str()));
    let finish = [
        &json["choices"][0]["finish_reason"],
        &json["delta"]["stop_reason"],
        &json["candidates"][0]["finishReason"],
    ];
    answer.finish = finish.into_iter().find_map(text).or_else(|| answer.finish.take());
}

fn check(sample: &str, expected: &Answer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(sample);
    let bytes = std::fs::read(path).expect("the sample");
    assert_eq!(&read([bytes.as_slice()]), expected, "{sample}, whole");
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(&read([head, tail]), expected, "{sample}, cut at {cut}");
    }
    for chunk_bytes in [1, 16, 128] {
        assert_eq!(&read(bytes.chunks(chunk_bytes)), expected, "{sample}, in {chunk_bytes} B");
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn chat_completions_end_with_done() {
    check(
        "openai-chat.sse",
        &Answer {
            text: text("Good tidings:\n晚安"),
            finish: Some(text("stop")),
            is_marked: true,
            ..Answer::default()
        },
    );
}

#[test]
fn responses_have_named_events_and_may_break_off_with_an_error() {
    check(
        "openai-responses.sse",
        &Answer {
            text: text("Good tidings"),
            error: Some(text("The model is overloaded.")),
            ..Answer::default()
        },
    );
}

#[test]
fn messages_have_pings_and_a_stop() {
    check(
        "anthropic-messages.sse",
        &Answer {
            text: text("Good tidings:\n晚安"),
            finish: Some(text("end_turn")),
            pings: 1,
            is_marked: true,
            ..Answer::default()
        },
    );
    check(
        "anthropic-overloaded.sse",
        &Answer { text: text("Good"), error: Some(text("Overloaded")), ..Answer::default() },
    );
}

#[test]
fn generated_content_ends_its_lines_with_crlf_and_without_a_marker() {
    check(
        "gemini-stream.sse",
        &Answer { text: text("Good tidings:\n晚安"), finish: Some(text("STOP")), ..Answer::default() },
    );
}
