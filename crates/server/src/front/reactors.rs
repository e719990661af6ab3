//! The reactors' threads: made from the listeners, told to end, waited for.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tidings_reactor::mailbox::Stage;
use tidings_reactor::{Config, Mailbox, Reactor};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tracing::error;

use super::door::FrontDoor;
use super::service::Service;
use crate::app::App;

/// Bytes of a request that has not come whole, held on a reactor: a usual head with a small body.
const PARTIAL_BYTES_MAX: usize = 8 << 10;
/// The pause after the system refused to accept, or the server was full, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Running reactors.
#[derive(Default)]
pub(crate) struct Reactors {
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
}

impl Reactors {
    /// Starts as many as are configured, all on the same listeners.
    ///
    /// # Errors
    /// What the system says if it lacks descriptors or threads.
    pub(crate) fn start(
        app: &Arc<App>,
        service: &Service,
        room: &Arc<Semaphore>,
        listeners: &[TcpListener],
    ) -> io::Result<Self> {
        let config = Config {
            handshake_ms: app.config.handshake_ms,
            head_ms: app.config.head_ms,
            partial_bytes_max: PARTIAL_BYTES_MAX.min(app.config.head_bytes_max),
            heartbeat_ms: app.hub.limits().heartbeat_ms,
            accept_pause_ms: ACCEPT_PAUSE_MS,
        };
        let mut reactors = Self::default();
        let runtime = Runtime::current();
        for number in 0..app.config.reactors {
            let door = FrontDoor::new(Arc::clone(app), service.clone(), Arc::clone(room), runtime.clone());
            let clones = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
            let reactor = Reactor::new(app.hub.clone(), door, config, clones)?;
            reactors.mailboxes.push(reactor.mailbox());
            let runtime = runtime.clone();
            let thread = std::thread::Builder::new().name(format!("tidings-reactor-{number}"));
            let app = Arc::clone(app);
            reactors.threads.push(thread.spawn(move || {
                // Routes set timers and start tasks.
                let _entered = runtime.enter();
                let told = TellPanic(&app);
                reactor.run();
                std::mem::forget(told);
            })?);
        }
        Ok(reactors)
    }

    /// Nothing new is accepted, requests under way finish.
    pub(crate) fn stop(&self) {
        self.advance(Stage::Stopping);
    }

    /// What is still open is cut.
    pub(crate) fn end(&self) {
        self.advance(Stage::Ended);
    }

    fn advance(&self, stage: Stage) {
        for mailbox in &self.mailboxes {
            mailbox.advance(stage);
        }
    }

    /// Waits until all threads are over.
    pub(crate) async fn join(mut self) {
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join));
        // One that ended in a panic has told.
        _ = joined.await;
    }
}

/// A reactor that is no more serves nobody: readiness says so, and the others go on.
struct TellPanic<'a>(&'a App);

impl Drop for TellPanic<'_> {
    fn drop(&mut self) {
        self.0.counters.reactor_failed();
        error!("a reactor ended by a defect, and cut its streams; restart the hub and report it");
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.end();
    }
}
