//! The judgement: first the log as all saw it, then each reader's way through it.
//!
//! Linear in what was told, but for one sort of the distinct events.

use std::collections::HashMap;

use super::facts::{Facts, Status};
use super::walk::Walk;
use super::{History, View, Violation};

/// Judges a history.
pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    for misreport in &history.misreports {
        found.add(|| misreport.clone());
    }
    let facts = Facts::gather(history, &mut found);
    let mut judged: HashMap<&View, Vec<Status>> = HashMap::new();
    for told in &history.readers {
        if found.is_full() {
            break;
        }
        let statuses = judged.entry(&told.view).or_insert_with(|| facts.statuses(history, &told.view));
        Walk::new(history, &facts, told, statuses).run(&mut found);
    }
    found.0
}

/// The breaches so far, bounded.
pub(super) struct Found(Vec<Violation>);

impl Found {
    pub(super) fn add(&mut self, violation: impl FnOnce() -> Violation) {
        if !self.is_full() {
            self.0.push(violation());
        }
    }

    fn is_full(&self) -> bool {
        self.0.len() >= Violation::COUNT_MAX
    }
}
