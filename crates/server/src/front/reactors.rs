//! The reactors' threads: made from the listeners, told to end, waited for.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tidings_reactor::mailbox::Stage;
use tidings_reactor::{Config, Mailbox, Reactor, table};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tracing::{debug, error};

use super::crossing::{Arriving, Crossing};
use super::descriptors;
use super::door::{self, FrontDoor, Open};
use super::service::Service;
use crate::app::App;
use crate::config::Descriptors;

/// Bytes of a request that has not come whole, held on a reactor: a usual head with a small body.
const PARTIAL_BYTES_MAX: usize = 8 << 10;
/// The pause after the system refused to accept, or the server was full, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Running reactors.
#[derive(Default)]
pub(crate) struct Reactors {
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
    /// Ends after the threads.
    arriving: Option<Arriving>,
}

impl Reactors {
    /// Starts as many as are configured, all on the same listeners, which are no longer needed then.
    ///
    /// # Errors
    /// What the system says if it lacks descriptors or threads.
    pub(crate) fn start(
        app: &Arc<App>,
        service: &Service,
        room: &Arc<Semaphore>,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Self> {
        let mut reactors = Self::default();
        for _ in 0..app.config.reactors {
            reactors.mailboxes.push(Arc::new(Mailbox::new()?));
        }
        let ground = Ground {
            app: Arc::clone(app),
            service: service.clone(),
            room: Arc::clone(room),
            runtime: Runtime::current(),
        };
        let crossing = match app.config.reactor_descriptors {
            Descriptors::Shared => None,
            Descriptors::Own => {
                let crossing = Crossing::open()?;
                let taking = ground.clone();
                let arrived = move |connection| taking.take(connection);
                reactors.arriving = Some(Arriving::start(Arc::clone(&crossing), arrived)?);
                Some(crossing)
            }
        };
        for (number, mailbox) in reactors.mailboxes.iter().enumerate() {
            let listeners = match crossing {
                None => Listeners::Shared(
                    listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
                ),
                Some(_) => Listeners::Own(listeners.iter().map(|listener| listener.as_raw_fd()).collect()),
            };
            let others = reactors.mailboxes.iter().filter(|other| !Arc::ptr_eq(other, mailbox));
            let others = others.cloned().collect();
            let (ground, crossing, mailbox) = (ground.clone(), crossing.clone(), Arc::clone(mailbox));
            let (told, begun) = mpsc::sync_channel(1);
            let thread = std::thread::Builder::new().name(format!("tidings-reactor-{number}"));
            reactors.threads.push(thread.spawn(move || {
                let reactor = match ground.reactor(listeners, crossing, mailbox, others) {
                    Ok(reactor) => reactor,
                    Err(error) => return drop(told.send(Err(error))),
                };
                if told.send(Ok(())).is_err() {
                    return;
                }
                // Routes set timers and start tasks.
                let _entered = ground.runtime.enter();
                let told = TellPanic(&ground.app);
                reactor.run();
                std::mem::forget(told);
            })?);
            // The listeners are open until each has its own.
            begun.recv().unwrap_or_else(|_| Err(io::Error::other("a reactor ended before it began")))?;
        }
        // Set once: there is one start of a server.
        _ = app.reactors.set(reactors.mailboxes.clone());
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
        let arriving = self.arriving.take();
        // The thread has nothing to wait for any more; nor has whoever joins it.
        _ = tokio::task::spawn_blocking(|| drop(arriving)).await;
    }
}

/// What all reactors stand on.
#[derive(Clone)]
struct Ground {
    app: Arc<App>,
    service: Service,
    room: Arc<Semaphore>,
    runtime: Runtime,
}

enum Listeners {
    /// In the process's table.
    Shared(Vec<TcpListener>),
    /// To be taken into a table of its own.
    Own(Vec<RawFd>),
}

impl Ground {
    /// A reactor, on the thread it will run on.
    fn reactor(
        &self,
        listeners: Listeners,
        crossing: Option<Arc<Crossing>>,
        mailbox: Arc<Mailbox>,
        others: Vec<Arc<Mailbox>>,
    ) -> io::Result<Reactor<FrontDoor>> {
        // First of all: nothing may be open that only the other table has.
        let (listeners, connections_max) = match listeners {
            Listeners::Shared(listeners) => (listeners, usize::MAX),
            Listeners::Own(numbers) => (table::own(&numbers)?, descriptors::connections_of_one_table()),
        };
        let Self { app, service, room, runtime } = self.clone();
        let config = Config {
            handshake_ms: app.config.handshake_ms,
            head_ms: app.config.head_ms,
            partial_bytes_max: PARTIAL_BYTES_MAX.min(app.config.head_bytes_max),
            heartbeat_ms: app.hub.limits().heartbeat_ms,
            accept_pause_ms: ACCEPT_PAUSE_MS,
            connections_max,
        };
        let hub = app.hub.clone();
        let door = FrontDoor::new(app, service, room, runtime, crossing);
        Reactor::new(hub, door, config, listeners, mailbox, others)
    }

    /// Serves a connection that came across.
    fn take(&self, connection: io::Result<(TcpStream, Vec<u8>)>) {
        let handed = Open::new(&self.app, &self.room);
        match connection {
            Ok((socket, read)) => door::serve(&self.runtime, &self.service, handed, socket, read),
            Err(error) => {
                self.app.counters.accept_error();
                debug!(%error, "a connection was lost on its way to another thread");
            }
        }
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
