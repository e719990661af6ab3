//! What a publisher is told: how much of its request was accepted, where it stands, and what that promises.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tidings_hub::ports::{Outcome, Publish};
use tidings_hub::{EventId, Position, WireId};

use super::{JSON_BYTES, json};
use crate::app::App;
use crate::problem::{self, Problem};

/// The id of a single event, as its readers will see it.
const TIDINGS_ID: HeaderName = HeaderName::from_static("tidings-id");

/// The items of a request that were accepted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: u64,
    held: u64,
    /// Delivered and kept nowhere.
    unstored: u64,
    /// Of the first item; the inner `None`: it came earlier, and its place is not remembered.
    first: Option<Option<Place>>,
    /// The same of the last one so far.
    last: Option<Place>,
}

/// Where an item stands, and what its publisher calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    position: Position,
    id: Option<EventId>,
}

impl Place {
    fn wire_id(&self) -> String {
        WireId { position: self.position, publisher: self.id.as_ref() }.to_text()
    }
}

/// What has to be remembered of items while they are away in a submission.
#[derive(Debug, Default)]
pub(super) struct Sent(Vec<Option<EventId>>);

impl Sent {
    pub(super) fn note(&mut self, item: &Publish) {
        self.0.push(item.id.clone());
    }
}

impl Tally {
    /// Takes the outcomes of the next items, in order.
    ///
    /// # Errors
    /// The first refusal; what precedes it is counted.
    pub(super) fn take(&mut self, sent: Sent, outcomes: Vec<Outcome>) -> Result<(), Problem> {
        if sent.0.len() != outcomes.len() {
            return Err(another_number());
        }
        sent.0.into_iter().zip(outcomes).try_for_each(|(id, outcome)| self.take_one(id, outcome))
    }

    /// The same of one item, which has this id, alone.
    ///
    /// # Errors
    /// Its refusal.
    pub(super) fn take_alone(&mut self, id: Option<EventId>, outcomes: Vec<Outcome>) -> Result<(), Problem> {
        let [outcome] = <[Outcome; 1]>::try_from(outcomes).map_err(|_| another_number())?;
        self.take_one(id, outcome)
    }

    fn take_one(&mut self, id: Option<EventId>, outcome: Outcome) -> Result<(), Problem> {
        match outcome {
            Outcome::Committed { position, stored, .. } => {
                self.unstored += u64::from(!stored);
                self.first.get_or_insert_with(|| Some(Place { position, id: id.clone() }));
                self.last = Some(Place { position, id });
            }
            // No publish is answered like this.
            Outcome::Unchanged { .. } => {}
            Outcome::Held(key) => {
                self.held += 1;
                self.first.get_or_insert_with(|| Some(Place { position: key.first, id: id.clone() }));
                // Only the last item that the key holds is known to stand there.
                let id = id.filter(|_| self.count + 1 == key.count);
                self.last = Some(Place { position: key.last, id });
            }
            Outcome::Repeated(producer) => {
                self.held += 1;
                let place = producer.position().map(|position| Place { position, id });
                self.first.get_or_insert_with(|| place.clone());
                self.last = place;
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Skipped => return Err(internal("an event was skipped and none was refused")),
        }
        self.count += 1;
        Ok(())
    }

    /// A streamed body stopped here: what was accepted stays, and the problem says how much that is.
    pub(super) fn stopped(&self, problem: Problem) -> Problem {
        let last = self.last.as_ref().map(Place::wire_id);
        problem
            .with("count", self.count)
            .with("held", self.held)
            .with("last_id", last)
            .with("item", self.count)
    }

    /// The answer to a request that was accepted whole.
    pub(super) fn answer(&self, app: &App, is_known: bool, discarded: bool) -> Response {
        let last = self.last.as_ref().map(Place::wire_id);
        self.answer_with(last.as_deref(), app, is_known, discarded)
    }

    fn answer_with(&self, last_id: Option<&str>, app: &App, is_known: bool, discarded: bool) -> Response {
        let first = self.first.iter().flatten().next();
        // Most often both are one place.
        let is_same = first == self.last.as_ref();
        let of_first = first.filter(|_| !is_same).map(Place::wire_id);
        let window = app.config.key_window;
        let kept_nowhere = self.count > 0 && self.unstored == self.count;
        let durability = if kept_nowhere { "none" } else { app.hub.bounds().durability.as_str() };
        json(
            StatusCode::OK,
            &Ack {
                first_id: if is_same { last_id } else { of_first.as_deref() },
                last_id,
                count: self.count,
                held: self.held,
                durability,
                idempotency: is_known.then_some(Window { age_ms: window.age_ms, keys: window.count }),
                discarded: discarded.then_some(true),
            },
        )
    }

    /// The same for a single event, whose id is a header too.
    pub(super) fn answer_one(&self, app: &App, is_known: bool) -> Response {
        let last = self.last.as_ref().map(|place| (place.wire_id(), place.position));
        let mut response = self.answer_with(last.as_ref().map(|last| last.0.as_str()), app, is_known, false);
        let value = last.and_then(|(id, position)| {
            // A publisher's id may have characters that no header can carry; the position is enough to resume.
            let whole = HeaderValue::from_maybe_shared(bytes::Bytes::from(id));
            whole.or_else(|_| HeaderValue::from_str(&position.to_string())).ok()
        });
        if let Some(value) = value {
            response.headers_mut().insert(TIDINGS_ID, value);
        }
        response
    }
}

/// What [`Tally::answer_one`] answers about an event that was accepted now, under no key and with no id of its own, as
/// it is written.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// The value of [`TIDINGS_ID`].
    pub(crate) id: String,
    pub(crate) body: String,
}

impl Receipt {
    /// # Errors
    /// The event's refusal.
    pub(super) fn of(app: &App, outcomes: Vec<Outcome>) -> Result<Self, Problem> {
        match *outcomes {
            [Outcome::Committed { position, stored, .. }] => {
                let durability = if stored { app.hub.bounds().durability.as_str() } else { "none" };
                Ok(Self::new(position, durability))
            }
            _ => {
                Tally::default().take_alone(None, outcomes)?;
                Err(internal("the log answered for an event as for one that it had before"))
            }
        }
    }

    fn new(position: Position, durability: &str) -> Self {
        let id = WireId { position, publisher: None }.to_text();
        let mut body = String::with_capacity(JSON_BYTES);
        // Neither a position nor a durability has a character that JSON escapes.
        for part in [
            "{\"first_id\":\"",
            &id,
            "\",\"last_id\":\"",
            &id,
            "\",\"count\":1,\"held\":0,\"durability\":\"",
            durability,
            "\"}\n",
        ] {
            body.push_str(part);
        }
        Self { id, body }
    }
}

#[derive(Serialize)]
struct Ack<'a> {
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    count: u64,
    held: u64,
    durability: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency: Option<Window>,
    /// The stream ended in the middle of a block, which was not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<bool>,
}

/// For how long a repetition of the key or producer is known; whichever ends first. `keys` counts producers too.
#[derive(Serialize)]
struct Window {
    age_ms: u64,
    keys: usize,
}

fn another_number() -> Problem {
    internal("the log answered for another number of events than it was given")
}

pub(super) fn internal(detail: &'static str) -> Problem {
    Problem::new(&problem::INTERNAL, detail)
}
