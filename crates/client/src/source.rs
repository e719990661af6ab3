//! The driver: the machine's actions over tokio and a transport, as a stream.
//! No task of its own and no queue: what is not polled is not read, so a slow consumer slows the server.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use std::{fmt, io, mem};

use bytes::{Buf as _, Bytes};
use futures_core::Stream;
use http_body::Body as _;
use tidings_codec::EventId;
use tokio::time::Sleep;

use crate::fresh::{Fresh, Made};
use crate::keeper::Keeper;
use crate::machine::{Action, Attempt, Machine, ReadyState};
use crate::request::{Preparing, Requests};
use crate::transport::{AnswerBody, Answering, Transport};
use crate::{EventSourceBuilder, NetworkError, SourceError, SourceEvent};

/// After so many bytes without anything to tell a poll ends, so that a server that says nothing at length does not keep
/// the task from whatever else it does.
const POLL_BYTES_MAX: usize = 1 << 20;
/// What a frame counts as beside its bytes: empty ones keep a task too.
const FRAME_BYTES: usize = 1 << 10;

/// A stream of what happens at a URL that serves events.
///
/// Ends (`None`) after [`SourceEvent::Ended`], after an error, and after [`close`](Self::close); until then
/// it reconnects by itself. Dropping it drops the connection.
///
/// ```no_run
/// use futures_util::StreamExt as _;
/// use tidings_client::{Backoff, EventSource, RetryStatuses, SourceEvent};
///
/// # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
/// let mut source = EventSource::builder("https://example.org/topics/news")
///     .retry_statuses(RetryStatuses::transient())
///     .backoff(Backoff::exponential(30_000))
///     .build()?;
/// while let Some(event) = source.next().await {
///     if let SourceEvent::Message(message) = event? {
///         println!("{} (resume after {})", message.data, message.last_event_id);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a source does nothing until it is polled"]
#[derive(Debug)]
pub struct EventSource {
    machine: Machine,
    transport: Transport,
    requests: Requests,
    wire: Wire,
    /// What was read and not yet decoded.
    chunk: Bytes,
    /// Set for some moment not later than the machine's timeout.
    timer: Option<Pin<Box<Sleep>>>,
    reconnect_asked: bool,
    keeper: Option<Keeper>,
    /// What is told last, when all before it is kept.
    ending: Option<Result<SourceEvent, SourceError>>,
}

enum Wire {
    Down,
    /// The caller makes his part of this attempt.
    Preparing(Preparing, Attempt),
    Requesting(Answering),
    Streaming(AnswerBody),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::Preparing(..) => "Preparing",
            Self::Requesting(_) => "Requesting",
            Self::Streaming(_) => "Streaming",
        })
    }
}

impl EventSource {
    /// Begins the settings of a source.
    pub fn builder(url: &str) -> EventSourceBuilder {
        EventSourceBuilder::new(url)
    }

    pub(crate) fn new(
        machine: Machine,
        transport: Transport,
        requests: Requests,
        keeper: Option<Keeper>,
    ) -> Self {
        Self {
            machine,
            transport,
            requests,
            wire: Wire::Down,
            chunk: Bytes::new(),
            timer: None,
            reconnect_asked: false,
            keeper,
            ending: None,
        }
    }

    /// The id of the event or id told last: what to keep, and where the next connection resumes.
    #[must_use]
    pub fn last_event_id(&self) -> &EventId {
        self.machine.last_event_id()
    }

