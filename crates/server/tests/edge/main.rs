//! The edge of a running server, from outside: sockets, TLS, limits, the gate, the admin surface, the end.

mod admin;
mod end;
mod limits;
mod overload;
mod secrets;
mod store;
mod support;
mod surface;
mod tls;
