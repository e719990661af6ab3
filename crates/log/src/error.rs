//! What can go wrong, said so that whoever reads it knows who must act.

use std::fmt;
use std::io;
use std::sync::Arc;

use tidings_hub::ports::LogError;

/// A log could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another hub uses this directory: stop it, or take another directory.
    Locked {
        /// The directory.
        dir: String,
        /// The other's process id, as far as it is known.
        holder: Option<Box<str>>,
    },
    /// The directory cannot be written to: change its owner or mode, or take another directory.
    ReadOnly {
        /// The directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// No space is left: make some.
    Full {
        /// The directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    Io {
        /// What was being done, and on which file.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// What had been stored is not there any more as it was: restore a backup, or accept the loss.
    Damaged(Damage),
    /// The directory was written by a newer version of this program: use that one.
    Newer {
        /// The file that says so.
        file: String,
        /// The version of the format.
        version: u32,
    },
    /// What a tool was asked for does not fit what is there: the message says what to do.
    Unfit {
        /// What does not fit.
        message: String,
    },
    /// The configuration makes no sense: correct it.
    Config {
        /// What is wrong.
        message: String,
    },
}

/// Where stored bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The place in it, in bytes.
    pub offset: u64,
    /// What was found.
    pub found: String,
}

impl Damage {
    /// The directory of the file, as a person would type it.
    fn dir(&self) -> std::path::Display<'_> {
        let file = std::path::Path::new(&self.file);
        file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(file).display()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.file, self.offset, self.found)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { dir, holder } => {
                write!(f, "the data directory {dir} is in use by another hub")?;
                if let Some(holder) = holder {
                    write!(f, " (process {holder})")?;
                }
                f.write_str("; stop that one or choose another directory")
            }
            Self::ReadOnly { dir, .. } => write!(
                f,
                "the data directory {dir} cannot be written to; make it writable for the user that runs the hub, choose another directory, or keep events in memory only (durability = memory)"
            ),
            Self::Full { dir, .. } => {
                write!(f, "no space is left for the data directory {dir}; free some and start again")
            }
            Self::Io { doing, .. } => write!(f, "{doing} did not work"),
            Self::Damaged(damage) => write!(
                f,
                "the log is damaged: {damage}. These bytes had been stored and are not what was written, so the hub does not start. `tidings log repair {dir}` mends it and loses only what was hit (`tidings log verify {dir}` says what that is); or restore a backup. As a last resort on_damage = cut ends the log before the damage",
                dir = damage.dir(),
            ),
            Self::Newer { file, version } => write!(
                f,
                "{file} has format {version}, which this version does not know; start the newer version that wrote it"
            ),
            Self::Unfit { message } => f.write_str(message),
            Self::Config { message } => write!(f, "the log's configuration makes no sense: {message}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ReadOnly { source, .. } | Self::Full { source, .. } | Self::Io { source, .. } => {
                Some(source)
            }
            Self::Locked { .. }
            | Self::Damaged(_)
            | Self::Newer { .. }
            | Self::Unfit { .. }
            | Self::Config { .. } => None,
        }
    }
}

/// Inside the crate: what went wrong with a file, before it is known whom to tell.
#[derive(Debug)]
pub(crate) enum Trouble {
    Io { doing: String, source: io::Error },
    Damaged(Damage),
    Newer { file: String, version: u32 },
}

impl Trouble {
    pub(crate) fn io(doing: &str, place: String) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{doing} {place}");
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn damaged(file: String, offset: u64, found: impl Into<String>) -> Self {
        Self::Damaged(Damage { file, offset, found: found.into() })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Newer { file, version } => write!(f, "{file} has format {version}, which is not known"),
        }
    }
}

impl Trouble {
    pub(crate) fn into_open_error(self, dir: String) -> OpenError {
        match self {
            Self::Io { source, .. } if is_read_only(&source) => OpenError::ReadOnly { dir, source },
            Self::Io { source, .. } if crate::disk::is_full(&source) => OpenError::Full { dir, source },
            Self::Io { doing, source } => OpenError::Io { doing, source },
            Self::Damaged(damage) => OpenError::Damaged(damage),
            Self::Newer { file, version } => OpenError::Newer { file, version },
        }
    }

    pub(crate) fn into_log_error(self) -> LogError {
        let mut message = self.to_string();
        if let Self::Damaged(damage) = &self {
            message =
                format!("{message}; stop the hub and mend it with `tidings log repair {}`", damage.dir());
        }
        let message: Arc<str> = message.into();
        match self {
            Self::Io { .. } => LogError::Io { message },
            Self::Damaged(_) | Self::Newer { .. } => LogError::Damaged { message },
        }
    }
}

pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
