//! Asks a language model and prints its answer as it comes: one stream, no reconnect, since a second request would be a
//! second answer. The shape is that of streamed chat completions.
//!
//! `cargo run -p tidings-client-examples --bin once -- https://api.example.org/v1/chat/completions "Why is the sky blue?"`
//! with the key in `API_KEY`.

use std::error::Error;
use std::io::Write as _;

use futures_util::TryStreamExt as _;
use http::Method;
use serde_json::{Value, json};
use tidings_client::{EventSource, SourceEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, question] = words.as_slice() else { return Err("once URL QUESTION".into()) };
    let key = std::env::var("API_KEY").unwrap_or_default();
    let body = json!({
        "model": std::env::var("MODEL").unwrap_or_else(|_| "small".into()),
        "messages": [{"role": "user", "content": question}],
        "stream": true,
    });
    let mut answer = EventSource::builder(url)
        .method(Method::POST)
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {key}"))
        .body(body.to_string())
        .once(true)
        .stall_timeout_ms(60_000)
        // A delta is small: what is not is refused long before it fills the memory.
        .event_bytes_max(1 << 20)
        .build()?;
    let mut out = std::io::stdout();
    while let Some(event) = answer.try_next().await? {
        let SourceEvent::Message(message) = event else { continue };
        if message.data == "[DONE]" {
            writeln!(out)?;
            return Ok(());
        }
        let chunk: Value = serde_json::from_str(&message.data)?;
        if let Some(problem) = chunk["error"]["message"].as_str() {
            return Err(problem.into());
        }
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
            write!(out, "{text}")?;
            out.flush()?;
        }
    }
    Err("the answer ended before it was done".into())
}
