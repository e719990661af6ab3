//! An event stream from one axum service through another: the second one asks the first, with the reader's
//! `Last-Event-ID`, passes on ids, types, data and heartbeats, and mends broken connections behind the reader's back.
//!
//! `cargo run -p tidings-client-examples --bin proxy` starts both; then `curl -N 127.0.0.1:3002/events`. With two
//! arguments, `proxy LISTEN URL`, it stands before a stream of your own.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream, StreamExt as _, stream};
use tidings_client::{Backoff, EventId, EventSource, RetryStatuses, SourceError, SourceEvent};
use tidings_codec::{BlockWriter, encode, encode_comment};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A reader hears within this time whether there is a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// More than twice the origin's heartbeat.
const STALL_MS: u64 = 40_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (listen, url) = match words.as_slice() {
        [] => {
            let origin = TcpListener::bind("127.0.0.1:3001").await?;
            let url = format!("http://{}/numbers", origin.local_addr()?);
            let app = Router::new().route("/numbers", get(numbers));
            tokio::spawn(axum::serve(origin, app).into_future());
            ("127.0.0.1:3002", url)
        }
        [listen, url] => (listen.as_str(), url.clone()),
        _ => return Err("proxy [LISTEN URL]".into()),
    };
    let listener = TcpListener::bind(listen).await?;
    eprintln!("http://{}/events passes on {url}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/events", get(events)).with_state(url)).await?;
    Ok(())
}

/// The proxy. One source a reader: there is nothing to keep, and a reader that goes takes its source along.
async fn events(State(url): State<String>, headers: HeaderMap) -> Response {
    let asked = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let last = asked.and_then(|id| EventId::parse(&id).ok()).unwrap_or_default();
    let source = EventSource::builder(&url)
        .last_event_id(last)
        .comments(true)
        .stall_timeout_ms(STALL_MS)
        .retry_statuses(RetryStatuses::transient())
        .backoff(Backoff::exponential(5_000))
        .build();
    let Ok(mut source) = source else { return StatusCode::BAD_GATEWAY.into_response() };
    // What the origin refuses for good, its readers must hear; what passes, they wait for with us, and then alone.
    let opened = timeout(OPEN_TIMEOUT, async {
        loop {
            match source.next().await {
                Some(Ok(SourceEvent::Reconnecting { .. })) => {}
                told => return told,
            }
        }
    });
    match opened.await {
        Ok(Some(Ok(SourceEvent::Open { .. }))) => stream_of(Body::from_stream(passed_on(source))),
        Ok(Some(Err(SourceError::Status { status }))) => status.into_response(),
        Ok(Some(Ok(SourceEvent::Ended)) | None) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => StatusCode::BAD_GATEWAY.into_response(),
        // An EventSource never comes back after a 5xx; after the end of a stream it does.
        Err(_) => stream_of(Body::from("retry: 5000\n\n")),
    }
}

fn stream_of(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// What the source tells, as the bytes for the reader. Nothing is queued: a slow reader slows the origin.
fn passed_on(source: EventSource) -> impl Stream<Item = Result<Bytes, Infallible>> {
    // The source's end is the reader's: it comes again, and hears why.
    source.take_while(|told| std::future::ready(told.is_ok())).filter_map(async |told| {
        let mut out = Vec::new();
        match told {
            Ok(SourceEvent::Message(message)) => encode(&message.into_event(), &mut out),
            Ok(SourceEvent::Id(id)) => BlockWriter::new(&mut out).id(&id).end(),
            Ok(SourceEvent::Comment(text)) => encode_comment(&text, &mut out),
            _ => return None,
        }
        Some(Ok(out.into()))
    })
}

/// The origin: counts on from wherever its reader was.
async fn numbers(headers: HeaderMap) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let numbers = stream::unfold(last.unwrap_or(0), async |last| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = last.saturating_add(1);
        Some((Ok(Event::default().id(next.to_string()).event("number").data(next.to_string())), next))
    });
    Sse::new(numbers).keep_alive(KeepAlive::default())
}
