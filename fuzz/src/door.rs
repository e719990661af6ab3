//! The server's front door: what it makes of any bytes, held against a second reading of them that is strict and simple.
//!
//! - It never panics, and what it takes has one meaning: a head, and the bytes that its one `Content-Length` says.
//! - Cut anywhere, bytes are what they are whole, or a part. (A body that flows is read elsewhere if it is not there yet.)
//! - The filter before the HTTP library does the same at every cut, changes one colon at most, and none of what is taken; a
//!   head with two lengths does not get past it.

use std::mem::MaybeUninit;

use framing::Framing;
use request::{Found, HEADERS_MAX, look, request};

#[path = "../../crates/server/src/front/framing.rs"]
mod framing;
#[path = "../../crates/server/src/front/request.rs"]
mod request;

/// The paths that the server answers there.
fn serves(path: &str) -> bool {
    path == "/events" || path == "/topics" || path.starts_with("/topics/")
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are a part.
    More,
    /// They are for the HTTP library.
    Other,
    /// So many are a request that is taken.
    Taken(usize),
}

/// What must hold for any bytes.
pub fn check(bytes: &[u8]) {
    let whole = verdict(bytes);
    let flows = flows(bytes);
    // Each cut is a reading of its own: of long inputs the beginning, and some of the rest.
    let step = 1 + bytes.len().saturating_sub(512) / 64;
    for cut in (0..bytes.len().min(512)).chain((512..bytes.len()).step_by(step)) {
        let part = verdict(&bytes[..cut]);
        let is_left = flows && part == Verdict::Other;
        assert!(part == Verdict::More || part == whole || is_left, "{part:?} at {cut}, {whole:?} whole");
    }
    check_framing(bytes, whole);
}

/// What the door says; what it takes is compared.
#[must_use]
pub fn verdict(bytes: &[u8]) -> Verdict {
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let (head, lines) = match look(bytes, &mut lines, HEADERS_MAX, serves) {
        Found::More => return Verdict::More,
        Found::Other => return Verdict::Other,
        Found::TooMany(lines) => panic!("{lines} lines in room for fewer"),
        Found::Whole(head, lines) => (head, lines),
    };
    let Some(request) = request(&head, lines, bytes) else { return Verdict::Other };
    let strict = Strict::read(bytes).expect("it was taken");
    assert_eq!((request.method().as_str(), head.target), (strict.method, strict.target));
    // What stands behind `#` is nobody's.
    assert_eq!(request.uri().to_string(), strict.target.split('#').next().unwrap_or_default());
    let lines: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes())).collect();
    let sorted = |mut lines: Vec<(String, _)>| {
        // The map keeps the order of a name's values, not that of the names.
        lines.sort_by(|(one, _), (other, _)| one.cmp(other));
        lines
    };
    assert_eq!(sorted(lines), sorted(strict.lines.clone()));
    let count = |name: &str| strict.lines.iter().filter(|(known, _)| known == name).count();
    for never in ["transfer-encoding", "expect", "upgrade"] {
        assert_eq!(count(never), 0, "{never}");
    }
    let length = strict.value("content-length");
    assert!(count("content-length") <= 1);
    let length = length.map_or(0, |digits| {
        assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{digits:?}");
        digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    });
    assert!(strict.method == "POST" || strict.method == "GET" && length == 0);
    assert!(serves(strict.target.split('?').next().unwrap_or_default()));
    let closes =
        |(name, value): &(String, &[u8])| name == "connection" && value.eq_ignore_ascii_case(b"close");
    assert_eq!(strict.lines.iter().any(closes), head.closes);
    let taken = strict.bytes + length;
    assert_eq!((head.bytes(), request.body().as_ref()), (taken, &bytes[strict.bytes..taken]));
    Verdict::Taken(taken)
}

/// Whether the head says that its body is to be read as it comes.
fn flows(bytes: &[u8]) -> bool {
    let bytes = bytes.to_ascii_lowercase();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    has(b"event-stream") || has(b"ndjson")
}

/// A head, read line by line.
struct Strict<'a> {
    method: &'a str,
    target: &'a str,
    lines: Vec<(String, &'a [u8])>,
    /// With the empty lines that may stand before it.
    bytes: usize,
}

impl<'a> Strict<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut at, mut first, mut lines) = (0, None, Vec::new());
        loop {
            let end = at + bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
            let line = &bytes[at..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at = end + 1;
            match first {
                None if line.is_empty() => {}
                None => first = Some(std::str::from_utf8(line).ok()?),
                Some(_) if line.is_empty() => break,
                Some(_) => {
                    let colon = line.iter().position(|byte| *byte == b':')?;
                    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
                    let is_token =
                        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
                    if name.is_empty()
                        || !name.iter().all(is_token)
                        || value.iter().any(|byte| b"\r\0".contains(byte))
                    {
                        return None;
                    }
                    lines.push((String::from_utf8(name.to_ascii_lowercase()).ok()?, value));
                }
            }
        }
        let words: Vec<&str> = first?.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else { return None };
        Some(Self { method, target, lines, bytes: at })
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

fn check_framing(bytes: &[u8], whole: Verdict) {
    let passed = |cuts: &[usize]| {
        let (mut framing, mut passed, mut at) = (Framing::default(), bytes.to_vec(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            framing.pass(&mut passed[at..cut]);
            at = cut;
        }
        passed
    };
    let expected = passed(&[]);
    let changed: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != expected[*at]).collect();
    assert!(changed.len() <= 1, "{changed:?}");
    assert!(changed.iter().all(|at| (bytes[*at], expected[*at]) == (b':', 0)));
    assert_eq!(expected, passed(&(0..bytes.len()).collect::<Vec<_>>()), "byte by byte");
    let third = bytes.len() / 3;
    assert_eq!(expected, passed(&[third, bytes.len() - third]));
    if let Verdict::Taken(taken) = whole {
        assert!(changed.iter().all(|at| *at >= taken), "{changed:?} of {taken}");
    }
    let Some(strict) = Strict::read(bytes) else { return };
    let of = |name: &str| strict.lines.iter().filter(|(known, _)| known == name).count();
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    if codings > 1 || codings == 1 && lengths > 0 {
        let mut lines = [httparse::EMPTY_HEADER; 256];
        let parsed = httparse::Request::new(&mut lines).parse(&expected);
        assert!(parsed.is_err(), "{lengths} lengths and {codings} codings get past it");
    }
}
