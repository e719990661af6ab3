//! The engine around `tidings_fuzz::machine::check_operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_fuzz::machine::check_operations(bytes));
