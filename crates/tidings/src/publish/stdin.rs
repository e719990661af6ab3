//! Standard input as a feed of events: lines, or an event stream.
//! A thread of its own reads, since a read from a terminal or a pipe cannot be cancelled; it is two chunks ahead.

use std::io::Read as _;

use bytes::{Buf as _, Bytes};
use tidings_client::publisher::{Batch, BatchLimits};
use tidings_codec::{DecodeLimits, Decoder, Event, ItemRef};
use tokio::sync::mpsc;

use crate::deliver::lines::{Line, Lines};
use crate::deliver::{Feed, More};
use crate::failure::{Failure, say};
use crate::interrupt::Interrupt;

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_AHEAD: usize = 2;
/// Room for an id and a type beside the data of the longest event.
const FIELDS_BYTES: usize = 4 << 10;

/// What standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each line is the data of an event.
    Lines,
    /// `text/event-stream`.
    EventStream,
}

/// The feed.
pub(crate) struct Stdin {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    interrupt: Interrupt,
    parser: Parser,
    skip_bad: bool,
    skipped: u64,
}

impl Stdin {
    /// Begins to read.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn open(
        form: Form,
        line_bytes_max: usize,
        skip_bad: bool,
        interrupt: Interrupt,
    ) -> Result<Self, Failure> {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        std::thread::Builder::new()
            .name("tidings-stdin".to_owned())
            .spawn(move || read(&sender))
            .map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
        Ok(Self { chunks, interrupt, parser: Parser::new(form, line_bytes_max), skip_bad, skipped: 0 })
    }

    /// Lines that were no events.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes a bad line: goes on, or gives the failure that ends the feed.
    fn bad(&mut self, bad: &Bad) -> Result<(), Failure> {
        if !self.skip_bad || bad.is_final {
            return Err(Failure::new(&bad.why));
        }
        self.skipped += 1;
        say(&format!("{}; skipped", bad.why));
        Ok(())
    }

    fn parse(&mut self, batch: &mut Batch, limits: BatchLimits) -> Result<(), Failure> {
        while !batch.is_full(limits) {
            match self.parser.next() {
                Some(Ok((event, number))) => batch.push(&event, number),
                Some(Err(bad)) => self.bad(&bad)?,
                None => break,
            }
        }
        Ok(())
    }
}

impl Feed for Stdin {
    async fn fill(&mut self, batch: &mut Batch, limits: BatchLimits) -> More {
        let before = batch.len();
        loop {
            if let Err(failure) = self.parse(batch, limits) {
                return More::End(Err(failure));
            }
            if batch.len() > before || batch.is_full(limits) {
                return More::Yes;
            }
            let chunk = tokio::select! {
                chunk = self.chunks.recv() => chunk,
                () = self.interrupt.asked() => None,
            };
            match chunk {
                Some(Ok(chunk)) => self.parser.chunk = chunk,
                Some(Err(error)) => {
                    return More::End(Err(Failure::new(format!("standard input cannot be read: {error}"))));
                }
                None => {
                    let last = match self.parser.finish() {
                        Some(Ok((event, number))) => {
                            batch.push(&event, number);
                            Ok(())
                        }
                        Some(Err(bad)) => self.bad(&bad),
                        None => Ok(()),
                    };
                    return More::End(last);
                }
            }
        }
    }

    fn unit(&self) -> &'static str {
        match self.parser.kind {
            Kind::Lines(_) => "line",
            Kind::EventStream { .. } => "event",
        }
    }
}

/// Reads until the end, or until nobody takes what is read.
fn read(chunks: &mpsc::Sender<std::io::Result<Bytes>>) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let chunk = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

/// From bytes to events; pure.
struct Parser {
    kind: Kind,
    chunk: Bytes,
}

enum Kind {
    Lines(Lines),
    EventStream { decoder: Box<Decoder>, number: u64 },
}

/// Something that is no event.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    why: String,
    /// Nothing behind it can be read.
    is_final: bool,
}

type Parsed = Result<(Event, u64), Bad>;

