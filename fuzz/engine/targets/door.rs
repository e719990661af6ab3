//! The engine around `tidings_fuzz::door::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_fuzz::door::check(bytes));
