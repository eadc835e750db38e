//! Writes tools and the tool choice.

use super::{Gemini, schema};
use crate::{
    conversation::{HostedKind, Invalid, Json, Request, Tool, ToolChoice, ToolName, Unsupported},
    dialect::{Destination, Dialect},
    stream::{
        TopLevel, ValueKind,
        json::{ArrayWriter, ObjectWriter},
    },
};

/// Writes `tools` and `toolConfig`.
///
/// # Errors
/// When a schema must be rewritten and can't be read.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    top: &mut ObjectWriter<'_>,
    dropped: &mut Unsupported,
) -> Result<(), Invalid> {
    if request.tools.is_empty() {
        write_hosted(request, to, top, dropped);
        return Ok(());
    }
    let mut tools = top.array("tools");
    let mut functions = tools.object();
    let mut list = functions.array("functionDeclarations");
    for (index, tool) in request.tools.iter().enumerate() {
        write_tool(index, tool, to, &mut list, dropped)?;
    }
    list.end();
    functions.end();
    tools.end();
    if let Some(choice) = &request.tool_choice {
        write_choice(choice, top);
    }
    Ok(())
}

/// Writes the tools that Google runs. The model decides whether it uses them.
fn write_hosted(request: &Request<'_>, to: &Destination<'_>, top: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    let hosted = request.hosted_by(|kind| kind != HostedKind::ImageGeneration && Gemini.runs(kind, request, to));
    if hosted.is_empty() || request.tool_choice == Some(ToolChoice::None) {
        return;
    }
    let mut tools = top.array("tools");
    for tool in hosted {
        let name = match tool.kind {
            HostedKind::WebSearch | HostedKind::ImageGeneration | HostedKind::Other => "googleSearch",
            HostedKind::UrlFetch => "urlContext",
            HostedKind::CodeExecution => "codeExecution",
        };
        let mut object = tools.object();
        object.object(name).end();
        object.end();
        let limits = &tool.limits;
        dropped.add_if(!limits.allowed_domains.is_empty(), "allowed_domains");
        dropped.add_if(!limits.blocked_domains.is_empty(), "blocked_domains");
        dropped.add_if(limits.max_uses.is_some(), "max_uses");
        dropped.add_if(limits.context_size.is_some(), "search_context_size");
        dropped.add_if(limits.location.is_some(), "user_location");
    }
    tools.end();
    dropped.add_if(!matches!(request.tool_choice, None | Some(ToolChoice::Auto)), "tool_choice");
}

fn write_tool(
    index: usize,
    tool: &Tool<'_>,
    to: &Destination<'_>,
    into: &mut ArrayWriter<'_>,
    dropped: &mut Unsupported,
) -> Result<(), Invalid> {
    dropped.add_if(tool.strict == Some(true), "strict");
    dropped.add_if(tool.cache.is_some(), "cache_control");
    let mut function = into.object().with("name", &tool.name);
    function.maybe("description", tool.description.as_ref().filter(|text| !text.is_empty()));
    if let Some(schema) = tool.schema.as_ref().filter(|schema| !is_empty(schema)) {
        if to.facts.json_schema {
            function.raw("parametersJsonSchema", schema.get());
        } else {
            let (rewritten, lost) = schema::write(&format!("tools[{index}]"), schema)?;
            dropped.add_if(lost, "schema keywords");
            function.raw("parameters", &rewritten);
        }
    }
    function.end();
    Ok(())
}

/// Whether a schema is that of an object without properties: Google requires no schema then.
fn is_empty(schema: &Json<'_>) -> bool {
    let Ok(top) = TopLevel::scan(schema.get().as_bytes()) else { return schema.is_null() };
    top.members().iter().all(|member| match &*member.name() {
        "properties" => member.value.iter().all(|b| matches!(b, b'{' | b'}') || b.is_ascii_whitespace()),
        "additionalProperties" => member.kind != ValueKind::Object,
        "anyOf" | "oneOf" | "allOf" | "$ref" | "patternProperties" => false,
        _ => true,
    })
}

fn write_choice(choice: &ToolChoice<'_>, top: &mut ObjectWriter<'_>) {
    let (mode, names): (_, &[ToolName<'_>]) = match choice {
        ToolChoice::Auto | ToolChoice::Hosted(_) => ("AUTO", &[]),
        ToolChoice::None => ("NONE", &[]),
        // Without names all would be allowed.
        ToolChoice::Allowed { names, .. } if names.is_empty() => ("NONE", &[]),
        ToolChoice::Required => ("ANY", &[]),
        ToolChoice::Named(name) => ("ANY", std::slice::from_ref(name)),
        ToolChoice::Allowed { names, required: true } => ("ANY", names),
        // Names can't be combined with AUTO.
        ToolChoice::Allowed { names, required: false } => ("VALIDATED", names),
    };
    let mut config = top.object("toolConfig");
    let mut calling = config.object("functionCallingConfig").with("mode", mode);
    if !names.is_empty() {
        calling.field("allowedFunctionNames", names);
    }
}
