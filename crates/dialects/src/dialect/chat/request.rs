//! Reads a request, except its messages.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    content,
    params::PARAMS,
    wire::{self, PASSED},
};
use crate::{
    conversation::{
        Effort, Format, HostedKind, HostedLimits, HostedTool, ImageForm, Invalid, Json, Location, Reasoning, Request,
        Text, Tool, ToolChoice, ToolForm, ToolName, Unsupported,
        free_text::{self, TextFormat},
    },
    dialect::{
        fields::{parse_all, parse_member, parse_noting, record_unread},
        params::{self, Plain},
    },
    stream::{TopLevel, json::Member},
};

/// A tool, or a function of the older form.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    function: Option<WireDefinition<'a>>,
    custom: Option<WireCustom<'a>>,
    cache_control: Option<&'a RawValue>,
    /// Names of tools that a vendor runs.
    name: Option<Text<'a>>,
    server_label: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireDefinition<'a> {
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    parameters: Option<Json<'a>>,
    strict: Option<bool>,
}

/// A tool that takes free text.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireCustom<'a> {
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    format: Option<TextFormat<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireChoice<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    function: Option<Named<'a>>,
    custom: Option<Named<'a>>,
    allowed_tools: Option<Allowed<'a>>,
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Allowed<'a> {
    mode: Option<Text<'a>>,
    tools: Option<Vec<WireChoice<'a>>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireFormat<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    json_schema: Option<WireSchema<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireSchema<'a> {
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    schema: Option<Json<'a>>,
    strict: Option<bool>,
}

/// The known fields of `stream_options`.
#[derive(Deserialize)]
#[expect(dead_code, reason = "looked at elsewhere; here they are known")]
struct StreamOptions {
    include_usage: Option<IgnoredAny>,
    include_obfuscation: Option<IgnoredAny>,
}

/// The form of images, as `OpenRouter` has it.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireImages<'a> {
    aspect_ratio: Option<Text<'a>>,
    image_size: Option<Text<'a>>,
}

/// Values that are combined only when every field has been read.
#[derive(Default)]
struct Later<'a> {
    messages: bool,
    max_completion_tokens: Option<u64>,
    safety_identifier: Option<Text<'a>>,
    functions: Vec<Tool<'a>>,
    function_call: Option<ToolChoice<'a>>,
}

/// Reads a request.
///
/// # Errors
/// When a field that is required for the meaning can't be read.
pub(super) fn read<'a>(body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
    let (mut request, mut later) = (Request::default(), Later::default());
    let members: &'a [Member<'a>] = body.members();
    for member in members {
        let name = member.name();
        if member.is_null() {
            continue;
        }
        // A single text may be without brackets.
        if name == "stop" && member.value.starts_with(b"\"") {
            request.sampling.stop = vec![parse_member(member)?];
            continue;
        }
        let at = || name.clone().into_owned();
        if params::read::<Plain>(PARAMS, &name, member, at, &mut request)? || option(&mut request, &name, member)? {
            continue;
        }
        match &*name {
            "messages" => {
                later.messages = true;
                request.messages = content::read(member.as_json(), &mut request.dropped)?;
            }
            "max_completion_tokens" => later.max_completion_tokens = Some(parse_member(member)?),
            "safety_identifier" => later.safety_identifier = Some(parse_member(member)?),
            "functions" => later.functions = functions(member, &mut request.dropped)?,
            "function_call" => later.function_call = tool_choice(&mut request, &name, member)?,
            _ => record_unread(member, &mut request.dropped),
        }
    }
    if !later.messages || request.messages.is_empty() {
        return Err(Invalid::new("messages", "there must be at least one message"));
    }
    request.max_tokens = later.max_completion_tokens.or(request.max_tokens);
    // Both set the same field of the conversation: if they differ, one of them is lost.
    if let Some(other) = later.safety_identifier {
        let user = request.user.get_or_insert_with(|| other.clone());
        request.dropped.add_if(*user != other, "safety_identifier");
    }
    request.tools.extend(later.functions);
    request.tool_choice = request.tool_choice.take().or(later.function_call);
    Ok(request)
}

/// A member's value, of which nothing is passed over without a name.
fn whole<'a, T: Deserialize<'a>>(member: &Member<'a>, dropped: &mut Unsupported) -> Result<T, Invalid> {
    parse_all(member.as_json(), || member.name().into_owned(), PASSED, dropped)
}

