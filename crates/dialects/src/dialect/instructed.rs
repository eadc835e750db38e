//! JSON as the form of an answer by an instruction, where a server or a model has no other way.

use crate::conversation::{Content, Format, Message, Request, Role};

/// The instruction to answer in JSON, for servers that require the word in some message.
pub(super) const ASK_FOR_JSON: &str = "Answer with one JSON object and nothing else.";
/// The instruction to follow a schema, for servers that have no field for one.
pub(super) const ASK_FOR_SCHEMA: &str =
    "Answer with one JSON object and nothing else. It must follow this JSON Schema:\n";

/// Replaces the form of the answer by an instruction behind those at the beginning.
pub(super) fn instruct(request: &mut Request<'_>) {
    let text = match request.format.take() {
        None => return,
        Some(Format::Json) => ASK_FOR_JSON.to_owned(),
        Some(Format::Schema { schema, .. }) => format!("{ASK_FOR_SCHEMA}{}", schema.get()),
    };
    let place = request.messages.iter().take_while(|message| message.role == Role::System).count();
    let message = Message { role: Role::System, parts: vec![Content::text(text).into()] };
    request.messages.insert(place, message);
}
