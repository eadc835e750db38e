//! A request for a provider.

use super::{HOME, Responses, hosted, images, params::PARAMS, write_content};
use crate::{
    conversation::{
        Content, Effort, Format, HostedKind, HostedTool, Invalid, Message, Reasoning, Request, Role, Text, Tool,
        ToolChoice, Unsupported, ends_in_prefill, paired, safe_id,
    },
    dialect::{Destination, Dialect, SamplingFacts, Thinking, params::Writer as ParamWriter, schema::openai},
    stream::json::ObjectWriter,
};

/// Longest name of a schema.
const MAX_NAME: usize = 64;

/// Appends a request.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let mut top = ObjectWriter::begin(out).with("model", to.model);
    let messages = paired(&request.messages);
    let mut input_messages = &*messages;
    let of_client = |message: &Message<'_>| message.role != Role::System;
    let joined = !to.quirks.later_instructions && input_messages.iter().any(of_client);
    if joined {
        top.maybe("instructions", all_instructions(input_messages, dropped).as_ref());
    } else {
        let (instructions, others) = first_instructions(input_messages);
        top.maybe("instructions", instructions);
        input_messages = others;
    }
    let mut input = top.array("input");
    let sent = input_messages.iter().filter(|message| !joined || of_client(message));
    write_content::write(sent, to, dropped, &mut input);
    dropped.add_if(ends_in_prefill(input_messages), "prefill");
    if input.is_empty() {
        return Err(Invalid::new("messages", "there is no message with anything in it"));
    }
    input.end();
    // The gateway does not have requests stored: the client holds the conversation.
    top.field("store", &false);
    if request.stream {
        top.field("stream", &true);
    }
    tools(request, to, dropped, &mut top);
    if let Some(format) = &request.format {
        write_format(format, dropped, &mut top);
    }
    let thinks = reasoning(request.reasoning, to, dropped, &mut top);
    let quirks = to.quirks.responses.params;
    let params = ParamWriter { table: PARAMS, quirks, request, sampling: to.facts.sampling };
    if to.facts.sampling == SamplingFacts::None {
        // Unlike in other dialects the default is reported, too: OpenAI refuses the parameter by its name.
        dropped.add_if(request.sampling.temperature.is_some(), "temperature");
        dropped.add_if(request.sampling.top_p.is_some(), "top_p");
    }
    params.sampling(&mut top, dropped);
    include(request, to, thinks, &mut top);
    params.account(&mut top, dropped);
    top.end();
    Ok(())
}

/// The first message's instructions, if another message follows it. Later instructions keep their place in the
/// conversation.
fn first_instructions<'r, 'a>(messages: &'r [Message<'a>]) -> (Option<&'r Text<'a>>, &'r [Message<'a>]) {
    if let [first, rest @ ..] = messages
        && first.role == Role::System
        && let [part] = first.parts.as_slice()
        && part.cache.is_none()
        && let Content::Text { text, .. } = &part.content
        && !rest.is_empty()
    {
        return (Some(text), rest);
    }
    (None, messages)
}

/// All instructions as one text, for servers that accept them at the beginning only.
fn all_instructions<'r>(messages: &'r [Message<'_>], dropped: &mut Unsupported) -> Option<Text<'r>> {
    let mut texts = Vec::new();
    for part in messages.iter().filter(|message| message.role == Role::System).flat_map(|message| &message.parts) {
        dropped.add_if(part.cache.is_some(), "cache_control");
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) if !text.is_blank() => texts.push(text.reborrow()),
            Content::Media(media) => dropped.add(media.kind.as_str()),
            _ => {}
        }
    }
    (!texts.is_empty()).then(|| Text::join(texts, "\n\n"))
}

fn tools(request: &Request<'_>, to: &Destination<'_>, dropped: &mut Unsupported, top: &mut ObjectWriter<'_>) {
    let hosted = request.hosted_by(|kind| Responses.runs(kind, request, to));
    if request.tools.is_empty() && hosted.is_empty() {
        let asked = !matches!(request.tool_choice, None | Some(ToolChoice::Auto | ToolChoice::None));
        dropped.add_if(asked, "tool_choice");
        return;
    }
    let mut tools = top.array("tools");
    for tool in &request.tools {
        dropped.add_if(tool.cache.is_some(), "cache_control");
        write_tool(tool, dropped, tools.object());
    }
    for tool in &hosted {
        write_hosted(tool, dropped, tools.object());
    }
    tools.end();
    // It counts the calls of all tools that OpenAI runs.
    top.maybe("max_tool_calls", hosted.iter().filter_map(|tool| tool.limits.max_uses).max().as_ref());
    if let Some(choice) = &request.tool_choice {
        write_choice(choice, &hosted, request.tools.is_empty(), top);
    }
    top.maybe("parallel_tool_calls", request.parallel_tool_calls.as_ref());
}

fn write_tool(tool: &Tool<'_>, dropped: &mut Unsupported, mut object: ObjectWriter<'_>) {
    object.field("type", "function");
    object.field("name", &tool.name);
    object.maybe("description", tool.description.as_ref().filter(|text| !text.is_empty()));
    let strict = openai::write_tool(tool.schema.as_ref(), tool.strict, dropped, object.key("parameters"));
    // Responses treats every tool as strict by default, which no other API does.
    object.field("strict", &strict.unwrap_or(false));
}

