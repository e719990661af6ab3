//! The seam between the log and the outside: one flat directory of files, and chance.
//!
//! Everything the log asks of the world goes through [`Disk`], so that a simulated one can lose unsynced bytes,
//! tear writes, fail calls and crash between any two of them. What a `Disk` need not promise is not relied on:
//! unsynced bytes may be lost in any order and in part, unsynced names too.

mod real;

use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::mutants::{Mutant, is_on};

pub use real::RealDisk;

/// A directory of files. Names are plain file names.
pub trait Disk: Send + Sync + 'static {
    /// The names that are there, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound` if it is not there; else what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file, empty; one of this name is emptied. The name lasts after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that had it. Lasts after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; open handles stay usable. Lasts after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Makes names that were created, changed or removed last.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the directory for one user, until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody has it; else what the system says.
    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError>;

    /// Where a file is, for messages to people.
    fn place(&self, name: &str) -> String;

    /// A random number: salts and lives are told apart by it.
    ///
    /// # Errors
    /// What the system says.
    fn random(&self) -> io::Result<u64>;
}

/// A file. Shared between the writer and readers.
pub trait DiskFile: Send + Sync {
    /// Reads from an offset; fewer bytes than asked for at the end of the file, 0 behind it.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at an offset. After an error any part of them may be there.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes and length last.
    ///
    /// # Errors
    /// What the system says. After an error nothing is known of what had not been synced before.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file (or lengthens it with zeros). Lasts after [`DiskFile::sync_data`].
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// What tells this file from a copy of it: the same for as long as the file is there, under whatever name, and
    /// another one for a copy. `None` where the system has no such thing.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<Option<NonZeroU64>> {
        Ok(None)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// Why a directory could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody has it; what they left about themselves, if anything.
    Held {
        /// Their process id, as far as it could be read.
        holder: Option<Box<str>>,
    },
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { holder: Some(holder) } => write!(f, "in use by process {holder}"),
            Self::Held { holder: None } => f.write_str("in use by another process"),
            Self::Io(_) => f.write_str("the lock could not be taken"),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Io(error) => Some(error),
        }
    }
}

/// Whether an error says that there is no space, so that it may work later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error says that the process, or the system, has no descriptors left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    return [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Reads as much as there is, up to the buffer's length.
pub(crate) fn read_up_to(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done.try_into().unwrap_or(u64::MAX));
        match file.read_at(at, rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A whole file, at most `bytes_max` long.
pub(crate) fn read_all(file: &dyn DiskFile, bytes_max: usize) -> io::Result<Vec<u8>> {
    let len = crate::wire::index(file.len()?).min(bytes_max);
    let mut bytes = vec![0; len];
    let count = read_up_to(file, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Replaces a file as a whole: written beside it, synced, renamed, and the name synced. After a crash either the
/// old or the new content is there.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace_with(disk, name, |file| file.write_at(0, bytes))
}

/// The same with what `write` puts into the new file, which is empty.
pub(crate) fn replace_with(
    disk: &dyn Disk,
    name: &str,
    write: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let beside = format!("{name}{TMP}");
    let is_meta = name == crate::meta::META;
    let make = || {
        let file = disk.create(&beside)?;
        write(&*file)?;
        if !is_on(if is_meta { Mutant::SkipMetaSync } else { Mutant::SkipCheckpointSync }) {
            file.sync_data()?;
        }
        disk.rename(&beside, name)
    };
    make().inspect_err(|_| {
        // What there is of it takes space, which may be what was lacking.
        _ = disk.unlink(&beside);
    })?;
    if is_on(if is_meta { Mutant::SkipMetaDirSync } else { Mutant::SkipCheckpointDirSync }) {
        return Ok(());
    }
    disk.sync_dir()
}

/// What the names of files end in that are not yet whole.
pub(crate) const TMP: &str = ".tmp";
