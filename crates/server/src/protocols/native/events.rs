//! `POST /events`: many topics in one request, a topic per line of NDJSON.

use std::sync::Arc;

use axum::response::Response;
use http::request::Parts;
use tidings_hub::ports::{Op, Outcome, Publish, Refusal, Submission};

use super::ack::{Sent, Tally};
use super::ingest::ingest;
use super::items::{Ending, Items, RoutedLines};
use super::params::Query;
use super::{body, once};
use crate::app::App;
use crate::front::body::Payload;
use crate::gate::Access;
use crate::problem::Problem;

const PARAMETERS: &[&str] = &["atomic"];

/// Publishes to the topics that the lines name: as they arrive, or with `?atomic` all or nothing.
///
/// # Errors
/// What is wrong with the request or a line, or why the hub refused it.
pub(super) async fn publish(
    app: &Arc<App>,
    access: &Arc<Access>,
    parts: &Parts,
    payload: Payload,
) -> Result<Response, Problem> {
    // The topics stand in the body: who may publish nowhere must not make the hub hold it.
    access.may_publish_anything()?;
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let series = once::of_request(&parts.headers, access, "events")?;
    let event_bytes_max = app.hub.limits().event_bytes_max;
    let lines = RoutedLines::new(Arc::clone(access), event_bytes_max);
    let mut items = Items::Routed(lines);
    if !query.flag("atomic")? {
        return ingest(app, items, series, payload.into_body()).await;
    }
    let body = body::whole(app, payload, app.config.body_bytes_max, body::too_large).await?;
    let (mut ops, mut sent) = (Vec::new(), Sent::default());
    let mut rest: &[u8] = &body;
    loop {
        let next = next(&mut items, &mut rest).map_err(|problem| problem.with("item", ops.len()))?;
        let Some(mut item) = next else { break };
        let index = u64::try_from(ops.len()).unwrap_or(u64::MAX);
        item.once = series.as_ref().map(|series| series.item(index)).transpose()?;
        sent.note(&item);
        ops.push(Op::Publish(item));
    }
    drop(body);
    let mut tally = Tally::default();
    if !ops.is_empty() {
        let submission = Submission { ops, atomic: true, time_ms: app.hub.now_ms() };
        let outcomes = app.hub.submit(submission).await;
        check_all(&outcomes)?;
        tally.take(sent, outcomes)?;
    }
    Ok(tally.answer(app, series.is_some(), false))
}

/// The next item, the one of the last line included.
fn next(items: &mut Items, rest: &mut &[u8]) -> Result<Option<Publish>, Problem> {
    if !rest.is_empty()
        && let Some(item) = items.next(rest)?
    {
        return Ok(Some(item));
    }
    match items.finish()? {
        Ending::Whole(item) => Ok(item),
        Ending::Discarded => Ok(None),
    }
}

/// Names the item because of which all were refused.
fn check_all(outcomes: &[Outcome]) -> Result<(), Problem> {
    let refused = outcomes.iter().enumerate().filter_map(|(item, outcome)| match outcome {
        Outcome::Refused(refusal) => Some((item, refusal)),
        _ => None,
    });
    // The others were refused with it, before it or after it.
    match refused.min_by_key(|(_, refusal)| **refusal == Refusal::WithOthers) {
        None => Ok(()),
        Some((item, refusal)) => Err(Problem::from(refusal.clone()).with("item", item)),
    }
}
