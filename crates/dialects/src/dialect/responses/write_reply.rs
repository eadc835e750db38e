//! A reply for a client, and the objects that its stream shares with it.

use std::borrow::Cow;

use super::{FOREIGN_REASONING, HOME, IMAGE, REDACTED, SIGNS_CALL, client_tools::ClientTool, hosted, params::TIERS};
use crate::{
    conversation::{
        Citation, Content, Finish, HostedCall, Part, Reply, Signature, Text, TokenLogprob, TokenUsage, ToolForm,
        ToolName, free_text,
    },
    dialect::{ReplyHead, params::word},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Prefixes of other APIs' ids of replies.
const FOREIGN: [&str; 4] = ["chatcmpl-", "msg_bdrk_", "msg_", "resp_"];
/// The message for an answer that failed.
const FAILED: &str = "the model could not complete its answer";

/// Appends a reply. This dialect has one answer: the first.
pub(super) fn write(reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
    let core = core_id(reply.id.as_ref(), head);
    let model = head.model_or(reply.model.as_ref());
    let choice = reply.choices.first();
    let finish = choice.map(|choice| choice.finish).unwrap_or_default();
    let envelope = Envelope {
        id: &core,
        model: &model.decode(),
        created: reply.created.unwrap_or(head.created),
        ending: Some(Ending::of(finish)),
        usage: Some(&reply.usage),
        service_tier: reply.service_tier.as_ref().filter(|tier| word(TIERS, tier).is_some()),
    };
    envelope.write(out, |output| {
        let Some(choice) = choice else { return };
        let mut logprobs = Vec::new();
        write_logprobs(&mut ArrayWriter::begin(&mut logprobs), &choice.logprobs);
        // They are those of the text, and there are texts of several parts.
        let mut logprobs = Some(logprobs);
        let mut number = 0;
        for part in &choice.parts {
            write_content(part, &core, &mut number, &mut logprobs, output);
        }
    });
}

fn write_content(
    part: &Part<'_>,
    core: &str,
    number: &mut u32,
    logprobs: &mut Option<Vec<u8>>,
    output: &mut ArrayWriter<'_>,
) {
    let mut item = |made: &Made<'_>| {
        write_item(output.element(), &item_id(core, made, *number), made, true);
        *number += 1;
    };
    match &part.content {
        Content::Text { text, citations, .. } => {
            let mut annotations = Vec::new();
            let mut list = ArrayWriter::begin(&mut annotations);
            for citation in citations {
                write_annotation(&mut list, citation);
            }
            list.end();
            let logprobs = logprobs.take().unwrap_or_else(|| b"[]".to_vec());
            item(&Made::Text { text: &|out| text.write(out), annotations: &annotations, logprobs: &logprobs });
        }
        Content::Refusal(text) => item(&Made::Refusal { text: &|out| text.write(out) }),
        Content::Thinking { text, signature } => {
            let proof = signature.as_ref().map(|signature| signature.tagged(HOME));
            let write = |out: &mut Vec<u8>| text.write(out);
            item(&Made::Thinking { text: (!text.is_empty()).then_some(&write), proof: proof.as_ref() });
        }
        Content::Redacted(signature) => {
            item(&Made::Thinking { text: None, proof: Some(&marked(REDACTED, signature)) });
        }
        Content::Call(call) => {
            if let Some(signature) = &call.signature {
                item(&Made::Thinking { text: None, proof: Some(&marked(SIGNS_CALL, signature)) });
            }
            let (text, cut) = if call.name.form == ToolForm::Custom {
                let (text, whole) = free_text::text_of(&call.arguments);
                (Cow::Owned(text), !whole)
            } else {
                (Cow::Borrowed(&*call.arguments), call.object().is_none())
            };
            item(&Made::Call { id: &call.id, name: &call.name, arguments: &|| text.clone(), cut });
        }
        Content::Hosted(call) => item(&Made::Hosted(call)),
        Content::Media(media) => {
            let Some((mime, data)) = media.image_data() else { return };
            if let Some(signature) = &media.signature {
                item(&Made::Thinking { text: None, proof: Some(&marked(SIGNS_CALL, signature)) });
            }
            item(&Made::Image { mime, data: &|out| data.write(out) });
        }
        // Models don't answer with results.
        Content::Result(_) => {}
    }
}

