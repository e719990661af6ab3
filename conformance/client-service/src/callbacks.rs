//! What a stream sees, to the harness: numbered from 1, in order, each when the one before was taken.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tidings_client::Message;
use tokio::time::{sleep, timeout};

/// A callback that takes longer is lost.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A number that is left out would hold up all after it, so a connection that cannot be had is tried again. One that
/// broke is not: what it carried may have been taken, and nothing may come twice.
const ATTEMPTS_MAX: u32 = 3;

/// One message to the harness.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Callback {
    Event {
        event: Event,
    },
    Comment {
        comment: String,
    },
    Error {
        comment: String,
        /// The same once more: harnesses look for it under either name.
        error: String,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct Event {
    #[serde(rename = "type")]
    event: String,
    data: String,
    id: String,
}

impl Callback {
    pub(crate) fn event(message: &Message) -> Self {
        Self::Event {
            event: Event {
                event: message.event.as_str().to_owned(),
                data: message.data.to_string(),
                id: message.last_event_id.as_str().to_owned(),
            },
        }
    }

    pub(crate) fn error(what: String) -> Self {
        Self::Error { comment: what.clone(), error: what }
    }
}

/// Where the callbacks of one stream go.
#[derive(Debug)]
pub(crate) struct Callbacks {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    sent: u64,
}

impl Callbacks {
    pub(crate) fn new(url: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url, sent: 0 }
    }

    /// Sends one and waits until it was taken.
    ///
    /// # Errors
    /// Nobody takes it: there is no point in sending more.
    pub(crate) async fn send(&mut self, callback: &Callback) -> Result<(), String> {
        self.sent += 1;
        let url = format!("{}/{}", self.url, self.sent);
        let body = Bytes::from(serde_json::to_vec(callback).map_err(|error| error.to_string())?);
        let mut attempt = 1;
        loop {
            let request = Request::post(&url).header(header::CONTENT_TYPE, "application/json");
            let request = request.body(Full::new(body.clone())).map_err(|error| error.to_string())?;
            match timeout(TIMEOUT, self.client.request(request)).await {
                Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
                Ok(Ok(answer)) => return Err(format!("callback {url}: {}", answer.status())),
                Ok(Err(error)) if attempt >= ATTEMPTS_MAX || !error.is_connect() => {
                    return Err(format!("callback {url}: {error}"));
                }
                Ok(Err(_)) => {}
                Err(_) => return Err(format!("callback {url}: no answer within {} s", TIMEOUT.as_secs())),
            }
            attempt += 1;
            sleep(Duration::from_millis(100)).await;
        }
    }
}
