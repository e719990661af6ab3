//! The contract-test service: an outside harness starts event sources of `tidings-client` through it and is told, by
//! callbacks, what they see. `cargo run --release -p client-service -- --port 8000`, then the harness against
//! `http://127.0.0.1:8000`.
//!
//! What it is not: a server for anybody else. Whoever reaches it makes it send requests anywhere, so it listens on
//! loopback unless told otherwise.
//!
//! **Invariants:** what a source sees goes out in order and one at a time; streams and request bodies are bounded.

mod callbacks;
mod params;
mod service;
mod stream;

use std::io::Write as _;
use std::process::ExitCode;

use tokio::net::TcpListener;

const USAGE: &str = "client-service [--port N] [--host ADDRESS]   (default: --port 8000 --host 127.0.0.1)";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let (host, port) = place(std::env::args().skip(1))?;
    let listener = TcpListener::bind((host.as_str(), port)).await;
    let listener = listener.map_err(|error| format!("cannot listen on {host}:{port}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // With `--port 0` this is how one learns the port.
    let told = writeln!(std::io::stdout(), "listening on http://{address}");
    told.map_err(|error| format!("standard output: {error}"))?;
    service::serve(listener).await.map_err(|error| error.to_string())
}

fn place(mut words: impl Iterator<Item = String>) -> Result<(String, u16), String> {
    let (mut host, mut port) = ("127.0.0.1".to_owned(), 8_000);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--port", Some(value)) => {
                port = value.parse().map_err(|_| format!("--port {value}: a number up to 65535"))?;
            }
            ("--host", Some(value)) => host = value,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let place = |words: &str| place(words.split_whitespace().map(str::to_owned));
        assert_eq!(place("").unwrap(), ("127.0.0.1".to_owned(), 8_000));
        assert_eq!(place("--port 9 --host ::1").unwrap(), ("::1".to_owned(), 9));
        for wrong in ["--port", "--port x", "--port 65536", "--hots a", "9"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
