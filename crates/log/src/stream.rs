//! Large files written and read piece by piece, so that none is ever in memory as a whole.

use std::io;

use crate::disk::{DiskFile, read_up_to};
use crate::wire::Input;

/// What is written or read at a time, about.
const PIECE_BYTES: usize = 256 << 10;

/// A file that is written from some place on.
pub(crate) struct Pour<'f> {
    file: &'f dyn DiskFile,
    at: u64,
    piece: Vec<u8>,
    crc: u32,
}

impl<'f> Pour<'f> {
    pub(crate) fn at(file: &'f dyn DiskFile, at: u64) -> Self {
        Self { file, at, piece: Vec::new(), crc: 0 }
    }

    /// Where what comes next is put.
    pub(crate) fn piece(&mut self) -> &mut Vec<u8> {
        &mut self.piece
    }

    /// Writes what has been put there, if it is much.
    pub(crate) fn spill(&mut self) -> io::Result<()> {
        if self.piece.len() < PIECE_BYTES { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, &self.piece);
        self.file.write_at(self.at, &self.piece)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    /// Writes the rest.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write()
    }

    /// Writes the rest, and the CRC of all that was put there.
    pub(crate) fn finish_with_crc(mut self) -> io::Result<()> {
        let crc = crc32c::crc32c_append(self.crc, &self.piece);
        self.piece.extend_from_slice(&crc.to_le_bytes());
        self.write()
    }
}

/// A file with a CRC at its end, read item by item.
pub(crate) struct Sip<'f> {
    file: &'f dyn DiskFile,
    /// Where the CRC begins.
    end: u64,
    /// Up to here it is read.
    at: u64,
    piece: Vec<u8>,
    /// Up to here the piece is used.
    used: usize,
    crc: u32,
}

impl<'f> Sip<'f> {
    /// `None` if the file is too short to have a CRC.
    pub(crate) fn new(file: &'f dyn DiskFile) -> io::Result<Option<Self>> {
        let end = file.len()?.checked_sub(4);
        Ok(end.map(|end| Self { file, end, at: 0, piece: Vec::new(), used: 0, crc: 0 }))
    }

    /// Reads an item; `None` if what is there is none. `decode` may be called again with more bytes if it gives `None`,
    /// so it must not have done anything then.
    pub(crate) fn item<T>(
        &mut self,
        mut decode: impl FnMut(&mut Input<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        loop {
            let mut input = Input::new(self.piece.get(self.used..).unwrap_or_default());
            if let Some(item) = decode(&mut input) {
                self.used = self.piece.len() - input.rest().len();
                return Ok(Some(item));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        self.piece.drain(..self.used);
        self.used = 0;
        let have = self.piece.len();
        let want = crate::wire::index(self.end - self.at).min(PIECE_BYTES.max(have));
        self.piece.resize(have + want, 0);
        let count = read_up_to(self.file, self.at, self.piece.get_mut(have..).unwrap_or_default())?;
        self.piece.truncate(have + count);
        self.crc = crc32c::crc32c_append(self.crc, self.piece.get(have..).unwrap_or_default());
        self.at += count as u64;
        Ok(count > 0)
    }

    /// Goes past all that is left.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        loop {
            self.used = self.piece.len();
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Whether all was read, and is what was written.
    pub(crate) fn is_whole(&mut self) -> io::Result<bool> {
        if self.used < self.piece.len() || self.at < self.end {
            return Ok(false);
        }
        let mut crc = [0; 4];
        let count = read_up_to(self.file, self.end, &mut crc)?;
        Ok(count == crc.len() && u32::from_le_bytes(crc) == self.crc)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A file in memory.
    #[derive(Default)]
    pub(crate) struct Bytes(pub(crate) Mutex<Vec<u8>>);

    impl DiskFile for Bytes {
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.lock();
            let from = bytes.get(crate::wire::index(offset)..).unwrap_or_default();
            let count = from.len().min(into.len());
            into[..count].copy_from_slice(&from[..count]);
            Ok(count)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let mut all = self.0.lock();
            let from = crate::wire::index(offset);
            let len = all.len().max(from + bytes.len());
            all.resize(len, 0);
            all[from..from + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.0.lock().truncate(crate::wire::index(len));
            Ok(())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().len() as u64)
        }
    }

    #[test]
    fn what_is_poured_is_sipped_whatever_its_length() {
        for items in [0u64, 1, 1_000, 90_000] {
            let file = Bytes::default();
            let mut pour = Pour::at(&file, 0);
            for item in 0..items {
                pour.piece().extend_from_slice(&item.to_le_bytes());
                pour.spill().unwrap();
            }
            pour.finish_with_crc().unwrap();
            let mut sip = Sip::new(&file).unwrap().unwrap();
            for item in 0..items {
                assert_eq!(sip.item(|input| input.u64()).unwrap(), Some(item));
            }
            assert_eq!(sip.item(|input| input.u64()).unwrap(), None);
            assert!(sip.is_whole().unwrap());
            if items > 1 {
                let mut sip = Sip::new(&file).unwrap().unwrap();
                assert_eq!(sip.item(|input| input.u64()).unwrap(), Some(0));
                assert!(!sip.is_whole().unwrap(), "something is left");
                sip.skip().unwrap();
                assert!(sip.is_whole().unwrap());
                file.0.lock()[8] ^= 1;
                let mut sip = Sip::new(&file).unwrap().unwrap();
                sip.skip().unwrap();
                assert!(!sip.is_whole().unwrap(), "a byte is another");
            }
        }
    }
}
