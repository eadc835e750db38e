//! Reads requests.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    client_tools, content,
    params::PARAMS,
    wire::{CacheControl, parse, parse_all, parse_noting, within},
};
use crate::{
    conversation::{
        Cache, Content, Effort, Format, HostedLimits, HostedTool, Invalid, Json, Message, Part, Reasoning, Request,
        Role, Text, Tool, ToolChoice, Unsupported, limit,
    },
    dialect::{
        fields,
        params::{self, Plain},
    },
    stream::{Member, TopLevel},
};

/// Values that can be stored only when all of the body has been read.
#[derive(Default)]
struct Pending<'a> {
    system: Vec<Part<'a>>,
    thinking: Option<Reasoning>,
    effort: Option<Effort>,
    cache: Option<Cache<'a>>,
}

/// Reads a request.
pub(super) fn read<'a>(body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
    let (mut request, mut pending) = (Request::default(), Pending::default());
    let mut met = false;
    for member in body.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        met |= name == "messages";
        read_member(&name, member, &mut request, &mut pending).map_err(within(&name))?;
    }
    if !met {
        return Err(Invalid::new("messages", "is required"));
    }
    choose_hosted(&mut request);
    if !pending.system.is_empty() {
        request.messages.insert(0, Message { role: Role::System, parts: pending.system });
    }
    request.reasoning = match pending.thinking {
        Some(thinking) if thinking.is_off() => Some(thinking),
        Some(thinking) => Some(Reasoning { effort: pending.effort, ..thinking }),
        None => {
            pending.effort.map(|effort| Reasoning { effort: Some(effort), effort_only: true, ..Reasoning::default() })
        }
    };
    if let Some(cache) = pending.cache {
        cache_last(&mut request, cache);
    }
    Ok(request)
}

/// A choice may name a tool that Anthropic runs.
fn choose_hosted(request: &mut Request<'_>) {
    if let Some(ToolChoice::Named(name)) = &request.tool_choice
        && request.tools.iter().all(|tool| tool.name != *name)
        && request.hosted.iter().any(|tool| tool.name == **name)
    {
        request.tool_choice = Some(ToolChoice::Hosted(name.clone().into_text()));
    }
}

/// A mark on the whole request applies to its last block.
fn cache_last<'a>(request: &mut Request<'a>, cache: Cache<'a>) {
    match request.messages.last_mut().and_then(|message| message.parts.last_mut()) {
        Some(part) if !matches!(part.content, Content::Thinking { .. } | Content::Redacted(_)) => {
            part.cache.get_or_insert(cache);
        }
        _ => request.dropped.add("cache_control"),
    }
}

fn read_member<'a>(
    name: &str,
    member: &'a Member<'_>,
    request: &mut Request<'a>,
    pending: &mut Pending<'a>,
) -> Result<(), Invalid> {
    let json = member.as_json();
    if params::read::<Plain>(PARAMS, name, member, String::new, request)? {
        return Ok(());
    }
    match name {
        "container" => {
            let message = "is stored at Anthropic, and this route's provider can't use it: leave it out";
            return Err(Invalid::new("", message));
        }
        // The model is resolved before, and the version concerns the connection to the gateway only.
        "model" | "anthropic_version" => {}
        "messages" => request.messages = messages(json, &mut request.dropped)?,
        "system" => {
            pending.system = content::parts(parse(json)?, &mut request.dropped)?;
        }
        "tools" => request.tools = tools(json, &mut request.hosted, &mut request.dropped)?,
        "tool_choice" => tool_choice(json, request)?,
        "stream" => request.stream = parse(json)?,
        "thinking" => pending.thinking = thinking(json, &mut request.dropped)?,
        "output_config" => output_config(json, request, pending)?,
        // The name of `output_config.format` while it was in beta.
        "output_format" => {
            let wire = parse_all(json, &mut request.dropped)?;
            request.format = format(wire, &mut request.dropped)?;
        }
        "metadata" => metadata(json, request)?,
        "cache_control" => {
            pending.cache = parse_all::<Option<CacheControl<'a>>>(json, &mut request.dropped)?.map(Cache::from);
        }
        _ => fields::record_unread(member, &mut request.dropped),
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireMessage<'a> {
    role: Option<Text<'a>>,
    content: Option<&'a RawValue>,
}

fn messages<'a>(json: &'a str, dropped: &mut Unsupported) -> Result<Vec<Message<'a>>, Invalid> {
    let wire: Vec<WireMessage<'a>> = parse_all(json, dropped)?;
    let mut messages = Vec::with_capacity(wire.len());
    for (index, message) in wire.into_iter().enumerate() {
        let read = message_of(message, dropped);
        messages.push(read.map_err(|invalid| within(format_args!("[{index}]"))(invalid))?);
    }
    Ok(messages)
}

fn message_of<'a>(wire: WireMessage<'a>, dropped: &mut Unsupported) -> Result<Message<'a>, Invalid> {
    let role = wire.role.ok_or_else(|| Invalid::new("role", "is required"))?;
    let role = match &*role.decode() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => return Err(Invalid::new("role", format!("'{other}' is no role"))),
    };
    let content = wire.content.ok_or_else(|| Invalid::new("content", "is required"))?;
    Ok(Message { role, parts: content::parts(content, dropped).map_err(within("content"))? })
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    input_schema: Option<Json<'a>>,
    strict: Option<bool>,
    cache_control: Option<CacheControl<'a>>,
    input_examples: Option<&'a RawValue>,
    /// All tools are offered at once.
    #[expect(dead_code, reason = "known, and of no consequence")]
    defer_loading: Option<bool>,
    allowed_callers: Option<Vec<Text<'a>>>,
    allowed_domains: Option<&'a RawValue>,
    blocked_domains: Option<&'a RawValue>,
    max_uses: Option<&'a RawValue>,
    user_location: Option<&'a RawValue>,
    display_width_px: Option<u64>,
    display_height_px: Option<u64>,
}

