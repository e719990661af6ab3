//! Publishing to a hub: nothing lost, nothing twice, in order, over lost answers, reconnects and restarts.
//!
//! [`Producer`] sends one [`Batch`] after the other, each until the hub has it: its events are numbered, so the hub
//! knows what it holds (`Producer-Id`, `Producer-Epoch`, `Producer-Seq`). [`Publisher`] is a handle to one that
//! collects what many tasks publish. Neither keeps anything on disk: who must survive his own restart keeps what he
//! publishes until its number is acked, and continues the numbering ([`ProducerBuilder::numbering`]).
//!
//! **Invariant:** one request is on its way at a time. What waits behind it is bounded in events and bytes, and who
//! publishes more waits.

mod batch;
mod builder;
mod producer;
mod verdict;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_codec::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub use self::batch::{Batch, BatchLimits};
pub use self::builder::ProducerBuilder;
pub use self::producer::{Notice, Producer, Receipt, SendError};

/// What a [`Publisher`] may collect.
///
/// ```
/// use tidings_client::publisher::PublisherLimits;
///
/// let limits = PublisherLimits { window_ms: 5, ..PublisherLimits::default() };
/// assert_eq!(limits.queue_events_max, 4_096);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PublisherLimits {
    /// What one request may hold.
    pub batch: BatchLimits,
    /// How long a request waits for more events, in milliseconds. With 0 it takes what arrived while the one before
    /// was on its way, which is right unless requests are dear.
    pub window_ms: u64,
    /// Events that may wait; whoever publishes more waits himself.
    pub queue_events_max: usize,
    /// Bytes that they may have together.
    pub queue_bytes_max: usize,
}

impl Default for PublisherLimits {
    fn default() -> Self {
        Self {
            batch: BatchLimits::default(),
            window_ms: 0,
            queue_events_max: 4_096,
            queue_bytes_max: 4 << 20,
        }
    }
}

/// An event that the hub holds, as durably as it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The producer's epoch.
    pub epoch: u64,
    /// The event's number in it.
    pub seq: u64,
}

/// Why an event was not published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub will never take this event. The others go on.
    Refused {
        /// What is wrong with it.
        why: String,
    },
    /// The publisher has ended. Events that were not acked may be there or not.
    Ended(Arc<SendError>),
    /// The tokio runtime that it ran on has ended.
    Stopped,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why } => write!(f, "the hub does not take this event: {why}"),
            Self::Ended(_) => f.write_str("the publisher has ended"),
            Self::Stopped => f.write_str("the publisher was stopped with its runtime"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Ended(cause) = self { Some(&**cause) } else { None }
    }
}

/// Publishes what many tasks give it, in the order in which they do. Clones are handles to the same one; when the
/// last is dropped, what waits is still delivered as long as the runtime lives.
///
/// ```no_run
/// use tidings_client::publisher::{Producer, Publisher, PublisherLimits};
/// use tidings_codec::Event;
///
/// # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder("http://127.0.0.1:4000/topics/news").build()?;
/// let publisher = Publisher::spawn(producer, PublisherLimits::default());
/// let first = publisher.publish(&Event::new("hello")).await?; // waits for room only
/// publisher.publish(&Event::new("world")).await?;
/// println!("number {} is held", first.await?.seq); // waits for the hub
/// publisher.flush().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    end: Arc<OnceLock<PublishError>>,
}

type Answer = oneshot::Sender<Result<Published, PublishError>>;

#[derive(Debug)]
enum Job {
    Publish { event: Event, answer: Answer, room: OwnedSemaphorePermit },
    Flush(oneshot::Sender<()>),
}

