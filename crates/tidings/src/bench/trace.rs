//! What a measurement published and was answered, and what some of its streams received, byte by byte: for whoever does
//! not take its word. `testkit/history` reads it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::plan::{Plan, with_topic};
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

/// What was published so far. In memory: what is written down while it is measured would be measured too.
#[derive(Default)]
pub(super) struct Published(Vec<Answered>);

struct Answered {
    topic: u64,
    first: u64,
    count: u64,
    ns: u64,
    answer: String,
}

impl Published {
    /// A request was answered.
    pub(super) fn note(&mut self, topic: u64, (first, count): (u64, u64), ns: u64, answer: String) {
        self.0.push(Answered { topic, first, count, ns, answer });
    }

    /// Writes it down: `PATH FIRST COUNT NANOSECONDS ANSWER`.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) fn end(self, dir: &Path, plan: &Plan) -> Result<(), Failure> {
        let write = || {
            let mut file = BufWriter::new(File::create(dir.join("published"))?);
            for Answered { topic, first, count, ns, answer } in &self.0 {
                let (path, answer) =
                    (with_topic(&plan.publish_url, *topic), answer.trim_end().replace('\n', " "));
                writeln!(file, "{path} {first} {count} {ns} {answer}")?;
            }
            file.flush()
        };
        write().map_err(|error| failed(dir, &error))
    }
}

/// Writes a stream down: what it asked for, and what it received.
///
/// # Errors
/// The directory cannot be written to.
pub(super) fn stream(dir: &Path, number: u64, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(dir.join(format!("stream-{number}")), bytes).map_err(|error| failed(dir, &error))
}

fn failed(dir: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("the trace cannot be written to {}: {error}", dir.display()))
}
