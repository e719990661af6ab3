//! Events to bytes. Cannot fail and cannot inject: ids and names cannot hold a line end, a number is digits,
//! and text is split into lines before it is written.
//! **Invariant:** every line written begins with a field name or a colon; a blank line is written by
//! [`BlockWriter::end`] and by nothing else.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::{Event, EventId, EventName};

/// Appends `event` to `out` as one block, blank line included.
///
/// ```
/// use tidings_codec::{Event, encode};
///
/// let mut out = Vec::new();
/// encode(&Event::new("a\r\n\r\ndata: not a field"), &mut out);
/// assert_eq!(out, b"data: a\ndata:\ndata: data: not a field\n\n");
/// ```
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    let mut block = BlockWriter::new(out);
    if let Some(id) = &event.id {
        block = block.id(id);
    }
    if let Some(name) = &event.event {
        block = block.event(name);
    }
    if let Some(retry_ms) = event.retry_ms {
        block = block.retry_ms(retry_ms);
    }
    block.data(&event.data).end();
}

/// Appends `text` to `out` as comment lines: every line of it gets its colon. No blank line follows, for a
/// comment needs none; the empty text gives `:`, the usual heartbeat.
///
/// ```
/// use tidings_codec::encode_comment;
///
/// let mut out = Vec::new();
/// encode_comment(" hello\ndata: still a comment", &mut out);
/// assert_eq!(out, b": hello\n:data: still a comment\n");
/// ```
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    // No space is put after the colon: a reader hands a comment on as it is, so a space would be one more.
    for line in lines(text) {
        out.push(b':');
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

/// Writes one block field by field, for a hub whose ids and data do not live in an [`Event`].
///
/// Nothing is buffered: each call appends its lines to the vector. A block that is not ended runs into the
/// next one, hence `#[must_use]` all along the chain.
///
/// ```
/// use tidings_codec::BlockWriter;
///
/// let mut out = Vec::new();
/// BlockWriter::new(&mut out).id_display(format_args!("{}.{}", 1, "2n\n9c")).data("").end();
/// assert_eq!(out, b"id: 1.2n9c\ndata:\n\n");
/// ```
#[derive(Debug)]
#[must_use = "a block that is not ended runs into the next one: call `end`"]
pub struct BlockWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> BlockWriter<'a> {
    /// Begins a block at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// An `id` line. The empty id resets the reader's.
    pub fn id(self, id: &EventId) -> Self {
        self.field("id", id.as_str())
    }

    /// An `id` line from anything that can be displayed, without a string in between.
    ///
    /// NUL, CR and LF are left out of what it displays, so it cannot inject. What was written before a
    /// `Display` that fails stays.
    pub fn id_display(self, id: impl fmt::Display) -> Self {
        self.out.extend_from_slice(b"id: ");
        // The sink itself never fails, and half an id is still one line.
        let _ = write!(OneLine(self.out), "{id}");
        self.out.push(b'\n');
        self
    }

    /// An `event` line.
    pub fn event(self, name: &EventName) -> Self {
        self.field("event", name.as_str())
    }

    /// A `retry` line, in milliseconds.
    pub fn retry_ms(self, retry_ms: u64) -> Self {
        self.out.extend_from_slice(b"retry: ");
        let _ = write!(OneLine(self.out), "{retry_ms}");
        self.out.push(b'\n');
        self
    }

    /// A `data` line for every line of `text`, split at CR, LF and CRLF. The empty text is one `data:` line,
    /// which a reader gets as an event with empty data.
    pub fn data(mut self, text: &str) -> Self {
        for line in lines(text) {
            self = self.field("data", line);
        }
        self
    }

    /// A comment line for every line of `text`.
    pub fn comment(self, text: &str) -> Self {
        encode_comment(text, self.out);
        self
    }

    /// Ends the block with the blank line at which a reader dispatches it.
    pub fn end(self) {
        self.out.push(b'\n');
    }

    /// `value` must hold no line end; every caller has a type or a split that says so.
    fn field(self, name: &str, value: &str) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        // One space, because readers strip exactly one: a value that begins with a space keeps it.
        if !value.is_empty() {
            self.out.push(b' ');
            self.out.extend_from_slice(value.as_bytes());
        }
        self.out.push(b'\n');
        self
    }
}

/// A sink that keeps a displayed value on its line.
struct OneLine<'a>(&'a mut Vec<u8>);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for run in text.split(['\0', '\r', '\n']) {
            self.0.extend_from_slice(run.as_bytes());
        }
        Ok(())
    }
}

/// The lines of `text`: always one more than it has line ends, so that nothing but their kind is lost.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        let Some((line, from_end)) =
            memchr::memchr2(b'\r', b'\n', text.as_bytes()).and_then(|at| text.split_at_checked(at))
        else {
            rest = None;
            return Some(text);
        };
        rest = from_end.strip_prefix("\r\n").or_else(|| from_end.strip_prefix(['\r', '\n']));
        Some(line)
    })
}

#[cfg(test)]
mod tests;
