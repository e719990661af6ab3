//! What the demo's sources share: how they declare their topics, publish, and hear what pages ask for.
//!
//! A request of a page is an event like any other, published by `fetch`. What answers it has an idempotency key for
//! each event, so after a restart the same requests are read again, and go on behind what is there already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_codec::EventName;
use tidings_hub::ports::{Op, Outcome, Publish, Refusal, Submission};
use tidings_hub::{
    Filter, From, Hub, ItemKey, Once, Reader, Retention, Selector, Selectors, Subscribe, TopicConfig,
    TopicName, Topics,
};
use tokio::time::sleep;

const PAGE_EVENTS: usize = 100;
const PAGE_BYTES: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(20);
/// Longest name that a page may give to what it asks for.
const ID_CHARS_MAX: usize = 40;

/// Subscribers of the hub that are no streams of pages.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// How many read what pages ask for. The hub counts them among its subscribers.
pub(super) fn readers() -> usize {
    READERS.load(Ordering::Relaxed)
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Took {
    /// It is there now.
    New,
    /// It was there already, by its key.
    Held,
    /// It was not taken; later ones may be: a full disk passes.
    Not,
    /// The topic, or the hub, takes no more.
    Over,
}

impl Took {
    /// Whether the source goes on.
    pub(super) fn goes_on(self) -> bool {
        self != Self::Over
    }
}

/// An event; `None` if the topic's name, or that of the type, is none.
pub(super) fn event(topic: &str, name: Option<&str>, data: impl Into<String>) -> Option<Publish> {
    let topic = TopicName::parse(topic).ok()?;
    let event = name.map(EventName::parse).transpose().ok()?;
    Some(Publish { event, ..Publish::text(Topics::from_iter([topic]), data) })
}

/// The same as item `index` of a key: whoever publishes it a second time adds nothing.
pub(super) fn once(event: Option<Publish>, key: &str, index: u64) -> Option<Publish> {
    let once = Some(Once::Item(ItemKey { key: format!("demo:{key}").into(), index }));
    event.map(|event| Publish { once, ..event })
}

/// Publishes one event.
pub(super) async fn publish(hub: &Hub, event: Option<Publish>) -> Took {
    let Some(event) = event else { return Took::Over };
    submit(hub, vec![Op::Publish(event)]).await
}

/// Operations in one go: one batch, however many they are. Tells what became of the last one that was tried.
pub(super) async fn submit(hub: &Hub, ops: Vec<Op>) -> Took {
    let outcomes = hub.submit(Submission { ops, atomic: false, time_ms: hub.now_ms() }).await;
    let tried = outcomes.iter().rfind(|outcome| !matches!(outcome, Outcome::Skipped));
    match tried {
        Some(Outcome::Committed { .. } | Outcome::Unchanged { .. }) => Took::New,
        Some(Outcome::Held(_) | Outcome::Repeated(_)) => Took::Held,
        Some(Outcome::Refused(Refusal::Stopped | Refusal::Failed | Refusal::Closed { .. })) | None => {
            Took::Over
        }
        Some(outcome) => {
            tracing::warn!(?outcome, "a demo event was not taken");
            Took::Not
        }
    }
}

/// How a topic is kept: so many of its newest events.
pub(super) fn count(count: u64) -> TopicConfig {
    let retention = Retention { count: Some(count), ..Retention::default() };
    TopicConfig { content_type: "application/json".into(), retention, ephemeral: false }
}

/// A topic that is delivered and never stored.
pub(super) fn ephemeral() -> TopicConfig {
    TopicConfig { content_type: "application/json".into(), ephemeral: true, ..TopicConfig::default() }
}

/// Declares a topic.
pub(super) async fn declare(hub: &Hub, topic: &str, config: TopicConfig) -> Took {
    let Ok(topic) = TopicName::parse(topic) else { return Took::Over };
    submit(hub, vec![Op::Configure { topic, config }]).await
}

/// Ends a topic: its readers get what they lack, and are told not to come back.
pub(super) async fn close(hub: &Hub, topic: &str) {
    let Ok(topic) = TopicName::parse(topic) else { return };
    let _ = submit(hub, vec![Op::Close { topic }]).await;
}

/// These are structs of numbers and texts, which always are JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Whether a page's name for what it asks for can be part of a topic's name.
pub(super) fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// What pages ask for on a topic.
pub(super) struct Requests {
    reader: Reader,
    waiting: VecDeque<Bytes>,
}

impl Drop for Requests {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// From the oldest that is kept, or from now on.
    pub(super) fn of(hub: &Hub, topic: &str, from: From) -> Option<Self> {
        let selectors = Selectors::new(vec![Selector::parse(topic).ok()?]);
        let ask = Subscribe { grant: Arc::default(), ..Subscribe::new(Filter::topics(selectors)).from(from) };
        let reader = hub.read(ask).ok()?;
        READERS.fetch_add(1, Ordering::Relaxed);
        Some(Self { reader, waiting: VecDeque::new() })
    }

    /// The next one that can be read as what is wanted; what cannot is passed over. `None`: it is over.
    // Promise: holds a page of requests at most, whatever is published.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(data) = self.waiting.pop_front() {
                match serde_json::from_slice(&data) {
                    Ok(request) => return Some(request),
                    Err(_) => continue,
                }
            }
            let page = self.reader.page(PAGE_EVENTS, PAGE_BYTES).await.ok()?;
            if page.ended {
                return None;
            }
            if page.events.is_empty() && page.caught_up {
                self.reader.changed().await;
                // A hub that drains says so at once, each time: whoever asks again without a pause keeps it from ending.
                sleep(PAUSE).await;
            }
            self.waiting.extend(page.events.into_iter().map(|event| event.data));
        }
    }
}

/// A generator of numbers that look like chance and are the same for the same seed (SplitMix64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)
    }

    /// From 0 to 1.
    pub(super) fn part(&mut self) -> f64 {
        f64::from(self.next()) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_s_name_stays_within_its_segment() {
        assert!(is_id("a") && is_id("3f2c-77") && is_id(&"x".repeat(40)));
        for text in ["", "a/b", "a*", "ä", "a b", "..", &"x".repeat(41)] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn the_same_seed_says_the_same() {
        let three = |seed| {
            let mut seeded = Seeded(seed);
            [seeded.next(), seeded.next(), seeded.next()]
        };
        assert_eq!(three(7), three(7));
        assert_ne!(three(7), three(8));
        let mut seeded = Seeded(1);
        let mean = (0..10_000).map(|_| seeded.part()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
