//! Answers from the writer to those who wait: put in place first, told of together.
//!
//! Waking somebody on another thread costs a lock, often a system call, and on a busy core a switch to that thread,
//! with a single answer to work on. So all answers of a round are in place before anybody is woken; then one of those
//! who wait is, and passes it on to the others from where they live, where a wake-up is a push to a queue.
//!
//! **Invariant:** nobody depends on another's good will: whoever is polled or dropped passes on, and the writer
//! itself wakes who is left before it blocks ([`Wakes::all`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tidings_hub::ports::Outcome;

/// Those whose answers are in place and who do not know it yet.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<Vec<Waker>>);

impl Wakes {
    fn note(&self, waker: Waker) {
        self.0.lock().push(waker);
    }

    /// Wakes one, who wakes the others.
    pub(crate) fn one(&self) {
        let one = self.0.lock().pop();
        if let Some(waker) = one {
            waker.wake();
        }
    }

    /// Wakes all who are left.
    pub(crate) fn all(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
enum State {
    /// Nobody has looked yet.
    #[default]
    Unasked,
    Awaited(Waker),
    Answered(Vec<Outcome>),
    /// Taken, given up by who asked, or never to come.
    Over,
}

struct Slot {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
}

/// Where the writer puts an answer.
pub(crate) struct Asker(Arc<Slot>);

/// Who waits for it.
pub(crate) struct Waiter(Arc<Slot>);

/// The two ends of one answer.
pub(crate) fn pair(wakes: &Arc<Wakes>) -> (Asker, Waiter) {
    let slot = Arc::new(Slot { state: Mutex::default(), wakes: Arc::clone(wakes) });
    (Asker(Arc::clone(&slot)), Waiter(slot))
}

impl Asker {
    /// Puts the answer in place. Who waits is noted in [`Wakes`], and woken by it.
    pub(crate) fn answer(self, outcomes: Vec<Outcome>) {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Over) {
            return;
        }
        let before = std::mem::replace(&mut *state, State::Answered(outcomes));
        drop(state);
        if let State::Awaited(waker) = before {
            self.0.wakes.note(waker);
        }
    }
}

impl Drop for Asker {
    /// Without an answer, none will come.
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let State::Awaited(_) | State::Unasked = *state {
            let before = std::mem::replace(&mut *state, State::Over);
            drop(state);
            if let State::Awaited(waker) = before {
                waker.wake();
            }
        }
    }
}

impl Future for Waiter {
    /// `None`: the writer is gone.
    type Output = Option<Vec<Outcome>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock();
        let answer = match &mut *state {
            State::Awaited(waker) => {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            State::Unasked => {
                *state = State::Awaited(cx.waker().clone());
                return Poll::Pending;
            }
            State::Answered(outcomes) => Some(std::mem::take(outcomes)),
            State::Over => None,
        };
        *state = State::Over;
        drop(state);
        self.0.wakes.all();
        Poll::Ready(answer)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.state.lock(), State::Over);
        if let State::Answered(_) = before {
            self.0.wakes.all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Who waits, polled once, with the count of its wake-ups.
    fn waiting(wakes: &Arc<Wakes>) -> (Asker, Waiter, Arc<Count>) {
        let (asker, mut waiter) = pair(wakes);
        let count = Arc::<Count>::default();
        assert!(poll(&mut waiter, &count).is_pending());
        (asker, waiter, count)
    }

    fn poll(waiter: &mut Waiter, count: &Arc<Count>) -> Poll<Option<Vec<Outcome>>> {
        Pin::new(waiter).poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn one_is_woken_and_passes_it_on() {
        let wakes = Arc::<Wakes>::default();
        let (one, mut first, a) = waiting(&wakes);
        let (other, mut second, b) = waiting(&wakes);
        one.answer(vec![Outcome::Skipped]);
        other.answer(Vec::new());
        assert_eq!((woken(&a), woken(&b)), (0, 0), "nobody before all answers are in place");
        wakes.one();
        assert_eq!(woken(&a) + woken(&b), 1);
        assert_eq!(poll(&mut second, &b), Poll::Ready(Some(Vec::new())));
        assert_eq!((woken(&a), woken(&b)), (1, 1));
        assert_eq!(poll(&mut first, &a), Poll::Ready(Some(vec![Outcome::Skipped])));
    }

    #[test]
    fn one_who_leaves_passes_it_on_too() {
        let wakes = Arc::<Wakes>::default();
        let (one, first, a) = waiting(&wakes);
        let (other, second, b) = waiting(&wakes);
        one.answer(Vec::new());
        other.answer(Vec::new());
        wakes.one();
        let (leaves, stays) = if woken(&a) == 1 { (first, &b) } else { (second, &a) };
        assert_eq!(woken(stays), 0);
        drop(leaves);
        assert_eq!(woken(stays), 1);
    }

    #[test]
    fn a_writer_that_is_gone_is_told_at_once() {
        let wakes = Arc::<Wakes>::default();
        let (asker, mut waiter, count) = waiting(&wakes);
        drop(asker);
        assert_eq!(woken(&count), 1);
        assert_eq!(poll(&mut waiter, &count), Poll::Ready(None));
        let (asker, waiter) = pair(&wakes);
        drop(waiter);
        asker.answer(Vec::new());
        wakes.all();
    }
}
