//! Writes a request: everything but its messages.

use std::collections::HashSet;

use super::{
    params::{self, PARAMS},
    wire::official,
    write_content::Messages,
};
use crate::{
    conversation::{Effort, Format, Invalid, Request, Text, Tool, ToolChoice, Unsupported, safe_id},
    dialect::{Destination, SamplingFacts, Server, Thinking, params::Writer as ParamWriter},
    stream::json::ObjectWriter,
};

/// What asks a model for JSON when the server must read the word in some message, and none has it.
const ASK_FOR_JSON: &str = "Answer with one JSON object and nothing else.";
/// What asks for JSON of a schema where the server has no place for one.
const ASK_FOR_SCHEMA: &str = "Answer with one JSON object and nothing else. It must follow this JSON Schema:\n";

/// Appends a request for `to`.
///
/// # Errors
/// When no message is left that could be sent.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let mut writer = Writer { to, dropped };
    let mut top = ObjectWriter::begin(out);
    top.field("model", to.model);
    let mut messages = Messages::begin(top.array("messages"), to, writer.dropped);
    if let Some(wish) = format_in_words(request, to.server) {
        messages.system(&wish);
    }
    messages.write(&request.messages)?;
    writer.tools(request, &mut top);
    let fixed = to.facts.sampling == SamplingFacts::None;
    let server = |param| params::on(to.server, fixed, param);
    let params = ParamWriter { table: PARAMS, request, sampling: to.facts.sampling, server };
    params.sampling(&mut top, writer.dropped);
    writer.format(request.format.as_ref(), &mut top);
    writer.reasoning(request, &mut top);
    // OpenAI takes metadata only for requests that it stores.
    params.account(&mut top, writer.dropped);
    if request.stream {
        top.field("stream", &true);
        if to.server != Server::Mistral {
            let mut options = top.object("stream_options");
            options.field("include_usage", &true);
            options.end();
        }
    }
    top.end();
    Ok(())
}

/// A wish for JSON that has to stand in the messages.
fn format_in_words(request: &Request<'_>, server: Server) -> Option<String> {
    match request.format.as_ref()? {
        Format::Schema { schema, .. } if server == Server::DeepSeek => {
            Some(format!("{ASK_FOR_SCHEMA}{}", schema.get()))
        }
        Format::Schema { .. } => None,
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
    fn tools(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        // Most servers can't choose among some of the tools: they get those alone.
        let only: Option<HashSet<_>> = match &request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) if !official(self.to.server) => {
                Some(names.iter().map(Text::decode).collect())
            }
            _ => None,
        };
        let sent = |tool: &&Tool<'_>| only.as_ref().is_none_or(|only| only.contains(&tool.name.decode()));
        if request.tools.iter().any(|tool| sent(&tool)) {
            let mut list = top.array("tools");
            for tool in request.tools.iter().filter(sent) {
                let mut entry = list.object();
                entry.field("type", "function");
                self.tool(tool, entry.object("function"));
                entry.end();
            }
            list.end();
            if let Some(choice) = &request.tool_choice {
                tool_choice(choice, self.to.server, top);
            }
            match request.parallel_tool_calls {
                // Models that can't call several at once refuse the very word.
                None | Some(true) => {}
                Some(false) if self.to.server == Server::DeepSeek => self.dropped.add("parallel_tool_calls"),
                Some(false) => top.field("parallel_tool_calls", &false),
            }
        } else {
            let forced = !matches!(request.tool_choice, None | Some(ToolChoice::Auto | ToolChoice::None));
            self.dropped.add_if(forced, "tool_choice");
        }
    }

    fn tool(&mut self, tool: &Tool<'_>, mut function: ObjectWriter<'_>) {
        tool.name.write(function.key("name"));
        function.maybe("description", tool.description.as_ref());
        function.maybe("parameters", tool.schema.as_ref());
        if self.to.server == Server::DeepSeek {
            self.dropped.add_if(tool.strict == Some(true), "strict");
        } else {
            function.maybe("strict", tool.strict.as_ref());
        }
        function.end();
        self.dropped.add_if(tool.cache.is_some(), "cache_control");
    }

    fn format(&mut self, format: Option<&Format<'_>>, top: &mut ObjectWriter<'_>) {
        let Some(format) = format else { return };
        let mut written = top.object("response_format");
        match format {
            Format::Schema { name, description, schema, strict } if self.to.server != Server::DeepSeek => {
                written.field("type", "json_schema");
                let mut inner = written.object("json_schema");
                let name = name.as_ref().map(Text::decode).filter(|name| !name.is_empty());
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                inner.field("name", &safe_id(name.as_deref().unwrap_or("response"), 64, fits));
                inner.maybe("description", description.as_ref());
                inner.field("schema", schema);
                inner.maybe("strict", strict.as_ref());
                inner.end();
            }
            Format::Schema { .. } => {
                // The schema stands in a message instead.
                self.dropped.add("response_format");
                written.field("type", "json_object");
            }
            Format::Json => written.field("type", "json_object"),
        }
        written.end();
    }

    fn reasoning(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        let Some(reasoning) = &request.reasoning else { return };
        if self.to.facts.thinking == Thinking::Never {
            self.dropped.add_if(!reasoning.is_off(), "reasoning");
            return;
        }
        let Some(effort) = reasoning.effort_or_budget() else { return };
        match (self.to.server, effort) {
            (Server::DeepSeek, Effort::None) => {
                let mut thinking = top.object("thinking");
                thinking.field("type", "disabled");
                thinking.end();
            }
            // It thinks or does not.
            (Server::Mistral, Effort::None) => top.field("reasoning_effort", "none"),
            (Server::Mistral, _) => top.field("reasoning_effort", "high"),
            _ => {
                let fitting = self.to.facts.nearest_effort(effort);
                self.dropped.add_if(fitting != effort, "reasoning");
                top.field("reasoning_effort", fitting.as_str());
            }
        }
    }
}

fn tool_choice(choice: &ToolChoice<'_>, server: Server, top: &mut ObjectWriter<'_>) {
    let named = |name: &Text<'_>, mut object: ObjectWriter<'_>| {
        object.field("type", "function");
        let mut function = object.object("function");
        name.write(function.key("name"));
        function.end();
        object.end();
    };
    match choice {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } if !is_subset(choice, server) => {
            top.field("tool_choice", "auto");
        }
        ToolChoice::None => top.field("tool_choice", "none"),
        ToolChoice::Named(name) => named(name, top.object("tool_choice")),
        ToolChoice::Allowed { names, required } if is_subset(choice, server) => {
            let mut object = top.object("tool_choice");
            object.field("type", "allowed_tools");
            let mut allowed = object.object("allowed_tools");
            allowed.field("mode", if *required { "required" } else { "auto" });
            let mut tools = allowed.array("tools");
            for name in names {
                named(name, tools.object());
            }
            tools.end();
            allowed.end();
            object.end();
        }
        _ => top.field("tool_choice", "required"),
    }
}

/// Whether the choice is written as a list of tools.
const fn is_subset(choice: &ToolChoice<'_>, server: Server) -> bool {
    matches!(choice, ToolChoice::Allowed { .. }) && official(server)
}
