//! What a connection does when it can: read a request, await and write an answer, begin and feed a stream.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tidings_hub::chunk;
use tidings_hub::live::{Carried, Live, Way};
use tidings_hub::{Subscription, TopicName};

use crate::conn::{Cursor, Fed, Key, Out, State, Token, Work};
use crate::door::{Answer, Door, Look, Then};
use crate::mailbox::Stage;
use crate::reactor::Reactor;

/// Chunks that one subscriber is fed in one turn.
const FEEDS_MAX: usize = 8;
/// Requests of one connection that are answered in one turn.
const REQUESTS_MAX: usize = 16;
/// Reads of bytes that nobody asked for, before a stream is ended.
const NOISE_MAX: u8 = 16;
/// Room for a subscriber's next chunk that is kept while it waits.
const FED_ROOM_BYTES_MAX: usize = 1 << 10;

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many bytes, maybe none because the socket is full.
    Bytes(usize),
    /// The peer is gone.
    Gone,
}

/// Writes without waiting.
pub(crate) fn send(mut socket: &std::net::TcpStream, bytes: &[u8]) -> Sent {
    loop {
        return match socket.write(bytes) {
            Ok(sent) => Sent::Bytes(sent),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock => Sent::Bytes(0),
                _ => Sent::Gone,
            },
        };
    }
}

impl<D: Door> Reactor<D> {
    /// Something is new about a connection's socket.
    pub(crate) fn handle_ready(&mut self, token: Token, can_write: bool) {
        let key = token.key;
        let Some(conn) = self.get(token) else { return };
        match &conn.state {
            State::Reading(_) => self.read(key),
            // Its request is answered first.
            State::Working(_) => {}
            // Who leaves while the beginning of a stream waits for room does not come for the rest.
            State::Writing(out) if conn.eof && matches!(out.then, Then::Stream(_)) => self.close(key),
            State::Writing(_) if can_write => self.flush(key),
            State::Writing(_) => {}
            State::Live(_) | State::Fed(_) if conn.eof => self.close(key),
            State::Live(_) => {
                if can_write && conn.lags {
                    self.writable.push(key);
                }
                self.ignore(key);
            }
            State::Fed(_) => {
                if can_write {
                    self.feed(key);
                }
                self.ignore(key);
            }
        }
    }

    /// Somebody woke a connection, or it was not finished in the turn before.
    pub(crate) fn poke(&mut self, token: Token) {
        let key = token.key;
        let Some(conn) = self.get(token) else { return };
        match &conn.state {
            State::Working(_) => {
                self.work(key);
                self.read(key);
            }
            State::Fed(_) => self.feed(key),
            State::Reading(_) => self.read(key),
            State::Live(_) if conn.lags => self.writable.push(key),
            State::Live(_) | State::Writing(_) => {}
        }
    }

