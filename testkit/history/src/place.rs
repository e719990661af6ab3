//! Ids as text, read to places that can be ordered. Written anew, so that a fault in the hub's own reading of
//! ids does not judge itself.

/// A place in the log: the rank of its life, then the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) life: u32,
    pub(super) seq: u64,
}

/// An id as it was written, and its place if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) text: Box<str>,
    pub(super) place: Option<Place>,
}

impl Id {
    /// What the publisher called it.
    pub(super) fn publisher(&self) -> Option<&str> {
        self.text.split_once('~').map(|(_, publisher)| publisher)
    }
}

/// The lives of a log in order, and where those ended that lost their tail.
#[derive(Debug, Default)]
pub(super) struct Lives {
    epochs: Vec<u64>,
    ends: Vec<Place>,
}

impl Lives {
    /// The rank of an epoch; a new one comes last. `None` if the text is no base 36 number.
    pub(super) fn declare(&mut self, epoch: &str) -> Option<u32> {
        let epoch = base36(epoch)?;
        let known = self.epochs.iter().position(|e| *e == epoch);
        let rank = known.unwrap_or_else(|| {
            self.epochs.push(epoch);
            self.epochs.len() - 1
        });
        u32::try_from(rank).ok()
    }

    /// The place of `epoch.seq` or `epoch.seq~anything`.
    pub(super) fn place(&mut self, id: &str) -> Option<Place> {
        let position = id.split('~').next()?;
        let (epoch, seq) = position.split_once('.')?;
        // The sequence first: a text that is no id must not become a life.
        let seq = base36(seq)?;
        Some(Place { life: self.declare(epoch)?, seq })
    }

    /// The places of a life from `first` on were lost.
    pub(super) fn end(&mut self, first: Place) {
        self.ends.push(first);
    }

    /// Whether a place was lost with the tail of its life.
    pub(super) fn lost(&self, place: Place) -> bool {
        self.ends.iter().any(|end| end.life == place.life && end.seq <= place.seq)
    }
}

fn base36(text: &str) -> Option<u64> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
    let canonical = text == "0" || !text.starts_with('0');
    (lower && canonical).then(|| u64::from_str_radix(text, 36).ok()).flatten()
}
