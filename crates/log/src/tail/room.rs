//! Room for batches to come: zeros that are written behind the active segment's last one.
//!
//! A sync of a file that grows has to wait for the file system's journal too; one of bytes that were written before
//! (also as zeros; blocks that are merely reserved do not count) has not, and takes half the time. So zeros are
//! written ahead, a bounded step at a time, in the same sync as the batch that needed them.
//! **Invariant:** room is never needed: what cannot be made is done without, and nobody is refused for it.

use crate::disk::DiskFile;

/// The most that is made at once. Its sync takes some milliseconds, and some hundred batches have room in it.
const STEP_BYTES_MAX: u64 = 1 << 20;
/// The least, in a segment that is long enough: a new log stays small.
const STEP_BYTES_MIN: u64 = 64 << 10;
/// Where batches are larger, writing every byte twice costs more than the journal does.
const BATCH_BYTES_MAX: u64 = 48 << 10;
/// A step ends where a page does: no page is written twice for it.
const PAGE_BYTES: u64 = 4 << 10;
/// How much of the past the mean length of a batch has in it.
const MEAN_PARTS: u64 = 8;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
const _: () = assert!(ZEROS.len() as u64 == STEP_BYTES_MAX);

/// What is behind the last batch of the active segment.
#[derive(Debug)]
pub(super) struct Room {
    /// No room is made past this length of the segment; 0: none at all.
    limit: u64,
    /// Up to where the file was written, by batches or zeros.
    written: u64,
    /// The mean length of the last batches.
    mean_bytes: u64,
    /// There was no space for it: none is made before the segment is this long.
    refused_until: u64,
}

impl Room {
    /// None, in a file of this length.
    pub(super) fn none(written: u64) -> Self {
        Self { limit: 0, written, mean_bytes: 0, refused_until: 0 }
    }

    /// From now on room is made in segments of up to so many bytes.
    pub(super) fn allow(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The same for the next segment, which has this length.
    pub(super) fn next(&self, written: u64) -> Self {
        Self { written, refused_until: 0, ..*self }
    }

    /// The file was written up to here, or may have been.
    pub(super) fn reached(&mut self, end: u64) {
        self.written = self.written.max(end);
    }

    /// A batch of `bytes` was written that ends at `end`. Makes room behind it if there is none left.
    pub(super) fn make(&mut self, file: &dyn DiskFile, end: u64, bytes: u64) {
        self.mean_bytes = (self.mean_bytes * (MEAN_PARTS - 1) + bytes) / MEAN_PARTS;
        let is_used_up = end >= self.written;
        self.reached(end);
        if !is_used_up || self.mean_bytes > BATCH_BYTES_MAX || end < self.refused_until {
            return;
        }
        let to = step_end(end, self.limit);
        let count = usize::try_from(to.saturating_sub(end)).unwrap_or(0);
        let Some(zeros) = ZEROS.get(..count).filter(|zeros| !zeros.is_empty()) else { return };
        self.reached(to);
        if let Err(error) = file.write_at(end, zeros) {
            // What there still is may be wanted for something else. (A disk that is hurt will say so to the sync.)
            tracing::debug!(%error, "no room is made ahead");
            self.refused_until = end.saturating_add(STEP_BYTES_MAX);
            self.give_back(file, end);
        }
    }

    /// Cuts off what is behind the last batch. Should it stay, no harm is done: nobody takes it for anything.
    pub(super) fn give_back(&mut self, file: &dyn DiskFile, end: u64) {
        if self.written > end && file.truncate(end).is_ok() {
            self.written = end;
        }
    }
}

/// Up to where room is made behind a batch that ends at `end`, in a segment that is followed at `limit`.
fn step_end(end: u64, limit: u64) -> u64 {
    let least = STEP_BYTES_MIN.min(limit / 4);
    let step = (end / 2).clamp(least, STEP_BYTES_MAX);
    let to = end.saturating_add(step).min(limit);
    // Segments that are shorter than some pages are there for tests.
    if least < STEP_BYTES_MIN { to } else { to - to % PAGE_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk};

    #[test]
    fn steps_grow_with_the_segment_and_end_with_it() {
        let limit = 64 << 20;
        assert_eq!(step_end(200, limit), 64 << 10);
        assert_eq!(step_end(1 << 20, limit), 3 << 19);
        assert_eq!(step_end(32 << 20, limit), 33 << 20);
        assert_eq!(step_end(limit - 5_000, limit), limit);
        assert!(step_end(limit + 1, limit) < limit + 1, "a segment that cannot be followed");
        assert_eq!(step_end(500, 2_000), 1_000);
        assert_eq!(step_end(500, 0), 0, "none is wanted");
    }

    #[test]
    fn room_is_made_for_small_batches_alone_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let file = disk.create("f").unwrap();
        let mut room = Room::none(0);
        room.make(&*file, 100, 100);
        assert_eq!(file.len().unwrap(), 0, "none is wanted");
        room.allow(64 << 20);
        room.make(&*file, 200, 100);
        assert_eq!(file.len().unwrap(), 64 << 10);
        room.make(&*file, 300, 100);
        assert_eq!(file.len().unwrap(), 64 << 10, "there is some left");
        room.make(&*file, 70_000, 69_700);
        assert!(file.len().unwrap() > 100_000, "one large batch is none yet");
        room.give_back(&*file, 70_000);
        assert_eq!(file.len().unwrap(), 70_000);
        for number in 1..20 {
            room.reached(number * (1 << 20));
            room.make(&*file, number * (1 << 20), 1 << 20);
        }
        assert_eq!(file.len().unwrap(), 70_000);
    }
}
