//! What every request of a server shares.

use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use tidings_hub::Hub;
use tokio::sync::Semaphore;

use crate::admin::sample::Samples;
use crate::config::ServerConfig;
use crate::counters::Counters;
use crate::drain::Drain;
use crate::front::descriptors;
use crate::front::held::Connections;
use crate::gate::{Gate, GateConfigError};
use crate::overload::Returns;

/// The state behind the routes, always in an [`Arc`].
pub struct App {
    /// The hub.
    pub hub: Hub,
    /// Who may do what.
    pub gate: Gate,
    /// How the server runs.
    pub config: ServerConfig,
    /// What happened so far, for metrics.
    pub counters: Counters,
    /// Whether a shutdown has begun.
    pub drain: Drain,
    /// Connections that may be open: what the configuration wants, as far as the process's descriptors allow.
    pub connections_max: usize,
    /// Connections that the HTTP library serves.
    pub connections: Arc<Connections>,
    /// Where the reactors are reached, once they run.
    #[cfg(target_os = "linux")]
    pub(crate) reactors: OnceLock<Vec<Arc<tidings_reactor::Mailbox>>>,
    /// What happened in each of the last seconds.
    pub(crate) samples: Samples,
    pub(crate) returns: Returns,
    /// Bytes that bodies taken whole may hold together.
    pub(crate) body_room: Semaphore,
}

/// Bytes of bodies taken whole that are held at once; not less than one of the largest.
const BODY_ROOM_BYTES: usize = 128 << 20;

impl App {
    /// Puts a server's state together.
    ///
    /// # Errors
    /// [`GateConfigError`] if a key, host or origin of the configuration is wrong.
    pub fn new(config: ServerConfig, hub: Hub) -> Result<Arc<Self>, GateConfigError> {
        let gate = Gate::new(config.gate.clone())?;
        let returns = Returns::new(config.overload_returns_per_s);
        let tables = config.reactor_descriptors.tables(config.reactors, config.tls.is_some());
        let connections_max = descriptors::connections_available(config.connections_max, tables);
        let (counters, drain) = (Counters::default(), Drain::default());
        let room_bytes = BODY_ROOM_BYTES.max(config.body_bytes_max).min(Semaphore::MAX_PERMITS);
        let body_room = Semaphore::new(room_bytes);
        Ok(Arc::new(Self {
            hub,
            gate,
            config,
            counters,
            drain,
            connections_max,
            connections: Arc::default(),
            #[cfg(target_os = "linux")]
            reactors: OnceLock::new(),
            samples: Samples::default(),
            returns,
            body_room,
        }))
    }
}
