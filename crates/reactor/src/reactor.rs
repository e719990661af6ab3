//! The loop: what one thread does in a turn, and how connections come and go.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;
use tidings_hub::live::Watch;
use tidings_hub::{Hub, Seq};

use crate::ages::Ages;
use crate::conn::{Conn, Key, State, Token};
use crate::door::Door;
use crate::groups::{GroupKey, Groups};
use crate::mailbox::{Mail, Mailbox, Stage};
use crate::pass::Round;
use crate::wheel::{TICK_MS, Wheel};
use crate::window::Window;

/// How a reactor is to run.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Time until a connection's first bytes, in milliseconds.
    pub handshake_ms: u64,
    /// Time for a whole request head, counted from the previous answer, in milliseconds.
    pub head_ms: u64,
    /// Bytes of a request that has not come whole, which are held here; a longer one is for somebody else.
    pub partial_bytes_max: usize,
    /// Silence after which a subscriber is sent a heartbeat, in milliseconds; 0: never.
    pub heartbeat_ms: u64,
    /// The pause after the system refused to accept, in milliseconds.
    pub accept_pause_ms: u64,
    /// Connections at once here, beside what the door allows for all.
    pub connections_max: usize,
}

/// Events taken from the system in one turn.
const EVENTS_MAX: usize = 512;
/// Connections accepted from one listener in one turn.
const ACCEPTS_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Writes of rounds in one turn.
pub(crate) const WRITES_MAX: usize = 512;
/// Between two looks at who lags most.
const LAG_EVERY_TICKS: u32 = 10;

/// What the system's events of listeners and of the mailbox are marked with: no connection has this generation.
const NOT_A_CONNECTION: u64 = (u32::MAX as u64) << 32;
const MAIL: u64 = NOT_A_CONNECTION | u32::MAX as u64;

/// A reactor: made anywhere, then run on a thread of its own.
pub struct Reactor<D: Door> {
    pub(crate) hub: Hub,
    pub(crate) door: D,
    pub(crate) config: Config,
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    pub(crate) mailbox: Arc<Mailbox>,
    others: Vec<Arc<Mailbox>>,
    watch: Arc<dyn Watch>,
    pub(crate) conns: Slab<Conn>,
    pub(crate) groups: Groups,
    pub(crate) wheel: Wheel,
    started: Instant,
    /// The present tick.
    pub(crate) now: u32,
    generation: u32,
    pub(crate) ages: Ages,
    /// Every record up to here was looked at, whoever wants it.
    pub(crate) seen: Seq,
    /// Groups that wait for their round.
    pub(crate) queue: VecDeque<GroupKey>,
    pub(crate) round: Option<Round>,
    /// The window of the round.
    pub(crate) window: Window,
    /// The window of those that lag.
    pub(crate) side: Window,
    /// Who lags and can write again.
    pub(crate) writable: Vec<Key>,
    /// Who lacks what the hot log has no more, and goes the other way, some in each turn.
    pub(crate) falling: VecDeque<Token>,
    /// Groups whose end stands behind what was scanned.
    pub(crate) later: Vec<GroupKey>,
    /// Who was not finished in this turn.
    pub(crate) again: Vec<Token>,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) wanted: Vec<GroupKey>,
    accepting: Accepting,
    drain: Option<Drain>,
    /// There was an order to drain: nobody becomes live any more.
    pub(crate) drained: bool,
    pub(crate) stage: Stage,
    lag_due: u32,
    /// When it may be told again who is slow.
    pub(crate) slow_due: u32,
    /// How many lag, over all groups.
    pub(crate) lagging: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// There is no room, or the system refused: again at this tick.
    At(u32),
    /// It has as many as it may have itself: again when some are gone.
    Full,
    No,
}

/// Streams are being ended.
#[derive(Clone, Copy)]
struct Drain {
    begun: Instant,
    over: Duration,
    next: usize,
}

