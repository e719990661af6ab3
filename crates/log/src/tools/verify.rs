//! Verify: every byte of a directory is read and checked against what says that it was written.

use super::exam::{Exam, Seen, State};
use super::{Finding, Grade, LostRange, failed};
use crate::disk::Disk;
use crate::error::{OpenError, Trouble};

/// A running hub may remove a file between the listing and the look, or compact one of which a newer checkpoint knows than
/// the one that was looked at; then all is looked at again, so often at most.
const TRIES: usize = 5;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What is worth saying, in the order of the files.
    pub findings: Vec<Finding>,
    /// Segments that were read.
    pub segments: u64,
    /// Records whose checks fit.
    pub records: u64,
    /// How many of them are events.
    pub events: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Places that cannot be read now: what a repair would write off.
    pub lost: Vec<LostRange>,
}

impl Report {
    /// The worst that was found.
    pub fn grade(&self) -> Option<Grade> {
        self.findings.iter().map(|finding| finding.grade).max()
    }
}

/// Reads every byte of a log.
///
/// # Errors
/// [`OpenError`] if a file cannot be read or is of a newer format, or if there is no log.
pub fn verify(disk: &dyn Disk) -> Result<Report, OpenError> {
    exam(disk, &mut |_| {}).map(|exam| report(&exam)).map_err(failed(disk))
}

/// Looks at everything; again if a file went away meanwhile, or if there is a damage and files have changed.
pub(super) fn exam(disk: &dyn Disk, seen: Seen<'_>) -> Result<Exam, Trouble> {
    let names = || {
        let mut names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
        names.sort_unstable();
        Ok(names)
    };
    let mut tries = 1;
    loop {
        let before = names()?;
        match Exam::take(disk, seen) {
            Ok(exam) if tries < TRIES && exam.is_damaged() && names()? != before => tries += 1,
            Err(Trouble::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES =>
            {
                tries += 1;
            }
            Ok(exam) if exam.log_id.is_none() && exam.segments.is_empty() && exam.findings.is_empty() => {
                let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no log is in this directory");
                return Err(Trouble::io("looking at", disk.place(""))(source));
            }
            other => return other,
        }
    }
}

pub(super) fn report(exam: &Exam) -> Report {
    let salvaged = || exam.segments.iter().map(|segment| &segment.salvaged);
    Report {
        findings: exam.findings.clone(),
        segments: exam.segments.iter().filter(|segment| segment.state != State::Missing).count() as u64,
        records: salvaged().map(|salvaged| salvaged.records).sum(),
        events: salvaged().map(|salvaged| salvaged.events).sum(),
        bytes: exam.bytes,
        lost: salvaged().flat_map(|salvaged| salvaged.hurts.iter().filter_map(|hurt| hurt.lost)).collect(),
    }
}
