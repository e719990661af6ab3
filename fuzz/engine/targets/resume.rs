//! The engine around `tidings_fuzz::resume::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_fuzz::resume::check(bytes));
