//! A client's request.

use std::borrow::Cow;

use super::{HostedCall, HostedTool, Json, Media, Text, ToolName, Unsupported};

/// A request to a model.
#[derive(Clone, Default, PartialEq)]
pub struct Request<'a> {
    /// Instructions and turns, in the client's order.
    pub messages: Vec<Message<'a>>,
    /// Functions that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Tools that the client's vendor runs.
    pub hosted: Vec<HostedTool<'a>>,
    /// Whether the model may call a function, or must.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// How tokens are drawn, and when to stop.
    pub sampling: Sampling<'a>,
    /// The form of the answer; absent for free text.
    pub format: Option<Format<'a>>,
    /// Whether and how much the model thinks; absent when the client does not set it.
    pub reasoning: Option<Reasoning>,
    /// The id of the end user, for the provider's abuse detection.
    pub user: Option<Text<'a>>,
    /// The class of service, as the client spells it.
    pub service_tier: Option<Text<'a>>,
    /// An object of strings that is passed on with the request.
    pub metadata: Option<Json<'a>>,
    /// Whether the answer comes as a stream.
    pub stream: bool,
    /// Fields of the request that the conversation does not support, as the client spells them.
    pub dropped: Unsupported,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions (`system`, `developer`).
    System,
    /// The user; also the place of tool results.
    User,
    /// The model.
    Assistant,
}

/// One message. Neighbours may have the same role.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// The author.
    pub role: Role,
    /// The message's parts.
    pub parts: Vec<Part<'a>>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// Set when a prompt cache may end after the part.
    pub cache: Option<Cache<'a>>,
}

impl<'a> From<Content<'a>> for Part<'a> {
    fn from(content: Content<'a>) -> Self {
        Self { content, cache: None }
    }
}

