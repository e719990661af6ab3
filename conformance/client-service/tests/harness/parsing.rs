//! What a source makes of bytes: fields, BOMs, comments, sizes.

use serde_json::json;

use crate::world::Service;

/// One event: type, data, id.
type Seen<'a> = (&'a str, &'a str, &'a str);

/// A name, chunks, and what is seen.
type Case<'a> = (&'a str, &'a [&'a [u8]], &'a [Seen<'a>]);

/// Each case has its own stream; chunks arrive one by one.
async fn check(cases: &[Case<'_>]) {
    let service = Service::start().await;
    for (name, chunks, events) in cases {
        let (_server, mut connection, mut stream) = service.connected(json!({})).await;
        for chunk in *chunks {
            connection.send(chunk).await;
        }
        // What should come after the last one, so that one too many is seen.
        connection.send("event: end\ndata: of case\nid: end\n\n").await;
        for (event, data, id) in *events {
            eprintln!("{name}");
            stream.sees(event, data, id).await;
        }
        stream.sees("end", "of case", "end").await;
    }
}

#[tokio::test]
async fn fields_are_what_the_standard_says() {
    let many: String = (0..100).map(|number| format!("data: number {number}\n\n")).collect();
    let numbers: Vec<String> = (0..100).map(|number| format!("number {number}")).collect();
    let numbered: Vec<Seen<'_>> = numbers.iter().map(|data| ("message", data.as_str(), "")).collect();
    let crumbs: Vec<[u8; 1]> = "data: €豆腐🦀\n\n".bytes().map(|byte| [byte]).collect();
    let crumbs: Vec<&[u8]> = crumbs.iter().map(<[u8; 1]>::as_slice).collect();
    check(&[
        ("one line", &[b"data: hi\n\n"], &[("message", "hi", "")]),
        ("one line in two chunks", &[b"data: h", b"i\n\n"], &[("message", "hi", "")]),
        (
            "two events in one chunk",
            &[b"data: a\n\ndata: b\n\n"],
            &[("message", "a", ""), ("message", "b", "")],
        ),
        (
            "two events in three chunks, of which the middle one has parts of both",
            &[b"data: one a", b"nd more\n\ndata: two a", b"nd more\n\n"],
            &[("message", "one and more", ""), ("message", "two and more", "")],
        ),
        ("two lines", &[b"data: a\ndata:b\n\n"], &[("message", "a\nb", "")]),
        ("no data in data", &[b"data:\n\n"], &[("message", "", "")]),
        ("no data at all", &[b"event: a\nid: 1\n\n"], &[]),
        ("a type", &[b"event: hello\ndata: a\n\n"], &[("hello", "a", "")]),
        ("a type without a name is the usual one", &[b"event:\ndata: a\n\n"], &[("message", "a", "")]),
        ("an id", &[b"id: 7\ndata: a\n\n"], &[("message", "a", "7")]),
        ("type and id", &[b"event: e\nid: 7\ndata: a\n\n"], &[("e", "a", "7")]),
        ("the other way round", &[b"data: a\nid: 7\nevent: e\n\n"], &[("e", "a", "7")]),
        ("an id with a NUL is none", &[b"id: 7\0\ndata: a\n\n"], &[("message", "a", "")]),
        (
            "an id lasts",
            &[b"id: 7\ndata: a\n\n", b"data: b\n\n"],
            &[("message", "a", "7"), ("message", "b", "7")],
        ),
        (
            "until an empty one",
            &[b"id: 7\ndata: a\n\n", b"id:\ndata: b\n\ndata: c\n\n"],
            &[("message", "a", "7"), ("message", "b", ""), ("message", "c", "")],
        ),
        ("unknown fields", &[b"colour: blue\nData: x\ndata : y\ndata: a\n\n"], &[("message", "a", "")]),
        ("no space", &[b"event:e\ndata:a\n\n"], &[("e", "a", "")]),
        ("one space of two", &[b"event:  e\ndata:  a\n\n"], &[(" e", " a", "")]),
        ("no colon", &[b"data\n\ndata\ndata\n\n"], &[("message", "", ""), ("message", "\n", "")]),
        ("other scripts", &["data: €豆腐\n\n".as_bytes()], &[("message", "€豆腐", "")]),
        ("other scripts byte by byte", &crumbs, &[("message", "€豆腐🦀", "")]),
        ("many at once", &[many.as_bytes()], &numbered),
        ("a retry alone is no event", &[b"retry: 5\n\n"], &[]),
    ])
    .await;
}

#[tokio::test]
async fn one_bom_is_dropped_at_the_very_beginning() {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let after = |text: &str| [BOM, text.as_bytes()].concat();
    check(&[
        ("before an event", &[&after("data: a\n\n")], &[("message", "a", "")]),
        ("before other fields", &[&after("event: e\nid: 7\ndata: a\n\n")], &[("e", "a", "7")]),
        ("not in a later event", &[b"data: a\n\n", &after("data: b\n\n")], &[("message", "a", "")]),
        ("nor in data", &["data: \u{feff}a\n\n".as_bytes()], &[("message", "\u{feff}a", "")]),
        ("in two chunks", &[&BOM[..2], &BOM[2..], b"data: a\n\n"], &[("message", "a", "")]),
        ("in three", &[&BOM[..1], &BOM[1..2], &BOM[2..], b"data: a\n\n"], &[("message", "a", "")]),
        ("only one of two", &[&after("\u{feff}data: lost\n\ndata: a\n\n")], &[("message", "a", "")]),
        (
            "and data may begin with another",
            &[&after("data: \u{feff}a\n\n")],
            &[("message", "\u{feff}a", "")],
        ),
        ("before two lines", &[&after("data: a\ndata: b\n\n")], &[("message", "a\nb", "")]),
        ("before nothing", &[&after("data:\n\n")], &[("message", "", "")]),
    ])
    .await;
    let service = Service::start().await;
    let (_server, mut connection, mut stream) = service.connected(json!({})).await;
    connection.send(after(":hi\ndata: a\n\n")).await;
    stream.sees_comment("hi").await;
    stream.sees("message", "a", "").await;
}

#[tokio::test]
async fn comments_are_told_as_soon_as_their_line_ends() {
    let service = Service::start().await;
    let (_server, mut connection, mut stream) = service.connected(json!({})).await;
    connection.send(":one\n").await;
    stream.sees_comment("one").await;
    connection.send(": two\n:three\n").await;
    stream.sees_comment(" two").await;
    stream.sees_comment("three").await;
    connection.send(":before\ndata: a\n\n:after\n").await;
    stream.sees_comment("before").await;
    stream.sees("message", "a", "").await;
    stream.sees_comment("after").await;
    connection.send("data: a\n:within\ndata: b\n\n:\n").await;
    stream.sees_comment("within").await;
    stream.sees("message", "a\nb", "").await;
    stream.sees_comment("").await;
}

/// An event with that much data, in one chunk.
async fn check_size(service: &Service, bytes: usize) {
    let (_server, mut connection, mut stream) = service.connected(json!({})).await;
    let data = "x".repeat(bytes);
    connection.send(format!("data: {data}\n\n")).await;
    let message = stream.callbacks.next().await;
    let seen = message["event"]["data"].as_str().unwrap();
    assert!(seen == data, "{} of {bytes} bytes", seen.len());
}

/// Buffers are powers of two: what goes wrong with them does so next to one.
#[tokio::test]
async fn events_about_the_size_of_a_buffer_pass_whole() {
    let service = Service::start().await;
    for power in 0..=20 {
        let bytes: usize = 1 << power;
        for bytes in [bytes - 1, bytes, bytes + 1] {
            check_size(&service, bytes).await;
        }
    }
}

#[tokio::test]
async fn large_events_pass_whole() {
    let service = Service::start().await;
    for bytes in [7_000_000, 14_000_000, (128 << 20) + 1] {
        check_size(&service, bytes).await;
    }
}
