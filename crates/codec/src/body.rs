//! HTTP bodies of events, in and out. Feature `http-body`.
//! **Invariant:** what is sent holds whole blocks; everything that is ready goes out in one frame.

use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_core::{Stream, TryStream};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::{Decoder, Event, EventStream, ItemStream, encode};

/// A frame is sent when it has so many bytes, however many events are still ready.
const FRAME_BYTES: usize = 16 * 1024;

pin_project! {
    /// The data of a body as a stream of chunks. Trailers are left out.
    #[derive(Debug)]
    pub struct BodyChunks<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body> Stream for BodyChunks<B> {
    type Item = Result<Bytes, B::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.project().body;
        loop {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data.copy_to_bytes(data.remaining()))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<B: Body> EventStream<BodyChunks<B>> {
    /// The events of a body, such as that of a response.
    ///
    /// ```
    /// # futures_executor::block_on(async {
    /// use futures_util::TryStreamExt as _;
    /// use http_body_util::Full;
    /// use tidings_codec::EventStream;
    ///
    /// let body = Full::new(bytes::Bytes::from("data: a\n\ndata: b\n\n"));
    /// let events: Vec<_> = EventStream::of_body(body).try_collect().await?;
    /// assert_eq!(events[1].data, "b");
    /// # Ok::<(), tidings_codec::StreamError<std::convert::Infallible>>(())
    /// # }).unwrap();
    /// ```
    pub fn of_body(body: B) -> Self {
        Self::new(BodyChunks { body })
    }
}

impl<B: Body> ItemStream<BodyChunks<B>> {
    /// The items of a body, read by a decoder of the caller's.
    pub fn of_body(body: B, decoder: Decoder) -> Self {
        Self::with_decoder(BodyChunks { body }, decoder)
    }
}

pin_project! {
    /// A stream of events as a body: what a handler answers with, under `Content-Type: text/event-stream`.
    ///
    /// Sends what is ready, never waiting for more, and keeps no connection alive by itself: for that, mix
    /// [comments](EventBody::with_comment) or empty events into the stream, or let the server do it.
    ///
    /// ```
    /// # futures_executor::block_on(async {
    /// use futures_util::stream;
    /// use http_body_util::BodyExt as _;
    /// use tidings_codec::{Event, EventBody};
    ///
    /// let events = stream::iter(["a", "b"].map(|data| Ok::<_, std::io::Error>(Event::new(data))));
    /// let body = EventBody::new(events).collect().await?.to_bytes();
    /// assert_eq!(body, "data: a\n\ndata: b\n\n");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    #[derive(Debug)]
    pub struct EventBody<S: TryStream> {
        #[pin]
        events: S,
        // Told after what came before it.
        failed: Option<S::Error>,
        first: Vec<u8>,
        is_over: bool,
    }
}

impl<S: TryStream<Ok = Event>> EventBody<S> {
    /// A body of these events. An error ends it, and with it the connection.
    pub fn new(events: S) -> Self {
        Self { events, failed: None, first: Vec::new(), is_over: false }
    }

    /// The same body beginning with a comment, which makes proxies and readers see that the stream is open
    /// before there is an event.
    #[must_use]
    pub fn with_comment(mut self, text: &str) -> Self {
        crate::encode_comment(text, &mut self.first);
        self
    }
}

impl<S: TryStream<Ok = Event>> Body for EventBody<S> {
    type Data = Bytes;
    type Error = S::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, S::Error>>> {
        let mut this = self.project();
        let mut out = core::mem::take(this.first);
        while !*this.is_over && out.len() < FRAME_BYTES {
            match this.events.as_mut().try_poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => encode(&event, &mut out),
                Poll::Ready(Some(Err(error))) => (*this.failed, *this.is_over) = (Some(error), true),
                Poll::Ready(None) => *this.is_over = true,
                Poll::Pending if out.is_empty() => return Poll::Pending,
                // The stream will wake whoever asks next, which is who gets this frame.
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        Poll::Ready(this.failed.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.failed.is_none() && self.first.is_empty()
    }
}

#[cfg(test)]
mod tests;