impl Publisher {
    /// Begins to publish with `producer`, in a task of the present tokio runtime.
    pub fn spawn(producer: Producer, limits: PublisherLimits) -> Self {
        let (sender, queue) = mpsc::channel(limits.queue_events_max.max(1));
        let room_bytes = limits.queue_bytes_max.clamp(1, Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room_bytes));
        let end = Arc::new(OnceLock::new());
        let driver = Driver { producer, queue, limits, end: Arc::clone(&end) };
        tokio::spawn(driver.run());
        Self { queue: sender, room, room_bytes, end }
    }

    /// Takes an event when there is room for it. What is awaited here is back-pressure; [`Pending`] is the ack.
    ///
    /// # Errors
    /// [`PublishError`]: the publisher has ended.
    pub async fn publish(&self, event: &Event) -> Result<Pending, PublishError> {
        let bytes = event.data.len() + event.id.as_ref().map_or(0, |id| id.as_str().len()) + 64;
        // One that is larger than all the room has it for itself.
        let share = u32::try_from(bytes.min(self.room_bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let room = room.map_err(|_| self.ended())?;
        let (answer, pending) = oneshot::channel();
        let job = Job::Publish { event: event.clone(), answer, room };
        self.queue.send(job).await.map_err(|_| self.ended())?;
        Ok(Pending { answer: pending, end: Arc::clone(&self.end) })
    }

    /// Waits until all that was published before is answered.
    ///
    /// # Errors
    /// [`PublishError::Ended`]: some of it is not held. What became of single events their [`Pending`]s tell.
    pub async fn flush(&self) -> Result<(), PublishError> {
        let (answer, flushed) = oneshot::channel();
        self.queue.send(Job::Flush(answer)).await.map_err(|_| self.ended())?;
        flushed.await.map_err(|_| self.ended())
    }

    fn ended(&self) -> PublishError {
        self.end.get().cloned().unwrap_or(PublishError::Stopped)
    }
}

/// The ack of one event. It need not be awaited: the event is delivered anyhow.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Published, PublishError>>,
    end: Arc<OnceLock<PublishError>>,
}

impl Future for Pending {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let told = Pin::new(&mut self.answer).poll(cx);
        told.map(|told| {
            told.unwrap_or_else(|_| Err(self.end.get().cloned().unwrap_or(PublishError::Stopped)))
        })
    }
}

struct Driver {
    producer: Producer,
    queue: mpsc::Receiver<Job>,
    limits: PublisherLimits,
    end: Arc<OnceLock<PublishError>>,
}

/// What goes together, and who waits for it.
#[derive(Default)]
struct Round {
    batch: Batch,
    waiting: Vec<(Answer, OwnedSemaphorePermit)>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Driver {
    // Promise: nobody is left without an answer, whatever ends this.
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut round = Round::default();
            round.take(first);
            self.fill(&mut round).await;
            if !round.send(&mut self.producer, &self.end).await {
                return;
            }
        }
    }

    async fn fill(&mut self, round: &mut Round) {
        let until = Instant::now() + Duration::from_millis(self.limits.window_ms);
        while !round.is_complete(self.limits.batch) {
            let next = match self.queue.try_recv() {
                Ok(job) => Some(job),
                Err(_) if self.limits.window_ms == 0 => None,
                Err(_) => timeout_at(until, self.queue.recv()).await.ok().flatten(),
            };
            let Some(job) = next else { return };
            round.take(job);
        }
    }
}

impl Round {
    fn take(&mut self, job: Job) {
        match job {
            Job::Publish { event, answer, room } => {
                self.batch.push(&event, 0);
                self.waiting.push((answer, room));
            }
            Job::Flush(answer) => self.flushes.push(answer),
        }
    }

    /// Whether it should go now.
    fn is_complete(&self, limits: BatchLimits) -> bool {
        self.batch.is_full(limits) || !self.flushes.is_empty()
    }

    /// Whether there is a point in going on.
    async fn send(mut self, producer: &mut Producer, end: &OnceLock<PublishError>) -> bool {
        while !self.batch.is_empty() {
            let (held, refused) = match producer.send(&self.batch).await {
                Ok(_) => (self.batch.len(), None),
                Err(SendError::Item { item, why }) => (item, Some(why)),
                Err(error) => {
                    // Before the answers of all that wait are dropped, so that each finds the reason.
                    _ = end.set(PublishError::Ended(Arc::new(error)));
                    return false;
                }
            };
            let (epoch, next) = (producer.epoch(), producer.next_seq());
            let first = next.saturating_sub(held as u64);
            let mut waiting = self.waiting.drain(..);
            for (seq, (answer, _room)) in (first..).zip(waiting.by_ref().take(held)) {
                // Who does not wait for the answer need not hear it.
                _ = answer.send(Ok(Published { epoch, seq }));
            }
            match refused {
                None => break,
                Some(why) => {
                    if let Some((answer, _room)) = waiting.next() {
                        _ = answer.send(Err(PublishError::Refused { why }));
                    }
                }
            }
            self.waiting = waiting.collect();
            self.batch = self.batch.behind(held);
        }
        for flush in self.flushes {
            _ = flush.send(());
        }
        true
    }
}
