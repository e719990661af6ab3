//! Topics, as the console asks for them: a search over a copy of all, and what is known of one.
//!
//! **Invariant:** a search holds no lock while it looks, runs beside the requests' threads, and few run at once; somebody
//! learns only of topics that their key lets them read or manage.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidings_hub::fold::TopicState;
use tidings_hub::{Selector, TopicName, TopicsNow};

use super::api::Query;
use super::clients;
use crate::app::App;
use crate::gate::Access;
use crate::problem::{self, Problem};

/// Topics in one answer.
const COUNT_MAX: usize = 500;
/// Bytes of what is searched for.
const NEEDLE_BYTES_MAX: usize = 1_024;

/// How names are matched.
#[derive(Clone)]
enum Wanted {
    All,
    Part(String),
    Selector(Selector),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > NEEDLE_BYTES_MAX {
            let detail = format!("q has at most {NEEDLE_BYTES_MAX} bytes");
            return Err(Problem::new(&problem::INVALID_PARAMETER, detail));
        }
        if text.is_empty() {
            return Ok(Self::All);
        }
        if text.contains('*') {
            let selector = Selector::parse(text);
            return selector
                .map(Self::Selector)
                .map_err(|error| Problem::new(&problem::INVALID_SELECTOR, error.to_string()));
        }
        Ok(Self::Part(text.to_owned()))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Part(part) => name.contains(part.as_str()),
            Self::Selector(selector) => selector.matches(name),
        }
    }
}

/// Some of the topics: by name, or those that were published to last.
///
/// # Errors
/// A parameter is wrong, or too many search at once.
pub(super) async fn list(app: &Arc<App>, access: &Access, query: &Query) -> Result<Value, Problem> {
    let wanted = Wanted::parse(query.get("q"))?;
    let count = query.count("limit", 100, COUNT_MAX)?;
    let by_name = match query.get("sort") {
        "" | "name" => true,
        "recent" => false,
        _ => return Err(Problem::new(&problem::INVALID_PARAMETER, "sort is name or recent")),
    };
    let after = query.get("after").to_owned();
    let Ok(_place) = app.samples.searches().try_acquire() else {
        let detail = "other searches are under way; ask again";
        return Err(Problem::new(&problem::BUSY, detail).retry_after(1));
    };
    let topics = app.hub.topics();
    let access = access.clone();
    let search = tokio::task::spawn_blocking(move || {
        if by_name {
            first(&topics, &wanted, &access, &after, count)
        } else {
            recent(&topics, &wanted, &access, count)
        }
    });
    let mut found = search
        .await
        .map_err(|_| Problem::new(&problem::BUSY, "the search broke off; ask again").retry_after(1))?;
    add_rates(app, &mut found);
    Ok(found)
}

/// How much is published to those that are shown.
fn add_rates(app: &App, found: &mut Value) {
    let rows = found["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rates = app.hub.rates(rows.iter().filter_map(|row| row["name"].as_str()));
    for (row, rate) in found["topics"].as_array_mut().into_iter().flatten().zip(rates) {
        row["per_second"] = rate.into();
    }
}

fn is_open(access: &Access) -> bool {
    let everything = Selector::everything();
    access.subscribe.covers(&everything) || access.manage.covers(&everything)
}

fn may_know(access: &Access, is_open: bool, name: &str) -> bool {
    is_open || access.subscribe.matches(name) || access.manage.matches(name)
}

fn first(topics: &TopicsNow, wanted: &Wanted, access: &Access, after: &str, count: usize) -> Value {
    let open = is_open(access);
    let (mut matched, mut least) = (0u64, BinaryHeap::with_capacity(count + 2));
    for name in topics.names().filter(|name| wanted.has(name) && may_know(access, open, name)) {
        matched += 1;
        if name <= after && !after.is_empty() {
            continue;
        }
        // One more than is shown tells whether there are more.
        if least.len() <= count {
            least.push(name);
        } else if least.peek().is_some_and(|greatest| name < *greatest) {
            least.pop();
            least.push(name);
        }
    }
    let mut names = least.into_sorted_vec();
    let more = names.len() > count;
    names.truncate(count);
    let next = names.last().copied().filter(|_| more);
    // Those that were deleted a moment ago have a name and no state.
    let rows: Vec<Value> =
        names.iter().filter_map(|name| Some(row(topics, name, &topics.get(name)?))).collect();
    json!({ "topics": rows, "matched": matched, "next": next, "total": topics.len(), "head": topics.position(topics.head()).to_string() })
}

fn recent(topics: &TopicsNow, wanted: &Wanted, access: &Access, count: usize) -> Value {
    let open = is_open(access);
    let (mut matched, mut newest) = (0u64, BinaryHeap::with_capacity(count + 1));
    for (name, state) in topics.iter().filter(|(name, _)| wanted.has(name) && may_know(access, open, name)) {
        matched += 1;
        newest.push(Reverse((state.last, name)));
        if newest.len() > count {
            newest.pop();
        }
    }
    let found = newest.into_sorted_vec();
    let rows: Vec<Value> =
        found.iter().filter_map(|Reverse((_, name))| Some(row(topics, name, &topics.get(name)?))).collect();
    json!({ "topics": rows, "matched": matched, "next": null, "total": topics.len(), "head": topics.position(topics.head()).to_string() })
}

fn row(topics: &TopicsNow, name: &str, state: &TopicState) -> Value {
    let last = (state.last > state.trimmed).then(|| topics.position(state.last).to_string());
    json!({
        "name": name,
        "last": last,
        "closed": state.closed.is_some(),
        "declared": state.config.is_some(),
        "ephemeral": state.is_ephemeral(),
        "binary": state.is_binary(),
    })
}

/// What is known of one topic.
///
/// # Errors
/// It may not be known to this one, or is not there.
pub(super) async fn one(app: &Arc<App>, access: &Access, query: &Query) -> Result<Value, Problem> {
    let name = TopicName::parse(query.get("name"))
        .map_err(|error| Problem::new(&problem::INVALID_TOPIC, error.to_string()))?;
    // Whether the topic exists is told to nobody who may not know of it.
    access.may_manage(&name).or_else(|_| access.may_subscribe(&Selector::Exact(name.clone())))?;
    let topics = app.hub.topics();
    let Some(state) = topics.get(name.as_str()) else {
        return Err(Problem::new(&problem::NOT_FOUND, "there is no such topic, or not any more"));
    };
    let config = state.config.clone().unwrap_or_default();
    let position = |seq| topics.position(seq).to_string();
    let (retention, mut answer) = (config.retention, row(&topics, name.as_str(), &state));
    let more = json!({
        "created": position(state.created),
        "trimmed": (state.trimmed > tidings_hub::Seq::ZERO).then(|| position(state.trimmed)),
        "closed_at": state.closed.map(position),
        "head": position(topics.head()),
        "content_type": config.content_type,
        "retention": {
            "age_ms": retention.age_ms,
            "bytes": retention.bytes,
            "count": retention.count,
            "keep_last": retention.keep_last,
        },
        "subscribers": clients::readers(app, &name).await,
        "may": {
            "publish": access.may_publish(&name).is_ok(),
            "manage": access.may_manage(&name).is_ok(),
            "read": access.may_subscribe(&Selector::Exact(name.clone())).is_ok(),
        },
    });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    Ok(answer)
}
