//! The beginning of a prompt: what stays the same from turn to turn of a conversation, and between conversations with
//! the same instructions. Providers keep what they have computed of a prompt for the next one that begins like it.

use super::{BodyKind, DialectId, SlotRole, TextKind, TextSlots, walk};
use crate::stream::TopLevel;

/// Bytes of a field that are looked at: what comes before its text, such as marks for caches, is small.
const MAX_LOOKED_AT: usize = 32 * 1024;
/// Bytes of text that count of each field. Providers cache from a thousand tokens on, which is four kilobytes, and half
/// of it distinguishes prompts: instructions differ at their beginning, and so do conversations.
pub const MAX_PREFIX: usize = 2 * 1024;

/// Passes the beginning of the prompt to `sink`, piece by piece. Returns whether there was any.
///
/// It is the client's own `prompt_cache_key`, in the dialects that have it. Without one it is the text of the
/// instructions, and then the text of the conversation up to the first answer of a model or result of a tool; of each
/// at most [`MAX_PREFIX`] bytes. Texts count as they are read, so escapes, spaces, the order of fields and marks for
/// caches make no difference.
pub fn prompt_prefix(dialect: DialectId, top: &TopLevel<'_>, sink: &mut dyn FnMut(&[u8])) -> bool {
    let slots = TextSlots::of(dialect);
    let key = slots.cache_key.and_then(|name| top.get(name)?.as_str());
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        sink(key.get(..key.floor_char_boundary(MAX_PREFIX)).unwrap_or(&key).as_bytes());
        return true;
    }
    let mut any = false;
    for field in slots.prompt {
        let mut left = MAX_PREFIX;
        let Some(member) = top.get(field) else { continue };
        let end = char_boundary(top.body(), member.span.end.min(member.span.start + MAX_LOOKED_AT));
        let table = slots.table(BodyKind::Request);
        let Ok(places) = walk::places_from(table, top, member.member.start..end) else { continue };
        for place in places {
            let role = table.rows().get(place.row).map(|row| row.role);
            if !matches!(role, Some(SlotRole::Delta | SlotRole::Repeat | SlotRole::Whole)) {
                continue;
            }
            if left == 0 || !matches!(place.block.kind, TextKind::System | TextKind::User) {
                break;
            }
            let text = walk::text(top.body().get(..end).unwrap_or_default(), place.range);
            let piece = text.as_bytes().get(..left).unwrap_or(text.as_bytes());
            sink(piece);
            left -= piece.len();
            any |= !piece.is_empty();
        }
    }
    any
}

/// The last position up to `at` that is not inside a character.
fn char_boundary(bytes: &[u8], mut at: usize) -> usize {
    while at > 0 && bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn prefix(dialect: DialectId, body: &Value) -> String {
        let body = body.to_string();
        let mut all = Vec::new();
        prompt_prefix(dialect, &TopLevel::scan(body.as_bytes()).unwrap(), &mut |piece| all.extend_from_slice(piece));
        String::from_utf8(all).unwrap()
    }

    /// The first and the second turn of a conversation, in every dialect.
    #[test]
    fn the_next_turn_begins_like_the_one_before() {
        let conversations = [
            (
                DialectId::Chat,
                json!({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]}),
                json!({"temperature": 1, "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                    {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]}),
            ),
            (
                DialectId::Messages,
                json!({"messages": [{"role": "user", "content": [
                    {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}], "system": "be brief"}),
                json!({"system": [{"type": "text", "text": "be brief"}], "messages": [
                    {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
                    {"role": "user", "content": "more"}]}),
            ),
            (
                DialectId::Responses,
                json!({"instructions": "be brief", "input": "hi"}),
                json!({"instructions": "be brief", "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
                    {"role": "user", "content": "more"}]}),
            ),
            (
                DialectId::Gemini,
                json!({"systemInstruction": {"parts": [{"text": "be brief"}]},
                    "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
                json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]},
                    {"role": "model", "parts": [{"text": "hello"}]}, {"role": "user", "parts": [{"text": "more"}]}],
                    "systemInstruction": {"parts": [{"text": "be brief"}]}}),
            ),
            (
                DialectId::Converse,
                json!({"system": [{"text": "be brief"}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
                json!({"system": [{"text": "be brief"}], "messages": [{"role": "user", "content": [{"text": "hi"}]},
                    {"role": "assistant", "content": [{"text": "hello"}]},
                    {"role": "user", "content": [{"text": "more"}]}]}),
            ),
        ];
        assert_eq!(conversations.len(), DialectId::ALL.len());
        for (dialect, first, second) in conversations {
            assert_eq!(prefix(dialect, &first), "be briefhi", "{dialect:?}");
            assert_eq!(prefix(dialect, &second), "be briefhi", "{dialect:?}");
        }
    }

    #[test]
    fn a_key_of_the_client_is_the_prefix() {
        let body =
            json!({"prompt_cache_key": "session-7", "messages": [{"role": "user", "content": "hi"}], "input": "hi"});
        assert_eq!(prefix(DialectId::Chat, &body), "session-7");
        assert_eq!(prefix(DialectId::Responses, &body), "session-7");
        assert_eq!(prefix(DialectId::Messages, &body), "hi", "the dialect has none");
        let body = json!({"prompt_cache_key": "", "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(prefix(DialectId::Chat, &body), "hi");
    }

    #[test]
    fn long_prompts_count_with_their_beginning_wherever_they_are_cut() {
        for long in ["word ".repeat(100_000), "\u{1F600}".repeat(100_000), "\"\\\n".repeat(100_000)] {
            let body = json!({"system": long, "messages": [{"role": "user", "content": long}]}).to_string();
            let (mut length, top) = (0, TopLevel::scan(body.as_bytes()).unwrap());
            assert!(prompt_prefix(DialectId::Messages, &top, &mut |piece| length += piece.len()));
            assert_eq!(length, 2 * MAX_PREFIX);
        }
    }

    #[test]
    fn there_may_be_no_prompt() {
        for body in [json!({}), json!({"messages": []}), json!({"messages": 3, "input": {}, "contents": null})] {
            for dialect in DialectId::ALL {
                assert_eq!(prefix(dialect, &body), "", "{dialect:?} {body}");
            }
        }
    }
}
