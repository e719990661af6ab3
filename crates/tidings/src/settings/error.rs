//! What can be wrong with settings. Whoever starts the program must act; each message says how.

use std::fmt;
use std::io;

use super::layers::Origin;

/// Settings that cannot be used.
#[derive(Debug)]
pub(crate) enum SettingsError {
    /// A value is not what its setting wants.
    Invalid {
        /// The setting's TOML key.
        key: &'static str,
        /// The value as given.
        text: String,
        /// Where it was given.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// The file has a key that means nothing.
    UnknownKey {
        /// File, line and key.
        file: String,
        /// From 1.
        line: usize,
        /// As it stands there.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// The environment has a variable that means nothing.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// The file is not TOML, or something in it has the wrong shape.
    Malformed {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Two settings contradict each other.
    Conflict {
        /// Which, and what to do.
        why: String,
    },
    /// The program asks for a setting that its table does not have: a mistake in the program, found by its tests.
    NoSuchRow {
        /// What it asked for.
        key: &'static str,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did_you_mean = |f: &mut fmt::Formatter<'_>, nearest: &Option<String>| match nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => f.write_str("; `tidings settings` lists all there are"),
        };
        match self {
            Self::Invalid { key, text, origin, why } => match origin {
                Origin::Default => write!(f, "{key}: the default {text:?} does not do: {why}"),
                Origin::File { file, line } => write!(f, "{file}:{line}: {key} = {text:?}: {why}"),
                Origin::Env(name) => write!(f, "{name}={text:?}: {why}"),
                Origin::Flag(name) => write!(f, "{name} {text:?}: {why}"),
            },
            Self::UnknownKey { file, line, key, nearest } => {
                write!(f, "{file}:{line}: there is no setting {key:?}")?;
                did_you_mean(f, nearest)
            }
            Self::UnknownVariable { name, nearest } => {
                write!(f, "the environment variable {name} is no setting")?;
                did_you_mean(f, nearest)
            }
            Self::Malformed { file, line, why } => write!(f, "{file}:{line}: {why}"),
            Self::Unreadable { file, source } => {
                write!(f, "the configuration file {file} cannot be read: {source}")
            }
            Self::Conflict { why } => f.write_str(why),
            Self::NoSuchRow { key } => write!(f, "the table of settings has no row {key:?}"),
        }
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The known name that is most like `name`, if any is.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    /// Below this share of common characters a guess would puzzle more than it helps.
    const LIKENESS_MIN: f64 = 0.5;
    // Case and the kind of dash are what people get wrong first; neither says that another name was meant.
    // What all variables begin with says nothing either.
    let plain = |name: &str| {
        let plain = name.to_ascii_lowercase().replace('-', "_");
        plain.strip_prefix("tidings_").map(str::to_owned).unwrap_or(plain)
    };
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&plain(name), &plain(known));
    known
        .map(|known| (likeness(&known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
