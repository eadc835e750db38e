//! `stream_options`: whether a stream ends with its usage.

use bytes::Bytes;

use crate::stream::{Member, Splice, TopLevel};

/// Whether the client requested a chunk with usage.
pub(super) fn requests_usage(body: &TopLevel<'_>) -> bool {
    let options = body.get("stream_options").and_then(|member| TopLevel::scan(member.value).ok());
    options.is_some_and(|options| includes_usage(&options))
}

fn includes_usage(options: &TopLevel<'_>) -> bool {
    options.get("include_usage").and_then(Member::as_bool) == Some(true)
}

/// The value of `stream_options` that also requests usage; `None` when the client's own does so already.
pub(super) fn with_usage(body: &TopLevel<'_>) -> Option<Vec<u8>> {
    let fresh = || Some(br#"{"include_usage":true}"#.to_vec());
    let Some(written) = body.get("stream_options") else { return fresh() };
    // A value that is not an object is the client's error, and the provider reports it.
    let Ok(options) = TopLevel::scan(written.value) else {
        return if written.value == b"null" { fresh() } else { None };
    };
    if includes_usage(&options) {
        return None;
    }
    let raw = Bytes::copy_from_slice(written.value);
    let mut splice = Splice::new(&options);
    splice.set("include_usage", b"true".as_slice());
    Some(splice.apply(&raw).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_asked_for_where_the_client_does_not() {
        for (body, expected) in [
            (r#"{"a":1}"#, Some(r#"{"include_usage":true}"#)),
            (r#"{"stream_options":null}"#, Some(r#"{"include_usage":true}"#)),
            (r#"{"stream_options":{"include_usage":true}}"#, None),
            (r#"{"stream_options":{"include_usage":false}}"#, Some(r#"{"include_usage":true}"#)),
            (r#"{"stream_options":7}"#, None),
        ] {
            let top = TopLevel::scan(body.as_bytes()).unwrap();
            let made = with_usage(&top).map(|v| String::from_utf8(v).unwrap());
            assert_eq!(made.as_deref(), expected, "{body}");
        }
        let top = TopLevel::scan(br#"{"stream_options":{"include_obfuscation":false}}"#).unwrap();
        let made: serde_json::Value = serde_json::from_slice(&with_usage(&top).unwrap()).unwrap();
        assert_eq!(made, serde_json::json!({"include_obfuscation": false, "include_usage": true}));
    }
}
