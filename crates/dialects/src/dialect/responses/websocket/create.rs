//! Reads events of clients.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::{
    MAX_LANES,
    history::{Histories, append},
    write::{Shown, error_frame, steer_failed_frame},
};
use crate::{
    conversation::{ErrorClass, Failure},
    stream::{Member, Splice, TopLevel, ValueKind},
};

/// Longest name of a lane, in bytes: it is written into every event of the lane.
const MAX_LANE_NAME: usize = 256;

/// The value of `include` with which reasoning comes in a form that can be sent back.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// A `response.create` event, as the request that it is over HTTP.
#[derive(Debug)]
pub struct Turn {
    /// The lane of its events.
    pub lane: Option<String>,
    /// The body of the request.
    pub body: Bytes,
    /// All items of the conversation up to the reply: elements of a JSON array.
    pub input: Vec<u8>,
    /// The model, if the event names one.
    pub model: Option<String>,
    /// Whether a reply is generated; else the event only prepares the next one.
    pub generates: bool,
    /// Whether the provider may store the response, so that its items can be sent by their ids alone.
    pub stores: bool,
}

/// Reads the event in `message`. Items of its previous response come from `histories`.
///
/// # Errors
/// The frame for the client, when the event is not served.
pub fn read(message: &Bytes, histories: &Histories) -> Result<Turn, String> {
    let refused = |failure: &Failure<'_>, lane: Option<&str>| error_frame(failure, Shown { lane, ..Shown::default() });
    let top = TopLevel::scan(message).map_err(|error| refused(&invalid("bad_body", None, error.to_string()), None))?;
    let lane = lane(&top).map_err(|failure| refused(&failure, None))?;
    let kind = top.get("type").and_then(Member::as_str).unwrap_or_default();
    match &*kind {
        "response.create" => {
            turn(message, &top, lane.clone(), histories).map_err(|failure| refused(&failure, lane.as_deref()))
        }
        "response.steer" => Err(steer_failed_frame(&top)),
        _ => {
            let message = "no event of this type is served on this connection: send 'response.create'";
            Err(refused(&invalid("unknown_event", Some("type"), message), lane.as_deref()))
        }
    }
}

fn turn(
    message: &Bytes,
    top: &TopLevel<'_>,
    lane: Option<String>,
    histories: &Histories,
) -> Result<Turn, Failure<'static>> {
    if lane.as_deref().is_some_and(|lane| histories.lanes_beside(lane) >= MAX_LANES) {
        let message = format!("a connection has at most {MAX_LANES} lanes: use one of them, or another connection");
        return Err(invalid("websocket_stream_limit_reached", Some("stream_id"), message));
    }
    if boolean(top, "background")? == Some(true) {
        let message = "'background' is not supported over WebSocket: send the request over HTTP";
        return Err(invalid("bad_body", Some("background"), message));
    }
    let generates = boolean(top, "generate")? != Some(false) && !is_prewarm(top);
    let stores = boolean(top, "store")? != Some(false);
    let previous = string(top, "previous_response_id")?;
    let earlier = match &previous {
        None => &[][..],
        Some(id) => histories.find(id).ok_or_else(|| not_found(id))?,
    };
    let mut input = earlier.to_vec();
    append(&mut input, &items(top, previous.is_some())?);

    let mut edits = Splice::new(top);
    for key in ["type", "stream_id", "generate"] {
        edits.remove(key);
    }
    edits.set("stream", &b"true"[..]);
    if let Some(include) = include(top, stores) {
        edits.set("include", include);
    }
    if previous.is_some() {
        edits.remove("previous_response_id");
        edits.set("input", [&b"["[..], &input, b"]"].concat());
    }
    let body = edits.apply(message);
    let model = top.get("model").and_then(Member::as_str).map(Cow::into_owned);
    Ok(Turn { lane, body, input, model, generates, stores })
}

