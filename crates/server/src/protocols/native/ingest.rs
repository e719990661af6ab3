//! Streaming in: a body of many items, appended as they arrive, for hours if need be.
//!
//! While one submission is on its way the next arrivals are decoded; when it is answered, all of them go out as
//! the next one. So a slow stream is one small submission per arrival, and a fast one has large batches, without
//! a timer.
//!
//! **Invariants:** at most one submission is on its way, so order holds; after a refusal nothing is submitted any
//! more; no more than one batch and one arrival are held beside it.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use tidings_hub::ports::{BoxFuture, Op, Outcome, Publish, Submission};
use tokio::sync::oneshot;

use super::ack::{Sent, Tally, internal};
use super::body;
use super::items::{Ending, Items};
use super::once::Series;
use crate::app::App;
use crate::problem::{self, Problem};

/// Data of one submission, in bytes: reached, not exceeded, unless a single event is larger.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// Items of one submission. With more, who streams is faster, since each submission costs a sync, and whoever publishes
/// beside waits longer for a turn.
const BATCH_ITEMS_MAX: usize = 8_192;

/// Reads a body to its end, or to its first item that is bad or refused.
///
/// It runs as a task of its own: if the client goes away, and its handler with it, what has arrived complete is
/// still appended.
///
/// # Errors
/// The problem with the item that stopped it, with what was accepted before.
pub(super) async fn ingest(
    app: &Arc<App>,
    items: Items,
    series: Option<Series>,
    body: Body,
) -> Result<Response, Problem> {
    let (answer, answered) = oneshot::channel();
    let ingest = Ingest {
        app: Arc::clone(app),
        items,
        series,
        arrived: Bytes::new(),
        batch: Batch::default(),
        under_way: None,
        tally: Tally::default(),
        decoded: 0,
    };
    tokio::spawn(ingest.run(body, answer));
    answered.await.unwrap_or_else(|_| Err(internal("reading the body ended without an answer")))
}

struct Ingest {
    app: Arc<App>,
    items: Items,
    series: Option<Series>,
    /// What has arrived and is not yet decoded.
    arrived: Bytes,
    /// What is decoded and not yet submitted.
    batch: Batch,
    under_way: Option<UnderWay>,
    tally: Tally,
    /// Items decoded so far.
    decoded: u64,
}

#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    sent: Sent,
    bytes: usize,
}

struct UnderWay {
    sent: Sent,
    outcomes: BoxFuture<Vec<Outcome>>,
}

type Answer = Result<Response, Problem>;

/// What the wait for the next arrival brought.
enum Woke {
    Arrived(Result<Option<Bytes>, Problem>),
    Answered(Vec<Outcome>),
    Stopping,
}

impl Ingest {
    async fn run(mut self, body: Body, answer: oneshot::Sender<Answer>) {
        let result = self.read(body, &answer).await;
        let told = match result {
            Ok(discarded) => Ok(self.tally.answer(&self.app, self.series.is_some(), discarded)),
            Err(problem) => Err(self.tally.stopped(problem)),
        };
        // Nobody may be there any more to hear it.
        _ = answer.send(told);
    }

    /// Promise: never waits for the client while a full batch could go out.
    async fn read(&mut self, mut body: Body, answer: &oneshot::Sender<Answer>) -> Result<bool, Problem> {
        let app = Arc::clone(&self.app);
        let mut stopping = pin!(app.drain.stopping());
        loop {
            if let Err(problem) = self.decode() {
                self.flush().await?;
                return Err(problem);
            }
            if self.under_way.is_none() && !self.batch.ops.is_empty() {
                // What is left of the arrival is decoded while the log is at work.
                self.submit().await?;
                continue;
            }
            if !self.arrived.is_empty() {
                // The batch is full: the client has to wait for the log.
                self.settle().await?;
                continue;
            }
            let arrival = body::next(&mut body);
            let woke = match &mut self.under_way {
                None => tokio::select! {
                    arrived = arrival => Woke::Arrived(arrived),
                    () = &mut stopping => Woke::Stopping,
                },
                Some(under_way) => tokio::select! {
                    biased;
                    outcomes = &mut under_way.outcomes => Woke::Answered(outcomes),
                    arrived = arrival => Woke::Arrived(arrived),
                    () = &mut stopping => Woke::Stopping,
                },
            };
            match woke {
                Woke::Answered(outcomes) => self.take(outcomes)?,
                Woke::Arrived(Ok(Some(arrived))) => self.arrived = arrived,
                // A body whose connection is dropped here looks whole; its handler is gone then.
                Woke::Arrived(Ok(None)) if !answer.is_closed() => return self.finish().await,
                Woke::Arrived(Ok(None)) => {
                    self.flush().await?;
                    return Err(Problem::new(
                        &problem::BODY_BROKEN,
                        "the body broke off; go on after last_id",
                    ));
                }
                Woke::Arrived(Err(problem)) => {
                    self.flush().await?;
                    return Err(problem);
                }
                Woke::Stopping => {
                    self.flush().await?;
                    let detail = "the hub is shutting down; go on after last_id when it is back";
                    return Err(Problem::new(&problem::STOPPING, detail).retry_after(2));
                }
            }
        }
    }

