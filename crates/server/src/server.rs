//! A server: bound, then run until it is told to end.
//!
//! **Order of an end:** readiness fails; streams are ended, spread over time, while new connections are still
//! accepted (a balancer needs a moment); then nothing is accepted, requests under way finish, the log is closed.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidings_hub::Hub;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::admin::{Admin, sample};
use crate::app::App;
use crate::config::ServerConfig;
use crate::drain::Stage;
use crate::front::accept::{Door, accept};
use crate::front::connection::Limits;
#[cfg(target_os = "linux")]
use crate::front::reactors::Reactors;
use crate::front::service::{Handle, Service};
use crate::front::tls::{Tls, TlsError};
use crate::gate::GateConfigError;

/// Between two looks at connections that take nothing.
const STUCK_LOOK: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted: after a restart everybody comes at once.
const BACKLOG: u32 = 4_096;
/// How far away the next timer is at most.
const BEAT: Duration = Duration::from_millis(500);
/// Connections of the admin listener.
const ADMIN_CONNECTIONS: usize = 64;

/// A server whose addresses are bound and which does not serve yet.
pub struct Server {
    app: Arc<App>,
    tls: Option<Tls>,
    listeners: Vec<TcpListener>,
    admin: Option<TcpListener>,
    local_addrs: Vec<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    extra: Router,
}

impl Server {
    /// Checks the configuration and binds the addresses. To be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`] says what the operator has to change; nothing is left bound then.
    pub fn bind(config: ServerConfig, hub: Hub) -> Result<Self, ServerError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ServerError::NoRuntime);
        }
        for addr in config.listen.iter().copied().chain(config.admin) {
            config.gate.check_exposure(addr).map_err(ServerError::Gate)?;
        }
        let tls = config.tls.as_ref().map(Tls::new).transpose().map_err(ServerError::Tls)?;
        let bind = |addr| bind(addr, config.stall_ms);
        let listeners = config.listen.iter().copied().map(bind).collect::<Result<Vec<_>, _>>()?;
        let admin = config.admin.map(bind).transpose()?;
        let app = App::new(config, hub).map_err(ServerError::Gate)?;
        check_room(&app);
        let addr_of = |listener: &TcpListener| listener.local_addr().map_err(ServerError::Address);
        Ok(Self {
            local_addrs: listeners.iter().map(addr_of).collect::<Result<_, _>>()?,
            admin_addr: admin.as_ref().map(addr_of).transpose()?,
            app,
            tls,
            listeners,
            admin,
            extra: Router::new(),
        })
    }

    /// Where clients connect, with the ports that were taken, in the order of the configuration.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Where the admin surface is.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The SHA-256 of the certificate, if there is TLS.
    pub fn fingerprint(&self) -> Option<&str> {
        self.tls.as_ref().map(Tls::fingerprint)
    }

    /// The shared state: for pages that show what the server does.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Routes for paths that no protocol has. They are behind the gate; their own fallback is replaced.
    #[must_use]
    pub fn router_extra(mut self, extra: Router) -> Self {
        self.extra = extra;
        self
    }

    /// Serves until `shutdown` is ready, then ends in good order: within about `drain_ms` + `grace_ms`.
    // Promise: when this returns, no request of this server is under way and the log is closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { app, tls, listeners, admin, extra, .. } = self;
        let _cut = CutOnDrop(Arc::clone(&app));
        let room = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let (public_room, admin_room) = (room(app.connections_max), room(ADMIN_CONNECTIONS));
        let mut loops = JoinSet::new();
        let service = Service::new(Arc::clone(&app), extra);
        let acceptor = tls.map(|tls| tls.acceptor);
        let (listeners, reactors) = carry(&app, listeners, &acceptor, &service, &public_room);
        open(&mut loops, listeners, &app, service, acceptor, (&public_room, "public"));
        let sampling = admin.is_some().then(|| AbortOnDrop(tokio::spawn(sample::run(Arc::clone(&app)))));
        open(&mut loops, admin, &app, Admin::new(Arc::clone(&app)), None, (&admin_room, "admin"));
        let _beat = AbortOnDrop(tokio::spawn(beat()));
        let looks = app.hub.limits().has_lag_max();
        let _looking = looks.then(|| AbortOnDrop(tokio::spawn(cut_stuck(Arc::clone(&app)))));

        shutdown.await;
        drain(&app).await;
        app.drain.advance(Stage::Stopping);
        reactors.stop();
        while loops.join_next().await.is_some() {}
        // All places are free when all connections are gone.
        let all = u32::try_from(app.connections_max).unwrap_or(u32::MAX);
        let grace = Duration::from_millis(app.config.grace_ms);
        if timeout(grace, public_room.acquire_many(all)).await.is_err() {
            warn!(
                connections = app.counters.connections(),
                "requests took longer than grace_ms; they are cut"
            );
        }
        app.drain.advance(Stage::Ended);
        reactors.end();
        _ = timeout(Duration::from_secs(1), public_room.acquire_many(all)).await;
        reactors.join().await;
        drop(sampling);
        app.hub.shutdown().await;
        info!("stopped");
    }
}