/// Reads one of the settings that are more than a plain value; returns whether it was one.
fn option<'a>(request: &mut Request<'a>, name: &str, member: &Member<'a>) -> Result<bool, Invalid> {
    match name {
        // Read when the provider is chosen.
        "model" => {}
        "stream_options" => {
            // Read when the reply is written.
            whole::<StreamOptions>(member, &mut request.dropped)?;
        }
        "stream" => request.stream = parse_member(member)?,
        "tools" => request.tools = tools(request, member)?,
        "tool_choice" => request.tool_choice = tool_choice(request, name, member)?,
        "response_format" => request.format = format(member, &mut request.dropped)?,
        "reasoning_effort" => {
            let word: Text<'_> = parse_member(member)?;
            request.reasoning.get_or_insert_default().effort = Some(effort(&word, name)?);
        }
        "reasoning" => reasoning(request, member)?,
        "thinking" => thinking(request, member)?,
        "web_search_options" => request.hosted.push(search(member, name)),
        "modalities" => {
            let modalities: Vec<Text<'_>> = parse_member(member)?;
            if modalities.iter().any(|modality| modality.is("image")) {
                request.image_tool(name).name = Text::from(name.to_owned());
            }
            // Every model answers in text.
            let is_known = |modality: &Text<'_>| modality.is("text") || modality.is("image");
            request.dropped.add_if(!modalities.iter().all(is_known), "modalities");
        }
        "image_config" => {
            let WireImages { aspect_ratio, image_size } = whole(member, &mut request.dropped)?;
            request.image_tool(name).limits.image = ImageForm { aspect_ratio, size: image_size };
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A search. The object is a switch, whatever is in it.
fn search<'a>(member: &Member<'a>, name: &str) -> HostedTool<'a> {
    #[derive(Deserialize, Default)]
    #[serde(default, bound(deserialize = "'de: 'a"))]
    struct Options<'a> {
        search_context_size: Option<Text<'a>>,
        user_location: Option<User<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct User<'a> {
        approximate: Option<Location<'a>>,
    }
    let options: Options<'a> = serde_json::from_slice(member.value).unwrap_or_default();
    let location = options.user_location.and_then(|user| user.approximate);
    let limits = HostedLimits { context_size: options.search_context_size, location, ..HostedLimits::default() };
    HostedTool { limits, ..HostedTool::new(HostedKind::WebSearch, name.to_owned()) }
}

fn effort(word: &Text<'_>, field: &str) -> Result<Effort, Invalid> {
    let word = word.decode();
    Effort::parse(&word).ok_or_else(|| {
        Invalid::new(field, format!("'{word}' is none of none, minimal, low, medium, high, xhigh and max"))
    })
}

/// `OpenRouter`'s `reasoning`, which Ollama takes too.
fn reasoning(request: &mut Request<'_>, member: &Member<'_>) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        effort: Option<Text<'a>>,
        max_tokens: Option<u64>,
        enabled: Option<bool>,
        exclude: Option<bool>,
    }
    let wire: Wire<'_> = whole(member, &mut request.dropped)?;
    let reasoning = request.reasoning.get_or_insert_default();
    if let Some(word) = &wire.effort {
        reasoning.effort = Some(effort(word, "reasoning.effort")?);
    }
    if wire.enabled == Some(false) {
        reasoning.effort = Some(Effort::None);
    }
    reasoning.budget = wire.max_tokens.or(reasoning.budget);
    // It is shown unless the client excludes it.
    reasoning.visible = Some(wire.exclude != Some(true));
    Ok(())
}

/// `thinking` as Anthropic and `DeepSeek` write it.
fn thinking(request: &mut Request<'_>, member: &Member<'_>) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Text<'a>>,
        budget_tokens: Option<u64>,
        #[serde(borrow)]
        display: Option<Text<'a>>,
    }
    let wire: Wire<'_> = whole(member, &mut request.dropped)?;
    let reasoning = request.reasoning.get_or_insert_default();
    if wire.kind.is_some_and(|kind| kind.is("disabled")) {
        *reasoning = Reasoning { effort: Some(Effort::None), ..*reasoning };
    } else {
        reasoning.budget = wire.budget_tokens.or(reasoning.budget);
        // Reasoning is shown unless the client sets another display.
        reasoning.visible = Some(wire.display.is_none_or(|display| !display.is("omitted")));
    }
    Ok(())
}

