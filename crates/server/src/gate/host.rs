//! Which `Host` a request may name: the guard against DNS rebinding, by which a foreign page points its own name
//! at this machine and then is "same origin" with the hub.
//!
//! An address cannot be rebound, so every IP literal passes; so do the names that mean this machine.

use std::net::{IpAddr, Ipv6Addr};

use http::Version;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use super::GateConfigError;
use crate::problem::{self, Problem};

/// A host and a port, as a request or an origin names it: lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Box<str>,
    pub(crate) port: Option<u16>,
}

impl HostPort {
    /// Reads `host[:port]`; no user, no path, nothing empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host();
        let port = match authority.as_str().get(host.len()..)? {
            "" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        (!host.is_empty()).then(|| Self { host: host.into(), port })
    }

    /// The address, if the host is a literal.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => self.host.parse().ok(),
        }
    }

    /// `localhost` or a name under it: these never leave the machine.
    pub(crate) fn is_localhost(&self) -> bool {
        &*self.host == "localhost" || self.host.ends_with(".localhost")
    }
}

/// A configured name: exact, or `*.` and what it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern(Box<str>);

impl NamePattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("*.").unwrap_or(text);
        let name = HostPort::parse(bare).filter(|name| name.port.is_none() && !name.host.contains('*'))?;
        let dot = if bare.len() == text.len() { "" } else { "." };
        Some(Self(format!("{dot}{}", name.host).into()))
    }

    pub(crate) fn matches(&self, host: &str) -> bool {
        if self.0.starts_with('.') { host.ends_with(&*self.0) } else { *host == *self.0 }
    }
}

/// The names a request may be addressed to.
#[derive(Debug)]
pub(crate) struct Hosts {
    any: bool,
    names: Vec<NamePattern>,
}

impl Hosts {
    pub(crate) fn new(configured: &[String]) -> Result<Self, GateConfigError> {
        let any = configured.iter().any(|text| text == "*");
        let parse = |text: &String| {
            NamePattern::parse(text).ok_or_else(|| GateConfigError::Host { text: text.as_str().into() })
        };
        let names = configured.iter().filter(|text| *text != "*").map(parse).collect::<Result<_, _>>()?;
        Ok(Self { any, names })
    }

    /// Whom the request is addressed to; `None` for an HTTP/1.0 client that does not say (no browser does that).
    ///
    /// # Errors
    /// 400 if it is missing, doubled or malformed, 421 if it is none of ours.
    pub(crate) fn check(&self, parts: &Parts) -> Result<Option<HostPort>, Problem> {
        let bad = |detail| Problem::new(&problem::INVALID_HOST, detail);
        let mut headers = parts.headers.get_all(HOST).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(bad("send one Host header, not several"));
        }
        // HTTP/2 says :authority, and so does a target in absolute form, which counts more than the header
        // (RFC 9112, 3.2.2); but the header is still looked at, so that neither can hide the other.
        let named = parts.uri.authority().map(Authority::as_str);
        if header.is_none() && named.is_none() {
            return if parts.version < Version::HTTP_11 { Ok(None) } else { Err(bad("send a Host header")) };
        }
        let in_header = header.map(|value| value.to_str().unwrap_or(""));
        let mut addressed = None;
        for text in [in_header, named].into_iter().flatten() {
            let host =
                HostPort::parse(text).ok_or_else(|| bad("the Host is malformed; send name or name:port"))?;
            if !self.allows(&host) {
                let detail = format!(
                    "this hub does not answer to the name {:?}; if it should, add the name to the setting 'hosts'",
                    host.host
                );
                return Err(Problem::new(&problem::FOREIGN_HOST, detail));
            }
            addressed = Some(host);
        }
        Ok(addressed)
    }

    fn allows(&self, host: &HostPort) -> bool {
        self.any
            || host.is_localhost()
            || host.ip().is_some()
            || self.names.iter().any(|name| name.matches(&host.host))
    }
}
