//! What a server may say without end, and what is held meanwhile: a counting allocator around a source whose transport
//! makes its chunks out of nothing. One test, so that nothing else allocates beside it.

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidings_client::{EventSource, EventSourceBuilder, SourceError, SourceEvent};
use tower_service::Service;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// Says the beginning once and the rest as often as it is read.
#[derive(Clone)]
struct Endless {
    beginning: &'static [u8],
    rest: fn(u64) -> Bytes,
}

impl Service<Request<Full<Bytes>>> for Endless {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        let rest = self.rest;
        let chunks = stream::iter(0..).map(rest);
        let all = stream::iter([Bytes::from_static(self.beginning)]).chain(chunks);
        let body = StreamBody::new(all.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync();
        let answer = Response::builder().header("content-type", "text/event-stream");
        ready(Ok(answer.body(body).expect("an answer")))
    }
}

/// A chunk that costs nothing: 64 KiB of one letter.
fn letters(_: u64) -> Bytes {
    static LETTERS: [u8; 64 << 10] = [b'x'; 64 << 10];
    Bytes::from_static(&LETTERS)
}

/// Reads until so many were told or it ends; gives the most that was held above what there was before.
async fn read(
    endless: Endless,
    choose: fn(EventSourceBuilder) -> EventSourceBuilder,
    told_max: usize,
) -> (usize, Option<SourceError>) {
    let before = held_bytes();
    let source = EventSource::builder("http://nowhere.test/").transport(endless).event_bytes_max(MIB);
    let mut source = choose(source).build().expect("a source");
    let mut most = 0;
    let mut told = 0;
    let end = loop {
        let next = source.next().await;
        most = most.max(held_bytes().saturating_sub(before));
        match next {
            Some(Ok(SourceEvent::Open { .. })) => {}
            Some(Ok(_)) => {
                told += 1;
                if told >= told_max {
                    break None;
                }
            }
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    (most, end)
}

fn as_it_is(builder: EventSourceBuilder) -> EventSourceBuilder {
    builder
}

#[tokio::test]
async fn whatever_comes_without_end_what_is_held_has_one() {
    let too_large =
        |end: &Option<SourceError>| matches!(end, Some(SourceError::EventTooLarge { limit_bytes: MIB }));

    // Data, ids and names count against the limit, and a comment that is to be told.
    for beginning in [&b"data: "[..], b"id: ", b"event: ", b"retry: ", b"data: a\ndata: "] {
        let (most, end) = read(Endless { beginning, rest: letters }, as_it_is, 1).await;
        assert!(too_large(&end), "{}: {end:?}", beginning.escape_ascii());
        assert!(most < 4 * MIB, "{}: {most} bytes", beginning.escape_ascii());
    }
    let comment = Endless { beginning: b": ", rest: letters };
    let (most, end) = read(comment, |builder| builder.comments(true), 1).await;
    assert!(too_large(&end) && most < 4 * MIB, "{most} bytes, {end:?}");
    // Many short data lines are one event too.
    let lines = Endless { beginning: b"", rest: |_| Bytes::from_static(b"data: some\ndata\ndata: more\n") };
    let (most, end) = read(lines, as_it_is, 1).await;
    assert!(too_large(&end) && most < 4 * MIB, "{most} bytes, {end:?}");

    // What nobody asked for is not held, however long: an event after 64 MiB of it.
    fn then_an_event(number: u64) -> Bytes {
        if number % 1_025 == 1_024 { Bytes::from_static(b"\ndata: at last\n\n:") } else { letters(number) }
    }
    for beginning in [&b":"[..], b"unknown: ", b"an unknown line "] {
        let (most, end) = read(Endless { beginning, rest: then_an_event }, as_it_is, 3).await;
        assert!(end.is_none(), "{}: {end:?}", beginning.escape_ascii());
        assert!(most < MIB / 4, "{}: {most} bytes", beginning.escape_ascii());
    }

    // A million ids, and ids of half a MiB: what is remembered of them is a number of marks.
    fn deduplicates(builder: EventSourceBuilder) -> EventSourceBuilder {
        builder.deduplicate(NonZeroUsize::new(10_000).expect("10,000"))
    }
    let ids = Endless { beginning: b"", rest: |number| Bytes::from(format!("id: {number}\ndata: x\n\n")) };
    let (most, end) = read(ids, deduplicates, 300_000).await;
    assert!(end.is_none() && most < MIB, "{most} bytes, {end:?}");
    fn long_ids(number: u64) -> Bytes {
        if number.is_multiple_of(9) {
            return Bytes::from(format!("\ndata: x\n\nid: {number}"));
        }
        letters(number)
    }
    let (most, end) = read(Endless { beginning: b"", rest: long_ids }, deduplicates, 300).await;
    assert!(end.is_none() && most < 6 * MIB, "{most} bytes, {end:?}");

    // And a poll comes to an end, so that whoever reads beside something else is heard.
    for rest in [letters, |_| Bytes::new()] {
        let endless = Endless { beginning: b":", rest };
        let source = EventSource::builder("http://nowhere.test/").transport(endless);
        let mut source = source.build().expect("a source");
        assert!(matches!(source.next().await, Some(Ok(SourceEvent::Open { .. }))));
        let mut polls = 0;
        let asked = tokio::time::timeout(Duration::from_millis(50), source.next());
        tokio::select! {
            biased;
            told = asked => assert!(told.is_err(), "nothing is to be told: {told:?}"),
            () = async { loop { polls += 1; tokio::task::yield_now().await } } => {}
        }
        assert!(polls > 1, "nobody else was heard");
    }
}
