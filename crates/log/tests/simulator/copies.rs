//! Copies of the log: with a bit turned or a piece blank, repaired, backed up and restored. What they serve is held
//! against what the log itself would have to.

use std::collections::BTreeSet;

use tidings_hub::ports::{Durability, Log};
use tidings_hub::{Record, Seq};
use tidings_log::tools;
use tidings_testkit::disk::SimDisk;

use super::super::common::Manual;
use super::super::model::producers::IDS;
use super::super::model::{Model, TOPICS};
use super::{World, ask};

impl World {
    /// A bit of a file turns, on a copy of the disk: the start refuses, or a read does, or all is as it was. (After
    /// an end that was not clean the newest may be missing: the last batch looks like one that was never synced.)
    pub(super) fn rot(&mut self, is_clean: bool) -> Result<(), String> {
        if self.model.is_in_doubt() {
            return Ok(());
        }
        if self.random.once_in(3) {
            return self.blank(is_clean);
        }
        let copy = self.disk.copy(self.random.next());
        let mut names = copy.names();
        if self.random.once_in(2) {
            names.retain(|name| name.ends_with(".log"));
        }
        let Some(name) = names.get(self.random.up_to(names.len().saturating_sub(1))) else { return Ok(()) };
        let mut content = copy.content(name).unwrap_or_default();
        let at = self.random.up_to(content.len().saturating_sub(1));
        let Some(byte) = content.get_mut(at) else { return Ok(()) };
        *byte ^= 1 << self.random.below(8);
        copy.put(name, &content);
        let said = |message: String| format!("a bit of byte {at} of {name} turned: {message}");
        let hurt = copy.copy(self.random.next());
        // Checkpoints that compaction needs, and headers of segments, are not mended in all cases yet.
        let is_mended = !name.ends_with(".ckpt") && (at >= 160 || !name.ends_with(".log"));
        let Ok(mut log) = Manual::open(copy, &self.clock, self.config.clone()) else {
            return if is_mended { self.mend(&hurt, is_clean).map_err(said) } else { Ok(()) };
        };
        let Ok(found) = log.try_all("**") else {
            return if is_mended { self.mend(&hurt, is_clean).map_err(said) } else { Ok(()) };
        };
        let checked =
            self.over(&log, |model| model.check_rotten(&found, &log.log.bounds(), &log.fold(), is_clean));
        let checked =
            checked.and_then(|()| if is_clean { self.check_producers_of(&mut log) } else { Ok(()) });
        checked.map_err(said)
    }

    /// A piece of a segment reads as zeros, as a lost sector may, and something behind it proves that it had been
    /// written: never is it taken for room that was made ahead.
    fn blank(&mut self, is_clean: bool) -> Result<(), String> {
        let copy = self.disk.copy(self.random.next());
        let mut names = copy.names();
        // One that could not be begun says nothing of the one before it.
        let has_header = |name: &String| copy.content(name).is_some_and(|content| content.len() >= 96);
        names.retain(|name| name.ends_with(".log") && has_header(name));
        let Some(name) = names.get(self.random.up_to(names.len().saturating_sub(1))) else { return Ok(()) };
        let mut content = copy.content(name).unwrap_or_default();
        let is_last = names.last() == Some(name);
        if is_last && !is_clean && self.config.durability != Durability::Fsync {
            return Ok(());
        }
        // The header of the last batch says that all before it was synced; of a sealed segment, the next one does.
        // (A part of one may be left of a write that found no space.)
        let is_header = |at: &usize| {
            let header = content.get(*at..*at + 64).and_then(|header| header.split_last_chunk::<4>());
            header.is_some_and(|(head, crc)| {
                head.starts_with(&[0xBD, 0xC4, 0xD5, 0xB7])
                    && crc32c::crc32c(head) == u32::from_le_bytes(*crc)
            })
        };
        let headers: Vec<usize> = (96..content.len()).filter(is_header).collect();
        let end = if is_last { headers.last().copied().unwrap_or(0) } else { content.len() };
        let from = if self.random.once_in(4) {
            96 + self.random.up_to(end.saturating_sub(96))
        } else {
            headers.get(self.random.up_to(headers.len())).copied().unwrap_or(end)
        };
        let to = if self.random.once_in(2) { end } else { (from + 1 + self.random.up_to(200)).min(end) };
        let Some(piece) = content.get_mut(from..to) else { return Ok(()) };
        piece.fill(0);
        copy.put(name, &content);
        if self.random.once_in(2) {
            copy.remove(&name.replace(".log", ".idx"));
        }
        let Ok(log) = Manual::open(copy, &self.clock, self.config.clone()) else { return Ok(()) };
        let bounds = log.log.bounds();
        let checked = match log.try_all("**") {
            Ok(found) => self.over(&log, |model| model.check_rotten(&found, &bounds, &log.fold(), true)),
            // Who does not read what is gone must not miss anything.
            Err(_) => TOPICS.into_iter().try_for_each(|name| match log.try_all(name) {
                Ok(found) => self.over(&log, |model| model.check_topic(name, &found, &bounds, &log.fold())),
                Err(_) => Ok(()),
            }),
        };
        checked.map_err(|message| format!("bytes {from} to {to} of {name} became zeros: {message}"))
    }

