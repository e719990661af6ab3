//! What tests of the whole house need: a simulated world, and the judge of what happened in it.
//!
//! Never published, never a dependency of anything but tests.

pub mod disk;
pub mod history;