fn tools<'a>(request: &mut Request<'a>, member: &Member<'a>) -> Result<Vec<Tool<'a>>, Invalid> {
    let (wire, mut unknown) =
        parse_noting::<Vec<WireTool<'a>>>(member.as_json(), || member.name().into_owned(), PASSED)?;
    let mut tools = Vec::with_capacity(wire.len());
    for (index, tool) in wire.into_iter().enumerate() {
        match (tool.kind, tool.function) {
            (Some(kind), _) if kind.is("custom") => {
                let missing = |field: &str| Invalid::new(format!("tools[{index}].custom{field}"), "is missing");
                tools.push(tool.custom.ok_or_else(|| missing(""))?.into_tool().ok_or_else(|| missing(".name"))?);
            }
            (Some(kind), _) if !kind.is("function") => {
                unknown.discard(index);
                let name = tool.name.or(tool.server_label).unwrap_or(kind);
                request.hosted.push(HostedTool::new(HostedKind::Other, name));
            }
            (_, Some(definition)) => {
                let mut made = definition.into_tool(|field| format!("tools[{index}].function.{field}"))?;
                made.cache = tool.cache_control.map(wire::cache);
                tools.push(made);
            }
            (_, None) => return Err(Invalid::new(format!("tools[{index}].function"), "is missing")),
        }
    }
    unknown.name(&mut request.dropped);
    Ok(tools)
}

/// `functions`, the older form of tools.
fn functions<'a>(member: &Member<'a>, dropped: &mut Unsupported) -> Result<Vec<Tool<'a>>, Invalid> {
    let wire: Vec<WireDefinition<'a>> = whole(member, dropped)?;
    let tool = |(index, definition): (usize, WireDefinition<'a>)| {
        definition.into_tool(|field| format!("functions[{index}].{field}"))
    };
    wire.into_iter().enumerate().map(tool).collect()
}

impl<'a> WireCustom<'a> {
    fn into_tool(self) -> Option<Tool<'a>> {
        let name = ToolName::of(ToolForm::Custom, self.name.filter(|name| !name.is_empty())?);
        let description = free_text::description(self.description, self.format);
        Some(Tool { name, description, schema: free_text::schema(), strict: None, cache: None })
    }
}

impl<'a> WireDefinition<'a> {
    fn into_tool(self, field: impl Fn(&str) -> String) -> Result<Tool<'a>, Invalid> {
        let Some(name) = self.name.filter(|name| !name.is_empty()) else {
            return Err(Invalid::new(field("name"), "is missing"));
        };
        if self.parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
            return Err(Invalid::new(field("parameters"), "must be an object"));
        }
        let description = self.description.filter(|text| !text.is_empty());
        Ok(Tool { name: name.into(), description, schema: self.parameters, strict: self.strict, cache: None })
    }
}

/// `tool_choice`, or the older `function_call`: a word or an object.
fn tool_choice<'a>(
    request: &mut Request<'a>,
    field: &str,
    member: &Member<'a>,
) -> Result<Option<ToolChoice<'a>>, Invalid> {
    if member.value.starts_with(b"\"") {
        let word: Text<'a> = parse_member(member)?;
        return match word.decode().as_ref() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            other => Err(Invalid::new(field, format!("'{other}' is none of auto, none and required"))),
        };
    }
    let wire: WireChoice<'a> = whole(member, &mut request.dropped)?;
    if let Some(allowed) = wire.allowed_tools {
        let names = allowed.tools.into_iter().flatten().filter_map(WireChoice::into_name).collect();
        let required = allowed.mode.is_some_and(|mode| mode.is("required"));
        return Ok(Some(ToolChoice::Allowed { names, required }));
    }
    if let Some(kind) = wire.kind.as_ref().filter(|kind| !kind.is("function") && !kind.is("custom")) {
        return Ok(Some(ToolChoice::Hosted(kind.clone())));
    }
    match wire.into_name() {
        Some(name) => Ok(Some(ToolChoice::Named(name))),
        None => Err(Invalid::new(format!("{field}.function.name"), "is missing")),
    }
}

impl<'a> WireChoice<'a> {
    fn into_name(self) -> Option<ToolName<'a>> {
        if let Some(name) = self.custom.and_then(|custom| custom.name) {
            return Some(ToolName::of(ToolForm::Custom, name));
        }
        self.function.and_then(|function| function.name).or(self.name).map(ToolName::from)
    }
}

fn format<'a>(member: &Member<'a>, dropped: &mut Unsupported) -> Result<Option<Format<'a>>, Invalid> {
    let wire: WireFormat<'a> = whole(member, dropped)?;
    let kind = wire.kind.as_ref().map(Text::decode).unwrap_or_default();
    match (&*kind, wire.json_schema) {
        ("text", _) => Ok(None),
        ("json_object", _) | ("json_schema", Some(WireSchema { schema: None, .. })) => Ok(Some(Format::Json)),
        ("json_schema", Some(WireSchema { name, description, schema: Some(schema), strict })) => {
            if !schema.is_object() {
                return Err(Invalid::new("response_format.json_schema.schema", "must be an object"));
            }
            Ok(Some(Format::Schema { name, description, schema, strict }))
        }
        ("json_schema", None) => Err(Invalid::new("response_format.json_schema", "is missing")),
        (other, _) => {
            Err(Invalid::new("response_format.type", format!("'{other}' is none of text, json_object and json_schema")))
        }
    }
}
