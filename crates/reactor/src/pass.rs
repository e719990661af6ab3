//! Delivery: from a new head to one write per subscriber that lacks something.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidings_hub::{Hub, Seq};

use crate::conn::{Key, State};
use crate::door::Door;
use crate::groups::GroupKey;
use crate::lag::seconds;
use crate::reactor::{Reactor, WRITES_MAX};
use crate::serve::{End, Sent, send};
use crate::window::{Built, Wrote};

/// Entries of the hot log that are looked at while publishing waits.
const SCAN_MAX: usize = 1_024;
/// Subscribers that go the other way in one turn.
const FALLS_MAX: usize = 32;
/// Windows that one subscriber gets in one turn.
const WINDOWS_MAX: usize = 2;

/// A round: the members of a group get what the window has.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) group: GroupKey,
    /// Members before this place have not had it. Backwards: when one leaves, the last one takes its place.
    next: usize,
    frames: u64,
    bytes: usize,
}

impl Round {
    /// Counts what went out.
    pub(crate) fn count(&self, hub: &Hub) {
        hub.wrote(self.frames, self.bytes);
    }
}

impl<D: Door> Reactor<D> {
    /// Scans when all that was scanned before is served; serves as much as a turn allows.
    pub(crate) fn pass(&mut self) {
        let mut writes = WRITES_MAX;
        loop {
            if self.round.is_none() && self.queue.is_empty() && !self.scan() {
                return;
            }
            self.rounds(&mut writes);
            if writes == 0 {
                return;
            }
        }
    }

    /// Looks at new entries, and notes their places with the groups that want them. Whether there were any.
    fn scan(&mut self) -> bool {
        // Cleared before the head is read, so that a commit in between is seen in the next turn.
        _ = self.mailbox.take_committed();
        let view = self.hub.view();
        let head = view.head();
        if head == self.seen {
            return false;
        }
        if self.groups.is_empty() {
            self.seen = head;
            self.later.clear();
            return false;
        }
        if view.base() > self.seen {
            drop(view);
            self.overrun(head);
            self.look_at_ends();
            return true;
        }
        let (mut scanned, mut last) = (0, self.seen);
        for entry in view.after(self.seen).take(SCAN_MAX) {
            scanned += 1;
            last = entry.seq;
            self.wanted.clear();
            let wanted = &mut self.wanted;
            for topic in &entry.topics {
                self.groups.each(topic.as_str(), |group| wanted.push(group));
            }
            if entry.topics.len() > 1 || wanted.len() > 1 {
                wanted.sort_unstable();
                wanted.dedup();
            }
            for key in wanted.iter() {
                let Some(group) = self.groups.get_mut(*key) else { continue };
                let is_plain = !entry.private && group.spec.filter.events().is_empty();
                if !is_plain && !view.get(entry.seq).is_some_and(|hit| group.spec.gets(&hit)) {
                    continue;
                }
                group.thread.push_back(entry.seq);
                if !group.queued {
                    group.queued = true;
                    self.queue.push_back(*key);
                }
            }
        }
        self.seen = if scanned < SCAN_MAX { head } else { last };
        drop(view);
        self.look_at_ends();
        true
    }

    fn look_at_ends(&mut self) {
        for key in std::mem::take(&mut self.later) {
            self.requeue(key);
        }
    }

    /// The hot log went on without this reactor: whoever may lack something goes the other way for a while.
    fn overrun(&mut self, head: Seq) {
        // Before anybody comes back: whoever is live again lacks nothing up to where the next scan begins.
        let seen = std::mem::replace(&mut self.seen, head);
        let mut falling = Vec::new();
        {
            let view = self.hub.view();
            for group in self.groups.iter_mut() {
                // A scan begins when everything that was scanned before is served.
                group.served = head;
                if view.is_quiet(&group.spec, seen) {
                    continue;
                }
                group.from = head;
                group.thread.clear();
                falling.extend_from_slice(&group.members);
            }
        }
        tracing::warn!(subscribers = falling.len(), "publishing outran delivery; raise hot_log_bytes");
        for key in falling {
            self.fall(key, seen);
        }
    }