/// A signature that does not sign reasoning, in the field for reasoning.
pub(super) fn marked(mark: &str, signature: &Signature<'_>) -> Text<'static> {
    // OpenAI's own redacted reasoning is reasoning without a summary.
    if signature.maker == HOME && mark == REDACTED {
        return signature.value.clone().into_owned();
    }
    Text::from(format!("{mark}{}", signature.tagged(HOME).decode()))
}

/// The common part of a reply's ids: the provider's id without its prefix, or the gateway's.
pub(super) fn core_id(id: Option<&Text<'_>>, head: &ReplyHead) -> String {
    let Some(id) = id else { return head.id.clone() };
    let id = id.decode();
    let id = FOREIGN.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(&id);
    let kept: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').take(64).collect();
    if kept.is_empty() { head.id.clone() } else { kept }
}

/// The id of an item.
pub(super) fn item_id(core: &str, made: &Made<'_>, number: u32) -> String {
    let prefix = match made {
        Made::Text { .. } | Made::Refusal { .. } => "msg",
        Made::Thinking { .. } => FOREIGN_REASONING,
        Made::Image { .. } => "ig",
        Made::Call { name, .. } => ClientTool::of(name.form).map_or("fc", |tool| tool.prefix),
        Made::Hosted(call) => hosted::prefix(call),
    };
    format!("{prefix}_{core}_{number}")
}

/// Appends a JSON string.
pub(super) type Put<'p> = &'p dyn Fn(&mut Vec<u8>);

/// An item of the output.
pub(super) enum Made<'p> {
    /// A message of one text; annotations and log-probabilities are JSON arrays.
    Text { text: Put<'p>, annotations: &'p [u8], logprobs: &'p [u8] },
    /// A message of one refusal.
    Refusal { text: Put<'p> },
    /// Reasoning, or its signature alone.
    Thinking { text: Option<Put<'p>>, proof: Option<&'p Text<'p>> },
    /// An image that the model has made: its media type, and its base64 as a JSON string.
    Image { mime: &'p str, data: Put<'p> },
    /// A call; `cut` if its arguments are not whole, as those of an answer that was cut short.
    Call { id: &'p Text<'p>, name: &'p ToolName<'p>, arguments: &'p dyn Fn() -> Cow<'p, str>, cut: bool },
    /// A call that the provider has run.
    Hosted(&'p HostedCall<'p>),
}

/// Appends an item: whole, or empty, as it is announced.
pub(super) fn write_item(out: &mut Vec<u8>, id: &str, made: &Made<'_>, done: bool) {
    let mut item = ObjectWriter::begin(out).with("id", id);
    let status = if done { "completed" } else { "in_progress" };
    match made {
        Made::Text { .. } | Made::Refusal { .. } => {
            item.field("type", "message");
            item.field("status", status);
            item.field("role", "assistant");
            let mut content = item.array("content");
            if done {
                write_part(content.element(), made, true);
            }
        }
        Made::Thinking { text, proof } => {
            item.field("type", "reasoning");
            let mut summary = item.array("summary");
            if let Some(text) = text.filter(|_| done) {
                write_summary(summary.element(), Some(text));
            }
            summary.end();
            item.maybe("encrypted_content", proof.filter(|_| done));
        }
        Made::Image { mime, data } => {
            item.field("type", IMAGE);
            item.field("status", status);
            if done {
                data(item.key("result"));
                item.field("output_format", mime.trim_start_matches("image/").trim_end_matches("+xml"));
            } else {
                item.raw("result", "null");
            }
        }
        Made::Call { id, name, arguments, cut } => {
            let Some(tool) = ClientTool::of(name.form) else { return };
            item.field("type", tool.call);
            item.field("status", if done && *cut { "incomplete" } else { status });
            item.field("call_id", id);
            tool.write_call(name, done.then(arguments).as_deref(), &mut item);
        }
        Made::Hosted(call) => hosted::write(call, done, &mut item),
    }
}

/// Appends the part of a message: whole, or as it is announced.
pub(super) fn write_part(out: &mut Vec<u8>, made: &Made<'_>, done: bool) {
    let mut part = ObjectWriter::begin(out);
    let (key, text) = match made {
        Made::Text { text, annotations, logprobs } => {
            part.field("type", "output_text");
            let (annotations, logprobs) = if done { (*annotations, *logprobs) } else { (&b"[]"[..], &b"[]"[..]) };
            part.key("annotations").extend_from_slice(annotations);
            part.key("logprobs").extend_from_slice(logprobs);
            ("text", Some(*text))
        }
        Made::Refusal { text } => {
            part.field("type", "refusal");
            ("refusal", Some(*text))
        }
        Made::Thinking { .. } | Made::Image { .. } | Made::Call { .. } | Made::Hosted(_) => ("text", None),
    };
    write_text(part.key(key), text.filter(|_| done));
}

/// Appends a paragraph of reasoning.
pub(super) fn write_summary(out: &mut Vec<u8>, text: Option<Put<'_>>) {
    let mut part = ObjectWriter::begin(out).with("type", "summary_text");
    write_text(part.key("text"), text);
}

fn write_text(out: &mut Vec<u8>, text: Option<Put<'_>>) {
    match text {
        Some(text) => text(out),
        None => out.extend_from_slice(b"\"\""),
    }
}

/// Appends an annotation. A source without a URL gets none.
pub(super) fn write_annotation(list: &mut ArrayWriter<'_>, citation: &Citation<'_>) {
    let Some(url) = &citation.url else { return };
    let mut object = list.object().with("type", "url_citation").with("start_index", &citation.start.unwrap_or(0));
    object.field("end_index", &citation.end.unwrap_or(0));
    object.field("url", url);
    match &citation.title {
        Some(title) => object.field("title", title),
        None => object.field("title", ""),
    }
}

/// Appends tokens with their log-probabilities.
pub(super) fn write_logprobs(list: &mut ArrayWriter<'_>, tokens: &[TokenLogprob<'_>]) {
    fn token(object: &mut ObjectWriter<'_>, text: &Text<'_>, logprob: f64) {
        object.field("token", text);
        object.field("bytes", text.decode().as_bytes());
        object.field("logprob", &logprob);
    }
    for one in tokens {
        let mut object = list.object();
        token(&mut object, &one.token, one.logprob);
        let mut top = object.array("top_logprobs");
        for (text, logprob) in &one.top {
            let mut object = top.object();
            token(&mut object, text, *logprob);
        }
    }
}

/// How a response ended.
#[derive(Clone, Copy)]
pub(super) enum Ending<'e> {
    /// Regularly.
    Completed,
    /// Too early, for this reason.
    Incomplete(&'static str),
    /// With this code and message.
    Failed(&'e str, &'e str),
}

impl Ending<'_> {
    /// The ending for a reason.
    pub(super) const fn of(finish: Finish) -> Self {
        match finish {
            Finish::Stop | Finish::ToolCalls => Self::Completed,
            Finish::Length => Self::Incomplete("max_output_tokens"),
            Finish::Filtered => Self::Incomplete("content_filter"),
            Finish::Failed => Self::Failed("server_error", FAILED),
        }
    }

    /// The status of the response, which is also the last part of its last event's name.
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(..) => "failed",
        }
    }
}

