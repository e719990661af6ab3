//! What a measurement published and was answered, and what some of its streams received, byte by byte: for whoever does
//! not take its word. `testkit/history` reads it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::plan::Plan;
use crate::failure::Failure;

/// Streams of each process that are written down.
pub(super) const STREAMS: usize = 16;

/// Makes the directory.
///
/// # Errors
/// It cannot be made, or has something in it: streams of another measurement would be judged by this one's publishes.
pub(super) fn make(dir: &Path) -> Result<(), Failure> {
    let is_empty = std::fs::create_dir_all(dir).and_then(|()| Ok(std::fs::read_dir(dir)?.next().is_none()));
    match is_empty.map_err(|error| failed(dir, &error))? {
        true => Ok(()),
        false => Err(Failure::usage(format!("--trace {} is not empty", dir.display()))),
    }
}

/// Where publishes are written down.
pub(super) struct Published(BufWriter<File>);

impl Published {
    /// `None` if nobody wants it.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) fn new(plan: &Plan) -> Result<Option<Self>, Failure> {
        let Some(dir) = &plan.trace else { return Ok(None) };
        let file = File::create(dir.join("published")).map_err(|error| failed(dir, &error))?;
        Ok(Some(Self(BufWriter::new(file))))
    }

    /// A request was answered: `PATH FIRST COUNT NANOSECONDS ANSWER`.
    pub(super) fn note(
        &mut self,
        path: &str,
        first: u64,
        count: u64,
        ns: u64,
        answer: &str,
    ) -> io::Result<()> {
        writeln!(self.0, "{path} {first} {count} {ns} {}", answer.trim_end().replace('\n', " "))
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Where a stream is written down: what it asks for, and what it receives.
///
/// # Errors
/// The directory cannot be written to.
pub(super) fn stream(dir: &Path, number: u64, request: &[u8]) -> Result<BufWriter<File>, Failure> {
    let begin = || {
        let mut file = BufWriter::new(File::create(dir.join(format!("stream-{number}")))?);
        file.write_all(request)?;
        Ok(file)
    };
    begin().map_err(|error| failed(dir, &error))
}

fn failed(dir: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("the trace cannot be written to {}: {error}", dir.display()))
}
