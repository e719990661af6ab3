//! Completions and man pages, made from the command line itself.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::cli;
use crate::failure::Failure;

/// `tidings completions`.
pub(crate) fn completions_command() -> Command {
    Command::new("completions").about("Print completions for a shell").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("Which one"),
    )
}

/// Prints them.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn completions(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(shell) = matches.get_one::<Shell>("shell").copied() else {
        return Err(Failure::usage("name a shell"));
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "tidings", &mut script);
    cli::print(&script)
}

/// `tidings man`.
pub(crate) fn man_command() -> Command {
    Command::new("man").about("Print the man page, or write those of all commands").arg(
        Arg::new("out")
            .long("out")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Write a page for each command into this directory"),
    )
}

/// Prints or writes them.
///
/// # Errors
/// The directory or standard output cannot be written.
pub(crate) fn man(matches: &ArgMatches) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("the man pages cannot be written: {error}"));
    if let Some(dir) = matches.get_one::<PathBuf>("out") {
        std::fs::create_dir_all(dir).map_err(failed)?;
        return clap_mangen::generate_to(cli::command(), dir).map_err(failed);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::command()).render(&mut page).map_err(failed)?;
    cli::print(&page)
}
