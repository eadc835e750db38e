//! The differences between one server and the others of its dialect.
//!
//! Quirks are data. A provider defines them, and readers and writers of requests follow them: nothing here depends on
//! the server's identity. [`Quirks::PLAIN`] is a server with no known quirks.

use std::borrow::Cow;

use super::{
    DialectId, ModelFacts, instructed::instruct, params::Param, responses::params::USER, schema::inline::is_recursive,
};
use crate::conversation::{Format, HostedKind, Invalid, Request, ToolChoice, Unsupported, show_images_to_user};

/// The model and the server that a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// The settings that the model accepts.
    pub facts: ModelFacts,
    /// The server's quirks.
    pub quirks: &'static Quirks,
}

impl Destination<'_> {
    /// Writes the body of `request` in the dialect `to`, with the settings that the model accepts.
    ///
    /// # Errors
    /// When the dialect can't express the request.
    pub fn write(
        &self,
        to: DialectId,
        request: &Request<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let mut fitting = self.fit(request, dropped);
        if !to.dialect().answers_in_media() {
            fitting = show_images_to_user(fitting);
        }
        to.dialect().write_request(&fitting, self, dropped, out)
    }

    /// The request with the settings that are changed for every dialect alike. It is cloned only where one is changed.
    pub(super) fn fit<'r, 'a>(&self, request: &'r Request<'a>, dropped: &mut Unsupported) -> Cow<'r, Request<'a>> {
        let mut fitting = Cow::Borrowed(request);
        if request.max_tokens.is_some_and(|tokens| tokens > self.facts.max_output) {
            fitting.to_mut().max_tokens = Some(self.facts.max_output);
            // No answer of the model is longer in any case.
            dropped.add_hint("max_tokens");
        }
        if !self.facts.forced_tools
            && let Some(choice) = request.tool_choice.as_ref().and_then(unforced)
        {
            fitting.to_mut().tool_choice = Some(choice);
            dropped.add("tool_choice");
        }
        if self.must_instruct(request) {
            instruct(fitting.to_mut());
            dropped.add("response_format");
        }
        fitting
    }

    /// Whether the form of the answer can only be requested in words.
    fn must_instruct(&self, request: &Request<'_>) -> bool {
        let Some(format) = &request.format else { return false };
        let refuses_both = !(self.facts.json_with_tools && self.quirks.json_with_tools);
        let runs = || request.hosted.iter().any(|tool| self.quirks.hosted.contains(&tool.kind));
        refuses_both && (!request.tools.is_empty() || runs())
            // Such an answer would be the call of a tool, which this model can't be forced to.
            || !self.facts.forced_tools && self.excludes(format)
    }

    /// Whether the model can't keep to the schema of this answer, though it has structured output.
    fn excludes(&self, format: &Format<'_>) -> bool {
        let Format::Schema { schema, .. } = format else { return false };
        self.facts.converse.closed_schemas && is_recursive(schema.get())
    }

    /// The destination as it is for the answer of `request`: without structured output if that excludes its schema.
    pub(super) fn for_format(self, request: &Request<'_>) -> Self {
        let excluded = request.format.as_ref().is_some_and(|format| self.excludes(format));
        let structured = self.facts.structured && !excluded;
        Self { facts: ModelFacts { structured, ..self.facts }, ..self }
    }
}

/// The nearest choice that forces no call. Of a tool that must be called, only that one is offered.
pub(super) fn unforced<'a>(choice: &ToolChoice<'a>) -> Option<ToolChoice<'a>> {
    match choice {
        // A tool that the vendor runs is carried or refused elsewhere.
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Hosted(_) | ToolChoice::Allowed { required: false, .. } => {
            None
        }
        ToolChoice::Required => Some(ToolChoice::Auto),
        ToolChoice::Named(name) => Some(ToolChoice::Allowed { names: vec![name.clone()], required: false }),
        ToolChoice::Allowed { names, .. } => Some(ToolChoice::Allowed { names: names.clone(), required: false }),
    }
}

