//! Cutting a damaged log: what is before the damage stays, the rest is set aside under names that no start reads.
//!
//! Nothing is destroyed: what is cut off is kept in files that end in `.damaged`.

use tidings_hub::Seq;

use crate::disk::{Disk, read_all};
use crate::error::Trouble;
use crate::segment::{CHECKPOINT, INDEX, LOG, file_name, place_of};

pub(crate) const DAMAGED: &str = ".damaged";

/// What to do about a damage.
#[derive(Debug)]
pub(crate) enum Cure {
    /// Set these files aside.
    SetAside { names: Vec<String> },
    /// End the log in this segment, at this offset.
    EndAt { base: Seq, offset: u64 },
    /// End the log before this segment.
    EndBefore { base: Seq },
}

/// Does it, durably.
pub(crate) fn apply(disk: &dyn Disk, cure: &Cure) -> Result<(), Trouble> {
    match cure {
        Cure::SetAside { names } => names.iter().try_for_each(|name| set_aside(disk, name))?,
        Cure::EndBefore { base } => end_from(disk, *base)?,
        Cure::EndAt { base, offset } => {
            let name = file_name(*base, LOG);
            let place = || disk.place(&name);
            let doing = |doing: &'static str| Trouble::io(doing, place());
            let file = disk.open(&name).map_err(doing("opening"))?;
            let bytes = read_all(&*file, usize::MAX).map_err(doing("reading"))?;
            let copy = aside(disk, &name)?;
            let keep = || -> std::io::Result<()> {
                let copy = disk.create(&copy)?;
                copy.write_at(0, &bytes)?;
                copy.sync_data()
            };
            keep().map_err(doing("keeping a copy of"))?;
            // What is cut grows again, to any length, and the index would be taken for that of the new end. All this first,
            // and to last: later no start may see that there was anything to do.
            set_aside(disk, &file_name(*base, INDEX))?;
            disk.sync_dir().map_err(Trouble::io("syncing", disk.place("")))?;
            end_from(disk, base.next())?;
            file.truncate(*offset).map_err(doing("cutting"))?;
            file.sync_data().map_err(doing("syncing"))?;
        }
    }
    disk.sync_dir().map_err(Trouble::io("syncing", disk.place("")))
}

/// Sets aside all segments from a base on, and the checkpoints that know of anything in them.
fn end_from(disk: &dyn Disk, base: Seq) -> Result<(), Trouble> {
    let names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
    for name in names {
        let is_later = [LOG, INDEX].iter().any(|kind| place_of(&name, kind).is_some_and(|at| at >= base));
        // A checkpoint may know of what is cut off: its state cannot be taken back.
        let knows = place_of(&name, CHECKPOINT).is_some_and(|through| through >= base.prev());
        if is_later || knows {
            set_aside(disk, &name)?;
        }
    }
    Ok(())
}

fn set_aside(disk: &dyn Disk, name: &str) -> Result<(), Trouble> {
    match disk.rename(name, &aside(disk, name)?) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Trouble::io("setting aside", disk.place(name))(error))
        }
        _ => Ok(()),
    }
}

/// A name for what is set aside of a file, which nothing has yet: what was set aside before is kept too.
pub(crate) fn aside(disk: &dyn Disk, name: &str) -> Result<String, Trouble> {
    let names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
    let numbered = (1..).map(|number| format!("{name}.{number}{DAMAGED}"));
    let mut all = std::iter::once(format!("{name}{DAMAGED}")).chain(numbered);
    Ok(all.find(|aside| !names.contains(aside)).unwrap_or_default())
}
