//! Reading requests.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    content::{self, Wrong},
    params::PARAMS,
    wire::{Block, Message as WireMessage, ServiceTier, parse},
};
use crate::{
    conversation::{
        Cache, Content, Effort, Format, HostedKind, HostedTool, Invalid, Json, Message, Reasoning, Request, Role, Text,
        Tool, ToolChoice, Unsupported,
    },
    dialect::{
        fields,
        params::{self, Plain},
    },
    stream::TopLevel,
};

/// The free-form field for settings that Converse itself does not have.
const ADDITIONAL: &str = "additionalModelRequestFields";

pub(super) fn read<'a>(body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
    let mut request = Request::default();
    let (mut system, mut messages) = (None, Vec::new());
    for member in body.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        match &*name {
            "messages" => messages = self::messages(member.value, &mut request.dropped)?,
            "system" => system = Some(self::system(member.value, &mut request.dropped)?),
            "inferenceConfig" => inference(member.value, &mut request)?,
            "toolConfig" => tools(parse(&name, member.value, &mut request.dropped)?, &mut request)?,
            ADDITIONAL => additional(member.value, &mut request)?,
            "outputConfig" => output(parse(&name, member.value, &mut request.dropped)?, &mut request)?,
            "requestMetadata" => {
                let metadata = object(&name, member.value, &mut request.dropped)?;
                request.metadata = Some(metadata).filter(|metadata| !metadata.is_empty_object());
            }
            "serviceTier" => {
                let tier: ServiceTier<'_> = parse(&name, member.value, &mut request.dropped)?;
                request.service_tier = tier.kind;
            }
            // It is in the URL; some clients repeat it.
            "modelId" => {}
            _ => fields::record_unread(member, &mut request.dropped),
        }
    }
    request.messages = system.into_iter().filter(|s| !s.parts.is_empty()).chain(messages).collect();
    Ok(request)
}

fn object<'a>(field: &str, value: &'a [u8], dropped: &mut Unsupported) -> Result<Json<'a>, Invalid> {
    let json: Json<'a> = parse(field, value, dropped)?;
    if json.is_object() { Ok(json) } else { Err(Invalid::new(field, "expected an object")) }
}

fn messages<'a>(value: &'a [u8], dropped: &mut Unsupported) -> Result<Vec<Message<'a>>, Invalid> {
    let wire: Vec<WireMessage<'a>> = parse("messages", value, dropped)?;
    let mut messages = Vec::with_capacity(wire.len());
    for (index, message) in wire.into_iter().enumerate() {
        let role = match message.role.as_ref().map(Text::decode).as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            _ => return Err(Invalid::new(format!("messages[{index}].role"), "expected user, assistant or system")),
        };
        let parts = parts(&format_args!("messages[{index}].content"), message.content.unwrap_or_default(), dropped)?;
        messages.push(Message { role, parts });
    }
    Ok(messages)
}

fn system<'a>(value: &'a [u8], dropped: &mut Unsupported) -> Result<Message<'a>, Invalid> {
    let parts = parts(&"system", parse("system", value, dropped)?, dropped)?;
    Ok(Message { role: Role::System, parts })
}

fn parts<'a>(
    list: &dyn std::fmt::Display,
    blocks: Vec<Block<'a>>,
    dropped: &mut Unsupported,
) -> Result<Vec<crate::conversation::Part<'a>>, Invalid> {
    let mut parts = content::parts(blocks, true, dropped)
        .map_err(|Wrong { block, field, message }| Invalid::new(format!("{list}[{block}].{field}"), message))?;
    for part in &mut parts {
        // The sources of an earlier answer are not sent to models.
        if let Content::Text { citations, .. } = &mut part.content {
            citations.clear();
        }
    }
    Ok(parts)
}

