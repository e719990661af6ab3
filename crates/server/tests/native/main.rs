//! The native surface over a real hub: what each request is answered, good and bad.

mod history;
mod publish;
mod store;
mod stream_in;
mod subscribe;
mod topics;
mod wire;
mod world;
