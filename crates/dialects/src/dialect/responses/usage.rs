//! The end of a stream, and the usage that comes with it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{Progress, chat::usage::read};

/// The fields of an event that concern usage and end.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    response: Option<ResponseHead<'a>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ResponseHead<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Whether an event of this type has the response in its final state.
pub(super) fn is_last(kind: &str) -> bool {
    matches!(kind, "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled")
}

/// Reads an event. A stream ends with the response in its final state, or with an error.
pub(super) fn read_progress(data: &[u8]) -> Option<Progress> {
    let Event { kind, response, error } = serde_json::from_slice(data).ok()?;
    if kind.is_none() && error.is_none() {
        return None;
    }
    let failed = kind.as_deref().is_some_and(|kind| matches!(kind, "response.failed" | "error")) || error.is_some();
    let ends = kind.as_deref().is_some_and(is_last) || failed;
    let (model, usage) = response.map_or((None, None), |response| (response.model, response.usage));
    let usage = usage.and_then(|raw| read(raw.get()));
    Some(Progress { ends, failed, usage, model: model.map(Cow::into_owned), ..Progress::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_their_end() {
        let terminal = |data: &str| read_progress(data.as_bytes()).unwrap().ends;
        assert!(terminal(r#"{"type":"response.completed","response":{"model":"m"}}"#));
        assert!(terminal(r#"{"error":{"message":"boom"}}"#));
        assert!(!terminal(r#"{"type":"response.output_text.delta","delta":"a"}"#));
    }
}
