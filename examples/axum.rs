//! A hub inside an axum service: events are published by the program itself, kept in a log, and a page that comes
//! back goes on where it was.
//!
//! `cargo run -p tidings-examples --bin axum`, then open the address that it prints, and in another terminal
//! `curl -N 127.0.0.1:3000/orders`. Stop it, start it again: nobody misses an order.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tidings_hub::ports::Publish;
use tidings_hub::{
    EventName, Filter, From, Hub, Limits, ResumePoint, Selectors, Subscribe, SubscribeError, SystemClock,
    TopicName, Topics,
};
use tidings_log::{EmbeddedLog, LogConfig};

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Orders</title>
<h1>Orders</h1><ul id="orders"></ul>
<script>
  new EventSource('/orders').addEventListener('order', (e) => {
    const item = document.createElement('li');
    item.textContent = `${e.data} (${e.lastEventId})`;
    document.getElementById('orders').prepend(item);
  });
</script>"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "tidings-example-data".to_owned());
    let clock = Arc::new(SystemClock::new());
    let log = EmbeddedLog::open_dir(dir.as_ref(), Arc::clone(&clock) as _, LogConfig::default())?;
    let hub = Hub::open(Arc::new(log), clock, Limits::default())?;
    hub.spawn_ticks()?;

    tokio::spawn(take_orders(hub.clone()));

    let app =
        Router::new().route("/", get(async || Html(PAGE))).route("/orders", get(orders)).with_state(hub);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("open http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// What the service does for a living.
async fn take_orders(hub: Hub) {
    let (Ok(topic), Ok(event)) = (TopicName::parse("orders"), EventName::parse("order")) else { return };
    for number in 1_u64.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let order = Publish {
            event: Some(event.clone()),
            ..Publish::text(Topics::from_iter([topic.clone()]), format!("order {number}"))
        };
        // It answers when the order is on disk and everybody could see it.
        if let Err(refusal) = hub.publish(order).await {
            eprintln!("order {number} was not published: {refusal}");
        }
    }
}

/// The stream: a filter, where to begin, and the hub does the rest.
async fn orders(State(hub): State<Hub>, headers: HeaderMap) -> Response {
    let Ok(topic) = TopicName::parse("orders") else { return StatusCode::NOT_FOUND.into_response() };
    let seen = headers.get("last-event-id").and_then(|id| ResumePoint::parse(id.as_bytes()));
    let ask =
        Subscribe::new(Filter::topics(Selectors::one(topic))).from(seen.map_or(From::Start, From::After));
    match hub.subscribe(ask) {
        Ok(subscription) => {
            let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
            (headers, Body::new(subscription)).into_response()
        }
        // An EventSource that meets a 204 does not come again: right for a topic that was closed, and only there.
        Err(SubscribeError::Ended { .. }) => StatusCode::NO_CONTENT.into_response(),
        // Nor after a 503; a stream that only says when to come back makes it wait.
        Err(_) => ([(header::CONTENT_TYPE, "text/event-stream")], "retry: 5000\n\n").into_response(),
    }
}
