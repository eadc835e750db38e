//! Tools, and the format of the answer, which for some models is a tool.

use std::{borrow::Cow, collections::HashSet};

use super::{ANSWER_TOOL, schema, write_content::write_cache};
use crate::{
    conversation::{Format, Request, Text, Tool, ToolChoice, Turn, Unsupported, called_tools},
    dialect::Destination,
    stream::json::{ArrayWriter, ObjectWriter, write_value},
};

/// The settings of tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice<'r, 'a> {
    Auto,
    Any,
    Named(&'r Text<'a>),
    /// The tool that takes the answer.
    Answer,
}

/// How the form of the answer is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Free,
    /// By `outputConfig`.
    Native,
    /// By a tool.
    Tool,
    /// By an instruction.
    Instructed,
}

/// The content of `toolConfig`.
pub(super) struct Plan<'r, 'a> {
    request: &'r Request<'a>,
    pub form: Form,
    choice: Choice<'r, 'a>,
    /// The names that the client allows, when it does not allow all.
    allowed: Option<HashSet<Cow<'r, str>>>,
    /// Tools that only the history has, if the request offers none: Converse requires tools in the history to be
    /// defined.
    stubs: Vec<Cow<'r, str>>,
    /// Whether the client's own tools are written.
    given: bool,
    /// Whether Claude must call one tool at a time.
    pub one_call: bool,
}

