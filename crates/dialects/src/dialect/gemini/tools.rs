//! Reads tools and the tool choice.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    names::camel,
    schema,
    wire::{self, Many},
};
use crate::{
    conversation::{HostedKind, HostedTool, Invalid, Json, Text, Tool, ToolChoice, ToolName, Unsupported},
    stream::{Member, ValueKind},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Declaration<'a> {
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    parameters: Option<&'a RawValue>,
    #[serde(alias = "parameters_json_schema")]
    parameters_json_schema: Option<&'a RawValue>,
    behavior: Option<Text<'a>>,
    response: Option<&'a RawValue>,
    #[serde(alias = "response_json_schema")]
    response_json_schema: Option<&'a RawValue>,
}

/// The functions in `tools`. Tools that Google runs itself are added to `hosted`.
pub(super) fn read<'a>(
    tools: &Member<'a>,
    hosted: &mut Vec<HostedTool<'a>>,
    dropped: &mut Unsupported,
) -> Result<Vec<Tool<'a>>, Invalid> {
    let entries: Vec<&'a RawValue> = match tools.kind {
        ValueKind::Object => vec![wire::value("", tools)?],
        _ => wire::value("", tools)?,
    };
    let mut found = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        for member in wire::members(&path, entry.get().as_bytes())?.members() {
            let name = member.name();
            if member.is_null() {
                continue;
            }
            if camel(&name) != "functionDeclarations" {
                let kind = match &*camel(&name) {
                    "googleSearch" | "googleSearchRetrieval" => HostedKind::WebSearch,
                    "urlContext" => HostedKind::UrlFetch,
                    "codeExecution" => HostedKind::CodeExecution,
                    _ => HostedKind::Other,
                };
                hosted.push(HostedTool::new(kind, name.into_owned()));
                continue;
            }
            let declarations: Many<Declaration<'a>> = wire::whole(&path, member, dropped)?;
            for (index, declaration) in declarations.0.into_iter().enumerate() {
                let at = || format!("{path}.functionDeclarations[{index}]");
                found.push(declaration.read(&at, dropped)?);
            }
        }
    }
    Ok(found)
}

impl<'a> Declaration<'a> {
    fn read(self, at: &dyn Fn() -> String, dropped: &mut Unsupported) -> Result<Tool<'a>, Invalid> {
        let blocking = |word: &Text<'_>| matches!(&*word.decode(), "BLOCKING" | "UNSPECIFIED");
        dropped.add_if(self.behavior.is_some_and(|word| !blocking(&word)), "behavior");
        dropped.add_if(self.response.is_some() || self.response_json_schema.is_some(), "response");
        let schema = match (self.parameters_json_schema, self.parameters) {
            (Some(schema), _) if !schema.get().starts_with('{') => {
                return Err(Invalid::new(format!("{}.parametersJsonSchema", at()), "must be an object"));
            }
            (Some(schema), _) => Some(Json::from(schema)),
            (None, Some(schema)) => Some(schema::read(&format!("{}.parameters", at()), schema)?),
            (None, None) => None,
        };
        Ok(Tool {
            name: self.name.ok_or_else(|| Invalid::new(format!("{}.name", at()), "is required"))?.into(),
            description: self.description.filter(|text| !text.is_empty()),
            schema,
            strict: None,
            cache: None,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct CallingConfig<'a> {
    mode: Option<Text<'a>>,
    #[serde(alias = "allowed_function_names")]
    allowed_function_names: Option<Vec<Text<'a>>>,
    #[serde(alias = "stream_function_call_arguments")]
    stream_function_call_arguments: Option<bool>,
}

/// The tool choice in `toolConfig`.
pub(super) fn read_choice<'a>(
    config: &Member<'a>,
    dropped: &mut Unsupported,
) -> Result<Option<ToolChoice<'a>>, Invalid> {
    let mut choice = None;
    for member in wire::members("toolConfig", config.value)?.members() {
        let name = member.name();
        if member.is_null() {
            continue;
        }
        if camel(&name) != "functionCallingConfig" {
            dropped.add(name.into_owned());
            continue;
        }
        let config: CallingConfig<'a> = wire::whole("toolConfig", member, dropped)?;
        dropped.add_if(config.stream_function_call_arguments == Some(true), "streamFunctionCallArguments");
        choice = config.read()?;
    }
    Ok(choice)
}

impl<'a> CallingConfig<'a> {
    fn read(self) -> Result<Option<ToolChoice<'a>>, Invalid> {
        let names = self.allowed_function_names.unwrap_or_default();
        let mut names: Vec<ToolName<'a>> = names.into_iter().map(ToolName::from).collect();
        let mode = self.mode.map(|mode| mode.decode().to_ascii_uppercase());
        Ok(match mode.as_deref() {
            None | Some("" | "MODE_UNSPECIFIED") => None,
            Some("AUTO") => Some(ToolChoice::Auto),
            Some("NONE") => Some(ToolChoice::None),
            Some("VALIDATED") if names.is_empty() => Some(ToolChoice::Auto),
            Some("VALIDATED") => Some(ToolChoice::Allowed { names, required: false }),
            Some("ANY") => Some(match (names.pop(), names.is_empty()) {
                (None, _) => ToolChoice::Required,
                (Some(only), true) => ToolChoice::Named(only),
                (Some(last), false) => {
                    names.push(last);
                    ToolChoice::Allowed { names, required: true }
                }
            }),
            Some(other) => {
                return Err(Invalid::new("toolConfig.functionCallingConfig.mode", format!("unknown mode '{other}'")));
            }
        })
    }
}
