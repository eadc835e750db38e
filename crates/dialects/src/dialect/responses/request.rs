//! A client's request.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    content,
    params::PARAMS,
    wire::{PASSED, STORED},
};
use crate::{
    conversation::{
        Content, Effort, Format, Invalid, Json, Message, Reasoning, Request, Role, Text, Tool, ToolChoice, Unsupported,
    },
    dialect::{
        fields::{parse, parse_all, parse_member, parse_noting, record_unread},
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
    let Reader { mut request, instructions, input } = reader;
    let Some(input) = input else { return Err(Invalid::new("input", "is required")) };
    let history = content::read(input.as_json(), input.kind, &mut request.dropped)?;
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
            "tools" => self.tools(member)?,
            "tool_choice" => self.tool_choice(member)?,
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

    fn tools(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let field = || member.name().into_owned();
        let (tools, mut unknown) = parse_noting::<Vec<WireTool<'a>>>(member.as_json(), field, PASSED)?;
        self.request.tools.clear();
        for (at, tool) in tools.into_iter().enumerate() {
            let kind = tool.kind.as_ref().map_or("function".into(), Text::decode);
            if kind != "function" {
                self.request.dropped.add(kind.into_owned());
                unknown.discard(at);
                continue;
            }
            let field = |name: &str| format!("tools[{at}].{name}");
            let Some(name) = tool.name else { return Err(Invalid::new(field("name"), "is required")) };
            let schema = tool.parameters.map(Json::from);
            if schema.as_ref().is_some_and(|schema| !schema.is_object()) {
                return Err(Invalid::new(field("parameters"), "must be an object"));
            }
            self.request
                .dropped
                .add_if(tool.allowed_callers.is_some_and(|by| by.iter().any(|by| !by.is("direct"))), "allowed_callers");
            let typed = |raw: Option<&'a RawValue>| raw.map(RawValue::get);
            let parse_strict = |json| parse(json, || field("strict"));
            self.request.tools.push(Tool {
                name: parse(name.get(), || field("name"))?,
                description: super::wire::text(tool.description, || field("description"))?,
                schema,
                strict: typed(tool.strict).map(parse_strict).transpose()?,
                cache: None,
            });
        }
        unknown.name(&mut self.request.dropped);
        Ok(())
    }

    fn tool_choice(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let request = &mut self.request;
        if let Some(word) = member.as_str() {
            request.tool_choice = Some(match &*word {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                _ => return Err(Invalid::new("tool_choice", "must be none, auto, required or an object")),
            });
            return Ok(());
        }
        let choice: WireChoice<'a> = read_whole(member, &mut request.dropped)?;
        let kind = choice.kind.as_ref().map_or("".into(), Text::decode);
        match (&*kind, choice.name) {
            ("function", Some(name)) => request.tool_choice = Some(ToolChoice::Named(name)),
            ("function", None) => return Err(Invalid::new("tool_choice.name", "is required")),
            ("allowed_tools", _) => {
                let functions =
                    choice.tools.into_iter().filter(|tool| tool.kind.as_ref().is_none_or(|kind| kind.is("function")));
                let names = functions.filter_map(|tool| tool.name).collect();
                let required = choice.mode.is_some_and(|mode| mode.is("required"));
                request.tool_choice = Some(ToolChoice::Allowed { names, required });
            }
            // A hosted tool, which has been left out itself.
            _ => request.dropped.add("tool_choice"),
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
            self.request.reasoning = Some(Reasoning { effort, budget: None, visible });
        }
        Ok(())
    }

    fn include(&mut self, member: &'a Member<'a>) -> Result<(), Invalid> {
        let names: Vec<Text<'a>> = parse_member(member)?;
        for name in names {
            match &*name.decode() {
                // Signatures are always carried.
                "reasoning.encrypted_content" => {}
                "message.output_text.logprobs" => self.request.sampling.logprobs = Some(true),
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

/// A tool. Hosted ones have fields of the same names and other types.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<&'a RawValue>,
    description: Option<&'a RawValue>,
    parameters: Option<&'a RawValue>,
    strict: Option<&'a RawValue>,
    allowed_callers: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireChoice<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
    mode: Option<Text<'a>>,
    #[serde(default)]
    tools: Vec<WireAllowed<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireAllowed<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
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