    /// One that lacks nothing up to a place, and what follows cannot be had: it lags, until it is its turn to go the
    /// other way.
    fn fall(&mut self, key: Key, through: Seq) {
        let token = self.token(key);
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Live(cursor) = &mut conn.state else { return };
        // Who lags already goes when the socket can be written to, and stays small until then.
        if std::mem::replace(&mut conn.lags, true) {
            return;
        }
        cursor.through = cursor.through.max(through);
        conn.behind_s = seconds(self.hub.now_ms());
        self.lagging += 1;
        if let Some(group) = self.groups.get_mut(cursor.group) {
            group.lagging += 1;
        }
        self.falling.push_back(token);
    }

    /// Some of those that have to go the other way.
    pub(crate) fn serve_falling(&mut self) {
        for _ in 0..FALLS_MAX {
            let Some(token) = self.falling.pop_front() else { return };
            self.side.clear();
            if self.get(token).is_some() {
                self.catch_up(token.key);
            }
        }
        self.side.clear();
    }

    fn rounds(&mut self, writes: &mut usize) {
        while *writes > 0 {
            if self.round.is_none() && !self.next_round() {
                if self.queue.is_empty() {
                    return;
                }
                continue;
            }
            let Some(round) = &mut self.round else { continue };
            let Some(at) = round.next.checked_sub(1) else {
                self.end_round();
                continue;
            };
            round.next = at;
            let group = self.groups.get(round.group);
            let Some(key) = group.and_then(|group| group.members.get(at)).copied() else { continue };
            *writes -= 1;
            self.serve(key);
        }
    }

    /// Puts the next group's window together. Whether there is a round now.
    fn next_round(&mut self) -> bool {
        let Some(key) = self.queue.pop_front() else { return false };
        let Some(group) = self.groups.get_mut(key) else { return false };
        group.queued = false;
        let build = || self.window.build(&self.hub.view(), group, group.served);
        let Ok(built) = catch_unwind(AssertUnwindSafe(build)) else {
            self.drop_group(key);
            return false;
        };
        match built {
            Built::Filled => {
                group.queued = true;
                self.round = Some(Round { group: key, next: group.members.len(), frames: 0, bytes: 0 });
                return true;
            }
            Built::Empty if group.over => self.end_group(key),
            Built::Empty => {}
            Built::Lost(place) => {
                // Those that do not lag all lack it.
                let lacks = |key: &Key| {
                    self.conns.get(*key as usize).is_some_and(|conn| match &conn.state {
                        State::Live(cursor) => !conn.lags && cursor.through < place,
                        _ => false,
                    })
                };
                let keys: Vec<Key> = group.members.iter().copied().filter(lacks).collect();
                let served = std::mem::replace(&mut group.served, place);
                for key in keys {
                    self.fall(key, served);
                }
                self.requeue(key);
            }
        }
        false
    }

    /// A defect where a group's events are put together costs its streams, and nobody else's.
    fn drop_group(&mut self, key: GroupKey) {
        let members = self.groups.get(key).map(|group| group.members.to_vec()).unwrap_or_default();
        tracing::error!(
            streams = members.len(),
            "a window could not be built; its streams are cut. Report it"
        );
        for member in members {
            self.close(member);
        }
    }

    /// A group has more to be served, or its end to be looked at.
    fn requeue(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let more = group.thread.back().is_some_and(|last| *last > group.served) || group.over;
        if more && !group.queued {
            group.queued = true;
            self.queue.push_back(key);
        }
    }

