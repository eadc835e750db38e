//! Reads buffered replies, and the parts that streams share with them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    citations::{self, CitationMetadata, GroundingMetadata},
    content, error,
    hosted::Step,
    names, signature,
    usage::{Feedback, UsageMetadata},
    wire,
};
use crate::conversation::{
    Call, Choice, Citation, Content, Failure, Finish, HostedCall, Media, Part, Reply, Text, TokenLogprob, Unsupported,
};

/// An image in the reasoning, which leads to the one in the answer.
pub(super) const DRAFT: &str = "thinking.image";

/// A reply, or a chunk of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Wire<'a> {
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    pub(super) prompt_feedback: Option<Feedback>,
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) model_version: Option<Text<'a>>,
    pub(super) response_id: Option<Text<'a>>,
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    pub(super) content: Option<wire::Content<'a>>,
    pub(super) finish_reason: Option<Text<'a>>,
    pub(super) finish_message: Option<Text<'a>>,
    pub(super) citation_metadata: Option<&'a RawValue>,
    pub(super) grounding_metadata: Option<&'a RawValue>,
    pub(super) url_context_metadata: Option<&'a RawValue>,
    pub(super) logprobs_result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct LogprobsResult<'a> {
    chosen_candidates: Option<Vec<Token<'a>>>,
    top_candidates: Option<Vec<Top<'a>>>,
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Token<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    #[serde(borrow)]
    token: Option<Text<'a>>,
    log_probability: Option<f64>,
}

impl<'a> Wire<'a> {
    /// A reply or a chunk; `None` for a body that is neither.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_str(simdutf8::basic::from_utf8(body).ok()?).ok()
    }

    fn is_reply(&self) -> bool {
        self.candidates.is_some() || self.prompt_feedback.is_some() || self.usage_metadata.is_some()
    }

    /// Whether the prompt was blocked.
    pub(super) fn is_blocked(&self) -> bool {
        self.prompt_feedback.as_ref().is_some_and(Feedback::is_blocked)
    }
}

impl<'a> Candidate<'a> {
    /// The candidate's tokens with log-probabilities. Tokens of an unknown form are left out.
    pub(super) fn logprobs(&self) -> Vec<TokenLogprob<'a>> {
        let parsed = self.logprobs_result.and_then(|raw| serde_json::from_str::<LogprobsResult<'a>>(raw.get()).ok());
        let Some(result) = parsed else { return Vec::new() };
        let mut tops = result.top_candidates.unwrap_or_default().into_iter();
        let pair = |token: Token<'a>| Some((token.token?, token.log_probability?));
        result
            .chosen_candidates
            .unwrap_or_default()
            .into_iter()
            .filter_map(|chosen| {
                let top = tops.next().and_then(|top| top.candidates).unwrap_or_default();
                let (token, logprob) = pair(chosen)?;
                Some(TokenLogprob { token, logprob, top: top.into_iter().filter_map(pair).collect() })
            })
            .collect()
    }

    /// Whether it has sources.
    pub(super) fn is_cited(&self) -> bool {
        self.citation_metadata.is_some() || self.grounding_metadata.is_some()
    }

    /// Passes the candidate's sources to `sink`; `place` returns the character that begins at a byte.
    pub(super) fn citations(&self, place: &dyn Fn(u64) -> Option<u64>, sink: &mut dyn FnMut(Citation<'a>)) {
        let cited = self.citation_metadata.and_then(|raw| serde_json::from_str::<CitationMetadata<'a>>(raw.get()).ok());
        let grounded =
            self.grounding_metadata.and_then(|raw| serde_json::from_str::<GroundingMetadata<'a>>(raw.get()).ok());
        citations::read(cited, grounded, place, sink);
    }
}

/// Arguments of a call, as the model wrote them.
pub(super) fn arguments(args: Option<&RawValue>) -> &str {
    args.map(RawValue::get).filter(|args| *args != "null").unwrap_or("{}")
}

/// Reads a reply.
///
/// # Errors
/// The error in the body, or one of class `BadGateway` when it is not a reply.
pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, Failure<'_>> {
    let wire = Wire::parse(body).filter(|wire| wire.error.is_none() && wire.is_reply());
    let Some(wire) = wire else { return Err(error::find(body).unwrap_or_else(no_reply)) };
    let blocked = wire.is_blocked();
    let (mut calls, mut lost) = (0, Unsupported::default());
    let mut candidates = wire.candidates.unwrap_or_default();
    candidates.sort_by_key(|candidate| candidate.index.unwrap_or(0));
    let told = candidates.first_mut().map(|first| (first.finish_reason.clone(), first.finish_message.take()));
    let mut choices: Vec<Choice<'_>> = candidates
        .into_iter()
        .map(|candidate| choice(candidate, wire.response_id.as_ref(), &mut calls, &mut lost))
        .collect();
    if choices.is_empty() && blocked {
        let finish = Finish::Filtered;
        choices.push(Choice { parts: Vec::new(), finish, stop_sequence: None, logprobs: Vec::new() });
    }
    if choices.iter().all(|choice| choice.finish == Finish::Failed && !says(&choice.parts)) {
        let (reason, message) = told.unwrap_or_default();
        return Err(error::nothing_said(reason, message));
    }
    Ok(Reply {
        id: wire.response_id,
        model: wire.model_version,
        created: None,
        choices,
        usage: wire.usage_metadata.map(|usage| usage.read()).unwrap_or_default(),
        service_tier: None,
        lost,
    })
}

/// Whether the parts have any content other than reasoning.
fn says(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| !matches!(part.content, Content::Thinking { .. } | Content::Redacted(_)))
}

fn no_reply() -> Failure<'static> {
    Failure::bad_gateway("the provider's answer is no generateContent response")
}

