//! What must hold for any bytes: one function a target, which panics where something does not. The engine
//! (`fuzz/engine`) calls them with inputs that it steers by coverage, the tests here with a bounded number of
//! seeded ones.
//!
//! **Invariant:** a target depends on its input alone, so that what was found can be found again.

pub mod decode;
pub mod door;
pub mod input;
pub mod machine;
#[path = "../../crates/codec/tests/wire/model.rs"]
mod model;
pub mod resume;
pub mod round_trip;

/// A check of any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the names that the engine's programs have.
pub const TARGETS: [(&str, Target); 6] = [
    ("decode", decode::check),
    ("round_trip", round_trip::check),
    ("hostile_ids", machine::check_ids),
    ("machine", machine::check_operations),
    ("resume", resume::check),
    ("door", door::check),
];
