//! Reasoning in messages: plain text, `thinking_blocks` in Anthropic's form, and `reasoning_details` in `OpenRouter`'s.
//!
//! The two lists have the same content. Clients keep the one that they know.
//! <https://openrouter.ai/docs/use-cases/reasoning-tokens>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    steps::{Steps, Thought},
    wire::{HOME, WireMessage, WirePart},
};
use crate::{
    conversation::{CarriedReasoning, Content, Signature, SignatureOrigin, Text, Unsupported},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Values of `format`, and the origin of the signatures that each states. The first of an origin is the one written.
const FORMATS: [(&str, SignatureOrigin); 4] = [
    ("anthropic-claude-v1", SignatureOrigin::Anthropic),
    ("openai-responses-v1", SignatureOrigin::OpenAi),
    ("azure-openai-responses-v1", SignatureOrigin::OpenAi),
    ("google-gemini-v1", SignatureOrigin::Google),
];

/// An element of `reasoning_details`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireDetail<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    summary: Option<Text<'a>>,
    data: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    format: Option<Text<'a>>,
    id: Option<Text<'a>>,
    index: Option<&'a RawValue>,
}

/// What an element continues: streams have an element in pieces.
#[derive(Clone, Copy, PartialEq)]
enum Continues<'a> {
    /// An element of this index.
    Index(Option<&'a str>),
    /// A summary, whose encrypted form it is.
    Summary,
}

/// The reasoning in a message.
#[derive(Default)]
pub(super) struct Reasoning<'a> {
    pub thoughts: Vec<Thought<'a>>,
    /// Google's signatures of calls.
    pub signatures: CallSignatures<'a>,
    /// What may continue the latest element.
    open: [Option<Continues<'a>>; 2],
}

/// Signatures of calls by the ids of these calls.
#[derive(Default)]
pub(super) struct CallSignatures<'a>(BTreeMap<String, Signature<'a>>);

impl<'a> CallSignatures<'a> {
    /// The signature of the call that has this id. One that names no call is the first call's.
    pub fn take(&mut self, id: &Text<'_>) -> Option<Signature<'a>> {
        if self.0.is_empty() { None } else { self.0.remove(&*id.decode()).or_else(|| self.0.remove("")) }
    }

    /// Whether a signature is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Reasoning<'a> {
    /// The reasoning of a message: signed, or else its plain text. Elements that can't be read are added to `lost`.
    pub fn of(message: &WireMessage<'a>, lost: &mut Unsupported) -> Self {
        let mut found = Self { thoughts: blocks(message, lost), ..Self::default() };
        let details = Self::details(message, lost);
        if !found.thoughts.iter().any(|thought| is_signed(&thought.content)) && !details.thoughts.is_empty() {
            found.thoughts = details.thoughts;
        }
        found.signatures = details.signatures;
        if found.thoughts.is_empty() {
            let plain = message.thoughts().map(|text| Content::Thinking { text, signature: None });
            found.thoughts.extend(plain.map(Thought::from));
        }
        found
    }

    /// The reasoning in `reasoning_details`, or in those of a delta. Elements that can't be read are added to `lost`.
    pub fn details(message: &WireMessage<'a>, lost: &mut Unsupported) -> Self {
        let mut found = Self::default();
        for detail in list::<WireDetail<'a>>(message.reasoning_details, "reasoning_details", lost) {
            if !found.detail(detail) {
                lost.add("reasoning_details");
            }
        }
        found
    }

    /// Adds an element. Returns `false` if it can't be read.
    fn detail(&mut self, detail: WireDetail<'a>) -> bool {
        let WireDetail { kind, text, summary, data, signature, format, id, index } = detail;
        let Some(kind) = kind else { return false };
        let (steps, signature) = match signature.or(data).filter(|text| !text.is_empty()).map(Steps::split) {
            Some((steps, signature)) => (steps, Some(signature)),
            None => (Steps::default(), None),
        };
        let signature = signature.map(|signature| origin(signature, format.as_ref()));
        match &*kind.decode() {
            "reasoning.text" | "reasoning.summary" => {
                let index = Continues::Index(index.map(RawValue::get));
                let open = [Some(index), summary.is_some().then_some(Continues::Summary)];
                let text = text.or(summary).unwrap_or_else(|| Text::from(""));
                self.text(index, steps, text, signature.flatten());
                self.open = open;
                true
            }
            "reasoning.encrypted" => match (signature, id) {
                // Nothing is encrypted.
                (None, _) => true,
                (Some(None), _) => false,
                (Some(Some(signature)), id) if signature.maker == SignatureOrigin::Google => {
                    let id = id.map(|id| id.decode().into_owned()).unwrap_or_default();
                    self.signatures.0.insert(id, signature);
                    true
                }
                // The encrypted form of the summary before it.
                (Some(Some(signature)), _) if signature.maker == SignatureOrigin::OpenAi => {
                    self.text(Continues::Summary, steps, Text::from(""), Some(signature));
                    true
                }
                (Some(Some(signature)), _) => {
                    self.thoughts.push(Thought { steps, content: Content::Redacted(signature) });
                    true
                }
            },
            _ => false,
        }
    }

