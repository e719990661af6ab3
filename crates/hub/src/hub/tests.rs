//! Stories of a hub in a small world: a store without a disk, a clock that is set by hand, peers that read bytes.

mod attack;
mod random;
mod stories;
mod stress;
mod world;
