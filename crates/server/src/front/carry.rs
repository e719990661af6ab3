//! How a subscription gets to whoever carries it itself: the reactor puts a [`Carry`] into the request, and the protocol
//! that answers with a stream puts the subscriber in there instead of into a body.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_hub::live::Carried;

/// A place for one subscriber.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carry(Arc<Mutex<Option<Carried>>>);

impl Carry {
    /// Lets somebody carry this one.
    pub(crate) fn put(&self, carried: Carried) {
        *self.0.lock() = Some(carried);
    }

    /// The subscriber, if one was let in.
    #[cfg(target_os = "linux")]
    pub(crate) fn take(&self) -> Option<Carried> {
        self.0.lock().take()
    }
}
