//! Export: the events of a directory, in order, one after the other.
//!
//! Reads twice: first what was trimmed and deleted, then the events, so that nothing comes out that a hub would not
//! show any more.

use std::collections::HashMap;
use std::io;

use tidings_hub::{Control, Record, Selectors, Seq, TopicName, What};

use super::verify::{exam, report};
use super::{LostRange, failed};
use crate::disk::Disk;
use crate::error::{OpenError, Trouble};

/// What an export gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Events that were handed over.
    pub events: u64,
    /// The last one's place.
    pub last: Option<Seq>,
    /// Places that could not be read, and so are not in it.
    pub lost: Vec<LostRange>,
}

/// Hands over the events of the selected topics that stand past `after`, each once, in order.
///
/// # Errors
/// [`OpenError`] if a file cannot be read or is of a newer format, or what `each` says.
pub fn export(
    disk: &dyn Disk,
    selectors: &Selectors,
    after: Seq,
    each: &mut dyn FnMut(&Record) -> io::Result<()>,
) -> Result<Exported, OpenError> {
    hand_over(disk, selectors, after, each).map_err(failed(disk))
}

fn hand_over(
    disk: &dyn Disk,
    selectors: &Selectors,
    after: Seq,
    each: &mut dyn FnMut(&Record) -> io::Result<()>,
) -> Result<Exported, Trouble> {
    let mut gone: HashMap<TopicName, Seq> = HashMap::new();
    let first = exam(disk, &mut |record| note_removal(&mut gone, record))?;
    if let Some(checkpoint) = &first.checkpoint {
        for (name, state) in checkpoint.fold.iter().filter(|(_, state)| state.trimmed > Seq::ZERO) {
            if let Ok(name) = TopicName::parse(name) {
                let through = gone.entry(name).or_default();
                *through = state.trimmed.max(*through);
            }
        }
    }
    drop(first);
    let mut done = Exported::default();
    let mut failure = None;
    let second = exam(disk, &mut |record| {
        let is_there = |topic: &TopicName| gone.get(topic).is_none_or(|through| *through < record.seq);
        let is_wanted =
            record.topics.iter().any(|topic| selectors.matches(topic.as_str()) && is_there(topic));
        // A second look begins anew where a file went away under the first one.
        let is_new = record.seq > after && done.last.is_none_or(|last| record.seq > last);
        if failure.is_some() || !is_wanted || !is_new || record.event().is_none() {
            return;
        }
        match each(record) {
            Ok(()) => (done.events, done.last) = (done.events + 1, Some(record.seq)),
            Err(error) => failure = Some(error),
        }
    })?;
    if let Some(source) = failure {
        return Err(Trouble::Io { doing: "handing over an event".into(), source });
    }
    done.lost = report(&second).lost;
    done.lost.extend(second.segments.iter().flat_map(|segment| segment.salvaged.lost_before.iter().copied()));
    done.lost.retain(|range| range.last > after);
    Ok(done)
}

fn note_removal(gone: &mut HashMap<TopicName, Seq>, record: &Record) {
    let through = match record.what {
        What::Control(Control::Delete) => record.seq,
        What::Control(Control::Trim { through }) => through,
        _ => return,
    };
    for topic in &record.topics {
        let gone = gone.entry(topic.clone()).or_default();
        *gone = through.max(*gone);
    }
}
