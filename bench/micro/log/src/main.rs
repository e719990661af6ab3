//! The log alone, in process: what an append costs, a replay, a start, and how much memory it holds.
//!
//! Each subcommand prints lines of `name value unit`, so that a driver can read them. Nothing here decides whether a
//! figure is good.

mod append;
mod arguments;
mod generate;
mod replay;
mod space;
mod start;
mod world;

use std::process::ExitCode;

use arguments::Arguments;

const USAGE: &str = "\
tidings-bench-log <command> --dir DIR [options]

  append    events/s of EmbeddedLog::submit
              --events N (2000000)  --batch N (64)  --data BYTES (100)  --topics N (1000)
              --in-flight N (64)    --durability fsync|os  --hub yes|no (no)
  generate  a log with many topics, one of which (`needle`) has events spread over all of it
              --gib N (10)  --topics N (1000000)  --needles N (10000)  --data BYTES (1000)
  replay    the needle out of that log: first event, events/s, and what it does to appends beside it
              --rounds N (200)  --seconds N (3)
  start     kills a process that appends to that log, and opens it again; best of nothing, every round is told
              --rounds N (3)
  space     a million topics of unlike lifetimes: what they take on disk beside what is alive
              --topics N (1000000)  --rate N (50000)  --seconds N (600)  --data BYTES (150)
              --age-ms N (20000)    --every SECONDS (10)
  memory    RssAnon with that log open, idle and after replays";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = Arguments::parse(rest).and_then(|arguments| match command.as_str() {
        "append" => append::run(&arguments),
        "generate" => generate::run(&arguments),
        "replay" => replay::run(&arguments),
        "space" => space::run(&arguments),
        "start" => start::run(&arguments),
        "start-victim" => start::victim(&arguments),
        "start-open" => start::open(&arguments),
        "memory" => start::memory(&arguments),
        _ => Err(USAGE.to_owned()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
