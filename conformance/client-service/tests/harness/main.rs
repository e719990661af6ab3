//! The service from outside, as the harness for SSE clients drives it: a server whose bytes the test chooses, callbacks
//! that must come in order and one at a time, and the service's own answers. The cases are of our own making, in the
//! harness's groups: parsing, BOM, comments, line ends, HTTP, reconnecting.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod http;
mod line_ends;
mod parsing;
mod reconnection;
mod service;
mod world;
