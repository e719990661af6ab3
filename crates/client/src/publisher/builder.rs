//! From settings to a producer. Everything that can be refused is refused here, before the first request.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;
use url::Url;

use super::producer::{Listener, Notice, Numbering, Producer};
use crate::BuildError;
use crate::connection::{Connection, basic_authorization};
use crate::fresh::MakeHeaders;
use crate::transport::{BoxError, Transport};

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
    connection: Connection,
    make_headers: Option<MakeHeaders>,
    given: Option<(String, u64, u64)>,
    patience_ms: Option<u64>,
    notice: Option<Listener>,
}

impl ProducerBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connection: Connection::default(),
            make_headers: None,
            given: None,
            patience_ms: None,
            notice: None,
        }
    }

    /// A header to send with every request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.connection.header(name, value);
        self
    }

    /// Headers made anew for every request and every attempt of it, in place of fixed ones of the same name: for
    /// tokens that expire. An error counts as a failure of the network: it is told ([`Notice::Retrying`]) and tried
    /// again.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
    /// use tidings_client::publisher::Producer;
    ///
    /// # async fn token() -> Result<String, std::io::Error> { Ok("t".into()) }
    /// let producer = Producer::builder("http://127.0.0.1:4000/topics/news")
    ///     .fresh_headers(|| async {
    ///         let bearer = format!("Bearer {}", token().await?);
    ///         Ok(HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(bearer)?)]))
    ///     })
    ///     .build()?;
    /// # Ok::<(), tidings_client::BuildError>(())
    /// ```
    pub fn fresh_headers<F, M>(mut self, mut make: M) -> Self
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<HeaderMap, BoxError>> + Send + 'static,
    {
        self.make_headers = Some(Box::new(move || Box::pin(make())));
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
    #[cfg(feature = "hyper")]
    pub fn trust_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.connection.trust_certificate(der.into());
        self
    }

    /// Takes any certificate for good: for trying things out only.
    #[cfg(feature = "hyper")]
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.connection.accept_invalid_certs(accept);
        self
    }

    /// Sends the requests with this service, as in
    /// [`EventSourceBuilder::transport`](crate::EventSourceBuilder::transport).
    pub fn transport<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.connection.set_transport(Transport::over(service));
        self
    }

    /// The producer. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL, a header or the id cannot be used, TLS cannot be set up, or the system has no randomness.
    pub fn build(mut self) -> Result<Producer, BuildError> {
        self.connection.check()?;
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
        self.connection.default_headers(basic);
        let (id, epoch, seq, numbering) = match self.given {
            Some((id, epoch, seq)) => (id, epoch, seq, Numbering::Given),
            None => (random_id()?, 0, 0, Numbering::Own),
        };
        let visible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&id).ok().filter(|_| visible);
        let id_header = value.ok_or_else(|| BuildError::InvalidHeader { name: "Producer-Id".to_owned() })?;
        let transport = self.connection.for_requests(url.scheme() == "https")?;
        let patience = self.patience_ms.map(Duration::from_millis);
        Ok(Producer {
            transport,
            uri,
            headers: self.connection.headers,
            make_headers: self.make_headers,
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
