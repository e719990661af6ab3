//! The transport without which none was given: hyper over TCP and rustls, HTTP/1.1 and HTTP/2.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::tls::{self, Trust};
use super::{BoxError, Transport};

/// What hyper may buffer of an HTTP/1 answer before it is read from here.
const TRANSPORT_BYTES_MAX: usize = 128 * 1024;

/// Idle connections are closed before a hub or a proxy closes them under the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

impl Transport {
    /// For streams: a connection for each, as none is ever reused, and a reconnect must not meet a dead one.
    /// `needs_tls`: the first URL is https, so roots must be there.
    pub(crate) fn for_streams(trust: Trust, needs_tls: bool) -> Result<Self, BoxError> {
        let connector = tls::connector(trust, needs_tls)?;
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_max_idle_per_host(0).http1_max_buf_size(TRANSPORT_BYTES_MAX);
        Ok(Self::over(client.build(connector)))
    }

    /// For one request after the other to one host.
    pub(crate) fn for_requests(trust: Trust, needs_tls: bool) -> Result<Self, BoxError> {
        let connector = tls::connector(trust, needs_tls)?;
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(1);
        Ok(Self::over(client.build(connector)))
    }
}
