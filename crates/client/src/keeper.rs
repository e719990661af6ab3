//! When the last id is saved: after the consumer has done with its event, not more often than the interval, one write
//! at a time. Drives the store's futures; decides nothing about the stream.
//!
//! **Invariants:** no id is saved before the event that it belongs to was done with, so a restart can repeat events and
//! never skips one. Two ids are held at most, however many pass.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidings_codec::EventId;
use tokio::time::{Instant, Sleep};

use crate::backoff::WAIT_MS_MAX;
use crate::store::AnyStore;
use crate::transport::BoxFuture;

/// The least wait after a write that failed.
const FAILED_WAIT: Duration = Duration::from_secs(1);

pub(crate) struct Keeper {
    store: Arc<dyn AnyStore>,
    interval: Duration,
    /// Only what the caller names is done.
    by_hand: bool,
    /// Told, and not known to be done with.
    told: Option<EventId>,
    /// Done with, and not saved.
    unsaved: Option<EventId>,
    work: Work,
    /// Before this, nothing is written.
    not_before: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

enum Work {
    /// Nothing was read yet.
    Fresh,
    Loading(BoxFuture<io::Result<Option<EventId>>>),
    Idle,
    Saving(EventId, BoxFuture<io::Result<()>>),
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn AnyStore>, interval_ms: u64, by_hand: bool) -> Self {
        Self {
            store,
            interval: Duration::from_millis(interval_ms.min(WAIT_MS_MAX)),
            by_hand,
            told: None,
            unsaved: None,
            work: Work::Fresh,
            not_before: None,
            timer: None,
        }
    }

    /// What an earlier life has saved: `Ready` once, and then with nothing.
    pub(crate) fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<EventId>>> {
        loop {
            match &mut self.work {
                Work::Fresh => self.work = Work::Loading(Arc::clone(&self.store).load()),
                Work::Loading(loading) => {
                    let loaded = ready!(loading.as_mut().poll(cx));
                    self.work = Work::Idle;
                    return Poll::Ready(loaded);
                }
                _ => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// An event with this id, or the id alone, is told.
    pub(crate) fn tell(&mut self, id: &EventId) {
        if !self.by_hand {
            self.told = Some(id.clone());
        }
    }

    /// The consumer came back: what was told to him is done.
    pub(crate) fn done_with_told(&mut self) {
        if let Some(id) = self.told.take() {
            self.unsaved = Some(id);
        }
    }

    /// The caller says so.
    pub(crate) fn done(&mut self, id: EventId) {
        self.unsaved = Some(id);
    }

    /// Writes what is to be written as far as it may be now. Ready with an error, which is to be told; pending
    /// otherwise, also if there is nothing to do.
    pub(crate) fn poll_save(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            match self.poll_step(cx, false) {
                Poll::Ready(Some(Err(error))) => return Poll::Ready(error),
                Poll::Ready(Some(Ok(()))) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Writes all that is done with, without waiting for the interval.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match ready!(self.poll_step(cx, true)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What could not be saved will not be.
    pub(crate) fn give_up(&mut self) {
        (self.told, self.unsaved, self.work) = (None, None, Work::Idle);
    }

    /// One write, begun or ended. `None`: there is nothing to write.
    fn poll_step(&mut self, cx: &mut Context<'_>, at_once: bool) -> Poll<Option<io::Result<()>>> {
        if let Work::Saving(_, saving) = &mut self.work {
            let saved = ready!(saving.as_mut().poll(cx));
            let Work::Saving(id, _) = mem::replace(&mut self.work, Work::Idle) else {
                return Poll::Ready(None);
            };
            if saved.is_err() {
                self.not_before = Some(Instant::now() + self.interval.max(FAILED_WAIT));
                self.unsaved.get_or_insert(id);
            }
            return Poll::Ready(Some(saved));
        }
        if self.unsaved.is_none() || !matches!(self.work, Work::Idle) {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        if let Some(not_before) = self.not_before.filter(|not_before| !at_once && *not_before > now) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(not_before)));
            if timer.deadline() != not_before {
                timer.as_mut().reset(not_before);
            }
            ready!(timer.as_mut().poll(cx));
        }
        if let Some(id) = self.unsaved.take() {
            self.not_before = now.checked_add(self.interval);
            self.work = Work::Saving(id.clone(), Arc::clone(&self.store).save(id));
        }
        self.poll_step(cx, at_once)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("unsaved", &self.unsaved).finish_non_exhaustive()
    }
}
