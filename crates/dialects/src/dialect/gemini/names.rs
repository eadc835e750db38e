//! Names: keys in both spellings, finish reasons, generated ids.

use std::borrow::Cow;

use crate::conversation::{Finish, Text, safe_id};

/// A key in camelCase, from either spelling.
pub(super) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    Cow::Owned(camel)
}

/// Why an answer ended, as the conversation's reason. `content` is true if there is any: an answer that ended for an
/// unknown reason is treated as complete if it has content.
pub(super) fn finish(reason: Option<&Text<'_>>, calls: bool, content: bool) -> Finish {
    let Some(reason) = reason.map(Text::decode) else { return Finish::Stop.with_calls(calls) };
    match &*reason {
        "STOP" | "FINISH_REASON_UNSPECIFIED" => Finish::Stop.with_calls(calls),
        "MAX_TOKENS" | "CONTINUATION" => Finish::Length,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
            Finish::Filtered
        }
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Finish::Failed,
        image if image.starts_with("IMAGE_") => Finish::Filtered,
        _ if content => Finish::Stop.with_calls(calls),
        _ => Finish::Failed,
    }
}

/// Gemini's finish reason. Calls have none of their own.
pub(super) const fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "SAFETY",
        Finish::Failed => "OTHER",
    }
}

/// An id for a call that came without one. It must differ from those of other turns of the same conversation, and be
/// the same whenever the same reply is read: so it is derived from the reply's id, or from the call itself.
pub(super) fn call_id(reply: Option<&Text<'_>>, index: u64, name: &str, arguments: &str) -> String {
    let seed = match reply {
        Some(id) => format!("{}.{index}", id.decode()),
        None => format!("{name}.{index}.{arguments}"),
    };
    // The seed's dot is not alphanumeric, so only its hash remains.
    format!("call_{}", safe_id(&seed, 16, |b| b.is_ascii_alphanumeric()))
}