    /// Holds a copy against the model. It may know of losses that the log itself has not told yet: a checkpoint has
    /// them first.
    fn over(&mut self, log: &Manual, check: impl FnOnce(&Model) -> Result<(), String>) -> Result<(), String> {
        let told = log.told.with(|told| self.model.excuse_for_now(&told.fold));
        let checked = check(&self.model);
        self.model.take_back(told);
        checked
    }

    /// What a start or a reader refuses, a repair mends: what is gone then is told, and nothing else is.
    fn mend(&mut self, copy: &SimDisk, is_clean: bool) -> Result<(), String> {
        let copy = copy.kill();
        let repaired = tools::repair(&copy, false).map_err(|error| format!("it is not repaired: {error}"))?;
        let log = Manual::open(copy, &self.clock, self.config.clone());
        let mut log =
            log.map_err(|error| format!("repaired ({:?}), it is refused: {error}", repaired.done))?;
        let found = log.try_all("**").map_err(|error| format!("repaired, it is not read: {error}"))?;
        for id in IDS {
            let Some(known) = ask(&mut log, id)? else { break };
            self.model.check_mended_producer(id, known, &found)?;
        }
        let told = log.told.with(|told| told.lost.clone());
        let last = found.last().map_or(Seq::ZERO, |record| record.seq);
        // The end may look as if it had never been synced.
        let may_miss = |seq: Seq| {
            (!is_clean && seq > last) || told.iter().any(|range| range.first <= seq && seq <= range.last)
        };
        let there: BTreeSet<Seq> = found.iter().map(|record: &Record| record.seq).collect();
        self.over(&log, |model| model.check_mended(&found, &there, &log.log.bounds(), may_miss))
            .map_err(|message| format!("repaired ({:?}), lost {told:?}: {message}", repaired.done))
    }

    /// A backup, into the same directory as the last one, and what is restored of it.
    pub(super) fn back_up(&mut self) -> Result<(), String> {
        if self.model.is_in_doubt() || self.disk.is_dark() {
            return Ok(());
        }
        self.listen()?;
        let source = self.disk.copy(self.random.next());
        let seed = self.random.next();
        let target = self.backup.get_or_insert_with(|| SimDisk::seeded(seed)).kill();
        if let (Some(beside), Some(log)) = (&self.beside, &mut self.log) {
            let struck = self.disk.struck();
            log.log.tick();
            let made = beside.meanwhile(log, || tools::backup(&self.disk, &target).map(drop));
            log.pump();
            self.backup = Some(target.clone());
            match made {
                Err(_) if self.disk.is_dark() || self.disk.struck() > struck => return Ok(()),
                made => made.map_err(|error| format!("no backup beside a hub: {error}"))?,
            }
            self.listen()?;
        } else {
            tools::backup(&source, &target).map_err(|error| format!("no backup: {error}"))?;
        }
        let restored = SimDisk::seeded(self.random.next());
        tools::restore(&target, &restored).map_err(|error| format!("nothing is restored: {error}"))?;
        self.backup = Some(target);
        let log = Manual::open(restored, &self.clock, self.config.clone());
        let mut log = log.map_err(|error| format!("what was restored does not start: {error}"))?;
        let found = log.try_all("**").map_err(|error| format!("what was restored is not read: {error}"))?;
        let bounds = log.log.bounds();
        let checked = self.over(&log, |model| model.check(&found, &bounds, &log.fold()));
        let checked = checked.and_then(|()| self.model.check_new_life(&bounds));
        let checked = checked.and_then(|()| self.check_keys_of(&mut log));
        checked
            .and_then(|()| self.check_producers_of(&mut log))
            .map_err(|message| format!("restored: {message}"))
    }

    /// A copy of the log knows of each producer what the log would know that starts now.
    fn check_producers_of(&self, log: &mut Manual) -> Result<(), String> {
        if !self.model.producers.is_settled() {
            return Ok(());
        }
        let mut producers = self.model.producers.clone();
        producers.restart(None);
        for id in IDS {
            let Some(known) = ask(log, id)? else { continue };
            producers.settle(id, known, |_, _| false)?;
        }
        Ok(())
    }
}
