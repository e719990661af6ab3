//! What goes into a frame, and how a body ends.

use std::boxed::Box;
use std::{io, vec};

use futures_executor::block_on;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;

use super::*;

/// The frames of a body of these steps; `None` is a moment in which nothing is ready.
fn frames(steps: Vec<Option<Result<&str, io::ErrorKind>>>) -> Vec<Result<Bytes, io::ErrorKind>> {
    let mut steps = steps.into_iter();
    let events = stream::poll_fn(move |cx| match steps.next() {
        Some(Some(step)) => Poll::Ready(Some(step.map(Event::new))),
        Some(None) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => Poll::Ready(None),
    });
    let mut body = Box::pin(EventBody::new(events).with_comment(""));
    let mut seen = Vec::new();
    while let Some(frame) = block_on(body.frame()) {
        seen.push(frame.map(|frame| frame.into_data().unwrap()));
    }
    assert!(body.is_end_stream());
    seen
}

#[test]
fn what_is_ready_goes_out_in_one_frame() {
    assert_eq!(
        frames(vec![None, Some(Ok("a")), Some(Ok("b")), None, None, Some(Ok("c"))]),
        [":\n", "data: a\n\ndata: b\n\n", "data: c\n\n"].map(|frame| Ok(frame.into()))
    );
    let long = "x".repeat(FRAME_BYTES);
    let lengths: Vec<_> =
        frames(vec![Some(Ok(&long)), Some(Ok("a"))]).into_iter().map(|frame| frame.unwrap().len()).collect();
    assert_eq!(lengths, [2 + 6 + FRAME_BYTES + 2, 9]);
}

#[test]
fn an_error_comes_after_what_was_before_it() {
    assert_eq!(
        frames(vec![Some(Ok("a")), Some(Err(io::ErrorKind::Other))]),
        [Ok(":\ndata: a\n\n".into()), Err(io::ErrorKind::Other)]
    );
}

#[test]
fn trailers_are_left_out() {
    let frames = [
        Frame::data(Bytes::from("data: a\n")),
        Frame::trailers(http::HeaderMap::new()),
        Frame::data(Bytes::from("\n")),
    ];
    let body = http_body_util::StreamBody::new(stream::iter(frames.map(Ok::<_, io::Error>)));
    let seen: Vec<_> = block_on(EventStream::of_body(body).map(|event| event.unwrap().data).collect());
    assert_eq!(seen, ["a"]);
}
