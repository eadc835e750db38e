//! The order of messages, for servers that refuse a message of the user or the system after the result of a tool.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::write_content::ACKNOWLEDGED;
use crate::{
    conversation::Text,
    stream::{TopLevel, json::ArrayWriter},
};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
}

/// The messages of `body` with an assistant's message between each result and one of the user or the system; `None` if
/// there is no such place.
pub(super) fn answer_results(body: &TopLevel<'_>) -> Option<Vec<u8>> {
    let messages: Vec<&RawValue> = serde_json::from_slice(body.get("messages")?.value).ok()?;
    let is = |message: &RawValue, role: &str| {
        serde_json::from_str::<Message<'_>>(message.get()).is_ok_and(|message| message.role.is_some_and(|r| r.is(role)))
    };
    let mut out = Vec::new();
    let mut list = ArrayWriter::begin(&mut out);
    let (mut after_result, mut changed) = (false, false);
    for message in messages {
        if after_result && ["user", "system", "developer"].iter().any(|role| is(message, role)) {
            list.object().with("role", "assistant").with("content", ACKNOWLEDGED).end();
            changed = true;
        }
        after_result = is(message, "tool");
        list.element().extend_from_slice(message.get().as_bytes());
    }
    list.end();
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_a_users_message_behind_a_result_gets_an_answer_before_it() {
        let answered = |messages: &str| {
            let body = Bytes::from(format!(r#"{{"messages":{messages}}}"#));
            let top = TopLevel::scan(&body).unwrap();
            answer_results(&top).map(|out| String::from_utf8(out).unwrap())
        };
        let found = answered(
            r#"[{"role":"tool","content":"a"},{"role":"tool", "content":"b"},{"role":"user","content":"c"},{"role":"user"}]"#,
        );
        let expected = r#"[{"role":"tool","content":"a"},{"role":"tool", "content":"b"},{"role":"assistant","content":"ok"},{"role":"user","content":"c"},{"role":"user"}]"#;
        assert_eq!(found.as_deref(), Some(expected));
        let system = answered(r#"[{"role":"tool"},{"role":"system"}]"#).unwrap();
        assert!(system.contains("assistant"), "{system}");
        for same in
            [r#"[{"role":"tool"},{"role":"assistant"},{"role":"user"}]"#, "[]", "7", r#"["tool",{"role":"user"}]"#]
        {
            assert_eq!(answered(same), None, "{same}");
        }
    }
}