fn tools<'a>(
    json: &'a str,
    hosted: &mut Vec<HostedTool<'a>>,
    dropped: &mut Unsupported,
) -> Result<Vec<Tool<'a>>, Invalid> {
    let (wire, mut unknown) = parse_noting::<WireTool<'a>>(json)?;
    let mut tools = Vec::with_capacity(wire.len());
    for (index, tool) in wire.into_iter().enumerate() {
        let mut tool = tool;
        if let Some(kind) = tool.kind.take().filter(|kind| !kind.is("custom")) {
            unknown.discard(index);
            let screen = tool.display_width_px.zip(tool.display_height_px);
            let Some((description, schema)) = client_tools::definition(&kind.decode(), screen) else {
                let does = client_tools::hosted_kind(&kind.decode());
                let limits = HostedLimits {
                    allowed_domains: limit(tool.allowed_domains).unwrap_or_default(),
                    blocked_domains: limit(tool.blocked_domains).unwrap_or_default(),
                    max_uses: limit(tool.max_uses),
                    context_size: None,
                    location: limit(tool.user_location),
                    ..HostedLimits::default()
                };
                hosted.push(HostedTool { limits, ..HostedTool::new(does, tool.name.unwrap_or(kind)) });
                continue;
            };
            tool.description.get_or_insert(description);
            tool.input_schema.get_or_insert(schema);
        }
        let name = tool.name.ok_or_else(|| Invalid::new(format!("[{index}].name"), "is required"))?;
        if tool.input_schema.as_ref().is_some_and(|schema| !schema.is_object()) {
            return Err(Invalid::new(format!("[{index}].input_schema"), "must be an object"));
        }
        dropped.add_if(tool.input_examples.is_some(), "input_examples");
        let others = tool.allowed_callers.is_some_and(|by| by.iter().any(|by| !by.is("direct")));
        dropped.add_if(others, "allowed_callers");
        tools.push(Tool {
            name: name.into(),
            description: tool.description,
            schema: tool.input_schema,
            strict: tool.strict,
            cache: tool.cache_control.map(Cache::from),
        });
    }
    unknown.name(dropped);
    Ok(tools)
}

fn tool_choice<'a>(json: &'a str, request: &mut Request<'a>) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        #[serde(rename = "type")]
        kind: Option<Text<'a>>,
        name: Option<Text<'a>>,
        disable_parallel_tool_use: Option<bool>,
    }
    let wire: Wire<'a> = parse_all(json, &mut request.dropped)?;
    let kind = wire.kind.ok_or_else(|| Invalid::new("type", "is required"))?;
    request.tool_choice = Some(match &*kind.decode() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(wire.name.ok_or_else(|| Invalid::new("name", "is required"))?.into()),
        other => return Err(Invalid::new("type", format!("'{other}' is no choice"))),
    });
    if wire.disable_parallel_tool_use == Some(true) {
        request.parallel_tool_calls = Some(false);
    }
    Ok(())
}

fn thinking(json: &str, dropped: &mut Unsupported) -> Result<Option<Reasoning>, Invalid> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        #[serde(rename = "type")]
        kind: Option<Text<'a>>,
        budget_tokens: Option<u64>,
        display: Option<Text<'a>>,
    }
    let wire: Wire<'_> = parse_all(json, dropped)?;
    let kind = wire.kind.ok_or_else(|| Invalid::new("type", "is required"))?;
    // Reasoning is shown unless the client sets another display.
    let visible = Some(wire.display.is_none_or(|display| !display.is("omitted")));
    Ok(match &*kind.decode() {
        "enabled" => Some(Reasoning { budget: wire.budget_tokens, visible, ..Reasoning::default() }),
        "adaptive" | "between_tools" => Some(Reasoning { visible, ..Reasoning::default() }),
        "disabled" => Some(Reasoning { effort: Some(Effort::None), ..Reasoning::default() }),
        _ => {
            dropped.add("thinking");
            None
        }
    })
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireFormat<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    schema: Option<Json<'a>>,
}

fn format<'a>(wire: Option<WireFormat<'a>>, dropped: &mut Unsupported) -> Result<Option<Format<'a>>, Invalid> {
    let Some(wire) = wire else { return Ok(None) };
    if !wire.kind.is_some_and(|kind| kind.is("json_schema")) {
        dropped.add("response_format");
        return Ok(None);
    }
    match wire.schema {
        Some(schema) if schema.is_object() => {
            Ok(Some(Format::Schema { name: None, description: None, schema, strict: Some(true) }))
        }
        _ => Err(Invalid::new("schema", "must be an object")),
    }
}

fn output_config<'a>(json: &'a str, request: &mut Request<'a>, pending: &mut Pending<'a>) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        effort: Option<Text<'a>>,
        format: Option<WireFormat<'a>>,
    }
    let wire: Wire<'a> = parse_all(json, &mut request.dropped)?;
    if let Some(word) = wire.effort {
        pending.effort = Effort::parse(&word.decode());
        request.dropped.add_if(pending.effort.is_none(), "reasoning");
    }
    if let Some(format) = format(wire.format, &mut request.dropped).map_err(within("format"))? {
        request.format = Some(format);
    }
    Ok(())
}

fn metadata<'a>(json: &'a str, request: &mut Request<'a>) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        user_id: Option<Text<'a>>,
    }
    request.user = parse_all::<Wire<'a>>(json, &mut request.dropped)?.user_id;
    Ok(())
}
