//! What can go wrong, by who must act: [`BuildError`] is the caller's, [`SourceError`] ends a source for good,
//! [`Disconnect`] is what a source recovers from by itself.

use std::error::Error;
use std::{fmt, io};

use http::StatusCode;

/// Why a source ended for good. Reconnecting would meet the same again.
///
/// ```
/// use tidings_client::SourceError;
///
/// let error = SourceError::Status { status: http::StatusCode::NOT_FOUND };
/// assert_eq!(error.to_string(), "the server answered 404 Not Found");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// The server answered something else than 200, and no policy says to try again: see
    /// [`EventSourceBuilder::retry_statuses`](crate::EventSourceBuilder::retry_statuses).
    Status {
        /// What it answered.
        status: StatusCode,
    },
    /// The answer is no event stream: the URL is probably not the one that was meant.
    WrongType {
        /// Its `Content-Type`, if it had one.
        content_type: Option<String>,
    },
    /// The answer is compressed although nothing was offered: the server, or a proxy before it, must stop.
    Encoded {
        /// Its `Content-Encoding`.
        content_encoding: String,
    },
    /// A redirect that leads nowhere: the server must give a `Location` with an http or https URL.
    BadRedirect {
        /// The redirect's status.
        status: StatusCode,
        /// Its `Location`, if it had one.
        location: Option<String>,
    },
    /// The connection was lost, and the source was to have only one: see
    /// [`EventSourceBuilder::once`](crate::EventSourceBuilder::once).
    Lost(Disconnect),
    /// So many attempts in a row came to nothing: see
    /// [`EventSourceBuilder::attempts_max`](crate::EventSourceBuilder::attempts_max).
    Exhausted {
        /// How many.
        attempts: u32,
        /// What happened to the last one.
        cause: Disconnect,
    },
    /// What an earlier life has kept could not be read: see [`IdStore::load`](crate::store::IdStore::load). Nothing was
    /// asked of the server.
    Store(io::Error),
    /// An event is larger than this source takes: raise
    /// [`EventSourceBuilder::event_bytes_max`](crate::EventSourceBuilder::event_bytes_max).
    EventTooLarge {
        /// The limit that was met.
        limit_bytes: usize,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status } => write!(f, "the server answered {status}"),
            Self::WrongType { content_type: Some(content_type) } => {
                write!(f, "the answer is {content_type:?}, not an event stream")
            }
            Self::WrongType { content_type: None } => {
                f.write_str("the answer has no content type, so it is not an event stream")
            }
            Self::Encoded { content_encoding } => {
                write!(f, "the answer is encoded as {content_encoding:?}, which was not asked for")
            }
            Self::BadRedirect { status, location: Some(location) } => {
                write!(
                    f,
                    "the server answered {status} with a location that cannot be followed: {location:?}"
                )
            }
            Self::BadRedirect { status, location: None } => {
                write!(f, "the server answered {status} without a location")
            }
            Self::Lost(cause) => write!(f, "the stream broke off: {cause}"),
            Self::Exhausted { attempts, cause } => {
                write!(f, "{attempts} attempts in a row came to nothing; the last one: {cause}")
            }
            Self::Store(error) => write!(f, "the last event id cannot be read: {error}"),
            Self::EventTooLarge { limit_bytes } => {
                write!(f, "an event is larger than event_bytes_max ({limit_bytes} bytes)")
            }
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Lost(cause) | Self::Exhausted { cause, .. } => cause.source(),
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

/// Why a connection was lost, or not had. The source tries again by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// The stream ended in good order.
    Ended,
    /// The network failed: no such host, refused, reset, timed out.
    Network(NetworkError),
    /// No byte came for so long that the connection counts as dead.
    Stalled {
        /// How long that was.
        silent_ms: u64,
    },
    /// The server answered a status that the policy tries again on.
    Status {
        /// What it answered.
        status: StatusCode,
        /// How long it asked to wait (`Retry-After` in seconds).
        retry_after_ms: Option<u64>,
    },
    /// More redirects in a row than are followed.
    TooManyRedirects {
        /// How many are followed.
        redirects_max: u8,
    },
    /// [`EventSource::reconnect_now`](crate::EventSource::reconnect_now) was called.
    Requested,
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the stream ended"),
            Self::Network(error) => fmt::Display::fmt(error, f),
            Self::Stalled { silent_ms } => write!(f, "nothing came for {silent_ms} ms"),
            Self::Status { status, .. } => write!(f, "the server answered {status}"),
            Self::TooManyRedirects { redirects_max } => {
                write!(f, "more than {redirects_max} redirects in a row")
            }
            Self::Requested => f.write_str("a reconnect was asked for"),
        }
    }
}

impl Error for Disconnect {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Network(error) = self { error.source() } else { None }
    }
}

/// A failure below HTTP, or in it.
///
/// ```
/// use std::io;
/// use tidings_client::NetworkError;
///
/// let error = NetworkError::connecting(io::Error::from(io::ErrorKind::ConnectionRefused));
/// assert_eq!(error.to_string(), "cannot connect: connection refused");
/// assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
/// ```
#[derive(Debug)]
pub struct NetworkError {
    connecting: bool,
    cause: Box<dyn Error + Send + Sync>,
}

impl NetworkError {
    /// The connection could not be made.
    pub fn connecting(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { connecting: true, cause: cause.into() }
    }

    /// The connection was made and failed.
    pub fn connected(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { connecting: false, cause: cause.into() }
    }

    /// Whether it failed before there was a connection: no such host, refused, TLS.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// The operating system's own kind, where the cause is one.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.chain().filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind).last()
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = self.cause.as_ref();
        std::iter::successors(Some(first), |&error| error.source())
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.connecting { "cannot connect" } else { "the connection failed" })?;
        // Only the innermost cause tells a person something ("Connection refused"); the layers above it say
        // that they failed too. They are all in `source()`.
        self.chain().last().map_or(Ok(()), |innermost| write!(f, ": {innermost}"))
    }
}

impl Error for NetworkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// Why a source could not be made. The caller must act.
///
/// ```
/// use tidings_client::{BuildError, EventSource};
///
/// let refused = EventSource::builder("topics/news").build();
/// assert!(matches!(refused, Err(BuildError::InvalidUrl { .. })));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No absolute http or https URL.
    InvalidUrl {
        /// What is wrong with it. The URL itself is not repeated: it may hold a password or a token.
        reason: String,
    },
    /// A header's name or value cannot be sent.
    InvalidHeader {
        /// The name, as far as it can be told. Never the value, which may be a secret.
        name: String,
    },
    /// `Last-Event-ID` is not set as a header, but with
    /// [`EventSourceBuilder::last_event_id`](crate::EventSourceBuilder::last_event_id): it changes.
    LastEventIdHeader,
    /// TLS could not be set up: usually no root certificates are installed.
    Tls(Box<dyn Error + Send + Sync>),
    /// Without the feature `hyper` a transport must be given:
    /// [`EventSourceBuilder::transport`](crate::EventSourceBuilder::transport).
    NoTransport,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl { reason } => write!(f, "the URL cannot be used: {reason}"),
            Self::InvalidHeader { name } => write!(f, "the header {name:?} cannot be sent"),
            Self::LastEventIdHeader => {
                f.write_str("Last-Event-ID is no fixed header: set the last event id of the source instead")
            }
            Self::Tls(_) => f.write_str("TLS cannot be set up"),
            Self::NoTransport => f.write_str("without the feature `hyper` a transport must be given"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Tls(cause) = self { Some(cause.as_ref()) } else { None }
    }
}
