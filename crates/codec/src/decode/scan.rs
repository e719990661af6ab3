//! Where lines end in one chunk, and what of it is text: 64 bytes at a time.
//! Knows no fields and keeps nothing beyond its chunk.
//! **Invariants:** a line end is looked for once; a window is asked again only for the ends it still holds. The
//! LF of a CRLF is never an end of its own.

use wide::u8x16;

use crate::utf8;

/// Bytes whose line ends are found at once.
const WINDOW_BYTES: usize = 64;

/// Windows without an end before the search goes over to `memchr`, which is faster over long lines and slower
/// to start.
const WINDOWS_BEFORE_SEARCH: usize = 4;

/// How far text is checked ahead of the event that asked for it: what the walk over the lines will find in the
/// nearest cache.
const CHECK_AHEAD_BYTES: usize = 16 * 1024;

/// A range of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// One chunk and how far it was read.
#[derive(Debug)]
pub(super) struct Scan<'i> {
    bytes: &'i [u8],
    /// The first byte that was not read yet.
    at: usize,
    /// Line ends of the window, one bit a byte; the first bit is `window_start`.
    ends: u64,
    window_start: usize,
    /// Everything before was searched.
    window_end: usize,
    /// Text that is known to be valid, and where it begins.
    text: &'i str,
    text_start: usize,
    /// Whether this scan lives longer than one event, so that checking ahead pays.
    ahead: bool,
}

