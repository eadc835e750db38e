//! Frames of an AWS event stream do not depend on the split, and no bytes break their reader.
#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::fuzz_aws_frames(input));