    fn end_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        round.count(&self.hub);
        let to = self.window.to();
        if let Some(group) = self.groups.get_mut(round.group) {
            group.queued = false;
            group.served = group.served.max(to);
            group.trim();
            self.requeue(round.group);
        }
        if self.queue.is_empty() {
            self.window.clear();
        }
    }

    /// All topics of a group are closed, and what came before is served: its streams end.
    fn end_group(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get(key) else { return };
        // The end may stand behind what was scanned, or a topic be open again.
        let ended = self.hub.view().ended(&group.spec);
        match ended {
            Some(at) if at <= self.seen => {}
            Some(_) => return self.later.push(key),
            None => {
                if let Some(group) = self.groups.get_mut(key) {
                    group.over = false;
                }
                return;
            }
        }
        let is_served = |key: &Key| self.conns.get(*key as usize).is_some_and(|conn| !conn.lags);
        let keys: Vec<Key> = group.members.iter().copied().filter(is_served).collect();
        for key in keys {
            self.end_stream(key, End::Over);
        }
    }

    /// Writes the window to a member of the round.
    fn serve(&mut self, key: Key) {
        let Some(round) = &mut self.round else { return };
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Live(cursor) = &mut conn.state else { return };
        if conn.lags || cursor.through >= self.window.to() {
            return;
        }
        let (bytes, at, frames) = self.window.lacking(cursor);
        match send(&conn.socket, bytes) {
            Sent::Gone => return self.close(key),
            Sent::Bytes(sent) => {
                round.bytes += sent;
                round.frames += frames as u64;
                if sent == bytes.len() {
                    cursor.through = self.window.to();
                } else {
                    let left = match self.window.settle(cursor, at + sent) {
                        Wrote::All => 0,
                        Wrote::Part(left) => left,
                    };
                    round.frames -= left as u64;
                    conn.lags = true;
                    conn.behind_s = seconds(self.hub.now_ms());
                    self.lagging += 1;
                    if let Some(group) = self.groups.get_mut(cursor.group) {
                        group.lagging += 1;
                    }
                }
            }
        }
        if self.config.heartbeat_ms > 0 {
            // It stands in the wheel already, under an earlier tick.
            let heartbeat_ms = self.config.heartbeat_ms;
            conn.due = self.now.saturating_add(Self::ticks(heartbeat_ms));
        }
    }

    /// Those that lag and can write again, group by group, so that one window does for many.
    pub(crate) fn serve_writable(&mut self) {
        if self.writable.is_empty() {
            return;
        }
        let mut writable = std::mem::take(&mut self.writable);
        writable.sort_unstable_by_key(|key| (self.place(*key), *key));
        writable.dedup();
        let mut last = None;
        for key in writable.drain(..) {
            let group = self.place(key).map(|(group, _)| group);
            if last != group {
                self.side.clear();
                last = group;
            }
            self.catch_up(key);
        }
        self.side.clear();
        self.writable = writable;
    }

    /// A live one's group, and where it stands.
    fn place(&self, key: Key) -> Option<(GroupKey, Seq)> {
        match &self.conns.get(key as usize)?.state {
            State::Live(cursor) => Some((cursor.group, cursor.through)),
            _ => None,
        }
    }

    /// Writes what one that lags lacks.
    fn catch_up(&mut self, key: Key) {
        for _ in 0..WINDOWS_MAX {
            let Some(conn) = self.conns.get_mut(key as usize) else { return };
            let State::Live(cursor) = &mut conn.state else { return };
            if !conn.lags {
                return;
            }
            let Some(group) = self.groups.get_mut(cursor.group) else { return };
            if !self.side.serves(cursor.through) {
                if group.from > cursor.through {
                    return self.fall_back(key);
                }
                let build = || self.side.build(&self.hub.view(), group, cursor.through);
                let Ok(built) = catch_unwind(AssertUnwindSafe(build)) else {
                    tracing::error!("a window could not be built; its stream is cut. Report it");
                    return self.close(key);
                };
                match built {
                    Built::Filled => {}
                    Built::Lost(_) => return self.fall_back(key),
                    Built::Empty => {
                        conn.lags = false;
                        self.lagging = self.lagging.saturating_sub(1);
                        group.lagging = group.lagging.saturating_sub(1);
                        let is_over = group.over;
                        group.trim();
                        if is_over {
                            let group = cursor.group;
                            self.requeue(group);
                        }
                        return;
                    }
                }
            }
            let (bytes, at, frames) = self.side.lacking(cursor);
            match send(&conn.socket, bytes) {
                Sent::Gone => return self.close(key),
                Sent::Bytes(sent) => {
                    let wrote = self.side.settle(cursor, at + sent);
                    let left = if let Wrote::Part(left) = wrote { left } else { 0 };
                    self.hub.wrote((frames - left) as u64, sent);
                    if left > 0 {
                        return;
                    }
                }
            }
        }
        let token = self.token(key);
        self.again.push(token);
    }
}