/// The elements of the event's own input. A text is a message of the user.
fn items<'a>(top: &TopLevel<'a>, must_be_read: bool) -> Result<Cow<'a, [u8]>, Failure<'static>> {
    let Some(input) = top.get("input") else { return Ok(Cow::default()) };
    match input.kind {
        ValueKind::Null => Ok(Cow::default()),
        ValueKind::Array => {
            let inside = input.value.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
            Ok(Cow::Borrowed(inside.unwrap_or_default().trim_ascii()))
        }
        ValueKind::String => {
            let begin = br#"{"type":"message","role":"user","content":"#;
            Ok(Cow::Owned([&begin[..], input.value, b"}"].concat()))
        }
        // The provider refuses it, in its own words.
        _ if !must_be_read => Ok(Cow::default()),
        _ => Err(invalid("bad_body", Some("input"), "'input' must be a string or an array")),
    }
}

/// The event's `include` with encrypted reasoning, if it has to be added: what the provider does not store can be sent
/// back only in that form. An event without `reasoning` may be for a model that has none and would refuse it.
fn include(top: &TopLevel<'_>, stores: bool) -> Option<Vec<u8>> {
    let reasons = top.get("reasoning").is_some_and(|field| field.kind == ValueKind::Object);
    if stores || !reasons {
        return None;
    }
    let mut list: Vec<&str> = match top.get("include") {
        Some(field) if !field.is_null() => serde_json::from_str(field.as_json()).ok()?,
        _ => Vec::new(),
    };
    if list.contains(&ENCRYPTED) {
        return None;
    }
    list.push(ENCRYPTED);
    serde_json::to_vec(&list).ok()
}

/// Whether the event only prepares the provider's cache. It counts as one without a reply, whatever `generate` is.
fn is_prewarm(top: &TopLevel<'_>) -> bool {
    #[derive(Deserialize)]
    struct Options {
        prewarm: Option<bool>,
    }
    let options = top.get("prompt_cache_options").and_then(|field| serde_json::from_str(field.as_json()).ok());
    options.is_some_and(|options: Options| options.prewarm == Some(true))
}

fn lane(top: &TopLevel<'_>) -> Result<Option<String>, Failure<'static>> {
    let lane = string(top, "stream_id")?;
    if lane.as_ref().is_some_and(|lane| lane.len() > MAX_LANE_NAME) {
        let message = format!("'stream_id' is longer than {MAX_LANE_NAME} bytes");
        return Err(invalid("bad_body", Some("stream_id"), message));
    }
    Ok(lane)
}

/// The text of a field; `None` where it is absent or null.
fn string(top: &TopLevel<'_>, key: &'static str) -> Result<Option<String>, Failure<'static>> {
    match top.get(key) {
        None => Ok(None),
        Some(field) if field.is_null() => Ok(None),
        Some(field) => match field.as_str() {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(invalid("bad_body", Some(key), format!("'{key}' must be a string"))),
        },
    }
}

/// A field that is true or false; `None` where it is absent or null.
fn boolean(top: &TopLevel<'_>, key: &'static str) -> Result<Option<bool>, Failure<'static>> {
    match top.get(key) {
        None => Ok(None),
        Some(field) if field.is_null() => Ok(None),
        Some(field) => match field.as_bool() {
            Some(value) => Ok(Some(value)),
            None => Err(invalid("bad_body", Some(key), format!("'{key}' must be true or false"))),
        },
    }
}

/// OpenAI's error for a response that is not there. Clients send the whole input when they see its code.
fn not_found(id: &str) -> Failure<'static> {
    let id: String = id.chars().take(MAX_LANE_NAME).collect();
    let message = format!("Previous response with id '{id}' not found on this connection.");
    invalid("previous_response_not_found", Some("previous_response_id"), message)
}

fn invalid(code: &'static str, param: Option<&'static str>, message: impl Into<Cow<'static, str>>) -> Failure<'static> {
    let failure = Failure::of_gateway(400, ErrorClass::InvalidRequest, code, message);
    Failure { param: param.map(Cow::Borrowed), ..failure }
}
