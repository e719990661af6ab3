//! The block being read: what its blank line will dispatch or commit. In two parts: what the present chunk
//! holds, as spans, and what was taken over from chunks before, as text.
//! **Invariant:** the sizes counted against the limit do not depend on which part holds a field.

use alloc::string::String;

use super::scan::Span;
use crate::utf8::{self, Gathered};

/// Fields of the block that lie whole in the present chunk.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) data: Option<Span>,
    pub(super) event: Option<Span>,
    pub(super) id: Option<Span>,
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_none() && self.event.is_none() && self.id.is_none()
    }
}

/// A field's value, in memory that the next block uses again.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) is_set: bool,
    text: String,
}

impl Held {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn set(&mut self, value: &[u8]) {
        self.is_set = true;
        self.text.clear();
        self.text.shrink_to(FIELD_KEPT_BYTES.max(value.len()));
        utf8::push_lossy(&mut self.text, value);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    fn clear(&mut self) {
        self.is_set = false;
        self.text.clear();
        self.text.shrink_to(FIELD_KEPT_BYTES);
    }
}

/// Memory kept for a field; no usual name or id is longer.
pub(super) const FIELD_KEPT_BYTES: usize = 1024;

/// The block as far as it was taken over, and the sizes of all of it.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// `None` as long as there was no data line, which is not the same as an empty one.
    pub(super) has_data: bool,
    pub(super) data: Gathered,
    /// As a name can be: a NUL is replaced.
    pub(super) event: Held,
    pub(super) id: Held,
    pub(super) retry_ms: Option<u64>,
    /// Bytes of data, with the LF between lines.
    pub(super) data_bytes: usize,
    pub(super) event_bytes: usize,
    pub(super) id_bytes: usize,
    /// It was dispatched, and lives on only until the caller has read it.
    pub(super) is_over: bool,
}

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_data && !self.event.is_set && !self.id.is_set && self.retry_ms.is_none()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.data_bytes + self.event_bytes + self.id_bytes
    }

    pub(super) fn clear(&mut self, kept_bytes: usize) {
        if self.has_data {
            self.data.clear(kept_bytes);
        }
        if self.event.is_set {
            self.event.clear();
        }
        if self.id.is_set {
            self.id.clear();
        }
        (self.has_data, self.is_over, self.retry_ms) = (false, false, None);
        (self.data_bytes, self.event_bytes, self.id_bytes) = (0, 0, 0);
    }

    /// A data line begins, or continues what is there.
    pub(super) fn begin_data(&mut self) {
        if self.has_data {
            self.data.push(b"\n");
        }
        self.has_data = true;
    }

    pub(super) fn set_event(&mut self, value: &[u8]) {
        self.event.set(value);
        if self.event.text.contains('\0') {
            self.event.text = self.event.text.replace('\0', "\u{fffd}");
        }
    }
}