/// The type of OpenAI's tool.
const fn hosted_type(kind: HostedKind) -> &'static str {
    match kind {
        HostedKind::CodeExecution => "code_interpreter",
        HostedKind::ImageGeneration => "image_generation",
        HostedKind::WebSearch | HostedKind::UrlFetch | HostedKind::Other => "web_search",
    }
}

fn write_hosted(tool: &HostedTool<'_>, dropped: &mut Unsupported, mut object: ObjectWriter<'_>) {
    let limits = &tool.limits;
    object.field("type", hosted_type(tool.kind));
    if tool.kind == HostedKind::CodeExecution {
        object.object("container").with("type", "auto").end();
    }
    if let Some(ratio) = &limits.image.aspect_ratio {
        let (size, exact) = images::size(ratio);
        object.field("size", size);
        dropped.add_if(!exact, "aspect_ratio");
    }
    dropped.add_if(limits.image.size.is_some(), "image_size");
    if !limits.allowed_domains.is_empty() {
        object.object("filters").with("allowed_domains", limits.allowed_domains.as_slice()).end();
    }
    dropped.add_if(!limits.blocked_domains.is_empty(), "blocked_domains");
    object.maybe("search_context_size", limits.context_size.as_ref());
    if let Some(location) = &limits.location {
        location.write(object.object("user_location").with("type", "approximate"));
    }
}

/// Writes the choice. `alone` is true if all tools are OpenAI's own.
fn write_choice(choice: &ToolChoice<'_>, hosted: &[&HostedTool<'_>], alone: bool, top: &mut ObjectWriter<'_>) {
    match choice {
        ToolChoice::Hosted(name) => match hosted.iter().find(|tool| tool.name == *name) {
            Some(_) if alone && hosted.len() == 1 => top.field("tool_choice", "required"),
            Some(tool) => {
                let mut object = top.object("tool_choice").with("type", "allowed_tools").with("mode", "required");
                object.array("tools").object().with("type", hosted_type(tool.kind)).end();
            }
            None => top.field("tool_choice", "auto"),
        },
        ToolChoice::Auto => top.field("tool_choice", "auto"),
        ToolChoice::None => top.field("tool_choice", "none"),
        ToolChoice::Required => top.field("tool_choice", "required"),
        ToolChoice::Named(name) => {
            top.object("tool_choice").with("type", "function").with("name", name);
        }
        ToolChoice::Allowed { names, required } => {
            let mut object = top.object("tool_choice").with("type", "allowed_tools");
            object.field("mode", if *required { "required" } else { "auto" });
            let mut tools = object.array("tools");
            for name in names {
                tools.object().with("type", "function").with("name", name);
            }
        }
    }
}

fn write_format(format: &Format<'_>, dropped: &mut Unsupported, top: &mut ObjectWriter<'_>) {
    let mut text = top.object("text");
    let mut object = text.object("format");
    match format {
        Format::Json => object.field("type", "json_object"),
        Format::Schema { name, description, schema, strict } => {
            object.field("type", "json_schema");
            let name = name.as_ref().map_or("response".into(), Text::decode);
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            object.field("name", &*safe_id(&name, MAX_NAME, fits));
            object.maybe("description", description.as_ref());
            let strict = openai::write_answer(schema, *strict, dropped, object.key("schema"));
            object.maybe("strict", strict.as_ref());
        }
    }
}

/// Writes the settings of reasoning, and returns whether the model reasons.
fn reasoning(
    asked: Option<Reasoning>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    top: &mut ObjectWriter<'_>,
) -> bool {
    if to.facts.thinking != Thinking::Effort {
        dropped.add_if(asked.is_some_and(|asked| !asked.is_off()), "reasoning");
        return false;
    }
    // These models reason unless that is turned off.
    let Some(asked) = asked else { return true };
    let wanted = if asked.is_off() { Some(Effort::None) } else { asked.effort_or_budget() };
    let effort = wanted.map(|effort| to.facts.efforts_in_responses.nearest(effort));
    dropped.add_if(effort != wanted, "reasoning");
    let summary = (asked.visible == Some(true) && !asked.is_off()).then_some("auto");
    if effort.is_some() || summary.is_some() {
        top.object("reasoning").with_maybe("effort", effort.map(Effort::as_str)).with_maybe("summary", summary);
    }
    !asked.is_off()
}

/// Requests the parts of a reply that it does not contain by default.
fn include(request: &Request<'_>, to: &Destination<'_>, thinks: bool, top: &mut ObjectWriter<'_>) {
    let logprobs = request.sampling.logprobs == Some(true) && to.facts.sampling != SamplingFacts::None;
    let signed = || {
        request.messages.iter().flat_map(|message| &message.parts).any(|part| match &part.content {
            Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature) => {
                signature.maker == HOME
            }
            _ => false,
        })
    };
    let runs = |kind| Responses.runs(kind, request, to) && request.hosted.iter().any(|tool| tool.kind == kind);
    let included = [
        (thinks || signed(), "reasoning.encrypted_content"),
        (logprobs, "message.output_text.logprobs"),
        (runs(HostedKind::WebSearch), hosted::INCLUDE_SOURCES),
        (runs(HostedKind::CodeExecution), hosted::INCLUDE_OUTPUTS),
    ];
    if included.iter().any(|(wanted, _)| *wanted) {
        let mut include = top.array("include");
        included.iter().filter(|(wanted, _)| *wanted).for_each(|(_, name)| include.push(*name));
    }
}
