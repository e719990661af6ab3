//! What can be done with a log's directory beside running it: look ([`inspect()`]), check every byte ([`verify()`]),
//! mend it ([`repair()`]), copy it ([`backup()`], [`restore()`]), read it out ([`export()`]).
//!
//! Pure functions over a [`Disk`]; they print nothing. **Invariant:** what only looks takes no lock and writes
//! nothing, so it works on a read-only directory and beside a running hub.

mod backup;
mod exam;
mod export;
mod inspect;
mod repair;
mod salvage;
mod verify;

use std::fmt;

use tidings_hub::Seq;

pub use backup::{Copied, backup, restore};
pub use export::{Exported, export};
pub use inspect::{CheckpointFacts, Inspection, Life, SegmentFacts, TopicFacts, inspect};
pub use repair::{Repaired, repair};
pub use verify::{Report, verify};

use crate::disk::Disk;
use crate::error::{OpenError, Trouble};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Grade {
    /// Nothing is wrong: somebody may want to know it.
    Note,
    /// Not what it should be, and the hub mends it by itself.
    Heals,
    /// Stored bytes are not what was written.
    Damage,
}

impl Grade {
    /// `note`, `heals` or `damage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Heals => "heals",
            Self::Damage => "damage",
        }
    }
}

/// Something that a look at a directory found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// The file.
    pub file: String,
    /// The place in it, in bytes.
    pub offset: u64,
    /// What was found.
    pub found: String,
    /// What it means for whoever reads or publishes.
    pub means: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grade, file, offset) = (self.grade.as_str(), &self.file, self.offset);
        write!(f, "{grade}: {file}, byte {offset}: {}; {}", self.found, self.means)
    }
}

/// Places whose records cannot be had any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRange {
    /// The first place.
    pub first: Seq,
    /// The last place.
    pub last: Seq,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            write!(f, "place {}", first.0)
        } else {
            write!(f, "places {} to {}", first.0, last.0)
        }
    }
}

/// The same trouble for whoever runs a tool.
fn failed(disk: &dyn Disk) -> impl Fn(Trouble) -> OpenError + '_ {
    |trouble| trouble.into_open_error(disk.place(""))
}
