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
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Inode {
    pub(super) fn durable(content: &[u8]) -> Self {
        Self { view: content.to_vec(), durable: content.to_vec(), unsynced: Vec::new() }
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
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// A failed sync: some of it lasts, the rest is in memory only and will never be written.
    pub(super) fn drop_unsynced(&mut self, random: &mut Random) {
        let view = std::mem::take(&mut self.view);
        self.lose_unsynced(random);
        self.view = view;
    }

    /// A loss of power: of what was not synced, some sectors are there and some are not; the last write may be
    /// torn anywhere; where a later sector is there and an earlier one is not, there are zeros or old bytes.
    pub(super) fn lose_unsynced(&mut self, random: &mut Random) {
        let changes = std::mem::take(&mut self.unsynced);
        let count = changes.len();
        let mood = random.below(4);
        for (at, change) in changes.into_iter().enumerate() {
            match change {
                Change::Truncate(len) => {
                    if mood == 1 || random.once_in(2) {
                        self.durable.resize(len, 0);
                    }
                }
                Change::Write { offset, bytes } => match mood {
                    // Nothing arrived; all arrived; an in-order prefix, torn at any byte; any sectors.
                    0 => {}
                    1 => put(&mut self.durable, offset, &bytes),
                    2 => {
                        let is_last = at + 1 == count || random.once_in(4);
                        let len = if is_last { random.up_to(bytes.len()) } else { bytes.len() };
                        put(&mut self.durable, offset, &bytes[..len]);
                        if is_last {
                            break;
                        }
                    }
                    _ => self.keep_sectors(offset, &bytes, random),
                },
            }
        }
        self.view = self.durable.clone();
    }

    fn keep_sectors(&mut self, offset: usize, bytes: &[u8], random: &mut Random) {
        let mut from = 0;
        while from < bytes.len() {
            // Sectors are aligned in the file, not in the write.
            let to = (from + SECTOR_BYTES - (offset + from) % SECTOR_BYTES).min(bytes.len());
            if random.once_in(2) {
                put(&mut self.durable, offset + from, &bytes[from..to]);
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
