//! The start: from the files that are found to a writer that goes on where the last life ended.
//!
//! **Torn or damaged?** A bad place at the end of the last segment is a torn tail and cut off, unless something
//! proves that the bytes had been synced: a later batch header that says so, the header of the next segment, a
//! clean end, a checkpoint. Then it is damage: the start is refused (or the log cut before it, if so configured).
//! **Invariant:** what is shown after a start is durable: the last segment is synced before anything is served.

pub(crate) mod cut;
mod replay;
mod survey;

use std::io;
use std::sync::Arc;

use tidings_hub::judge::Judge;
use tidings_hub::ports::{Bounds, Clock, Durability};
use tidings_hub::{Epochs, Seq};

use crate::config::{LogConfig, OnDamage};
use crate::disk::{Disk, LockError, TMP};
use crate::error::{Damage, OpenError, Trouble};
use crate::keeper::Keeper;
use crate::lost::{self, LOST};
use crate::meta::{META, Meta, new_epoch};
use crate::mutants::{Mutant, is_on};
use crate::retention::{Limits, RetentionClock};
use crate::segment::{LOG, Sealed, SegmentHeader, VERSION, file_name};
use crate::shared::{Catalog, Shared};
use crate::tail::{Failure, Tail};
use crate::writer::erase::Erasing;
use crate::writer::{Forming, State, Writer};

use cut::Cure;
use replay::{Last, Replayed};
use survey::Survey;

/// Lives that are remembered. Positions of older ones are answered like those of another log.
const EPOCHS_MAX: usize = 1_000;

/// An opened log.
pub(crate) struct Opened {
    pub(crate) writer: Writer,
    pub(crate) lock: Box<dyn Send + Sync>,
}

/// Why a start stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    Trouble(Trouble),
    /// Damage, and what cutting the log before it means.
    Damaged(Damage, Cure),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Opens the log of a directory, or begins one.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    config: LogConfig,
) -> Result<Opened, OpenError> {
    config.check()?;
    let dir = || disk.place("");
    let lock = disk.lock().map_err(|error| match error {
        LockError::Held { holder } => OpenError::Locked { dir: dir(), holder },
        LockError::Io(source) => Trouble::io("locking", dir())(source).into_open_error(dir()),
    })?;
    let mut cuts = 0;
    loop {
        match start(Arc::clone(&disk), &clock, &config, cuts > 0) {
            Ok(writer) => return Ok(Opened { writer, lock }),
            Err(Stop::Trouble(trouble)) => return Err(trouble.into_open_error(dir())),
            // Each cut takes at least one file away or makes one shorter.
            Err(Stop::Damaged(damage, cure)) if config.on_damage == OnDamage::Cut && cuts < 100_000 => {
                tracing::warn!(%damage, "the log is cut before its damage");
                void_end(&*disk).map_err(|trouble| trouble.into_open_error(dir()))?;
                cut::apply(&*disk, &cure).map_err(|trouble| trouble.into_open_error(dir()))?;
                cuts += 1;
            }
            Err(Stop::Damaged(damage, _)) => return Err(OpenError::Damaged(damage)),
        }
    }
}

