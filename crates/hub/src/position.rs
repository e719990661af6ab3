//! Positions: one sequence per log, and the life of the log it belongs to.
//!
//! **Invariant:** a position that a client has seen never comes to mean another event. Within an epoch no
//! sequence number is handed out twice; whenever earlier numbers could be, a new epoch begins.

use std::fmt;

/// Place of a record in the log: 1, 2, 3 … over all topics. Numbers may be missing (events that are never
/// stored, refused batches), never repeated within an epoch's reach. 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The next place. Saturates: 2⁶⁴ records at 10 M/s take 58,000 years.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The place before this one; `ZERO` stays `ZERO`.
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// One life of a log. A new one begins whenever earlier positions could be handed out again: a start in
/// memory mode, an unclean end in `os` mode, a restored backup, a new log. The number is drawn by chance, so that
/// two logs (one deleted and begun anew, one restored beside its original) have none in common. It has no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

/// A place in one life of a log. As text (base 36, `1.2n9c`) it is the native SSE `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The place in it.
    pub seq: Seq,
}

/// The text is no position in its only form: `epoch.seq`, lower-case base 36 without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position of this hub: expected EPOCH.SEQ in lower-case base 36, like 1.2n9c")
    }
}

impl std::error::Error for InvalidPosition {}

impl Position {
    /// Longest text of a position: 7 digits of epoch, a dot, 13 digits of sequence.
    pub const TEXT_BYTES_MAX: usize = 21;

    /// Reads the text form. Only the form that [`fmt::Display`] writes is taken, so that equal positions
    /// have equal texts.
    ///
    /// # Errors
    /// [`InvalidPosition`] for everything else.
    pub fn parse(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, seq) = text.split_once('.').ok_or(InvalidPosition)?;
        let epoch = u32::try_from(base36(epoch)?).map_err(|_| InvalidPosition)?;
        Ok(Self { epoch: Epoch(epoch), seq: Seq(base36(seq)?) })
    }
}

impl Position {
    /// Appends its text: what a formatter does to it costs more than it does.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let mut text = [b'.'; Self::TEXT_BYTES_MAX];
        let dot = to_base36(self.seq.0, &mut text) - 1;
        let from = text.get_mut(..dot).map_or(0, |front| to_base36(self.epoch.0.into(), front));
        out.extend_from_slice(text.get(from..).unwrap_or_default());
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(Self::TEXT_BYTES_MAX);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn base36(text: &str) -> Result<u64, InvalidPosition> {
    if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
        return Err(InvalidPosition);
    }
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return Err(InvalidPosition),
        };
        value.checked_mul(36).and_then(|v| v.checked_add(digit.into())).ok_or(InvalidPosition)
    })
}

/// Writes a number at the end of some room, and tells where it begins.
fn to_base36(mut value: u64, room: &mut [u8]) -> usize {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut from = room.len();
    for place in room.iter_mut().rev() {
        *place = ALPHABET.get(usize::try_from(value % 36).unwrap_or(0)).copied().unwrap_or(b'0');
        from -= 1;
        value /= 36;
        if value == 0 {
            break;
        }
    }
    from
}

/// The lives of a log, oldest first, each with the first place that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Vec<(Epoch, Seq)>);

impl Epochs {
    /// A log in its first life.
    pub fn first(epoch: Epoch) -> Self {
        Self(vec![(epoch, Seq(1))])
    }

    /// Takes `[(epoch, first_seq)]`, oldest first.
    ///
    /// # Errors
    /// `None` if it is empty, an epoch occurs twice, or the places fall.
    pub fn from_pairs(pairs: Vec<(Epoch, Seq)>) -> Option<Self> {
        let rising = pairs.windows(2).all(|w| w[0].1 <= w[1].1);
        let distinct = pairs.iter().enumerate().all(|(i, a)| pairs[..i].iter().all(|b| a.0 != b.0));
        (!pairs.is_empty() && rising && distinct).then_some(Self(pairs))
    }

    /// `[(epoch, first_seq)]`, oldest first; never empty.
    pub fn pairs(&self) -> &[(Epoch, Seq)] {
        &self.0
    }

    /// The present life.
    pub fn current(&self) -> Epoch {
        self.0.last().map_or(Epoch(0), |last| last.0)
    }

    /// Begins a new life at `first`: positions of the present one at or past `first` are void from now on.
    pub fn begin(&mut self, epoch: Epoch, first: Seq) {
        // A log that lost its end twice may be shorter than where an earlier life began: that one ends here too.
        for (_, earlier) in &mut self.0 {
            *earlier = (*earlier).min(first);
        }
        self.0.push((epoch, first));
    }

    /// The position under which a record at `seq` is known: the latest life that began at or before it.
    pub fn position(&self, seq: Seq) -> Position {
        let epoch = self
            .0
            .iter()
            .rev()
            .find(|(_, first)| *first <= seq)
            .map_or_else(|| self.0.first().map_or(Epoch(0), |oldest| oldest.0), |(epoch, _)| *epoch);
        Position { epoch, seq }
    }

    /// Where life `epoch` ended: the first place of its successor; `Some(None)` for the present life, `None`
    /// for a life that this log never had.
    pub fn end_of(&self, epoch: Epoch) -> Option<Option<Seq>> {
        let at = self.0.iter().position(|(e, _)| *e == epoch)?;
        Some(self.0.get(at + 1).map(|next| next.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_has_one_form() {
        for (epoch, seq, text) in
            [(1, 0, "1.0"), (1, 123_456_789, "1.21i3v9"), (u32::MAX, u64::MAX, "1z141z3.3w5e11264sgsf")]
        {
            let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
            assert_eq!(position.to_string(), text);
            assert_eq!(Position::parse(text), Ok(position));
            assert!(text.len() <= Position::TEXT_BYTES_MAX);
        }
        for bad in [
            "",
            ".",
            "1.",
            ".1",
            "1",
            "01.1",
            "1.01",
            "1.A",
            "+1.1",
            "1.1 ",
            "1.3w5e11264sgsg",
            "1z141z4.1",
            "1.1.1",
        ] {
            assert_eq!(Position::parse(bad), Err(InvalidPosition), "{bad:?}");
        }
    }

    #[test]
    fn a_record_is_known_under_the_life_it_was_written_in() {
        let mut epochs = Epochs::first(Epoch(1));
        epochs.begin(Epoch(2), Seq(501));
        assert_eq!(epochs.position(Seq(500)).to_string(), "1.dw");
        assert_eq!(epochs.position(Seq(501)).epoch, Epoch(2));
        assert_eq!(epochs.end_of(Epoch(1)), Some(Some(Seq(501))));
        assert_eq!(epochs.end_of(Epoch(2)), Some(None));
        assert_eq!(epochs.end_of(Epoch(3)), None);
        epochs.begin(Epoch(3), Seq(490));
        assert_eq!(
            (epochs.end_of(Epoch(1)), epochs.end_of(Epoch(2))),
            (Some(Some(Seq(490))), Some(Some(Seq(490))))
        );
        assert_eq!((epochs.position(Seq(489)).epoch, epochs.position(Seq(501)).epoch), (Epoch(1), Epoch(3)));
        assert_eq!(Epochs::from_pairs(epochs.pairs().to_vec()), Some(epochs));
        assert_eq!(Epochs::from_pairs(vec![]), None);
        assert_eq!(Epochs::from_pairs(vec![(Epoch(1), Seq(1)), (Epoch(1), Seq(5))]), None);
    }
}
