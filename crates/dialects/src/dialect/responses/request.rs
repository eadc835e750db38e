//! A client's request.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    content, hosted,
    params::PARAMS,
    tools::{self, Found},
    wire::{PASSED, STORED},
};
use crate::{
    conversation::{Content, Effort, Format, Invalid, Json, Message, Reasoning, Request, Role, Text, Unsupported},
    dialect::{
        fields::{parse_all, parse_member, record_unread},
        params::{self, Plain},
    },
    stream::{Member, TopLevel, ValueKind},
};

/// Reads a request.
pub(super) fn read<'a>(body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
    let mut reader = Reader::default();
    for member in body.members() {
        if !member.is_null() {
            reader.member(member)?;
        }
    }
    let Reader { mut request, instructions, input, choice } = reader;
    let Some(input) = input else { return Err(Invalid::new("input", "is required")) };
    let found = Found { hosted: &mut request.hosted, dropped: &mut request.dropped };
    let (history, more) = content::read(input.as_json(), input.kind, found)?;
    tools::merge(&mut request.tools, more);
    if let Some(choice) = choice {
        request.tool_choice = Some(tools::read_choice(choice, &mut request)?);
    }
    request.messages.reserve(history.len() + 1);
    if let Some(text) = instructions {
        request.messages.push(Message { role: Role::System, parts: vec![Content::text(text).into()] });
    }
    request.messages.extend(history);
    if request.sampling.top_logprobs.is_some_and(|n| n > 0) {
        // Other APIs refuse the number without the switch.
        request.sampling.logprobs = Some(true);
    }
    Ok(request)
}

/// State of reading a request. If a field comes twice, the last one counts.
#[derive(Default)]
struct Reader<'a> {
    request: Request<'a>,
    instructions: Option<Text<'a>>,
    input: Option<&'a Member<'a>>,
    /// Read when all tools are known.
    choice: Option<&'a Member<'a>>,
}

impl<'a> Reader<'a> {
    fn member(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let name = member.name();
        let request = &mut self.request;
        if params::read::<Plain>(PARAMS, &name, member, || name.clone().into_owned(), request)? {
            return Ok(());
        }
        match &*name {
            // The model is read elsewhere, and obfuscation is not needed.
            "model" | "stream_options" => {}
            "input" => self.input = Some(member),
            "instructions" => self.instructions = Some(parse_member(member)?),
            "tools" => {
                let found = &mut Found { hosted: &mut request.hosted, dropped: &mut request.dropped };
                request.tools = tools::read(member.as_json(), &|| name.clone().into_owned(), found)?;
            }
            "tool_choice" => self.choice = Some(member),
            "text" => self.text(member)?,
            "reasoning" => self.reasoning(member)?,
            "include" => self.include(member)?,
            "stream" => request.stream = parse_member(member)?,
            "user" => {
                let user = parse_member(member)?;
                request.user.get_or_insert(user);
            }
            // Values that are the default of other APIs too are not reported.
            "background" if member.kind == ValueKind::False => {}
            "truncation" if member.as_str().as_deref() == Some("disabled") => {}
            "previous_response_id" | "conversation" | "prompt" => return Err(Invalid::new(name, STORED)),
            "background" => {
                return Err(Invalid::new(name, "this route's provider answers at once only: leave it out"));
            }
            _ => record_unread(member, &mut request.dropped),
        }
        Ok(())
    }

    fn text(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let text: WireText<'a> = read_whole(member, &mut self.request.dropped)?;
        // `medium` is the default, which other dialects can't express.
        self.request.dropped.add_if(text.verbosity.is_some_and(|word| !word.is("medium")), "verbosity");
        let Some(format) = text.format else { return Ok(()) };
        let kind = format.kind.as_ref().map_or("text".into(), Text::decode);
        match &*kind {
            "text" => self.request.format = None,
            "json_object" => self.request.format = Some(Format::Json),
            "json_schema" => {
                let schema = format.schema.filter(Json::is_object);
                let Some(schema) = schema else { return Err(Invalid::new("text.format.schema", "must be an object")) };
                let (name, description, strict) = (format.name, format.description, format.strict);
                self.request.format = Some(Format::Schema { name, description, schema, strict });
            }
            _ => self.request.dropped.add("response_format"),
        }
        Ok(())
    }

    fn reasoning(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let wire: WireReasoning<'a> = read_whole(member, &mut self.request.dropped)?;
        let effort = wire.effort.as_ref().and_then(|word| Effort::parse(&word.decode()));
        let odd = effort.is_none() && wire.effort.is_some();
        let special = |word: Option<Text<'_>>, usual: &str| word.is_some_and(|word| !word.is(usual));
        let special = special(wire.mode, "standard") || special(wire.context, "auto");
        self.request.dropped.add_if(odd || special, "reasoning");
        let visible = (wire.summary.is_some() || wire.generate_summary.is_some()).then_some(true);
        if effort.is_some() || visible.is_some() {
            self.request.reasoning = Some(Reasoning { effort, visible, ..Reasoning::default() });
        }
        Ok(())
    }

    fn include(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let names: Vec<Text<'a>> = parse_member(member)?;
        for name in names {
            match &*name.decode() {
                "message.output_text.logprobs" => self.request.sampling.logprobs = Some(true),
                // Signatures are always carried. Items have the others wherever the tool is run, and where it is not,
                // the tool itself is reported.
                "reasoning.encrypted_content" | hosted::INCLUDE_SOURCES | hosted::INCLUDE_OUTPUTS => {}
                other => self.request.dropped.add(other.to_owned()),
            }
        }
        Ok(())
    }
}

/// A member's value, of which nothing is passed over without a name.
fn read_whole<'a, T: Deserialize<'a>>(member: &'a Member<'a>, dropped: &mut Unsupported) -> Result<T, Invalid> {
    parse_all(member.as_json(), || member.name().into_owned(), PASSED, dropped)
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireText<'a> {
    format: Option<WireFormat<'a>>,
    verbosity: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireFormat<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    schema: Option<Json<'a>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireReasoning<'a> {
    effort: Option<Text<'a>>,
    summary: Option<&'a RawValue>,
    generate_summary: Option<&'a RawValue>,
    mode: Option<Text<'a>>,
    context: Option<Text<'a>>,
}
