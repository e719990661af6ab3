//! Another server's event stream as a feed: its events with its ids, types and retry.

use futures_util::{FutureExt as _, StreamExt as _};
use http::HeaderValue;
use tidings_client::publisher::{Batch, BatchLimits};
use tidings_client::{Disconnect, EventSource, SourceError, SourceEvent};
use tidings_codec::{Event, EventName, Message};
use tidings_hub::frame::TOMBSTONE_EVENT;

use super::replay::{Recorded, Replay};
use crate::deliver::{Feed, More};
use crate::failure::{Failure, chain, say};
use crate::interrupt::Interrupt;

/// What a hub takes.
const NAME_BYTES_MAX: usize = 256;
/// Types that a hub gives to its own words, and that nobody can publish (but for tombstones).
const RESERVED: &str = "tidings.";

/// The feed.
pub(crate) struct SourceFeed {
    source: EventSource,
    replay: Replay,
    interrupt: Interrupt,
    skip_bad: bool,
    verbose: bool,
    /// Events of the source so far.
    number: u64,
    replayed: u64,
    lost: bool,
    told: Told,
}

/// What is said once.
#[derive(Debug, Default)]
struct Told {
    no_ids: bool,
    no_header: bool,
}

impl SourceFeed {
    pub(crate) fn new(
        source: EventSource,
        last: Option<Recorded>,
        interrupt: Interrupt,
        skip_bad: bool,
        verbose: bool,
    ) -> Self {
        let replay = Replay::new(last);
        Self {
            source,
            replay,
            interrupt,
            skip_bad,
            verbose,
            number: 0,
            replayed: 0,
            lost: false,
            told: Told::default(),
        }
    }

    /// Events that the source sent again and that were not recorded again.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Takes what happened. `Some`: the feed has ended.
    fn take(
        &mut self,
        happened: Option<Result<SourceEvent, SourceError>>,
        batch: &mut Batch,
    ) -> Option<Result<(), Failure>> {
        match happened {
            Some(Ok(SourceEvent::Message(message))) => return self.message(message, batch).err().map(Err),
            Some(Ok(SourceEvent::Open { .. })) => {
                self.replay.opened();
                if std::mem::take(&mut self.lost) || self.verbose {
                    say("connected to the source");
                }
            }
            Some(Ok(SourceEvent::Reconnecting { after_ms, cause })) => {
                let is_orderly = matches!(cause, Disconnect::Ended);
                if self.verbose || (!self.lost && !is_orderly) {
                    say(&format!("the source: {cause}; trying again in {after_ms} ms"));
                    self.lost = true;
                }
            }
            Some(Ok(SourceEvent::Ended)) => {
                say("the source says that there will be no more");
                return Some(Ok(()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                return Some(Err(Failure::new(format!("the source: {}", chain(&error)))));
            }
            None => return Some(Ok(())),
        }
        None
    }

    fn message(&mut self, message: Message, batch: &mut Batch) -> Result<(), Failure> {
        self.number += 1;
        let name = message.event.as_str();
        if name.starts_with(RESERVED) && name != TOMBSTONE_EVENT.as_str() {
            say(&format!("the source, itself a hub, says {}: {}", message.event.as_str(), message.data));
            return Ok(());
        }
        if !self.replay.is_new(&message) {
            self.replayed += 1;
            return Ok(());
        }
        if let Err(why) = check(&message) {
            let why = format!("event {}: {why}", self.number);
            if !self.skip_bad {
                return Err(Failure::new(why));
            }
            say(&format!("{why}; skipped"));
            return Ok(());
        }
        let id = message.last_event_id;
        if id.is_empty() && !std::mem::replace(&mut self.told.no_ids, true) {
            say(
                "the source gives its events no ids: what it sends while the connection to it is down, or while this \
                 relay is not running, cannot be asked for again and will be missing",
            );
        }
        if HeaderValue::from_bytes(id.as_str().as_bytes()).is_err()
            && !std::mem::replace(&mut self.told.no_header, true)
        {
            say(&format!(
                "the source's id {:?} has characters that no header can carry, so the source cannot be asked to go on \
                 behind it",
                id.as_str()
            ));
        }
        let event = Event {
            id: Some(id).filter(|id| !id.is_empty()),
            event: Some(message.event).filter(|name| *name != EventName::MESSAGE),
            retry_ms: message.retry_ms,
            data: message.data,
        };
        batch.push(&event, self.number);
        Ok(())
    }
}

fn check(message: &Message) -> Result<(), String> {
    let (id_bytes, name_bytes) = (message.last_event_id.as_str().len(), message.event.as_str().len());
    if id_bytes > NAME_BYTES_MAX {
        return Err(format!(
            "the source's id has {id_bytes} bytes; a hub keeps ids of at most {NAME_BYTES_MAX}, and without it the source could not be resumed"
        ));
    }
    if name_bytes > NAME_BYTES_MAX {
        return Err(format!("its type has {name_bytes} bytes; a hub takes at most {NAME_BYTES_MAX}"));
    }
    Ok(())
}

impl Feed for SourceFeed {
    async fn fill(&mut self, batch: &mut Batch, limits: BatchLimits) -> More {
        let before = batch.len();
        while batch.len() == before {
            let happened = tokio::select! {
                happened = self.source.next() => happened,
                () = self.interrupt.asked() => return More::End(Ok(())),
            };
            if let Some(end) = self.take(happened, batch) {
                return More::End(end);
            }
        }
        // What has arrived together goes together.
        while !batch.is_full(limits) {
            let Some(happened) = self.source.next().now_or_never() else { break };
            if let Some(end) = self.take(happened, batch) {
                return More::End(end);
            }
        }
        More::Yes
    }

    fn unit(&self) -> &'static str {
        "event"
    }
}

#[cfg(test)]
mod tests {
    use tidings_codec::{Decoder, ItemRef};

    use super::*;

    #[test]
    fn what_a_hub_would_refuse_is_refused_with_the_reason() {
        let message = |block: String| {
            let mut input = block.as_bytes();
            match Decoder::new().next(&mut input) {
                Ok(Some(ItemRef::Event(event))) => event.to_message(),
                other => panic!("{other:?}"),
            }
        };
        assert!(check(&message(format!("id: {}\ndata:\n\n", "x".repeat(256)))).is_ok());
        let long = check(&message(format!("id: {}\ndata:\n\n", "x".repeat(257)))).unwrap_err();
        assert!(long.contains("257 bytes"), "{long}");
        let long = check(&message(format!("event: {}\ndata:\n\n", "x".repeat(300)))).unwrap_err();
        assert!(long.contains("300 bytes"), "{long}");
    }
}
