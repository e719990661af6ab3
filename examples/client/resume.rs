//! Follows a stream over restarts of its own: the last id is kept in a file, and the next run goes on behind it.
//!
//! `cargo run -p tidings-client-examples --bin resume -- http://127.0.0.1:4000/topics/news news.id`, stop it in any
//! way, start it again: nothing is missed. After Ctrl-C nothing comes twice; after `kill -9` the last moment may.

use std::error::Error;
use std::io::Write as _;

use futures_util::StreamExt as _;
use tidings_client::store::FileStore;
use tidings_client::{Backoff, EventSource, RetryStatuses, SourceEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, file] = words.as_slice() else { return Err("resume URL FILE".into()) };
    let mut source = EventSource::builder(url)
        .store(FileStore::new(file))
        .store_interval_ms(100)
        .retry_statuses(RetryStatuses::transient())
        .backoff(Backoff::exponential(10_000))
        .build()?;
    // One future for all rounds: a new one each time would miss what comes between two of them.
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let told = tokio::select! {
            biased;
            _ = &mut stop => {
                source.flush_store().await?;
                return Ok(());
            }
            told = source.next() => told,
        };
        match told {
            None => return Ok(()),
            // To ask for the next event is to say that this one is done with.
            Some(Ok(SourceEvent::Message(message))) => work_on(&message.data)?,
            Some(Ok(SourceEvent::Reconnecting { cause, .. })) => eprintln!("{cause}"),
            Some(Ok(SourceEvent::NotStored { error })) => eprintln!("{error}"),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

/// Whatever is to be done once for each event; twice, if the power fails at the wrong moment.
fn work_on(data: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{data}")?;
    out.flush()
}
