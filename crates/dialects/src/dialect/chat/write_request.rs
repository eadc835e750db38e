//! Writes a request: everything but its messages.

use std::collections::HashSet;

use super::write_content::Messages;
use crate::{
    conversation::{Effort, Format, Invalid, Json, Request, Sampling, Text, Tool, ToolChoice, Unsupported, safe_id},
    dialect::{Destination, SamplingFacts, Server, Thinking},
    stream::json::ObjectWriter,
};

/// Classes of service that OpenAI has.
const TIERS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];
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
    writer.sampling(&request.sampling, &mut top);
    let limit = if official(to.server) { "max_completion_tokens" } else { "max_tokens" };
    top.maybe(limit, request.max_tokens.as_ref());
    writer.format(request.format.as_ref(), &mut top);
    writer.reasoning(request, &mut top);
    writer.about(request, &mut top);
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

/// Whether OpenAI's newest API is spoken there.
pub(super) const fn official(server: Server) -> bool {
    matches!(server, Server::OpenAi | Server::Azure)
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

    fn sampling(&mut self, sampling: &Sampling<'_>, top: &mut ObjectWriter<'_>) {
        let server = self.to.server;
        let fixed = self.to.facts.sampling == SamplingFacts::None;
        let one = self.to.facts.sampling == SamplingFacts::One;
        let hottest = if server == Server::Mistral { 1.5 } else { 2.0 };
        // One is the default of both: where they are fixed, nothing is lost.
        let temperature = sampling.temperature.filter(|t| !(fixed && is_one(*t)));
        let top_p = sampling.top_p.filter(|p| !(fixed && is_one(*p)));
        self.number(top, "temperature", temperature, (0.0, hottest), !fixed);
        self.number(top, "top_p", top_p, (0.0, 1.0), !(fixed || one && temperature.is_some()));
        self.number(top, "presence_penalty", sampling.presence_penalty, (-2.0, 2.0), !fixed);
        self.number(top, "frequency_penalty", sampling.frequency_penalty, (-2.0, 2.0), !fixed);
        let open = matches!(server, Server::Compatible | Server::Mistral);
        self.number(top, "top_k", sampling.top_k, (-1.0, 1e9), open && !fixed);
        self.stop(&sampling.stop, fixed, top);
        let n = sampling.n.filter(|n| *n != 1);
        self.given(top, "n", n, !fixed && server != Server::DeepSeek);
        match (server, sampling.seed) {
            (Server::Mistral, Some(seed)) => top.field("random_seed", &seed.unsigned_abs()),
            (_, seed) => self.given(top, "seed", seed, server != Server::DeepSeek),
        }
        if sampling.logprobs == Some(true) {
            let has = !fixed && server != Server::Mistral;
            self.given(top, "logprobs", sampling.logprobs, has);
            if has {
                top.maybe("top_logprobs", sampling.top_logprobs.map(|count| count.min(20)).as_ref());
            }
        }
    }

    fn stop(&mut self, stop: &[Text<'_>], fixed: bool, top: &mut ObjectWriter<'_>) {
        let official = official(self.to.server);
        // OpenAI's reasoning models have no stop texts, the others up to four.
        let most = match (official, fixed) {
            (true, true) => 0,
            (true, false) => 4,
            (false, _) => usize::MAX,
        };
        let mut texts = stop.iter().filter(|text| !text.is_empty());
        if most > 0 && texts.clone().next().is_some() {
            let mut list = top.array("stop");
            texts.by_ref().take(most).for_each(|text| text.write(list.element()));
            list.end();
        }
        self.dropped.add_if(texts.next().is_some(), "stop");
    }

    /// Writes a number within its range, a whole one without a fraction.
    fn number(
        &mut self,
        top: &mut ObjectWriter<'_>,
        name: &'static str,
        value: Option<f64>,
        (least, most): (f64, f64),
        has: bool,
    ) {
        let Some(value) = value else { return };
        let fitting = value.clamp(least, most);
        #[expect(clippy::float_cmp, reason = "whether it was changed")]
        self.dropped.add_if(!has || fitting != value, name);
        if !has {
            return;
        }
        if fitting.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "the ranges are small")]
            top.field(name, &(fitting as i64));
        } else {
            top.field(name, &fitting);
        }
    }

    /// Writes a value if the server has a place for it.
    fn given(
        &mut self,
        top: &mut ObjectWriter<'_>,
        name: &'static str,
        value: Option<impl serde::Serialize>,
        has: bool,
    ) {
        match value {
            Some(value) if has => top.field(name, &value),
            value => self.dropped.add_if(value.is_some(), name),
        }
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
        let Some(effort) = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget)) else { return };
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
                let (least, most) = self.to.facts.efforts;
                let fitting = effort.clamp(least, most);
                self.dropped.add_if(fitting != effort, "reasoning");
                top.field("reasoning_effort", fitting.as_str());
            }
        }
    }

    /// What is said about the request itself.
    fn about(&mut self, request: &Request<'_>, top: &mut ObjectWriter<'_>) {
        let official = official(self.to.server);
        self.given(top, "user", request.user.as_ref(), official || self.to.server == Server::Compatible);
        if let Some(tier) = &request.service_tier {
            let word = tier.decode();
            match &*word {
                // Anthropic's word for it.
                "standard_only" if official => top.field("service_tier", "default"),
                known if official && TIERS.contains(&known) => top.field("service_tier", known),
                // Everybody's default.
                "auto" => {}
                _ => self.dropped.add("service_tier"),
            }
        }
        // OpenAI takes it only for requests that it stores.
        self.dropped
            .add_if(request.metadata.as_ref().is_some_and(|metadata: &Json<'_>| !metadata.is_null()), "metadata");
    }
}

fn is_one(value: f64) -> bool {
    (value - 1.0).abs() < f64::EPSILON
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