impl<D: Door> Reactor<D> {
    /// A reactor for what comes in at some listeners. `others`, which have clones of them, are told when this one is full.
    /// It is reached by its mailbox.
    ///
    /// # Errors
    /// What the system says if it has no descriptor left.
    pub fn new(
        hub: Hub,
        door: D,
        config: Config,
        listeners: Vec<TcpListener>,
        mailbox: Arc<Mailbox>,
        others: Vec<Arc<Mailbox>>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*mailbox, epoll::EventData::new_u64(MAIL), epoll::EventFlags::IN)?;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let watch: Arc<dyn Watch> = Arc::clone(&mailbox) as Arc<dyn Watch>;
        // Before the head is read, so that no commit falls between.
        hub.watch(Arc::clone(&watch));
        let seen = hub.view().head();
        let mut reactor = Self {
            hub,
            door,
            config,
            epoll,
            listeners,
            mailbox,
            others,
            watch,
            conns: Slab::new(),
            groups: Groups::default(),
            wheel: Wheel::new(0),
            started: now(),
            now: 0,
            generation: 0,
            ages: Ages::default(),
            seen,
            queue: VecDeque::new(),
            round: None,
            window: Window::default(),
            side: Window::default(),
            writable: Vec::new(),
            falling: VecDeque::new(),
            later: Vec::new(),
            again: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            wanted: Vec::new(),
            accepting: Accepting::No,
            drain: None,
            drained: false,
            stage: Stage::Serving,
            lag_due: 0,
            slow_due: 0,
            lagging: 0,
        };
        reactor.listen()?;
        Ok(reactor)
    }

    /// Runs until it is told to end and all its connections are gone.
    // Promise: waits for the system and for mail, and for nobody else.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut mail = Mail::default();
        loop {
            self.wait(&mut events);
            self.now = self.tick();
            for event in events.drain(..) {
                self.handle_event(event.data.u64(), event.flags);
            }
            self.handle_mail(&mut mail);
            self.handle_timers();
            for token in std::mem::take(&mut self.again) {
                self.poke(token);
            }
            self.serve_writable();
            self.serve_falling();
            self.pass();
            self.mailbox.connections.store(wide(self.conns.len()), Ordering::Relaxed);
            self.mailbox.lagging.store(wide(self.lagging), Ordering::Relaxed);
            if self.lagging == 0 {
                // At once: nothing may wake this thread for long.
                self.mailbox.lag_max.store(0, Ordering::Relaxed);
                self.mailbox.lag_ms_max.store(0, Ordering::Relaxed);
            }
            if self.stage >= Stage::Stopping && (self.conns.is_empty() || self.stage == Stage::Ended) {
                return;
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        events.clear();
        let waits = self.round.is_none() && self.queue.is_empty() && self.falling.is_empty();
        let is_busy = !waits || !self.again.is_empty();
        let sleeps = !is_busy && self.mailbox.may_sleep(self.stage, !self.groups.is_empty());
        let timeout = if sleeps { self.sleep_max() } else { Some(Duration::ZERO) };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let buffer = rustix::buffer::spare_capacity(events);
        // An interrupted wait is a turn with no events.
        if let Err(error) = epoll::wait(&self.epoll, buffer, timeout.as_ref())
            && error != Errno::INTR
        {
            tracing::error!(%error, "the system does not tell of events");
            // Not to spin where nothing can be done.
            std::thread::sleep(Duration::from_millis(100));
        }
        self.mailbox.awake();
    }

    /// How long nothing has to be done.
    fn sleep_max(&self) -> Option<Duration> {
        if self.drain.is_some() {
            return Some(Duration::from_millis(5));
        }
        let timer = self.wheel.next_in(self.now);
        let accept = match self.accepting {
            Accepting::At(tick) => Some(tick.saturating_sub(self.now)),
            _ => None,
        };
        let looks = self.lagging > 0 || self.hub.limits().has_lag_max() && !self.conns.is_empty();
        let lag = looks.then_some(LAG_EVERY_TICKS);
        let ticks = [timer, accept, lag].into_iter().flatten().min()?;
        Some(Duration::from_millis(u64::from(ticks.max(1)) * TICK_MS))
    }

    fn tick(&self) -> u32 {
        let ticks = self.started.elapsed().as_millis() / u128::from(TICK_MS);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Ticks in so many milliseconds, rounded up: nothing is due too early.
    pub(crate) fn ticks(ms: u64) -> u32 {
        u32::try_from(ms.div_ceil(TICK_MS)).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn handle_event(&mut self, data: u64, flags: epoll::EventFlags) {
        if data >= NOT_A_CONNECTION {
            match data {
                MAIL => self.mailbox.clear(),
                listener => self.accept(usize::try_from(listener - NOT_A_CONNECTION).unwrap_or(usize::MAX)),
            }
            return;
        }
        let token = Token::from_u64(data);
        let Some(conn) = self.get(token) else { return };
        if flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP) {
            return self.close(token.key);
        }
        conn.readable |= flags.contains(epoll::EventFlags::IN);
        conn.eof |= flags.contains(epoll::EventFlags::RDHUP);
        self.handle_ready(token, flags.contains(epoll::EventFlags::OUT));
    }

    fn handle_mail(&mut self, mail: &mut Mail) {
        self.mailbox.take(mail);
        for token in mail.woken.drain(..) {
            self.poke(token);
        }
        for topic in mail.closed.drain(..) {
            self.topic_closed(&topic);
        }
        for ask in mail.asks.drain(..) {
            self.answer(ask);
        }
        if let Some(over_ms) = self.mailbox.take_drain() {
            self.drained = true;
            self.drain = Some(Drain { begun: now(), over: Duration::from_millis(over_ms), next: 0 });
        }
        if self.mailbox.take_knock() {
            (0..self.listeners.len()).for_each(|listener| self.accept(listener));
        }
        let stage = self.mailbox.stage();
        if stage > self.stage {
            self.stage = stage;
            self.deafen();
            self.accepting = Accepting::No;
            self.listeners.clear();
            self.close_idle();
        }
        self.go_on_draining();
    }

    fn handle_timers(&mut self) {
        if matches!(self.accepting, Accepting::At(tick) if tick <= self.now)
            && let Err(error) = self.listen()
        {
            self.door.accept_failed(&error);
            self.accepting = Accepting::At(self.now + Self::ticks(self.config.accept_pause_ms));
        }
        while let Some((tick, key)) = self.wheel.expired(self.now) {
            let Some(conn) = self.conns.get_mut(key as usize) else { continue };
            if conn.wheel != tick {
                continue;
            }
            conn.wheel = 0;
            if conn.due > self.now {
                conn.wheel = self.wheel.insert(conn.due, key);
            } else {
                self.handle_due(key);
            }
        }
        if self.lag_due <= self.now {
            self.lag_due = self.now + LAG_EVERY_TICKS;
            self.look_at_lag();
        }
    }

    /// Sees to it that a connection is looked at when it is due.
    pub(crate) fn due_in(&mut self, key: Key, ms: u64) {
        let due = self.now.saturating_add(Self::ticks(ms));
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.due = due;
        // One that stands earlier in the wheel is found there and put on.
        if conn.wheel <= self.now || conn.wheel > due {
            conn.wheel = self.wheel.insert(due, key);
        }
    }

    /// Ends the share of the streams whose time has come.
    fn go_on_draining(&mut self) {
        let Some(Drain { begun, over, next }) = self.drain else { return };
        let elapsed = begun.elapsed();
        let all = self.conns.capacity();
        let is_over = elapsed >= over;
        let share = elapsed.as_millis().saturating_mul(all as u128) / over.as_millis().max(1);
        let until = if is_over { all } else { usize::try_from(share).unwrap_or(all).min(all) };
        for key in next..until {
            if self.conns.get(key).is_some_and(|conn| matches!(conn.state, State::Live(_))) {
                self.send_away(u32::try_from(key).unwrap_or(u32::MAX));
            }
        }
        self.drain = (!is_over).then_some(Drain { begun, over, next: until.max(next) });
    }

    fn close_idle(&mut self) {
        let is_idle = |conn: &Conn| match &conn.state {
            State::Reading(begun) => begun.is_empty() || self.stage == Stage::Ended,
            _ => self.stage == Stage::Ended,
        };
        let keys: Vec<_> = self.conns.iter().filter(|(_, conn)| is_idle(conn)).map(|(key, _)| key).collect();
        for key in keys {
            self.close(u32::try_from(key).unwrap_or(u32::MAX));
        }
    }

    /// Whether kept-alive connections may go on.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stage >= Stage::Stopping
    }

    fn listen(&mut self) -> io::Result<()> {
        for (at, listener) in self.listeners.iter().enumerate() {
            let data = epoll::EventData::new_u64(NOT_A_CONNECTION | u64::try_from(at).unwrap_or(0));
            // With several reactors one of them is woken, not all.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            match epoll::add(&self.epoll, listener, data, flags) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.accepting = Accepting::Yes;
        Ok(())
    }

    fn deafen(&self) {
        for listener in &self.listeners {
            // It may not be there: that is what is wanted.
            _ = epoll::delete(&self.epoll, listener);
        }
    }

    fn accept(&mut self, at: usize) {
        for _ in 0..ACCEPTS_MAX {
            if self.accepting != Accepting::Yes {
                return;
            }
            if self.conns.len() >= self.config.connections_max {
                return self.rest();
            }
            if !self.door.take_room() {
                return self.pause();
            }
            let Some(listener) = self.listeners.get(at) else { return self.door.give_room_back() };
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.open(socket.into()),
                Err(error) => {
                    self.door.give_room_back();
                    match error {
                        Errno::AGAIN => return,
                        // Only this one client is affected: it left between knocking and being let in.
                        Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR | Errno::PROTO => {}
                        error => {
                            self.door.accept_failed(&error.into());
                            return self.pause();
                        }
                    }
                }
            }
        }
        // More may wait, of which the system tells only who was woken by it.
        self.mailbox.knock();
    }

    /// Leaves what comes to the others. The system told one of the reactors only of what waits already.
    fn rest(&mut self) {
        self.deafen();
        self.accepting = Accepting::Full;
        self.others.iter().for_each(|other| other.knock());
    }

    fn pause(&mut self) {
        self.deafen();
        self.accepting = Accepting::At(self.now + Self::ticks(self.config.accept_pause_ms));
    }

    fn open(&mut self, socket: TcpStream) {
        let key = u32::try_from(self.conns.vacant_key()).unwrap_or(u32::MAX);
        // The highest one marks what is no connection.
        self.generation = (self.generation + 1) % (u32::MAX - 1);
        self.ages.note(self.now, self.generation);
        let token = Token { key, generation: self.generation };
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(token.to_u64()), flags)
        {
            self.door.accept_failed(&error.into());
            return self.door.give_room_back();
        }
        self.door.opened();
        self.conns.insert(Conn {
            socket,
            generation: self.generation,
            due: 0,
            wheel: 0,
            readable: false,
            eof: false,
            fresh: true,
            lags: false,
            behind_s: 0,
            noise: 0,
            state: State::Reading(Vec::new()),
        });
        self.due_in(key, self.config.handshake_ms);
        // The system tells at once what is there already.
    }

    /// A connection, if it is still the same one.
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Conn> {
        self.conns.get_mut(token.key as usize).filter(|conn| conn.generation == token.generation)
    }

    /// The token of a connection that is there.
    pub(crate) fn token(&self, key: Key) -> Token {
        let generation = self.conns.get(key as usize).map_or(u32::MAX, |conn| conn.generation);
        Token { key, generation }
    }

    /// Ends a connection as it is.
    pub(crate) fn close(&mut self, key: Key) {
        if self.detach(key).is_some() {
            self.door.left();
        }
    }

    /// Gives a connection to the door.
    pub(crate) fn hand_off(&mut self, key: Key, read: Vec<u8>) {
        let Some(conn) = self.detach(key) else { return };
        if epoll::delete(&self.epoll, &conn.socket).is_ok() {
            self.door.hand_off(conn.socket, read);
        } else {
            self.door.left();
        }
    }

    fn detach(&mut self, key: Key) -> Option<Conn> {
        let conn = self.conns.try_remove(key as usize)?;
        match &conn.state {
            State::Live(cursor) => {
                self.leave_group(cursor.group, cursor.member, conn.lags);
                self.hub.end_live();
            }
            State::Writing(out) => self.forget(&out.then),
            State::Reading(_) | State::Working(_) | State::Fed(_) => {}
        }
        let is_roomy = self.conns.len() < self.config.connections_max - self.config.connections_max / 16;
        if self.accepting == Accepting::Full && is_roomy && self.listen().is_err() {
            self.accepting = Accepting::At(self.now + Self::ticks(self.config.accept_pause_ms));
        }
        Some(conn)
    }

    /// Takes a member out of its group.
    pub(crate) fn leave_group(&mut self, group: GroupKey, member: u32, lags: bool) {
        if lags {
            self.lagging = self.lagging.saturating_sub(1);
            if let Some(group) = self.groups.get_mut(group) {
                group.lagging = group.lagging.saturating_sub(1);
            }
        }
        if let Some((moved, place)) = self.groups.leave(group, member)
            && let Some(State::Live(cursor)) = self.conns.get_mut(moved as usize).map(|conn| &mut conn.state)
        {
            cursor.member = place;
        }
        let is_over = |round: &mut Round| round.group == group && self.groups.get(group).is_none();
        if let Some(round) = self.round.take_if(is_over) {
            round.count(&self.hub);
        }
    }
}

impl<D: Door> Drop for Reactor<D> {
    fn drop(&mut self) {
        self.hub.unwatch(&self.watch);
        for (_, conn) in &self.conns {
            match &conn.state {
                State::Live(_) => self.hub.end_live(),
                State::Writing(out) => self.forget(&out.then),
                State::Reading(_) | State::Working(_) | State::Fed(_) => {}
            }
            self.door.left();
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The one place that reads time: what the pure parts are told.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