fn start(
    disk: Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    config: &LogConfig,
    was_cut: bool,
) -> Result<Writer, Stop> {
    let names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
    for name in names.iter().filter(|name| name.ends_with(TMP)) {
        disk.unlink(name).map_err(Trouble::io("removing", disk.place(name)))?;
    }
    let before = load_meta(&*disk, &names, was_cut)?;
    let random = || disk.random().map_err(|source| Trouble::Io { doing: "asking for chance".into(), source });
    let log_id = match &before {
        Some(meta) => meta.log_id,
        None => survey::log_id(&*disk, &names)?.map_or_else(random, Ok)?,
    };
    let mut survey = Survey::take(&*disk, &names, log_id, config.key_window, was_cut)?;
    let replayed = replay::replay(&*disk, &mut survey, before.as_ref(), was_cut)?;
    let wall_ms = clock.wall_ms();

    let clean = before.as_ref().and_then(|meta| meta.clean).filter(|_| !was_cut);
    let mut head = replayed.last_stored;
    head = head.max(clean.map_or(replayed.reserved_through, |clean| clean.head));
    let had_life = survey.had_segments;
    let epochs = match before.as_ref().filter(|_| had_life) {
        None => Epochs::first(new_epoch(random()?, before.as_ref().map_or(&[], |meta| meta.epochs.pairs()))),
        Some(meta) => {
            let mut epochs = meta.epochs.clone();
            let unclean_os = clean.is_none() && meta.durability != Durability::Fsync;
            let unclean_os = unclean_os && !is_on(Mutant::KeepLifeAfterLoss);
            if meta.is_copied {
                tracing::warn!("this directory is a copy of the one that was written to: a new epoch begins");
            }
            if unclean_os || was_cut || config.restored || meta.is_copied {
                epochs.begin(new_epoch(random()?, epochs.pairs()), head.next());
            }
            bounded(epochs)
        }
    };
    // What was handed out in this life is known to the next one before anything is handed out.
    let meta = Meta { log_id, epochs, durability: config.durability, clean: None, is_copied: false };
    if !is_on(Mutant::KeepCleanEnd) || before.is_none() {
        meta.store(&*disk)?;
    }

    let lost =
        lost::at_start(&*disk, log_id, survey.first_base(), head).map_err(|trouble| match trouble {
            Trouble::Damaged(damage) => Stop::Damaged(damage, Cure::SetAside { names: vec![LOST.into()] }),
            trouble => Stop::Trouble(trouble),
        })?;
    let Replayed { fold, mut keys, tail, reserved_through, .. } = replayed;
    let mut sealed = survey.sealed();
    let mut tail = match tail {
        Some(Last::Growing(tail)) => tail,
        last => {
            // One that takes no more records, or none: it goes on in a new one.
            let before = last.and_then(Last::sealed);
            let previous = before.as_ref().map(|before| before.facts.clone());
            sealed.extend(before.map(Arc::new));
            first_segment(&*disk, log_id, random()?, head, reserved_through, previous)?
        }
    };
    if config.durability == Durability::Fsync {
        tail.make_room(config.segment_bytes);
    }
    keys.expire(wall_ms);
    let epochs = Arc::new(meta.epochs.clone());
    let active = Arc::clone(&tail.segment);
    let oldest = sealed.front().map_or(active.base, |segment| segment.facts.base).min(head.next());
    let bounds = Bounds { oldest, head, epochs: Arc::clone(&epochs), durability: config.durability };
    let limits = Limits::new(config, &fold, active.base);
    let judge = Judge::new(fold.clone(), keys, epochs, head);
    let catalog = Catalog { sealed, active };
    let shared = Arc::new(Shared::new(disk, bounds, catalog, fold, lost, config.index_cache_bytes));
    let monotonic_ms = clock.monotonic_ms();
    let known_through = survey.checkpoints.last().copied().unwrap_or(Seq::ZERO);
    let keeper = Keeper::new(Arc::clone(&shared), survey.checkpoints);
    Ok(Writer {
        shared,
        clock: Arc::clone(clock),
        config: config.clone(),
        meta,
        mark: judge.mark(),
        judge,
        tail,
        reserved: reserved_through,
        limits,
        now: RetentionClock::new(wall_ms, monotonic_ms),
        keeper,
        known_through,
        // What is begun from now on is behind what any checkpoint says to be gone.
        known_oldest: Seq::ZERO,
        is_checkpoint_owed: false,
        is_removal_asked: false,
        erasing: Erasing::default(),
        orphans: Vec::new(),
        begun: Vec::new(),
        is_removal_open: false,
        batch: Forming::default(),
        state: State::Running,
        upkept_at_ms: monotonic_ms,
    })
}

fn load_meta(disk: &dyn Disk, names: &[String], was_cut: bool) -> Result<Option<Meta>, Stop> {
    let meta = match Meta::load(disk) {
        Err(Trouble::Damaged(damage)) => {
            return Err(Stop::Damaged(damage, Cure::SetAside { names: vec![META.into()] }));
        }
        other => other?,
    };
    let first = names.iter().find(|name| name.ends_with(LOG));
    match (meta, first) {
        (None, Some(first)) if !was_cut => {
            let found =
                format!("there are segments ({first}), but the file that tells the log's lives is missing");
            let damage = Damage { file: disk.place(META), offset: 0, found };
            Err(Stop::Damaged(damage, Cure::SetAside { names: Vec::new() }))
        }
        (meta, _) => Ok(meta),
    }
}

/// What is cut off had been handed out. Should this start be broken off behind the cut, the next one finds a log
/// that is whole and shorter: it must begin a new life all the same, as after an end that lost what was written.
fn void_end(disk: &dyn Disk) -> Result<(), Trouble> {
    match Meta::load(disk) {
        Ok(Some(meta)) => Meta { durability: Durability::Os, clean: None, ..meta }.store(disk),
        // No life is known then: the next start begins with a new one, or refuses.
        Ok(None) | Err(Trouble::Damaged(_)) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

fn first_segment(
    disk: &dyn Disk,
    log_id: u64,
    salt: u64,
    head: Seq,
    reserved_through: Seq,
    previous: Option<Sealed>,
) -> Result<Tail, Trouble> {
    let header = SegmentHeader {
        version: VERSION,
        log_id,
        salt,
        base: head.next(),
        reserved_through,
        previous,
        compacted: None,
    };
    // What is left of it if that fails, the next start takes for what it is: nothing has been removed since.
    Tail::create(disk, &header, &mut Vec::new()).map_err(|failure| {
        let kind = match &failure {
            Failure::Full(_) => io::ErrorKind::StorageFull,
            Failure::Failed(_) => io::ErrorKind::Other,
        };
        let doing = format!("making {}", disk.place(&file_name(header.base, LOG)));
        Trouble::Io { doing, source: io::Error::new(kind, failure.message().to_owned()) }
    })
}

fn bounded(epochs: Epochs) -> Epochs {
    let pairs = epochs.pairs();
    let newest = pairs.get(pairs.len().saturating_sub(EPOCHS_MAX)..).unwrap_or(pairs).to_vec();
    Epochs::from_pairs(newest).unwrap_or(epochs)
}
