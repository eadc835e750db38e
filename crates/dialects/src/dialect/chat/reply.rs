//! Reads a buffered reply.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error, images,
    reasoning::Reasoning,
    steps::arrange,
    usage,
    wire::{self, WireCall, WireMessage, WirePart},
};
use crate::conversation::{Call, Choice, Content, Failure, Finish, Part, Reply, Text, Unsupported};

/// A reply, or a chunk of one.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireReply<'a> {
    pub id: Option<Text<'a>>,
    pub model: Option<Text<'a>>,
    pub object: Option<Text<'a>>,
    created: Option<&'a RawValue>,
    pub choices: Option<Vec<WireChoice<'a>>>,
    pub usage: Option<&'a RawValue>,
    service_tier: Option<Text<'a>>,
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireChoice<'a> {
    pub index: Option<i64>,
    pub message: Option<WireMessage<'a>>,
    pub delta: Option<WireMessage<'a>>,
    pub finish_reason: Option<Text<'a>>,
    pub stop_reason: Option<&'a RawValue>,
    pub logprobs: Option<&'a RawValue>,
}

impl WireReply<'_> {
    /// Whether this is an error in spite of its status.
    pub fn is_error(&self) -> bool {
        usage::is_error(self.error.is_some(), self.object.as_ref())
    }
}

impl<'a> WireChoice<'a> {
    /// Why the answer ended, if it did.
    pub fn finish(&self) -> Option<Finish> {
        Some(match &*usage::end_reason(self.finish_reason.as_ref())?.decode() {
            "length" | "model_length" => Finish::Length,
            "tool_calls" | "function_call" => Finish::ToolCalls,
            "content_filter" => Finish::Filtered,
            "error" | "insufficient_system_resource" => Finish::Failed,
            _ => Finish::Stop,
        })
    }

    /// vLLM's stop text; a number is the id of a token.
    pub fn stop_sequence(&self) -> Option<Text<'a>> {
        self.stop_reason.and_then(Text::of)
    }
}

/// Reads a reply.
///
/// # Errors
/// The error that the body holds, or `BadGateway` when it is not a reply.
pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, Failure<'_>> {
    let broken = || Failure::bad_gateway("the provider's reply can't be read");
    let text = std::str::from_utf8(body).map_err(|_| broken())?;
    let wire: WireReply<'_> = serde_json::from_str(text).map_err(|_| broken())?;
    if wire.is_error() {
        return Err(error::read(200, body));
    }
    let Some(choices) = wire.choices else { return Err(broken()) };
    let id = wire.id.filter(|id| !id.is_empty());
    let made = |at: usize| made_up_id(id.as_ref(), at);
    let mut lost = Unsupported::default();
    Ok(Reply {
        choices: choices.into_iter().map(|choice| read_choice(choice, &made, &mut lost)).collect(),
        lost,
        model: wire.model.filter(|model| !model.is_empty()),
        created: wire.created.and_then(|raw| raw.get().split('.').next()?.parse().ok()),
        usage: wire.usage.and_then(|raw| usage::read(raw.get())).unwrap_or_default(),
        service_tier: wire.service_tier,
        id,
    })
}

/// An id for a call that has none.
pub(super) fn made_up_id(reply: Option<&Text<'_>>, at: usize) -> String {
    match reply {
        Some(id) => format!("call_{}_{at}", id.decode()),
        None => format!("call_{at}"),
    }
}

fn read_choice<'a>(choice: WireChoice<'a>, made: &dyn Fn(usize) -> String, lost: &mut Unsupported) -> Choice<'a> {
    let (finish, stop_sequence) = (choice.finish().unwrap_or_default(), choice.stop_sequence());
    let logprobs = choice.logprobs.map(wire::logprobs).unwrap_or_default();
    let Some(message) = choice.message else {
        return Choice { parts: Vec::new(), finish, stop_sequence, logprobs };
    };
    let Reasoning { thoughts, mut signatures, .. } = Reasoning::of(&message, lost);
    let mut said = message.content.map(|raw| content(raw, lost)).unwrap_or_default();
    lost.add_if(message.audio.is_some(), "audio");
    let cited = message.citations();
    // Positions count from the start of the text, which is almost always one part.
    if let Some(Content::Text { citations, .. }) =
        said.iter_mut().map(|part| &mut part.content).find(|c| matches!(c, Content::Text { .. }))
    {
        *citations = cited;
    }
    if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
        said.push(Content::Refusal(refusal).into());
    }
    said.extend(images::read_reply(message.images, lost));
    let older = message.function_call.map(|function| WireCall {
        index: None,
        id: None,
        function: Some(function),
        custom: None,
        extra_content: None,
    });
    let mut calls = Vec::new();
    let mut ids: HashSet<String> = HashSet::new();
    for (at, call) in message.tool_calls.into_iter().flatten().chain(older).enumerate() {
        lost.add_if(call.custom.is_some(), "custom");
        let Some(mut call) = read_call(call, || made(at)) else { continue };
        let listed = signatures.take(&call.id);
        call.signature = call.signature.or(listed);
        let id = apart(&call.id.decode(), at, |id| ids.contains(id));
        if !call.id.is(&id) {
            call.id = id.clone().into();
        }
        ids.insert(id);
        calls.push(vec![Content::Call(call).into()]);
    }
    let finish = finish.with_calls(!calls.is_empty());
    let parts = arrange(thoughts, said, calls);
    Choice { parts, finish, stop_sequence, logprobs }
}

/// `content`: a string, or Mistral's list of chunks. Empty texts are left out.
fn content<'a>(raw: &'a RawValue, lost: &mut Unsupported) -> Vec<Part<'a>> {
    if let Some(text) = Text::of(raw) {
        return if text.is_empty() { Vec::new() } else { vec![Content::text(text).into()] };
    }
    let chunks: Vec<WirePart<'_>> = serde_json::from_str(raw.get()).unwrap_or_default();
    chunks.iter().filter_map(WirePart::unknown_kind).for_each(|kind| lost.add(kind));
    chunks.into_iter().filter_map(chunk).map(Part::from).collect()
}

/// The content of a chunk of a content list; `None` if it is not supported.
pub(super) fn chunk(part: WirePart<'_>) -> Option<Content<'_>> {
    match part.kind.as_ref()?.decode().as_ref() {
        "text" | "output_text" => part.text.filter(|text| !text.is_empty()).map(Content::text),
        "refusal" => part.refusal.map(Content::Refusal),
        _ => part.into_thinking(),
    }
}

/// The id of the call at this index, changed if another call has the same id, since results refer to it.
pub(super) fn apart(id: &str, at: usize, taken: impl Fn(&str) -> bool) -> String {
    let mut apart = id.to_owned();
    for number in at.. {
        if !taken(&apart) {
            break;
        }
        apart = format!("{id}_{number}");
    }
    apart
}

/// Reads a call. Arguments that are not an object, as those of a call that was cut short, are kept as they are.
fn read_call(call: WireCall<'_>, made: impl Fn() -> String) -> Option<Call<'_>> {
    let signature = call.signature();
    let function = call.function?;
    let arguments = wire::arguments(function.arguments).or_else(|| function.arguments.map(wire::written));
    let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| made().into());
    Some(Call { id, name: function.name?.into(), arguments: arguments?, signature })
}
