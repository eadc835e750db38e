//! Our client of HTTP/1.1 and hyper's must read the same of any bytes. The first byte chooses the method, the next eight
//! where reads end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::upstream::differential;

fuzz_target!(|input: (u8, u64, &[u8])| {
    let (plan, cuts, wire) = input;
    differential::check(plan, cuts, wire);
});
