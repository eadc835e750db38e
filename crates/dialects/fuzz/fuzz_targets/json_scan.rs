//! The scan accepts what `serde_json` accepts, finds the same fields, and splices keep a body valid.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tollgate_dialects::stream::{JsonErrorKind, Splice, TopLevel};

fuzz_target!(|body: &[u8]| {
    let reference = std::str::from_utf8(body)
        .ok()
        .and_then(|text| serde_json::from_str::<&RawValue>(text).ok())
        .filter(|raw| raw.get().starts_with('{'));
    let top = match TopLevel::scan(body) {
        Ok(top) => top,
        Err(error) => {
            let bound = matches!(error.kind, JsonErrorKind::TooDeep | JsonErrorKind::TooManyMembers);
            assert!(bound || reference.is_none(), "{error}");
            assert!(error.offset <= body.len());
            return;
        }
    };
    assert!(reference.is_some(), "accepted what serde_json refuses");
    for member in top.members() {
        let raw: &RawValue = serde_json::from_slice(member.value).expect("a member's value is JSON");
        assert_eq!(raw.get().as_bytes(), member.value, "a value is trimmed");
    }

    let body = Bytes::copy_from_slice(body);
    let mut splice = Splice::new(&top);
    splice.set("model", b"[\"new\"]");
    splice.remove("a");
    let after = splice.apply(&body);
    let spliced = TopLevel::scan(&after).expect("a spliced body is valid");
    assert_eq!(spliced.get("model").map(|member| member.value), Some(&b"[\"new\"]"[..]));
    assert!(!spliced.contains("a"));
    let others = |top: &TopLevel<'_>| -> Vec<Vec<u8>> {
        let other = top.members().iter().filter(|member| !member.is("model") && !member.is("a"));
        other.map(|member| [member.key.as_bytes(), b":", member.value].concat()).collect()
    };
    assert_eq!(others(&spliced), others(&top));
});
