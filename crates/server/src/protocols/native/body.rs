//! Bodies: read as they arrive, or whole up to a limit.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::SemaphorePermit;

use crate::app::App;
use crate::front::body::{Payload, Silence};
use crate::problem::{self, Problem};

/// The longest silence within a body that is taken whole: it holds memory and can be sent in one go.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is set aside for a body at once, whatever length it announces.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// The next bytes of a body; `None` at its end. Cancel-safe.
///
/// # Errors
/// `body-broken` if it broke off, `body-timeout` if its sender was silent for too long.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            Some(Err(error)) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(silence) = error.downcast_ref::<Silence>() {
            return Problem::new(&problem::BODY_TIMEOUT, format!("{silence}; send it without such pauses"));
        }
        cause = error.source();
    }
    Problem::new(&problem::BODY_BROKEN, "the body broke off; send the rest of it, or all of it again")
}

/// A whole body.
///
/// # Errors
/// What `too_large` makes of the limit, before more than that is held; else as [`next`].
pub(super) async fn whole(
    app: &App,
    payload: Payload,
    limit_bytes: usize,
    too_large: impl Fn(usize) -> Problem,
) -> Result<Bytes, Problem> {
    match payload {
        Payload::Whole(bytes) => copy(app, &bytes, limit_bytes, too_large),
        // On its own, so that who has all of it keeps no room for the wait.
        Payload::Flow(body) => Box::pin(collect(app, body, limit_bytes, too_large)).await,
    }
}

/// A body that is there already. A copy: it is a part of something larger, and an event may live long in memory.
///
/// # Errors
/// As [`whole`].
pub(super) fn copy(
    app: &App,
    bytes: &[u8],
    limit_bytes: usize,
    too_large: impl Fn(usize) -> Problem,
) -> Result<Bytes, Problem> {
    if bytes.len() > limit_bytes {
        return Err(too_large(limit_bytes));
    }
    let _room = room(app, bytes.len())?;
    Ok(Bytes::copy_from_slice(bytes))
}

async fn collect(
    app: &App,
    mut body: Body,
    limit_bytes: usize,
    too_large: impl Fn(usize) -> Problem,
) -> Result<Bytes, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit_bytes {
        // Before it is read: a client that waits for "100 Continue" need not send it.
        return Err(too_large(limit_bytes));
    }
    let mut held = BytesMut::with_capacity(announced.min(RESERVE_BYTES_MAX));
    // What all bodies hold together is bounded too, and nobody keeps his part by saying nothing.
    let mut taken: Option<SemaphorePermit<'_>> = None;
    while let Some(data) = tokio::time::timeout(SILENCE_MAX, next(&mut body)).await.map_err(silent)?? {
        if data.len() > limit_bytes - held.len() {
            return Err(too_large(limit_bytes));
        }
        let more = room(app, data.len())?;
        match &mut taken {
            Some(taken) => taken.merge(more),
            None => taken = Some(more),
        }
        held.extend_from_slice(&data);
    }
    // An exact copy if it grew: an event may live long in memory.
    Ok(if held.capacity() > held.len() { Bytes::copy_from_slice(&held) } else { held.freeze() })
}

fn silent(_: tokio::time::error::Elapsed) -> Problem {
    let seconds = SILENCE_MAX.as_secs();
    let detail = format!(
        "nothing of the body came for {seconds} s; send it without such pauses, or as a stream of events"
    );
    Problem::new(&problem::BODY_TIMEOUT, detail)
}

/// Room for so many more bytes of a body.
fn room(app: &App, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
    let room = u32::try_from(bytes).ok().and_then(|bytes| app.body_room.try_acquire_many(bytes).ok());
    room.ok_or_else(|| {
        let detail = "too many bodies are being received at once; send it again";
        Problem::new(&problem::BUSY, detail).retry_after(1)
    })
}

/// The body is over the limit of bodies that are taken whole.
pub(super) fn too_large(limit_bytes: usize) -> Problem {
    let detail = format!("the body may have at most {limit_bytes} bytes; send less at once");
    Problem::new(&problem::BODY_TOO_LARGE, detail).with("limit_bytes", limit_bytes)
}
