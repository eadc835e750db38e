//! Reads tools and the choice among them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    client_tools::ClientTool,
    images,
    wire::{PASSED, text},
};
use crate::{
    conversation::{
        HostedKind, HostedLimits, HostedTool, ImageForm, Invalid, Json, Request, Text, Tool, ToolChoice, ToolForm,
        ToolName, Unsupported,
        free_text::{self, TextFormat},
        limit,
    },
    dialect::fields::{parse, parse_all, parse_noting},
    stream::Member,
};

/// The reason why a container or a file is refused.
const OPENAI_STORE: &str = "is stored at OpenAI, and this route's provider can't use it: leave it out";

/// A tool. Those of OpenAI have fields of the same names and other types.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<&'a RawValue>,
    description: Option<&'a RawValue>,
    parameters: Option<&'a RawValue>,
    strict: Option<&'a RawValue>,
    allowed_callers: Option<Vec<Text<'a>>>,
    format: Option<&'a RawValue>,
    tools: Option<&'a RawValue>,
    execution: Option<&'a RawValue>,
    environment: Option<&'a RawValue>,
    display_width: Option<&'a RawValue>,
    display_height: Option<&'a RawValue>,
    server_label: Option<&'a RawValue>,
    filters: Option<&'a RawValue>,
    user_location: Option<&'a RawValue>,
    search_context_size: Option<&'a RawValue>,
    /// Where code runs.
    container: Option<&'a RawValue>,
    /// Of images.
    size: Option<&'a RawValue>,
    /// All tools are offered at once.
    #[expect(dead_code, reason = "known, and of no consequence")]
    defer_loading: Option<&'a RawValue>,
}

/// The domains of a search.
#[derive(Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Filters<'a> {
    allowed_domains: Option<Vec<Text<'a>>>,
}

/// The namespace of a list of tools.
#[derive(Clone)]
struct Namespace<'a> {
    name: Text<'a>,
    description: Option<Text<'a>>,
}

/// The tools of a request, and its fields that are not supported.
pub(super) struct Found<'a, 'r> {
    /// Those that OpenAI runs.
    pub hosted: &'r mut Vec<HostedTool<'a>>,
    pub dropped: &'r mut Unsupported,
}

/// Reads the list of tools at `field`.
pub(super) fn read<'a>(
    json: &'a str,
    field: &dyn Fn() -> String,
    found: &mut Found<'a, '_>,
) -> Result<Vec<Tool<'a>>, Invalid> {
    list(json, field, None, found)
}

fn list<'a>(
    json: &'a str,
    field: &dyn Fn() -> String,
    namespace: Option<&Namespace<'a>>,
    found: &mut Found<'a, '_>,
) -> Result<Vec<Tool<'a>>, Invalid> {
    let (wire, mut unknown) = parse_noting::<Vec<WireTool<'a>>>(json, field, PASSED)?;
    let mut tools = Vec::with_capacity(wire.len());
    for (at, tool) in wire.into_iter().enumerate() {
        let here = || format!("{}[{at}]", field());
        let kind = tool.kind.as_ref().map_or("function".into(), Text::decode).into_owned();
        if kind == "namespace" {
            if namespace.is_some() {
                return Err(Invalid::new(here(), "a namespace can't contain another one"));
            }
            tools.extend(tool.namespace(&here, found)?);
        } else if let Some(known) = ClientTool::declared(&kind).filter(|_| tool.is_of_client()) {
            let first = namespace.filter(|_| tools.is_empty());
            let mut read = tool.read(known, namespace.map(|namespace| namespace.name.clone()), &here, found.dropped)?;
            if let Some(Namespace { name, description: Some(about) }) = first {
                // One tool carries it for all.
                let about = format!("About the namespace {}: {}", name.decode(), about.decode());
                read.description = Some(Text::join(read.description.into_iter().chain([about.into()]), "\n\n"));
            }
            tools.push(read);
        } else {
            tool.refuse_stored(&here, found.dropped)?;
            let name = tool.label().unwrap_or_else(|| kind.clone());
            let limits = HostedLimits {
                allowed_domains: limit::<Filters<'a>>(tool.filters)
                    .unwrap_or_default()
                    .allowed_domains
                    .unwrap_or_default(),
                context_size: limit(tool.search_context_size),
                location: limit(tool.user_location),
                image: ImageForm { aspect_ratio: limit(tool.size).and_then(|size| images::ratio(&size)), size: None },
                ..HostedLimits::default()
            };
            found.hosted.push(HostedTool { limits, ..HostedTool::new(hosted_kind(&kind), name) });
            unknown.discard(at);
        }
    }
    unknown.name(found.dropped);
    Ok(tools)
}

