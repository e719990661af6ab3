//! Backup and restore: a consistent copy of a directory, made from its files while a hub writes to it.
//!
//! What makes it consistent: sealed segments never change, checkpoints and `META` are replaced as a whole, the last
//! segment only grows and is copied up to its last batch. Checkpoints are copied before the segments are listed, so that no checkpoint knows of anything
//! that is not in the copy. What a race leaves behind (a segment removed or compacted under the copy) the closing
//! verification finds, and it is begun again.
//! **Invariant:** a copy is called done only after every byte of it was read and fits; until then a file says that it
//! is not, and no restore takes it.

use std::io;

use tidings_hub::Seq;
use tidings_hub::ports::Durability;

use super::repair::lock;
use super::verify::{exam, report};
use super::{Grade, Report, failed};
use crate::disk::{Disk, DiskFile, TMP, read_all, read_up_to};
use crate::error::{OpenError, Trouble};
use crate::lost::LOST;
use crate::meta::{META, Meta};
use crate::mutants::{Mutant, is_on};
use crate::segment::{CHECKPOINT, INDEX, LOG, Scan, SegmentHeader, Step, file_name, place_of, read_header};
use crate::wire::index;

/// Is there while a copy is not whole.
const INCOMPLETE: &str = "INCOMPLETE";
/// A running hub may remove or rewrite files under the copy; then it is begun again, so often at most.
const TRIES: usize = 8;
const PIECE_BYTES: usize = 1 << 20;

/// What a backup or a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already from an earlier backup.
    pub kept: u64,
    /// What the verification of the copy says.
    pub report: Report,
}

/// Copies the log of one directory into another; a sealed segment that is there already, byte for byte, is not written
/// again.
///
/// # Errors
/// [`OpenError`]: the copy is in use or is another log's, a file cannot be read or written, or the original is damaged.
pub fn backup(from: &dyn Disk, to: &dyn Disk) -> Result<Copied, OpenError> {
    let _lock = lock(to)?;
    let trouble = failed(from);
    let Some(source) = Meta::load(from).map_err(&trouble)? else {
        return Err(unfit(format!("no log is in {}", from.place(""))));
    };
    check_destination(to, source.log_id)?;
    let mut copied = Copied::default();
    let mut tries = 1;
    loop {
        match copy(from, to, &mut copied) {
            Ok(()) => {}
            Err(Trouble::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                tries += 1;
                continue;
            }
            Err(other) => return Err(trouble(other)),
        }
        let exam = exam(to, &mut |_| {}).map_err(failed(to))?;
        copied.report = report(&exam);
        if copied.report.grade() != Some(Grade::Damage) {
            break;
        }
        tries += 1;
        if tries > TRIES {
            let first = copied.report.findings.iter().find(|finding| finding.grade == Grade::Damage);
            let first = first.map_or_else(String::new, ToString::to_string);
            return Err(unfit(format!(
                "the copy in {} is damaged, and so may be the original: {first}. Look at it with `tidings log verify {}`",
                to.place(""),
                from.place("")
            )));
        }
    }
    done(to).map_err(failed(to))?;
    Ok(copied)
}

/// Makes a directory out of a backup. Its next start begins a new epoch, so that no position that was handed out after
/// the backup comes to mean another event.
///
/// # Errors
/// [`OpenError`]: the backup is damaged or not whole, the directory is not empty, a file cannot be read or written.
pub fn restore(from: &dyn Disk, to: &dyn Disk) -> Result<Copied, OpenError> {
    let names = to.list().map_err(|source| failed(to)(Trouble::io("listing", to.place(""))(source)))?;
    if let Some(name) = names.first() {
        let dir = to.place("");
        return Err(unfit(format!("{dir} is not empty ({name} is there); restore into an empty directory")));
    }
    let names = from.list().map_err(|source| failed(from)(Trouble::io("listing", from.place(""))(source)))?;
    if names.iter().any(|name| name == INCOMPLETE) {
        let dir = from.place("");
        return Err(unfit(format!("the backup {dir} was broken off and is not whole; make it again")));
    }
    let exam = exam(from, &mut |_| {}).map_err(failed(from))?;
    let report = report(&exam);
    if report.grade() == Some(Grade::Damage) {
        let dir = from.place("");
        return Err(unfit(format!(
            "the backup {dir} is damaged: see `tidings log verify {dir}`; `tidings log repair {dir}` makes it whole but for what is lost"
        )));
    }
    let Some(meta) = &exam.meta else { return Err(unfit(format!("no log is in {}", from.place("")))) };
    let _lock = lock(to)?;
    let mut copied = Copied { report, ..Copied::default() };
    let mut copy_all = || {
        let kinds = [CHECKPOINT, LOG, INDEX];
        for name in names.iter().filter(|name| is_of(name, &kinds) || *name == LOST) {
            copy_file(from, to, name, &mut copied)?;
        }
        if is_on(Mutant::RestoreOldLife) {
            return meta.store(to);
        }
        // Last: without it nothing starts on half a directory.
        Meta { durability: Durability::Os, clean: None, ..meta.clone() }.store(to)
    };
    copy_all().map_err(failed(to))?;
    Ok(copied)
}

