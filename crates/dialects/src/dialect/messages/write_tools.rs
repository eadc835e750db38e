//! Writes tools and the choice among them.

use std::{borrow::Cow, collections::HashSet};

use super::{JSON_TOOL, Messages, schema, write_content::Encoder};
use crate::{
    conversation::{
        Format, HostedKind, HostedTool, Invalid, Json, Request, Text, Tool, ToolChoice, Unsupported, called_tools,
    },
    dialect::{Destination, Dialect},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The description of the tool for a structured answer.
const JSON_TOOL_USE: &str = "Give your final answer by calling this tool. Its arguments are the answer.";
/// The description of a tool that the client no longer offers.
const GONE: &str = "No longer available.";

/// Which tools a request offers.
pub(super) struct Tools<'r, 'a> {
    offered: Vec<&'r Tool<'a>>,
    /// Tools that are only in the history: they must be declared, and can't be called.
    gone: Vec<Cow<'r, str>>,
    /// Tools that Anthropic runs.
    hosted: Vec<&'r HostedTool<'a>>,
    /// The schema of an answer that is given by calling [`JSON_TOOL`].
    json: Option<&'r Json<'a>>,
    choice: Choice<'r, 'a>,
    single: bool,
    /// Whether the client requires a call of one of its tools.
    required: bool,
}

/// The value of `tool_choice`.
#[derive(Clone, Copy, PartialEq)]
enum Choice<'r, 'a> {
    Auto,
    Any,
    None,
    Named(&'r Text<'a>),
    Hosted(&'static str),
    Json,
}

impl<'r, 'a> Tools<'r, 'a> {
    /// The tools that `request` offers to the model.
    pub fn plan(request: &'r Request<'a>, to: &Destination<'_>) -> Self {
        let mut offered: Vec<&Tool<'_>> = request.tools.iter().collect();
        let hosted = request.hosted_by(|kind| Messages.runs(kind, request, to));
        let mut choice = match &request.tool_choice {
            None | Some(ToolChoice::Auto) => Choice::Auto,
            Some(ToolChoice::Hosted(name)) => {
                let tool = hosted.iter().find(|tool| tool.name == *name);
                tool.map_or(Choice::Auto, |tool| Choice::Hosted(hosted_name(tool.kind).1))
            }
            Some(ToolChoice::None) => Choice::None,
            Some(ToolChoice::Required) => Choice::Any,
            Some(ToolChoice::Named(name)) => Choice::Named(name),
            Some(ToolChoice::Allowed { names, required }) => {
                let names: HashSet<_> = names.iter().map(|name| name.decode()).collect();
                offered.retain(|tool| names.contains(&tool.name.decode()));
                if *required { Choice::Any } else { Choice::Auto }
            }
        };
        let json = match &request.format {
            // A client that names the tool to be called does not expect an answer in this turn.
            Some(Format::Schema { schema, .. })
                if !to.facts.structured && (offered.is_empty() || !matches!(choice, Choice::Named(_))) =>
            {
                Some(schema)
            }
            _ => None,
        };
        let required = choice == Choice::Any && !offered.is_empty();
        if json.is_some() {
            choice = if offered.is_empty() || choice == Choice::None { Choice::Json } else { Choice::Any };
        }
        let gone = if offered.is_empty() && json.is_none() {
            called_tools(request.messages.iter().flat_map(|message| &message.parts))
        } else {
            Vec::new()
        };
        if offered.is_empty() && hosted.is_empty() && json.is_none() {
            choice = Choice::None;
        }
        let single = request.parallel_tool_calls == Some(false) || choice == Choice::Json;
        Self { offered, gone, hosted, json, choice, single, required }
    }

    /// Whether the answer is given by calling [`JSON_TOOL`].
    pub fn answer(&self) -> bool {
        self.json.is_some()
    }

    /// Whether the model must call a tool.
    pub fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Named(_) | Choice::Hosted(_) | Choice::Json)
    }

    /// Whether the client requires a call of one of its own tools, and the model may answer all the same, since
    /// answering is a call, too.
    pub fn may_answer(&self) -> bool {
        self.json.is_some() && self.required
    }

    /// Writes `tools` and `tool_choice`.
    pub fn write(
        &self,
        to: &Destination<'_>,
        encoder: &mut Encoder<'_>,
        top: &mut ObjectWriter<'_>,
    ) -> Result<(), Invalid> {
        if self.offered.is_empty() && self.gone.is_empty() && self.hosted.is_empty() && self.json.is_none() {
            return Ok(());
        }
        let mut list = top.array("tools");
        for tool in &self.offered {
            write_tool(tool, to, encoder, &mut list)?;
        }
        for name in &self.gone {
            let mut object = list.object().with("name", name).with("description", GONE);
            schema::write_tool(None, encoder.dropped, object.key("input_schema"));
        }
        for tool in &self.hosted {
            write_hosted(tool, encoder.dropped, &mut list);
        }
        if let Some(schema) = self.json {
            let mut object = list.object().with("name", JSON_TOOL).with("description", JSON_TOOL_USE);
            schema::write_tool(Some(schema), encoder.dropped, object.key("input_schema"));
        }
        list.end();
        self.write_choice(top);
        Ok(())
    }

    fn write_choice(&self, top: &mut ObjectWriter<'_>) {
        if self.choice == Choice::Auto && !self.single {
            return;
        }
        let mut object = top.object("tool_choice");
        match self.choice {
            Choice::Auto => object.field("type", "auto"),
            Choice::Any => object.field("type", "any"),
            Choice::None => object.field("type", "none"),
            Choice::Named(name) => {
                object.field("type", "tool");
                object.field("name", name);
            }
            Choice::Hosted(name) => {
                object.field("type", "tool");
                object.field("name", name);
            }
            Choice::Json => {
                object.field("type", "tool");
                object.field("name", JSON_TOOL);
            }
        }
        if self.single && self.choice != Choice::None {
            object.field("disable_parallel_tool_use", &true);
        }
    }
}

