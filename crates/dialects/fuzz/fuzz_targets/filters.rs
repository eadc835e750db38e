//! The output of a stream's text filters does not depend on how the stream is split.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;
#[path = "../filters.rs"]
mod filters;

libfuzzer_sys::fuzz_target!(|input: &[u8]| filters::fuzz_filters(input));
