//! Token counts: by the provider where it counts, else estimated.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;

use super::{Answer, BYTES_PER_TOKEN, Back as AnyBack, Lookup, Refused, Said, Sent, To, not_understood, sent};
use crate::{
    conversation::{Content, Failure, Invalid, Names, Part, Request, Source, Text, Unsupported},
    dialect::{BedrockVerb, Destination, DialectId, Endpoint, GeminiVerb, ModelFacts, Server, Usage},
    stream::{
        TopLevel,
        json::{Member, ObjectWriter},
    },
};

/// What an image, a document or a sound is taken for, in tokens.
const TOKENS_PER_MEDIUM: u64 = 256;
/// Version of the body that Claude on Vertex AI wants.
const VERTEX_VERSION: &str = "vertex-2023-10-16";

// What each API of counts reads. It refuses, or may refuse, what else a conversation has.
const MESSAGES: [&str; 6] = ["system", "messages", "tools", "tool_choice", "thinking", "output_config"];
const RESPONSES: [&str; 9] = [
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
];
const VERTEX: [&str; 4] = ["systemInstruction", "contents", "tools", "generationConfig"];
const CONVERSE: [&str; 4] = ["system", "messages", "toolConfig", "additionalModelRequestFields"];

/// What is needed to answer.
#[derive(Debug)]
pub(super) struct Back {
    form: Form,
    /// What is told where the provider does not count.
    estimate: u64,
    server: Server,
    /// The provider is asked.
    asked: bool,
}

/// How the client asked, and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Messages,
    Gemini,
    Bedrock,
}

/// Reads the conversation whose tokens the client wants counted, and plans how the provider is asked.
pub(super) fn read(endpoint: &Endpoint, top: &TopLevel<'_>, to: &To<'_>) -> Result<Lookup, Refused> {
    match endpoint {
        Endpoint::Gemini(..) => {
            let whole = top.get("generateContentRequest").or_else(|| top.get("generate_content_request"));
            match whole {
                Some(whole) => plan(DialectId::Gemini, &inner(whole)?, Form::Gemini, to),
                None => plan(DialectId::Gemini, top, Form::Gemini, to),
            }
        }
        Endpoint::Bedrock(..) => {
            let missing = || Invalid::new("input", "must have a member 'converse' or 'invokeModel'");
            let input = inner(top.get("input").ok_or_else(missing)?)?;
            if let Some(converse) = input.get("converse") {
                return plan(DialectId::Converse, &inner(converse)?, Form::Bedrock, to);
            }
            let invoke = inner(input.get("invokeModel").ok_or_else(missing)?)?;
            let bad = |why: &str| Invalid::new("input.invokeModel.body", why.to_owned());
            let body = invoke.get("body").and_then(Member::as_str).ok_or_else(|| bad("must be a string"))?;
            let body = BASE64_STANDARD.decode(&*body).map_err(|_| bad("must be base64"))?;
            let claude = TopLevel::scan(&body).map_err(|error| bad(&error.to_string()))?;
            if !claude.contains("messages") {
                return Err(bad("only Anthropic's Messages are known to this route's provider").into());
            }
            plan(DialectId::Messages, &claude, Form::Bedrock, to)
        }
        _ => plan(DialectId::Messages, top, Form::Messages, to),
    }
}

/// The members of an object in a body.
fn inner<'a>(member: &Member<'a>) -> Result<TopLevel<'a>, Invalid> {
    TopLevel::scan(member.value).map_err(|_| Invalid::new(member.name(), "must be an object"))
}

fn plan(dialect: DialectId, top: &TopLevel<'_>, form: Form, to: &To<'_>) -> Result<Lookup, Refused> {
    let mut request = dialect.dialect().read_request(top)?;
    let _ = Names::fit(&mut request);
    let mut dropped = request.dropped.clone();
    let asks: Vec<Sent> = match counter(to, &request) {
        Some((target, model)) => vec![ask(&request, target, to.server, model, &mut dropped)?],
        None => Vec::new(),
    };
    let back = Back { form, estimate: estimate(&request), server: to.server, asked: !asks.is_empty() };
    Ok(Lookup { asks, dropped, back: AnyBack::Count(back) })
}

/// The dialect in which the provider counts, and the model's name there; nothing when it can't count this.
fn counter<'a>(to: &To<'a>, request: &Request<'_>) -> Option<(DialectId, &'a str)> {
    let dialect = match to.server {
        Server::Anthropic | Server::VertexClaude => DialectId::Messages,
        Server::AiStudio | Server::Vertex => DialectId::Gemini,
        Server::Bedrock => DialectId::Converse,
        Server::OpenAi => DialectId::Responses,
        Server::Azure | Server::Mistral | Server::DeepSeek | Server::Compatible => return None,
    };
    let model = to.model.filter(|_| to.has_paths)?;
    let model = if to.server == Server::Bedrock { foundation(model)? } else { model };
    // A count is not worth fetching media for.
    (to.server.fetches_urls() || !media(request).any(|source| matches!(source, Source::Url { .. })))
        .then_some((dialect, model))
}

/// The foundation model of an inference profile, which is what Bedrock counts for. The ARN of one's own profile does
/// not tell.
fn foundation(model: &str) -> Option<&str> {
    const PLACES: [&str; 9] = ["us", "us-gov", "eu", "apac", "ap", "global", "jp", "au", "ca"];
    let model = if model.starts_with("arn:") {
        let (kind, name) = model.rsplit_once('/')?;
        (kind.ends_with(":foundation-model") || kind.ends_with(":inference-profile")).then_some(name)?
    } else {
        model
    };
    match model.split_once('.') {
        Some((place, rest)) if PLACES.contains(&place) => Some(rest),
        _ => Some(model),
    }
}

