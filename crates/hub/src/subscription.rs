//! A subscription: a feed as SSE bytes, for any HTTP stack that takes a body.
//!
//! **Invariant:** bytes of its own (head, gap, heartbeat, end) never stand inside a frame.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::feed::{Feed, FeedError, STEPS_MAX, Step, Taken, View, Visit};
use crate::filter::Filter;
use crate::frame;
use crate::hub::Inner;
use crate::position::{Position, Seq};
use crate::resume::{Gap, Resume};
use crate::shard::SubscriberKey;

/// How a block that only moves the reader's cursor is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CursorBlock {
    /// `id: X` and a blank line: dispatches nothing and commits the id, as the standard says (Chromium, WebKit).
    #[default]
    IdOnly,
    /// `event: tidings.cursor` with an empty data line, which no page listens to (Gecko).
    Event,
}

/// A stream of SSE bytes. It is an [`http_body::Body`] (feature `http-body`) and a [`futures_core::Stream`].
///
/// A chunk is at most [`chunk_bytes`](crate::Limits::chunk_bytes) long; nothing is produced that nobody asked for.
pub struct Subscription {
    feed: Feed,
    resume: Resume,
    begin: Position,
    cursor_block: CursorBlock,
    /// Bytes of its own that are not yet written: head, gap, heartbeat, end.
    own: Vec<u8>,
    /// The frame of which a part went out, and how many bytes of it.
    partial: Option<(Seq, usize)>,
    chunk_bytes: usize,
    state: State,
}

/// What can be asked of a [`Subscription`] that an HTTP library has. Means nothing once that one is gone: another may have
/// its place.
#[derive(Clone)]
pub struct Probe {
    pub(crate) hub: Arc<Inner>,
    pub(crate) shard: usize,
    pub(crate) key: SubscriberKey,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({}.{})", self.shard, self.key)
    }
}

impl Probe {
    /// How many places it is behind; 0 for one that lacks nothing.
    pub fn lag(&self) -> u64 {
        self.hub.shards.get(self.shard).map_or(0, |shard| shard.lock().lag_of(self.key))
    }

    /// As [`Subscription::is_slow`].
    pub fn is_slow(&self) -> bool {
        self.hub.shards.get(self.shard).is_some_and(|shard| shard.lock().is_slow(self.key))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Ends when `own` is written.
    Ending,
    Over,
}

/// A stream that cannot go on: the event that was half written is gone, or the store cannot be read. The
/// connection ends without a proper end, and the client comes back with its last id.
#[derive(Debug)]
pub struct StreamError(Box<str>);

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StreamError {}

impl From<FeedError> for StreamError {
    fn from(error: FeedError) -> Self {
        Self(match error {
            FeedError::Log(error) => error.to_string().into(),
            FeedError::TrimmedMidFrame => "an event was removed while it was being written".into(),
        })
    }
}

impl Subscription {
    pub(crate) fn new(
        feed: Feed,
        resume: Resume,
        gap: Option<&Gap>,
        lasts_after: Option<Position>,
        cursor_block: CursorBlock,
    ) -> Self {
        let chunk_bytes = feed.hub().limits.chunk_bytes.max(1);
        let retry_ms = feed.hub().retry_ms();
        let mut own = Vec::new();
        frame::retry_block(retry_ms, &mut own);
        let begin = lasts_after.unwrap_or_else(|| feed.through());
        match gap {
            Some(gap) => tell(gap, begin, &mut own),
            // Also one that receives nothing resumes from here.
            None => frame::cursor_block(begin, cursor_block == CursorBlock::Event, &mut own),
        }
        Self { feed, resume, begin, cursor_block, own, partial: None, chunk_bytes, state: State::Open }
    }

    /// One that goes on where somebody else stopped: it has no beginning to tell. `partial` is the frame of which a
    /// part went out, and how much of it.
    pub(crate) fn going_on(
        mut feed: Feed,
        begin: Position,
        cursor_block: CursorBlock,
        partial: Option<(Seq, usize)>,
    ) -> Self {
        let chunk_bytes = feed.hub().limits.chunk_bytes.max(1);
        feed.has_been_live();
        let (resume, own, state) = (Resume::Exact, Vec::new(), State::Open);
        Self { feed, resume, begin, cursor_block, own, partial, chunk_bytes, state }
    }

    /// Where its feed stands, if it has nothing left to say that only it knows.
    pub(crate) fn quiet_feed(&self) -> Option<&Feed> {
        let quiet = self.state == State::Open && self.own.is_empty() && self.partial.is_none();
        (quiet && self.feed.is_plain()).then_some(&self.feed)
    }

    /// How its cursor blocks are written.
    pub(crate) fn cursor_kind(&self) -> CursorBlock {
        self.cursor_block
    }

    #[cfg(test)]
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.feed.scratch_bytes()
    }

    /// Whether it was found further behind than [`Limits`](crate::Limits) allow: it ends when it is polled, and whoever
    /// cannot poll it, because its client takes nothing, cuts the connection.
    pub fn is_slow(&self) -> bool {
        self.feed.is_slow()
    }

