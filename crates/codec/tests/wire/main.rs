//! The codec from outside: the shared vectors at every split, a second parser written straight from the
//! standard's text to compare with, and seeded random streams.

mod model;
mod random;
mod round_trip;
mod support;
mod vectors;
