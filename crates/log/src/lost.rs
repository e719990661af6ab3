//! The file `LOST`: places whose records were damaged and written off by a repair, so that readers are told.
//!
//! Written by repairs alone, read at every start. **Invariant:** a place in it is never given out again: a start
//! clips it to the end of the log before anything is accepted.

use std::io;
use std::sync::Arc;

use tidings_hub::Seq;
use tidings_hub::ports::SeqRange;

use crate::disk::{Disk, read_all, replace};
use crate::error::Trouble;
use crate::wire::{Input, Output};

pub(crate) const LOST: &str = "LOST";

const MAGIC: u32 = u32::from_le_bytes(*b"TLST");
const VERSION: u32 = 1;
const BYTES_MAX: usize = 64 << 20;

/// Reads the file; nothing if there is none, or if it is another log's.
pub(crate) fn load(disk: &dyn Disk, log_id: u64) -> Result<Vec<SeqRange>, Trouble> {
    let place = || disk.place(LOST);
    let file = match disk.open(LOST) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Trouble::io("opening", place())(error)),
    };
    let bytes = read_all(&*file, BYTES_MAX).map_err(Trouble::io("reading", place()))?;
    match decode(&bytes) {
        Some((_, Some((of, ranges)))) => Ok(if of == log_id { ranges } else { Vec::new() }),
        Some((version, None)) => Err(Trouble::Newer { file: place(), version }),
        None => {
            let found = "the file is not what was written: which places were written off is not known";
            Err(Trouble::damaged(place(), 0, found))
        }
    }
}

/// Replaces the file, durably.
pub(crate) fn store(disk: &dyn Disk, log_id: u64, ranges: &[SeqRange]) -> Result<(), Trouble> {
    replace(disk, LOST, &encode(log_id, ranges)).map_err(Trouble::io("writing", disk.place(LOST)))
}

/// What a start goes by: what lies within the log. What lies behind its end (of a log that was cut since) would
/// come to mean other events, and goes.
pub(crate) fn at_start(
    disk: &dyn Disk,
    log_id: u64,
    oldest: Seq,
    head: Seq,
) -> Result<Arc<[SeqRange]>, Trouble> {
    let found = load(disk, log_id)?;
    let clip = |range: &SeqRange| SeqRange { first: range.first, last: range.last.min(head) };
    let kept: Vec<SeqRange> =
        found.iter().map(clip).filter(|range| range.last >= oldest.max(range.first)).collect();
    if found.iter().any(|range| range.last > head) {
        store(disk, log_id, &kept)?;
    }
    Ok(kept.into())
}

/// Ascending, and one range for those that touch.
pub(crate) fn joined(mut ranges: Vec<SeqRange>) -> Vec<SeqRange> {
    ranges.sort_unstable_by_key(|range| range.first);
    let mut joined: Vec<SeqRange> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|before| range.first <= before.last.next()) {
            Some(before) => before.last = before.last.max(range.last),
            None => joined.push(range),
        }
    }
    joined
}

fn encode(log_id: u64, ranges: &[SeqRange]) -> Vec<u8> {
    let mut out = Vec::new();
    out.u32(MAGIC);
    out.u32(VERSION);
    out.u64(log_id);
    out.u64(ranges.len() as u64);
    for range in ranges {
        out.u64(range.first.0);
        out.u64(range.last.0);
    }
    let crc = crc32c::crc32c(&out);
    out.u32(crc);
    out
}

type Content = (u64, Vec<SeqRange>);

fn decode(bytes: &[u8]) -> Option<(u32, Option<Content>)> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let mut input = Input::new(content);
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) || input.u32()? != MAGIC {
        return None;
    }
    let version = input.u32()?;
    if version != VERSION {
        return Some((version, None));
    }
    let log_id = input.u64()?;
    let mut ranges = Vec::new();
    for _ in 0..input.u64()? {
        ranges.push(SeqRange { first: Seq(input.u64()?), last: Seq(input.u64()?) });
    }
    input.is_empty().then_some((version, Some((log_id, ranges))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn it_comes_back_and_no_other_bytes_pass() {
        let ranges = vec![range(1, 2), range(9, 9)];
        let bytes = encode(7, &ranges);
        assert_eq!(decode(&bytes), Some((VERSION, Some((7, ranges)))));
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]), None);
            let mut odd = bytes.clone();
            odd[at] ^= 16;
            assert_eq!(decode(&odd), None, "byte {at}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let check =
            |ranges: &[SeqRange], expected: &[SeqRange]| assert_eq!(joined(ranges.to_vec()), expected);
        check(&[range(5, 6), range(1, 2), range(3, 3)], &[range(1, 3), range(5, 6)]);
        check(&[range(1, 9), range(2, 3)], &[range(1, 9)]);
    }
}
