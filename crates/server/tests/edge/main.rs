//! The edge of a running server, from outside: sockets, TLS, limits, the gate, the admin surface, the end.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod admin;
mod end;
mod hostile;
mod limits;
mod overload;
mod secrets;
mod store;
mod support;
mod surface;
mod tls;
