//! What goes wrong on a simulated disk, and when.

use std::io;

use super::Random;

/// A call that is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which kind of call.
    pub call: Call,
    /// How many calls of this kind succeed before.
    pub after: u64,
    /// How it fails. A failed write is done in part.
    pub kind: io::ErrorKind,
}

/// Kinds of calls that change or sync something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Writing to a file, or cutting it.
    Write,
    /// Syncing a file.
    Sync,
    /// Creating, renaming, removing a name.
    Name,
    /// Syncing the directory.
    SyncDir,
}

/// Promises that a disk can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A sync of a file returns and does nothing.
    Sync,
    /// A sync of the directory returns and does nothing.
    SyncDir,
    /// A sync of a file that fails says that it did not.
    SyncErrors,
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) power_fails_at: Option<u64>,
    pub(super) is_dark: bool,
    met_dark_at: Option<u64>,
    pub(super) scheduled: Vec<Fault>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) lies: Vec<Lie>,
    pub(super) lock_fails: Option<io::ErrorKind>,
}

impl Faults {
    pub(super) fn begin_life(&mut self) {
        self.power_fails_at = None;
        self.is_dark = false;
        self.met_dark_at = None;
        self.scheduled.clear();
    }

    /// Counts a call, and says how it fails.
    pub(super) fn count(&mut self, call: Call, random: &mut Random) -> io::Result<()> {
        self.calls += 1;
        let dark = || io::Error::other("this machine has lost power");
        if self.is_dark {
            return Err(dark());
        }
        if self.power_fails_at.is_some_and(|at| self.calls >= at) {
            self.is_dark = true;
            self.met_dark_at = Some(self.calls);
            // Half of the time the call is done in part before.
            if random.once_in(2) {
                self.met_dark_at = None;
            }
            return Err(dark());
        }
        for at in 0..self.scheduled.len() {
            let fault = &mut self.scheduled[at];
            if fault.call == call {
                if fault.after == 0 {
                    let kind = fault.kind;
                    self.scheduled.remove(at);
                    return Err(kind.into());
                }
                fault.after -= 1;
                break;
            }
        }
        Ok(())
    }

    /// Whether the present call is the one that met the loss of power, and is done in part.
    pub(super) fn met_dark_now(&self) -> bool {
        self.met_dark_at == Some(self.calls)
    }
}
