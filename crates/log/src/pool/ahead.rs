//! What is read ahead: the pages that somebody will ask for who reads page after page. Pure.
//!
//! A reader that asks for what follows its last page gets the **place**; there is one. Each page ahead is a job like the
//! others, whose answer waits until it is asked for. **Invariant:** at most [`PAGES_MAX`] wait, of one reader; nobody keeps
//! the place from one tick to the next without asking; no page is dropped but by [`Place::tick`].

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_hub::ports::{LogError, SeqRange, Want};
use tidings_hub::{Selectors, Seq};
use tokio::sync::oneshot;

use crate::reader::Read;

/// Pages that are read ahead at most.
pub(crate) const PAGES_MAX: usize = 2;

/// Readers whose last page is remembered.
const READERS_MAX: usize = 8;

pub(crate) type Answer = Result<Read, LogError>;

/// What a thread is to read.
pub(crate) struct Job {
    pub(crate) want: Want,
    pub(crate) range: SeqRange,
    pub(crate) bytes_max: usize,
    pub(crate) answer: oneshot::Sender<Answer>,
    pub(crate) order: Order,
}

/// Why it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Somebody asked.
    Asked,
    /// Somebody asked who had asked for what is before it.
    Continued,
    /// The reader asked that has the place, before it was read ahead.
    Kept(u64),
    /// Ahead, for the reader with this number.
    Ahead(u64),
}

/// The place, and who may get it.
#[derive(Default)]
pub(crate) struct Place {
    taken: Option<Ahead>,
    /// Readers that had it so far.
    readers: u64,
    /// Where those go on who asked lately, if they do.
    lately: VecDeque<(Arc<Selectors>, Seq)>,
}

/// What is read ahead, for one reader.
pub(crate) struct Ahead {
    reader: u64,
    topics: Arc<Selectors>,
    last: Seq,
    bytes_max: usize,
    /// In order: where each begins, and who will have it.
    pages: VecDeque<(Seq, oneshot::Receiver<Answer>)>,
    next: Next,
    /// A tick has come since somebody asked.
    is_old: bool,
}

/// The page behind those that are read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Where it begins is known when the one before it is begun.
    Unknown,
    At(Seq),
    /// There is none, or nobody can say where.
    None,
}

impl Ahead {
    /// Whether what is read for it may be for who asks for this.
    fn is_for(&self, want: &Want, range: SeqRange, bytes_max: usize) -> bool {
        let Want::Topics(topics) = want else { return false };
        Arc::ptr_eq(&self.topics, topics) && self.last <= range.last && self.bytes_max <= bytes_max
    }
}

impl Place {
    /// Somebody asks for a page: the one that was read ahead, if it was. (Readers with equal filters may be one to this;
    /// each gets what begins where it asks.)
    pub(crate) fn claim(
        &mut self,
        want: &Want,
        range: SeqRange,
        bytes_max: usize,
    ) -> Option<oneshot::Receiver<Answer>> {
        let ahead = self.taken.as_mut().filter(|ahead| ahead.is_for(want, range, bytes_max))?;
        ahead.pages.front().filter(|(first, _)| *first == range.first)?;
        let (_, page) = ahead.pages.pop_front()?;
        ahead.is_old = false;
        self.leave();
        Some(page)
    }

    /// How a page is ordered that somebody asks for and that was not read ahead.
    pub(crate) fn order(&mut self, want: &Want, range: SeqRange, bytes_max: usize) -> Order {
        let Want::Topics(topics) = want else { return Order::Asked };
        let next = Next::At(range.first);
        if let Some(ahead) = &mut self.taken
            && ahead.is_for(want, range, bytes_max)
            && ahead.pages.is_empty()
            && ahead.next == next
        {
            (ahead.next, ahead.last, ahead.is_old) = (Next::Unknown, range.last, false);
            return Order::Kept(ahead.reader);
        }
        let before = self.lately.len();
        self.lately.retain(|(known, next)| !(Arc::ptr_eq(known, topics) && *next == range.first));
        if self.lately.len() < before { Order::Continued } else { Order::Asked }
    }

    /// A page that was asked for has been read up to here, and there is more.
    pub(crate) fn read(&mut self, want: &Want, through: Seq) {
        let Want::Topics(topics) = want else { return };
        if self.lately.len() >= READERS_MAX {
            self.lately.pop_front();
        }
        self.lately.push_back((Arc::clone(topics), through.next()));
    }

    /// Whether it matters where a job's page will be full.
    pub(crate) fn asks(&self, order: Order) -> bool {
        match (&self.taken, order) {
            (Some(ahead), Order::Ahead(reader) | Order::Kept(reader)) => ahead.reader == reader,
            (None, Order::Continued) => true,
            _ => false,
        }
    }

    /// A job begins, and its page will be full here, if that is known.
    pub(crate) fn begin(&mut self, job: &Job, full_at: Option<Seq>) {
        let Want::Topics(topics) = &job.want else { return };
        let next = full_at.map(Seq::next).filter(|next| *next <= job.range.last).map_or(Next::None, Next::At);
        match (&mut self.taken, job.order) {
            (Some(ahead), Order::Ahead(reader) | Order::Kept(reader)) if ahead.reader == reader => {
                ahead.next = next;
                self.leave();
            }
            (None, Order::Continued) if next != Next::None => {
                self.readers += 1;
                self.taken = Some(Ahead {
                    reader: self.readers,
                    topics: Arc::clone(topics),
                    last: job.range.last,
                    bytes_max: job.bytes_max,
                    pages: VecDeque::new(),
                    next,
                    is_old: false,
                });
            }
            _ => {}
        }
    }

    /// Whether there is a page that could be read ahead now.
    pub(crate) fn goes_on(&self) -> bool {
        let is_known = |ahead: &Ahead| matches!(ahead.next, Next::At(_)) && ahead.pages.len() < PAGES_MAX;
        self.taken.as_ref().is_some_and(is_known)
    }

    /// What can be read ahead now, if so many bytes may be collected for that.
    pub(crate) fn next(&mut self, room_bytes: usize) -> Option<Job> {
        let ahead = self.taken.as_mut()?;
        let waiting = ahead.pages.len();
        let Next::At(first) = ahead.next else { return None };
        if waiting >= PAGES_MAX || ahead.bytes_max.saturating_mul(waiting + 1) > room_bytes {
            return None;
        }
        let (answer, page) = oneshot::channel();
        ahead.pages.push_back((first, page));
        ahead.next = Next::Unknown;
        Some(Job {
            want: Want::Topics(Arc::clone(&ahead.topics)),
            range: SeqRange { first, last: ahead.last },
            bytes_max: ahead.bytes_max,
            answer,
            order: Order::Ahead(ahead.reader),
        })
    }

    /// About once a second. Who did not ask since the one before leaves; what was read for it is for the caller to drop.
    pub(crate) fn tick(&mut self) -> Option<Ahead> {
        self.lately.clear();
        self.taken.take_if(|ahead| std::mem::replace(&mut ahead.is_old, true))
    }

    /// The reader leaves if it has all that there is for it.
    fn leave(&mut self) {
        self.taken.take_if(|ahead| ahead.next == Next::None && ahead.pages.is_empty());
    }

    /// Where the pages begin that wait, and the one behind them; for tests.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Option<(Vec<Seq>, Option<Seq>)> {
        let ahead = self.taken.as_ref()?;
        let next = match ahead.next {
            Next::At(next) => Some(next),
            Next::Unknown | Next::None => None,
        };
        Some((ahead.pages.iter().map(|(first, _)| *first).collect(), next))
    }
}