/// A mark that everything before it is worth caching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache<'a> {
    /// How long, such as `5m` or `1h`.
    pub ttl: Option<Text<'a>>,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a> {
    /// Text.
    Text {
        /// The text itself.
        text: Text<'a>,
        /// The sources that it cites; only in replies.
        citations: Vec<Citation<'a>>,
        /// The model's signature (Gemini).
        signature: Option<Signature<'a>>,
    },
    /// The model's refusal, as text.
    Refusal(Text<'a>),
    /// An image, a document, audio or video.
    Media(Media<'a>),
    /// The model's reasoning; `text` may be empty.
    Thinking {
        /// The reasoning, or a summary of it.
        text: Text<'a>,
        /// The signature without which some models refuse their own reasoning.
        signature: Option<Signature<'a>>,
    },
    /// Reasoning that only its model can read.
    Redacted(Signature<'a>),
    /// A call of a tool, by the model.
    Call(Call<'a>),
    /// The result of a tool call.
    Result(ToolResult<'a>),
    /// A call of a tool that the provider has run itself, with its result; only in replies.
    Hosted(Box<HostedCall<'a>>),
}

impl<'a> Content<'a> {
    /// Plain text.
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::Text { text: text.into(), citations: Vec::new(), signature: None }
    }
}

/// The vendor whose models can read a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureOrigin {
    /// Claude, wherever it runs.
    Anthropic,
    /// Gemini, on AI Studio and Vertex AI.
    Google,
    /// OpenAI's models (`encrypted_content`).
    OpenAi,
}

/// An opaque signature that is carried with a model's reasoning or call.
///
/// In the dialect of its origin it has no tag. In a foreign one it is [tagged](Self::tagged), so that it comes back to
/// its origin and never reaches another vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The vendor that can read it.
    pub maker: SignatureOrigin,
    /// The signature.
    pub value: Text<'a>,
}

/// Tags of signatures in foreign dialects. Letters only: the text stays a valid base64 string of the same alphabet.
const TAGS: [(SignatureOrigin, &str); 3] =
    [(SignatureOrigin::Anthropic, "TGan"), (SignatureOrigin::Google, "TGgo"), (SignatureOrigin::OpenAi, "TGoa")];

impl<'a> Signature<'a> {
    /// The text for a field whose dialect belongs to `home`: unchanged, or tagged.
    pub fn tagged(&self, home: SignatureOrigin) -> Text<'_> {
        if self.maker == home {
            return self.value.reborrow();
        }
        self.with_tag().into()
    }

    /// The signature with the tag of its origin.
    pub fn with_tag(&self) -> String {
        let tag = TAGS.iter().find(|(maker, _)| *maker == self.maker).map_or("", |(_, tag)| tag);
        format!("{tag}{}", self.value.decode())
    }

    /// The signature in a field of a dialect that belongs to `home`.
    pub fn untagged(text: Text<'a>, home: SignatureOrigin) -> Self {
        let found = {
            let decoded = text.decode();
            TAGS.iter().find_map(|(maker, tag)| decoded.strip_prefix(tag).map(|rest| (*maker, rest.to_owned())))
        };
        match found {
            Some((maker, value)) => Self { maker, value: value.into() },
            None => Self { maker: home, value: text },
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'a> {
    /// The call's id; generated if the dialect has none.
    pub id: Text<'a>,
    /// The tool.
    pub name: ToolName<'a>,
    /// The arguments: the text of a JSON object, with numbers and field order as the model wrote them. In replies it
    /// may be any text, since models write invalid JSON and calls may be cut short: see [`object`](Self::object).
    pub arguments: Cow<'a, str>,
    /// The model's signature of the call (Gemini).
    pub signature: Option<Signature<'a>>,
}

impl Call<'_> {
    /// The arguments as the text of a JSON object, `{}` for empty ones; `None` if they are not an object.
    pub fn object(&self) -> Option<&str> {
        let text = self.arguments.trim();
        if text.is_empty() {
            return Some("{}");
        }
        Json::parse(text).is_ok_and(|json| json.is_object()).then_some(text)
    }
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    /// The call's id.
    pub id: Text<'a>,
    /// The tool's name, if the dialect states it.
    pub name: Option<ToolName<'a>>,
    /// Text, images and documents.
    pub parts: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub failed: bool,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool<'a> {
    /// Its name.
    pub name: ToolName<'a>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// JSON Schema of its arguments; absent when it takes none.
    pub schema: Option<Json<'a>>,
    /// Whether the arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// Set when a prompt cache may end after the tool.
    pub cache: Option<Cache<'a>>,
}

/// Whether the model calls tools.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// Never.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(ToolName<'a>),
    /// This one of those that the client's vendor runs, by its name.
    Hosted(Text<'a>),
    /// One of these; at least one if `required`.
    Allowed {
        /// The tools' names.
        names: Vec<ToolName<'a>>,
        /// Whether one must be called.
        required: bool,
    },
}

/// How tokens are drawn, and when to stop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling<'a> {
    /// 0 to 2 for most, 0 to 1 for Claude.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// A count; Gemini accepts fractions.
    pub top_k: Option<f64>,
    /// Texts that end the answer.
    pub stop: Vec<Text<'a>>,
    /// How many answers.
    pub n: Option<u64>,
    /// Makes answers reproducible.
    pub seed: Option<i64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Whether tokens come with their log-probabilities.
    pub logprobs: Option<bool>,
    /// How many alternatives of each token.
    pub top_logprobs: Option<u64>,
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Format<'a> {
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema {
        /// The schema's name.
        name: Option<Text<'a>>,
        /// What it is for.
        description: Option<Text<'a>>,
        /// JSON Schema.
        schema: Json<'a>,
        /// Whether the answer must follow it exactly.
        strict: Option<bool>,
    },
}

/// Whether and how much the model thinks. With neither effort nor budget, the model decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// The effort; [`Effort::None`] turns thinking off.
    pub effort: Option<Effort>,
    /// The budget in tokens; zero turns thinking off.
    pub budget: Option<u64>,
    /// Whether the client requests to see the reasoning or a summary.
    pub visible: Option<bool>,
    /// Whether only the effort is set, where thinking is another setting (Claude): a model that does not think by
    /// itself does not think then, and the effort is that of its answer.
    pub effort_only: bool,
}

impl Reasoning {
    /// Whether thinking is turned off.
    pub fn is_off(&self) -> bool {
        self.effort == Some(Effort::None) || (self.effort.is_none() && self.budget == Some(0))
    }

    /// The effort, or the one that is nearest to the budget.
    pub fn effort_or_budget(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget.map(Effort::of_budget))
    }
}

/// How hard to think, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// Less than usual.
    Low,
    /// The usual effort of most models.
    Medium,
    /// More than usual.
    High,
    /// Much more than usual.
    XHigh,
    /// The most that a model can.
    Max,
}

impl Effort {
    /// Every effort, as OpenAI's and Anthropic's APIs spell it.
    pub(crate) const ALL: [(Self, &'static str); 7] = [
        (Self::None, "none"),
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, word)| word)
    }

    /// The effort of this word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(effort, _)| *effort)
    }

    /// The effort that is nearest to a budget in tokens.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1024 => Self::Low,
            1025..=8192 => Self::Medium,
            8193..=24576 => Self::High,
            _ => Self::XHigh,
        }
    }

    /// The budget in tokens that is nearest to this effort.
    pub const fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1024,
            Self::Medium => 8192,
            Self::High => 16384,
            Self::XHigh => 24576,
            Self::Max => 32768,
        }
    }
}

/// A source that a text cites.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation<'a> {
    /// The source's URL.
    pub url: Option<Text<'a>>,
    /// The source's title.
    pub title: Option<Text<'a>>,
    /// The quoted text of the source.
    pub quote: Option<Text<'a>>,
    /// First character of the text that cites the source.
    pub start: Option<u64>,
    /// The character after the last one.
    pub end: Option<u64>,
}
