//! A timer wheel: which connections may be due at a tick. Pure.
//!
//! It holds keys and no deadlines: a connection remembers its own, and the tick it stands under here. A key that is
//! found under another tick than its connection remembers is an old entry and means nothing, so nothing is ever
//! searched for and taken out.

/// Milliseconds of a tick.
pub const TICK_MS: u64 = 100;

const SLOTS: u32 = 1_024;

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    slots: Box<[Vec<u32>]>,
    /// All slots up to here were emptied.
    now: u32,
    entries: usize,
}

impl Wheel {
    /// An empty wheel that stands at a tick.
    pub fn new(now: u32) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now, entries: 0 }
    }

    /// Notes a key under a tick: the one that was asked for, or the nearest that the wheel reaches. Returns it.
    #[must_use]
    pub fn insert(&mut self, due: u32, key: u32) -> u32 {
        let tick = due.clamp(self.now + 1, self.now + SLOTS - 1);
        if let Some(slot) = self.slots.get_mut(place(tick)) {
            slot.push(key);
            self.entries += 1;
        }
        tick
    }

    /// The next key that stands under a tick up to `now`, with its tick.
    pub fn expired(&mut self, now: u32) -> Option<(u32, u32)> {
        // The slot after the present one is looked at until it is empty.
        while self.now < now {
            let tick = self.now + 1;
            if self.entries == 0 {
                self.now = now;
                return None;
            }
            let slot = self.slots.get_mut(place(tick))?;
            if let Some(key) = slot.pop() {
                self.entries -= 1;
                return Some((tick, key));
            }
            *slot = Vec::new();
            self.now = tick;
        }
        None
    }

    /// Ticks until something may be due; `None`: nothing is noted.
    pub fn next_in(&self, now: u32) -> Option<u32> {
        if self.entries == 0 {
            return None;
        }
        let slots = (self.now + 1..=self.now + SLOTS)
            .find(|tick| self.slots.get(place(*tick)).is_some_and(|slot| !slot.is_empty()));
        slots.map(|tick| tick.saturating_sub(now))
    }
}

fn place(tick: u32) -> usize {
    usize::try_from(tick % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_when_they_are_due_and_far_ones_at_the_rim() {
        let mut wheel = Wheel::new(10);
        assert_eq!(wheel.next_in(10), None);
        assert_eq!(
            [wheel.insert(12, 1), wheel.insert(12, 2), wheel.insert(5, 3), wheel.insert(99_999, 4)],
            [12, 12, 11, 10 + SLOTS - 1]
        );
        assert_eq!(wheel.next_in(10), Some(1));
        assert_eq!(wheel.expired(10), None);
        assert_eq!(wheel.expired(13), Some((11, 3)));
        // What is noted while others are being taken comes later.
        assert_eq!(wheel.insert(11, 5), 11);
        let mut rest = Vec::new();
        while let Some((tick, key)) = wheel.expired(13) {
            rest.push((tick, key));
        }
        rest.sort_unstable();
        assert_eq!(rest, [(11, 5), (12, 1), (12, 2)]);
        assert_eq!(wheel.next_in(13), Some(SLOTS - 4));
        assert_eq!(wheel.expired(10 + SLOTS), Some((10 + SLOTS - 1, 4)));
        assert_eq!(wheel.expired(50_000), None);
        assert_eq!(wheel.insert(0, 6), 50_001);
    }
}
