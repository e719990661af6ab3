//! The driver against a server that says byte for byte what a test tells it to, over loopback.

mod fresh;
mod hostile;
mod platform;
mod publishing;
mod reconnect;
mod requests;
mod server;
mod store;
mod tls;
mod transport;

use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_client::{Disconnect, EventSource, EventSourceBuilder, SourceEvent};

/// A source at `server` that reconnects fast.
fn source(server: &server::Server) -> EventSourceBuilder {
    EventSource::builder(&server.url("/stream")).retry_ms(5)
}

/// What happens next, as a line of text. Ten seconds without anything is a failure, not a hang.
async fn told(source: &mut EventSource) -> String {
    let next = tokio::time::timeout(Duration::from_secs(10), source.next()).await;
    match next.expect("something happens within ten seconds") {
        None => "none".into(),
        Some(Err(error)) => format!("error: {error}"),
        Some(Ok(SourceEvent::Open { status, .. })) => format!("open {}", status.as_u16()),
        Some(Ok(SourceEvent::Message(message))) => {
            format!("{} {:?} after {:?}", message.event, message.data, message.last_event_id.as_str())
        }
        Some(Ok(SourceEvent::Id(id))) => format!("id {:?}", id.as_str()),
        Some(Ok(SourceEvent::Comment(text))) => format!("comment {text:?}"),
        Some(Ok(SourceEvent::Reconnecting { after_ms, cause: Disconnect::Network(error) })) => {
            let when = if error.is_connecting() { "connecting" } else { "connected" };
            format!("lost while {when}, again in {after_ms}")
        }
        Some(Ok(SourceEvent::Reconnecting { after_ms, cause })) => {
            format!("lost: {cause}, again in {after_ms}")
        }
        Some(Ok(SourceEvent::Ended)) => "ended".into(),
        Some(Ok(other)) => format!("{other:?}"),
    }
}

/// The next lines are exactly these.
#[track_caller]
fn tells<'a>(source: &'a mut EventSource, expected: &'a [&str]) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        for (at, line) in expected.iter().enumerate() {
            assert_eq!(told(source).await, *line, "line {at} from {caller}");
        }
    }
}
