//! Whether a source sends again what is recorded already. Pure.
//!
//! A source that honours `Last-Event-ID` sends what comes behind that id. Some send that event itself once more;
//! it is known by its id, its type and its data, right after a connection opened.

use tidings_codec::{EventId, EventName, Message};

/// What was recorded last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The source's id.
    pub(crate) id: Option<EventId>,
    /// Its type, if it is not `message`.
    pub(crate) event: Option<String>,
    /// Its data.
    pub(crate) data: String,
}

/// Remembers the last event, and looks at what comes first on each connection.
#[derive(Debug)]
pub(crate) struct Replay {
    last: Option<Recorded>,
    /// A connection opened and nothing new has come on it.
    is_first: bool,
}

impl Replay {
    pub(crate) fn new(last: Option<Recorded>) -> Self {
        Self { last, is_first: true }
    }

    /// A connection opened.
    pub(crate) fn opened(&mut self) {
        self.is_first = true;
    }

    /// Whether this is new; if so it is the last event from now on.
    pub(crate) fn is_new(&mut self, message: &Message) -> bool {
        let event = (message.event != EventName::MESSAGE).then(|| message.event.as_str().to_owned());
        // Only an id of the event's own says which event it is: one without may be the next under the old id.
        let id = message.id.clone().filter(|id| !id.is_empty());
        let again = std::mem::take(&mut self.is_first)
            && self.last.as_ref().is_some_and(|last| {
                id.is_some() && last.id == id && last.event == event && last.data == message.data
            });
        if !again {
            let id = Some(message.last_event_id.clone()).filter(|id| !id.is_empty());
            self.last = Some(Recorded { id, event, data: message.data.to_string() });
        }
        !again
    }
}

#[cfg(test)]
mod tests {
    use tidings_codec::{Decoder, ItemRef};

    use super::*;

    /// Which events of a stream are new, `|` being a reconnection.
    fn check(last: Option<(&str, &str)>, stream: &str, expected: &[bool]) {
        let last =
            last.map(|(id, data)| Recorded { id: EventId::parse(id).ok(), event: None, data: data.into() });
        let mut replay = Replay::new(last);
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        for connection in stream.split('|') {
            replay.opened();
            let mut input = connection.as_bytes();
            while let Some(item) = decoder.next(&mut input).unwrap() {
                if let ItemRef::Event(event) = item {
                    seen.push(replay.is_new(&event.to_message()));
                }
            }
            decoder.finish();
        }
        assert_eq!(seen, expected, "{stream:?}");
    }

    #[test]
    fn only_the_last_event_again_right_after_opening_is_a_replay() {
        check(None, "id:1\ndata:a\n\n", &[true]);
        check(Some(("1", "a")), "id:1\ndata:a\n\nid:2\ndata:a\n\n", &[false, true]);
        check(Some(("1", "a")), "id:2\ndata:a\n\nid:1\ndata:a\n\n", &[true, true]);
        check(Some(("1", "a")), "id:1\ndata:b\n\n", &[true]);
        check(Some(("1", "a")), "id:1\nevent:x\ndata:a\n\n", &[true]);
        check(
            None,
            "id:1\ndata:a\n\nid:2\ndata:b\n\n|id:2\ndata:b\n\nid:3\ndata:c\n\n",
            &[true, true, false, true],
        );
    }

    #[test]
    fn events_without_an_id_of_their_own_are_always_new() {
        check(None, "data:a\n\n|data:a\n\n", &[true, true]);
        check(Some(("1", "a")), "data:a\n\n", &[true]);
        check(None, "id:1\ndata:a\n\ndata:a\n\n|data:a\n\n", &[true, true, true]);
    }
}
