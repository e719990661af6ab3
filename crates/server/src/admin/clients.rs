//! Who is connected: asked of the reactors, and of the register of what the HTTP library serves.
//!
//! **Invariant:** a bounded number of connections in an answer; a reactor that does not answer in time is left out, and
//! nobody waits for it longer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_hub::TopicName;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::api::Query;
use crate::app::App;
use crate::front::held::Held;
use crate::problem::{self, Problem};
#[cfg(target_os = "linux")]
use crate::protocols::native::selected;

/// Connections in one answer.
const COUNT_MAX: usize = 500;
/// How long a reactor may take: it answers between two rounds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a listing goes on.
enum Cursor {
    Reactor { number: usize, key: u32 },
    Library { number: u64 },
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Reactor { number: 0, key: 0 });
        }
        if let Some(number) = text.strip_prefix("h.") {
            return Some(Self::Library { number: number.parse().ok()? });
        }
        let (number, key) = text.strip_prefix("r.")?.split_once('.')?;
        Some(Self::Reactor { number: number.parse().ok()?, key: key.parse().ok()? })
    }

    fn text(&self) -> String {
        match self {
            Self::Reactor { number, key } => format!("r.{number}.{key}"),
            Self::Library { number } => format!("h.{number}"),
        }
    }
}

fn no_such_id() -> Problem {
    Problem::new(&problem::NOT_FOUND, "there is no such connection, or not any more")
}

/// Some of the connections, or those that are furthest behind.
///
/// # Errors
/// A parameter is wrong.
pub(super) async fn list(app: &Arc<App>, query: &Query) -> Result<Value, Problem> {
    let count = query.count("limit", 100, COUNT_MAX)?;
    if query.get("sort") == "slowest" {
        let (mut rows, silent) = slowest(app, count).await;
        // Only those that lag become rows: there may be many that do not.
        let held = app.connections.list(0, usize::MAX).0.into_iter();
        let lags = held.filter(|(_, held)| held.lag().is_some_and(|lag| lag > 0));
        rows.extend(lags.map(|(number, held)| row_of_library(number, &held)));
        rows.sort_by_key(|row| std::cmp::Reverse(row["lag"].as_u64()));
        rows.truncate(count);
        return Ok(json!({ "connections": rows, "next": null, "silent": silent }));
    }
    let invalid = || Problem::new(&problem::INVALID_PARAMETER, "after is what a listing gave as next");
    let mut cursor = Some(Cursor::parse(query.get("after")).ok_or_else(invalid)?);
    let (mut rows, mut silent) = (Vec::new(), 0u32);
    while let Some(at) = &cursor
        && rows.len() < count
    {
        let left = count - rows.len();
        cursor = match *at {
            Cursor::Reactor { number, key } => {
                page_of_reactor(app, number, key, left, &mut rows, &mut silent).await
            }
            Cursor::Library { number } => page_of_library(app, number, left, &mut rows),
        };
    }
    Ok(json!({ "connections": rows, "next": cursor.map(|cursor| cursor.text()), "silent": silent }))
}

fn page_of_library(app: &App, first: u64, left: usize, rows: &mut Vec<Value>) -> Option<Cursor> {
    let (found, next) = app.connections.list(first, left);
    rows.extend(found.into_iter().map(|(number, held)| row_of_library(number, &held)));
    next.map(|number| Cursor::Library { number })
}

fn row_of_library(number: u64, held: &Held) -> Value {
    let stream = held.stream();
    json!({
        "id": format!("h.{number}"),
        "peer": held.peer.map(|peer| peer.to_string()),
        "age_ms": u64::try_from(held.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        "doing": if stream.is_some() { "stream" } else { "request" },
        "reads": stream,
        "lag": held.lag(),
        "by": held.listener,
    })
}

/// Ends a connection as it is: its client comes back, unless it was told not to.
///
/// # Errors
/// It is not there.
pub(super) async fn cut(app: &Arc<App>, id: &str) -> Result<Value, Problem> {
    let was_there = match id.strip_prefix("h.") {
        Some(number) => number.parse().is_ok_and(|number| app.connections.cut(number)),
        None => cut_of_reactor(app, id).await,
    };
    if was_there { Ok(json!({ "cut": true })) } else { Err(no_such_id()) }
}

/// How many subscribers select a topic.
pub(super) async fn readers(app: &Arc<App>, topic: &TopicName) -> usize {
    app.hub.readers_of(topic.as_str()) + readers_of_reactors(app, topic).await
}

/// Waits for an answer, and not for long.
async fn asked<T: Send + 'static>(ask: impl FnOnce(Box<dyn FnOnce(T) + Send>)) -> Option<T> {
    let (told, answer) = oneshot::channel();
    // Whoever asked may be gone.
    ask(Box::new(move |answer| drop(told.send(answer))));
    timeout(PATIENCE, answer).await.ok()?.ok()
}

