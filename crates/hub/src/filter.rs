//! What a subscriber asks for: topics and event types. Filters that are equal are kept once.

use std::sync::Arc;

use tidings_codec::EventName;

use crate::record::{EventBody, Record};
use crate::selector::Selectors;

/// A subscriber's wish. Equal wishes are equal values, whatever order they were written in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    selectors: Arc<Selectors>,
    /// Only these event types; empty: all. Sorted.
    events: Box<[EventName]>,
}

impl Filter {
    /// All events of the selected topics.
    pub fn topics(selectors: Selectors) -> Self {
        Self { selectors: Arc::new(selectors), events: Box::default() }
    }

    /// Keeps only events of these types; none given keeps all. An event without a type is a `message`.
    #[must_use]
    pub fn with_events(mut self, mut events: Vec<EventName>) -> Self {
        events.sort_unstable();
        events.dedup();
        self.events = events.into();
        self
    }

    /// The selectors.
    pub fn selectors(&self) -> &Arc<Selectors> {
        &self.selectors
    }

    /// The event types that are kept; empty: all.
    pub fn events(&self) -> &[EventName] {
        &self.events
    }

    /// Whether an event's type is kept.
    pub fn keeps(&self, event: Option<&EventName>) -> bool {
        self.keeps_named(event.map(EventName::as_str))
    }

    /// The same by the type's name.
    pub(crate) fn keeps_named(&self, event: Option<&str>) -> bool {
        let name = event.unwrap_or("message");
        self.events.is_empty() || self.events.iter().any(|kept| kept.as_str() == name)
    }

    /// Whether a record is wanted, privacy aside.
    pub fn wants(&self, record: &Record) -> bool {
        let of_type = |body: &EventBody| self.keeps(body.event.as_ref());
        record.event().is_some_and(of_type)
            && record.topics.iter().any(|topic| self.selectors.matches(topic.as_str()))
    }
}
