//! What can be typed. Flags of settings come from their table; other commands bring their own arguments.

use std::io::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::settings::{self, Configuration, Kind, ROWS, Row, reference};
use crate::{bench, demo, generate, key, log, publish, relay, serve, subscribe};

/// Defaults that a command has instead of the table's.
pub(crate) type Defaults = &'static [(&'static str, &'static str)];

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("tidings")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Server-Sent Events hub: publish with curl, subscribe with EventSource, resume after anything")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(demo::command())
        .subcommand(publish::command())
        .subcommand(subscribe::command())
        .subcommand(relay::command())
        .subcommands(bench::commands())
        .subcommand(log::command())
        .subcommand(key::command())
        .subcommand(settings_command())
        .subcommand(generate::completions_command())
        .subcommand(generate::man_command())
}

/// Adds a flag for each setting.
pub(crate) fn with_settings(command: Command, defaults: Defaults) -> Command {
    ROWS.iter().fold(command, |command, row| command.arg(argument(row, defaults)))
}

fn argument(row: &Row, defaults: Defaults) -> Arg {
    let own = defaults.iter().find(|(key, _)| *key == row.key).map(|(_, text)| *text);
    let default = own.unwrap_or(row.default);
    let mut help = format!("{} [env: {}]", row.help, row.env());
    if !default.is_empty() {
        help = format!("{help} [default: {default}]");
    }
    let argument = Arg::new(row.key)
        .long(row.flag())
        .value_name(row.kind.placeholder())
        .help_heading(row.section)
        .help(help)
        .action(if row.kind.is_list() { ArgAction::Append } else { ArgAction::Set });
    match row.kind {
        Kind::Bool => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Choice(words) => argument.value_parser(PossibleValuesParser::new(words)),
        _ => argument,
    }
}

/// What was typed, the environment and the file, as settings.
///
/// # Errors
/// One sentence that names the place and the cure.
pub(crate) fn configuration(matches: &ArgMatches, defaults: Defaults) -> Result<Configuration, Failure> {
    let typed = |row: &'static Row| {
        let values = matches.get_many::<String>(row.key)?;
        Some((row, values.cloned().collect::<Vec<_>>()))
    };
    let flags: Vec<_> = ROWS.iter().filter_map(typed).collect();
    let variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect();
    settings::load(&flags, &variables, defaults).map_err(|error| Failure::usage(error.to_string()))
}

fn settings_command() -> Command {
    let command = Command::new("settings")
        .about("Print every setting with its value and where that came from")
        .long_about(
            "Print every setting with its value and where that came from.\n\n\
             Takes the flags of `serve`, reads the same file and environment, and starts nothing.",
        )
        .arg(Arg::new("markdown").long("markdown").hide(true).action(ArgAction::SetTrue));
    with_settings(command, &[])
}

/// `tidings settings`.
///
/// # Errors
/// As [`configuration`].
pub(crate) fn show_settings(matches: &ArgMatches) -> Result<(), Failure> {
    let page = if matches.get_flag("markdown") {
        reference::markdown()
    } else {
        reference::in_force(&configuration(matches, &[])?.settings)
    };
    print(page.as_bytes())
}

/// Writes to standard output; if nobody reads it, that is a quiet end.
///
/// # Errors
/// What the system says.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::quiet(),
        _ => Failure::new(format!("standard output: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_of_serve_and_demo() {
        let command = command();
        for name in ["serve", "demo", "settings"] {
            let sub = command.find_subcommand(name).unwrap();
            for row in ROWS {
                let flag = row.flag();
                let found = sub.get_arguments().any(|arg| arg.get_long() == Some(flag.as_str()));
                assert!(found, "{name} --{flag}");
            }
        }
    }

    #[test]
    fn typed_flags_reach_the_settings() {
        let matches = command().get_matches_from([
            "tidings",
            "serve",
            "--listen",
            "127.0.0.1:1",
            "--listen",
            "127.0.0.1:2",
            "--tls-self-signed",
            "--anonymous-publish",
            "",
            "--retention-age",
            "7d",
        ]);
        let (_, matches) = matches.subcommand().unwrap();
        let settings = configuration(matches, &[]).unwrap().settings;
        assert_eq!(settings.listen.value.len(), 2);
        assert!(settings.tls_self_signed.value);
        assert!(settings.anonymous_publish.origin.is_explicit());
        assert!(!settings.anonymous_subscribe.origin.is_explicit());
        assert_eq!(settings.retention_age.value.map(|age| age.0), Some(604_800_000));
    }
}