#[cfg(target_os = "linux")]
mod reactors {
    use tidings_reactor::{Ask, Doing, Mailbox, Order, Seen};

    use super::*;

    fn all(app: &App) -> &[Arc<Mailbox>] {
        app.reactors.get().map_or(&[], Vec::as_slice)
    }

    fn row(number: usize, seen: &Seen) -> Value {
        json!({
            "id": format!("r.{number}.{:x}", seen.token),
            "peer": seen.peer.map(|peer| peer.to_string()),
            "age_ms": seen.age_ms,
            "doing": match seen.doing {
                Doing::Idle => "idle",
                Doing::Request => "request",
                Doing::Stream => "stream",
                Doing::CatchingUp => "catching-up",
            },
            "reads": seen.filter.as_deref().map(selected),
            "lag": seen.lag,
            "by": format!("reactor {number}"),
        })
    }

    pub(super) async fn page(
        app: &App,
        number: usize,
        first: u32,
        left: usize,
        rows: &mut Vec<Value>,
        silent: &mut u32,
    ) -> Option<Cursor> {
        let Some(mailbox) = all(app).get(number) else { return Some(Cursor::Library { number: 0 }) };
        let order = Order::From(first);
        let listed = asked(|reply| mailbox.ask(Ask::List { order, count_max: left, reply })).await;
        *silent += u32::from(listed.is_none());
        let listed = listed.unwrap_or_default();
        rows.extend(listed.seen.iter().map(|seen| row(number, seen)));
        Some(match listed.next {
            Some(key) => Cursor::Reactor { number, key },
            None => Cursor::Reactor { number: number + 1, key: 0 },
        })
    }

    pub(super) async fn slowest(app: &App, count: usize) -> (Vec<Value>, u32) {
        let (mut found, mut silent) = (Vec::new(), 0);
        for (number, mailbox) in all(app).iter().enumerate() {
            let order = Order::Slowest;
            match asked(|reply| mailbox.ask(Ask::List { order, count_max: count, reply })).await {
                Some(listed) => found.extend(listed.seen.into_iter().map(|seen| (number, seen))),
                None => silent += 1,
            }
        }
        found.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.lag));
        (found.iter().take(count).map(|(number, seen)| row(*number, seen)).collect(), silent)
    }

    pub(super) async fn cut(app: &App, id: &str) -> bool {
        let parsed = id.strip_prefix("r.").and_then(|rest| {
            let (number, token) = rest.split_once('.')?;
            Some((number.parse::<usize>().ok()?, u64::from_str_radix(token, 16).ok()?))
        });
        let Some((number, token)) = parsed else { return false };
        let Some(mailbox) = all(app).get(number) else { return false };
        asked(|reply| mailbox.ask(Ask::Cut { token, reply })).await.unwrap_or(false)
    }

    pub(super) async fn readers(app: &App, topic: &TopicName) -> usize {
        let mut count = 0;
        for mailbox in all(app) {
            let topic = topic.clone();
            count += asked(|reply| mailbox.ask(Ask::Readers { topic, reply })).await.unwrap_or(0);
        }
        count
    }
}

#[cfg(target_os = "linux")]
use reactors::{cut as cut_of_reactor, page as page_of_reactor, readers as readers_of_reactors, slowest};

#[cfg(not(target_os = "linux"))]
mod none {
    use super::*;

    pub(super) async fn page(
        _: &App,
        _: usize,
        _: u32,
        _: usize,
        _: &mut Vec<Value>,
        _: &mut u32,
    ) -> Option<Cursor> {
        Some(Cursor::Library { number: 0 })
    }

    pub(super) async fn slowest(_: &App, _: usize) -> (Vec<Value>, u32) {
        (Vec::new(), 0)
    }

    pub(super) async fn cut(_: &App, _: &str) -> bool {
        false
    }

    pub(super) async fn readers(_: &App, _: &TopicName) -> usize {
        0
    }
}

#[cfg(not(target_os = "linux"))]
use none::{cut as cut_of_reactor, page as page_of_reactor, readers as readers_of_reactors, slowest};
