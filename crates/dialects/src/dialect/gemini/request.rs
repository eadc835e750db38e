//! Reads a request.

use super::{
    config,
    content::Contents,
    names::camel,
    tools,
    wire::{self, Many},
};
use crate::{
    conversation::{Content, Invalid, Message, Request, Role, Text, Unsupported},
    dialect::fields,
    stream::{Member, TopLevel, ValueKind},
};

/// Reads a request.
///
/// # Errors
/// When a field that is required for the meaning can't be read.
pub(super) fn read<'a>(body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
    let mut request = Request::default();
    let (mut system, mut contents) = (None, None);
    for member in body.members() {
        if member.is_null() {
            continue;
        }
        let name = member.name();
        match &*camel(&name) {
            "contents" => {
                let list: Many<wire::Content<'a>> = wire::whole("", member, &mut request.dropped)?;
                contents = Some(list.0);
            }
            "systemInstruction" => system = Some(member),
            "tools" => request.tools = tools::read(member, &mut request.hosted, &mut request.dropped)?,
            "toolConfig" => request.tool_choice = tools::read_choice(member, &mut request.dropped)?,
            "generationConfig" => config::read(member, &mut request)?,
            "serviceTier" => request.service_tier = Some(wire::value("", member)?),
            // The URL has the model.
            "model" => {}
            "cachedContent" => {
                let message =
                    "it is stored at Google, and this route's provider can't read it: send the whole conversation";
                return Err(Invalid::new(name, message));
            }
            _ => fields::record_unread(member, &mut request.dropped),
        }
    }
    let contents = contents.ok_or_else(|| Invalid::new("contents", "is required"))?;
    let mut reader = Contents::default();
    let instructions = system.map(|member| read_system(member, &mut reader, &mut request.dropped)).transpose()?;
    request.messages = reader.messages(contents)?;
    if let Some(instructions) = instructions {
        request.messages.insert(0, instructions);
    }
    request.dropped.extend(&reader.into_dropped());
    Ok(request)
}

/// Instructions: a text, or a message whose role does not matter.
fn read_system<'a>(
    member: &Member<'a>,
    reader: &mut Contents<'a>,
    dropped: &mut Unsupported,
) -> Result<Message<'a>, Invalid> {
    if member.kind == ValueKind::String {
        let text: Text<'a> = wire::value("", member)?;
        return Ok(Message { role: Role::System, parts: vec![Content::text(text).into()] });
    }
    reader.system(wire::whole("", member, dropped)?)
}