/// The request that counts.
fn ask(
    request: &Request<'_>,
    dialect: DialectId,
    server: Server,
    model: &str,
    dropped: &mut Unsupported,
) -> Result<Sent, Invalid> {
    let destination = Destination { model, facts: ModelFacts::of(model), server };
    let mut written = Vec::new();
    dialect.dialect().write_request(request, &destination, dropped, &mut written)?;
    let top = TopLevel::scan(&written).map_err(|error| Invalid::new("", error.to_string()))?;
    let mut body = Vec::with_capacity(written.len() + 64);
    let mut out = ObjectWriter::begin(&mut body);
    let named = || Some(model.to_owned());
    let (endpoint, dialect) = match server {
        Server::Anthropic | Server::VertexClaude => {
            out.field("model", model);
            if server == Server::VertexClaude {
                out.field("anthropic_version", VERTEX_VERSION);
            }
            copy(&top, |name| MESSAGES.contains(&name), &mut out);
            (Endpoint::CountMessageTokens, DialectId::Messages)
        }
        Server::AiStudio => {
            // Only in there it counts instructions and tools.
            let mut whole = out.object("generateContentRequest");
            whole.field("model", &format!("models/{model}"));
            copy(&top, |_| true, &mut whole);
            whole.end();
            (Endpoint::Gemini(GeminiVerb::CountTokens, named()), DialectId::Gemini)
        }
        Server::Vertex => {
            copy(&top, |name| VERTEX.contains(&name), &mut out);
            (Endpoint::Gemini(GeminiVerb::CountTokens, named()), DialectId::Gemini)
        }
        Server::Bedrock => {
            let mut input = out.object("input");
            let mut converse = input.object("converse");
            copy(&top, |name| CONVERSE.contains(&name), &mut converse);
            converse.end();
            input.end();
            (Endpoint::Bedrock(BedrockVerb::CountTokens, named()), DialectId::Converse)
        }
        _ => {
            copy(&top, |name| RESPONSES.contains(&name), &mut out);
            (Endpoint::ResponseResource("input_tokens".to_owned()), DialectId::Chat)
        }
    };
    out.end();
    Ok(sent(endpoint, dialect, model, body))
}

/// Copies the members whose names are wanted.
fn copy(top: &TopLevel<'_>, wanted: impl Fn(&str) -> bool, out: &mut ObjectWriter<'_>) {
    for member in top.members().iter().filter(|member| !member.key_escaped && wanted(member.key)) {
        out.key(member.key).extend_from_slice(member.value);
    }
}

/// Tokens of a conversation, about.
pub fn estimate(request: &Request<'_>) -> u64 {
    let said: usize = request.messages.iter().flat_map(|message| &message.parts).map(size).sum();
    let tools = request.tools.iter().map(|tool| {
        let schema = tool.schema.as_ref().map_or(0, |schema| schema.get().len());
        tool.name.size() + tool.description.as_ref().map_or(0, Text::size) + schema
    });
    let bytes = said + tools.sum::<usize>();
    bytes.div_ceil(BYTES_PER_TOKEN) as u64 + media(request).count() as u64 * TOKENS_PER_MEDIUM
}

/// Bytes of text in a part. Media are counted apart, documents that are text are text.
fn size(part: &Part<'_>) -> usize {
    let text = |size: usize| size.saturating_sub(2);
    match &part.content {
        Content::Text { text: said, .. } | Content::Refusal(said) | Content::Thinking { text: said, .. } => {
            text(said.size())
        }
        Content::Media(media) => match &media.source {
            Source::Text(said) => text(said.size()),
            _ => 0,
        },
        Content::Redacted(_) => 0,
        Content::Call(call) => text(call.name.size()) + call.arguments.len(),
        Content::Result(result) => result.parts.iter().map(size).sum(),
    }
}

/// Where the media of a conversation are, those in tool results too; documents that are text are none.
fn media<'r, 'a>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Source<'a>> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let parts = parts.flat_map(|part| match &part.content {
        Content::Result(result) => result.parts.as_slice(),
        _ => std::slice::from_ref(part),
    });
    parts.filter_map(|part| match &part.content {
        Content::Media(media) => Some(&media.source).filter(|source| !matches!(source, Source::Text(_))),
        _ => None,
    })
}

impl Back {
    /// The answer in the client's form.
    pub fn answer(self, replies: &[Said]) -> Result<Answer, Failure<'static>> {
        if !self.asked {
            return Ok(self.write(self.estimate, true));
        }
        let counted = replies.first().and_then(|reply| counted(&reply.body));
        let counted = counted.ok_or_else(|| not_understood("the upstream's reply holds no count of tokens"))?;
        Ok(self.write(counted, false))
    }

    /// The estimate, where the provider does not count for this model.
    pub fn without(&self, status: u16) -> Option<Answer> {
        // Bedrock says so with 400, like everything.
        let missing = matches!(status, 404 | 405 | 501) || (status == 400 && self.server == Server::Bedrock);
        missing.then(|| self.write(self.estimate, true))
    }

    fn write(&self, tokens: u64, estimated: bool) -> Answer {
        let name = match self.form {
            Form::Messages => "input_tokens",
            Form::Gemini => "totalTokens",
            Form::Bedrock => "inputTokens",
        };
        let body = format!("{{\"{name}\":{tokens}}}").into_bytes();
        Answer { body, usage: Usage::default(), model: None, estimated }
    }
}

/// The count in a reply of any provider.
fn counted(body: &Bytes) -> Option<u64> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(alias = "inputTokens", alias = "totalTokens")]
        input_tokens: u64,
    }
    serde_json::from_slice::<Wire>(body).ok().map(|wire| wire.input_tokens)
}
