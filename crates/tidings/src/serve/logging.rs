//! Log lines to standard error, as the settings want them.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::failure::Failure;
use crate::settings::{LogFormat, Settings};

/// Begins to log.
///
/// # Errors
/// The level cannot be read.
pub(super) fn begin(settings: &Settings) -> Result<(), Failure> {
    let level = &settings.log_level;
    let filter = EnvFilter::try_new(&level.value).map_err(|error| {
        Failure::usage(format!(
            "{} {:?}: {error}; write a level, or part=level with commas between: info,tidings_server=debug",
            level.origin, level.value
        ))
    })?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match settings.log_format.value {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| Failure::new(format!("logging cannot begin: {error}")))
}
