//! A hub with the native routes before it, requests as text, and the one `check`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tidings_hub::clock::SystemClock;
use tidings_hub::{Hub, Limits, Selector, Selectors};
use tidings_server::protocols::native;
use tidings_server::{Access, App, Payload, ServerConfig};
use tokio::sync::mpsc;

use crate::store::Store;

/// Nothing in here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) app: Arc<App>,
    access: Access,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), ServerConfig::default())
    }

    pub(crate) fn with(limits: Limits, config: ServerConfig) -> Self {
        Self::never_storing(Selectors::none(), limits, config)
    }

    /// The same, with topics that are never stored.
    pub(crate) fn never_storing(ephemeral: Selectors, limits: Limits, config: ServerConfig) -> Self {
        let store = Store::new();
        let hub = Hub::open_with(store.clone(), Arc::new(SystemClock::new()), limits, ephemeral).unwrap();
        let app = App::new(config, hub).unwrap();
        Self { store, app, access: Access::everything() }
    }

    /// The same hub for somebody who may do what `access` says.
    pub(crate) fn as_(&self, access: Access) -> Self {
        Self { access, ..self.clone() }
    }

    /// Puts a request, written as `METHOD target`, header lines, a blank line and the body. `@7` is the id of the
    /// seventh record, in either direction.
    pub(crate) async fn ask(&self, request: &str) -> Response {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        self.ask_with(head, Body::from(body.to_owned())).await
    }

    /// The same with a body of its own.
    pub(crate) async fn ask_with(&self, head: &str, body: Body) -> Response {
        let head = head.replace('@', &self.store.prefix());
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value.as_bytes());
        }
        let (parts, body) = request.body(body).unwrap().into_parts();
        let access = Arc::new(self.access.clone());
        let answer = native::answer(&self.app, &access, &parts, Payload::Flow(body));
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Asks, and compares: the status; then header lines that must be there; then a body, of which JSON needs to
    /// have only the members that are named.
    #[track_caller]
    pub(crate) fn check(&self, request: &str, status: u16, expected: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        let (world, request, expected) = (self.clone(), request.to_owned(), expected.to_owned());
        async move {
            let answer = world.ask(&request).await;
            world.compare(&format!("{request}\nat {caller}"), answer, status, &expected).await
        }
    }

    /// Compares an answer; gives its JSON, or `null`.
    pub(crate) async fn compare(&self, what: &str, answer: Response, status: u16, expected: &str) -> Value {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let prefix = self.store.prefix();
        let text = String::from_utf8_lossy(&body).replace(&prefix, "@");
        assert_eq!(parts.status.as_u16(), status, "{what}\n{text}");
        let header = |name: &str| {
            let values: Vec<_> = parts.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            String::from_utf8_lossy(&values.join(&b", "[..])).replace(&prefix, "@")
        };
        // What holds for every answer.
        assert_eq!(header("cache-control"), "no-store", "{what}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
        let mut rest = expected;
        while let Some((line, after)) =
            rest.split_once('\n').or_else(|| (!rest.is_empty()).then_some((rest, "")))
            && let Some((name, value)) = line.split_once(": ")
            && !line.starts_with('{')
        {
            assert_eq!(header(name), value, "{what}\n{name}");
            rest = after;
        }
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        if status >= 400 {
            assert_eq!(header("content-type"), "application/problem+json", "{what}");
            assert_eq!(json["status"], status, "{what}");
            assert!(json["detail"].as_str().is_some_and(|detail| detail.len() > 15), "{what}\n{text}");
        }
        match serde_json::from_str::<Value>(rest) {
            Ok(expected) => assert_within(&expected, &json, what),
            Err(_) => assert_eq!(text, rest, "{what}"),
        }
        json
    }

    /// Opens a stream.
    #[track_caller]
    pub(crate) fn open(&self, request: &str) -> impl Future<Output = Stream> {
        let (world, request) = (self.clone(), request.to_owned());
        async move {
            let answer = world.ask(&request).await;
            assert_eq!(answer.status(), 200, "{request}");
            assert_eq!(answer.headers()["content-type"], "text/event-stream", "{request}");
            Stream { body: answer.into_body(), text: String::new(), prefix: world.store.prefix() }
        }
    }

    /// Publishes some lines to topic `t`, an event each.
    pub(crate) async fn publish(&self, data: &[&str]) {
        for data in data {
            self.check(&format!("POST /topics/t\n\n{data}"), 200, "{\"count\":1}").await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let all = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

fn assert_within(expected: &Value, found: &Value, what: &str) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let member = found.get(name).unwrap_or(&Value::Null);
                assert_within(value, member, &format!("{what}\nmember {name}"));
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            assert_eq!(expected.len(), found.len(), "{what}\n{found:?}");
            for (expected, found) in expected.iter().zip(found) {
                assert_within(expected, found, what);
            }
        }
        _ => assert_eq!(expected, found, "{what}"),
    }
}

/// An open event stream.
pub(crate) struct Stream {
    body: Body,
    text: String,
    prefix: String,
}

impl Stream {
    /// The next `count` blocks, each without its blank line; ids as `@7`.
    pub(crate) async fn blocks(&mut self, count: usize) -> Vec<String> {
        let mut blocks = Vec::new();
        while blocks.len() < count {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                blocks.push(block.replace(&self.prefix, "@"));
                self.text = rest.to_owned();
                continue;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{blocks:?} and then nothing"));
            let Some(frame) = frame else { panic!("{blocks:?} and then the end") };
            self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        }
        blocks
    }

    /// Checks the next blocks.
    pub(crate) async fn check(&mut self, expected: &[&str]) {
        assert_eq!(self.blocks(expected.len()).await, expected);
    }

    /// Everything up to an orderly end.
    pub(crate) async fn rest(mut self) -> String {
        let rest = tokio::time::timeout(PATIENCE, self.body.collect()).await.expect("an end in time");
        self.text.push_str(std::str::from_utf8(&rest.unwrap().to_bytes()).unwrap());
        self.text.replace(&self.prefix, "@")
    }
}

/// A request body that arrives piece by piece, and may break off.
pub(crate) fn piecemeal() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Body) {
    let (sender, receiver) = mpsc::channel(16);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (sender, Body::from_stream(pieces))
}

/// Somebody who may only do this.
pub(crate) fn only(publish: &str, subscribe: &str, manage: &str, grant: &str) -> Access {
    let some = |text: &str| {
        let selectors = text.split_whitespace().map(|text| Selector::parse(text).unwrap()).collect();
        Arc::new(Selectors::new(selectors))
    };
    Access {
        publish: some(publish),
        subscribe: some(subscribe),
        manage: some(manage),
        grant: some(grant),
        ..Access::everything()
    }
}
