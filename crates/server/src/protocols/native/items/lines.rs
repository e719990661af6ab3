//! Bytes to lines, incrementally. LF ends a line; a CR before it belongs to the end.
//! **Invariants:** every byte is searched once and copied at most once, however the bytes were cut; no more than
//! one line is held.

use std::fmt;

/// What is kept of the buffer between lines; a longer line gives its memory back.
const SCRATCH_BYTES: usize = 8 * 1024;

/// A splitter of one body.
#[derive(Debug)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come, or the last line that was given out.
    held: Vec<u8>,
    /// `held` was given out: forget it at the next call.
    given: bool,
    line_bytes_max: usize,
    /// Lines begun so far.
    number: u64,
    /// A line has begun and not ended.
    open: bool,
}

/// A line, and which one it is, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) number: u64,
}

/// A line is longer than allowed. Whoever wrote it must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineTooLong {
    /// Which one, counted from 1.
    pub(super) number: u64,
    /// The limit that was met.
    pub(super) limit_bytes: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is longer than {} bytes; make its event smaller", self.number, self.limit_bytes)
    }
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { held: Vec::new(), given: false, line_bytes_max, number: 0, open: false }
    }

    /// Reads from the front of `input` to the next end of a line; `None` when `input` is used up.
    ///
    /// # Errors
    /// [`LineTooLong`], before more than the limit is held.
    pub(super) fn next<'l, 'i: 'l>(
        &'l mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Line<'l>>, LineTooLong> {
        self.forget_given();
        if input.is_empty() {
            return Ok(None);
        }
        if !self.open {
            self.open = true;
            self.number += 1;
        }
        let Some((piece, rest)) =
            memchr::memchr(b'\n', input).and_then(|at| Some((input.get(..at)?, input.get(at + 1..)?)))
        else {
            let piece = std::mem::take(input);
            self.check_room(piece)?;
            self.held.extend_from_slice(piece);
            return Ok(None);
        };
        *input = rest;
        self.check_room(piece)?;
        self.open = false;
        let bytes = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(piece);
            self.given = true;
            &self.held
        };
        Ok(Some(Line { bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes), number: self.number }))
    }

    /// The body has ended: what stands after the last end of a line, if anything, is a line too.
    pub(super) fn finish(&mut self) -> Option<Line<'_>> {
        self.forget_given();
        if !std::mem::take(&mut self.open) {
            return None;
        }
        self.given = true;
        let bytes = &self.held[..];
        Some(Line { bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes), number: self.number })
    }

    fn forget_given(&mut self) {
        if std::mem::take(&mut self.given) {
            self.held.clear();
            self.held.shrink_to(SCRATCH_BYTES);
        }
    }

    fn check_room(&self, piece: &[u8]) -> Result<(), LineTooLong> {
        // One more byte: the CR of the end.
        let limit_bytes = self.line_bytes_max;
        if self.held.len() + piece.len() > limit_bytes.saturating_add(1) {
            return Err(LineTooLong { number: self.number, limit_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Lines::new(16);
        let mut found = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(line) = lines.next(&mut piece).unwrap() {
                found.push((line.bytes.to_vec(), line.number));
            }
        }
        found.extend(lines.finish().map(|line| (line.bytes.to_vec(), line.number)));
        found
    }

    #[test]
    fn lines_do_not_depend_on_the_cuts() {
        let whole = b"one\r\n\ntwo\r\r\n  \nfour";
        let expected = [(&b"one"[..], 1), (b"", 2), (b"two\r", 3), (b"  ", 4), (b"four", 5)];
        let expected = expected.map(|(line, number)| (line.to_vec(), number));
        for one in 0..=whole.len() {
            for two in one..=whole.len() {
                let found = split(&[&whole[..one], &whole[one..two], &whole[two..]]);
                assert_eq!(found, expected, "cut at {one} and {two}");
            }
        }
        let bytes: Vec<_> = whole.chunks(1).collect();
        assert_eq!(split(&bytes), expected);
        assert_eq!(split(&[b"a\n"]), [(b"a".to_vec(), 1)], "nothing after the last end is no line");
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn a_line_has_a_length() {
        for cut in 0..18 {
            let mut lines = Lines::new(16);
            let (mut head, mut tail) = b"0123456789abcdef\r\n".split_at(cut);
            assert_eq!(lines.next(&mut head).unwrap(), None);
            assert_eq!(lines.next(&mut tail).unwrap().unwrap().bytes, b"0123456789abcdef");
        }
        for cut in 0..=18 {
            let mut lines = Lines::new(16);
            let (mut head, mut tail) = b"\n0123456789abcdefgh\n".split_at(cut + 1);
            assert_eq!(lines.next(&mut head).unwrap().unwrap().number, 1);
            let early = lines.next(&mut head).err();
            let too_long = early.or_else(|| lines.next(&mut tail).err());
            assert_eq!(too_long, Some(LineTooLong { number: 2, limit_bytes: 16 }));
            assert!(lines.held.len() <= 17);
        }
    }
}
