//! The front door: sockets, TLS, the versions of HTTP, and the limits that hold before anybody asks what a request
//! wants.
//!
//! **Invariant:** a client that is slow, silent or malformed costs its own connection, for a bounded time where it
//! asks for nothing, and never a loop that spins.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod carry;
pub(crate) mod connection;
#[cfg(target_os = "linux")]
pub(crate) mod crossing;
pub mod descriptors;
#[cfg(target_os = "linux")]
pub(crate) mod door;
pub(crate) mod framing;
pub mod held;
#[cfg(target_os = "linux")]
mod plain;
#[cfg(target_os = "linux")]
pub(crate) mod reactors;
#[cfg(target_os = "linux")]
pub(crate) mod request;
pub mod service;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