fn choice<'a>(
    mut candidate: Candidate<'a>,
    reply: Option<&Text<'a>>,
    calls: &mut u64,
    lost: &mut Unsupported,
) -> Choice<'a> {
    let content = candidate.content.take().and_then(|content| content.parts);
    let mut parts: Vec<Part<'a>> = Vec::new();
    let mut called = false;
    for part in content.into_iter().flat_map(|parts| parts.0) {
        let call = part.function_call.is_some();
        called |= call;
        match part.step() {
            Some(Step::Code(call)) => parts.push(Content::Hosted(Box::new(call)).into()),
            Some(Step::Result(result)) => match parts.iter_mut().rev().find_map(waiting) {
                Some(call) => result.complete(call),
                None => lost.add("codeExecutionResult"),
            },
            None => {}
        }
        if let Some(content) = read_part(part, reply, *calls, lost) {
            content::push(&mut parts, content, true);
        }
        *calls += u64::from(call);
    }
    cite(&candidate, &mut parts);
    // What was searched came before the answer.
    let said = parts.iter().position(|part| matches!(part.content, Content::Text { .. })).unwrap_or(parts.len());
    parts.splice(said..said, candidate.hosted().into_iter().map(|call| Content::Hosted(Box::new(call)).into()));
    Choice {
        finish: names::finish(candidate.finish_reason.as_ref(), called, !parts.is_empty()),
        parts,
        stop_sequence: None,
        logprobs: candidate.logprobs(),
    }
}

/// The call in a part, if it has no result yet.
fn waiting<'p, 'a>(part: &'p mut Part<'a>) -> Option<&'p mut HostedCall<'a>> {
    match &mut part.content {
        Content::Hosted(call) if call.error.is_some() => Some(call),
        _ => None,
    }
}

/// The content of a part; `None` for content that an answer can't have, which is reported in `lost`.
fn read_part<'a>(
    part: wire::Part<'a>,
    reply: Option<&Text<'a>>,
    index: u64,
    lost: &mut Unsupported,
) -> Option<Content<'a>> {
    let is_step = part.step().is_some();
    let of_googles_tools = part.of_googles_tools().filter(|_| !is_step);
    if let Some((name, _)) = of_googles_tools {
        lost.add(name);
    }
    lost.add_if(part.file_data.is_some(), "fileData");
    let signature = part.thought_signature.filter(|text| !text.is_empty()).map(|text| signature::read(text).0);
    if let Some(call) = part.function_call {
        let (name, arguments) = (call.name?, arguments(call.args));
        let given = call.id.filter(|id| !id.is_empty());
        let id = given.unwrap_or_else(|| names::call_id(reply, index, &name.decode(), arguments).into());
        return Some(Content::Call(Call { id, name: name.into(), arguments: Cow::Borrowed(arguments), signature }));
    }
    if let Some(blob) = part.inline_data {
        let made = part.thought != Some(true);
        lost.add_if(!made, DRAFT);
        return content::blob(blob).filter(|_| made).map(|media| Content::Media(Media { signature, ..media }));
    }
    if is_step {
        return None;
    }
    if part.text.is_none() && signature.is_none() {
        lost.add_if(of_googles_tools.is_none() && part.file_data.is_none(), "part");
        return None;
    }
    let text = part.text.unwrap_or_else(|| Text::from(""));
    match part.thought {
        Some(true) => Some(Content::Thinking { text, signature }),
        _ if text.is_empty() && signature.is_none() => None,
        _ => Some(Content::Text { text, citations: Vec::new(), signature }),
    }
}

/// Adds the candidate's sources to its last text.
fn cite<'a>(candidate: &Candidate<'a>, parts: &mut [Part<'a>]) {
    if !candidate.is_cited() {
        return;
    }
    let last = parts.iter_mut().rev().find_map(|part| match &mut part.content {
        Content::Text { text, citations, .. } => Some((text, citations)),
        _ => None,
    });
    let Some((text, citations)) = last else { return };
    let text = text.decode();
    let place = |byte: u64| {
        let before = text.get(..usize::try_from(byte).ok()?)?;
        u64::try_from(before.chars().count()).ok()
    };
    candidate.citations(&place, &mut |citation| citations.push(citation));
}
