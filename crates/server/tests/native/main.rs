//! The native surface over a real hub: what each request is answered, good and bad.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod history;
mod producers;
mod publish;
mod store;
mod stream_in;
mod subscribe;
mod topics;
mod wire;
mod world;
