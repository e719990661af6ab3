//! From something that gives events to a hub that holds them: nothing lost, nothing twice, in order.
//!
//! While one batch is on its way the next is being filled; when that is full too, nothing more is read. So memory
//! is two batches, and a pipe that is faster than the hub waits.

pub(crate) mod lines;

use std::future::Future;

use tidings_client::publisher::{Batch, BatchLimits, Notice, Producer, Receipt, SendError};

use crate::failure::{Failure, say};

/// Something that gives events.
pub(crate) trait Feed {
    /// Waits until at least one event is there or the end is known, and puts what is there into `batch`, but no
    /// more than fits. Cancel-safe: an event that is not in the batch comes with a later call.
    fn fill(&mut self, batch: &mut Batch, limits: BatchLimits) -> impl Future<Output = More>;

    /// What an event of it is called in messages: `line`, `event`.
    fn unit(&self) -> &'static str;
}

/// Whether a feed goes on.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum More {
    /// Yes.
    Yes,
    /// No more, in good order or not. What was put into batches before is still delivered.
    End(Result<(), Failure>),
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) held: u64,
    pub(crate) skipped: u64,
}

/// Delivers everything that `feed` gives, until it ends.
///
/// # Errors
/// The feed's own failure, after all before it was delivered, or the hub's final word.
pub(crate) async fn deliver(
    feed: &mut impl Feed,
    producer: &mut Producer,
    skip_bad: bool,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let limits = BatchLimits::default();
    let unit = feed.unit();
    let mut filling = Batch::default();
    let mut end = None;
    loop {
        while filling.is_empty() && end.is_none() {
            end = more(feed.fill(&mut filling, limits).await);
        }
        if filling.is_empty() {
            return end.unwrap_or(Ok(()));
        }
        let sending = std::mem::take(&mut filling);
        let sent = send(producer, sending, unit, skip_bad, counts);
        tokio::pin!(sent);
        loop {
            let has_room = end.is_none() && !filling.is_full(limits);
            tokio::select! {
                biased;
                result = &mut sent => {
                    result?;
                    break;
                }
                filled = feed.fill(&mut filling, limits), if has_room => end = more(filled),
            }
        }
    }
}

fn more(more: More) -> Option<Result<(), Failure>> {
    match more {
        More::Yes => None,
        More::End(result) => Some(result),
    }
}

async fn send(
    producer: &mut Producer,
    mut batch: Batch,
    unit: &str,
    skip_bad: bool,
    counts: &mut Counts,
) -> Result<(), Failure> {
    while !batch.is_empty() {
        counts.requests += 1;
        match producer.send(&batch).await {
            Ok(Receipt { held, retries, .. }) => {
                counts.events += u64::try_from(batch.len()).unwrap_or(u64::MAX);
                counts.held += held;
                counts.retries += retries;
                return Ok(());
            }
            Err(SendError::Item { item, why }) => {
                let number = batch.number(item).unwrap_or_default();
                let message = format!("{unit} {number}: {why}");
                counts.events += u64::try_from(item).unwrap_or(u64::MAX);
                if !skip_bad {
                    return Err(Failure::new(message));
                }
                counts.skipped += 1;
                say(&format!("{message}; skipped"));
                batch = batch.behind(item);
            }
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(())
}

/// Tells a person about troubles that pass: when they begin, and when they are over.
pub(crate) fn tell(notice: Notice<'_>, has_patience: bool) {
    match notice {
        Notice::Retrying { failures: 1, why, .. } => {
            let until = if has_patience { "" } else { " until it works" };
            say(&format!("{why}; trying again{until}"));
        }
        Notice::Recovered => say("the hub answers again"),
        Notice::NewEpoch { .. } => say("the hub has forgotten what was sent; going on"),
        _ => {}
    }
}
