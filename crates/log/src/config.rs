//! What may be set of a log, with the defaults. Each name ends in its unit.

use tidings_hub::keys::KeyWindow;
use tidings_hub::ports::Durability;
use tidings_hub::{Retention, Selector};

use crate::error::OpenError;

/// The settings of a log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// What an ack means: `Fsync` or `Os`. `Memory` is [`crate::MemoryLog`]'s and refused here.
    pub durability: Durability,
    /// A segment file is followed by a new one when it is this long. 64 KiB to 1 GiB (tests may go lower).
    pub segment_bytes: u64,
    /// The most that is written and synced at once, in bytes of encoded records, and so the most that one atomic
    /// submission or one event may have. At most 256 MiB.
    pub batch_bytes_max: usize,
    /// Events older than this are removed, whole segments at a time; `None`: no limit by age. A segment that is
    /// not full is followed by a new one after an eighth of this, so an event goes at 9/8 of this age at latest.
    pub retention_age_ms: Option<u64>,
    /// When all segments together are longer than this, the oldest are removed; `None`: no limit by size.
    pub retention_bytes: Option<u64>,
    /// When there are more events than this, the oldest are removed, whole segments at a time; `None`: no limit.
    pub retention_count: Option<u64>,
    /// The newest event of each topic is kept, whatever limit it is past, unless it is a tombstone.
    pub retention_keep_last: bool,
    /// For how long what is gone may still take space: then at latest a segment is written anew without it, however
    /// little it is.
    pub erase_after_ms: u64,
    /// Limits for the topics that declare none themselves; the first selector that matches counts.
    pub topic_retention: Vec<(Selector, Retention)>,
    /// For how long repetitions under an idempotency key are known.
    pub key_window: KeyWindow,
    /// Submissions that may wait for the writer.
    pub submit_queue_max: usize,
    /// Bytes that waiting submissions may have together.
    pub submit_queue_bytes: usize,
    /// Threads that read old history; with one, nothing is read ahead. 0: reads run on the caller's thread (for tests, and for programs whose
    /// callers may block).
    pub read_threads: usize,
    /// Reads that may wait for a thread; more are answered `Busy`.
    pub read_queue_max: usize,
    /// Bytes that all reads under way or waiting may collect together; more are answered `Busy`.
    pub read_budget_bytes: usize,
    /// Indexes of sealed segments that are kept in memory, in bytes.
    pub index_cache_bytes: usize,
    /// How many bytes of events [`crate::MemoryLog`] keeps.
    pub memory_bytes: usize,
    /// What to do when stored bytes are not what was written.
    pub on_damage: OnDamage,
    /// Begin a new life of the log: to be set once after its directory was restored from a backup, since
    /// positions after the backup were handed out already.
    pub restored: bool,
}

/// What a start does about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Do not start, and say where it is.
    #[default]
    Refuse,
    /// Keep what is before the damage, set the rest aside in files named `.damaged`, begin a new epoch.
    Cut,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes: 64 << 20,
            batch_bytes_max: 8 << 20,
            retention_age_ms: None,
            retention_bytes: Some(8 << 30),
            retention_count: None,
            retention_keep_last: false,
            erase_after_ms: 12 * 3_600_000,
            topic_retention: Vec::new(),
            key_window: KeyWindow::default(),
            submit_queue_max: 4_096,
            submit_queue_bytes: 64 << 20,
            read_threads: 3,
            read_queue_max: 1_024,
            read_budget_bytes: 64 << 20,
            index_cache_bytes: 32 << 20,
            memory_bytes: 64 << 20,
            on_damage: OnDamage::Refuse,
            restored: false,
        }
    }
}

impl LogConfig {
    const SEGMENT_BYTES_MIN: u64 = 256;
    const SEGMENT_BYTES_MAX: u64 = 1 << 30;
    const BATCH_BYTES_MAX: usize = 256 << 20;

    /// Whether the settings fit together.
    ///
    /// # Errors
    /// [`OpenError::Config`] names the setting and its bounds.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let fail = |message: String| Err(OpenError::Config { message });
        if self.durability == Durability::Memory {
            return fail("durability = memory needs no directory; open a MemoryLog".into());
        }
        if !(Self::SEGMENT_BYTES_MIN..=Self::SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            let (min, max) = (Self::SEGMENT_BYTES_MIN, Self::SEGMENT_BYTES_MAX);
            return fail(format!("segment_bytes is {}; it must be {min} to {max}", self.segment_bytes));
        }
        if !(1_024..=Self::BATCH_BYTES_MAX).contains(&self.batch_bytes_max) {
            let max = Self::BATCH_BYTES_MAX;
            return fail(format!("batch_bytes_max is {}; it must be 1024 to {max}", self.batch_bytes_max));
        }
        for (name, value) in [
            ("submit_queue_max", self.submit_queue_max),
            ("submit_queue_bytes", self.submit_queue_bytes),
            ("read_queue_max", self.read_queue_max),
            ("read_budget_bytes", self.read_budget_bytes),
        ] {
            if value == 0 {
                return fail(format!("{name} is 0; nothing could ever be done"));
            }
        }
        Ok(())
    }
}
