//! Every reader behind one face: chunks in, each event seen once.

use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use eventsource_stream::Eventsource as _;
use futures_util::Stream;
use tidings_codec::{Decoder, ItemRef};

/// An event as all of them know it, and its type where it is not `message`.
pub type Seen<'a> = (&'a str, &'a str);

/// Reads a stream and shows each event.
pub type Read = fn(&[&'static [u8]], &mut dyn FnMut(Seen<'_>)) -> usize;

/// A crate, or a way to use it.
pub struct Reader {
    pub name: &'static str,
    pub read: Read,
    pub ours: bool,
}

macro_rules! reader {
    ($name:expr, $ours:expr, $read:ident) => {
        Reader { name: $name, read: |chunks, see| $read(chunks, see), ours: $ours }
    };
}

/// All of them, ours first.
pub fn all() -> Vec<Reader> {
    vec![
        reader!("tidings-codec", true, borrowed),
        reader!("tidings-codec, owned", true, owned),
        reader!("sse-core 0.2.3", false, sse_core),
        reader!("sse-stream 0.3.0", false, sse_stream),
        reader!("sse-parse 0.1.0", false, sse_parse),
        reader!("sseer 0.3.1", false, sseer),
        reader!("eventsource-stream 0.2.3", false, eventsource_stream),
    ]
}

fn borrowed(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    let mut decoder = Decoder::new();
    let mut count = 0;
    for chunk in chunks {
        let mut items = decoder.read(chunk);
        while let Some(item) = items.next().expect("within the limit") {
            if let ItemRef::Event(event) = item {
                count += 1;
                see((event.event, event.data));
            }
        }
    }
    count
}

fn owned(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    let mut decoder = Decoder::new();
    let mut count = 0;
    for chunk in chunks {
        let mut items = decoder.read(chunk);
        while let Some(item) = items.next().expect("within the limit") {
            if let ItemRef::Event(event) = item {
                count += 1;
                let message = black_box(event.to_message());
                see((message.event.as_str(), &message.data));
            }
        }
    }
    count
}

fn sse_core(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    let limit = NonZeroUsize::new(32 * 1024 * 1024).expect("not zero");
    let mut decoder = sse_core::SseDecoder::with_limit(limit);
    let mut count = 0;
    for chunk in chunks {
        let mut chunk = *chunk;
        while let Some(event) = decoder.next(&mut chunk) {
            if let sse_core::SseEvent::Message(event) = event.expect("within the limit") {
                count += 1;
                see((&event.event, &event.data));
            }
        }
    }
    count
}

fn sse_parse(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    let mut parser = sse_parse::SseParser::new();
    let mut count = 0;
    for chunk in chunks {
        parser.feed(chunk);
        while let Some(event) = parser.next_event() {
            count += 1;
            see((&event.event, &event.data));
        }
    }
    count
}

fn sse_stream(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    drain(sse_stream::SseByteStream::new(Chunks::<&'static [u8]>::new(chunks)), |event| {
        let event = event.expect("valid");
        let Some(data) = &event.data else { return false };
        see((event.event.as_deref().unwrap_or("message"), data));
        true
    })
}

fn sseer(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    drain(sseer::EventStream::new(Chunks::<Bytes>::new(chunks)), |event| {
        let event = event.expect("valid");
        see((&event.event, &event.data));
        true
    })
}

fn eventsource_stream(chunks: &[&'static [u8]], see: &mut dyn FnMut(Seen<'_>)) -> usize {
    drain(Chunks::<&'static [u8]>::new(chunks).eventsource(), |event| {
        let event = event.expect("valid");
        see((&event.event, &event.data));
        true
    })
}

/// A stream that always has its next chunk at hand.
struct Chunks<'a, B> {
    chunks: &'a [&'static [u8]],
    kind: std::marker::PhantomData<B>,
}

impl<'a, B> Chunks<'a, B> {
    fn new(chunks: &'a [&'static [u8]]) -> Self {
        Self { chunks, kind: std::marker::PhantomData }
    }
}

impl<B: From<&'static [u8]> + Unpin> Stream for Chunks<'_, B> {
    type Item = Result<B, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.chunks.split_off_first().map(|chunk| Ok((*chunk).into())))
    }
}

/// Polls to the end; counts what `see` says is an event.
fn drain<S: Stream>(stream: S, mut see: impl FnMut(S::Item) -> bool) -> usize {
    let mut stream = pin!(stream);
    let mut context = Context::from_waker(Waker::noop());
    let mut count = 0;
    while let Poll::Ready(Some(item)) = stream.as_mut().poll_next(&mut context) {
        count += usize::from(see(item));
    }
    count
}