/// Plain listeners go to the reactors, if there are any; the others, and all if none can start, are returned.
#[cfg(target_os = "linux")]
fn carry(
    app: &Arc<App>,
    listeners: Vec<TcpListener>,
    acceptor: &Option<tokio_rustls::TlsAcceptor>,
    service: &Service,
    room: &Arc<Semaphore>,
) -> (Vec<TcpListener>, Reactors) {
    if app.config.reactors == 0 || acceptor.is_some() {
        return (listeners, Reactors::default());
    }
    let start = || {
        let clone = |listener: &TcpListener| {
            let owned = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
            Ok(std::net::TcpListener::from(owned))
        };
        let plain = listeners.iter().map(clone).collect::<io::Result<Vec<_>>>()?;
        Reactors::start(app, service, room, plain)
    };
    match start() {
        Ok(reactors) => (Vec::new(), reactors),
        Err(error) => {
            warn!(%error, "no reactor could start; all connections are served without");
            (listeners, Reactors::default())
        }
    }
}

/// There are none on this system.
#[cfg(not(target_os = "linux"))]
fn carry(
    _app: &Arc<App>,
    listeners: Vec<TcpListener>,
    _acceptor: &Option<tokio_rustls::TlsAcceptor>,
    _service: &Service,
    _room: &Arc<Semaphore>,
) -> (Vec<TcpListener>, Reactors) {
    (listeners, Reactors)
}

#[cfg(not(target_os = "linux"))]
struct Reactors;

#[cfg(not(target_os = "linux"))]
impl Reactors {
    fn stop(&self) {}

    fn end(&self) {}

    async fn join(self) {}
}

/// If [`Server::run`] is dropped in the middle, its connections do not live on without it.
struct CutOnDrop(Arc<App>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.drain.advance(Stage::Ended);
    }
}

/// A timer that is due before all others makes the runtime wake its own I/O driver, by a system call. While requests
/// wait for the log none is set, so the timer of each one's head would be such a one; with this it never is.
async fn beat() {
    loop {
        sleep(BEAT).await;
    }
}

/// Whoever is too far behind and takes nothing is cut: a stream that nobody can ask does not end by itself.
async fn cut_stuck(app: Arc<App>) {
    loop {
        sleep(STUCK_LOOK).await;
        app.connections.cut_stuck();
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Without room beside the streams, a full hub could not even say that it is full.
fn check_room(app: &App) {
    let (connections, subscribers) = (app.connections_max, app.hub.limits().subscribers_max);
    if connections <= subscribers {
        warn!(
            connections,
            subscribers,
            "fewer connections than subscribers are possible; raise the limit of open files and connections_max, or lower subscribers_max"
        );
    }
}

fn bind(addr: SocketAddr, stall_ms: u32) -> Result<TcpListener, ServerError> {
    let bind = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for the connections of the process before it.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit both, if they stand before anybody can connect. An event is written once and whole:
        // waiting for more would only delay it; and a client that is gone without a word would be written to for a
        // quarter of an hour.
        #[cfg(target_os = "linux")]
        {
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            rustix::net::sockopt::set_tcp_user_timeout(&socket, stall_ms)?;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = stall_ms;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|cause| ServerError::Bind { addr, cause })
}

fn open<H: Handle>(
    loops: &mut JoinSet<()>,
    listeners: impl IntoIterator<Item = TcpListener>,
    app: &Arc<App>,
    handler: H,
    tls: Option<tokio_rustls::TlsAcceptor>,
    (room, listener): (&Arc<Semaphore>, &'static str),
) {
    let limits = Limits::new(&app.config);
    let door =
        Arc::new(Door { app: Arc::clone(app), handler, limits, tls, room: Arc::clone(room), listener });
    for listener in listeners {
        loops.spawn(accept(listener, Arc::clone(&door)));
    }
}

/// Ends the open streams, spread over `drain_ms`; sooner if none is left.
async fn drain(app: &App) {
    app.drain.advance(Stage::Draining);
    info!(streams = app.hub.stats().subscribers, drain_ms = app.config.drain_ms, "draining");
    app.hub.drain(app.config.drain_ms);
    let end = Instant::now() + Duration::from_millis(app.config.drain_ms);
    while Instant::now() < end && app.hub.stats().subscribers > 0 {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Why a server cannot be. All of it is for the operator to mend, but for [`Self::NoRuntime`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The policy is malformed or missing.
    Gate(GateConfigError),
    /// There is no usable certificate.
    Tls(TlsError),
    /// An address cannot be bound.
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The system does not say what was bound.
    Address(io::Error),
    /// Not called in a Tokio runtime.
    NoRuntime,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(cause) => cause.fmt(f),
            Self::Tls(cause) => cause.fmt(f),
            Self::Bind { addr, cause } => {
                let advice = match cause.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there: stop it or choose another port"
                    }
                    io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need a privilege: choose another port"
                    }
                    _ => "choose another address",
                };
                write!(f, "cannot listen on {addr}: {advice}")
            }
            Self::Address(_) => f.write_str("the system does not tell the address that was bound"),
            Self::NoRuntime => f.write_str("Server::bind must be called in a Tokio runtime"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Gate(cause) => std::error::Error::source(cause),
            Self::Tls(cause) => std::error::Error::source(cause),
            Self::Bind { cause, .. } | Self::Address(cause) => Some(cause),
            Self::NoRuntime => None,
        }
    }
}