fn inference<'a>(value: &'a [u8], request: &mut Request<'a>) -> Result<(), Invalid> {
    let members = TopLevel::scan(value).map_err(|_| Invalid::new("inferenceConfig", "expected an object"))?;
    for member in members.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        if !params::read::<Plain>(PARAMS, &name, member, || format!("inferenceConfig.{name}"), request)? {
            fields::record_unread(member, &mut request.dropped);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ToolConfig<'a> {
    tools: Option<Vec<ToolEntry<'a>>>,
    tool_choice: Option<Choice<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ToolEntry<'a> {
    tool_spec: Option<ToolSpec<'a>>,
    cache_point: Option<super::wire::CachePoint<'a>>,
    system_tool: Option<Named<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ToolSpec<'a> {
    name: Text<'a>,
    description: Option<Text<'a>>,
    input_schema: Option<InputSchema<'a>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct InputSchema<'a> {
    #[serde(borrow)]
    json: Option<Json<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Choice<'a> {
    auto: Option<Json<'a>>,
    any: Option<Json<'a>>,
    tool: Option<Named<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

fn tools<'a>(wire: ToolConfig<'a>, request: &mut Request<'a>) -> Result<(), Invalid> {
    let mut tools: Vec<Tool<'a>> = Vec::new();
    for (index, entry) in wire.tools.unwrap_or_default().into_iter().enumerate() {
        if let Some(spec) = entry.tool_spec {
            let schema = spec.input_schema.and_then(|s| s.json);
            if schema.as_ref().is_some_and(|s| !s.is_object()) {
                let field = format!("toolConfig.tools[{index}].toolSpec.inputSchema.json");
                return Err(Invalid::new(field, "expected an object"));
            }
            let description = spec.description.filter(|d| !d.is_empty());
            tools.push(Tool { name: spec.name.into(), description, schema, strict: spec.strict, cache: None });
        } else if let Some(point) = entry.cache_point {
            match tools.last_mut() {
                Some(last) => last.cache = Some(Cache { ttl: point.ttl }),
                None => request.dropped.add("cachePoint"),
            }
        } else if let Some(tool) = entry.system_tool {
            let kind = match &*tool.name.decode() {
                "nova_grounding" => HostedKind::WebSearch,
                "nova_code_interpreter" => HostedKind::CodeExecution,
                _ => HostedKind::Other,
            };
            request.hosted.push(HostedTool::new(kind, tool.name));
        }
        // Any other kind of tool was reported when it was read.
    }
    request.tools = tools;
    // A choice in the additional fields, which Converse itself can't express, takes precedence.
    let said = request.tool_choice.take();
    request.tool_choice = said.or(wire.tool_choice.and_then(|choice| match choice {
        Choice { tool: Some(tool), .. } => Some(ToolChoice::Named(tool.name.into())),
        Choice { any: Some(_), .. } => Some(ToolChoice::Required),
        Choice { auto: Some(_), .. } => Some(ToolChoice::Auto),
        // The kind that it has instead was reported when it was read.
        Choice { .. } => None,
    }));
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Output<'a> {
    text_format: Option<TextFormat<'a>>,
    effort: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TextFormat<'a> {
    #[serde(borrow)]
    structure: Option<Structure<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'a> {
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

/// The schema is a string that holds JSON.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct JsonSchema<'a> {
    schema: Text<'a>,
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
}

fn output<'a>(wire: Output<'a>, request: &mut Request<'a>) -> Result<(), Invalid> {
    if let Some(effort) = wire.effort {
        self::effort(&effort, "outputConfig.effort", request);
    }
    let Some(format) = wire.text_format else { return Ok(()) };
    let Some(wire) = format.structure.and_then(|s| s.json_schema) else {
        request.dropped.add("outputConfig.textFormat");
        return Ok(());
    };
    let schema = RawValue::from_string(wire.schema.decode().into_owned()).ok().map(Json::from);
    let schema = schema.filter(Json::is_object).ok_or_else(|| {
        Invalid::new("outputConfig.textFormat.structure.jsonSchema.schema", "expected the text of a JSON object")
    })?;
    request.format =
        Some(Format::Schema { name: wire.name, description: wire.description, schema, strict: Some(true) });
    Ok(())
}

fn effort(word: &Text<'_>, field: &'static str, request: &mut Request<'_>) {
    match Effort::parse(&word.decode()) {
        Some(effort) => {
            let reasoning = request.reasoning.get_or_insert_default();
            // An effort does not turn thinking on again.
            reasoning.effort = reasoning.effort.filter(|e| *e == Effort::None).or(Some(effort));
        }
        None => request.dropped.add(field),
    }
}

