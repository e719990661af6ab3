//! A reader: a feed event by event, for answers that are not a stream (JSON history, long polling).

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidings_codec::{EventId, EventName};

use crate::feed::{Feed, FeedError, STEPS_MAX, Step, Taken, View, Visit};
use crate::frame::{self, FrameParts};
use crate::ids::WireId;
use crate::ports::LogError;
use crate::position::{Position, Seq};
use crate::record::Topics;
use crate::resume::{Gap, Resume};

/// History and what comes, event by event.
pub struct Reader {
    feed: Feed,
    resume: Resume,
    gap: Option<Gap>,
    /// Where the stream stands that has no event yet; see [`ReadPage::position`].
    position: Position,
    take: Take,
}

/// Events that are there now.
#[derive(Clone, Debug)]
pub struct ReadPage {
    /// In order.
    pub events: Vec<ReadEvent>,
    /// Reading goes on after this.
    pub position: Position,
    /// Something may be missing before the first of these events.
    pub gap: Option<Gap>,
    /// Nothing more is there now.
    pub caught_up: bool,
    /// All topics are closed and everything was delivered.
    pub ended: bool,
}

/// An event as an `EventSource` would see it, and what it would not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEvent {
    /// Where it stands.
    pub position: Position,
    /// The publisher's id.
    pub id: Option<EventId>,
    /// Its topics, the canonical one first.
    pub topics: Topics,
    /// Its type.
    pub event: Option<EventName>,
    /// A reconnection time, in milliseconds.
    pub retry_ms: Option<u64>,
    /// Only for grants that name one of its topics.
    pub private: bool,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// The data as SSE carries it: line ends are LF, base64 if `binary`.
    pub data: Bytes,
    /// The topic is binary.
    pub binary: bool,
}

impl ReadEvent {
    /// The id on the wire: the position, or `position~publisher-id`.
    pub fn wire_id(&self) -> String {
        WireId { position: self.position, publisher: self.id.as_ref() }.to_string()
    }
}

impl Reader {
    pub(crate) fn new(feed: Feed, resume: Resume, gap: Option<Gap>, lasts_after: Option<Position>) -> Self {
        let position = lasts_after.unwrap_or_else(|| feed.through());
        Self { feed, resume, gap, position, take: Take::default() }
    }

    /// How the beginning was found.
    pub fn resume(&self) -> Resume {
        self.resume
    }

    /// Up to `limit` events and about `bytes_max` bytes of frames that are there now; none when nothing is.
    ///
    /// # Errors
    /// [`LogError`] if old history could not be read.
    pub async fn page(&mut self, limit: usize, bytes_max: usize) -> Result<ReadPage, LogError> {
        // What was taken for a page that nobody waited for any more belongs to this one.
        self.take.left = limit.saturating_sub(self.take.events.len());
        self.take.bytes_left = bytes_max;
        poll_fn(|cx| self.poll_page(cx)).await
    }

    /// Waits until there may be more, or all topics ended, or the hub drains. May be dropped at any time.
    pub async fn changed(&mut self) {
        poll_fn(|cx| {
            let mut nothing = Take { events: Vec::new(), left: 0, bytes_left: 0 };
            if self.gap.is_some() || !self.take.events.is_empty() {
                return Poll::Ready(());
            }
            for _ in 0..STEPS_MAX {
                match self.feed.poll(cx, &mut nothing) {
                    Poll::Ready(Ok(Step::Moved | Step::LastsDone)) => {}
                    Poll::Ready(Ok(Step::Idle { heartbeat })) => {
                        if heartbeat {
                            self.feed.wrote();
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(Step::Gap(gap))) => {
                        self.gap = Some(gap);
                        return Poll::Ready(());
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<ReadPage, LogError>> {
        let (mut caught_up, mut ended) = (false, false);
        let mut later = None;
        let mut steps = 0;
        loop {
            match self.feed.poll(cx, &mut self.take) {
                Poll::Ready(Ok(Step::Moved)) => {
                    steps += 1;
                    if steps == STEPS_MAX {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Ok(Step::LastsDone)) => self.position = self.feed.through(),
                Poll::Ready(Ok(Step::Full)) => break,
                Poll::Ready(Ok(Step::Gap(gap))) => {
                    self.position = self.feed.through();
                    if self.take.events.is_empty() {
                        self.gap = Some(gap);
                    } else {
                        // It lies behind these events: the next page begins with it.
                        later = Some(gap);
                        break;
                    }
                }
                Poll::Ready(Ok(Step::Idle { heartbeat })) => {
                    if heartbeat {
                        self.feed.wrote();
                    }
                    self.position = self.feed.through();
                    caught_up = true;
                    break;
                }
                Poll::Ready(Ok(step @ (Step::Ended | Step::Drained))) => {
                    self.position = self.feed.through();
                    caught_up = true;
                    ended = step == Step::Ended;
                    break;
                }
                Poll::Ready(Err(FeedError::Log(error))) => return Poll::Ready(Err(error)),
                // Nothing is ever half taken here.
                Poll::Ready(Err(FeedError::TrimmedMidFrame)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        let events = std::mem::take(&mut self.take.events);
        if !caught_up && let Some(last) = events.last() {
            self.position = last.position;
        }
        let gap = std::mem::replace(&mut self.gap, later);
        self.feed.hub().counters.read(events.len());
        Poll::Ready(Ok(ReadPage { events, position: self.position, gap, caught_up, ended }))
    }
}

/// Events being taken.
#[derive(Default)]
struct Take {
    events: Vec<ReadEvent>,
    left: usize,
    bytes_left: usize,
}

impl Visit for Take {
    fn event(&mut self, view: &View<'_>) -> Taken {
        let fits = view.frame.len() <= self.bytes_left || (self.events.is_empty() && self.bytes_left > 0);
        if self.left == 0 || !fits {
            return Taken::NotYet;
        }
        self.left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(view.frame.len());
        let FrameParts { id, event, retry_ms, data } = frame::parts(view.frame);
        self.events.push(ReadEvent {
            position: view.position,
            id,
            topics: view.topics.clone(),
            event,
            retry_ms,
            private: view.private,
            time_ms: view.time_ms,
            data: data.into(),
            binary: view.binary,
        });
        Taken::Whole
    }

    fn unfinished(&self) -> Option<Seq> {
        None
    }

    fn holds(&self) -> bool {
        false
    }
}