impl Parser {
    fn new(form: Form, line_bytes_max: usize) -> Self {
        let kind = match form {
            Form::Lines => Kind::Lines(Lines::new(line_bytes_max)),
            Form::EventStream => {
                let event_bytes_max = line_bytes_max.saturating_add(FIELDS_BYTES);
                Kind::EventStream {
                    decoder: Box::new(Decoder::with_limits(DecodeLimits { event_bytes_max })),
                    number: 0,
                }
            }
        };
        Self { kind, chunk: Bytes::new() }
    }

    /// The next event of the chunk; `None` when it is used up.
    fn next(&mut self) -> Option<Parsed> {
        let mut rest: &[u8] = &self.chunk;
        let parsed = match &mut self.kind {
            Kind::Lines(lines) => lines.next(&mut rest).map(of_line),
            Kind::EventStream { decoder, number } => loop {
                match decoder.next(&mut rest) {
                    Ok(Some(ItemRef::Event(event))) => {
                        *number += 1;
                        let mut event = event.to_message().into_event();
                        // An empty id resets what a reader holds, which a hub's own ids never do.
                        event.id = event.id.filter(|id| !id.is_empty());
                        break Some(Ok((event, *number)));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => {
                        break Some(Err(Bad {
                            why: format!("event {}: {error}", *number + 1),
                            is_final: true,
                        }));
                    }
                }
            },
        };
        let used = self.chunk.len() - rest.len();
        self.chunk.advance(used);
        parsed
    }

    /// What is left at the end of the input.
    fn finish(&mut self) -> Option<Parsed> {
        match &mut self.kind {
            Kind::Lines(lines) => lines.finish().map(of_line),
            Kind::EventStream { decoder, number } => decoder.has_pending().then(|| {
                let why = format!("event {}: the input ended before its blank line", *number + 1);
                Err(Bad { why, is_final: false })
            }),
        }
    }
}

fn of_line(line: Line) -> Parsed {
    match line {
        Line::Text { number, text } => Ok((Event::new(text), number)),
        Line::Bad { number, why } => Err(Bad { why: format!("line {number}: {why}"), is_final: false }),
    }
}

#[cfg(test)]
mod tests {
    use tidings_codec::{EventId, EventName};

    use super::*;

    fn parse(form: Form, limit: usize, input: &str) -> Vec<Parsed> {
        let mut parser = Parser::new(form, limit);
        let mut seen = Vec::new();
        for chunk in input.as_bytes().chunks(7) {
            parser.chunk = Bytes::copy_from_slice(chunk);
            while let Some(parsed) = parser.next() {
                seen.push(parsed);
            }
            assert!(parser.chunk.is_empty());
        }
        seen.extend(parser.finish());
        seen
    }

    #[test]
    fn lines_become_events_and_keep_their_numbers() {
        let too_long =
            Bad { why: "line 2: it is longer than --line-bytes-max (4 bytes)".into(), is_final: false };
        assert_eq!(
            parse(Form::Lines, 4, "one\ntoo long\n\nlast"),
            [Ok((Event::new("one"), 1)), Err(too_long), Ok((Event::new(""), 3)), Ok((Event::new("last"), 4))]
        );
    }

    #[test]
    fn an_event_stream_keeps_its_fields() {
        let event = Event::new("a\nb")
            .with_id(EventId::parse("7").unwrap())
            .with_event(EventName::parse("x").unwrap())
            .with_retry_ms(5);
        let input = ": hi\nid: 7\nevent: x\nretry: 5\ndata: a\ndata: b\n\nid:\ndata: c\n\nid: only\n\n";
        assert_eq!(parse(Form::EventStream, 99, input), [Ok((event, 1)), Ok((Event::new("c"), 2))]);
    }

    #[test]
    fn a_cut_event_and_a_too_large_one_are_told() {
        let cut = Bad { why: "event 2: the input ended before its blank line".into(), is_final: false };
        assert_eq!(
            parse(Form::EventStream, 99, "data: a\n\ndata: b\n"),
            [Ok((Event::new("a"), 1)), Err(cut)]
        );
        let mut parser = Parser::new(Form::EventStream, 1);
        parser.chunk = format!("data: {}\n\n", "x".repeat(5_000)).into();
        assert!(matches!(parser.next(), Some(Err(Bad { is_final: true, .. }))));
    }
}
