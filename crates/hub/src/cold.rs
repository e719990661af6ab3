//! Old history on its way to subscribers: how much of it may be in memory at once, and who waits for a turn.
//!
//! A page belongs to a subscriber for as long as it takes from it. One that stalls loses its page to the tick
//! (it is read again from the cursor), so a stalled client costs its entry and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::ports::Page;
use crate::record::Record;

/// Turns to read old history.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
    /// For whom the store was too busy: asked again with the next tick, and not before.
    later: Vec<Waker>,
}

/// A turn; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
}

impl Turns {
    /// As many turns as there are pages in the budget, at least one.
    pub(crate) fn new(budget_bytes: usize, page_bytes: usize) -> Arc<Self> {
        let free = (budget_bytes / page_bytes.max(1)).max(1);
        Arc::new(Self {
            state: Mutex::new(State { free, next_ticket: 0, waiting: BTreeMap::new(), later: Vec::new() }),
        })
    }

    /// A turn, or a place in the line, which `ticket` keeps. Whoever is woken asks again: a turn is not kept for one
    /// who left.
    pub(crate) fn poll_turn(self: &Arc<Self>, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<Turn> {
        let mut state = self.state.lock();
        if state.free > 0 {
            state.free -= 1;
            let old = ticket.take().and_then(|ticket| state.waiting.remove(&ticket));
            drop(state);
            drop(old);
            return Poll::Ready(Turn { turns: Arc::clone(self) });
        }
        let number = *ticket.get_or_insert_with(|| {
            state.next_ticket += 1;
            state.next_ticket
        });
        let old = state.waiting.insert(number, cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Somebody with a ticket leaves; if it had been woken already, the next one is.
    pub(crate) fn leave(&self, ticket: u64) {
        let (_old, next) = {
            let mut state = self.state.lock();
            let old = state.waiting.remove(&ticket);
            let pass_on = old.is_none() && state.free > 0;
            (old, if pass_on { state.waiting.pop_first() } else { None })
        };
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }

    /// The store was busy: again with the next tick.
    pub(crate) fn later(&self, cx: &Context<'_>) {
        self.state.lock().later.push(cx.waker().clone());
    }

    /// Wakes whom the store was too busy for, and as many in the line as there are turns: one who was woken and
    /// does not ask must not keep the others waiting.
    pub(crate) fn tick(&self) {
        let (later, next) = {
            let mut state = self.state.lock();
            let next: Vec<_> = (0..state.free).map_while(|_| state.waiting.pop_first()).collect();
            (std::mem::take(&mut state.later), next)
        };
        later.into_iter().chain(next.into_iter().map(|(_, waker)| waker)).for_each(Waker::wake);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.turns.state.lock();
            state.free += 1;
            state.waiting.pop_first()
        };
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// A page that a subscriber is taking from, with the turn that it was read in.
#[derive(Debug)]
pub struct HeldPage {
    page: Page,
    next: usize,
    _turn: Turn,
}

impl HeldPage {
    /// A page just read.
    pub(crate) fn new(page: Page, turn: Turn) -> Self {
        Self { page, next: 0, _turn: turn }
    }

    /// The record that comes next.
    pub fn peek(&self) -> Option<&Record> {
        self.page.records.get(self.next)
    }

    /// Goes past it.
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// Everything up to here has been considered once all records are taken.
    pub fn through(&self) -> crate::position::Seq {
        self.page.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_turn_given_back_wakes_the_next_in_line() {
        let turns = Turns::new(100, 60);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let mut tickets = [None; 3];
        let Poll::Ready(first) = turns.poll_turn(&mut tickets[0], &cx) else { panic!("one turn is free") };
        assert!(
            turns.poll_turn(&mut tickets[1], &cx).is_pending()
                && turns.poll_turn(&mut tickets[1], &cx).is_pending()
        );
        drop(first);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "in the line once, however often it asked");
        assert!(turns.poll_turn(&mut tickets[1], &cx).is_ready());
    }
}
