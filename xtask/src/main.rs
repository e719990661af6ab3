//! `cargo xtask`: the project's own tasks. `tidy` holds the house rules, `test` runs everything in order,
//! `simulate` and `torture` are the long forms of two tests.
//!
//! Not a build system: it calls cargo, git and node and says what they said.
//! **Invariant:** a check or step that could not run is a failure, never a silent skip.
#![allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod api;
mod bench;
mod campaign;
mod counts;
mod fuzz;
mod repo;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <command>

  tidy                        the house rules: dependency picture, file heads, links, bans
  api                         writes down the public interface of the published crates, which `tidy` compares
  test [--only STEP,STEP]     every step in order; the last line says how many tests passed
  test --list                 the steps and what each needs
  simulate --seeds N [--from K] [--threads T] [--host NAME]
                              seeds of the log's crash simulator; leaves a record in bench/runs
  torture --cycles N [--seed K] [--host NAME]
                              kill -9 under load, again and again; leaves a record in bench/runs
  bench log --host NAME       the log and publishing, by turns with peers; the run is kept in bench/runs
  bench fanout --host NAME    delivery to many streams, by turns with peers and bare loops; kept there too
  bench compare --host NAME   SSE, WebSocket, long and short polling, by turns with peers; kept there too
        [--rounds 5] [--seconds 3] [--subscribers 10000] [--profile dev]  dev: only to try the command, quickly built
        [--gib 10] [--reuse DIR]  of log: DIR keeps the large log for the next run
  counts [--keep | --release] instructions of the hot paths beside those in bench/counts.txt; --keep: write them there;
                              --release: only tell them, built as the product is
  bench page RUN…             the figures of runs into the tables and plots of docs/src/benchmarks.md
  fuzz [--seconds N] [--host NAME] [--only TARGET]
                              coverage-guided inputs for what must hold for any bytes; leaves a record in bench/runs";

/// Why a command did not succeed, in a sentence for the person at the terminal.
type Failure = String;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // One stream for the whole run: on a CI page, the last line is the one that names the failure.
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(&repo::root()?),
        ["test", rest @ ..] => test::run(&repo::root()?, &test::Choice::parse(rest)?),
        ["simulate", rest @ ..] => campaign::run(&repo::root()?, &campaign::SIMULATE, rest),
        ["torture", rest @ ..] => campaign::run(&repo::root()?, &campaign::TORTURE, rest),
        ["bench", "log", rest @ ..] => bench::run(&repo::root()?, &bench::Choice::parse(rest)?),
        ["bench", "fanout", rest @ ..] => bench::run_fanout(&repo::root()?, &bench::Choice::parse(rest)?),
        ["bench", "compare", rest @ ..] => bench::run_compare(&repo::root()?, &bench::Choice::parse(rest)?),
        ["bench", "page", runs @ ..] => bench::run_page(&repo::root()?, runs),
        ["api"] => api::write(&repo::root()?),
        ["counts", rest @ ..] => counts::run(&repo::root()?, rest),
        ["fuzz", rest @ ..] => fuzz::Campaign::parse(rest)?.run(&repo::root()?),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [] => Err(USAGE.to_owned()),
        [other, ..] => Err(format!("unknown command `{other}`\n\n{USAGE}")),
    }
}
