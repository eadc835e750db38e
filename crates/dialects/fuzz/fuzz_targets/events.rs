//! A stream of any dialect gives the same events however it is split, in a legal order, also when it is translated.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::fuzz_events(input));
