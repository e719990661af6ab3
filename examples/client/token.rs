//! Follows a stream with a token that expires sooner than the stream ends: it is read anew for every attempt, here
//! from a file that somebody keeps fresh, as Kubernetes does with a service account's.
//!
//! `cargo run -p tidings-client-examples --bin token -- http://127.0.0.1:4000/topics/news token.txt`

use std::error::Error;
use std::io::Write as _;

use futures_util::TryStreamExt as _;
use http::StatusCode;
use tidings_client::{EventSource, Fresh, RetryStatuses, SourceEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, file] = words.as_slice() else { return Err("token URL FILE".into()) };
    let file = file.clone();
    let mut source = EventSource::builder(url)
        .fresh(move |_next| {
            let file = file.clone();
            async move {
                // A file that is not there is tried again, like a network that is down.
                let token = tokio::fs::read_to_string(file).await?;
                Ok(Fresh::new().header("authorization", &format!("Bearer {}", token.trim())))
            }
        })
        // A token that has just expired is refused once; the next attempt has the next one.
        .retry_statuses(RetryStatuses::custom(|status| {
            status == StatusCode::UNAUTHORIZED || RetryStatuses::transient().contains(status)
        }))
        .attempts_max(const { std::num::NonZeroU32::new(5).expect("not zero") })
        .build()?;
    while let Some(event) = source.try_next().await? {
        match event {
            SourceEvent::Message(message) => writeln!(std::io::stdout(), "{}", message.data)?,
            SourceEvent::Reconnecting { cause, after_ms } => eprintln!("{cause}; again in {after_ms} ms"),
            _ => {}
        }
    }
    Ok(())
}
