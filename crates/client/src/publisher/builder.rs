//! From settings to a producer. Everything that can be refused is refused here, before the first request.

use std::time::Duration;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::producer::{Listener, Notice, Numbering, Producer};
use crate::BuildError;
use crate::builder::basic_authorization;
use crate::request::is_credential;
use crate::tls::{self, Trust};

/// Idle connections are closed before a hub or a proxy closes them under the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Settings of a [`Producer`].
///
/// ```
/// use tidings_client::publisher::Producer;
///
/// let producer = Producer::builder("http://127.0.0.1:4000/topics/ledger?event=paid")
///     .header("authorization", "Bearer …")
///     .numbering("till-7", 3, 41)
///     .patience_ms(60_000)
///     .build()?;
/// assert_eq!((producer.id(), producer.epoch(), producer.next_seq()), ("till-7", 3, 41));
/// # Ok::<(), tidings_client::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ProducerBuilder {
    url: String,
    headers: HeaderMap,
    refused: Option<BuildError>,
    given: Option<(String, u64, u64)>,
    patience_ms: Option<u64>,
    trust: Trust,
    notice: Option<Listener>,
}

impl ProducerBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: HeaderMap::new(),
            refused: None,
            given: None,
            patience_ms: None,
            trust: Trust::System,
            notice: None,
        }
    }

    /// A header to send with every request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(is_credential(&name));
                self.headers.append(name, value);
            }
            _ => {
                self.refused.get_or_insert_with(|| BuildError::InvalidHeader { name: name.to_owned() });
            }
        }
        self
    }

    /// Continues a numbering that the caller keeps: `next_seq` is the first number whose ack he has not seen. The
    /// events must be the same ones under the same numbers: what the hub holds it takes for sent. One process at a
    /// time; a later epoch, begun at 0, shuts out the earlier ones.
    ///
    /// Default: an id by chance, and epochs that begin by themselves where the hub has forgotten the producer.
    pub fn numbering(mut self, id: &str, epoch: u64, next_seq: u64) -> Self {
        self.given = Some((id.to_owned(), epoch, next_seq));
        self
    }

    /// For how long a batch is tried, in milliseconds. Default: forever.
    pub fn patience_ms(mut self, patience_ms: u64) -> Self {
        self.patience_ms = Some(patience_ms);
        self
    }

    /// Who is told of troubles that pass by themselves, for a log.
    pub fn notice(mut self, notice: impl FnMut(Notice<'_>) + Send + 'static) -> Self {
        self.notice = Some(Box::new(notice));
        self
    }

    /// Trusts this certificate (DER), and others given so, instead of the operating system's roots.
    pub fn trust_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        match &mut self.trust {
            Trust::Roots(roots) => roots.push(der.into()),
            _ => self.trust = Trust::Roots(vec![der.into()]),
        }
        self
    }

    /// Takes any certificate for good: for trying things out only.
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        match (accept, &self.trust) {
            (true, _) => self.trust = Trust::Anybody,
            (false, Trust::Anybody) => self.trust = Trust::System,
            (false, _) => {}
        }
        self
    }

    /// The producer. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL, a header or the id cannot be used, TLS cannot be set up, or the system has no randomness.
    pub fn build(mut self) -> Result<Producer, BuildError> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let invalid = |reason: String| BuildError::InvalidUrl { reason };
        let mut url = Url::parse(&self.url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid("it must be http:// or https:// and a host".to_owned()));
        }
        let basic = basic_authorization(&self.url);
        // Both cannot fail on a URL that has a host.
        (_, _) = (url.set_username(""), url.set_password(None));
        url.set_fragment(None);
        let uri: Uri =
            url.as_str().parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
        let agent = HeaderValue::from_static(concat!("tidings-client/", env!("CARGO_PKG_VERSION")));
        for (name, value) in [(USER_AGENT, Some(agent)), (AUTHORIZATION, basic)] {
            if let (false, Some(value)) = (self.headers.contains_key(&name), value) {
                self.headers.insert(name, value);
            }
        }
        let (id, epoch, seq, numbering) = match self.given {
            Some((id, epoch, seq)) => (id, epoch, seq, Numbering::Given),
            None => (random_id()?, 0, 0, Numbering::Own),
        };
        let visible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&id).ok().filter(|_| visible);
        let id_header = value.ok_or_else(|| BuildError::InvalidHeader { name: "Producer-Id".to_owned() })?;
        let connector = tls::connector(self.trust, url.scheme() == "https").map_err(BuildError::Tls)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .build(connector);
        let patience = self.patience_ms.map(Duration::from_millis);
        Ok(Producer {
            client,
            uri,
            headers: self.headers,
            id,
            id_header,
            epoch,
            seq,
            numbering,
            in_doubt: false,
            patience,
            notice: self.notice,
        })
    }
}

/// 128 random bits: no two producers in the world share an id.
fn random_id() -> Result<String, BuildError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| BuildError::Tls(Box::new(error)))?;
    Ok(bytes.iter().fold("tidings-".to_owned(), |id, byte| id + &format!("{byte:02x}")))
}
