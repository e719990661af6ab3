//! A minimal axum service that answers the same requests as a hub and stores nothing: the limit of what a Rust web
//! framework leaves room for. Listens on 127.0.0.1 at the port of its last argument. With `--synced FILE` before it, a
//! publish is answered when its bare body is in that file and synced, together with those that came meanwhile: what is left
//! of it where a disk is waited for.

mod synced;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::post;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::broadcast;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments.last().and_then(|port| port.parse().ok()).unwrap_or(4_100u16);
    let file = arguments.iter().skip_while(|argument| *argument != "--synced").nth(1);
    let writer = file.map(|file| synced::start(file.as_ref()).expect("a file"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let (events, _) = broadcast::channel(1_024);
        let routes = match writer {
            None => Router::new().route("/topics/{topic}", post(publish).get(subscribe)).with_state(events),
            Some(writer) => Router::new().route("/topics/{topic}", post(synced::publish)).with_state(writer),
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| _ = stream.set_nodelay(true));
        axum::serve(listener, routes).await.expect("served");
    });
}

async fn publish(State(events): State<broadcast::Sender<Bytes>>, body: Bytes) -> impl IntoResponse {
    // Nobody may be listening.
    _ = events.send(body);
    answer()
}

fn answer() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], "{\"count\":1}\n")
}

async fn subscribe(
    State(events): State<broadcast::Sender<Bytes>>,
) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    Sse::new(stream::unfold(events.subscribe(), |mut events| async {
        let body = events.recv().await.ok()?;
        Some((Ok(Event::default().data(String::from_utf8_lossy(&body))), events))
    }))
}
