//! SSE in: each block with data is an event. Comments and blocks without data append nothing, so a slow
//! publisher may send `: keepalive`.

use tidings_codec::{DecodeError, DecodeLimits, Decoder, EventName, ItemRef, Message};
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
        Self { decoder: Decoder::with_limits(DecodeLimits { event_bytes_max }), common }
    }

    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Publish>, Problem> {
        loop {
            match self.decoder.next(input) {
                Ok(Some(ItemRef::Event(event))) => {
                    let message = event.to_message();
                    return self.publish(message).map(Some);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(DecodeError::EventTooLarge { .. } | _) => {
                    return Err(too_large(self.common.event_bytes_max));
                }
            }
        }
    }

    pub(super) fn finish(&mut self) -> Ending {
        let pending = self.decoder.has_pending();
        self.decoder.finish();
        if pending { Ending::Discarded } else { Ending::Whole(None) }
    }

    fn publish(&self, message: Message) -> Result<Publish, Problem> {
        if message.data.len() > self.common.event_bytes_max {
            return Err(too_large(self.common.event_bytes_max));
        }
        let id = message.id.as_ref().map(|id| params::event_id(id.as_str())).transpose()?.flatten();
        let mut publish = self.common.publish(message.data.into(), true);
        publish.id = id;
        if message.event != EventName::MESSAGE {
            // What the decoder reads is a name; it may be too long, or one that is not the publisher's.
            params::own_event_name(message.event.as_str())?;
            publish.event = Some(message.event);
        }
        publish.retry_ms = message.retry_ms.or(publish.retry_ms);
        Ok(publish)
    }
}
