//! Protocols: what a hub speaks over HTTP. Each is a room of its own; none knows another.

pub mod native;