    /// A connection's time has come.
    pub(crate) fn handle_due(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key as usize) else { return };
        match &conn.state {
            State::Reading(_) => self.close(key),
            State::Live(_) if self.config.heartbeat_ms > 0 => self.heartbeat(key),
            // The hub sees to heartbeats of those that are fed, the system to those that do not read.
            State::Live(_) | State::Working(_) | State::Writing(_) | State::Fed(_) => {}
        }
    }

    /// Reads requests, and answers those that can be answered at once.
    fn read(&mut self, key: Key) {
        for _ in 0..REQUESTS_MAX {
            let Some(conn) = self.conns.get_mut(key as usize) else { return };
            let State::Reading(begun) = &mut conn.state else { return };
            let mut fresh = 0;
            if conn.readable {
                match (&conn.socket).read(&mut self.buffer) {
                    Ok(0) => (conn.eof, conn.readable) = (true, false),
                    // After less than there was room for, what comes later is told anew.
                    Ok(read) => (fresh, conn.readable) = (read, read == self.buffer.len()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => conn.readable = false,
                    Err(_) => return self.close(key),
                }
            }
            let is_first = conn.fresh && fresh > 0;
            conn.fresh &= fresh == 0;
            let read = self.buffer.get(..fresh).unwrap_or_default();
            let held = !begun.is_empty();
            if held {
                begun.extend_from_slice(read);
            }
            let bytes = if held { begun.as_slice() } else { read };
            if bytes.is_empty() {
                if conn.eof || self.stage >= Stage::Stopping {
                    self.close(key);
                }
                return;
            }
            // A defect in what looks at one request costs its own connection, and not all streams.
            let Ok(found) = catch_unwind(AssertUnwindSafe(|| self.door.look(bytes))) else {
                tracing::error!("a look at a request ended in a panic; report it");
                return self.close(key);
            };
            match found {
                Look::More if bytes.len() <= self.config.partial_bytes_max => {
                    let is_over = conn.eof && !conn.readable;
                    let more = conn.readable;
                    if !held {
                        let begun = bytes.to_vec();
                        conn.state = State::Reading(begun);
                    }
                    if is_over {
                        return self.close(key);
                    }
                    if is_first {
                        self.due_in(key, self.config.head_ms);
                    }
                    if !more {
                        return;
                    }
                }
                Look::More | Look::Other => {
                    let bytes = bytes.to_vec();
                    return self.hand_off(key, bytes);
                }
                Look::Request { bytes: taken, answer } => {
                    let rest = bytes.get(taken..).unwrap_or_default().to_vec();
                    let waker = self.mailbox.waker(Token { key, generation: conn.generation });
                    conn.state = State::Working(Box::new(Work { answer, waker, rest }));
                    self.work(key);
                }
            }
        }
        let token = self.token(key);
        self.again.push(token);
    }

    /// Looks whether an answer is ready, and writes it.
    fn work(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Working(work) = &mut conn.state else { return };
        // A defect in one answer costs its own connection, as it would in a task of its own, and not all streams.
        let mut poll = || work.answer.as_mut().poll(&mut Context::from_waker(&work.waker));
        let Ok(answer) = catch_unwind(AssertUnwindSafe(&mut poll)) else {
            tracing::error!("an answer ended in a panic; report it");
            return self.close(key);
        };
        let Poll::Ready(Answer { mut bytes, then }) = answer else { return };
        let rest = std::mem::take(&mut work.rest);
        if let Then::Stream(Carried { way: Way::Live(live), position, .. }) = &then {
            self.hub.live_head(live, *position, &mut bytes);
        }
        match send(&conn.socket, &bytes) {
            Sent::Bytes(sent) if sent == bytes.len() => self.after(key, then, rest),
            Sent::Bytes(sent) => {
                conn.state = State::Writing(Box::new(Out { bytes, sent, then, rest }));
            }
            Sent::Gone => {
                self.forget(&then);
                self.close(key);
            }
        }
    }

    /// Goes on writing an answer.
    fn flush(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Writing(out) = &mut conn.state else { return };
        match send(&conn.socket, out.bytes.get(out.sent..).unwrap_or_default()) {
            Sent::Bytes(sent) => out.sent += sent,
            Sent::Gone => return self.close(key),
        }
        if out.sent == out.bytes.len()
            && let State::Writing(out) = std::mem::replace(&mut conn.state, State::Reading(Vec::new()))
        {
            let Out { then, rest, .. } = *out;
            self.after(key, then, rest);
            // What came meanwhile is told no more.
            self.read(key);
        }
    }

    /// An answer is written: what comes next.
    fn after(&mut self, key: Key, then: Then, rest: Vec<u8>) {
        let stopping = self.is_stopping();
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        match then {
            Then::Next if !stopping => {
                conn.state = State::Reading(rest);
                self.due_in(key, self.config.head_ms);
            }
            Then::Next | Then::Close => {
                _ = conn.socket.shutdown(Shutdown::Write);
                self.close(key);
            }
            Then::Stream(_) if conn.eof => {
                self.forget(&then);
                self.close(key);
            }
            Then::Stream(Carried { way: Way::Live(live), .. }) => self.join(key, live),
            Then::Stream(Carried { way: Way::Fed(subscription), .. }) => {
                self.feed_from(key, subscription, 0, Vec::new());
            }
        }
    }

    /// An answer never went out: a subscriber that the hub counts will not be there.
    pub(crate) fn forget(&self, then: &Then) {
        if let Then::Stream(Carried { way: Way::Live(_), .. }) = then {
            self.hub.end_live();
        }
    }

    /// A stream whose head is written becomes a member of its group.
    pub(crate) fn join(&mut self, key: Key, live: Live) {
        if self.groups.is_empty() {
            // There was nobody to scan for, and it may be long ago.
            self.seen = self.hub.view().head();
        }
        // What was scanned before it came is not scanned for it.
        let lacks_nothing = self.hub.view().has_nothing_for(&live.spec, live.through, self.seen);
        let through = lacks_nothing.then(|| live.through.max(self.seen));
        let Some(through) = through else {
            let subscription = self.hub.fall_back(live, None);
            return self.feed_from(key, subscription, 0, Vec::new());
        };
        let ended = self.hub.view().ended(&live.spec);
        let (group, member) = self.groups.enter(live.spec, key, self.seen);
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.lags = false;
        conn.state = State::Live(Cursor { through, group, member, offset: 0, rest: 0 });
        match ended {
            Some(at) if at <= through => return self.end_stream(key, End::Over),
            // Its group may have been told before it was there: looked at again when the end was scanned.
            Some(_) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.over = true;
                }
                self.later.push(group);
            }
            None => {}
        }
        if self.drained {
            return self.send_away(key);
        }
        if self.config.heartbeat_ms > 0 {
            let heartbeat_ms = self.heartbeat_ms(key);
            self.due_in(key, heartbeat_ms);
        }
    }

    /// Spread over the sixth before the moment, so that streams that began together do not beat together.
    pub(crate) fn heartbeat_ms(&self, key: Key) -> u64 {
        let spread = u64::from(key.wrapping_mul(0x9e37_79b1) >> 26);
        self.config.heartbeat_ms - self.config.heartbeat_ms / 6 * spread / 64
    }

    /// A subscriber is fed from its subscription: `out` first, then `open` bytes that are lacking to a chunk.
    fn feed_from(&mut self, key: Key, subscription: Box<Subscription>, open: usize, out: Vec<u8>) {
        let token = self.token(key);
        let waker = self.mailbox.waker(token);
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.state = State::Fed(Box::new(Fed { subscription, waker, out, sent: 0, open, ends: false }));
        self.feed(key);
    }

    /// Writes what a subscription yields, until it waits or the socket is full.
    pub(crate) fn feed(&mut self, key: Key) {
        for _ in 0..FEEDS_MAX {
            let Some(conn) = self.conns.get_mut(key as usize) else { return };
            let State::Fed(fed) = &mut conn.state else { return };
            if fed.sent < fed.out.len() {
                match send(&conn.socket, fed.out.get(fed.sent..).unwrap_or_default()) {
                    Sent::Bytes(sent) => fed.sent += sent,
                    Sent::Gone => return self.close(key),
                }
                if fed.sent < fed.out.len() {
                    // It may take long: nothing is kept for what comes after.
                    fed.out.drain(..std::mem::take(&mut fed.sent));
                    fed.out.shrink_to_fit();
                    return;
                }
            }
            fed.out.clear();
            fed.sent = 0;
            if fed.ends {
                _ = conn.socket.shutdown(Shutdown::Write);
                return self.close(key);
            }
            let poll = || fed.subscription.poll_chunk(&mut Context::from_waker(&fed.waker));
            // As with an answer: a defect costs the one stream.
            let Ok(chunk) = catch_unwind(AssertUnwindSafe(poll)) else {
                tracing::error!("a subscription could not be read on; its stream is cut. Report it");
                return self.close(key);
            };
            match chunk {
                Poll::Ready(Some(Ok(bytes))) => {
                    let (of_open, rest) = bytes.split_at(fed.open.min(bytes.len()));
                    fed.out.extend_from_slice(of_open);
                    if fed.open > 0 && of_open.len() == fed.open {
                        fed.out.extend_from_slice(b"\r\n");
                    }
                    fed.open -= of_open.len();
                    chunk::write(rest, &mut fed.out);
                }
                Poll::Ready(None) => {
                    fed.out.extend_from_slice(chunk::LAST);
                    fed.ends = true;
                }
                // Without a proper end: the client knows that something is missing, and comes back for it.
                Poll::Ready(Some(Err(_))) => return self.close(key),
                Poll::Pending => {
                    fed.out.shrink_to(FED_ROOM_BYTES_MAX);
                    if fed.open > 0 {
                        return;
                    }
                    let Some(live) = self.hub.to_live(&fed.subscription, self.seen) else { return };
                    conn.state = State::Reading(Vec::new());
                    return self.join(key, live);
                }
            }
        }
        let token = self.token(key);
        self.again.push(token);
    }

    /// One that lags goes back to the way of a subscription, at the byte where it stands.
    pub(crate) fn fall_back(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Live(cursor) = conn.state else { return };
        let Some(group) = self.groups.get(cursor.group) else { return };
        let lags = std::mem::replace(&mut conn.lags, false);
        let through = cursor.through;
        let mut live = Live { spec: (*group.spec).clone(), through };
        let (mut out, mut partial, mut open) = (Vec::new(), None, 0);
        if cursor.rest > 0 {
            let (offset, rest) = (cursor.offset as usize, cursor.rest as usize);
            let (head, next) = (chunk::head_bytes(offset + rest), through.next());
            let inner = (offset + rest).saturating_sub(head + 2);
            match offset.checked_sub(head) {
                // Within the size: what is left of it comes first.
                None => {
                    chunk::write_head(inner, &mut out);
                    out.drain(..offset);
                    (partial, open) = (Some((next, 0)), inner);
                }
                Some(written) if written < inner => {
                    (partial, open) = (Some((next, written)), inner - written);
                }
                // Only the line end is missing, or a half of it.
                Some(_) => {
                    out.extend_from_slice(if rest == 1 { b"\n" } else { b"\r\n" });
                    live.through = next;
                }
            }
        }
        let subscription = self.hub.fall_back(live, partial);
        conn.state = State::Reading(Vec::new());
        self.leave_group(cursor.group, cursor.member, lags);
        self.feed_from(key, subscription, open, out);
    }

    /// Says that the stream is alive, and where it is.
    fn heartbeat(&mut self, key: Key) {
        let heartbeat_ms = self.heartbeat_ms(key);
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let State::Live(cursor) = conn.state else { return };
        let Some(group) = self.groups.get(cursor.group) else { return };
        // Whoever lags or is about to be written to has no need of it.
        if !conn.lags && !group.queued {
            let mut bytes = Vec::with_capacity(80);
            // One that was fed may be ahead of the scan.
            let through = cursor.through.max(self.seen);
            let position = self.hub.view().position(through);
            group.spec.cursor_chunk(position, &mut bytes);
            match send(&conn.socket, &bytes) {
                Sent::Gone => return self.close(key),
                Sent::Bytes(0) => {}
                Sent::Bytes(sent) if sent < bytes.len() => {
                    let spec = (*group.spec).clone();
                    let carried = Carried {
                        resume: tidings_hub::Resume::Exact,
                        position,
                        way: Way::Live(Live { spec, through }),
                    };
                    let then = Then::Stream(carried);
                    conn.state = State::Writing(Box::new(Out { bytes, sent, then, rest: Vec::new() }));
                    return self.leave_group(cursor.group, cursor.member, false);
                }
                Sent::Bytes(sent) => self.hub.wrote(0, sent),
            }
        }
        self.due_in(key, heartbeat_ms);
    }

    /// Ends the streams that have nothing but closed topics.
    pub(crate) fn topic_closed(&mut self, topic: &TopicName) {
        let mut named = Vec::new();
        self.groups.each(topic.as_str(), |group| named.push(group));
        named.sort_unstable();
        named.dedup();
        for group_key in named {
            let Some(group) = self.groups.get_mut(group_key) else { continue };
            if self.hub.view().ended(&group.spec).is_none() {
                continue;
            }
            group.over = true;
            // What was published before the end is scanned and served first; the round's end looks at it again.
            if !group.queued {
                group.queued = true;
                self.queue.push_back(group_key);
            }
        }
    }

    /// Sends a live subscriber away, to come back soon.
    pub(crate) fn send_away(&mut self, key: Key) {
        self.end_stream(key, End::Away);
    }

    /// Ends a stream in order, if it stands between two frames.
    pub(crate) fn end_stream(&mut self, key: Key, end: End) {
        let Some(conn) = self.conns.get(key as usize) else { return };
        let State::Live(cursor) = &conn.state else { return };
        // Who lags may still stand between two frames; the end is only told if it has everything.
        let can_end = cursor.rest == 0 && (end == End::Away || !conn.lags);
        if can_end && let Some(group) = self.groups.get(cursor.group) {
            let mut bytes = Vec::with_capacity(80);
            match end {
                // So that the client, when it comes back, is known to have seen all.
                End::Over => {
                    let position = self.hub.view().position(cursor.through.max(self.seen));
                    group.spec.cursor_chunk(position, &mut bytes);
                }
                End::Away => self.hub.away_chunk(&mut bytes),
            }
            bytes.extend_from_slice(chunk::LAST);
            match send(&conn.socket, &bytes) {
                // Who is sent away must not keep a hub that ends; this one has all, and is told so when it reads on.
                Sent::Bytes(sent) if sent < bytes.len() && end == End::Over => {
                    return self.end_later(key, bytes, sent);
                }
                _ => _ = conn.socket.shutdown(Shutdown::Write),
            }
        }
        self.close(key);
    }

    /// The end of a stream waits for room in the socket.
    fn end_later(&mut self, key: Key, bytes: Vec<u8>, sent: usize) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let out = Out { bytes, sent, then: Then::Close, rest: Vec::new() };
        let before = std::mem::replace(&mut conn.state, State::Writing(Box::new(out)));
        if let State::Live(cursor) = before {
            self.leave_group(cursor.group, cursor.member, false);
            self.hub.end_live();
        }
    }

    /// Reads what a client sends into its own stream, and forgets it.
    fn ignore(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        while std::mem::replace(&mut conn.readable, false) {
            match (&conn.socket).read(&mut self.buffer) {
                Ok(0) => return self.close(key),
                Ok(read) => {
                    conn.readable = read == self.buffer.len();
                    conn.noise = conn.noise.saturating_add(1);
                    if conn.noise > NOISE_MAX {
                        return self.close(key);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => conn.readable = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return self.close(key),
            }
        }
    }
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All topics are closed and everything was delivered.
    Over,
    /// The hub goes away.
    Away,
}
