//! What the builders of sources and producers have in common: headers, whom to trust, the transport. The first
//! thing that cannot be used is kept and told by `build`, so that settings can be chained.

use base64::Engine as _;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::BuildError;
use crate::request::is_credential;
use crate::transport::Transport;
#[cfg(feature = "hyper")]
use crate::transport::Trust;

/// Headers, trust and transport, as far as they were chosen.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) headers: HeaderMap,
    refused: Option<BuildError>,
    #[cfg(feature = "hyper")]
    trust: Trust,
    transport: Option<Transport>,
}

impl Connection {
    /// Adds a header that goes with every request.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        match parse_header(name, value) {
            Ok((name, value)) => _ = self.headers.append(name, value),
            Err(error) => self.refuse(error),
        }
    }

    /// What `build` will say, unless there was something before it.
    pub(crate) fn refuse(&mut self, error: BuildError) {
        self.refused.get_or_insert(error);
    }

    pub(crate) fn set_transport(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn trust_certificate(&mut self, der: Vec<u8>) {
        match &mut self.trust {
            Trust::Roots(roots) => roots.push(der),
            _ => self.trust = Trust::Roots(vec![der]),
        }
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn accept_invalid_certs(&mut self, accept: bool) {
        match (accept, &self.trust) {
            (true, _) => self.trust = Trust::Anybody,
            (false, Trust::Anybody) => self.trust = Trust::System,
            (false, _) => {}
        }
    }

    /// What was refused, before anything is built.
    pub(crate) fn check(&mut self) -> Result<(), BuildError> {
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Sets headers that the caller did not, and says who we are.
    pub(crate) fn default_headers(&mut self, defaults: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
        let agent = HeaderValue::from_static(concat!("tidings-client/", env!("CARGO_PKG_VERSION")));
        for (name, value) in defaults.into_iter().chain([(USER_AGENT, agent)]) {
            if !self.headers.contains_key(&name) {
                self.headers.insert(name, value);
            }
        }
    }

    /// The chosen transport, or hyper's for long streams.
    pub(crate) fn for_streams(&mut self, needs_tls: bool) -> Result<Transport, BuildError> {
        self.transport(needs_tls, true)
    }

    /// The chosen transport, or hyper's for requests in a row.
    pub(crate) fn for_requests(&mut self, needs_tls: bool) -> Result<Transport, BuildError> {
        self.transport(needs_tls, false)
    }

    #[cfg(feature = "hyper")]
    fn transport(&mut self, needs_tls: bool, streams: bool) -> Result<Transport, BuildError> {
        if let Some(transport) = self.transport.take() {
            return Ok(transport);
        }
        let trust = std::mem::take(&mut self.trust);
        let made = if streams {
            Transport::for_streams(trust, needs_tls)
        } else {
            Transport::for_requests(trust, needs_tls)
        };
        made.map_err(BuildError::Tls)
    }

    #[cfg(not(feature = "hyper"))]
    fn transport(&mut self, _: bool, _: bool) -> Result<Transport, BuildError> {
        self.transport.take().ok_or(BuildError::NoTransport)
    }
}

/// A header as it can be sent; credentials are marked, so that nobody logs them.
pub(crate) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
        (Ok(name), Ok(mut value)) => {
            value.set_sensitive(is_credential(&name));
            Ok((name, value))
        }
        _ => Err(BuildError::InvalidHeader { name: name.to_owned() }),
    }
}

/// User information in a URL is Basic authentication, as in a browser and in curl.
pub(crate) fn basic_authorization(url: &str) -> Option<(HeaderName, HeaderValue)> {
    let url = Url::parse(url).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let coded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {coded}")).ok()?;
    value.set_sensitive(true);
    Some((AUTHORIZATION, value))
}
