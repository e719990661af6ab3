//! Settings of the server: what they mean, their units and their defaults. Where they come from (flags, files)
//! is the business of whoever builds a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;
use tidings_hub::keys::KeyWindow;

use crate::gate::GateConfig;

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where clients connect. Port 0 takes a free one; see [`crate::Server::local_addrs`].
    pub listen: Vec<SocketAddr>,
    /// Where the console, health, readiness and metrics are; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// TLS on [`Self::listen`]; `None`: plain HTTP. The admin listener is always plain.
    pub tls: Option<TlsConfig>,
    /// Who may do what, and from which hosts and origins.
    pub gate: GateConfig,
    /// What a full hub answers to `EventSource`s.
    pub overload: Overload,
    /// Refused streams that are asked to come back per second, over all of them together.
    pub overload_returns_per_s: u32,
    /// Readiness fails from this share of the subscribers or connections on, in percent, so that a balancer
    /// sends no more before the hub is full.
    pub ready_percent: u8,
    /// Over how long a shutdown spreads the ends of open streams, in milliseconds.
    pub drain_ms: u64,
    /// How long a shutdown then waits for requests under way, in milliseconds.
    pub grace_ms: u64,
    /// Open connections at once; above it the system's backlog waits. Lowered at the start to what the process's
    /// descriptors allow.
    pub connections_max: usize,
    /// Time for a TLS handshake, and for the first bytes of a connection, in milliseconds.
    pub handshake_ms: u64,
    /// Time for a whole request head, counted from the previous answer, in milliseconds; so it is also how long
    /// a kept-alive connection may idle. Longer than the idle time of common proxies, so that they close first.
    pub head_ms: u64,
    /// Threads that deliver to plain HTTP/1.1 connections, each with its own epoll instance. 0: none, all requests go
    /// the way that HTTP/2 and TLS go. Linux only; elsewhere it is as if 0.
    pub reactors: usize,
    /// Whose descriptors the reactors' connections are.
    pub reactor_descriptors: Descriptors,
    /// Bytes of a request head (431 above).
    pub head_bytes_max: usize,
    /// Header lines of a request (431 above).
    pub headers_max: usize,
    /// Silence after which a request body is given up, in milliseconds; `None`: never, a publisher may stream
    /// for hours and be silent for most of them.
    pub body_idle_ms: Option<u64>,
    /// The largest body of an atomic or JSON request, in bytes. Streamed bodies have no total limit.
    pub body_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// How long a client's system may leave what was sent unacknowledged, or its buffers full, before the
    /// connection is cut, in milliseconds: a client that vanished or stalls comes back to its cursor. Linux only.
    pub stall_ms: u32,
    /// How often an HTTP/2 client is asked whether it is still there, in milliseconds.
    pub h2_ping_ms: u64,
    /// The window of idempotency keys that answers tell of: what the log was opened with.
    pub key_window: KeyWindow,
    /// What the console shows of the configuration: whoever made it knows where each value came from. No secret may be
    /// among them.
    pub shown: Vec<ShownSetting>,
}

/// A setting as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    /// What it is called.
    pub key: String,
    /// The heading it stands under.
    pub section: String,
    /// Its value, as it would be written.
    pub value: String,
    /// Where that came from; `default` if nobody gave it.
    pub origin: String,
    /// What it means.
    pub help: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 4000))],
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4001))),
            tls: None,
            gate: GateConfig::default(),
            overload: Overload::EventSource,
            overload_returns_per_s: 200,
            ready_percent: 90,
            drain_ms: 5_000,
            grace_ms: 10_000,
            connections_max: 110_000,
            handshake_ms: 10_000,
            head_ms: 75_000,
            reactors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            reactor_descriptors: Descriptors::Shared,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            body_idle_ms: None,
            body_bytes_max: 8 << 20,
            h2_streams_max: 256,
            stall_ms: 120_000,
            h2_ping_ms: 30_000,
            key_window: KeyWindow::default(),
            shown: Vec::new(),
        }
    }
}

/// Which table the descriptors of the reactors' connections are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// The process's: its limit holds for all connections.
    Shared,
    /// Each reactor has a table of its own, and the limit for itself (`unshare(CLONE_FILES)`); for where the limit cannot
    /// be raised. The hub's log must read and write on threads of its own, as the embedded ones do.
    Own,
}

impl Descriptors {
    /// How many tables connections are in. With TLS there are no reactors.
    pub fn tables(self, reactors: usize, has_tls: bool) -> usize {
        if self == Self::Own && !has_tls { reactors.max(1) } else { 1 }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsConfig {
    /// PEM files.
    Files {
        /// The certificate and what links it to its root, leaf first.
        cert: PathBuf,
        /// The private key (PKCS #8, PKCS #1 or SEC1).
        key: PathBuf,
    },
    /// Made at the start, for development.
    SelfSigned {
        /// Names and addresses beside `localhost`, `127.0.0.1` and `::1`.
        hosts: Vec<String>,
        /// Where to keep it, so that it is the same after a restart; `None`: in memory.
        dir: Option<PathBuf>,
    },
}

/// What a full or draining hub answers to an `EventSource`, which gives up for good when it meets a 5xx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overload {
    /// 200, a computed `retry:` and an orderly end; other clients get 503. The setting is `eventsource`.
    #[default]
    EventSource,
    /// 503 for everybody. The setting is `503`.
    Status503,
}