/// Claude's `thinking`, also Nova's `reasoningConfig`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Thinking<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(rename = "budget_tokens")]
    budget_tokens: Option<u64>,
    display: Option<Text<'a>>,
    max_reasoning_effort: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct OutputConfig<'a> {
    effort: Option<Text<'a>>,
    format: Option<ClaudeFormat<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ClaudeFormat<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    schema: Option<Json<'a>>,
}

#[derive(Deserialize)]
struct ClaudeChoice<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NovaInference {
    top_k: Option<f64>,
}

/// Reads the settings for models of Anthropic, Amazon and OpenAI that are not Converse's own fields.
fn additional<'a>(value: &'a [u8], request: &mut Request<'a>) -> Result<(), Invalid> {
    let members = TopLevel::scan(value).map_err(|_| Invalid::new(ADDITIONAL, "expected an object"))?;
    for member in members.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        let field = format!("{ADDITIONAL}.{name}");
        match &*name {
            "top_k" => request.sampling.top_k = Some(parse(&field, member.value, &mut request.dropped)?),
            "inferenceConfig" => {
                request.sampling.top_k = parse::<NovaInference>(&field, member.value, &mut request.dropped)?.top_k;
            }
            // The second is an older name of the first.
            "thinking" | "reasoning_config" | "reasoningConfig" => {
                thinking(&parse(&field, member.value, &mut request.dropped)?, request);
            }
            "reasoning_effort" => {
                effort(&parse(&field, member.value, &mut request.dropped)?, "reasoning_effort", request);
                // The models that take it show their reasoning.
                if let Some(reasoning) = &mut request.reasoning {
                    reasoning.visible.get_or_insert(true);
                }
            }
            "reasoning" => {
                if let Some(word) = parse::<OutputConfig<'_>>(&field, member.value, &mut request.dropped)?.effort {
                    effort(&word, "reasoning", request);
                }
            }
            "output_config" => {
                let config: OutputConfig<'_> = parse(&field, member.value, &mut request.dropped)?;
                if let Some(word) = config.effort {
                    effort(&word, "output_config", request);
                    let thinks = ["thinking", "reasoning_config"].iter().any(|name| members.contains(name));
                    if let Some(reasoning) = request.reasoning.as_mut().filter(|_| !thinks) {
                        reasoning.effort_only = true;
                    }
                }
                let other =
                    |format: &ClaudeFormat<'_>| format.kind.as_ref().is_some_and(|kind| !kind.is("json_schema"));
                request.dropped.add_if(config.format.as_ref().is_some_and(other), "output_config");
                if let Some(schema) = config.format.and_then(|f| f.schema).filter(Json::is_object) {
                    request.format = Some(Format::Schema { name: None, description: None, schema, strict: Some(true) });
                }
            }
            "tool_choice" => {
                let choice: ClaudeChoice<'_> = parse(&field, member.value, &mut request.dropped)?;
                let alone = choice.disable_parallel_tool_use;
                request.parallel_tool_calls = alone.map(|alone| !alone).or(request.parallel_tool_calls);
                // Converse can't express `none`; the other values are in `toolConfig`, too.
                match choice.kind.as_ref().map(Text::decode).as_deref() {
                    Some("none") => request.tool_choice = Some(ToolChoice::None),
                    None | Some("auto") => {}
                    Some(_) => request.dropped.add(field),
                }
            }
            "anthropic_beta" => request.dropped.add("anthropic_beta"),
            _ => request.dropped.add(field),
        }
    }
    Ok(())
}

fn thinking(wire: &Thinking<'_>, request: &mut Request<'_>) {
    let reasoning: &mut Reasoning = request.reasoning.get_or_insert_default();
    if wire.kind.as_ref().is_some_and(|kind| kind.is("disabled")) {
        reasoning.effort = Some(Effort::None);
        return;
    }
    reasoning.budget = wire.budget_tokens.or(reasoning.budget);
    let word = wire.max_reasoning_effort.as_ref().map(Text::decode);
    reasoning.effort = word.and_then(|word| Effort::parse(&word)).or(reasoning.effort);
    // As in Messages: reasoning is shown unless the client sets another display. Nova's has no setting for it.
    reasoning.visible = Some(wire.display.as_ref().is_none_or(|display| !display.is("omitted")));
}
