//! SSE in: each block with data is an event. Comments and blocks without data append nothing, so a slow
//! publisher may send `: keepalive`.

use std::ops::ControlFlow;

use bytes::Bytes;
use tidings_codec::{DecodeError, DecodeLimits, Decoder, EventName, EventRef, ItemRef};
use tidings_hub::ports::Publish;

use super::{Common, Ending, too_large};
use crate::problem::Problem;
use crate::protocols::native::params;

/// Room for an id and a name beside the largest data: far more than they may have, so that one that is too long
/// is called that.
const FIELDS_BYTES: usize = 4 * 1024;

/// A reader of blocks.
pub(in crate::protocols::native) struct SseBlocks {
    decoder: Decoder,
    common: Common,
}

impl SseBlocks {
    pub(in crate::protocols::native) fn new(common: Common) -> Self {
        let event_bytes_max = common.event_bytes_max.saturating_add(FIELDS_BYTES);
        Self { decoder: Decoder::with_limits(DecodeLimits { event_bytes_max }).with_comments(false), common }
    }

    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Publish>, Problem> {
        loop {
            match self.decoder.next(input) {
                Ok(Some(ItemRef::Event(event))) => return publish(&self.common, &event).map(Some),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(DecodeError::EventTooLarge { .. } | _) => {
                    return Err(too_large(self.common.event_bytes_max));
                }
            }
        }
    }

    /// As [`Self::next`] over and over, until `take` breaks; faster over many small events.
    pub(super) fn each(
        &mut self,
        input: &mut &[u8],
        mut take: impl FnMut(Publish) -> Result<ControlFlow<()>, Problem>,
    ) -> Result<(), Problem> {
        let mut items = self.decoder.read(input);
        loop {
            match items.next() {
                Ok(Some(ItemRef::Event(event))) => {
                    if take(publish(&self.common, &event)?)?.is_break() {
                        break;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(DecodeError::EventTooLarge { .. } | _) => {
                    return Err(too_large(self.common.event_bytes_max));
                }
            }
        }
        *input = items.rest();
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Ending {
        let pending = self.decoder.has_pending();
        self.decoder.finish();
        if pending { Ending::Discarded } else { Ending::Whole(None) }
    }
}

fn publish(common: &Common, event: &EventRef<'_>) -> Result<Publish, Problem> {
    if event.data.len() > common.event_bytes_max {
        return Err(too_large(common.event_bytes_max));
    }
    let id = event.id().map(|id| params::event_id(id.as_str())).transpose()?.flatten();
    // A copy of its own: a slice would keep all of the chunk that it came in.
    let mut publish = common.publish(Bytes::copy_from_slice(event.data.as_bytes()), true);
    publish.id = id;
    if event.event != EventName::MESSAGE.as_str() {
        // What the decoder reads is a name; it may be too long, or one that is not the publisher's.
        publish.event = Some(params::own_event_name(event.event)?);
    }
    publish.retry_ms = event.retry_ms.or(publish.retry_ms);
    Ok(publish)
}
