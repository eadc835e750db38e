//! Types that requests, replies and chunks of Chat Completions share on the wire.
//!
//! Every field is optional and unknown fields are ignored. A tagged union is one flat struct, so that its fields can be
//! slices of the document.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::steps::{Steps, Thought};
use crate::conversation::{
    self, Cache, CarriedReasoning, Citation, Content, Signature, SignatureOrigin, Text, TokenLogprob, Unsupported,
    call_arguments,
};

/// Fields of a request that are ignored without a report: tags, and metadata of earlier answers.
pub(super) const PASSED: &[&str] = &[
    "type",
    "id",
    "index",
    "annotations",
    "timestamp",
    // OpenAI's client adds this to the replies that it has parsed.
    "parsed",
    "parsed_arguments",
    // Azure's filters and sources, and the end of Mistral's reasoning.
    "content_filter_results",
    "context",
    "closed",
    // Hints for faster streaming.
    "eager_input_streaming",
];

/// The origin of signatures that have no tag in this dialect's fields.
pub(super) const HOME: SignatureOrigin = SignatureOrigin::OpenAi;

/// A message of any role, or the delta of one.
#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireMessage<'a> {
    pub role: Option<Text<'a>>,
    pub content: Option<&'a RawValue>,
    pub refusal: Option<Text<'a>>,
    pub reasoning_content: Option<&'a RawValue>,
    pub reasoning: Option<&'a RawValue>,
    pub thinking_blocks: Option<&'a RawValue>,
    pub reasoning_details: Option<&'a RawValue>,
    pub annotations: Option<&'a RawValue>,
    pub tool_calls: Option<Vec<WireCall<'a>>>,
    /// Images that a model has made.
    pub images: Option<&'a RawValue>,
    pub function_call: Option<WireFunction<'a>>,
    pub tool_call_id: Option<Text<'a>>,
    pub name: Option<Text<'a>>,
    pub audio: Option<&'a RawValue>,
    pub cache_control: Option<&'a RawValue>,
}

/// A call, or the delta of one.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireCall<'a> {
    pub index: Option<i64>,
    pub id: Option<Text<'a>>,
    pub function: Option<WireFunction<'a>>,
    pub custom: Option<WireCustomCall<'a>>,
    pub extra_content: Option<&'a RawValue>,
}

/// A called function.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireFunction<'a> {
    pub name: Option<Text<'a>>,
    pub arguments: Option<&'a RawValue>,
}

/// A call of a tool that takes free text.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireCustomCall<'a> {
    pub name: Option<Text<'a>>,
    pub input: Option<Text<'a>>,
}

/// A part of a message's content.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WirePart<'a> {
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub text: Option<Text<'a>>,
    pub refusal: Option<Text<'a>>,
    pub thinking: Option<&'a RawValue>,
    pub signature: Option<Text<'a>>,
    pub data: Option<Text<'a>>,
    pub image_url: Option<&'a RawValue>,
    pub video_url: Option<&'a RawValue>,
    pub input_audio: Option<&'a RawValue>,
    pub file: Option<&'a RawValue>,
    pub cache_control: Option<&'a RawValue>,
    pub prompt_cache_breakpoint: Option<&'a RawValue>,
}

impl<'a> WirePart<'a> {
    /// The mark for prompt caching on the part.
    pub fn cache(&self) -> Option<Cache<'a>> {
        self.cache_control.or(self.prompt_cache_breakpoint).map(cache)
    }

    /// The reasoning in the part: Anthropic's string, or Mistral's list of texts.
    pub fn thoughts(&self) -> Text<'a> {
        let Some(raw) = self.thinking else { return Text::from("") };
        Text::of(raw).unwrap_or_else(|| {
            let chunks: Vec<WirePart<'a>> = serde_json::from_str(raw.get()).unwrap_or_default();
            Text::join(chunks.into_iter().filter_map(|chunk| chunk.text), "")
        })
    }

    /// The kind of a part of a reply that the conversation does not support.
    pub fn unknown_kind(&self) -> Option<String> {
        const KNOWN: [&str; 5] = ["text", "output_text", "refusal", "thinking", "redacted_thinking"];
        let kind = self.kind.as_ref()?.decode();
        (!KNOWN.contains(&&*kind)).then(|| kind.into_owned())
    }

    /// An element of `thinking_blocks`, or Mistral's chunk of reasoning.
    pub fn into_thought(self) -> Option<Thought<'a>> {
        let signed = |text: Text<'a>| {
            let (steps, text) = Steps::split(text);
            (steps, Signature::untagged(text, HOME))
        };
        match self.kind.as_ref()?.decode().as_ref() {
            "thinking" => {
                let text = self.thoughts();
                let (steps, signature) = self.signature.map(signed).unzip();
                let content = Content::Thinking { text, signature };
                Some(Thought { steps: steps.unwrap_or_default(), content })
            }
            "redacted_thinking" => {
                let (steps, data) = self.data.map(signed)?;
                Some(Thought { steps, content: Content::Redacted(data) })
            }
            _ => None,
        }
    }

    /// The reasoning in such an element, whatever its place.
    pub fn into_thinking(self) -> Option<Content<'a>> {
        self.into_thought().map(|thought| thought.content)
    }
}

