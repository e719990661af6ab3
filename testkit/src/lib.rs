//! What tests of the log need: a simulated disk that breaks whatever a real one does not promise.
//!
//! Never published, never a dependency of anything but tests. The judge of what readers saw is a crate of its own,
//! `tidings-history` (`testkit/history`).

pub mod disk;