impl<'r, 'a> Plan<'r, 'a> {
    pub(super) fn new(
        request: &'r Request<'a>,
        turns: &'r [Turn<'r, 'a>],
        to: &Destination<'_>,
        dropped: &mut Unsupported,
    ) -> Self {
        let form = match &request.format {
            None => Form::Free,
            Some(Format::Json) => Form::Instructed,
            Some(Format::Schema { .. }) if to.facts.structured => Form::Native,
            Some(Format::Schema { .. }) => Form::Tool,
        };
        let called = called_tools(turns.iter().flat_map(|turn| &turn.parts).map(|part| &**part));
        let forbidden = request.tool_choice == Some(ToolChoice::None);
        let allowed = match &request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) => {
                Some(names.iter().map(|name| name.decode()).collect::<HashSet<_>>())
            }
            _ => None,
        };
        let some = request.tools.iter().any(|tool| is_allowed(allowed.as_ref(), tool));
        let given = some && !(forbidden && called.is_empty());
        let choice = match &request.tool_choice {
            _ if form == Form::Tool && given && !forbidden => Choice::Any,
            _ if form == Form::Tool => Choice::Answer,
            Some(ToolChoice::Named(name)) if given => Choice::Named(name),
            Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) if given => Choice::Any,
            _ => Choice::Auto,
        };
        // Converse can't express it: the model may call a tool that it has called before.
        dropped.add_if(forbidden && choice == Choice::Auto && !called.is_empty(), "tool_choice");
        // Answering is a call, too: the model may answer although the client requires a call of one of its own tools.
        let required = matches!(
            request.tool_choice,
            Some(ToolChoice::Named(_) | ToolChoice::Required | ToolChoice::Allowed { required: true, .. })
        );
        dropped.add_if(required && given && form == Form::Tool, "tool_choice");
        let has_tools = given || !called.is_empty();
        let alone = request.parallel_tool_calls == Some(false) && has_tools;
        let one_call = alone && choice == Choice::Auto && to.facts.converse.single_calls;
        dropped.add_if(alone && !one_call, "parallel_tool_calls");
        let stubs = if given { Vec::new() } else { called };
        Self { request, form, choice, allowed, stubs, given, one_call }
    }

    /// Whether the model must call a tool, which Claude does not support while it thinks.
    pub(super) fn forced(&self) -> bool {
        self.choice != Choice::Auto
    }

    /// Writes `toolConfig` unless there is no tool.
    pub(super) fn write(&self, body: &mut ObjectWriter<'_>, to: &Destination<'_>, dropped: &mut Unsupported) {
        if !self.given && self.stubs.is_empty() && self.form != Form::Tool {
            return;
        }
        let mut config = body.object("toolConfig");
        let mut list = config.array("tools");
        if self.given {
            for tool in self.request.tools.iter().filter(|tool| is_allowed(self.allowed.as_ref(), tool)) {
                write_tool(&mut list, tool, to, dropped);
            }
        }
        for name in &self.stubs {
            write_spec(&mut list, |spec| {
                spec.field("name", name);
                spec.key("inputSchema").extend_from_slice(br#"{"json":{"type":"object","properties":{}}}"#);
            });
        }
        if self.form == Form::Tool {
            self.write_answer_tool(&mut list, to, dropped);
        }
        list.end();
        match self.choice {
            Choice::Auto => {}
            Choice::Any => config.raw("toolChoice", r#"{"any":{}}"#),
            Choice::Named(name) => write_named(&mut config, name),
            Choice::Answer => write_named(&mut config, &ANSWER_TOOL.into()),
        }
    }

    fn write_answer_tool(&self, list: &mut ArrayWriter<'_>, to: &Destination<'_>, dropped: &mut Unsupported) {
        let Some(Format::Schema { description, schema, .. }) = &self.request.format else { return };
        write_spec(list, |spec| {
            spec.field("name", ANSWER_TOOL);
            match description.as_ref().filter(|d| !d.is_blank()) {
                Some(description) => description.write(spec.key("description")),
                None => spec.field("description", "Gives the final answer: the input of this tool is the answer."),
            }
            let mut input = spec.object("inputSchema");
            to.facts.converse.root.write(Some(schema), dropped, input.key("json"));
        });
    }

    /// Writes `outputConfig` unless it would be empty; `effort` is Claude's.
    pub(super) fn write_output(
        &self,
        body: &mut ObjectWriter<'_>,
        effort: Option<&str>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
    ) {
        let Some(Format::Schema { name, description, schema, .. }) = &self.request.format else { return };
        if self.form != Form::Native {
            return;
        }
        let mut text = Vec::with_capacity(schema.get().len());
        if to.facts.converse.closed_schemas {
            dropped.add_if(schema::closed(schema.get(), &mut text), "schema keywords");
        } else {
            text.extend_from_slice(schema.get().as_bytes());
        }
        let mut output = body.object("outputConfig");
        let mut format = output.object("textFormat").with("type", "json_schema");
        let mut structure = format.object("structure");
        let mut schema = structure.object("jsonSchema");
        schema.field("schema", &String::from_utf8_lossy(&text));
        schema.maybe("name", name.as_ref());
        schema.maybe("description", description.as_ref());
        schema.end();
        structure.end();
        format.end();
        output.maybe("effort", effort);
    }
}

fn is_allowed(allowed: Option<&HashSet<Cow<'_, str>>>, tool: &Tool<'_>) -> bool {
    allowed.is_none_or(|allowed| allowed.contains(&tool.name.decode()))
}

fn write_spec(list: &mut ArrayWriter<'_>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    let mut tool = list.object();
    let mut spec = tool.object("toolSpec");
    write(&mut spec);
}

fn write_named(config: &mut ObjectWriter<'_>, name: &Text<'_>) {
    config.object("toolChoice").object("tool").with("name", &name);
}

fn write_tool(list: &mut ArrayWriter<'_>, tool: &Tool<'_>, to: &Destination<'_>, dropped: &mut Unsupported) {
    let claude = to.facts.converse.closed_schemas;
    write_spec(list, |spec| {
        tool.name.write(spec.key("name"));
        if let Some(description) = tool.description.as_ref().filter(|d| !d.is_blank()) {
            description.write(spec.key("description"));
        }
        let strict = tool.strict == Some(true) && to.facts.structured;
        // Claude accepts only some keywords in strict schemas; keeping all of them is more important than strictness.
        let closed = tool.schema.as_ref().filter(|_| strict && claude).and_then(|schema| {
            let mut text = Vec::with_capacity(schema.get().len());
            (!schema::closed(schema.get(), &mut text)).then_some(text)
        });
        let strict = strict && (!claude || closed.is_some());
        let mut input = spec.object("inputSchema");
        match closed {
            Some(text) => input.key("json").extend_from_slice(&text),
            None => to.facts.converse.root.write(tool.schema.as_ref(), dropped, input.key("json")),
        }
        input.end();
        if strict {
            write_value(spec.key("strict"), &true);
        }
        dropped.add_if(tool.strict == Some(true) && !strict, "strict");
    });
    if let Some(cache) = &tool.cache {
        if to.facts.converse.cached_tools { write_cache(list, cache) } else { dropped.add("cache_control") }
    }
}
