//! A trace of a load (`tidings bench --trace DIR`, `bench/peers/load`) as a history: what it published and was answered, and
//! what some of its streams asked for and received, byte by byte.
//!
//! `published` has a line for each request that was answered, or for a part of it: the path, the number of its first event,
//! how many there were, the nanoseconds in their marks, and the answer. `stream-N` has a request and its response.
//!
//! Written by hand on purpose, as all of this crate: what reads the streams here is not what the product reads with.

use std::fs;
use std::path::Path;

use crate::{History, Publish, PublishId, Reader, ReaderId, Start};

/// What was read of a trace.
#[derive(Debug)]
pub struct Trace {
    /// To be judged.
    pub history: History,
    /// Streams that were written down.
    pub streams: usize,
    /// Events that were published, and how many of them are known by their own id.
    pub published: (usize, usize),
    /// Streams that did not receive exactly what was published to their topics, in that order: what is wrong with each.
    pub wrong: Vec<String>,
    /// For each event its topic and its mark.
    events: Vec<(String, String)>,
}

/// Reads a trace.
///
/// # Errors
/// What is missing, or is none.
pub fn read(dir: &Path) -> Result<Trace, String> {
    let text = |name: &str| {
        fs::read_to_string(dir.join(name)).map_err(|error| format!("{}: {error}", dir.join(name).display()))
    };
    let (history, wrong, events) = (History::new(), Vec::new(), Vec::new());
    let mut trace = Trace { history, streams: 0, published: (0, 0), wrong, events };
    for line in text("published")?.lines() {
        trace.published(line).ok_or_else(|| format!("published: {line}"))?;
    }
    let mut streams = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("stream-")?.parse::<u64>().ok());
        streams.extend(number);
    }
    streams.sort_unstable();
    for number in streams {
        let name = format!("stream-{number}");
        let bytes = fs::read(dir.join(&name)).map_err(|error| format!("{name}: {error}"))?;
        let (request, answer) = cut(&bytes).ok_or_else(|| format!("{name}: no request"))?;
        let request = String::from_utf8_lossy(request);
        let wants = request.split(' ').nth(1).map(topics).unwrap_or_default();
        let wants: Vec<&str> = wants.iter().map(String::as_str).collect();
        let reader = trace.history.reader(Reader::new(&name).wants(&wants));
        let body = body(answer).ok_or_else(|| format!("{name}: no head of an answer"))?;
        let after = request.lines().find_map(|line| line.strip_prefix("Last-Event-ID: "));
        trace.history.connected(reader, after.map_or(Start::Tail, Start::After));
        let blocks = blocks(&body);
        for block in &blocks {
            block.tell(&mut trace.history, reader);
        }
        trace.history.caught_up(reader);
        trace.streams += 1;
        let saw = blocks.iter().filter_map(|block| block.data.as_deref()).map(mark);
        let all = trace.events.iter().filter(|(topic, _)| wants.contains(&topic.as_str()));
        // Whoever goes on from an id has the event of that id already: the load sends the first one's.
        let owed = all.skip(usize::from(after.is_some())).map(|(_, mark)| mark.as_str());
        trace.wrong.extend(compare(saw, owed).map(|wrong| format!("{name}: {wrong}")));
    }
    Ok(trace)
}

/// The first difference between what was received and what was owed.
fn compare<'a>(saw: impl Iterator<Item = &'a str>, owed: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut saw, mut owed) = (saw.fuse(), owed.fuse());
    for number in 0.. {
        match (saw.next(), owed.next()) {
            (None, None) => return (number == 0).then(|| "it received nothing, and was owed nothing".into()),
            (Some(saw), Some(owed)) if saw == owed => {}
            (saw, owed) => return Some(format!("event {number}: {saw:?} instead of {owed:?}")),
        }
    }
    None
}

impl Trace {
    /// `PATH FIRST COUNT NANOSECONDS ANSWER`
    fn published(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(5, ' ');
        let topics = topics(words.next()?);
        let [topic] = topics.as_slice() else { return None };
        let mut number = || words.next()?.parse::<u64>().ok();
        let (first, count, ns) = (number()?, number()?, number()?);
        let answer = words.next()?;
        let values = (first..first.checked_add(count)?).map(|seq| format!("@{seq}@{ns}@"));
        let mut sent: Vec<PublishId> = Vec::new();
        for value in values {
            sent.push(self.history.sent(Publish::new(&value, &[topic])));
            self.events.push((topic.clone(), value));
        }
        self.published.0 += sent.len();
        let mut acked = |publish: Option<&PublishId>, key: &str| {
            if let (Some(publish), Some(id)) = (publish, string(answer, key)) {
                self.history.acked(*publish, id);
                self.published.1 += 1;
            }
        };
        acked(sent.last(), "last_id");
        if sent.len() > 1 {
            acked(sent.first(), "first_id");
        }
        Some(())
    }
}

