//! A window: the frames that the members of a group lack, one after the other as they go out, put together once. Pure.

use tidings_hub::Seq;
use tidings_hub::live::View;

use crate::conn::Cursor;
use crate::groups::Group;

/// Bytes after which a window is full; a frame is never cut.
const WINDOW_BYTES: usize = 256 << 10;

/// What is kept of a window's room when it was larger.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Frames in a row.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// Each frame's place, and where it ends.
    ends: Vec<(Seq, usize)>,
    /// The places before the first frame were asked for by nobody.
    after: Seq,
}

/// What became of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Built {
    /// It has frames.
    Filled,
    /// Nothing is lacking.
    Empty,
    /// The next place is not to be had in the hot log, or is gone: whoever lacks it has to be told another way.
    Lost(Seq),
}

/// Where a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// All of the window.
    All,
    /// So many frames are not, or not whole, written.
    Part(usize),
}

impl Window {
    /// Puts together what a group wants after a place.
    pub fn build(&mut self, view: &View<'_>, group: &Group, after: Seq) -> Built {
        self.clear();
        self.after = after;
        #[cfg(test)]
        tests::look_for_defect(group);
        let first = group.thread.partition_point(|place| *place <= after);
        for place in group.thread.range(first..) {
            let hit = view.get(*place).filter(|hit| !view.is_gone(hit.entry, &group.spec));
            let Some(hit) = hit else {
                return if self.ends.is_empty() { Built::Lost(*place) } else { Built::Filled };
            };
            self.bytes.extend_from_slice(hit.wire(group.spec.dialect));
            self.ends.push((*place, self.bytes.len()));
            if self.bytes.len() >= WINDOW_BYTES {
                break;
            }
        }
        if self.ends.is_empty() { Built::Empty } else { Built::Filled }
    }

    /// Empties it, and gives room back that only an unusual one needed.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.ends.clear();
        self.ends.shrink_to(KEPT_BYTES_MAX / 64);
        self.after = Seq::ZERO;
    }

    /// The last place it has.
    pub fn to(&self) -> Seq {
        self.ends.last().map_or(Seq::ZERO, |(place, _)| *place)
    }

    /// Whether it has the next frame of somebody who stands at a place.
    pub fn serves(&self, through: Seq) -> bool {
        !self.ends.is_empty() && self.after <= through && through < self.to()
    }

    /// The bytes that a cursor lacks, where they begin, and how many frames they are.
    pub(crate) fn lacking(&self, cursor: &Cursor) -> (&[u8], usize, usize) {
        let first = self.ends.partition_point(|(place, _)| *place <= cursor.through);
        let begin = first.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end);
        let at = begin + cursor.offset as usize;
        (self.bytes.get(at..).unwrap_or_default(), at, self.ends.len() - first)
    }

    /// Moves a cursor to a byte of the window: right before the place of the frame that comes next or is begun, so that
    /// the place is known without being kept.
    pub(crate) fn settle(&self, cursor: &mut Cursor, at: usize) -> Wrote {
        let whole = self.ends.partition_point(|(_, end)| *end <= at);
        let (done, begin) =
            whole.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or_default();
        cursor.through = cursor.through.max(done);
        let bytes = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (cursor.offset, cursor.rest) = (0, 0);
        if let Some((place, end)) = self.ends.get(whole) {
            // Nothing is lacking before it, however long ago the last one came.
            cursor.through = cursor.through.max(place.prev());
            if at > begin {
                (cursor.offset, cursor.rest) = (bytes(at - begin), bytes(end - at));
            }
        }
        if whole == self.ends.len() { Wrote::All } else { Wrote::Part(self.ends.len() - whole) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Windows with events of this topic have a defect.
        pub(crate) static DEFECT: Cell<Option<&str>> = const { Cell::new(None) };
    }

    pub(super) fn look_for_defect(group: &Group) {
        let has_defect = DEFECT.get().is_some_and(|topic| group.spec.filter.selectors().matches(topic));
        assert!(!has_defect, "a defect in a window");
    }

    #[test]
    fn who_took_nothing_stands_right_before_what_it_lacks() {
        let window =
            Window { bytes: b"onetwo".to_vec(), ends: vec![(Seq(5), 3), (Seq(9), 6)], after: Seq(1) };
        let check = |at, through, (offset, rest), wrote| {
            let mut cursor = Cursor { through: Seq(1), group: 0, member: 0, offset: 0, rest: 0 };
            assert_eq!(window.settle(&mut cursor, at), wrote, "{at}");
            assert_eq!((cursor.through, cursor.offset, cursor.rest), (Seq(through), offset, rest), "{at}");
        };
        check(0, 4, (0, 0), Wrote::Part(2));
        check(1, 4, (1, 2), Wrote::Part(2));
        check(3, 8, (0, 0), Wrote::Part(1));
        check(5, 8, (2, 1), Wrote::Part(1));
        check(6, 9, (0, 0), Wrote::All);
        let mut ahead = Cursor { through: Seq(7), group: 0, member: 0, offset: 0, rest: 0 };
        let (_, at, _) = window.lacking(&ahead);
        assert_eq!(window.settle(&mut ahead, at), Wrote::Part(1));
        assert_eq!(ahead.through, Seq(8), "never back");
    }

    #[test]
    fn a_cursor_goes_through_a_window_in_writes_of_any_length() {
        let frames: [&[u8]; 3] = [b"one", b"three", b"7"];
        let mut window = Window { after: Seq(4), ..Window::default() };
        for (seq, frame) in [5, 8, 9].into_iter().zip(frames) {
            window.bytes.extend_from_slice(frame);
            window.ends.push((Seq(seq), window.bytes.len()));
        }
        for step in 1..=9 {
            let mut cursor = Cursor { through: Seq(4), group: 0, member: 0, offset: 0, rest: 0 };
            let mut out = Vec::new();
            loop {
                assert!(window.serves(cursor.through));
                let (bytes, at, _) = window.lacking(&cursor);
                let n = bytes.len().min(step);
                out.extend_from_slice(&bytes[..n]);
                if window.settle(&mut cursor, at + n) == Wrote::All {
                    break;
                }
                assert!(cursor.rest > 0 || cursor.offset == 0);
            }
            assert_eq!((out.as_slice(), cursor.through, cursor.offset), (&b"onethree7"[..], Seq(9), 0));
            assert!(!window.serves(cursor.through));
        }
        let late = Cursor { through: Seq(6), group: 0, member: 0, offset: 2, rest: 3 };
        assert_eq!(window.lacking(&late), (&b"ree7"[..], 5, 2));
    }
}
