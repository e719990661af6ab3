//! The engine around `tidings_fuzz::round_trip::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_fuzz::round_trip::check(bytes));
