//! A stream of chunks as a stream of events or items. Feature `stream`. Runs on any executor, and on none.
//! **Invariants:** an error is the last thing told; the block that the end of the stream cuts is not told.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::stream::FusedStream;
use futures_core::{Stream, TryStream};
use pin_project_lite::pin_project;

use crate::{DecodeError, Decoder, EventId, Item, Message};

/// After so many bytes without anything to tell a poll ends, so that a sender that says nothing at length does not keep
/// the task from whatever else it does.
const POLL_BYTES_MAX: usize = 1 << 20;
/// What a chunk counts as beside its bytes: empty ones keep a task too.
const CHUNK_BYTES: usize = 1 << 10;

/// So many items that are no events are skipped in one poll, for the same reason.
const POLL_ITEMS_MAX: usize = 1_000;

/// `.eventsource()` on any stream of byte chunks.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # futures_executor::block_on(async {
/// use futures_util::{TryStreamExt as _, stream};
/// use tidings_codec::Eventsource as _;
///
/// // As it comes from any HTTP client: `response.bytes_stream()` and the like.
/// let chunks = stream::iter([&b"data: he"[..], b"llo\n\ndata: wor", b"ld\n\n"].map(Ok::<_, std::io::Error>));
/// let mut events = chunks.eventsource();
/// while let Some(event) = events.try_next().await? {
///     println!("{}: {}", event.event, event.data);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })
/// # }
/// ```
pub trait Eventsource: TryStream + Sized {
    /// The events of these chunks.
    fn eventsource(self) -> EventStream<Self>;
}

impl<S, B, E> Eventsource for S
where
    S: Stream<Item = Result<B, E>>,
    B: AsRef<[u8]>,
{
    fn eventsource(self) -> EventStream<Self> {
        EventStream::new(self)
    }
}

pin_project! {
    /// The items of a stream of chunks: events, and also ids, reconnection times and, where the decoder was asked
    /// for them, comments.
    ///
    /// ```
    /// # futures_executor::block_on(async {
    /// use futures_util::{StreamExt as _, stream};
    /// use tidings_codec::{Decoder, Item, ItemStream};
    ///
    /// let chunks = stream::iter([Ok::<_, std::io::Error>("retry: 500\n: still here\n")]);
    /// let items = ItemStream::with_decoder(chunks, Decoder::new().with_comments(true));
    /// let items: Vec<_> = items.map(Result::unwrap).collect().await;
    /// assert_eq!(items, [Item::Retry(500), Item::Comment(" still here".into())]);
    /// # });
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct ItemStream<S: TryStream> {
        #[pin]
        chunks: S,
        decoder: Decoder,
        chunk: Option<S::Ok>,
        // How much of the chunk was read.
        read_bytes: usize,
        is_over: bool,
    }
}

impl<S: TryStream> ItemStream<S> {
    /// The items of these chunks, read with the default limits and from no last event id.
    pub fn new(chunks: S) -> Self {
        Self::with_decoder(chunks, Decoder::new())
    }

    /// The same with a decoder of the caller's: its limits, its last event id, comments.
    pub fn with_decoder(chunks: S, decoder: Decoder) -> Self {
        Self { chunks, decoder, chunk: None, read_bytes: 0, is_over: false }
    }

    /// The last id that a blank line committed: what to send as `Last-Event-ID`.
    #[must_use]
    pub fn last_event_id(&self) -> &EventId {
        self.decoder.last_event_id()
    }

    /// The decoder, to go on with when the next connection stands.
    #[must_use]
    pub fn into_decoder(mut self) -> Decoder {
        self.decoder.finish();
        self.decoder
    }
}

impl<S> Stream for ItemStream<S>
where
    S: TryStream,
    S::Ok: AsRef<[u8]>,
{
    type Item = Result<Item, StreamError<S::Error>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut polled_bytes = 0;
        while !*this.is_over {
            if polled_bytes >= POLL_BYTES_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(chunk) = this.chunk.as_ref() {
                let mut rest = chunk.as_ref().get(*this.read_bytes..).unwrap_or_default();
                let before_bytes = rest.len();
                let item = this.decoder.next(&mut rest).map(|item| item.map(|item| item.to_owned()));
                *this.read_bytes += before_bytes - rest.len();
                polled_bytes += CHUNK_BYTES + before_bytes - rest.len();
                match item.transpose() {
                    Some(Err(error)) => {
                        *this.is_over = true;
                        *this.chunk = None;
                        return Poll::Ready(Some(Err(StreamError::Decode(error))));
                    }
                    Some(Ok(item)) => return Poll::Ready(Some(Ok(item))),
                    None => *this.chunk = None,
                }
            }
            match ready!(this.chunks.as_mut().try_poll_next(cx)) {
                Some(Ok(chunk)) => (*this.chunk, *this.read_bytes) = (Some(chunk), 0),
                Some(Err(error)) => {
                    *this.is_over = true;
                    return Poll::Ready(Some(Err(StreamError::Chunks(error))));
                }
                None => *this.is_over = true,
            }
        }
        Poll::Ready(None)
    }
}

impl<S> FusedStream for ItemStream<S>
where
    S: TryStream,
    S::Ok: AsRef<[u8]>,
{
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}

pin_project! {
    /// The events of a stream of chunks, and nothing else: what [`Eventsource::eventsource`] gives.
    #[must_use = "streams do nothing unless polled"]
    pub struct EventStream<S: TryStream> {
        #[pin]
        items: ItemStream<S>,
    }
}

impl<S: TryStream> EventStream<S> {
    /// The events of these chunks, read with the default limits and from no last event id.
    pub fn new(chunks: S) -> Self {
        Self::with_decoder(chunks, Decoder::new())
    }

    /// The same with a decoder of the caller's: its limits, its last event id.
    pub fn with_decoder(chunks: S, decoder: Decoder) -> Self {
        Self { items: ItemStream::with_decoder(chunks, decoder) }
    }

    /// The last id that a blank line committed: what to send as `Last-Event-ID`.
    #[must_use]
    pub fn last_event_id(&self) -> &EventId {
        self.items.last_event_id()
    }

    /// The decoder, to go on with when the next connection stands.
    #[must_use]
    pub fn into_decoder(self) -> Decoder {
        self.items.into_decoder()
    }
}

impl<S> Stream for EventStream<S>
where
    S: TryStream,
    S::Ok: AsRef<[u8]>,
{
    type Item = Result<Message, StreamError<S::Error>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut items = self.project().items;
        for _ in 0..POLL_ITEMS_MAX {
            match ready!(items.as_mut().poll_next(cx)) {
                Some(Ok(Item::Event(message))) => return Poll::Ready(Some(Ok(message))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> FusedStream for EventStream<S>
where
    S: TryStream,
    S::Ok: AsRef<[u8]>,
{
    fn is_terminated(&self) -> bool {
        self.items.is_terminated()
    }
}

/// Why a stream of events ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError<E> {
    /// The chunks could not be had: the connection must be made anew.
    Chunks(E),
    /// What came cannot be read: see [`DecodeError`].
    Decode(DecodeError),
}

impl<E> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chunks(_) => "the event stream broke off",
            Self::Decode(_) => "the event stream cannot be read",
        })
    }
}

impl<E: core::error::Error + 'static> core::error::Error for StreamError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Chunks(error) => Some(error),
            Self::Decode(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests;
