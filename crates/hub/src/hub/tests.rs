//! Stories of a hub in a small world: a store without a disk, a clock that is set by hand, peers that read bytes.

mod random;
mod stories;
mod world;
