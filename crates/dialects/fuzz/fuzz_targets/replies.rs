//! A reply or an error of any dialect is read, and its translation is readable by every client.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::fuzz_replies(input));
