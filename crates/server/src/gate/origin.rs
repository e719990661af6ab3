//! Which pages may write (CSRF) and which may read answers (CORS).
//!
//! **Invariant:** a write that a browser sends for a page of a foreign origin is refused before anybody looks at
//! what it says. Credentials are shared only with origins that are configured by name.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::GateConfigError;
use super::host::{self, HostPort, NamePattern};
use crate::problem::{self, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Tidings-Resume, Tidings-Position, Tidings-Id, Tidings-Closed, Tidings-Content-Type, Retry-After, \
     Producer-Epoch, Producer-Expected-Seq, Producer-Received-Seq",
);
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Last-Event-ID, Content-Type, Authorization, Idempotency-Key, Producer-Id, Producer-Epoch, Producer-Seq, \
         Cache-Control",
);

/// An origin as `Origin` names it.
#[derive(Debug)]
struct Named {
    https: bool,
    at: HostPort,
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Some(Self { https, at: HostPort::parse(rest)? })
    }

    fn port(&self) -> u16 {
        self.at.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    fn is_loopback(&self) -> bool {
        self.at.is_localhost() || self.at.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// The scheme is left out: behind a proxy that ends TLS, the page is https and the hub speaks http.
    fn is_same(&self, addressed: Option<&HostPort>) -> bool {
        addressed.is_some_and(|host| {
            // A Host without port means the default of the scheme the page was loaded with.
            host.host == self.at.host && host.port.unwrap_or_else(|| default_port(self.https)) == self.port()
        })
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// A configured origin.
#[derive(Debug)]
struct Allowed {
    https: bool,
    name: NamePattern,
    port: u16,
}

impl Allowed {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let https = matches!(scheme, "https");
        if !https && scheme != "http" {
            return None;
        }
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()?),
            _ => (rest, default_port(https)),
        };
        Some(Self { https, name: NamePattern::parse(name)?, port })
    }

    fn matches(&self, origin: &Named) -> bool {
        self.https == origin.https && self.port == origin.port() && self.name.matches(&origin.at.host)
    }
}

/// What a page's origin is to this hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// No page said where it is from.
    Unsaid,
    /// Served by this very host.
    Same,
    /// Configured by name: may write and may send credentials.
    Configured,
    /// On the user's own machine: may write, without credentials.
    Loopback,
    /// Any other, where the setting has `*`: may read.
    Reader,
    /// Any other.
    Foreign,
}

/// The origins a hub trusts.
#[derive(Debug)]
pub(crate) struct Origins {
    anybody_reads: bool,
    allowed: Vec<Allowed>,
}

impl Origins {
    pub(crate) fn new(configured: &[String]) -> Result<Self, GateConfigError> {
        let anybody_reads = configured.iter().any(|text| text == "*");
        let parse = |text: &String| {
            Allowed::parse(text).ok_or_else(|| GateConfigError::Origin { text: text.as_str().into() })
        };
        let allowed = configured.iter().filter(|text| *text != "*").map(parse).collect::<Result<_, _>>()?;
        Ok(Self { anybody_reads, allowed })
    }

    /// Looks at a request; what it finds is put on the answer with [`Cors::apply`].
    pub(crate) fn look(&self, parts: &Parts) -> Cors {
        let mut origins = parts.headers.get_all(ORIGIN).iter();
        let (first, second) = (origins.next(), origins.next());
        let standing = match (first, second) {
            (None, _) => Standing::Unsaid,
            (Some(value), None) => self.standing(value, host::addressed(parts).as_ref()),
            (Some(_), Some(_)) => Standing::Foreign,
        };
        Cors { standing, origin: first.cloned() }
    }

    fn standing(&self, value: &HeaderValue, addressed: Option<&HostPort>) -> Standing {
        let named = value.to_str().ok().and_then(Named::parse);
        match named {
            Some(origin) if self.allowed.iter().any(|allowed| allowed.matches(&origin)) => {
                Standing::Configured
            }
            Some(origin) if origin.is_same(addressed) => Standing::Same,
            Some(origin) if origin.is_loopback() => Standing::Loopback,
            _ if self.anybody_reads => Standing::Reader,
            // Also `null`: a sandboxed frame, a file, a redirect over origins.
            _ => Standing::Foreign,
        }
    }
}

/// What an answer says to the page that asked.
#[derive(Clone, Debug)]
pub struct Cors {
    standing: Standing,
    origin: Option<HeaderValue>,
}

impl Cors {
    /// For a request that names no origin.
    pub(crate) const fn unsaid() -> Self {
        Self { standing: Standing::Unsaid, origin: None }
    }

    /// The answer to a preflight; `None` if this is none.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<Result<Response<axum::body::Body>, Problem>> {
        let is_preflight = parts.method == Method::OPTIONS
            && self.standing != Standing::Unsaid
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let methods = match self.standing {
            Standing::Unsaid | Standing::Foreign => return Some(Err(foreign())),
            Standing::Reader => "GET, HEAD",
            Standing::Same | Standing::Configured | Standing::Loopback => "GET, HEAD, POST, PUT, DELETE",
        };
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(Ok(response))
    }

    /// Refuses a write that a foreign page makes a browser send.
    pub(crate) fn check_write(&self, parts: &Parts) -> Result<(), Problem> {
        if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        match self.standing {
            Standing::Same | Standing::Configured | Standing::Loopback => Ok(()),
            Standing::Reader | Standing::Foreign => Err(foreign()),
            Standing::Unsaid => {
                let site = parts.headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
                let is_foreign = matches!(site, Some(b"cross-site" | b"same-site"));
                if is_foreign { Err(foreign()) } else { Ok(()) }
            }
        }
    }

    /// Puts the headers on an answer, refusals included: a page should be able to read what went wrong.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = &self.origin else { return };
        match self.standing {
            Standing::Unsaid | Standing::Same | Standing::Foreign => return,
            Standing::Configured => {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
            Standing::Loopback | Standing::Reader => {}
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn foreign() -> Problem {
    Problem::new(
        &problem::FOREIGN_ORIGIN,
        "pages of this origin may not write here; if they should, add the origin to the setting 'cors_origins'",
    )
}
