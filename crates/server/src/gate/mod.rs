//! The gate: which hosts, which origins, who it is and what they may do.
//!
//! Pure: it looks at a request's head and answers; it opens no socket and reads no clock. The order is fixed:
//! host, preflight, origin, access. What is refused earlier is told nothing about what comes later.
//!
//! **Invariant:** who is let in comes with an [`Access`], and behind the gate a request has no longer the key in its target.

use std::fmt;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use tidings_hub::InvalidSelector;

pub mod access;
pub(crate) mod host;
pub mod keys;
pub mod origin;
pub mod policy;
pub mod scrub;
#[cfg(test)]
mod tests;

pub use access::{Access, Who};
pub use keys::KeyConfig;
pub use origin::Cors;
pub use policy::AnonymousConfig;

use host::Hosts;
use keys::Keys;
use origin::Origins;

/// Who may do what, as it stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateConfig {
    /// API keys.
    pub keys: Vec<KeyConfig>,
    /// What everybody may do without a key. `None`: everything if there are no keys (refused on any address but
    /// loopback), nothing if there are.
    pub anonymous: Option<AnonymousConfig>,
    /// Names this hub answers to beside localhost and IP addresses: `hub.example.com`, `*.example.com`, or `*`
    /// for any (behind a proxy that checks).
    pub hosts: Vec<String>,
    /// Origins whose pages may write and read with credentials, beside those of the own host and of loopback:
    /// `https://app.example.com`, `https://*.example.com`; `*` lets pages of any origin read without credentials.
    pub origins: Vec<String>,
}

impl GateConfig {
    /// Whether an address may be listened on with this configuration.
    ///
    /// # Errors
    /// [`GateConfigError::Exposed`]: others than this machine can reach it and nothing says what they may do.
    pub fn check_exposure(&self, listen: SocketAddr) -> Result<(), GateConfigError> {
        let explicit = !self.keys.is_empty() || self.anonymous.is_some();
        // An IPv4 address in IPv6 clothes is what it is underneath.
        if explicit || listen.ip().to_canonical().is_loopback() {
            Ok(())
        } else {
            Err(GateConfigError::Exposed { listen })
        }
    }
}

/// What is wrong with a gate's configuration. All of it is for the operator to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateConfigError {
    /// An address that others can reach, and no policy.
    Exposed {
        /// The address.
        listen: SocketAddr,
    },
    /// A key's name is no name.
    KeyName {
        /// As it was given.
        name: Box<str>,
    },
    /// Two keys have the same name or the same hash.
    KeyTwice {
        /// The second one's name.
        name: Box<str>,
    },
    /// A key's hash is no hash.
    KeyHash {
        /// The key's name. The text is left out: it may be the key itself, put there by mistake.
        name: Box<str>,
    },
    /// A selector is malformed.
    Selector {
        /// In which setting.
        setting: String,
        /// As it was given.
        text: Box<str>,
        /// What is wrong.
        cause: InvalidSelector,
    },
    /// A host is no name.
    Host {
        /// As it was given.
        text: Box<str>,
    },
    /// An origin is none.
    Origin {
        /// As it was given.
        text: Box<str>,
    },
}

impl fmt::Display for GateConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exposed { listen } => write!(
                f,
                "{listen} can be reached from other machines, and nothing says who may do what there: configure 'keys', or say with 'anonymous_publish', 'anonymous_subscribe' and 'anonymous_manage' what everybody may do (lists of selectors), or listen on 127.0.0.1"
            ),
            Self::KeyName { name } => {
                write!(f, "a key needs a name of 1 to 64 visible ASCII characters; {name:?} is none")
            }
            Self::KeyTwice { name } => write!(f, "key {name:?} repeats the name or the hash of another key"),
            Self::KeyHash { name } => write!(
                f,
                "the hash of key {name:?} must be 'sha256:' and 64 hexadecimal digits, the digest of the key's text"
            ),
            Self::Selector { setting, text, cause } => write!(f, "{setting}: selector {text:?}: {cause}"),
            Self::Host { text } => write!(
                f,
                "hosts: {text:?} is no host; write a name without scheme and port, like hub.example.com or *.example.com"
            ),
            Self::Origin { text } => write!(
                f,
                "origins: {text:?} is no origin; write scheme and host without a path, like https://app.example.com"
            ),
        }
    }
}