fn unfit(message: String) -> OpenError {
    OpenError::Unfit { message }
}

fn is_of(name: &str, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| place_of(name, kind).is_some())
}

/// A copy is made into an empty directory, or into an earlier copy of the same log.
fn check_destination(to: &dyn Disk, log_id: u64) -> Result<(), OpenError> {
    let trouble = failed(to);
    let names = to.list().map_err(|source| trouble(Trouble::io("listing", to.place(""))(source)))?;
    let dir = to.place("");
    let is_copy = match Meta::load(to) {
        Ok(Some(meta)) if meta.log_id != log_id => {
            return Err(unfit(format!("{dir} has a backup of another log; choose another directory")));
        }
        Ok(meta) => meta.is_some(),
        Err(Trouble::Damaged(_)) => true,
        Err(other) => return Err(trouble(other)),
    };
    let is_ours = |name: &String| name == "LOCK" || name == INCOMPLETE || name.ends_with(TMP);
    let is_begun = names.iter().any(|name| name == INCOMPLETE);
    if is_copy || is_begun || names.iter().all(is_ours) {
        return Ok(());
    }
    Err(unfit(format!("{dir} is not empty and has no backup of this log; choose another directory")))
}

/// One pass over the files.
fn copy(from: &dyn Disk, to: &dyn Disk, copied: &mut Copied) -> Result<(), Trouble> {
    let here = || Trouble::io("writing", to.place(INCOMPLETE));
    to.create(INCOMPLETE).and_then(|_| to.sync_dir()).map_err(here())?;
    let list = |disk: &dyn Disk| {
        let mut names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
        names.sort_unstable();
        Ok(names)
    };
    let before = content(from, META)?;
    let mut kept: Vec<String> = Vec::new();
    let first_of = |names: &[String]| names.iter().find_map(|name| place_of(name, LOG));
    let names = list(from)?;
    let first = first_of(&names);
    for name in names.iter().filter(|name| place_of(name, CHECKPOINT).is_some() || *name == LOST) {
        copy_file(from, to, name, copied)?;
        kept.push(name.clone());
    }
    let names = list(from)?;
    let through = kept.iter().filter_map(|name| place_of(name, CHECKPOINT)).max();
    if let Some(now) = first_of(&names)
        && first != Some(now)
        && through.is_none_or(|through| through < now.prev())
    {
        // What these segments had in them, a checkpoint knows that is not copied.
        return Err(again(from, "history was removed meanwhile"));
    }
    let segments: Vec<&String> = names.iter().filter(|name| place_of(name, LOG).is_some()).collect();
    for name in &segments {
        if segments.last() == Some(name) {
            copy_growing(from, to, name, copied)?;
        } else {
            copy_unless_there(from, to, name, copied)?;
        }
        kept.push((*name).clone());
    }
    for name in names.iter().filter(|name| place_of(name, INDEX).is_some()) {
        match copy_unless_there(from, to, name, copied) {
            // It is made anew when it is needed.
            Err(Trouble::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => {
                other?;
                kept.push(name.clone());
            }
        }
    }
    copy_file(from, to, META, copied)?;
    if content(from, META)? != before {
        return Err(again(from, "a hub was started or stopped meanwhile"));
    }
    if let Some(through) = through
        && rests_on(to, &kept, through)?
        && is_other(from, to, &file_name(through, CHECKPOINT))?
    {
        return Err(again(from, "a checkpoint was replaced meanwhile"));
    }
    for name in list(to)? {
        let is_old = is_of(&name, &[LOG, INDEX, CHECKPOINT]) || name == LOST || name.ends_with(TMP);
        if is_old && !kept.contains(&name) {
            to.unlink(&name).map_err(Trouble::io("removing", to.place(&name)))?;
        }
    }
    to.sync_dir().map_err(Trouble::io("syncing", to.place("")))
}

/// What is copied does not go together: the copy is begun again.
fn again(from: &dyn Disk, why: &'static str) -> Trouble {
    let source = io::Error::new(io::ErrorKind::NotFound, why);
    Trouble::Io { doing: format!("copying {}", from.place("")), source }
}

/// Whether a copied segment rests on the newest checkpoint of these segments, or on one of the same name that took its place
/// meanwhile: then only that one tells what the segment lacks. (What rests on an older one lacks nothing that the newest
/// does not know; what rests on a newer one is damage, which the verification finds.)
fn rests_on(to: &dyn Disk, names: &[String], through: Seq) -> Result<bool, Trouble> {
    for name in names.iter().filter(|name| place_of(name, LOG).is_some()) {
        let file = to.open(name).map_err(Trouble::io("reading", to.place(name)))?;
        let header = read_header(to, name, &*file)?.ok().and_then(|(header, _)| header.compacted);
        if header.is_some_and(|compacted| compacted.known_at == through) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file that was copied is another by now, or gone.
fn is_other(from: &dyn Disk, to: &dyn Disk, name: &str) -> Result<bool, Trouble> {
    let original = match from.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened.map_err(Trouble::io("reading", from.place(name)))?,
    };
    let copy = to.open(name).map_err(Trouble::io("reading", to.place(name)))?;
    is_same(&*original, &*copy).map(|same| !same).map_err(Trouble::io("reading", from.place(name)))
}

fn done(to: &dyn Disk) -> Result<(), Trouble> {
    to.unlink(INCOMPLETE).and_then(|()| to.sync_dir()).map_err(Trouble::io("removing", to.place(INCOMPLETE)))
}

fn content(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, Trouble> {
    let read = || read_all(&*disk.open(name)?, usize::MAX);
    read().map_err(Trouble::io("reading", disk.place(name)))
}

fn copy_unless_there(from: &dyn Disk, to: &dyn Disk, name: &str, copied: &mut Copied) -> Result<(), Trouble> {
    if let Ok(there) = to.open(name) {
        let reading = || Trouble::io("reading", from.place(name));
        let original = from.open(name).map_err(reading())?;
        // What cannot be read in the copy is copied again.
        if is_same(&*original, &*there).map_err(reading())? {
            copied.kept += 1;
            return Ok(());
        }
    }
    copy_file(from, to, name, copied)
}

/// Whether two files have the same bytes. No header can tell: a power failure takes from a segment what was not synced,
/// and it grows again, with other events, to any length that a backup may have seen before.
fn is_same(original: &dyn DiskFile, copy: &dyn DiskFile) -> io::Result<bool> {
    let len = original.len()?;
    if copy.len().ok() != Some(len) {
        return Ok(false);
    }
    let mut pieces = [(); 2].map(|()| vec![0; index(len).min(PIECE_BYTES)]);
    let [ours, theirs] = &mut pieces;
    let mut at = 0;
    while at < len {
        let count = read_piece(original, at, len, ours)?;
        if count == 0 || read_piece(copy, at, len, theirs).ok() != Some(count) {
            return Ok(false);
        }
        if ours.get(..count) != theirs.get(..count) {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// Copies the segment that may be written to up to its last batch: what is behind that is room for more, and may be
/// written while it is copied, the later part before the earlier.
fn copy_growing(from: &dyn Disk, to: &dyn Disk, name: &str, copied: &mut Copied) -> Result<(), Trouble> {
    let reading = || Trouble::io("reading", from.place(name));
    let source = from.open(name).map_err(reading())?;
    let len = source.len().map_err(reading())?;
    let end = match read_header(from, name, &*source)? {
        Ok((header, crc)) => end_of_batches(&*source, &header, crc, len).map_err(reading())?,
        // The verification of the copy will tell.
        Err(_) => len,
    };
    copy_up_to(from, to, name, end, copied)
}

/// Where the last batch ends. Where one is damaged, the file does.
fn end_of_batches(file: &dyn DiskFile, header: &SegmentHeader, crc: u32, len: u64) -> io::Result<u64> {
    let mut scan = Scan::growing(file, len, header, crc);
    let mut bad_at = None;
    let mut before = scan.at();
    loop {
        let at = scan.at();
        match scan.next()? {
            Step::Batch(_) => before = at,
            Step::End => return Ok(if is_on(Mutant::BackupOneLess) { before } else { at }),
            Step::Bad { .. } => {
                let at = scan.at();
                // It is being written now, or was torn; or what stands behind it was written while this was read.
                if scan.proof_of_sync(at)?.is_none() {
                    return Ok(at);
                }
                if bad_at.replace(at) == Some(at) {
                    return Ok(len);
                }
                scan.look_again();
            }
        }
    }
}

/// Copies a file to the length that it has now, durably and as a whole.
fn copy_file(from: &dyn Disk, to: &dyn Disk, name: &str, copied: &mut Copied) -> Result<(), Trouble> {
    copy_up_to(from, to, name, u64::MAX, copied)
}

fn copy_up_to(
    from: &dyn Disk,
    to: &dyn Disk,
    name: &str,
    end: u64,
    copied: &mut Copied,
) -> Result<(), Trouble> {
    let reading = || Trouble::io("reading", from.place(name));
    let writing = || Trouble::io("writing", to.place(name));
    let source = from.open(name).map_err(reading())?;
    let len = source.len().map_err(reading())?.min(end);
    let beside = format!("{name}{TMP}");
    let target = to.create(&beside).map_err(writing())?;
    let mut piece = vec![0; index(len).min(PIECE_BYTES)];
    let mut at = 0;
    while at < len {
        let count = read_piece(&*source, at, len, &mut piece).map_err(reading())?;
        if count == 0 {
            break;
        }
        target.write_at(at, piece.get(..count).unwrap_or_default()).map_err(writing())?;
        at += count as u64;
    }
    target.sync_data().map_err(writing())?;
    to.rename(&beside, name).map_err(writing())?;
    copied.files += 1;
    copied.bytes += at;
    Ok(())
}

fn read_piece(file: &dyn DiskFile, at: u64, end: u64, piece: &mut [u8]) -> io::Result<usize> {
    let room = index(end - at).min(piece.len());
    read_up_to(file, at, piece.get_mut(..room).unwrap_or_default())
}
