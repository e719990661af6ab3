//! Since when a connection is open, told from its generation alone: connections are numbered as they come, so a few
//! notes of which number was reached when say it of all of them, and none has to carry it. Pure.
//!
//! **Invariant:** a bounded number of notes; an age is never too small, and too large by a second at most until the
//! notes are thinned, by a part of the age then.

/// Notes that are kept.
const NOTES_MAX: usize = 4_096;
/// Between two notes, in ticks.
const NOTE_EVERY_TICKS: u32 = 10;

/// Which generation was reached when.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// The first generation since a tick, and the tick; both ascend.
    notes: Vec<(u32, u32)>,
}

impl Ages {
    /// A connection came.
    pub(crate) fn note(&mut self, now: u32, generation: u32) {
        match self.notes.last() {
            // The numbers began anew.
            Some((last, _)) if generation < *last => self.notes.clear(),
            Some((_, tick)) if now.saturating_sub(*tick) < NOTE_EVERY_TICKS => return,
            _ => {}
        }
        if self.notes.len() >= NOTES_MAX {
            let mut odd = false;
            self.notes.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.notes.push((generation, now));
    }

    /// The tick at which a connection came, or a little before it.
    pub(crate) fn opened(&self, generation: u32) -> u32 {
        let after = self.notes.partition_point(|(first, _)| *first <= generation);
        after.checked_sub(1).and_then(|at| self.notes.get(at)).map_or(0, |(_, tick)| *tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_known_to_a_second_and_notes_are_bounded() {
        let mut ages = Ages::default();
        for generation in 0..100_000u32 {
            ages.note(generation / 3, generation);
        }
        assert!(ages.notes.len() <= NOTES_MAX);
        for generation in (99_000..100_000).step_by(97) {
            let (opened, really) = (ages.opened(generation), generation / 3);
            assert!(opened <= really && really - opened < 2 * NOTE_EVERY_TICKS, "{generation}: {opened}");
        }
        assert_eq!(ages.opened(0), 0);
        ages.note(50_000, 1);
        assert_eq!(ages.opened(2), 50_000, "the numbers began anew");
    }
}
