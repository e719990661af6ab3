//! What others may ask of a reactor about its connections, and its answers. Nothing is kept for it: a peer's address is
//! asked of the system, an age follows from the connection's number (`ages`).
//!
//! **Invariant:** an answer costs one pass over the connections at most, and a system call for each one that is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tidings_hub::{Filter, TopicName};

use crate::conn::{Conn, Key, State, Token};
use crate::door::Door;
use crate::reactor::Reactor;
use crate::wheel::TICK_MS;

/// Who is told the answer. Called on the reactor's thread: it may note and wake, nothing else.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// A question.
pub enum Ask {
    /// Some of the connections.
    List {
        /// Which ones.
        order: Order,
        /// At most so many.
        count_max: usize,
        /// Gets them.
        reply: Reply<Listed>,
    },
    /// How many subscribers select a topic.
    Readers {
        /// The topic.
        topic: TopicName,
        /// Gets the number.
        reply: Reply<usize>,
    },
    /// Ends a connection as it is.
    Cut {
        /// As [`Seen::token`] names it.
        token: u64,
        /// Gets whether it was there.
        reply: Reply<bool>,
    },
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List { .. } => "List",
            Self::Readers { .. } => "Readers",
            Self::Cut { .. } => "Cut",
        })
    }
}

/// Which connections are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the order of their places, from this one on.
    From(Key),
    /// Those that are furthest behind.
    Slowest,
}

/// Connections.
#[derive(Debug, Default)]
pub struct Listed {
    /// What is known of each.
    pub seen: Vec<Seen>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<Key>,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Names it, and never another one.
    pub token: u64,
    /// The other side, if the system still knows.
    pub peer: Option<SocketAddr>,
    /// For how long it has been open, in milliseconds.
    pub age_ms: u64,
    /// What it does.
    pub doing: Doing,
    /// What it reads, if it is a subscriber.
    pub filter: Option<Arc<Filter>>,
    /// How many places it is behind; 0 for one that lacks nothing.
    pub lag: u64,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Waits for a request, or for the rest of one.
    Idle,
    /// A request is being answered.
    Request,
    /// A subscriber.
    Stream,
    /// A subscriber that catches up.
    CatchingUp,
}

impl<D: Door> Reactor<D> {
    pub(crate) fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::List { order: Order::From(first), count_max, reply } => reply(self.list(first, count_max)),
            Ask::List { order: Order::Slowest, count_max, reply } => reply(self.slowest(count_max)),
            Ask::Readers { topic, reply } => reply(self.readers(&topic)),
            Ask::Cut { token, reply } => {
                let token = Token::from_u64(token);
                let is_there = self.get(token).is_some();
                if is_there {
                    self.close(token.key);
                }
                reply(is_there);
            }
        }
    }

    fn list(&self, first: Key, count_max: usize) -> Listed {
        // A slab is walked from its beginning, which costs a look at each place and no more.
        let mut rest = self.conns.iter().skip_while(|(key, _)| *key < first as usize);
        let seen = rest.by_ref().take(count_max).map(|(key, conn)| self.seen(key, conn)).collect();
        let next = rest.next().and_then(|(key, _)| u32::try_from(key).ok());
        Listed { seen, next }
    }

    fn slowest(&self, count_max: usize) -> Listed {
        let mut slowest = BinaryHeap::with_capacity(count_max + 1);
        for (key, conn) in &self.conns {
            let lag = self.lag(conn);
            if lag == 0 {
                continue;
            }
            slowest.push(Reverse((lag, key)));
            if slowest.len() > count_max {
                slowest.pop();
            }
        }
        let keys = slowest.into_sorted_vec();
        let found = keys.into_iter().filter_map(|Reverse((_, key))| Some((key, self.conns.get(key)?)));
        Listed { seen: found.map(|(key, conn)| self.seen(key, conn)).collect(), next: None }
    }

    fn lag(&self, conn: &Conn) -> u64 {
        match &conn.state {
            State::Live(cursor) if conn.lags => self.seen.0.saturating_sub(cursor.through.0),
            State::Fed(fed) => self.seen.0.saturating_sub(fed.subscription.through().0),
            _ => 0,
        }
    }

    fn seen(&self, key: usize, conn: &Conn) -> Seen {
        let key = u32::try_from(key).unwrap_or(u32::MAX);
        let (doing, filter) = match &conn.state {
            State::Reading(_) => (Doing::Idle, None),
            State::Working(_) | State::Writing(_) => (Doing::Request, None),
            State::Live(cursor) => {
                let group = self.groups.get(cursor.group);
                (Doing::Stream, group.map(|group| Arc::clone(&group.spec.filter)))
            }
            State::Fed(fed) => (Doing::CatchingUp, Some(Arc::clone(fed.subscription.filter()))),
        };
        let ticks = self.now.saturating_sub(self.ages.opened(conn.generation));
        Seen {
            token: Token { key, generation: conn.generation }.to_u64(),
            peer: conn.socket.peer_addr().ok(),
            age_ms: u64::from(ticks) * TICK_MS,
            doing,
            filter,
            lag: self.lag(conn),
        }
    }

    fn readers(&self, topic: &TopicName) -> usize {
        let mut groups = Vec::new();
        self.groups.each(topic.as_str(), |group| groups.push(group));
        groups.sort_unstable();
        groups.dedup();
        groups.iter().filter_map(|group| self.groups.get(*group)).map(|group| group.members.len()).sum()
    }
}
