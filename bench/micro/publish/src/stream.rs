//! One `text/event-stream` body, as fast as the other side takes it, to the answer that it is all durable.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use crate::Options;

/// What is written at a time.
const PIECE_BYTES: usize = 256 << 10;

pub fn run(options: &Options) -> Result<(), String> {
    let to = options.address()?;
    let events = options.number("events", 2_000_000)?;
    let data_bytes = usize::try_from(options.number("data", 100)?).map_err(|error| error.to_string())?;
    let path = options.text("path", "/topics/bench");
    let failed = |error: std::io::Error| format!("{to}: {error}");
    let event = format!("data: {}\n\n", "x".repeat(data_bytes));
    let per_piece = (PIECE_BYTES / event.len()).max(1) as u64;
    let piece = event.repeat(per_piece as usize);
    let length = events * event.len() as u64;

    let mut stream = TcpStream::connect(to).map_err(failed)?;
    let begun = Instant::now();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
    .map_err(failed)?;
    let mut left = events;
    while left > 0 {
        let count = left.min(per_piece);
        stream.write_all(&piece.as_bytes()[..count as usize * event.len()]).map_err(failed)?;
        left -= count;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let took = begun.elapsed();
    let accepted = format!("\"count\":{events},");
    if !answer.starts_with("HTTP/1.1 200") || !answer.contains(&accepted) {
        return Err(format!("not all was accepted: {answer}"));
    }
    println!("stream {:.1} events_per_s", events as f64 / took.as_secs_f64());
    println!("stream_bytes {:.1} MB_per_s", length as f64 / took.as_secs_f64() / 1e6);
    Ok(())
}
