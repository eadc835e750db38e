//! The tap finds the same at every split, and in a valid object what the scan finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_dialects::stream::tap::MAX_CAPTURE;
use tollgate_dialects::stream::{JsonTap, TopLevel};

const KEYS: &[&str] = &["usage", "model", "\\"];

fn tapped<'f>(frames: impl Iterator<Item = &'f [u8]>) -> (Vec<Option<Vec<u8>>>, bool, bool, u64) {
    let mut tap = JsonTap::new(KEYS);
    frames.for_each(|frame| tap.push(frame));
    let values = (0..KEYS.len()).map(|key| tap.value(key).map(<[u8]>::to_vec)).collect();
    (values, tap.complete(), tap.failed(), tap.elements())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (length, document) = input;
    let whole = tapped(std::iter::once(document));
    assert_eq!(tapped(document.chunks(usize::from(length).max(1))), whole);
    assert_eq!(tapped(document.chunks(1)), whole);
    let Ok(top) = TopLevel::scan(document) else { return };
    assert!(whole.1 && !whole.2, "an object is followed to its end");
    for (key, value) in KEYS.iter().zip(&whole.0) {
        let captured = top.all(key).filter(|member| member.value.len() <= MAX_CAPTURE).last();
        assert_eq!(captured.map(|member| member.value), value.as_deref());
    }
});
