//! Reads `generationConfig`.

use serde_json::value::RawValue;

use super::{
    names::camel,
    params::{PARAMS, Proto},
    schema,
    wire::{self, Int, Many},
};
use crate::{
    conversation::{Effort, Format, Invalid, Json, Reasoning, Request, Text},
    dialect::{fields, params},
    stream::Member,
};

const PATH: &str = "generationConfig";

/// Reads `generationConfig` into `request`.
pub(super) fn read<'a>(config: &Member<'a>, request: &mut Request<'a>) -> Result<(), Invalid> {
    let (mut mime, mut schema) = (None, None);
    for member in wire::members(PATH, config.value)?.members() {
        if member.is_null() {
            continue;
        }
        let name = member.name();
        let key = camel(&name);
        if params::read::<Proto>(PARAMS, &key, member, || format!("{PATH}.{name}"), request)? {
            continue;
        }
        match &*key {
            "responseMimeType" => mime = Some(wire::value::<Text<'a>>(PATH, member)?),
            "responseSchema" => {
                let raw: &'a RawValue = wire::value(PATH, member)?;
                schema = Some(schema::read("generationConfig.responseSchema", raw)?);
            }
            "responseJsonSchema" => {
                let json: Json<'a> = wire::value(PATH, member)?;
                if !json.is_object() {
                    return Err(Invalid::new(format!("{PATH}.{name}"), "must be an object"));
                }
                schema = Some(json);
            }
            "thinkingConfig" => request.reasoning = Some(thinking(member, request)?),
            "responseModalities" => {
                let modalities: Many<Text<'a>> = Many(wire::value(PATH, member)?);
                let has = |known: &str| modalities.0.iter().any(|word| word.decode().eq_ignore_ascii_case(known));
                if has("image") {
                    request.image_tool(&name).name = Text::from(name.clone().into_owned());
                }
                let is_known =
                    |word: &Text<'_>| ["text", "image"].iter().any(|known| word.decode().eq_ignore_ascii_case(known));
                request.dropped.add_if(!modalities.0.iter().all(is_known), "responseModalities");
            }
            "imageConfig" => image_config(member, request)?,
            _ => fields::record_unread(member, &mut request.dropped),
        }
    }
    request.format = format(mime.as_ref(), schema, request);
    Ok(())
}

/// Reads the form of images.
fn image_config<'a>(config: &Member<'a>, request: &mut Request<'a>) -> Result<(), Invalid> {
    const PATH: &str = "generationConfig.imageConfig";
    for member in wire::members(PATH, config.value)?.members() {
        if member.is_null() {
            continue;
        }
        let name = member.name();
        match &*camel(&name) {
            "aspectRatio" => {
                request.image_tool("imageConfig").limits.image.aspect_ratio = Some(wire::value(PATH, member)?);
            }
            "imageSize" => request.image_tool("imageConfig").limits.image.size = Some(wire::value(PATH, member)?),
            _ => request.dropped.add(name.into_owned()),
        }
    }
    Ok(())
}

/// The format of the answer: the media type selects JSON, and a schema without a media type means JSON too. The format
/// of an enum has no counterpart in other dialects.
fn format<'a>(mime: Option<&Text<'a>>, schema: Option<Json<'a>>, request: &mut Request<'a>) -> Option<Format<'a>> {
    let mime = mime.map(|mime| mime.decode().to_ascii_lowercase()).unwrap_or_default();
    match (mime.as_str(), schema) {
        ("" | "application/json", Some(schema)) => {
            Some(Format::Schema { name: None, description: None, schema, strict: None })
        }
        ("application/json", None) => Some(Format::Json),
        ("" | "text/plain", None) => None,
        (_, schema) => {
            request.dropped.add("responseMimeType");
            request.dropped.add_if(schema.is_some(), "responseSchema");
            None
        }
    }
}

/// Reads the settings of reasoning, which is not shown unless the client requests it.
fn thinking<'a>(member: &Member<'a>, request: &mut Request<'a>) -> Result<Reasoning, Invalid> {
    const PATH: &str = "generationConfig.thinkingConfig";
    let mut reasoning = Reasoning { visible: Some(false), ..Reasoning::default() };
    for member in wire::members(PATH, member.value)?.members() {
        if member.is_null() {
            continue;
        }
        let name = member.name();
        match &*camel(&name) {
            "includeThoughts" => reasoning.visible = Some(wire::value(PATH, member)?),
            // -1 leaves the budget to the model.
            "thinkingBudget" => reasoning.budget = wire::value::<Int>(PATH, member)?.count(),
            "thinkingLevel" => {
                let level: Text<'a> = wire::value(PATH, member)?;
                reasoning.effort = Effort::parse(&level.decode().to_ascii_lowercase());
            }
            _ => request.dropped.add(name.into_owned()),
        }
    }
    Ok(reasoning)
}
