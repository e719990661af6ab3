//! The file `META`: whose log this is, its lives, and how the last one ended.
//!
//! It is replaced as a whole at every start and at every clean end, and read only at a start.
//! **Invariant:** what it says about a life is durable before that life takes its first record.

use std::io;
use std::num::NonZeroU64;

use tidings_hub::ports::Durability;
use tidings_hub::{Epoch, Epochs, Seq};

use crate::disk::{Disk, DiskFile, read_all, replace_with};
use crate::error::Trouble;
use crate::wire::{Input, Output, len32};

pub(crate) const META: &str = "META";

const MAGIC: u32 = u32::from_le_bytes(*b"TMET");
const VERSION: u32 = 2;
/// It has no identity of its own file.
const VERSION_1: u32 = 1;
const BYTES_MAX: usize = 16 << 20;

/// The content of `META`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The identity of the log, by chance.
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    /// The present or last life's promise.
    pub(crate) durability: Durability,
    /// How the last life ended, if it ended cleanly and no new one began.
    pub(crate) clean: Option<Clean>,
    /// This is a copy of the file that was written: of the whole directory, it must be supposed. Not part of the
    /// content.
    pub(crate) is_copied: bool,
}

/// A clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clean {
    /// The last place that was given out, stored or not.
    pub(crate) head: Seq,
    /// The segment that was written to last.
    pub(crate) base: Seq,
    /// Its length.
    pub(crate) bytes: u64,
}

impl Meta {
    /// The bytes, for a file of this identity.
    fn encode(&self, home: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.u32(MAGIC);
        out.u32(VERSION);
        out.u64(self.log_id);
        out.u8(match self.durability {
            Durability::Fsync => 0,
            Durability::Os => 1,
            Durability::Memory => 2,
        });
        out.u8(u8::from(self.clean.is_some()));
        let clean = self.clean.unwrap_or(Clean { head: Seq::ZERO, base: Seq::ZERO, bytes: 0 });
        out.u64(clean.head.0);
        out.u64(clean.base.0);
        out.u64(clean.bytes);
        out.u64(home);
        out.u32(len32(self.epochs.pairs().len()));
        for (epoch, first) in self.epochs.pairs() {
            out.u32(epoch.0);
            out.u64(first.0);
        }
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out
    }

    /// The format and the content; `None` if these are not the bytes that were written.
    fn decode(bytes: &[u8], home: u64) -> Option<(u32, Option<Self>)> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let mut input = Input::new(content);
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) || input.u32()? != MAGIC {
            return None;
        }
        let version = input.u32()?;
        if !matches!(version, VERSION | VERSION_1) {
            return Some((version, None));
        }
        let log_id = input.u64()?;
        let durability = match input.u8()? {
            0 => Durability::Fsync,
            1 => Durability::Os,
            2 => Durability::Memory,
            _ => return None,
        };
        let is_clean = input.u8()? == 1;
        let clean = Clean { head: Seq(input.u64()?), base: Seq(input.u64()?), bytes: input.u64()? };
        let written_in = if version == VERSION_1 { 0 } else { input.u64()? };
        let mut pairs = Vec::new();
        for _ in 0..input.u32()? {
            pairs.push((Epoch(input.u32()?), Seq(input.u64()?)));
        }
        let epochs = Epochs::from_pairs(pairs)?;
        let is_copied = written_in != 0 && home != 0 && written_in != home;
        let meta = Self { log_id, epochs, durability, clean: is_clean.then_some(clean), is_copied };
        input.is_empty().then_some((version, Some(meta)))
    }

    /// Reads the file; `None` if there is none.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>, Trouble> {
        let place = || disk.place(META);
        let file = match disk.open(META) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Trouble::io("opening", place())(error)),
        };
        let bytes = read_all(&*file, BYTES_MAX).map_err(Trouble::io("reading", place()))?;
        let home = identity(&*file).map_err(Trouble::io("looking at", place()))?;
        match Self::decode(&bytes, home) {
            Some((_, Some(meta))) => Ok(Some(meta)),
            Some((version, None)) => Err(Trouble::Newer { file: place(), version }),
            None => Err(Trouble::damaged(place(), 0, "the file is not what was written")),
        }
    }

    /// Writes the file, durably.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<(), Trouble> {
        let write = |file: &dyn DiskFile| file.write_at(0, &self.encode(identity(file)?));
        replace_with(disk, META, write).map_err(Trouble::io("writing", disk.place(META)))
    }
}

fn identity(file: &dyn DiskFile) -> io::Result<u64> {
    file.identity().map(|identity| identity.map_or(0, NonZeroU64::get))
}

/// A new life's number: by chance, among those with four digits in base 36, so that a directory that was wiped
/// does not hand out old positions again, and ids stay short. Not one of `taken`.
pub(crate) fn new_epoch(random: u64, taken: &[(Epoch, Seq)]) -> Epoch {
    const FIRST: u32 = 36 * 36 * 36;
    const COUNT: u32 = 35 * FIRST;
    let start = u32::try_from(random % u64::from(COUNT)).unwrap_or(0);
    let mut candidates = (start..COUNT).chain(0..start).map(|n| Epoch(FIRST + n));
    let free = candidates.find(|candidate| taken.iter().all(|(epoch, _)| epoch != candidate));
    free.unwrap_or(Epoch(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_no_other_bytes_pass() {
        let epochs = Epochs::from_pairs(vec![(Epoch(7), Seq(1)), (Epoch(3), Seq(500))]).unwrap();
        let clean = Some(Clean { head: Seq(900), base: Seq(400), bytes: 4_096 });
        for clean in [clean, None] {
            let meta = Meta {
                log_id: 9,
                epochs: epochs.clone(),
                durability: Durability::Os,
                clean,
                is_copied: false,
            };
            let bytes = meta.encode(5);
            assert_eq!(Meta::decode(&bytes, 5), Some((VERSION, Some(meta.clone()))));
            assert_eq!(Meta::decode(&bytes, 0), Some((VERSION, Some(meta.clone()))), "no identities here");
            let copied = Meta { is_copied: true, ..meta };
            assert_eq!(Meta::decode(&bytes, 6), Some((VERSION, Some(copied))));
            for at in 0..bytes.len() {
                assert_eq!(Meta::decode(&bytes[..at], 5), None);
                let mut odd = bytes.clone();
                odd[at] ^= 4;
                assert_eq!(Meta::decode(&odd, 5), None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_new_life_has_four_digits_and_a_number_of_its_own() {
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let first = new_epoch(random, &[]);
            let text = tidings_hub::Position { epoch: first, seq: Seq(1) }.to_string();
            assert_eq!(text.find('.'), Some(4), "{text}");
            assert_ne!(new_epoch(random, &[(first, Seq(1))]), first);
        }
    }
}
