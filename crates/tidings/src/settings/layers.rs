//! Layers of settings: flag over environment over file over default. Every value remembers where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::error::{SettingsError, nearest};
use super::table::{ROWS, Row, row};
use super::value::Value;

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    /// What it is.
    pub(crate) value: T,
    /// Where it was given.
    pub(crate) origin: Origin,
    /// As it was written.
    pub(super) text: String,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nowhere.
    Default,
    /// In the configuration file.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// Its line, from 1.
        line: usize,
    },
    /// In the environment.
    Env(String),
    /// On the command line.
    Flag(String),
}

impl Origin {
    /// Whether somebody gave it.
    pub(crate) fn is_explicit(&self) -> bool {
        *self != Self::Default
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Env(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// What was given, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    given: BTreeMap<&'static str, Given>,
    /// Defaults of the command that differ from the table's.
    defaults: BTreeMap<&'static str, &'static str>,
}

#[derive(Clone, Debug)]
struct Given {
    texts: Vec<String>,
    origin: Origin,
}

/// Variables that begin like ours and are none of them: those that other commands and the tests read, and what
/// container platforms set for a service that is called `tidings`.
const OTHER_VARIABLES: &[&str] =
    &["TIDINGS_URL", "TIDINGS_KEY", "TIDINGS_BIN", "TIDINGS_CHROMIUM", "TIDINGS_FIREFOX"];

fn is_platform_variable(name: &str) -> bool {
    ["TIDINGS_SERVICE_", "TIDINGS_PORT_", "TIDINGS_ENV_"].iter().any(|prefix| name.starts_with(prefix))
        || name == "TIDINGS_PORT"
        || name == "TIDINGS_NAME"
}

impl Layers {
    /// Replaces defaults of the table; for commands that have other ones.
    pub(crate) fn defaults(&mut self, defaults: &[(&'static str, &'static str)]) {
        self.defaults.extend(defaults.iter().copied());
    }

    /// Puts in what the file says, unless a layer above it is there already.
    pub(super) fn file(&mut self, row: &'static Row, texts: Vec<String>, file: &Arc<str>, line: usize) {
        let origin = Origin::File { file: Arc::clone(file), line };
        self.given.entry(row.key).or_insert(Given { texts, origin });
    }

    /// Puts in the environment, which gives all variables there are.
    ///
    /// # Errors
    /// [`SettingsError::UnknownVariable`] if one begins like ours and is none.
    pub(crate) fn env(&mut self, variables: &[(String, String)]) -> Result<(), SettingsError> {
        for (name, text) in variables.iter().filter(|(name, _)| name.starts_with("TIDINGS_")) {
            if OTHER_VARIABLES.contains(&name.as_str()) || is_platform_variable(name) {
                continue;
            }
            let Some(row) = ROWS.iter().find(|row| row.env() == *name) else {
                let known = ROWS.iter().map(Row::env);
                return Err(SettingsError::UnknownVariable {
                    name: name.clone(),
                    nearest: nearest(name, known),
                });
            };
            let origin = Origin::Env(name.clone());
            self.given.entry(row.key).or_insert_with(|| Given { texts: split(row, text), origin });
        }
        Ok(())
    }

    /// Puts in a flag with all its values.
    pub(crate) fn flag(&mut self, row: &'static Row, values: &[String]) {
        let texts = values.iter().flat_map(|value| split(row, value)).collect();
        self.given.insert(row.key, Given { texts, origin: Origin::Flag(format!("--{}", row.flag())) });
    }

    /// The value of one setting.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] says where it was given and how to write it.
    pub(super) fn read<T: Value>(&self, key: &'static str) -> Result<Setting<T>, SettingsError> {
        let row = row(key).ok_or(SettingsError::NoSuchRow { key })?;
        let given = self.given.get(key).cloned().unwrap_or_else(|| {
            let text = self.defaults.get(key).copied().unwrap_or(row.default);
            Given { texts: split(row, text), origin: Origin::Default }
        });
        let text = given.texts.join(", ");
        match T::read(&given.texts, row.bounds) {
            Ok(value) => Ok(Setting { value, origin: given.origin, text }),
            Err(why) => Err(SettingsError::Invalid { key, text, origin: given.origin, why }),
        }
    }
}

/// On the command line and in the environment a list is written with commas, or by repeating the flag.
fn split(row: &Row, text: &str) -> Vec<String> {
    if !row.kind.is_list() {
        return vec![text.to_owned()];
    }
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