/// The differences between one server and the others of its dialect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quirks {
    /// URLs of images and documents that the server fetches itself.
    pub fetches: Fetches,
    /// The tools that the vendor runs itself, where the dialect has them.
    pub hosted: &'static [HostedKind],
    /// Whether requests may refer to files that are stored at the provider.
    pub stored_files: bool,
    /// The dialect whose endpoint counts tokens, where the server has one.
    pub counts_tokens: Option<DialectId>,
    /// Whether JSON as the form of the answer may be requested beside tools.
    pub json_with_tools: bool,
    /// Whether instructions may be anywhere in a conversation of OpenAI's dialects. Otherwise all of them are one
    /// message at its beginning: chat templates of open models refuse any other ("System message must be at the
    /// beginning").
    pub later_instructions: bool,
    /// For requests in Chat Completions.
    pub chat: ChatQuirks,
    /// For requests in Responses.
    pub responses: ResponsesQuirks,
    /// For requests in Messages.
    pub messages: MessagesQuirks,
    /// For requests to Gemini.
    pub gemini: GeminiQuirks,
    /// For requests to Bedrock.
    pub converse: ConverseQuirks,
}

impl Quirks {
    /// A server with no known quirks.
    pub const PLAIN: Self = Self {
        fetches: Fetches::Nothing,
        hosted: &[],
        stored_files: false,
        counts_tokens: None,
        json_with_tools: true,
        later_instructions: false,
        chat: ChatQuirks::PLAIN,
        responses: ResponsesQuirks { params: &[USER], developer_role: false },
        messages: MessagesQuirks::PLAIN,
        gemini: GeminiQuirks {
            call_ids: true,
            media_names: false,
            https_uris: false,
            nested_count: false,
            embeddings: &[],
            ranks: false,
        },
        converse: ConverseQuirks { embeddings: &[], rerank: &[] },
    };
}

/// URLs that a server fetches itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetches {
    /// None: images and documents must be in the request.
    Nothing,
    /// `https:` only.
    Https,
    /// `https:` and `http:`.
    Web,
}

impl Fetches {
    /// Whether the server fetches anything.
    pub fn any(self) -> bool {
        self != Self::Nothing
    }

    /// Whether the server fetches this URL itself.
    pub fn takes(self, url: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Https => url.starts_with("https:"),
            Self::Web => true,
        }
    }
}

/// The quirks of a server of Chat Completions.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a server")]
pub struct ChatQuirks {
    /// Parameters that differ from the dialect's table.
    pub params: &'static [Param],
    /// Whether `stream_options` is supported. Where it is not, usage comes unrequested.
    pub stream_options: bool,
    /// Whether `response_format` may be `json_schema`. Otherwise the schema is written in an instruction.
    pub json_schema: bool,
    /// Whether tools may be `strict`.
    pub strict_tools: bool,
    /// Whether `parallel_tool_calls` is supported.
    pub parallel_tool_calls: bool,
    /// Whether `tool_choice` may name several tools. Otherwise only those tools are sent.
    pub allowed_tools: bool,
    /// Which ids of tool calls are accepted.
    pub call_ids: CallIds,
    /// Whether a user's message may follow the result of a tool directly.
    pub user_after_tool: bool,
    /// Whether a list may hold several texts. Otherwise they are joined.
    pub text_lists: bool,
    /// Whether an assistant's message may have a `refusal`, and `null` as its content.
    pub refusals: bool,
    /// Whether the field `prefix` marks an assistant's message that the model continues.
    pub prefix: bool,
    /// How an effort of reasoning is written.
    pub reasoning: ReasoningParam,
    /// When reasoning of earlier turns is sent back in `reasoning_content`.
    pub reasoning_content: ReasoningContent,
    /// Whether Google's signatures of tool calls are accepted.
    pub google_signatures: bool,
    /// Whether models answer in images, where `modalities` requests them.
    pub images: bool,
    /// Whether signed reasoning of every vendor is accepted in `reasoning_details`.
    pub reasoning_details: bool,
    /// How media are written.
    pub media: ChatMedia,
    /// The parameter for the length of embeddings.
    pub embedding_length: &'static str,
}

impl ChatQuirks {
    const PLAIN: Self = Self {
        params: &[],
        stream_options: true,
        json_schema: true,
        strict_tools: true,
        parallel_tool_calls: true,
        allowed_tools: false,
        call_ids: CallIds::AtMost(40),
        user_after_tool: true,
        text_lists: false,
        refusals: false,
        prefix: false,
        reasoning: ReasoningParam::Effort,
        reasoning_content: ReasoningContent::Always,
        google_signatures: true,
        images: false,
        reasoning_details: false,
        media: ChatMedia::Files,
        embedding_length: "dimensions",
    };
}

