//! Settings of a hub: one table, from which come flags, environment variables, TOML keys, help and reference.
//!
//! What was typed ([`layers`]) is apart from what it means ([`Settings`]); what follows from it for the log, the
//! hub and the server stands in `serve`.
//! **Invariant:** a name that nobody knows is an error, wherever it was given.

mod error;
mod file;
mod layers;
pub(crate) mod reference;
mod table;
pub(crate) mod units;
mod value;

use tidings_server::gate::KeyConfig;

pub(crate) use error::SettingsError;
pub(crate) use layers::Layers;
pub(crate) use table::{ROWS, Row, Settings};
pub(crate) use value::{Kind, LogFormat};

/// Settings and what only the file can say.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// The table's settings.
    pub(crate) settings: Settings,
    /// `[[keys]]`.
    pub(crate) keys: Vec<KeyConfig>,
}

/// Puts the layers together. `flags` come from the command line with their values; `defaults` are those of the
/// command where it differs from the table.
///
/// # Errors
/// [`SettingsError`]: one sentence for whoever started the program.
pub(crate) fn load(
    flags: &[(&'static Row, Vec<String>)],
    variables: &[(String, String)],
    defaults: &[(&'static str, &'static str)],
) -> Result<Configuration, SettingsError> {
    let mut layers = Layers::default();
    layers.defaults(defaults);
    for (row, values) in flags {
        layers.flag(row, values);
    }
    layers.env(variables)?;
    let path = Settings::read(&layers)?.config.value;
    let mut keys = Vec::new();
    if let Some(path) = path {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|source| SettingsError::Unreadable { file: name.clone(), source })?;
        keys = file::read(&name, &text, &mut layers)?;
    }
    let settings = Settings::read(&layers)?;
    check(&settings)?;
    Ok(Configuration { settings, keys })
}

/// What no single setting can see.
fn check(settings: &Settings) -> Result<(), SettingsError> {
    let conflict = |why: String| Err(SettingsError::Conflict { why });
    let Settings { tls_cert, tls_key, tls_self_signed, hot_log_bytes, event_bytes_max, .. } = settings;
    match (&tls_cert.value, &tls_key.value) {
        (Some(_), None) => return conflict(format!("{} needs tls_key beside it", tls_cert.origin)),
        (None, Some(_)) => return conflict(format!("{} needs tls_cert beside it", tls_key.origin)),
        (Some(_), Some(_)) if tls_self_signed.value => {
            let why = format!("{} and {}: choose one certificate", tls_cert.origin, tls_self_signed.origin);
            return conflict(why);
        }
        _ => {}
    }
    if event_bytes_max.value.0 > hot_log_bytes.value.0 / 4 {
        return conflict(format!(
            "event_bytes_max ({}) must be at most a quarter of hot_log_bytes ({})",
            units::show_bytes(event_bytes_max.value.0),
            units::show_bytes(hot_log_bytes.value.0)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
