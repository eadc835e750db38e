//! A stream of any dialect says the same however it is split, in a legal order, and so it does in every other.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::fuzz_events(input));
