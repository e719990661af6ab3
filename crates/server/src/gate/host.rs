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
        ip(&self.host)
    }

    /// `localhost` or a name under it: these never leave the machine.
    pub(crate) fn is_localhost(&self) -> bool {
        is_localhost(&self.host)
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The host of a `host[:port]` that needs no change to be compared, which nearly all are: found without a copy. What
/// is not so plain is left to [`HostPort::parse`].
fn plain(text: &str) -> Option<&str> {
    let colon = text.bytes().position(|byte| byte == b':');
    let (host, port) =
        colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))).unwrap_or((text, "0"));
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let fits = is_port && !host.is_empty() && !host.ends_with('.') && host.bytes().all(is_plain);
    fits.then_some(host)
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

    /// Whether the request is addressed to this hub.
    ///
    /// # Errors
    /// 400 if it does not say (an HTTP/1.0 client need not, no browser does that), says it twice or malformed, 421 if
    /// it is none of ours.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Problem> {
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
            return if parts.version < Version::HTTP_11 { Ok(()) } else { Err(bad("send a Host header")) };
        }
        let in_header = header.map(|value| value.to_str().unwrap_or(""));
        for text in [in_header, named].into_iter().flatten() {
            if self.knows(text) {
                continue;
            }
            let host =
                HostPort::parse(text).ok_or_else(|| bad("the Host is malformed; send name or name:port"))?;
            if !self.allows(&host.host) {
                let detail = format!(
                    "this hub does not answer to the name {:?}; if it should, add the name to the setting 'hosts'",
                    host.host
                );
                return Err(Problem::new(&problem::FOREIGN_HOST, detail));
            }
        }
        Ok(())
    }

    /// Whether this is the plain name of a host that this hub answers to. `false`: [`Self::check`] has to say.
    pub(super) fn knows(&self, text: &str) -> bool {
        plain(text).is_some_and(|host| self.allows(host))
    }

    fn allows(&self, host: &str) -> bool {
        self.any
            || is_localhost(host)
            || ip(host).is_some()
            || self.names.iter().any(|name| name.matches(host))
    }
}

/// Whom a request that [`Hosts::check`] let pass is addressed to; `None`: it does not say.
pub(super) fn addressed(parts: &Parts) -> Option<HostPort> {
    let in_header = || parts.headers.get(HOST)?.to_str().ok();
    let text = parts.uri.authority().map(Authority::as_str).or_else(in_header)?;
    HostPort::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_finds_what_the_long_one_does_or_nothing() {
        for text in ["localhost", "127.0.0.1:4000", "a-b.example:1", "0", "x:65535"] {
            let long = HostPort::parse(text).unwrap();
            assert_eq!(plain(text), Some(&*long.host), "{text}");
        }
        for text in
            ["", ":1", "A", "a.", "a:", "a:b", "a:65536", "a:+1", "[::1]", "a:1:2", "u@h", "a/b", "a_b", "ü"]
        {
            assert_eq!(plain(text), None, "{text}");
        }
    }
}
