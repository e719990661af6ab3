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
    /// How it fails. A failed write is done in part; a change of names that fails with [`io::ErrorKind::Other`]
    /// may have been done all the same.
    pub kind: io::ErrorKind,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reading from a file, or asking for its length.
    Read,
    /// Writing to a file.
    Write,
    /// Cutting a file.
    Truncate,
    /// Syncing a file.
    Sync,
    /// Opening a file that is there.
    Open,
    /// Creating a file.
    Create,
    /// Giving a file another name.
    Rename,
    /// Removing a name.
    Unlink,
    /// Syncing the directory.
    SyncDir,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Open,
        Self::Create,
        Self::Rename,
        Self::Unlink,
        Self::SyncDir,
    ];
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
    /// Power goes at a call of this kind, after so many of them.
    pub(super) power_fails_on: Option<(Call, u64)>,
    pub(super) is_dark: bool,
    met_dark_at: Option<u64>,
    pub(super) scheduled: Vec<Fault>,
    pub(super) struck: u64,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) lies: Vec<Lie>,
    pub(super) lock_fails: Option<io::ErrorKind>,
}

impl Faults {
    pub(super) fn begin_life(&mut self) {
        (self.power_fails_at, self.power_fails_on) = (None, None);
        self.is_dark = false;
        self.met_dark_at = None;
        self.scheduled.clear();
    }

    /// Counts a call that changes or syncs something, and says how it fails.
    pub(super) fn count(&mut self, call: Call, random: &mut Random) -> io::Result<()> {
        self.calls += 1;
        let dark = || io::Error::other("this machine has lost power");
        if self.is_dark {
            return Err(dark());
        }
        let mut is_met = self.power_fails_at.is_some_and(|at| self.calls >= at);
        if let Some((_, after)) = self.power_fails_on.as_mut().filter(|(kind, _)| *kind == call) {
            is_met |= *after == 0;
            *after = after.saturating_sub(1);
        }
        if is_met {
            self.is_dark = true;
            // Half of the time the call is done in part before.
            self.met_dark_at = random.once_in(2).then_some(self.calls);
            return Err(dark());
        }
        self.strike(call)
    }

    /// Fails a call if that was scheduled.
    pub(super) fn strike(&mut self, call: Call) -> io::Result<()> {
        if self.scheduled.is_empty() {
            return Ok(());
        }
        let Some(at) = self.scheduled.iter().position(|fault| fault.call == call) else { return Ok(()) };
        if self.scheduled[at].after == 0 {
            self.struck += 1;
            return Err(self.scheduled.remove(at).kind.into());
        }
        self.scheduled[at].after -= 1;
        Ok(())
    }

    /// Whether the present call is the one that met the loss of power, and is done in part.
    pub(super) fn met_dark_now(&self) -> bool {
        self.met_dark_at == Some(self.calls)
    }
}
