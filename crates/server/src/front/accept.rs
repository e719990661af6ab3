//! Accepting: one loop per listener, which waits when there is no room and backs off when the system refuses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::connection::{self, Limits};
use super::service::Handle;
use crate::app::App;
use crate::counters::Counters;

/// The pauses after the system refused to accept.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(1);
/// The same complaint is logged no more often than this.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What the loops of some listeners share.
pub(crate) struct Door<H> {
    pub(crate) app: Arc<App>,
    pub(crate) handler: H,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsAcceptor>,
    /// One per connection that may be open.
    pub(crate) room: Arc<Semaphore>,
    /// `public` or `admin`.
    pub(crate) listener: &'static str,
}

/// Accepts until the shutdown's last stage but one.
// Promise: never awaits a client; every way around the loop either accepts, waits for room or pauses.
pub(crate) async fn accept<H: Handle>(listener: TcpListener, door: Arc<Door<H>>) {
    let (mut pause, mut full, mut refused) = (*BACKOFF.start(), Grumble::default(), Grumble::default());
    loop {
        let Some(place) = place(&door, &mut full).await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.app.drain.stopping() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = *BACKOFF.start();
                drop(tokio::spawn(serve(stream, peer, place, Arc::clone(&door))));
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                door.app.counters.accept_error();
                if refused.may_speak(Instant::now()) {
                    warn!(
                        %error,
                        "the system refuses new connections; raise the limit of open files, or lower connections_max"
                    );
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(*BACKOFF.end());
            }
        }
    }
}

/// Room for one more connection; `None` when the shutdown is first.
async fn place<H>(door: &Door<H>, full: &mut Grumble) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(&door.room).try_acquire_owned() {
        return Some(place);
    }
    door.app.counters.waited();
    if full.may_speak(Instant::now()) {
        warn!(
            connections = door.app.counters.connections(),
            "connections_max reached; others wait in the backlog"
        );
    }
    tokio::select! {
        place = Arc::clone(&door.room).acquire_owned() => place.ok(),
        () = door.app.drain.stopping() => None,
    }
}

async fn serve<H: Handle>(
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    door: Arc<Door<H>>,
) {
    let _open = Open::new(&door.app.counters);
    let registered = door.app.connections.enter(Some(peer), door.listener);
    let held = registered.held();
    // An event is written once and whole: waiting for more would only delay it. (Not inherited everywhere.)
    #[cfg(not(target_os = "linux"))]
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "connection was gone before it began");
        return;
    }
    let (handler, limits, drain) = (door.handler.clone(), &door.limits, &door.app.drain);
    match &door.tls {
        None => connection::serve(stream, Vec::new(), handler, limits, drain, held).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(limits.handshake, tls.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = drain.stopping() => return,
            };
            match shaken.map_err(|_| io::ErrorKind::TimedOut.into()).and_then(|shaken| shaken) {
                Ok(stream) => connection::serve(stream, Vec::new(), handler, limits, drain, held).await,
                Err(error) => {
                    door.app.counters.tls_failed();
                    debug!(%error, "TLS handshake failed");
                }
            }
        }
    }
    drop(place);
}

/// Whether only this one client is affected: it left between knocking and being let in.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Counts a connection for as long as it lives, however it ends.
struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.connected();
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// Says the same thing only now and then.
#[derive(Default)]
pub(super) struct Grumble(Option<Instant>);

impl Grumble {
    pub(super) fn may_speak(&mut self, now: Instant) -> bool {
        let silent = self.0.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY);
        if silent {
            self.0 = Some(now);
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_rare() {
        let (mut grumble, start) = (Grumble::default(), Instant::now());
        assert!(grumble.may_speak(start));
        assert!(!grumble.may_speak(start + Duration::from_secs(9)));
        assert!(grumble.may_speak(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_client_that_left_is_no_reason_to_pause() {
        assert!(is_the_clients(&io::ErrorKind::ConnectionAborted.into()));
        // Too many open files.
        assert!(!is_the_clients(&io::Error::from_raw_os_error(24)));
    }
}