    /// The body has ended in order. Whether a part of it was discarded.
    async fn finish(&mut self) -> Result<bool, Problem> {
        let ending = self.items.finish();
        if let Ok(Ending::Whole(Some(last))) = ending {
            let pushed = self.batch.push(last, self.series.as_ref(), &mut self.decoded);
            self.flush().await?;
            return pushed.map(|()| false);
        }
        self.flush().await?;
        ending.map(|ending| matches!(ending, Ending::Discarded))
    }

    /// Decodes what has arrived, as far as the batch has room.
    fn decode(&mut self) -> Result<(), Problem> {
        if self.arrived.is_empty() || self.batch.is_full() {
            return Ok(());
        }
        let Self { items, batch, series, decoded, .. } = self;
        let mut rest: &[u8] = &self.arrived;
        items.each(&mut rest, |item| {
            batch.push(item, series.as_ref(), decoded)?;
            Ok(if batch.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let left_bytes = rest.len();
        self.arrived.advance(self.arrived.len() - left_bytes);
        Ok(())
    }

    /// Sends the batch on its way, if there is anything in it: when this returns the log has it, or it stands
    /// in line for its queue.
    async fn submit(&mut self) -> Result<(), Problem> {
        if self.batch.ops.is_empty() {
            return Ok(());
        }
        let Batch { ops, sent, .. } = std::mem::take(&mut self.batch);
        let hub = self.app.hub.clone();
        let submission = Submission { ops, atomic: false, time_ms: hub.now_ms() };
        let mut outcomes: BoxFuture<Vec<Outcome>> = Box::pin(async move { hub.submit(submission).await });
        // Nothing happens before it is polled.
        match poll_fn(|cx| Poll::Ready(outcomes.as_mut().poll(cx))).await {
            Poll::Ready(outcomes) => self.tally.take(sent, outcomes),
            Poll::Pending => {
                self.under_way = Some(UnderWay { sent, outcomes });
                Ok(())
            }
        }
    }

    /// Waits for the submission on its way.
    async fn settle(&mut self) -> Result<(), Problem> {
        match &mut self.under_way {
            None => Ok(()),
            Some(under_way) => {
                let outcomes = (&mut under_way.outcomes).await;
                self.take(outcomes)
            }
        }
    }

    fn take(&mut self, outcomes: Vec<Outcome>) -> Result<(), Problem> {
        self.under_way.take().map_or(Ok(()), |UnderWay { sent, .. }| self.tally.take(sent, outcomes))
    }

    /// Brings everything that is decoded to its end.
    async fn flush(&mut self) -> Result<(), Problem> {
        self.settle().await?;
        self.submit().await?;
        self.settle().await
    }
}

impl Batch {
    /// Takes item number `decoded` of the body, and counts it.
    fn push(&mut self, mut item: Publish, series: Option<&Series>, decoded: &mut u64) -> Result<(), Problem> {
        item.once = series.map(|series| series.item(*decoded)).transpose()?;
        *decoded += 1;
        self.bytes += item.data.len();
        self.sent.note(&item);
        self.ops.push(Op::Publish(item));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.ops.len() >= BATCH_ITEMS_MAX
    }
}