/// A `response` object without its output.
pub(super) struct Envelope<'e> {
    /// The id without its prefix.
    pub id: &'e str,
    pub model: &'e str,
    pub created: u64,
    /// `None` while it is in progress.
    pub ending: Option<Ending<'e>>,
    pub usage: Option<&'e TokenUsage>,
    pub service_tier: Option<&'e Text<'e>>,
}

impl Envelope<'_> {
    /// Appends the object, with the output that `output` writes.
    pub(super) fn write(&self, out: &mut Vec<u8>, output: impl FnOnce(&mut ArrayWriter<'_>)) {
        let mut top = ObjectWriter::begin(out).with("id", &format_args!("resp_{}", self.id)).with("object", "response");
        top.field("created_at", &self.created);
        top.field("status", self.ending.map_or("in_progress", Ending::status));
        top.raw("background", "false");
        if let Some(Ending::Failed(code, message)) = self.ending {
            top.object("error").with("code", code).with("message", message);
        } else {
            top.raw("error", "null");
        }
        if let Some(Ending::Incomplete(reason)) = self.ending {
            top.object("incomplete_details").with("reason", reason);
        } else {
            top.raw("incomplete_details", "null");
        }
        top.raw("instructions", "null");
        top.raw("metadata", "{}");
        top.field("model", self.model);
        let mut list = top.array("output");
        output(&mut list);
        list.end();
        top.raw("parallel_tool_calls", "true");
        top.raw("previous_response_id", "null");
        top.maybe("service_tier", self.service_tier);
        top.raw("store", "false");
        top.raw("temperature", "null");
        top.raw("text", r#"{"format":{"type":"text"}}"#);
        top.field("tool_choice", "auto");
        top.raw("tools", "[]");
        top.raw("top_p", "null");
        match self.usage.filter(|usage| !usage.is_empty()) {
            Some(usage) => write_usage(&mut top, usage),
            None => top.raw("usage", "null"),
        }
    }
}

fn write_usage(top: &mut ObjectWriter<'_>, usage: &TokenUsage) {
    let mut object = top.object("usage").with("input_tokens", &usage.input.unwrap_or(0));
    object
        .object("input_tokens_details")
        .with("cached_tokens", &usage.cached.unwrap_or(0))
        .with("cache_write_tokens", &usage.cache_write.unwrap_or(0));
    object.field("output_tokens", &usage.output.unwrap_or(0));
    object.object("output_tokens_details").with("reasoning_tokens", &usage.reasoning.unwrap_or(0));
    object.field("total_tokens", &usage.total());
}
