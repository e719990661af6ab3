//! Publishes over HTTP as fast as the other side answers.
//!
//! One thread, raw sockets: it must cost less than any server it measures. Speaks only as much HTTP/1.1 as that
//! needs, and checks that every answer is a success. Prints lines of `name value unit`.

mod requests;
mod stream;

use std::net::SocketAddr;
use std::process::ExitCode;

const USAGE: &str = "\
tidings-bench-publish requests --to ADDRESS [options]
  keep-alive connections, one request under way on each
    --path PATH (/topics/bench)   {n} in it is the connection's number
    --connections N (64)  --data BYTES (100)  --seconds N (3)  --warm-up N (1)
    --content-type TYPE (text/plain)  --create yes|no (no): PUT the path first

tidings-bench-publish stream --to ADDRESS [options]
  one body of events
    --path PATH (/topics/bench)  --events N (2000000)  --data BYTES (100)";

/// Values of `--name value` pairs.
struct Options(Vec<(String, String)>);

impl Options {
    fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.iter().find(|(known, _)| known == name).map_or(default, |(_, value)| value)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let text = self.0.iter().find(|(known, _)| known == name);
        text.map_or(Ok(default), |(_, value)| {
            value.parse().map_err(|_| format!("--{name} {value}: not a number"))
        })
    }

    fn address(&self) -> Result<SocketAddr, String> {
        self.text("to", "").parse().map_err(|_| "say where: --to 127.0.0.1:4000".to_owned())
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let (command, rest) = words.split_first().ok_or(USAGE)?;
    let pair = |pair: &[String]| match pair {
        [name, value] if name.starts_with("--") => Ok((name[2..].to_owned(), value.clone())),
        other => Err(format!("expected --name value, got {other:?}\n{USAGE}")),
    };
    let options = Options(rest.chunks(2).map(pair).collect::<Result<_, _>>()?);
    match command.as_str() {
        "requests" => requests::run(&options),
        "stream" => stream::run(&options),
        _ => Err(USAGE.to_owned()),
    }
}