    /// What a page would see as `readyState`.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.machine.ready_state()
    }

    /// How many events were left out because their ids had been told: see
    /// [`EventSourceBuilder::deduplicate`](crate::EventSourceBuilder::deduplicate).
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.machine.duplicates()
    }

    /// All up to `id` is done with: it is saved when the interval allows. For sources with
    /// [`store_by_hand`](crate::EventSourceBuilder::store_by_hand); without a store it does nothing.
    pub fn done(&mut self, id: &EventId) {
        if let Some(keeper) = &mut self.keeper {
            keeper.done(id.clone());
        }
    }

    /// Saves the last id now, for an orderly end of the process. What was told counts as done with, unless that is
    /// said by hand.
    ///
    /// # Errors
    /// The store's own. The id is tried again with the next poll.
    pub async fn flush_store(&mut self) -> io::Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        keeper.done_with_told();
        poll_fn(|cx| keeper.poll_flush(cx)).await
    }

    /// Closes the source for good. Nothing is told any more, but a store that fails.
    pub fn close(&mut self) {
        self.machine.close();
        self.ending = None;
        self.hang_up();
    }

    /// Drops the connection, or the wait for one, and connects at once: with the next poll. What was read and
    /// not yet told comes again, if the server resumes.
    pub fn reconnect_now(&mut self) {
        self.reconnect_asked = true;
    }

    fn hang_up(&mut self) {
        self.wire = Wire::Down;
        self.chunk = Bytes::new();
    }

    /// Does what the machine asks for; gives what is to be told.
    fn act(&mut self, action: Action) -> Option<Result<SourceEvent, SourceError>> {
        match action {
            Action::Tell(event) => {
                if let Some(keeper) = &mut self.keeper {
                    match &event {
                        SourceEvent::Message(message) => keeper.tell(&message.last_event_id),
                        SourceEvent::Id(id) => keeper.tell(id),
                        _ => {}
                    }
                }
                Some(Ok(event))
            }
            Action::Connect(attempt) => {
                self.hang_up();
                self.wire = match self.requests.prepare(&attempt, self.machine.last_event_id()) {
                    Some(preparing) => Wire::Preparing(preparing, attempt),
                    None => Wire::Requesting(self.transport.send(self.requests.request(&attempt))),
                };
                None
            }
            Action::Wait { after_ms, cause } => {
                self.hang_up();
                Some(Ok(SourceEvent::Reconnecting { after_ms, cause }))
            }
            Action::Close(error) => {
                self.hang_up();
                self.ending = Some(error.map_or(Ok(SourceEvent::Ended), Err));
                None
            }
        }
    }

    /// What the store does: begins where an earlier life ended, keeps what was done with. Ready with what is to be
    /// told of it.
    fn poll_store(&mut self, cx: &mut Context<'_>) -> Poll<Option<SourceEvent>> {
        let Some(keeper) = &mut self.keeper else { return Poll::Ready(None) };
        // Who closes it does not wait for what will not be used.
        if self.machine.ready_state() != ReadyState::Closed {
            match ready!(keeper.poll_load(cx)) {
                Ok(None) => {}
                Ok(Some(id)) => self.machine.set_last_event_id(id),
                Err(error) => {
                    self.machine.close();
                    self.ending = Some(Err(SourceError::Store(error)));
                }
            }
        }
        keeper.done_with_told();
        let failed = |error| Some(SourceEvent::NotStored { error });
        if self.machine.ready_state() != ReadyState::Closed {
            return match keeper.poll_save(cx) {
                Poll::Ready(error) => Poll::Ready(failed(error)),
                Poll::Pending => Poll::Ready(None),
            };
        }
        // The end is not told before what came before it is kept.
        Poll::Ready(ready!(keeper.poll_flush(cx)).err().and_then(|error| {
            keeper.give_up();
            failed(error)
        }))
    }

    /// What the connection does next, told to the machine. Pending also if there is none.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Option<Action>> {
        Poll::Ready(match &mut self.wire {
            Wire::Down => return Poll::Pending,
            Wire::Preparing(preparing, attempt) => {
                let made = ready!(preparing.poll(cx));
                let attempt = attempt.clone();
                match self.prepared(made, attempt) {
                    Ok(attempt) => {
                        self.wire = Wire::Requesting(self.transport.send(self.requests.request(&attempt)));
                        None
                    }
                    Err(error) => {
                        self.wire = Wire::Down;
                        self.machine.handle_error(now(), error)
                    }
                }
            }
            Wire::Requesting(answer) => match ready!(answer.as_mut().poll(cx)) {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    self.wire = Wire::Streaming(body);
                    self.machine.handle_response(now(), head.status, head.headers)
                }
                Err(error) => {
                    self.wire = Wire::Down;
                    self.machine.handle_error(now(), error)
                }
            },
            Wire::Streaming(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are of no use here.
                    self.chunk = frame.into_data().unwrap_or_default();
                    None
                }
                Some(Err(error)) => {
                    self.wire = Wire::Down;
                    self.machine.handle_error(now(), error)
                }
                None => {
                    self.wire = Wire::Down;
                    self.machine.handle_end(now())
                }
            },
        })
    }

    /// The attempt with what the caller made for it.
    fn prepared(&mut self, made: Made<Fresh>, attempt: Attempt) -> Result<Attempt, NetworkError> {
        let fresh = made.map_err(NetworkError::connecting)?;
        let fresh = fresh.check().map_err(NetworkError::connecting)?;
        let attempt = match &fresh.url {
            None => attempt,
            Some(url) => self.machine.retarget(url).map_err(NetworkError::connecting)?.unwrap_or(attempt),
        };
        self.requests.set_fresh(fresh);
        Ok(attempt)
    }

    /// Ready when the machine's time has come, with what it wants then.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Action>> {
        loop {
            let Some(due) = self.machine.poll_timeout() else { return Poll::Pending };
            let due = tokio::time::Instant::from_std(due);
            if due <= tokio::time::Instant::now() {
                self.timer = None;
                return Poll::Ready(self.machine.handle_timeout(now()));
            }
            // A stall's deadline moves with every byte: the timer is not moved along, but looks again when it
            // fires. Only one that would fire too late is set anew.
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
    }
}

impl Stream for EventSource {
    type Item = Result<SourceEvent, SourceError>;

    // Promise: tells in the order of the wire, and reads no further chunk before the last one is used up.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut read_bytes = 0;
        loop {
            if read_bytes >= POLL_BYTES_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(told) = ready!(this.poll_store(cx)) {
                return Poll::Ready(Some(Ok(told)));
            }
            if this.machine.ready_state() == ReadyState::Closed {
                return Poll::Ready(this.ending.take());
            }
            let action = if mem::take(&mut this.reconnect_asked) {
                this.machine.reconnect_now(now())
            } else if this.chunk.is_empty() {
                // The wire first: bytes that lay there while nobody polled are no stall.
                match this.poll_wire(cx) {
                    Poll::Ready(action) => {
                        read_bytes += FRAME_BYTES;
                        action
                    }
                    Poll::Pending => ready!(this.poll_timer(cx)),
                }
            } else {
                let mut input: &[u8] = &this.chunk;
                let action = this.machine.handle_bytes(now(), &mut input);
                let used = this.chunk.len() - input.len();
                this.chunk.advance(used);
                read_bytes += used;
                action
            };
            if let Some(told) = action.and_then(|action| this.act(action)) {
                return Poll::Ready(Some(told));
            }
        }
    }
}

/// Tokio's clock, so that a test that stops it stops this too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
