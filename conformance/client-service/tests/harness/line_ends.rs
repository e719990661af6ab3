//! LF, CRLF and CR, each in every shape of blocks, whole and in pieces of one and two bytes.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::world::Service;

/// Blocks with `|` for the end of a line, and their data.
const SHAPES: [(&str, &[&str]); 6] = [
    ("data: a||", &["a"]),
    ("data: a||data: b1|data: b2||", &["a", "b1\nb2"]),
    ("data:|data: 2|data: 3||", &["\n2\n3"]),
    ("data: 1|data:|data: 3||", &["1\n\n3"]),
    ("data: a|||data: b||", &["a", "b"]),
    ("data: a||||data: b||", &["a", "b"]),
];

async fn check(line_end: &str) {
    let service = Service::start().await;
    for (shape, events) in SHAPES {
        let bytes = shape.replace('|', line_end).into_bytes();
        for piece_bytes in [usize::MAX, 1, 2] {
            let (_server, mut connection, mut stream) = service.connected(json!({})).await;
            for piece in bytes.chunks(piece_bytes.min(bytes.len())) {
                connection.send(piece).await;
            }
            for data in events {
                stream.sees("message", data, "").await;
            }
        }
    }
}

#[tokio::test]
async fn lf_ends_a_line() {
    check("\n").await;
}

#[tokio::test]
async fn crlf_ends_a_line() {
    check("\r\n").await;
}

#[tokio::test]
async fn cr_ends_a_line() {
    check("\r").await;
}

#[tokio::test]
async fn crlf_is_one_end_over_chunks_and_an_event_does_not_wait_for_its_lf() {
    let service = Service::start().await;
    let (_server, mut connection, mut stream) = service.connected(json!({})).await;
    for piece in ["data: a\r", "\ndata: b\r", "\n\r"] {
        connection.send(piece).await;
        sleep(Duration::from_millis(20)).await;
    }
    stream.sees("message", "a\nb", "").await;
    for piece in ["\ndata: c\r", "\n", "\r", "\n"] {
        connection.send(piece).await;
    }
    stream.sees("message", "c", "").await;
}
