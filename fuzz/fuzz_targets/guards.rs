//! A text must be masked alike as a whole and in pieces. The number chooses where it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_guards::differential;

fuzz_target!(|input: (u64, &str)| {
    let (cuts, text) = input;
    differential::check(text, cuts);
});