/// The text under a key of a flat JSON object without escapes.
fn string<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":\""))?;
    Some(rest.split_once('"')?.0)
}

/// The topics that a path names: `/topics/NAME`, or `?topic=NAME&topic=…`.
fn topics(path: &str) -> Vec<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match path.strip_prefix("/topics/") {
        Some(name) => vec![name.to_owned()],
        None => query.split('&').filter_map(|pair| Some(pair.strip_prefix("topic=")?.to_owned())).collect(),
    }
}

/// A head, and what follows it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    bytes.split_at_checked(end + 4)
}

/// What stands in an answer's body, as far as it came.
fn body(answer: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = cut(answer)?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked")) {
        return Some(rest.to_vec());
    }
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = rest.get(..end).and_then(|size| std::str::from_utf8(size).ok());
        let Some(size) = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()) else { break };
        let (from, to) = (end + 2, size.saturating_add(end + 2));
        body.extend_from_slice(rest.get(from..to.min(rest.len())).unwrap_or_default());
        rest = rest.get(to.saturating_add(2)..).unwrap_or_default();
    }
    Some(body)
}

/// What one block of an event stream says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    id: Option<String>,
    event: String,
    data: Option<String>,
}

impl Block {
    fn tell(&self, history: &mut History, reader: ReaderId) {
        let id = self.id.as_deref().unwrap_or("");
        match (&self.data, self.event.as_str()) {
            (None, _) if self.id.is_none() => {}
            (_, "tidings.gap") => history.gap(reader, id),
            (None, _) => history.cursor(reader, id),
            (Some(data), _) => history.saw(reader, id, None, mark(data)),
        }
    }
}

/// What tells an event from all others: its padding does not.
fn mark(data: &str) -> &str {
    let end = data.match_indices('@').nth(2).map_or(data.len(), |(at, _)| at + 1);
    data.get(..end).unwrap_or(data)
}

/// The blocks that came whole.
fn blocks(body: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(body);
    let (mut blocks, mut block) = (Vec::new(), Block::default());
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => block.id = Some(value.into()),
            "event" => block.event = value.into(),
            "data" => match &mut block.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => block.data = Some(value.into()),
            },
            "" if line.is_empty() => blocks.push(std::mem::take(&mut block)),
            _ => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_out_of_its_chunks() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}3\r\na\r\n\r\n4\r\nbcd\n\r\n");
        assert_eq!(body(whole.as_bytes()).unwrap(), b"a\r\nbcd\n");
        assert_eq!(body(&whole.as_bytes()[..whole.len() - 4]).unwrap(), b"a\r\nbc");
        assert_eq!(body(format!("{head}ffffffffffffffff\r\nab").as_bytes()).unwrap(), b"ab");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap(), b"abc");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn what_is_received_is_what_was_published_in_order() {
        let check = |saw: &[&'static str], owed: &[&'static str]| {
            compare(saw.iter().copied(), owed.iter().copied()).is_none()
        };
        assert!(check(&["a", "b"], &["a", "b"]));
        for wrong in [&["a"][..], &["b"], &["b", "a"], &["a", "a", "b"], &["a", "b", "c"], &[]] {
            assert!(!check(wrong, &["a", "b"]), "{wrong:?}");
        }
        assert!(!check(&[], &[]), "nothing was looked at");
    }

    #[test]
    fn topics_are_found_in_both_ways_to_ask() {
        assert_eq!(topics("/topics/a-1?from=tail"), ["a-1"]);
        assert_eq!(topics("/events?topic=a&topic=b&limit=1"), ["a", "b"]);
        assert!(topics("/other").is_empty());
    }

    #[test]
    fn blocks_are_told_apart() {
        let found = blocks(b"retry: 1\nid: 1.0\n\n: note\nid: 1.1\nevent: e\ndata: @1@2@xx\n\ndata: cut");
        let cursor = Block { id: Some("1.0".into()), ..Block::default() };
        let event = Block { id: Some("1.1".into()), event: "e".into(), data: Some("@1@2@xx".into()) };
        assert_eq!(found, [cursor, event]);
        assert_eq!((mark("@1@2@xx"), mark("x")), ("@1@2@", "x"));
    }
}
