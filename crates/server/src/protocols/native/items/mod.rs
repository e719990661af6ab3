//! Items of a streamed body: from bytes, as they arrive, to events to append. Pure; submits nothing.
//! **Invariant:** an item comes out as soon as its last byte went in, and the items do not depend on where the
//! bytes were cut.

mod lines;
mod ndjson;
mod routed;
mod sse;

use std::ops::ControlFlow;

use tidings_codec::EventName;
use tidings_hub::ports::Publish;
use tidings_hub::{TopicName, Topics};

pub(super) use self::ndjson::JsonLines;
pub(super) use self::routed::RoutedLines;
pub(super) use self::sse::SseBlocks;
use crate::problem::{self, Problem};

/// A reader of one body.
pub(super) enum Items {
    /// `text/event-stream` to one topic.
    Sse(Box<SseBlocks>),
    /// `application/x-ndjson` to one topic: each line is an event's data.
    Json(JsonLines),
    /// NDJSON with a topic per line.
    Routed(RoutedLines),
}

/// How a body ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With an item: the last line needs no line end. `None`: with nothing left.
    Whole(Option<Publish>),
    /// In the middle of a block, which its reader must not dispatch (HTML, 9.2.6).
    Discarded,
}

impl Items {
    /// Reads from the front of `input` until an item is complete, or until `input` is used up: `None`.
    ///
    /// # Errors
    /// The problem with the item; nothing may be read after it.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Publish>, Problem> {
        match self {
            Self::Sse(blocks) => blocks.next(input),
            Self::Json(lines) => lines.next(input),
            Self::Routed(lines) => lines.next(input),
        }
    }

    /// Hands out items from the front of `input` until `take` breaks or `input` is used up.
    ///
    /// # Errors
    /// The problem with an item, or one of `take`'s; nothing may be read after it.
    pub(super) fn each(
        &mut self,
        input: &mut &[u8],
        mut take: impl FnMut(Publish) -> Result<ControlFlow<()>, Problem>,
    ) -> Result<(), Problem> {
        if let Self::Sse(blocks) = self {
            return blocks.each(input, take);
        }
        while let Some(item) = self.next(input)? {
            if take(item)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The body has ended in order.
    ///
    /// # Errors
    /// The problem with the last item.
    pub(super) fn finish(&mut self) -> Result<Ending, Problem> {
        match self {
            Self::Sse(blocks) => Ok(blocks.finish()),
            Self::Json(lines) => lines.finish().map(Ending::Whole),
            Self::Routed(lines) => lines.finish().map(Ending::Whole),
        }
    }
}

/// What all items of a request to one topic have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) topic: TopicName,
    pub(super) private: bool,
    /// For items that name none.
    pub(super) event: Option<EventName>,
    /// For items that name none.
    pub(super) retry_ms: Option<u64>,
    pub(super) event_bytes_max: usize,
}

impl Common {
    /// An event of `data` alone.
    pub(super) fn publish(&self, data: bytes::Bytes, utf8: bool) -> Publish {
        Publish {
            topics: Topics::from_buf([self.topic.clone()]),
            private: self.private,
            id: None,
            event: self.event.clone(),
            retry_ms: self.retry_ms,
            data,
            utf8,
            // The hub knows which topics are never stored.
            ephemeral: false,
            once: None,
        }
    }
}

/// An event's data is over the limit.
pub(super) fn too_large(limit_bytes: usize) -> Problem {
    let detail =
        format!("an event's data may have at most {limit_bytes} bytes; split it or raise event_bytes_max");
    Problem::new(&problem::EVENT_TOO_LARGE, detail).with("limit_bytes", limit_bytes)
}

#[cfg(test)]
mod tests;
