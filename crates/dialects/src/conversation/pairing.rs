//! Calls and their results, which every provider requires in pairs: one result for each call, right after it.

use std::{borrow::Cow, collections::HashMap};

use super::{Call, Content, Message, Part, Role, Text, ToolName, ToolResult};

/// The text of the result of a call that was never answered.
const NO_RESULT: &str = "(no result)";

/// Calls that have no result yet, by id: the number of calls, and the tool's name.
type Open<'p, 'a> = HashMap<Cow<'p, str>, (usize, &'p ToolName<'a>)>;

/// `messages` with one result for each call, before the next answer.
///
/// A call without a result gets a placeholder; a result without a call becomes text of the user. Answers between a call
/// and its result are joined with that of the call.
pub fn paired<'r, 'a>(messages: &'r [Message<'a>]) -> Cow<'r, [Message<'a>]> {
    if are_paired(messages) { Cow::Borrowed(messages) } else { Cow::Owned(pair(messages)) }
}

fn are_paired(messages: &[Message<'_>]) -> bool {
    let mut open = Open::new();
    for message in messages {
        if message.role == Role::Assistant {
            if !open.is_empty() {
                return false;
            }
            open_calls(&message.parts, &mut open);
        } else if !results(&message.parts).all(|result| close(result, &mut open)) {
            return false;
        }
    }
    open.is_empty()
}

fn pair<'a>(messages: &[Message<'a>]) -> Vec<Message<'a>> {
    let mut out: Vec<Message<'a>> = Vec::with_capacity(messages.len() + 1);
    let mut open = Open::new();
    // Where the results of the last calls begin.
    let mut place = 0;
    for message in messages {
        if message.role != Role::Assistant {
            let parts = message.parts.iter().flat_map(|part| match &part.content {
                Content::Result(result) if !close(result, &mut open) => as_text(result),
                _ => vec![part.clone()],
            });
            let parts = parts.collect();
            out.push(Message { role: message.role, parts });
            continue;
        }
        match out.last_mut() {
            Some(last) if last.role == Role::Assistant && !open.is_empty() => {
                last.parts.extend_from_slice(&message.parts);
            }
            _ => {
                add_missing(&mut open, place, &mut out);
                out.push(message.clone());
                place = out.len();
            }
        }
        open_calls(&message.parts, &mut open);
    }
    add_missing(&mut open, place, &mut out);
    out
}

fn open_calls<'p, 'a>(parts: &'p [Part<'a>], open: &mut Open<'p, 'a>) {
    for part in parts {
        if let Content::Call(Call { id, name, .. }) = &part.content {
            open.entry(id.decode()).or_insert((0, name)).0 += 1;
        }
    }
}

fn results<'p, 'a>(parts: &'p [Part<'a>]) -> impl Iterator<Item = &'p ToolResult<'a>> {
    parts.iter().filter_map(|part| if let Content::Result(result) = &part.content { Some(result) } else { None })
}

/// Whether a call has waited for this result. It no longer does.
fn close(result: &ToolResult<'_>, open: &mut Open<'_, '_>) -> bool {
    let id = result.id.decode();
    let Some((calls, _)) = open.get_mut(&*id) else { return false };
    *calls -= 1;
    if *calls == 0 {
        open.remove(&*id);
    }
    true
}

/// Adds results of the calls that have none, at `place`.
fn add_missing<'a>(open: &mut Open<'_, 'a>, place: usize, out: &mut Vec<Message<'a>>) {
    let mut missing: Vec<_> = open.drain().collect();
    if missing.is_empty() {
        return;
    }
    // The order of a table is not the same each time.
    missing.sort_by(|(a, _), (b, _)| a.cmp(b));
    let parts = missing
        .iter()
        .flat_map(|(id, (calls, name))| (0..*calls).map(|_| no_result(id, (*name).clone(), false).into()));
    out.insert(place, Message { role: Role::User, parts: parts.collect() });
}

/// The result of a call that was never answered; `failed` where a target can be shown that.
pub(super) fn no_result<'a>(id: &str, name: ToolName<'a>, failed: bool) -> Content<'a> {
    Content::Result(ToolResult {
        id: Text::from(id.to_owned()),
        name: Some(name),
        parts: vec![Content::text(NO_RESULT).into()],
        failed,
    })
}

/// A result without its call, as text of the user.
pub(super) fn as_text<'a>(result: &ToolResult<'a>) -> Vec<Part<'a>> {
    let head = format!("Result of the tool call {}:", result.id.decode());
    std::iter::once(Content::text(head).into()).chain(result.parts.iter().filter(|p| !is_blank(p)).cloned()).collect()
}

/// Whether it is a text of nothing but white space.
pub(super) fn is_blank(part: &Part<'_>) -> bool {
    matches!(&part.content, Content::Text { text, signature: None, .. } if text.is_blank())
}
