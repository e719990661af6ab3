//! NDJSON in, to one topic: each line that is not blank must be JSON, and is the event's data verbatim.

use bytes::Bytes;
use serde_json::value::RawValue;
use tidings_hub::ports::Publish;

use super::lines::{Line, LineTooLong, Lines};
use super::{Common, too_large};
use crate::problem::{self, Problem};

/// A reader of lines of JSON.
pub(in crate::protocols::native) struct JsonLines {
    lines: Lines,
    common: Common,
}

impl JsonLines {
    pub(in crate::protocols::native) fn new(common: Common) -> Self {
        Self { lines: Lines::new(common.event_bytes_max), common }
    }

    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Publish>, Problem> {
        loop {
            let limit_bytes = self.common.event_bytes_max;
            let line = match self.lines.next(input) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(LineTooLong { number, .. }) => return Err(too_large(limit_bytes).with("line", number)),
            };
            if let Some(publish) = publish(&self.common, &line)? {
                return Ok(Some(publish));
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<Option<Publish>, Problem> {
        self.lines.finish().map_or(Ok(None), |line| publish(&self.common, &line))
    }
}

fn publish(common: &Common, line: &Line<'_>) -> Result<Option<Publish>, Problem> {
    if is_blank(line.bytes) {
        return Ok(None);
    }
    // A raw value is checked for grammar and for UTF-8 and is built into nothing.
    serde_json::from_slice::<&RawValue>(line.bytes).map_err(|error| bad_line(line.number, &error))?;
    // A copy, because a slice would keep the whole arrival in memory for as long as the event lives.
    Ok(Some(common.publish(Bytes::copy_from_slice(line.bytes), true)))
}

pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// What the JSON parser says, with the line's number in the body.
pub(super) fn bad_line(number: u64, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let said = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
    let detail =
        format!("line {number}, column {}: {said}; each line must be one JSON value", error.column());
    Problem::new(&problem::INVALID_JSON, detail).with("line", number)
}
