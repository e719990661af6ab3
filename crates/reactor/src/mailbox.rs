//! How other threads reach a reactor: they note something and wake it if it sleeps.
//!
//! **Invariant:** whoever notes something either sees that the reactor sleeps and wakes it, or the reactor sees the
//! note before it sleeps (both sides write first and look then, sequentially consistent).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use tidings_hub::TopicName;
use tidings_hub::live::Watch;

use crate::ask::Ask;
use crate::conn::Token;

/// Questions that wait at once.
const ASKS_MAX: usize = 64;

/// What a reactor is told by others.
#[derive(Debug)]
pub struct Mailbox {
    event: OwnedFd,
    sleep: AtomicU8,
    committed: AtomicBool,
    woken: Mutex<Vec<Token>>,
    closed: Mutex<Vec<TopicName>>,
    asks: Mutex<Vec<Ask>>,
    /// Over how many milliseconds to end the streams; `u64::MAX`: not.
    drain_ms: AtomicU64,
    stage: AtomicU8,
    /// Somebody else is full: connections may wait that this one was not told of.
    knocked: AtomicBool,
    pub(crate) lag_max: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) lagging: AtomicU64,
    pub(crate) lag_ms_max: AtomicU64,
}

/// How a reactor sleeps: not,
const AWAKE: u8 = 0;
/// until it gets mail,
const UNTIL_MAIL: u8 = 1;
/// or until it gets mail or somebody publishes.
const UNTIL_COMMIT: u8 = 2;

/// How far an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// All is open.
    Serving,
    /// Nothing new is accepted; requests under way finish.
    Stopping,
    /// What is still open is cut.
    Ended,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) woken: Vec<Token>,
    pub(crate) closed: Vec<TopicName>,
    pub(crate) asks: Vec<Ask>,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// What the system says if it has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            sleep: AtomicU8::new(AWAKE),
            committed: AtomicBool::new(false),
            woken: Mutex::default(),
            closed: Mutex::default(),
            asks: Mutex::default(),
            drain_ms: AtomicU64::new(u64::MAX),
            stage: AtomicU8::new(0),
            knocked: AtomicBool::new(false),
            lag_max: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            lagging: AtomicU64::new(0),
            lag_ms_max: AtomicU64::new(0),
        })
    }

    /// Orders an end; stages only go forward.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, SeqCst);
        self.wake();
    }

    /// Says that connections may wait.
    pub(crate) fn knock(&self) {
        self.knocked.store(true, SeqCst);
        self.wake();
    }

    /// Whether somebody knocked since this was last asked.
    pub(crate) fn take_knock(&self) -> bool {
        self.knocked.load(SeqCst) && self.knocked.swap(false, SeqCst)
    }

    /// Asks the reactor something. Whoever asks too much is not answered: its `reply` is dropped.
    pub fn ask(&self, ask: Ask) {
        {
            let mut asks = self.asks.lock();
            if asks.len() >= ASKS_MAX || self.stage() == Stage::Ended {
                return;
            }
            asks.push(ask);
        }
        self.wake();
    }

    /// Connections that are open here.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Subscribers whose sockets are full.
    pub fn lagging(&self) -> u64 {
        self.lagging.load(Relaxed)
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(SeqCst) {
            0 => Stage::Serving,
            1 => Stage::Stopping,
            _ => Stage::Ended,
        }
    }

    /// The order to drain, once.
    pub(crate) fn take_drain(&self) -> Option<u64> {
        Some(self.drain_ms.swap(u64::MAX, SeqCst)).filter(|over_ms| *over_ms != u64::MAX)
    }

    /// Whether there was a commit since this was last asked.
    pub(crate) fn take_committed(&self) -> bool {
        self.committed.load(SeqCst) && self.committed.swap(false, SeqCst)
    }

    /// What has come; `mail` gives its room for what comes next.
    pub(crate) fn take(&self, mail: &mut Mail) {
        std::mem::swap(&mut *self.woken.lock(), &mut mail.woken);
        std::mem::swap(&mut *self.closed.lock(), &mut mail.closed);
        std::mem::swap(&mut *self.asks.lock(), &mut mail.asks);
    }

    /// Says that the reactor is about to sleep; commits are something to it if it `reads` for somebody. It must not, if
    /// this is false.
    pub(crate) fn may_sleep(&self, stage: Stage, reads: bool) -> bool {
        self.sleep.store(if reads { UNTIL_COMMIT } else { UNTIL_MAIL }, SeqCst);
        let nothing = !(reads && self.committed.load(SeqCst))
            && self.woken.lock().is_empty()
            && self.closed.lock().is_empty()
            && self.asks.lock().is_empty()
            && self.stage() == stage
            && self.drain_ms.load(SeqCst) == u64::MAX
            && !self.knocked.load(SeqCst);
        if !nothing {
            self.sleep.store(AWAKE, SeqCst);
        }
        nothing
    }

    /// Says that the reactor is awake.
    pub(crate) fn awake(&self) {
        self.sleep.store(AWAKE, SeqCst);
    }

    /// Empties the event, so that it can wake again.
    pub(crate) fn clear(&self) {
        let mut counter = [0; 8];
        // It is non-blocking: an error means that it was empty.
        _ = rustix::io::read(&self.event, &mut counter);
    }

    fn wake(&self) {
        if self.sleep.load(SeqCst) != AWAKE && self.sleep.swap(AWAKE, SeqCst) != AWAKE {
            // The counter cannot be full: the reactor reads it whenever it is not zero.
            _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// A waker for a connection.
    pub(crate) fn waker(self: &Arc<Self>, token: Token) -> Waker {
        Waker::from(Arc::new(Waking { mailbox: Arc::clone(self), token }))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Watch for Mailbox {
    fn committed(&self) {
        self.committed.store(true, SeqCst);
        // One that reads for nobody looks when somebody comes.
        if self.sleep.load(SeqCst) == UNTIL_COMMIT {
            self.wake();
        }
    }

    fn closed(&self, topic: &TopicName) {
        self.closed.lock().push(topic.clone());
        self.wake();
    }

    fn drain(&self, over_ms: u64) {
        self.drain_ms.store(over_ms.min(u64::MAX - 1), SeqCst);
        self.wake();
    }

    fn lag_max(&self) -> u64 {
        self.lag_max.load(SeqCst)
    }

    fn lag_ms_max(&self) -> u64 {
        self.lag_ms_max.load(SeqCst)
    }
}

struct Waking {
    mailbox: Arc<Mailbox>,
    token: Token,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.woken.lock().push(self.token);
        self.mailbox.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is a wake-up, which is taken.
    fn is_woken(mailbox: &Mailbox) -> bool {
        let mut counter = [0; 8];
        rustix::io::read(&mailbox.event, &mut counter).is_ok()
    }

    #[test]
    fn commits_wake_whoever_reads_for_somebody_and_mail_wakes_all() {
        let mailbox = Mailbox::new().unwrap();
        mailbox.committed();
        assert!(!mailbox.may_sleep(Stage::Serving, true), "it came before");
        assert!(mailbox.may_sleep(Stage::Serving, false));
        mailbox.committed();
        assert!(!is_woken(&mailbox), "nobody is there who could want it");
        mailbox.drain(1);
        assert!(is_woken(&mailbox));
        assert!(!mailbox.may_sleep(Stage::Serving, false), "there is mail");
        _ = (mailbox.take_drain(), mailbox.take_committed());
        assert!(mailbox.may_sleep(Stage::Serving, true));
        mailbox.committed();
        assert!(is_woken(&mailbox));
        mailbox.committed();
        assert!(!is_woken(&mailbox), "it is awake already");
    }
}
