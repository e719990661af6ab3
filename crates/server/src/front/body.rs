//! A request's body: there already, or on its way in, and then given up when its sender is silent for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// What came with a request.
#[derive(Debug)]
pub enum Payload {
    /// All of it.
    Whole(Bytes),
    /// What comes.
    Flow(Body),
}

impl Payload {
    /// How many bytes it has, as far as that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Flow(body) => body.size_hint().exact(),
        }
    }

    /// As a body that flows.
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Whole(bytes) => Body::from(bytes),
            Self::Flow(body) => body,
        }
    }
}

/// The sender said nothing for so long.
#[derive(Debug)]
pub(crate) struct Silence(Duration);

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing of the body came for {} ms", self.0.as_millis())
    }
}

impl std::error::Error for Silence {}

/// Limits the silence between two parts of a body; `None`: not at all.
pub(crate) fn limit_silence(body: Body, idle: Option<Duration>) -> Body {
    match idle {
        Some(idle) if !body.is_end_stream() => {
            Body::new(Limited { body, idle, waiting: false, silence: Box::pin(tokio::time::sleep(idle)) })
        }
        _ => body,
    }
}

struct Limited {
    body: Body,
    idle: Duration,
    /// Whether whoever reads waits for the sender. While it is busy itself, the sender is not to blame.
    waiting: bool,
    silence: Pin<Box<Sleep>>,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !this.waiting {
            this.waiting = true;
            this.silence.as_mut().reset(Instant::now() + this.idle);
        }
        this.silence.as_mut().poll(cx).map(|()| Some(Err(Silence(this.idle).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_silence_ends_a_body() {
        let slow = stream::unfold(0u64, |n| async move {
            tokio::time::sleep(Duration::from_secs(if n < 5 { 9 } else { 11 })).await;
            Some((Ok::<_, std::io::Error>(Bytes::from("x")), n + 1))
        });
        let mut body = limit_silence(Body::from_stream(slow), Some(Duration::from_secs(10)));
        for _ in 0..5 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("10000 ms"), "{error}");
    }
}
