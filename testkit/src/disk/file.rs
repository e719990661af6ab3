//! One file of a simulated disk: as a process sees it, and as a loss of power would leave it.

use super::Random;

/// What is written or lost as a whole, unless it is torn.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// As a process sees it.
    pub(super) view: Vec<u8>,
    /// What surely remains.
    durable: Vec<u8>,
    /// What may remain, in order.
    unsynced: Vec<Change>,
    /// A sync failed: a part of `view` will never be durable, whatever is synced later.
    is_apart: bool,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Inode {
    pub(super) fn durable(content: &[u8]) -> Self {
        Self { view: content.to_vec(), durable: content.to_vec(), unsynced: Vec::new(), is_apart: false }
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.view.get(offset..)).unwrap_or(&[]);
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if bytes.is_empty() {
            return;
        }
        put(&mut self.view, offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.view.resize(len, 0);
        self.unsynced.push(Change::Truncate(len));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            self.keep(&change);
        }
    }

    /// A failed sync: some of it lasts, the rest is in memory only and will never be written.
    pub(super) fn drop_unsynced(&mut self, random: &mut Random) {
        self.keep_some(random);
        self.is_apart = true;
    }

    /// A loss of power: what a process saw and what is durable are the same again.
    pub(super) fn lose_unsynced(&mut self, random: &mut Random) {
        if self.unsynced.is_empty() && !self.is_apart {
            return;
        }
        self.keep_some(random);
        self.view.clone_from(&self.durable);
        self.is_apart = false;
    }

    /// Of what was not synced, any part lasts: nothing, all, an in-order beginning that is torn at any byte, or
    /// each write and each cut for itself, whole, torn, or in any of its sectors. Where later bytes last and
    /// earlier ones do not, there are zeros or old bytes.
    fn keep_some(&mut self, random: &mut Random) {
        let changes = std::mem::take(&mut self.unsynced);
        match random.below(6) {
            0 => {}
            1 => changes.iter().for_each(|change| self.keep(change)),
            2 => {
                let end = random.up_to(changes.len());
                changes.iter().take(end).for_each(|change| self.keep(change));
                if let Some(Change::Write { offset, bytes }) = changes.get(end) {
                    put(&mut self.durable, *offset, &bytes[..random.up_to(bytes.len())]);
                }
            }
            _ => {
                for change in &changes {
                    match (random.below(4), change) {
                        (0, _) => {}
                        (1, _) | (_, Change::Truncate(_)) => self.keep(change),
                        (2, Change::Write { offset, bytes }) => {
                            put(&mut self.durable, *offset, &bytes[..random.up_to(bytes.len())]);
                        }
                        (_, Change::Write { offset, bytes }) => self.keep_sectors(*offset, bytes, random),
                    }
                }
            }
        }
    }

    fn keep(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes } => put(&mut self.durable, *offset, bytes),
            Change::Truncate(len) => self.durable.resize(*len, 0),
        }
    }

    fn keep_sectors(&mut self, offset: usize, bytes: &[u8], random: &mut Random) {
        let mut from = 0;
        while from < bytes.len() {
            // Sectors are aligned in the file, not in the write.
            let to = (from + SECTOR_BYTES - (offset + from) % SECTOR_BYTES).min(bytes.len());
            match random.below(8) {
                0..4 => {}
                // Torn within: its end alone, too.
                4 => put(&mut self.durable, offset + from, &bytes[from..from + random.up_to(to - from)]),
                5 => {
                    let at = from + random.up_to(to - from);
                    put(&mut self.durable, offset + at, &bytes[at..to]);
                }
                _ => put(&mut self.durable, offset + from, &bytes[from..to]),
            }
            from = to;
        }
        // The length may be there before the bytes are.
        let end = offset + bytes.len();
        if self.durable.len() < end && random.once_in(2) {
            self.durable.resize(end, 0);
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}
