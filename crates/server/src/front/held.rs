//! Connections that are served by the HTTP library: who is there, since when, what was asked last. What lives on a reactor
//! is asked of the reactor instead.
//!
//! **Invariant:** an entry per connection, of bounded size, gone with it; it holds no key (targets are noted behind the
//! gate, which took keys out).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes of a target that are kept.
const TARGET_BYTES_MAX: usize = 256;

/// The connections.
#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Held>>>,
}

/// One connection.
#[derive(Debug)]
pub struct Held {
    /// The other side.
    pub peer: Option<SocketAddr>,
    /// When it came.
    pub since: Instant,
    /// `public` or `admin`.
    pub listener: &'static str,
    /// What it asked last, if that was a stream.
    stream: Mutex<Option<Box<str>>>,
    cut: Notify,
}

impl Connections {
    /// A connection comes; it is known for as long as the answer lives.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<SocketAddr>, listener: &'static str) -> Registered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (stream, cut) = (Mutex::default(), Notify::new());
        let held = Arc::new(Held { peer, since: Instant::now(), listener, stream, cut });
        self.all.lock().insert(number, Arc::clone(&held));
        Registered { connections: Arc::clone(self), number, held }
    }

    /// Connections from a number on, at most so many, and the number to go on at.
    pub fn list(&self, first: u64, count_max: usize) -> (Vec<(u64, Arc<Held>)>, Option<u64>) {
        let all = self.all.lock();
        let mut rest = all.range(first..);
        let found = rest.by_ref().take(count_max).map(|(number, held)| (*number, Arc::clone(held))).collect();
        (found, rest.next().map(|(number, _)| *number))
    }

    /// Ends a connection as it is. Whether it was there.
    pub fn cut(&self, number: u64) -> bool {
        let held = self.all.lock().get(&number).cloned();
        if let Some(held) = &held {
            held.cut.notify_one();
        }
        held.is_some()
    }
}

impl Held {
    /// A stream was asked for.
    pub(crate) fn note_stream(&self, target: &str) {
        let end = target.floor_char_boundary(TARGET_BYTES_MAX);
        *self.stream.lock() = Some(target.get(..end).unwrap_or_default().into());
    }

    /// What it asked for, if that was a stream.
    pub fn stream(&self) -> Option<Box<str>> {
        self.stream.lock().clone()
    }

    /// Waits until somebody ends it.
    pub(crate) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

/// A connection that is known.
#[derive(Debug)]
pub(crate) struct Registered {
    connections: Arc<Connections>,
    number: u64,
    held: Arc<Held>,
}

impl Registered {
    /// What is known of it.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.all.lock().remove(&self.number);
    }
}
