//! The real disk: a directory of the file system, through the standard library, but for reads on Linux.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, LockError};

const LOCK: &str = "LOCK";

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    is_read_only: bool,
}

impl RealDisk {
    /// Uses a directory; creates it with its parents if it is not there.
    ///
    /// # Errors
    /// What the system says; [`crate::EmbeddedLog::open_dir`] turns it into a message that says what to do.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, is_read_only: false })
    }

    /// Uses a directory that is there, to look at it: creates nothing, and opens files for reading alone.
    ///
    /// # Errors
    /// What the system says, also if it is no directory.
    pub fn read_only(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::read_dir(&dir)?;
        Ok(Self { dir, is_read_only: true })
    }

    fn writable(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // The log's own names are ASCII; what is not even UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(!self.is_read_only).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.writable()?;
        let how = || OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
        Ok(Arc::new(RealFile(how().open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError> {
        self.writable().map_err(LockError::Io)?;
        let mut how = OpenOptions::new();
        let how = how.read(true).write(true).create(true).truncate(false);
        let mut file = how.open(self.path(LOCK)).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {
                // Who has it is for messages only: an error here is no reason to stop.
                if file.set_len(0).is_ok() {
                    _ = writeln!(file, "{}", std::process::id());
                }
                Ok(Box::new(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.take(32).read_to_string(&mut text);
                let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let holder = read.ok().map(|_| text.trim()).filter(|text| digits(text)).map(Into::into);
                Err(LockError::Held { holder })
            }
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    fn place(&self, name: &str) -> String {
        if name.is_empty() { self.dir.display().to_string() } else { self.path(name).display().to_string() }
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere a directory cannot be opened to be synced; names last with the file system's own journal.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

struct RealFile(File);

impl DiskFile for RealFile {
    /// Not by way of the C library: to it a read is a place at which a thread may be cancelled, and seeing to that costs
    /// time beside small ones.
    #[cfg(target_os = "linux")]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.0, into, offset)?)
    }

    #[cfg(all(unix, not(target_os = "linux")))]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, into, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, into, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset = offset.saturating_add(count.try_into().unwrap_or(u64::MAX));
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(unix)]
    fn identity(&self) -> io::Result<Option<NonZeroU64>> {
        use std::os::unix::fs::MetadataExt;
        let metadata = self.0.metadata()?;
        Ok(NonZeroU64::new(metadata.dev().rotate_left(40) ^ metadata.ino()))
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
}
