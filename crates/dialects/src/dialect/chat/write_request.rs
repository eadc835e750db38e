//! Writes a request, except its messages.

use std::collections::HashSet;

use super::{Chat, params::PARAMS, write_content::Messages};
use crate::{
    conversation::{Effort, Format, ImageForm, Invalid, Request, Text, Tool, ToolChoice, Unsupported, paired, safe_id},
    dialect::{
        Destination, Dialect, Thinking,
        instructed::{ASK_FOR_JSON, ASK_FOR_SCHEMA},
        params::Writer as ParamWriter,
        quirks::ReasoningParam,
        schema::openai,
    },
    stream::json::ObjectWriter,
};

/// Appends a request for `to`.
///
/// # Errors
/// When none of the messages can be sent.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let mut writer = Writer { to, dropped };
    let mut top = ObjectWriter::begin(out).with("model", to.model);
    let instruction = format_instruction(request, to.quirks.chat.json_schema);
    let messages = Messages::begin(top.array("messages"), to, writer.dropped);
    messages.write(&paired(&request.messages), instruction.as_deref())?;
    writer.tools(request, &mut top);
    let quirks = to.quirks.chat.params;
    let params = ParamWriter { table: PARAMS, quirks, request, sampling: to.facts.sampling };
    params.sampling(&mut top, writer.dropped);
    writer.format(request.format.as_ref(), &mut top);
    writer.reasoning(request, &mut top);
    writer.images(request, &mut top);
    params.account(&mut top, writer.dropped);
    if request.stream {
        top.field("stream", &true);
        if to.quirks.chat.stream_options {
            top.object("stream_options").with("include_usage", &true);
        }
    }
    top.end();
    Ok(())
}

/// The instruction to answer in JSON, where the messages must have one.
fn format_instruction(request: &Request<'_>, json_schema: bool) -> Option<String> {
    match request.format.as_ref()? {
        Format::Schema { .. } if json_schema => None,
        Format::Schema { schema, .. } => Some(format!("{ASK_FOR_SCHEMA}{}", schema.get())),
        Format::Json => (!mentions_json(request)).then(|| ASK_FOR_JSON.to_owned()),
    }
}

/// OpenAI and `DeepSeek` refuse `json_object` unless some message has the word.
fn mentions_json(request: &Request<'_>) -> bool {
    use crate::conversation::Content;
    request.messages.iter().flat_map(|message| &message.parts).any(|part| match &part.content {
        Content::Text { text, .. } => {
            text.decode().as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"json"))
        }
        _ => false,
    })
}

struct Writer<'w> {
    to: &'w Destination<'w>,
    dropped: &'w mut Unsupported,
}

