//! Where the last id is kept, so that a process goes on after its own restart where it was.
//!
//! What it is: [`IdStore`], which anything can be that keeps one short text (a row, a key, a file), and two of them:
//! [`FileStore`] and [`MemoryStore`]. When something is written, and how often, is the source's matter: see
//! [`EventSourceBuilder::store`](crate::EventSourceBuilder::store).
//!
//! **Invariant of [`FileStore`]:** whatever happens while it writes, the file is the old one or the new one, whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidings_codec::EventId;

use crate::transport::BoxFuture;

/// Keeps the last event id of one source.
///
/// ```
/// use std::io;
/// use tidings_client::{EventId, store::IdStore};
///
/// /// In a table, beside what the events did: then both are there, or neither.
/// struct Row(Database);
/// # struct Database;
/// # impl Database {
/// #     async fn get(&self, _: &str) -> io::Result<Option<String>> { Ok(None) }
/// #     async fn put(&self, _: &str, _: &str) -> io::Result<()> { Ok(()) }
/// # }
///
/// impl IdStore for Row {
///     async fn load(&self) -> io::Result<Option<EventId>> {
///         let text = self.0.get("last-event-id").await?;
///         text.map(|text| EventId::parse(&text).map_err(io::Error::other)).transpose()
///     }
///
///     async fn save(&self, id: &EventId) -> io::Result<()> {
///         self.0.put("last-event-id", id.as_str()).await
///     }
/// }
/// ```
pub trait IdStore: Send + Sync + 'static {
    /// What was saved last; `None` if nothing was yet. Asked once, before the first attempt. An error ends the source:
    /// beginning anywhere else could lose events.
    fn load(&self) -> impl Future<Output = io::Result<Option<EventId>>> + Send;

    /// Keeps `id`, which may be empty: then a server has said that there is nothing to resume from. One call at a
    /// time. An error is told and tried again.
    fn save(&self, id: &EventId) -> impl Future<Output = io::Result<()>> + Send;
}

/// A store without its type.
pub(crate) trait AnyStore: Send + Sync {
    fn load(self: Arc<Self>) -> BoxFuture<io::Result<Option<EventId>>>;
    fn save(self: Arc<Self>, id: EventId) -> BoxFuture<io::Result<()>>;
}

impl<S: IdStore> AnyStore for S {
    fn load(self: Arc<Self>) -> BoxFuture<io::Result<Option<EventId>>> {
        Box::pin(async move { IdStore::load(&*self).await })
    }

    fn save(self: Arc<Self>, id: EventId) -> BoxFuture<io::Result<()>> {
        Box::pin(async move { IdStore::save(&*self, &id).await })
    }
}

/// In memory: for a source that is built anew within one process. Clones share what they keep.
///
/// ```
/// use tidings_client::store::{IdStore as _, MemoryStore};
///
/// let store = MemoryStore::default();
/// let source = tidings_client::EventSource::builder("http://127.0.0.1:4000/topics/news").store(store.clone()).build()?;
/// // … and after `source` is gone, another one with `store` goes on where it was.
/// # Ok::<(), tidings_client::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Option<EventId>>>);

impl IdStore for MemoryStore {
    async fn load(&self) -> io::Result<Option<EventId>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, id: &EventId) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        Ok(())
    }
}

/// What a saved id survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, however it ends. Nothing is synchronised: after a loss of power the file may be the old
    /// one, or empty, which [`FileStore`] then tells as an error.
    Process,
    /// The loss of power as well: the file is synchronised before it takes its name, and the directory after. The
    /// default; it costs two writes to the disk per interval.
    #[default]
    PowerLoss,
}

/// In a file of its own: one line that names the format, one with the id. Written beside it (`….new`) and renamed, on
/// tokio's blocking threads. For one process at a time: of two, the one that writes last wins.
///
/// ```
/// use tidings_client::EventSource;
/// use tidings_client::store::{Durability, FileStore};
///
/// let store = FileStore::new("news.last-event-id").durability(Durability::Process);
/// let source = EventSource::builder("http://127.0.0.1:4000/topics/news").store(store).build()?;
/// # Ok::<(), tidings_client::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    path: Arc<Path>,
    durability: Durability,
    /// A write goes on although the source that wanted it is gone: the next one waits for it.
    writing: Arc<Mutex<()>>,
}

/// The first line. A file that begins with anything else is not ours, or was torn.
const HEAD: &str = "tidings last event id, format 1\n";
/// No file of ours is longer than a header of HTTP can be, and far more; a larger one is not read.
const FILE_BYTES_MAX: u64 = 32 << 20;

impl FileStore {
    /// Keeps the id in the file at `path`, whose directory must be there. The file need not.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().into(), durability: Durability::default(), writing: Arc::default() }
    }

    /// What a saved id survives. Default: the loss of power.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Does `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, Durability) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Self { path, durability, writing } = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            work(&path, durability)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        });
        // The runtime is on its way out: nobody waits for this any more.
        done.await.unwrap_or_else(|_| Err(io::Error::other("the runtime has ended")))
    }
}

impl IdStore for FileStore {
    async fn load(&self) -> io::Result<Option<EventId>> {
        self.blocking(|path, _| read(path)).await
    }

    async fn save(&self, id: &EventId) -> io::Result<()> {
        let text = format!("{HEAD}{id}\n");
        self.blocking(move |path, durability| write(path, &text, durability)).await
    }
}

fn read(path: &Path) -> io::Result<Option<EventId>> {
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(invalid("it is too large")),
        Ok(_) => fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let id = text.strip_prefix(HEAD).ok_or_else(|| invalid("its first line is not ours"))?;
    let id = id.strip_suffix('\n').ok_or_else(|| invalid("it is cut off"))?;
    EventId::parse(id).map(Some).map_err(|_| invalid("it holds no event id"))
}

fn invalid(why: &str) -> io::Error {
    let advice = "remove it to begin anew, or put back what was there";
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no file of a last event id ({why}); {advice}"),
    )
}

fn write(path: &Path, text: &str, durability: Durability) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    if durability == Durability::PowerLoss {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&beside, path)?;
    if durability == Durability::PowerLoss {
        sync_directory(path)?;
    }
    Ok(())
}

/// Makes the rename last. Only where a directory can be opened.
fn sync_directory(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
