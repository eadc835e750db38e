//! The beginning of an answer at the end of a history, which some models refuse to continue.

use serde_json::value::RawValue;

use crate::stream::{Member, TopLevel, json::ArrayWriter};

/// The turns with `turn` behind them, if the last one is the assistant's and calls no tool; `calls` is the field or the
/// type of a block with a call.
pub(super) fn answered(turns: &[u8], calls: &str, turn: &str) -> Option<Vec<u8>> {
    let turns: Vec<&RawValue> = serde_json::from_slice(turns).ok()?;
    let last = TopLevel::scan(turns.last()?.get().as_bytes()).ok()?;
    let is_answer = last.get("role").and_then(Member::as_str).as_deref() == Some("assistant");
    let quoted = format!("\"{calls}\"");
    let has_calls = |content: &Member<'_>| memchr::memmem::find(content.value, quoted.as_bytes()).is_some();
    if !is_answer || last.get("content").is_some_and(has_calls) {
        return None;
    }
    let mut out = Vec::new();
    let mut answered = ArrayWriter::begin(&mut out);
    for turn in turns.iter().map(|turn| turn.get()).chain([turn]) {
        answered.element().extend_from_slice(turn.as_bytes());
    }
    answered.end();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_ends_in_text_is_answered() {
        let with = |turns: &str| answered(turns.as_bytes(), "tool_use", "7").map(|out| String::from_utf8(out).unwrap());
        let begun = r#"{"role":"assistant","content":"The"}"#;
        assert_eq!(with(&format!("[1,{begun}]")), Some(format!("[1,{begun},7]")));
        for other in [
            "[]",
            "{}",
            r#"[{"role":"user","content":"q"}]"#,
            r#"[{"role":"assistant","content":[{"type":"tool_use","id":"t"}]}]"#,
        ] {
            assert_eq!(with(other), None, "{other}");
        }
    }
}
