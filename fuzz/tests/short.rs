//! The short form of a campaign, as ordinary tests: a bounded number of seeded inputs for each target, out of what
//! means something to the readers, mixed with bytes that mean nothing.

use tidings_fuzz::TARGETS;
use tidings_fuzz::door::{Verdict, verdict};
use tidings_fuzz::input::Rng;

const PIECES: [&[u8]; 34] = [
    b"data: ",
    b"data:",
    b"data",
    b"id: ",
    b"id",
    b"event: ",
    b"event",
    b"retry: ",
    b"retry",
    b":",
    b": c\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b" ",
    b"\0",
    b"x",
    b"12",
    b"99999999999999999999",
    b"+5",
    b"\xef\xbb\xbf",
    b"\xef\xbb",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x82\xac",
    b"\xe2\x82",
    b"\xf0\x9f\xa6\x80",
    b"\xf0\x9f",
    b"\x80",
    b"data: x\n\n",
    b":keep-alive keep-alive keep-alive keep-alive keep-alive keep-alive keep-alive\n\n",
    b"id: 7\nevent: e\ndata: 0123456789012345678901234567890123456789\n\n",
];

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..3).map(|_| rng.number().to_le_bytes()[0]).collect();
    for _ in 0..rng.below(60) {
        match rng.below(8) {
            0 => bytes.extend_from_slice(&rng.number().to_le_bytes()[..1 + rng.below(8)]),
            // Long runs reach what only long lines reach.
            1 if rng.below(40) == 0 => {
                bytes.extend(std::iter::repeat_n(b"a\xc3\xa9"[rng.below(3)], rng.below(6_000)))
            }
            _ => bytes.extend_from_slice(PIECES[rng.below(PIECES.len())]),
        }
    }
    bytes
}

/// The seed makes the input again; its beginning is for the eye.
fn shortened(input: &[u8]) -> String {
    let text = input.escape_ascii().to_string();
    text.get(..400).map_or_else(|| text.clone(), |head| format!("{head}… ({} bytes)", input.len()))
}

/// Requests, some of them plain, most with something odd.
fn requests(rng: &mut Rng) -> Vec<u8> {
    const FIRST: [&str; 6] = [
        "POST /topics/a HTTP/1.1",
        "GET /events?topic=* HTTP/1.1",
        "POST /events HTTP/1.1",
        "GET /topics/a#x HTTP/1.1",
        "PUT /topics/a HTTP/1.1",
        "GET /elsewhere HTTP/1.0",
    ];
    const LINES: [&str; 16] = [
        "Host: a",
        "Content-Length: 3",
        "content-length:0",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING: identity",
        "Connection: close",
        "Connection: keep-alive",
        "Content-Type: text/event-stream",
        "Accept: application/json",
        "Expect: 100-continue",
        " folded: x",
        "X-A:",
        "x-a: \t\u{e9} ",
    ];
    let mut bytes = Vec::new();
    for _ in 0..=rng.below(3) {
        let end: &[u8] = if rng.below(8) == 0 { b"\n" } else { b"\r\n" };
        let first = if rng.below(4) > 0 { rng.below(4) } else { rng.below(FIRST.len()) };
        bytes.extend_from_slice(FIRST[first].as_bytes());
        bytes.extend_from_slice(end);
        for _ in 0..rng.below(4) {
            let line = if rng.below(2) == 0 { rng.below(2) } else { rng.below(LINES.len()) };
            bytes.extend_from_slice(LINES[line].as_bytes());
            bytes.extend_from_slice(end);
        }
        bytes.extend_from_slice(end);
        bytes.extend_from_slice(&b"abcdef"[..rng.below(7)]);
    }
    for _ in 0..rng.below(3) {
        let at = rng.below(bytes.len());
        match rng.below(3) {
            0 => bytes[at] = b"\r\n: \0\t\xffa"[rng.below(8)],
            1 => bytes.insert(at, b"\r\n: \0\t\xffa"[rng.below(8)]),
            _ => _ = bytes.remove(at),
        }
    }
    bytes
}

fn run(name: &str, inputs: usize) {
    run_with(name, inputs, bytes);
}

fn run_with(name: &str, inputs: usize, make: fn(&mut Rng) -> Vec<u8>) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    for seed in 0..inputs as u64 {
        let input = make(&mut Rng::seeded(seed));
        // The panic's message is the target's; this says how to have the input again.
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}: seed {seed}, input {:?}", shortened(&input));
    }
}

#[test]
fn decode() {
    run("decode", 4_000);
}

#[test]
fn round_trip() {
    run("round_trip", 4_000);
}

#[test]
fn hostile_ids() {
    run("hostile_ids", 1_000);
}

#[test]
fn machine() {
    run("machine", 4_000);
}

#[test]
fn resume() {
    run("resume", 4_000);
}

#[test]
fn door() {
    run("door", 200);
    run_with("door", 6_000, requests);
    let taken = (0..6_000).filter(
        |seed| matches!(verdict(&requests(&mut Rng::seeded(*seed))), Verdict::Taken(bytes) if bytes > 0),
    );
    // Otherwise it would say nothing.
    assert!(taken.count() > 1_000);
}