fn write_tool(
    tool: &Tool<'_>,
    to: &Destination<'_>,
    encoder: &mut Encoder<'_>,
    list: &mut ArrayWriter<'_>,
) -> Result<(), Invalid> {
    let constrained = tool
        .schema
        .as_ref()
        .filter(|schema| tool.strict == Some(true) && to.facts.structured && schema::may_be_strict(schema));
    encoder.dropped.add_if(tool.strict == Some(true) && constrained.is_none(), "strict");
    let mut object = list.object().with("name", &tool.name);
    // An empty description is refused.
    object.maybe("description", tool.description.as_ref().filter(|text| !text.is_blank()));
    if let Some(schema) = constrained {
        schema::write_constrained(schema.get(), encoder.dropped, object.key("input_schema"))
            .map_err(|invalid| Invalid::new("tools", invalid.message))?;
        object.field("strict", &true);
    } else {
        schema::write_tool(tool.schema.as_ref(), encoder.dropped, object.key("input_schema"));
    }
    encoder.mark(tool.cache.as_ref(), &mut object);
    object.end();
    Ok(())
}

/// Type and name of Anthropic's tool.
const fn hosted_name(kind: HostedKind) -> (&'static str, &'static str) {
    match kind {
        HostedKind::WebSearch | HostedKind::ImageGeneration | HostedKind::Other => {
            ("web_search_20250305", "web_search")
        }
        HostedKind::UrlFetch => ("web_fetch_20250910", "web_fetch"),
        HostedKind::CodeExecution => ("code_execution_20250825", "code_execution"),
    }
}

fn write_hosted(tool: &HostedTool<'_>, dropped: &mut Unsupported, list: &mut ArrayWriter<'_>) {
    let ((kind, name), limits) = (hosted_name(tool.kind), &tool.limits);
    let mut object = list.object().with("type", kind).with("name", name);
    object.maybe("max_uses", limits.max_uses.as_ref());
    // Both together are refused.
    dropped.add_if(!limits.allowed_domains.is_empty() && !limits.blocked_domains.is_empty(), "blocked_domains");
    if !limits.allowed_domains.is_empty() {
        object.field("allowed_domains", limits.allowed_domains.as_slice());
    } else if !limits.blocked_domains.is_empty() {
        object.field("blocked_domains", limits.blocked_domains.as_slice());
    }
    dropped.add_if(limits.context_size.is_some(), "search_context_size");
    if let Some(location) = &limits.location {
        location.write(object.object("user_location").with("type", "approximate"));
    }
}

/// Writes the format of an answer for models that support structured output.
pub(super) fn write_format(
    format: Option<&Format<'_>>,
    dropped: &mut Unsupported,
    config: &mut ObjectWriter<'_>,
) -> Result<(), Invalid> {
    let Some(Format::Schema { schema, .. }) = format else { return Ok(()) };
    let mut object = config.object("format").with("type", "json_schema");
    schema::write_constrained(schema.get(), dropped, object.key("schema"))?;
    object.end();
    Ok(())
}
