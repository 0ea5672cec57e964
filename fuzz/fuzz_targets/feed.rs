//! The fuzzer's way into `entry::feed`, which the corpus test takes as well.

#![no_main]

#[path = "../../crates/wire/tests/it/entry.rs"]
#[expect(dead_code, reason = "each target has its own entry")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::feed(bytes));