/// The length of ids of tool calls. Their letters are `a-z`, `A-Z`, `0-9`, `_` and `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// Up to this many characters.
    AtMost(usize),
    /// Exactly this many characters, without `_` and `-`.
    Exactly(usize),
}

/// How an effort of reasoning is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningParam {
    /// In `reasoning_effort`.
    Effort,
    /// In `reasoning_effort`, which is `none` or `high`.
    NoneOrHigh,
    /// In `reasoning_effort`; `thinking` turns it off.
    EffortOrDisabled,
}

/// When reasoning of earlier turns is sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningContent {
    /// Never.
    Never,
    /// Where there is any.
    Always,
    /// Where tools are called. A message that calls one is refused without the field.
    WithCalls,
}

/// How media are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatMedia {
    /// Not at all.
    Unsupported,
    /// OpenAI's form: documents in `file`, audio with its format.
    Files,
    /// Mistral's form: documents in `document_url`, audio as its base64 alone.
    Urls,
}

/// The quirks of a server of Responses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResponsesQuirks {
    /// Parameters that differ from the dialect's table.
    pub params: &'static [Param],
    /// Whether instructions have the role `developer`. Otherwise it is `system`.
    pub developer_role: bool,
}

/// The quirks of a server of Messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessagesQuirks {
    /// Parameters that differ from the dialect's table.
    pub params: &'static [Param],
    /// `anthropic_version` for the body, where the URL has the model.
    pub body_version: Option<&'static str>,
    /// Top-level fields of Anthropic's own API that the server refuses.
    pub unsupported: &'static [&'static str],
    /// Whether `cache_control` may have a `scope`.
    pub cache_scope: bool,
}

impl MessagesQuirks {
    /// Anthropic's own API.
    pub const PLAIN: Self = Self { params: &[], body_version: None, unsupported: &[], cache_scope: true };

    /// Claude at a cloud. Tools at other servers, containers and skills, where and how fast a request is served, and
    /// what is stored of it are Anthropic's own.
    pub const CLOUD: Self = Self {
        unsupported: &[
            "container",
            "diagnostics",
            "fallbacks",
            "inference_geo",
            "mcp_servers",
            "service_tier",
            "speed",
        ],
        cache_scope: false,
        ..Self::PLAIN
    };
}

/// The quirks of a server of Gemini's API.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a server")]
pub struct GeminiQuirks {
    /// Whether calls and results have ids. Otherwise they are matched by name and order.
    pub call_ids: bool,
    /// Whether inline data may have a name.
    pub media_names: bool,
    /// Whether `fileData` may name any `https:` URL.
    pub https_uris: bool,
    /// Whether `countTokens` accepts the whole request in `generateContentRequest`. Otherwise it accepts some of its
    /// fields.
    pub nested_count: bool,
    /// How embeddings are requested. The first row whose text is in the model's name counts.
    pub embeddings: &'static [(&'static str, GeminiEmbeddings)],
    /// Whether documents are ranked beside it, by Discovery Engine.
    pub ranks: bool,
}

/// The form of a request for embeddings of Google's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeminiEmbeddings {
    /// `batchEmbedContents`, with the settings in each request.
    Batch,
    /// `embedContent` for one text and `batchEmbedContents` for several, with the settings in `embedContentConfig`.
    Config,
    /// `predict`, with up to this many texts.
    Predict(usize),
}

/// The quirks of a server of Bedrock's API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConverseQuirks {
    /// How embeddings are requested. The first row whose text is in the model's name counts.
    pub embeddings: &'static [(&'static str, BedrockEmbeddings)],
    /// How rankings are requested of models with `rerank` in their name. The first row whose text is before that counts.
    pub rerank: &'static [(&'static str, BedrockRerank)],
}

/// The form of a request for embeddings of one vendor's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BedrockEmbeddings {
    /// Titan's: one text per request.
    Titan,
    /// Cohere's: lists of texts with one purpose.
    Cohere,
}

/// The form of a request to rank documents with one vendor's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BedrockRerank {
    /// Amazon's.
    Amazon,
    /// Cohere's, with the version of Cohere's API.
    Cohere,
}
