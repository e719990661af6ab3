//! One connection, from its first byte to its last: HTTP/1.1 or HTTP/2, as the client likes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::held::Held;
use super::service::Handle;
use super::stream::{Speaks, Stream};
use crate::config::ServerConfig;
use crate::drain::{Drain, Stage};

/// The library's own number of header lines; setting it costs an allocation per request.
const HEADERS_DEFAULT: usize = 100;
/// Bytes of answers that wait in memory for one HTTP/2 stream whose client does not read.
const H2_SEND_BYTES: usize = 32 << 10;
/// Bytes of bodies that one HTTP/2 stream, and one connection, may send ahead of who reads them.
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Limits of a connection; see [`ServerConfig`].
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) handshake: Duration,
    head: Duration,
    head_bytes: usize,
    headers: usize,
    h2_streams: u32,
    h2_ping: Duration,
}

impl Limits {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self {
            handshake: Duration::from_millis(config.handshake_ms),
            head: Duration::from_millis(config.head_ms),
            // Below that the library refuses to work.
            head_bytes: config.head_bytes_max.max(8_192),
            headers: config.headers_max,
            h2_streams: config.h2_streams_max,
            h2_ping: Duration::from_millis(config.h2_ping_ms.max(1)),
        }
    }
}

/// Serves a connection, of which `read` was read before, until it ends, or the shutdown asks it to (after the requests under way).
// Promise: holds nothing of anybody else; whatever this client does or omits, only this task waits.
pub(crate) async fn serve<T, H>(
    io: T,
    read: Vec<u8>,
    handler: H,
    limits: &Limits,
    drain: &Drain,
    held: &Arc<Held>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handle,
{
    let opened = tokio::select! {
        opened = Stream::open(io, read, limits.handshake) => opened,
        // It has asked for nothing yet.
        () = drain.stopping() => return,
    };
    let ended = match opened {
        Ok((stream, Speaks::Http1)) => http1(stream, handler, limits, drain, held).await,
        Ok((stream, Speaks::Http2)) => http2(stream, handler, limits, drain, held).await,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Err(error) => {
            debug!(%error, "connection ended before it asked for anything");
            return;
        }
    };
    if let Err(error) = ended {
        // Its message names what was malformed, never the bytes.
        debug!(%error, "connection ended");
    }
}

async fn http1<T, H>(
    stream: Stream<T>,
    handler: H,
    limits: &Limits,
    drain: &Drain,
    held: &Arc<Held>,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handle,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.head_bytes);
    if limits.headers != HEADERS_DEFAULT {
        builder.max_headers(limits.headers);
    }
    let service = service_fn(|request| answer(&handler, request, held));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.stopping() => connection.as_mut().graceful_shutdown(),
        () = held.is_cut() => return Ok(()),
    }
    tokio::select! {
        ended = connection => ended,
        () = drain.reached(Stage::Ended) => Ok(()),
    }
}

async fn http2<T, H>(
    stream: Stream<T>,
    handler: H,
    limits: &Limits,
    drain: &Drain,
    held: &Arc<Held>,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handle,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.h2_ping)
        .keep_alive_timeout(limits.h2_ping)
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BYTES);
    // Each stream is a task of its own.
    let handler = Arc::new((handler, Arc::clone(held)));
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { answer(&handler.0, request, &handler.1).await }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.stopping() => connection.as_mut().graceful_shutdown(),
        () = held.is_cut() => return Ok(()),
    }
    tokio::select! {
        ended = connection => ended,
        () = drain.reached(Stage::Ended) => Ok(()),
    }
}

async fn answer<H: Handle>(
    handler: &H,
    request: Request<Incoming>,
    held: &Arc<Held>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Arc::clone(held));
    Ok(handler.handle(request).await)
}