impl<'a> WireTool<'a> {
    /// Whether the client runs the tool: a shell may be in a container of OpenAI, and a search may be OpenAI's.
    fn is_of_client(&self) -> bool {
        #[derive(Deserialize)]
        struct Environment<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<Text<'a>>,
        }
        match self.kind.as_ref().map(Text::decode).as_deref() {
            Some("tool_search") => self.execution.and_then(Text::of).is_some_and(|execution| execution.is("client")),
            Some("shell") => self.environment.is_none_or(|environment| {
                let environment = serde_json::from_str::<Environment<'_>>(environment.get());
                environment.is_ok_and(|environment| environment.kind.is_none_or(|kind| kind.is("local")))
            }),
            _ => true,
        }
    }

    /// Refuses a container of OpenAI, and files in one: the model would compute without the data.
    fn refuse_stored(&self, here: &dyn Fn() -> String, dropped: &mut Unsupported) -> Result<(), Invalid> {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        struct Container<'a> {
            #[expect(dead_code, reason = "one that has no id is made anew")]
            #[serde(rename = "type")]
            kind: Option<&'a RawValue>,
            file_ids: Option<Vec<Text<'a>>>,
        }
        let Some(container) = self.container else { return Ok(()) };
        let field = || format!("{}.container", here());
        if container.get().starts_with('"') {
            return Err(Invalid::new(field(), OPENAI_STORE));
        }
        let container: Container<'_> = parse_all(container.get(), field, PASSED, dropped)?;
        if container.file_ids.is_some_and(|files| !files.is_empty()) {
            return Err(Invalid::new(format!("{}.file_ids", field()), OPENAI_STORE));
        }
        Ok(())
    }

    /// The name of a tool that OpenAI runs, if its kind is not name enough.
    fn label(&self) -> Option<String> {
        self.server_label.or(self.name).and_then(Text::of).map(|label| label.into_decoded().into_owned())
    }

    fn namespace(self, here: &dyn Fn() -> String, found: &mut Found<'a, '_>) -> Result<Vec<Tool<'a>>, Invalid> {
        let field = |name: &str| format!("{}.{name}", here());
        let name = text(self.name, || field("name"))?.ok_or_else(|| Invalid::new(field("name"), "is required"))?;
        let description = text(self.description, || field("description"))?.filter(|text| !text.is_blank());
        let Some(tools) = self.tools else { return Err(Invalid::new(field("tools"), "is required")) };
        list(tools.get(), &|| field("tools"), Some(&Namespace { name, description }), found)
    }

    fn read(
        self,
        known: &'static ClientTool,
        namespace: Option<Text<'a>>,
        here: &dyn Fn() -> String,
        dropped: &mut Unsupported,
    ) -> Result<Tool<'a>, Invalid> {
        let field = |name: &str| format!("{}.{name}", here());
        let name = known.name(text(self.name, || field("name"))?, namespace);
        let Some(name) = name else { return Err(Invalid::new(field("name"), "is required")) };
        let mut schema = self.parameters.filter(|raw| raw.get() != "null").map(Json::from);
        if schema.as_ref().is_some_and(|schema| !schema.is_object()) {
            return Err(Invalid::new(field("parameters"), "must be an object"));
        }
        dropped.add_if(self.allowed_callers.is_some_and(|by| by.iter().any(|by| !by.is("direct"))), "allowed_callers");
        let mut description = text(self.description, || field("description"))?;
        if known.form == ToolForm::Custom {
            let format: Option<TextFormat<'a>> =
                self.format.map(|raw| parse(raw.get(), || field("format"))).transpose()?;
            description = free_text::description(description, format);
            schema = free_text::schema();
        }
        if let Some(function) = &known.function {
            description.get_or_insert_with(|| function.description.into());
            schema = schema.or_else(|| Json::parse(function.schema).ok());
        }
        if let (Some(width), Some(height)) = (self.display_width, self.display_height) {
            let display = format!("The screen has {} x {} pixels.", width.get(), height.get());
            description = Some(Text::join(description.into_iter().chain([display.into()]), " "));
        }
        let strict = self.strict.map(RawValue::get).filter(|_| known.form == ToolForm::Function);
        let strict = strict.map(|json| parse(json, || field("strict"))).transpose()?.flatten();
        Ok(Tool { name, description, schema, strict, cache: None })
    }
}

