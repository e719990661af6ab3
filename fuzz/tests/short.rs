//! The short form of a campaign, as ordinary tests: a bounded number of seeded inputs for each target, out of what
//! means something to the readers, mixed with bytes that mean nothing.

use tidings_fuzz::TARGETS;
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

fn run(name: &str, inputs: usize) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    for seed in 0..inputs as u64 {
        let input = bytes(&mut Rng::seeded(seed));
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