impl<'a> WireMessage<'a> {
    /// The plain text of the reasoning, unless there is none.
    pub fn thoughts(&self) -> Option<Text<'a>> {
        let some = |raw: Option<&'a RawValue>| raw.and_then(Text::of).filter(|text| !text.is_empty());
        some(self.reasoning_content).or_else(|| some(self.reasoning))
    }

    /// The sources that the text cites.
    pub fn citations(&self) -> Vec<Citation<'a>> {
        #[derive(Deserialize)]
        struct Annotation<'a> {
            #[serde(borrow)]
            url_citation: Option<UrlCitation<'a>>,
        }
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        struct UrlCitation<'a> {
            url: Option<Text<'a>>,
            title: Option<Text<'a>>,
            start_index: Option<u64>,
            end_index: Option<u64>,
        }
        let Some(raw) = self.annotations else { return Vec::new() };
        let all: Vec<Annotation<'a>> = serde_json::from_str(raw.get()).unwrap_or_default();
        let cited = all.into_iter().filter_map(|annotation| annotation.url_citation);
        cited
            .map(|c| Citation { url: c.url, title: c.title, quote: None, start: c.start_index, end: c.end_index })
            .collect()
    }
}

impl<'a> WireCall<'a> {
    /// Gemini's signature of the call, or the reasoning that it carries.
    pub fn proof(&self) -> Option<CallProof<'a>> {
        let text = self.signature_text()?;
        let carried = CarriedReasoning::read(&text.decode());
        Some(match carried {
            Some(carried) => CallProof::Reasoning(carried),
            None => CallProof::Signature(Signature::untagged(text, SignatureOrigin::Google)),
        })
    }

    /// Gemini's signature of the call.
    pub fn signature(&self) -> Option<Signature<'a>> {
        match self.proof()? {
            CallProof::Signature(signature) => Some(signature),
            CallProof::Reasoning(_) => None,
        }
    }

    /// The field for signatures.
    pub fn signature_text(&self) -> Option<Text<'a>> {
        google_signature(self.extra_content?)
    }
}

/// A signature in `extra_content`, under the name of either of Google's clouds.
pub(super) fn google_signature(extra_content: &RawValue) -> Option<Text<'_>> {
    #[derive(Deserialize)]
    struct Extra<'a> {
        #[serde(borrow, alias = "vertex")]
        google: Option<Google<'a>>,
    }
    #[derive(Deserialize)]
    struct Google<'a> {
        #[serde(borrow)]
        thought_signature: Option<Text<'a>>,
    }
    let extra: Extra<'_> = serde_json::from_str(extra_content.get()).ok()?;
    extra.google?.thought_signature
}

/// What the field for the signature of a call holds.
pub(super) enum CallProof<'a> {
    /// The model's signature of the call.
    Signature(Signature<'a>),
    /// The reasoning that led to the call.
    Reasoning(Vec<Content<'static>>),
}

/// The arguments of a call as the text of a JSON object; on the wire they are a string with that text or the object
/// itself. `None` when they are something else, or nested too deep for common parsers.
pub(super) fn arguments(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let Some(raw) = raw else { return Some(Cow::Borrowed("{}")) };
    call_arguments(written(raw))
}

/// The arguments of a call in a history, in which they may be any text; `None` when they are neither a text nor an
/// object.
pub(super) fn earlier_arguments<'a>(raw: Option<&'a RawValue>, dropped: &mut Unsupported) -> Option<Cow<'a, str>> {
    let Some(raw) = raw else { return Some(Cow::Borrowed("{}")) };
    let readable = raw.get().starts_with(['"', '{']);
    readable.then(|| conversation::earlier_arguments(written(raw), dropped))
}

/// The arguments of a call as text, even if they are not an object.
pub(super) fn written(raw: &RawValue) -> Cow<'_, str> {
    Text::of(raw).map_or(Cow::Borrowed(raw.get()), Text::into_decoded)
}

/// A cache mark in Anthropic's (`cache_control`) or OpenAI's form (`prompt_cache_breakpoint`).
pub(super) fn cache(raw: &RawValue) -> Cache<'_> {
    #[derive(Deserialize)]
    struct Mark<'a> {
        #[serde(borrow)]
        ttl: Option<Text<'a>>,
    }
    Cache { ttl: serde_json::from_str::<Mark<'_>>(raw.get()).ok().and_then(|mark| mark.ttl) }
}

/// `logprobs` of a choice; those of a refusal follow those of the content.
pub(super) fn logprobs<'a>(raw: &'a RawValue) -> Vec<TokenLogprob<'a>> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Logprobs<'a> {
        content: Option<Vec<Token<'a>>>,
        refusal: Option<Vec<Token<'a>>>,
    }
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Token<'a> {
        #[expect(clippy::struct_field_names, reason = "as the wire has it")]
        token: Text<'a>,
        logprob: f64,
        top_logprobs: Option<Vec<Token<'a>>>,
    }
    let Ok(Some(wire)) = serde_json::from_str::<Option<Logprobs<'_>>>(raw.get()) else { return Vec::new() };
    let tokens = wire.content.into_iter().chain(wire.refusal).flatten();
    let top = |top: Token<'a>| (top.token, top.logprob);
    tokens
        .map(|token| TokenLogprob {
            token: token.token,
            logprob: token.logprob,
            top: token.top_logprobs.into_iter().flatten().map(top).collect(),
        })
        .collect()
}