/// What a tool that OpenAI runs does.
fn hosted_kind(kind: &str) -> HostedKind {
    match kind {
        "code_interpreter" => HostedKind::CodeExecution,
        "image_generation" => HostedKind::ImageGeneration,
        kind if kind.starts_with("web_search") => HostedKind::WebSearch,
        _ => HostedKind::Other,
    }
}

/// Adds tools that became available later. One that is declared again replaces the earlier one.
pub(super) fn merge<'a>(tools: &mut Vec<Tool<'a>>, more: Vec<Tool<'a>>) {
    if more.is_empty() {
        return;
    }
    let mut places: HashMap<String, usize> =
        tools.iter().enumerate().map(|(place, tool)| (tool.name.key(), place)).collect();
    for tool in more {
        let place = *places.entry(tool.name.key()).or_insert(tools.len());
        match tools.get_mut(place) {
            Some(known) => *known = tool,
            None => tools.push(tool),
        }
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireChoice<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    server_label: Option<Text<'a>>,
    mode: Option<Text<'a>>,
    #[serde(default)]
    tools: Vec<WireChoice<'a>>,
}

/// Reads `tool_choice` when all tools are declared. Those that it forbids, and that targets can't be forbidden to use,
/// are taken out of the request.
pub(super) fn read_choice<'a>(member: &'a Member<'a>, request: &mut Request<'a>) -> Result<ToolChoice<'a>, Invalid> {
    if let Some(word) = member.as_str() {
        return Ok(match &*word {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(Invalid::new("tool_choice", "must be none, auto, required or an object")),
        });
    }
    let choice: WireChoice<'a> =
        parse_all(member.as_json(), || "tool_choice".to_owned(), PASSED, &mut request.dropped)?;
    if choice.kind.as_ref().is_some_and(|kind| kind.is("allowed_tools")) {
        let required = choice.mode.is_some_and(|mode| mode.is("required"));
        let mut names = Vec::with_capacity(choice.tools.len());
        let mut hosted = Vec::new();
        for tool in choice.tools {
            match tool.resolve(&request.tools)? {
                Ok(found) => names.extend(found),
                Err(name) => hosted.push(name),
            }
        }
        request.hosted.retain(|tool| hosted.iter().any(|name| is_named(tool, name)));
        if !names.is_empty() {
            return Ok(ToolChoice::Allowed { names, required });
        }
        // Not every target can forbid all of the functions that it is offered.
        request.tools.clear();
        return Ok(if required { ToolChoice::Required } else { ToolChoice::Auto });
    }
    Ok(match choice.resolve(&request.tools)? {
        Ok(mut names) => match (names.pop(), names.is_empty()) {
            (Some(only), true) => ToolChoice::Named(only),
            (last, _) => {
                names.extend(last);
                ToolChoice::Allowed { names, required: true }
            }
        },
        Err(name) => ToolChoice::Hosted(name.into()),
    })
}

/// Whether a choice of `name` means this tool. OpenAI has dated types of one kind, such as `web_search_preview`.
fn is_named(tool: &HostedTool<'_>, name: &str) -> bool {
    tool.name.is(name) || (tool.kind != HostedKind::Other && tool.kind == hosted_kind(name))
}

impl<'a> WireChoice<'a> {
    /// The tools that it names, or the name of one that OpenAI runs.
    fn resolve(self, tools: &[Tool<'a>]) -> Result<Result<Vec<ToolName<'a>>, String>, Invalid> {
        let kind = self.kind.as_ref().map_or("function".into(), Text::decode).into_owned();
        let missing = || Invalid::new("tool_choice.name", "is required");
        if kind == "namespace" {
            let namespace = self.name.or(self.namespace).ok_or_else(missing)?;
            let within = tools.iter().filter(|tool| tool.name.namespace.as_ref() == Some(&namespace));
            return Ok(Ok(within.map(|tool| tool.name.clone()).collect()));
        }
        let Some(known) = ClientTool::declared(&kind) else {
            return Ok(Err(self.server_label.or(self.name).map_or(kind, |label| label.into_decoded().into_owned())));
        };
        let name = known.name(self.name, self.namespace).ok_or_else(missing)?;
        // A shell or a search that OpenAI runs is not among the tools.
        if known.function.is_some() && !tools.iter().any(|tool| tool.name.form == known.form) {
            return Ok(Err(kind));
        }
        Ok(Ok(vec![name]))
    }
}
