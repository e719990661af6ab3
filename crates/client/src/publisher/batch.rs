//! What goes into one request: events as a `text/event-stream` body, as many as were there and fit. Pure.

use bytes::Bytes;
use tidings_codec::{Event, encode};

/// What one request may hold.
///
/// ```
/// assert_eq!(tidings_client::publisher::BatchLimits::default().events_max, 1_000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Bytes after which no further event is taken. One event may be larger: it then goes alone.
    pub bytes_max: usize,
    /// Events of one request.
    pub events_max: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes_max: 256 << 10, events_max: 1_000 }
    }
}

/// Events that go together, in order.
///
/// ```
/// use tidings_client::publisher::{Batch, BatchLimits};
/// use tidings_codec::Event;
///
/// let mut batch = Batch::default();
/// batch.push(&Event::new("hello"), 17);
/// assert_eq!((batch.len(), batch.number(0)), (1, Some(17)));
/// assert!(!batch.is_full(BatchLimits::default()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    body: Vec<u8>,
    /// Per event: where its block ends in the body, and the line or event of the input that it was.
    marks: Vec<(usize, u64)>,
}

impl Batch {
    /// Adds an event; `number` is where it came from, for messages.
    pub fn push(&mut self, event: &Event, number: u64) {
        encode(event, &mut self.body);
        self.marks.push((self.body.len(), number));
    }

    /// Whether nothing more should be added.
    #[must_use]
    pub fn is_full(&self, limits: BatchLimits) -> bool {
        self.body.len() >= limits.bytes_max || self.marks.len() >= limits.events_max
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// The number of an event, as it was pushed.
    #[must_use]
    pub fn number(&self, item: usize) -> Option<u64> {
        self.marks.get(item).map(|(_, number)| *number)
    }

    /// What stands behind an event: to be sent when that one was refused.
    #[must_use]
    pub fn behind(&self, item: usize) -> Self {
        let Some((cut, _)) = self.marks.get(item).copied() else { return Self::default() };
        let body = self.body.get(cut..).unwrap_or_default().to_vec();
        let rest = self.marks.get(item + 1..).unwrap_or_default();
        Self { body, marks: rest.iter().map(|(end, number)| (end - cut, *number)).collect() }
    }

    /// The bytes to send.
    pub(super) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(events: &[(&str, u64)]) -> Batch {
        let mut batch = Batch::default();
        for (data, number) in events {
            batch.push(&Event::new(*data), *number);
        }
        batch
    }

    #[test]
    fn a_batch_is_a_stream_of_its_events() {
        let batch = batch(&[("a", 1), ("", 3), ("b\nc", 4)]);
        assert_eq!(batch.body(), &b"data: a\n\ndata:\n\ndata: b\ndata: c\n\n"[..]);
        assert_eq!((batch.len(), batch.number(1), batch.number(3)), (3, Some(3), None));
    }

    #[test]
    fn what_stands_behind_an_event_is_a_batch_of_the_rest() {
        let all = batch(&[("a", 1), ("b", 2), ("c", 9)]);
        assert_eq!(all.behind(0), batch(&[("b", 2), ("c", 9)]));
        assert_eq!(all.behind(0).behind(0), batch(&[("c", 9)]));
        assert!(all.behind(2).is_empty());
        assert!(all.behind(7).is_empty());
    }

    #[test]
    fn a_batch_is_full_by_bytes_or_by_events() {
        let limits = BatchLimits { bytes_max: 20, events_max: 3 };
        assert!(!batch(&[("a", 1), ("a", 2)]).is_full(limits));
        assert!(batch(&[("a", 1), ("a", 2), ("a", 3)]).is_full(limits));
        assert!(batch(&[("a much longer one than fits", 1)]).is_full(limits));
    }
}