    /// Adds reasoning as text, which may continue the element before, up to a signature.
    fn text(&mut self, continues: Continues<'a>, steps: Steps, more: Text<'a>, proof: Option<Signature<'a>>) {
        let open = self.open.contains(&Some(continues));
        if let Some(Thought { steps: before, content: Content::Thinking { text, signature: signature @ None } }) =
            self.thoughts.last_mut().filter(|_| open)
        {
            let whole = std::mem::replace(text, Text::from(""));
            *text = Text::join([whole, more].into_iter().filter(|text| !text.is_empty()), "");
            *signature = proof;
            if before.is_empty() {
                *before = steps;
            }
        } else if !more.is_empty() || proof.is_some() {
            self.thoughts.push(Thought { steps, content: Content::Thinking { text: more, signature: proof } });
        }
    }
}

impl<'a> IntoIterator for CallSignatures<'a> {
    type Item = (String, Signature<'a>);
    type IntoIter = std::collections::btree_map::IntoIter<String, Signature<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> From<Content<'a>> for Thought<'a> {
    fn from(content: Content<'a>) -> Self {
        Self { steps: Steps::default(), content }
    }
}

/// The elements of `thinking_blocks`.
fn blocks<'a>(message: &WireMessage<'a>, lost: &mut Unsupported) -> Vec<Thought<'a>> {
    let blocks = list::<WirePart<'a>>(message.thinking_blocks, "thinking_blocks", lost);
    let unknown = blocks.iter().filter_map(|block| block.kind.as_ref().map(Text::decode));
    unknown.filter(|kind| !kind.ends_with("thinking")).for_each(|kind| lost.add(kind.into_owned()));
    blocks.into_iter().filter_map(WirePart::into_thought).collect()
}

/// The elements of a list; none, with its name in `lost`, if it is not one.
fn list<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &'static str, lost: &mut Unsupported) -> Vec<T> {
    match raw.map(RawValue::get) {
        None | Some("null") => Vec::new(),
        Some(json) => serde_json::from_str(json).unwrap_or_else(|_| {
            lost.add(name);
            Vec::new()
        }),
    }
}

fn is_signed(content: &Content<'_>) -> bool {
    matches!(content, Content::Thinking { signature: Some(_), .. } | Content::Redacted(_))
}

/// A signature of the origin that its tag or else its `format` states. Without a format it is Claude's, the default of
/// `OpenRouter`'s client. `None` for other vendors, whose signatures no target of this gateway can read.
fn origin<'a>(signature: Text<'a>, format: Option<&Text<'a>>) -> Option<Signature<'a>> {
    let maker = match format {
        None => Some(SignatureOrigin::Anthropic),
        Some(format) => FORMATS.iter().find(|(name, _)| format.is(name)).map(|(_, maker)| *maker),
    };
    let is_tagged = Signature::untagged(signature.reborrow(), HOME).maker != HOME;
    match maker {
        Some(maker) => Some(Signature::untagged(signature, maker)),
        None => is_tagged.then(|| Signature::untagged(signature, HOME)),
    }
}

/// Writes the elements of one block of reasoning in `reasoning_details`. `index` numbers them.
pub(super) fn write_details(content: &Content<'_>, steps: &mut Steps, index: &mut u32, list: &mut ArrayWriter<'_>) {
    match content {
        Content::Thinking { text, signature } => {
            let encrypted = signature.as_ref().filter(|signature| signature.maker == SignatureOrigin::OpenAi);
            if encrypted.is_some() && !text.is_empty() {
                detail("reasoning.summary", signature.as_ref(), index, list).with("summary", text);
            }
            if let Some(signature) = encrypted {
                write_encrypted(signature, None, steps, index, list);
            } else {
                let mut entry = detail("reasoning.text", signature.as_ref(), index, list).with("text", text);
                if let Some(signature) = signature {
                    entry.field("signature", &steps.sign(signature.value.reborrow()));
                }
            }
        }
        Content::Redacted(signature) => write_encrypted(signature, None, steps, index, list),
        _ => {}
    }
}

/// Writes encrypted reasoning, or the signature of the call that has this `id`.
pub(super) fn write_encrypted(
    signature: &Signature<'_>,
    id: Option<&Text<'_>>,
    steps: &mut Steps,
    index: &mut u32,
    list: &mut ArrayWriter<'_>,
) {
    let mut entry = detail("reasoning.encrypted", Some(signature), index, list);
    entry.field("data", &steps.sign(signature.value.reborrow()));
    entry.maybe("id", id);
}

fn detail<'l>(
    kind: &str,
    signature: Option<&Signature<'_>>,
    index: &mut u32,
    list: &'l mut ArrayWriter<'_>,
) -> ObjectWriter<'l> {
    let format = FORMATS.iter().find(|(_, maker)| signature.is_some_and(|signature| signature.maker == *maker));
    let entry = list.object().with("type", kind).with("format", format.map_or("unknown", |(name, _)| name));
    let number = *index;
    *index = index.saturating_add(1);
    entry.with("index", &number)
}

/// The signature of a call for a client: the model's, or the reasoning that led to the call.
pub(super) fn call_signature<'s>(
    signature: Option<&'s Signature<'s>>,
    carried: &mut CarriedReasoning,
) -> Option<Signature<'s>> {
    // Taken in any case: it belongs to this call alone.
    let carried = carried.take();
    signature.cloned().or(carried)
}
