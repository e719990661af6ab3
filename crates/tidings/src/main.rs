//! `tidings`: the binary. Only wiring; what a hub is, stores and speaks lives in the libraries below it.
//!
//! - [`cli`]: what can be typed · [`settings`]: what it means, from one table
//! - [`serve`]: log, hub and server put together · [`demo`]: the same with sources and pages
//! - [`publish`], [`subscribe`], [`relay`]: clients · [`deliver`], [`remote`]: what they share
//! - [`mod@bench`]: any SSE server, measured
//! - [`log`]: what can be done with a data directory · [`key`], [`generate`]: keys, completions, man pages · [`failure`]: how it ends
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod deliver;
mod demo;
mod failure;
mod generate;
mod interrupt;
mod key;
mod log;
mod publish;
mod relay;
mod remote;
mod serve;
mod settings;
mod subscribe;
mod trust;

use std::process::ExitCode;

use clap::ArgMatches;
use tokio::runtime::Builder;

use crate::failure::Failure;

fn main() -> ExitCode {
    match run(&cli::command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("serve", matches)) => hub(serve::run(matches)),
        Some(("demo", matches)) => hub(demo::run(matches)),
        Some(("pub", matches)) => client(publish::run(matches)),
        Some(("sub", matches)) => client(subscribe::run(matches)),
        Some(("relay", matches)) => client(relay::run(matches)),
        Some(("bench", matches)) => bench::run(matches),
        Some(("bench-worker", matches)) => bench::run_worker(matches),
        Some(("log", matches)) => log::run(matches),
        Some(("key", matches)) => key::run(matches),
        Some(("settings", matches)) => cli::show_settings(matches),
        Some(("completions", matches)) => generate::completions(matches),
        Some(("man", matches)) => generate::man(matches),
        // clap asks for a command and knows no other.
        _ => Err(Failure::usage("say what to do: tidings --help")),
    }
}

/// A hub uses all cores.
fn hub(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on(Builder::new_multi_thread(), work)
}

/// A client has one connection, and starts fast.
fn client(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on(Builder::new_current_thread(), work)
}

fn block_on(mut builder: Builder, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("the system gives no threads: {error}")))?;
    let result = runtime.block_on(work);
    // A read of standard input cannot be cancelled, and there is no need to wait for it.
    runtime.shutdown_background();
    result
}
