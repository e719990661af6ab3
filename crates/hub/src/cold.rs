//! Old history on its way to subscribers: how much of it may be in memory at once, and who waits for a turn.
//!
//! A page belongs to a subscriber for as long as it takes from it. One that stalls loses its page to the tick
//! (it is read again from the cursor), so a stalled client costs its entry and nothing else.

use std::collections::VecDeque;
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
    waiting: VecDeque<Waker>,
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
        Arc::new(Self { state: Mutex::new(State { free, waiting: VecDeque::new() }) })
    }

    /// A turn, or a place in the line. Whoever is woken asks again: a turn is not kept for one who left.
    pub(crate) fn poll_turn(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Turn> {
        let mut state = self.state.lock();
        if state.free > 0 {
            state.free -= 1;
            return Poll::Ready(Turn { turns: Arc::clone(self) });
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push_back(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Puts somebody in the line without asking: the store was busy.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.state.lock().waiting.push_back(cx.waker().clone());
    }

    /// Wakes everybody in the line: a waker whose task is gone must not keep the others waiting.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.turns.state.lock();
            state.free += 1;
            state.waiting.pop_front()
        };
        if let Some(waker) = next {
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
        let Poll::Ready(first) = turns.poll_turn(&cx) else { panic!("one turn is free") };
        assert!(turns.poll_turn(&cx).is_pending() && turns.poll_turn(&cx).is_pending());
        drop(first);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "in the line once, however often it asked");
        assert!(turns.poll_turn(&cx).is_ready());
    }
}