impl std::error::Error for GateConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Selector { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// The gate of one server.
#[derive(Debug)]
pub struct Gate {
    hosts: Hosts,
    origins: Origins,
    keys: Keys<Arc<Access>>,
    anonymous: Arc<Access>,
}

impl Gate {
    /// Checks the configuration.
    ///
    /// # Errors
    /// [`GateConfigError`] names the setting.
    pub fn new(config: GateConfig) -> Result<Self, GateConfigError> {
        let anonymous = policy::anonymous(&config)?;
        Ok(Self {
            hosts: Hosts::new(&config.hosts)?,
            origins: Origins::new(&config.origins)?,
            keys: Keys::new(&config.keys, |key| Arc::new(policy::of_key(&anonymous, key)))?,
            anonymous: Arc::new(anonymous),
        })
    }

    /// Looks at a request's head: whether it may go on.
    ///
    /// Breaks with the complete answer if it may not (or if it is a preflight, which ends here).
    pub fn admit(&self, parts: &mut Parts) -> ControlFlow<Response, Admitted> {
        if let Err(problem) = self.hosts.check(parts) {
            return ControlFlow::Break(problem.into_response());
        }
        let cors = self.origins.look(parts);
        let finish = |answer: Result<Response, crate::Problem>| {
            let mut response = answer.unwrap_or_else(IntoResponse::into_response);
            cors.apply(response.headers_mut());
            response
        };
        if let Some(answer) = cors.preflight(parts) {
            return ControlFlow::Break(finish(answer));
        }
        let access = cors.check_write(parts).and_then(|()| self.access(parts));
        match access {
            Ok(access) => {
                hide_secrets(parts);
                ControlFlow::Continue(Admitted { access, cors })
            }
            Err(problem) => ControlFlow::Break(finish(Err(problem))),
        }
    }

    /// What [`Self::admit`] finds for a request that has neither query nor any line for the gate but one `Host` and,
    /// if there is one, `Authorization`. `None`: the request has to be looked at by it, and may be refused there.
    pub(crate) fn admit_plain(&self, host: &[u8], authorization: Option<&[u8]>) -> Option<Arc<Access>> {
        if !self.hosts.knows(std::str::from_utf8(host).ok()?) {
            return None;
        }
        match authorization {
            None => Some(Arc::clone(&self.anonymous)),
            Some(value) => self.keys.find(keys::bearer(value)?).cloned(),
        }
    }

    /// Looks only at host and origin: for the admin listener, which has no keys.
    ///
    /// # Errors
    /// 400, 403 or 421 if the request may not go on.
    pub fn admit_admin(&self, parts: &Parts) -> Result<(), crate::Problem> {
        self.hosts.check(parts).and_then(|()| self.origins.look(parts).check_write(parts))
    }

    fn access(&self, parts: &Parts) -> Result<Arc<Access>, crate::Problem> {
        match keys::presented(parts)? {
            None => Ok(Arc::clone(&self.anonymous)),
            Some(text) => self.keys.find(&text).cloned().ok_or_else(keys::bad_key),
        }
    }
}

/// Who was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What they may do.
    pub access: Arc<Access>,
    /// Has to be applied to the answer.
    pub cors: Cors,
}

/// Whatever prints a request behind the gate prints no key.
fn hide_secrets(parts: &mut Parts) {
    if let Some(uri) = scrub::without_key(&parts.uri) {
        parts.uri = uri;
    }
    for name in [AUTHORIZATION, COOKIE] {
        // Asking for the entry makes room for one.
        if parts.headers.contains_key(&name)
            && let http::header::Entry::Occupied(mut values) = parts.headers.entry(name)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}
