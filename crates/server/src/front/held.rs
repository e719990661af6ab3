//! Connections that are served by the HTTP library: who is there, since when, what was asked last. What lives on a reactor
//! is asked of the reactor instead.
//!
//! **Invariant:** an entry per connection, of bounded size, gone with it; it holds no key (targets are noted behind the
//! gate, which took keys out).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tidings_hub::{Probe, StreamError, Subscription};
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
    /// Its streams that are open, each with a number of its own: over HTTP/2 there may be many.
    open: Mutex<Vec<(u64, Probe)>>,
    /// All of them were too slow when somebody looked.
    stuck: AtomicBool,
    cut: Notify,
}

impl Connections {
    /// A connection comes; it is known for as long as the answer lives.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<SocketAddr>, listener: &'static str) -> Registered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (stream, open, cut) = (Mutex::default(), Mutex::default(), Notify::new());
        let stuck = AtomicBool::new(false);
        let held = Arc::new(Held { peer, since: Instant::now(), listener, stream, open, stuck, cut });
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

impl Connections {
    /// Ends connections whose streams were all found too slow, now and when this was called before: they end by themselves
    /// when they are asked, so that their clients take nothing at all.
    pub(crate) fn cut_stuck(&self) {
        let all: Vec<_> = self.all.lock().values().map(Arc::clone).collect();
        for held in all {
            let is_stuck = held.is_stuck();
            if held.stuck.swap(is_stuck, Ordering::Relaxed) && is_stuck {
                held.cut.notify_one();
            }
        }
    }
}

impl Held {
    /// A body for a stream, which is known of this connection for as long as it lives.
    pub(crate) fn carry(self: &Arc<Self>, subscription: Subscription) -> OpenStream {
        let mut open = self.open.lock();
        let number = open.last().map_or(0, |(number, _)| number + 1);
        open.push((number, subscription.probe()));
        OpenStream { held: Arc::clone(self), number, subscription }
    }

    /// How many places the slowest of its streams is behind; `None` if none is open.
    pub fn lag(&self) -> Option<u64> {
        self.open.lock().iter().map(|(_, probe)| probe.lag()).max()
    }

    fn is_stuck(&self) -> bool {
        let open = self.open.lock();
        !open.is_empty() && open.iter().all(|(_, probe)| probe.is_slow())
    }

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

/// A stream of a connection that the HTTP library has.
pub(crate) struct OpenStream {
    held: Arc<Held>,
    number: u64,
    subscription: Subscription,
}

impl Body for OpenStream {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        Pin::new(&mut self.get_mut().subscription).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.subscription.is_end_stream()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // Before the subscription goes, and another one may have its place.
        self.held.open.lock().retain(|(number, _)| *number != self.number);
    }
}