impl<'i> Scan<'i> {
    pub(super) fn new(bytes: &'i [u8], ahead: bool) -> Self {
        Self { bytes, at: 0, ends: 0, window_start: 0, window_end: 0, text: "", text_start: 0, ahead }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'i [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn get(&self, span: Span) -> &'i [u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// Reads on to `at`.
    pub(super) fn move_to(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    pub(super) fn move_to_end(&mut self) {
        self.at = self.bytes.len();
    }

    /// The eight bytes from `at` on as a number, the first in its lowest byte; zeros behind the chunk.
    #[inline]
    pub(super) fn word(&self, at: usize) -> u64 {
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => self.last_word(at),
        }
    }

    #[cold]
    fn last_word(&self, at: usize) -> u64 {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// The first line end from here on.
    #[inline]
    pub(super) fn line_end(&mut self) -> Option<usize> {
        let offset = self.at.wrapping_sub(self.window_start);
        if offset < WINDOW_BYTES {
            let ends = self.ends >> offset;
            if ends != 0 {
                return Some(self.at + bit(ends));
            }
        }
        self.search()
    }

    /// The first line end of a chunk of which nothing else was asked yet, where a long line goes on: the quick way
    /// for the small pieces in which a language model's answer comes, and for large ones.
    #[inline]
    pub(super) fn first_line_end(&self) -> Option<usize> {
        let rest = self.rest();
        let end = match rest.len() {
            ..WINDOW_BYTES => first_of_few(rest),
            _ => memchr::memchr2(b'\r', b'\n', rest),
        };
        end.map(|end| self.at + end)
    }

    /// From `start` to the end of the chunk.
    #[inline]
    pub(super) fn from(&self, start: usize) -> &'i [u8] {
        self.bytes.get(start..).unwrap_or_default()
    }

    /// From here to the line end, or to the end of the chunk.
    #[inline]
    pub(super) fn until(&self, end: Option<usize>) -> &'i [u8] {
        self.bytes.get(self.at..end.unwrap_or(self.bytes.len())).unwrap_or_default()
    }

    /// Whether the line that ends at `end` is followed by a blank one, and both are ended by LF.
    #[inline]
    pub(super) fn is_blank_line(&self, end: usize) -> bool {
        self.bytes.get(end..).is_some_and(|rest| rest.starts_with(b"\n\n"))
    }

    /// Reads over the line end at `end`, CRLF as one. `false`: it is a CR and the last byte of the chunk, so
    /// that a LF at the beginning of the next one belongs to it.
    #[inline]
    pub(super) fn pass(&mut self, end: usize) -> bool {
        self.at = end + 1;
        if self.bytes.get(end) != Some(&b'\r') {
            return true;
        }
        match self.bytes.get(end + 1) {
            Some(b'\n') => {
                self.at = end + 2;
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    fn search(&mut self) -> Option<usize> {
        if self.at < self.window_start && self.ends != 0 {
            // Asked for before, and not passed since.
            return Some(self.window_start + bit(self.ends));
        }
        for _ in 0..WINDOWS_BEFORE_SEARCH {
            if let Some(end) = self.next_window()? {
                return Some(end);
            }
        }
        let from = self.window_end.max(self.at);
        let found = self.bytes.get(from..).and_then(|rest| memchr::memchr2(b'\r', b'\n', rest));
        self.window_end = found.map_or(self.bytes.len(), |found| from + found);
        self.ends = 0;
        self.next_window()?
    }

    /// Moves the window on. `None` at the end of the chunk, `Some(None)` if the window holds no end.
    fn next_window(&mut self) -> Option<Option<usize>> {
        let from = self.window_end.max(self.at);
        let len = self.bytes.len();
        if from >= len {
            (self.window_start, self.ends) = (len, 0);
            return None;
        }
        if let Some(window) = self.bytes.get(from..).and_then(<[u8]>::first_chunk) {
            self.window_start = from;
            self.window_end = from + WINDOW_BYTES;
            self.ends = line_ends(window);
        } else {
            // The last window reaches back over what is known to hold no end, or lies before `at`.
            self.window_start = len.saturating_sub(WINDOW_BYTES);
            self.window_end = len;
            self.ends = match self.bytes.last_chunk() {
                Some(window) => line_ends(window),
                None => line_ends_of_few(self.bytes),
            };
        }
        let ends = self.ends & (u64::MAX << (from - self.window_start));
        Some((ends != 0).then(|| self.window_start + bit(ends)))
    }

    /// Reads over whole lines that are comments, and blank ones if `blanks`, as long as nothing else comes; at
    /// the end it stands at the beginning of a line. Looks at no CR: the lines of such a stream are left to
    /// the caller.
    pub(super) fn skip_comments(&mut self, blanks: bool) {
        let mut from = self.at;
        let mut begins = 1;
        while let Some(window) = self.bytes.get(from..).and_then(<[u8]>::first_chunk) {
            let Marks { line_feeds, carriage_returns, colons } = Marks::of(window);
            if carriage_returns != 0 {
                break;
            }
            let starts = line_feeds << 1 | begins;
            let dull = if blanks { colons | line_feeds } else { colons };
            let others = starts & !dull;
            if others != 0 {
                self.at = from + bit(others);
                break;
            }
            if starts != 0 {
                self.at = from + 63 - starts.leading_zeros() as usize;
            }
            begins = line_feeds >> 63;
            from += WINDOW_BYTES;
            if begins != 0 {
                self.at = from;
            }
        }
    }

    /// The span as text; `None` if it is not valid UTF-8.
    #[inline]
    pub(super) fn text(&mut self, span: Span) -> Option<&'i str> {
        // A line's end and a field's colon are ASCII, so a span never begins or ends within a character.
        if let Some(start) = span.start.checked_sub(self.text_start)
            && let Some(text) = self.text.get(start..start + span.len())
        {
            return Some(text);
        }
        self.check(span)
    }

    fn check(&mut self, span: Span) -> Option<&'i str> {
        if self.ahead && span.len() < CHECK_AHEAD_BYTES {
            let end = self.bytes.len().min(span.start + CHECK_AHEAD_BYTES);
            let (bytes, _) = utf8::split_cut(self.get(Span { start: span.start, end }));
            self.text = simdutf8::basic::from_utf8(bytes).unwrap_or_else(|_| valid_beginning(bytes));
            self.text_start = span.start;
            return self.text.get(..span.len());
        }
        simdutf8::basic::from_utf8(self.get(span)).ok()
    }
}

fn valid_beginning(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

fn bit(mask: u64) -> usize {
    mask.trailing_zeros() as usize
}

/// One bit for every byte of a window that is the one asked for.
struct Marks {
    line_feeds: u64,
    carriage_returns: u64,
    colons: u64,
}

impl Marks {
    #[inline]
    fn of(window: &[u8; WINDOW_BYTES]) -> Self {
        let quarters = quarters(window);
        Self {
            line_feeds: marks(quarters, b'\n'),
            carriage_returns: marks(quarters, b'\r'),
            colons: marks(quarters, b':'),
        }
    }
}

#[inline]
fn line_ends(window: &[u8; WINDOW_BYTES]) -> u64 {
    let quarters = quarters(window);
    let line_feeds = quarters.map(|quarter| quarter.simd_eq(u8x16::splat(b'\n')));
    let carriage_returns = quarters.map(|quarter| quarter.simd_eq(u8x16::splat(b'\r')));
    let any_of = |[a, b, c, d]: [u8x16; 4]| ((a | b) | (c | d)).any();
    // Masks are dear: most windows have no end, or no CR.
    if any_of(carriage_returns) {
        ends(mask(line_feeds), mask(carriage_returns))
    } else if any_of(line_feeds) {
        mask(line_feeds)
    } else {
        0
    }
}

/// The LF of a CRLF is no end. One at the very beginning of a window never belongs to a CR before it: the line
/// that ended there would have taken both.
fn ends(line_feeds: u64, carriage_returns: u64) -> u64 {
    carriage_returns | line_feeds & !(carriage_returns << 1)
}

#[inline]
fn quarters(window: &[u8; WINDOW_BYTES]) -> [u8x16; 4] {
    let (quarters, _) = window.as_chunks::<16>();
    core::array::from_fn(|at| quarters.get(at).map_or(u8x16::ZERO, |quarter| u8x16::new(*quarter)))
}

#[inline]
fn marks(quarters: [u8x16; 4], byte: u8) -> u64 {
    mask(quarters.map(|quarter| quarter.simd_eq(u8x16::splat(byte))))
}

#[inline]
fn mask(equal: [u8x16; 4]) -> u64 {
    let [a, b, c, d] = equal.map(|quarter| u64::from(quarter.to_bitmask()));
    a | b << 16 | c << 32 | d << 48
}

#[inline]
fn equal(bytes: u8x16, wanted: u8x16) -> u32 {
    bytes.simd_eq(wanted).to_bitmask()
}

/// The first line end in less than a window.
#[inline]
fn first_of_few(bytes: &[u8]) -> Option<usize> {
    let either = |block: &[u8; 16]| {
        let block = u8x16::new(*block);
        (block.simd_eq(u8x16::splat(b'\n')) | block.simd_eq(u8x16::splat(b'\r'))).to_bitmask()
    };
    let (wholes, tail) = bytes.as_chunks::<16>();
    let mut from = 0;
    for whole in wholes {
        let found = either(whole);
        if found != 0 {
            return Some(from + found.trailing_zeros() as usize);
        }
        from += 16;
    }
    if let Some(last) = bytes.last_chunk::<16>() {
        let found = either(last);
        return (found != 0).then(|| bytes.len() - 16 + found.trailing_zeros() as usize);
    }
    tail.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map(|at| from + at)
}

/// The same for a chunk that is shorter than a window.
fn line_ends_of_few(bytes: &[u8]) -> u64 {
    let (wholes, tail) = bytes.as_chunks::<16>();
    let both = |block: u8x16| {
        (u64::from(equal(block, u8x16::splat(b'\n'))), u64::from(equal(block, u8x16::splat(b'\r'))))
    };
    let (mut line_feeds, mut carriage_returns, mut shift) = (0, 0, 0);
    for whole in wholes.iter().take(3) {
        let (lf, cr) = both(u8x16::new(*whole));
        line_feeds |= lf << shift;
        carriage_returns |= cr << shift;
        shift += 16;
    }
    if !tail.is_empty() {
        let mut padded = [0; 16];
        for (slot, byte) in padded.iter_mut().zip(tail) {
            *slot = *byte;
        }
        let (lf, cr) = both(u8x16::new(padded));
        line_feeds |= lf << shift;
        carriage_returns |= cr << shift;
    }
    ends(line_feeds, carriage_returns)
}