impl Writer<'_> {
    /// Lets the model answer in images, where the server has such models.
    fn images(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        for tool in request.hosted_by(|kind| Chat.runs(kind, request, self.to)) {
            top.field("modalities", &["image", "text"]);
            let ImageForm { aspect_ratio, size } = &tool.limits.image;
            if aspect_ratio.is_some() || size.is_some() {
                top.object("image_config")
                    .with_maybe("aspect_ratio", aspect_ratio.as_ref())
                    .with_maybe("image_size", size.as_ref());
            }
        }
    }

    fn tools(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        // Most servers can't restrict the choice to some of the tools: they get only those.
        let only: Option<HashSet<_>> = match &request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) if !self.to.quirks.chat.allowed_tools => {
                Some(names.iter().map(|name| name.decode()).collect())
            }
            _ => None,
        };
        let sent = |tool: &&Tool<'_>| only.as_ref().is_none_or(|only| only.contains(&tool.name.decode()));
        if request.tools.iter().any(|tool| sent(&tool)) {
            let mut list = top.array("tools");
            for tool in request.tools.iter().filter(sent) {
                let mut entry = list.object().with("type", "function");
                self.tool(tool, entry.object("function"));
            }
            list.end();
            if let Some(choice) = &request.tool_choice {
                tool_choice(choice, self.to.quirks.chat.allowed_tools, top);
            }
            match request.parallel_tool_calls {
                // Models that can't call several tools at once refuse the parameter.
                None | Some(true) => {}
                Some(false) if self.to.quirks.chat.parallel_tool_calls => top.field("parallel_tool_calls", &false),
                Some(false) => self.dropped.add("parallel_tool_calls"),
            }
        } else {
            let forced = !matches!(
                request.tool_choice,
                None | Some(ToolChoice::Auto | ToolChoice::None | ToolChoice::Hosted(_))
            );
            self.dropped.add_if(forced, "tool_choice");
        }
    }

    fn tool(&mut self, tool: &Tool<'_>, mut function: ObjectWriter<'_>) {
        tool.name.write(function.key("name"));
        function.maybe("description", tool.description.as_ref());
        let asked = tool.strict.filter(|_| self.to.quirks.chat.strict_tools);
        self.dropped.add_if(tool.strict == Some(true) && asked.is_none(), "strict");
        if tool.schema.is_some() || asked == Some(true) {
            let schema = tool.schema.as_ref();
            let strict = openai::write_tool(schema, asked, self.dropped, function.key("parameters"));
            function.maybe("strict", strict.as_ref());
        } else {
            function.maybe("strict", asked.as_ref());
        }
        function.end();
        self.dropped.add_if(tool.cache.is_some(), "cache_control");
    }

    fn format(&mut self, format: Option<&Format<'_>>, top: &mut ObjectWriter<'_>) {
        let Some(format) = format else { return };
        let mut written = top.object("response_format");
        match format {
            Format::Schema { name, description, schema, strict } if self.to.quirks.chat.json_schema => {
                written.field("type", "json_schema");
                let mut inner = written.object("json_schema");
                let name = name.as_ref().map(Text::decode).filter(|name| !name.is_empty());
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                inner.field("name", &safe_id(name.as_deref().unwrap_or("response"), 64, fits));
                inner.maybe("description", description.as_ref());
                let strict = openai::write_answer(schema, *strict, self.dropped, inner.key("schema"));
                inner.maybe("strict", strict.as_ref());
            }
            Format::Schema { .. } => {
                // The schema is in a message instead.
                self.dropped.add("response_format");
                written.field("type", "json_object");
            }
            Format::Json => written.field("type", "json_object"),
        }
    }

    fn reasoning(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        // It thinks by default, and can't be forced to call a tool while it does.
        if self.to.quirks.chat.reasoning == ReasoningParam::EffortOrDisabled && is_forced(request) {
            let wanted = request.reasoning.as_ref().is_some_and(|reasoning| !reasoning.is_off());
            self.dropped.add_if(wanted, "reasoning");
            top.object("thinking").with("type", "disabled");
            return;
        }
        let Some(reasoning) = &request.reasoning else { return };
        if self.to.facts.thinking == Thinking::Never {
            self.dropped.add_if(!reasoning.is_off(), "reasoning");
            return;
        }
        let Some(effort) = reasoning.effort_or_budget() else { return };
        match (self.to.quirks.chat.reasoning, effort) {
            (ReasoningParam::EffortOrDisabled, Effort::None) => {
                top.object("thinking").with("type", "disabled");
            }
            (ReasoningParam::NoneOrHigh, Effort::None) => top.field("reasoning_effort", "none"),
            (ReasoningParam::NoneOrHigh, _) => top.field("reasoning_effort", "high"),
            _ => {
                let fitting = self.to.facts.efforts.nearest(effort);
                self.dropped.add_if(fitting != effort, "reasoning");
                top.field("reasoning_effort", fitting.as_str());
            }
        }
    }
}

/// Whether the model must call one of the client's tools.
fn is_forced(request: &Request<'_>) -> bool {
    let forces = |choice: &ToolChoice<'_>| {
        matches!(choice, ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    };
    !request.tools.is_empty() && request.tool_choice.as_ref().is_some_and(forces)
}

/// Writes the choice. A choice among several tools is written as a list if the server accepts `lists`.
fn tool_choice(choice: &ToolChoice<'_>, lists: bool, top: &mut ObjectWriter<'_>) {
    let named = |name: &Text<'_>, mut object: ObjectWriter<'_>| {
        object.field("type", "function");
        object.object("function").with("name", &name);
        object.end();
    };
    match choice {
        ToolChoice::None => top.field("tool_choice", "none"),
        ToolChoice::Named(name) => named(name, top.object("tool_choice")),
        ToolChoice::Allowed { names, required } if lists => {
            let mut object = top.object("tool_choice").with("type", "allowed_tools");
            let mut allowed = object.object("allowed_tools").with("mode", if *required { "required" } else { "auto" });
            let mut tools = allowed.array("tools");
            for name in names {
                named(name, tools.object());
            }
        }
        ToolChoice::Auto | ToolChoice::Hosted(_) | ToolChoice::Allowed { required: false, .. } => {
            top.field("tool_choice", "auto");
        }
        ToolChoice::Allowed { .. } | ToolChoice::Required => top.field("tool_choice", "required"),
    }
}