    /// What can be asked of it while somebody else has it.
    pub fn probe(&self) -> Probe {
        self.feed.probe()
    }

    /// How the beginning was found.
    pub fn resume(&self) -> Resume {
        self.resume
    }

    /// What it reads.
    pub fn filter(&self) -> &Arc<Filter> {
        self.feed.wish().0
    }

    /// The last place that it has considered, whatever of it was not yet taken.
    pub fn through(&self) -> Seq {
        self.feed.through_seq()
    }

    /// Where it begins: a client that goes on after this misses nothing of it.
    pub fn position(&self) -> Position {
        self.begin
    }

    /// The next bytes; `None` at an orderly end.
    ///
    /// # Errors
    /// [`StreamError`]: end the connection without a proper end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        if self.state == State::Over {
            return Poll::Ready(None);
        }
        let mut chunk = Chunk { out: Vec::new(), room: self.chunk_bytes, partial: self.partial, frames: 0 };
        let mut steps = 0;
        loop {
            if chunk.partial.is_none() && !self.own.is_empty() {
                let bytes = self.own.len().min(chunk.room - chunk.out.len().min(chunk.room));
                chunk.out.extend(self.own.drain(..bytes));
            }
            if self.state == State::Ending || !self.own.is_empty() || chunk.out.len() >= chunk.room {
                break;
            }
            let skipped = std::mem::take(&mut self.feed.skipped);
            if skipped > 0 && chunk.partial.is_none() {
                frame::comment(format_args!("tidings skipped {skipped}"), &mut self.own);
                continue;
            }
            self.feed.skipped += skipped;
            let step = match self.feed.poll(cx, &mut chunk) {
                Poll::Ready(Ok(step)) => step,
                Poll::Ready(Err(error)) => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Pending => break,
            };
            let as_event = self.cursor_block == CursorBlock::Event;
            match step {
                Step::Moved => {
                    steps += 1;
                    if steps == STEPS_MAX {
                        cx.waker().wake_by_ref();
                        break;
                    }
                }
                Step::Full => break,
                Step::Gap(gap) => tell(&gap, self.feed.through(), &mut self.own),
                Step::LastsDone => frame::cursor_block(self.feed.through(), as_event, &mut self.own),
                Step::Idle { heartbeat: true } if chunk.out.is_empty() => {
                    // Keeps the connection alive and the cursor fresh in one.
                    frame::cursor_block(self.feed.through(), as_event, &mut self.own);
                    self.feed.wrote();
                }
                Step::Idle { .. } => break,
                Step::Ended => {
                    // So that the client, when it comes back, is known to have seen all.
                    frame::cursor_block(self.feed.through(), as_event, &mut self.own);
                    self.state = State::Ending;
                }
                Step::Drained => {
                    frame::retry_block(self.feed.hub().reconnect_ms(), &mut self.own);
                    self.state = State::Ending;
                }
            }
        }
        self.partial = chunk.partial;
        if chunk.out.is_empty() {
            if self.state == State::Ending {
                self.state = State::Over;
                return Poll::Ready(None);
            }
            return Poll::Pending;
        }
        self.feed.wrote();
        self.feed.hub().counters.wrote(chunk.frames, chunk.out.len());
        Poll::Ready(Some(Ok(chunk.out.into())))
    }
}

impl futures_core::Stream for Subscription {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_chunk(cx)
    }
}

#[cfg(feature = "http-body")]
impl http_body::Body for Subscription {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, StreamError>>> {
        let chunk = ready!(self.get_mut().poll_chunk(cx));
        Poll::Ready(chunk.map(|chunk| chunk.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Over
    }
}

/// One chunk being filled.
struct Chunk {
    out: Vec<u8>,
    room: usize,
    partial: Option<(Seq, usize)>,
    frames: u64,
}

impl Visit for Chunk {
    fn event(&mut self, view: &View<'_>) -> Taken {
        let begun = match self.partial {
            Some((seq, bytes)) if seq == view.seq => bytes,
            Some(_) => return Taken::NotYet,
            None => 0,
        };
        let rest = view.frame.get(begun..).unwrap_or(&[]);
        let room = self.room.saturating_sub(self.out.len());
        if rest.len() <= room {
            self.out.extend_from_slice(rest);
            self.partial = None;
            self.frames += 1;
            return Taken::Whole;
        }
        // Small events wait for the next chunk; one that no chunk could hold is cut.
        if view.frame.len() > self.room && room > 0 {
            self.out.extend_from_slice(rest.get(..room).unwrap_or(rest));
            self.partial = Some((view.seq, begun + room));
        }
        Taken::NotYet
    }

    fn unfinished(&self) -> Option<Seq> {
        self.partial.map(|(seq, _)| seq)
    }

    fn holds(&self) -> bool {
        !self.out.is_empty()
    }
}

fn tell(gap: &Gap, position: Position, own: &mut Vec<u8>) {
    // A struct of strings: nothing in it can fail to become JSON.
    let json = serde_json::to_string(gap).unwrap_or_default();
    frame::gap_block(position, &json, own);
}
