//! The writer and the keeper at work at once: between two calls of one the other does something, as two threads may.
//!
//! In the middle of the writer's turn the keeper does a whole job; in the middle of a job the writer has a whole turn. Also
//! readers and backups meet jobs between their calls. All of it is on one thread and by the seed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_log::{Hand, Pump};
use tidings_testkit::disk::Random;

use super::super::common::Manual;
use super::World;

/// One call in so many is met by the other.
const SELDOM: u64 = 4;

/// What is done in between.
pub(super) struct Beside {
    hand: Hand,
    random: Mutex<Random>,
    /// The writer, while the keeper is at work by itself.
    pump: Mutex<Option<Pump>>,
}

impl Beside {
    /// The keeper does a job or some, or none, and the writer may be at work in the middle of each.
    pub(super) fn keep(&self, log: &mut Manual, random: &mut Random) {
        *lock(&self.pump) = log.pump.take();
        while random.once_in(2) && self.hand.keep() {}
        log.pump = lock(&self.pump).take();
    }

    /// Somebody else is at work, and the writer and the keeper in the middle of it.
    pub(super) fn meanwhile<T>(&self, log: &mut Manual, work: impl FnOnce() -> T) -> T {
        *lock(&self.pump) = log.pump.take();
        let done = work();
        log.pump = lock(&self.pump).take();
        done
    }

    /// Somebody is about to make a call.
    fn meet(&self) {
        if !lock(&self.random).once_in(SELDOM) || !self.hand.is_free() {
            return;
        }
        if lock(&self.random).once_in(2) && self.hand.keep() {
            return;
        }
        let pump = lock(&self.pump).take();
        match pump {
            None => _ = self.hand.keep(),
            Some(mut pump) => {
                pump.turn();
                *lock(&self.pump) = Some(pump);
            }
        }
    }
}

/// A test that panicked elsewhere has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// From now on, in this life.
    pub(super) fn set_beside(&mut self, log: &Manual) {
        let Some(pump) = log.pump.as_ref().filter(|_| self.is_beside) else { return };
        let random = Mutex::new(Random::seeded(self.random.next()));
        let beside = Arc::new(Beside { hand: pump.hand(), random, pump: Mutex::default() });
        self.beside = Some(Arc::clone(&beside));
        self.disk.between(Some(Box::new(move || beside.meet())));
    }

    /// Nobody is at work beside anybody.
    pub(super) fn alone(&mut self) {
        self.disk.between(None);
        self.beside = None;
    }
}

impl Drop for World {
    /// What is done in between holds the disk that has it done.
    fn drop(&mut self) {
        self.alone();
    }
}
