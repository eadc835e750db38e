//! A request of any dialect is read or refused, and every request that is read can be written for every server.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::fuzz_requests(input));
