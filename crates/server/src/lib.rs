//! HTTP for a Tidings hub: publish, subscribe, history, and what an operator needs.
//!
//! Names no store: whoever builds a [`Server`] brings an open [`tidings_hub::Hub`]. Decides nothing about events
//! either; it parses at the door, asks the gate who it is, and hands on to the hub.
//!
//! ```no_run
//! # async fn run(hub: tidings_hub::Hub) -> Result<(), tidings_server::ServerError> {
//! use tidings_server::{Server, ServerConfig};
//! let server = Server::bind(ServerConfig::default(), hub)?;
//! println!("http://{}", server.local_addrs()[0]);
//! server.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod config;
pub mod counters;
pub mod drain;
pub mod front;
pub mod gate;
pub mod overload;
pub mod problem;
pub mod protocols;
pub mod server;

pub use app::App;
pub use config::{Descriptors, Overload, ServerConfig, TlsConfig};
pub use front::body::Payload;
pub use front::descriptors::{connections_available, raise_descriptor_limit};
pub use front::service::Service;
pub use gate::{Access, Admitted, Gate, GateConfig, GateConfigError};
pub use problem::{Kind, Problem};
pub use server::{Server, ServerError};
