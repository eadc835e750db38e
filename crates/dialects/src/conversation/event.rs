//! A model's answer as a stream of events.

use std::borrow::Cow;

use super::{Citation, Failure, Finish, HostedCall, Media, Signature, Text, TokenLogprob, TokenUsage, ToolName};

/// One event of a stream.
///
/// The order is that of the provider: [`Start`](Self::Start) comes first, [`End`](Self::End) or [`Error`](Self::Error)
/// last. Deltas of different blocks may alternate (OpenAI's parallel calls). `choice` numbers answers and `block` the
/// parts of one answer. Both are small, dense and in the order in which they first appear.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The answer begins. Where a provider does not announce it, it begins with the first chunk.
    Start {
        /// The provider's id of the answer.
        id: Option<Text<'a>>,
        /// The model that answers.
        model: Option<Text<'a>>,
        /// The token counts that are known by then.
        usage: TokenUsage,
    },
    /// A part begins.
    Open {
        /// Which answer.
        choice: u32,
        /// Which part of it.
        block: u32,
        /// What it is.
        opened: BlockStart<'a>,
    },
    /// More text, refusal or reasoning; of a call, more of the text of its arguments.
    Delta {
        /// Which answer.
        choice: u32,
        /// Which part of it.
        block: u32,
        /// What is added.
        text: Text<'a>,
    },
    /// The signature of the reasoning or the text in this block.
    Signature {
        /// Which answer.
        choice: u32,
        /// Which part of it.
        block: u32,
        /// The signature.
        signature: Signature<'a>,
    },
    /// A source of the text in this block.
    Citation {
        /// Which answer.
        choice: u32,
        /// Which part of it.
        block: u32,
        /// The source.
        citation: Citation<'a>,
    },
    /// Tokens that have just come, with their log-probabilities.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// The tokens.
        tokens: Vec<TokenLogprob<'a>>,
    },
    /// A part ends. Every opened block is closed before its answer finishes.
    Close {
        /// Which answer.
        choice: u32,
        /// Which part of it.
        block: u32,
    },
    /// An answer ends.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        reason: Finish,
        /// The stop text that ended it.
        stop_sequence: Option<Text<'a>>,
    },
    /// The provider begins to run a tool of its own. The call follows with its result.
    Running,
    /// The provider sent something that the conversation has no field for. This is its name in the provider's dialect.
    Unsupported(Cow<'a, str>),
    /// The token counts so far; the last ones count.
    Usage(TokenUsage),
    /// The provider failed in mid-stream. Nothing follows.
    Error(Failure<'a>),
    /// The stream came to its end. Nothing follows.
    End,
}

/// What a part of a streamed answer is.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockStart<'a> {
    /// Text.
    Text,
    /// The model's refusal, as text.
    Refusal,
    /// Reasoning.
    Thinking,
    /// Reasoning that only its model can read. It is whole and has no deltas.
    Redacted(Signature<'a>),
    /// Media that the model has made, such as an image. They are whole and have no deltas.
    Media(Box<Media<'a>>),
    /// A call of a tool; its arguments come as deltas, or none for `{}`.
    Call {
        /// The call's id.
        id: Text<'a>,
        /// The tool.
        name: ToolName<'a>,
        /// The model's signature of the call (Gemini).
        signature: Option<Signature<'a>>,
    },
    /// A call of a tool that the provider has run itself. It is whole and has no deltas.
    Hosted(Box<HostedCall<'a>>),
}

/// What a block is, without what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Text.
    Text,
    /// A refusal, as text.
    Refusal,
    /// Reasoning.
    Thinking,
    /// Reasoning that only its model can read.
    Redacted,
    /// Media.
    Media,
    /// A call of a tool.
    Call,
    /// A call that the provider has run itself.
    Hosted,
}

impl BlockStart<'_> {
    /// What the block is.
    pub const fn kind(&self) -> BlockKind {
        match self {
            Self::Text => BlockKind::Text,
            Self::Refusal => BlockKind::Refusal,
            Self::Thinking => BlockKind::Thinking,
            Self::Redacted(_) => BlockKind::Redacted,
            Self::Media(_) => BlockKind::Media,
            Self::Call { .. } => BlockKind::Call,
            Self::Hosted(_) => BlockKind::Hosted,
        }
    }

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> BlockStart<'static> {
        match self {
            Self::Text => BlockStart::Text,
            Self::Refusal => BlockStart::Refusal,
            Self::Thinking => BlockStart::Thinking,
            Self::Redacted(signature) => BlockStart::Redacted(signature.into_owned()),
            Self::Media(media) => BlockStart::Media(Box::new(media.into_owned())),
            Self::Call { id, name, signature } => BlockStart::Call {
                id: id.into_owned(),
                name: name.into_owned(),
                signature: signature.map(Signature::into_owned),
            },
            Self::Hosted(call) => BlockStart::Hosted(Box::new(call.into_owned())),
        }
    }
}

impl Signature<'_> {
    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> Signature<'static> {
        Signature { maker: self.maker, value: self.value.into_owned() }
    }
}

impl Citation<'_> {
    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> Citation<'static> {
        let [url, title, quote] = [self.url, self.title, self.quote].map(|text| text.map(Text::into_owned));
        Citation { url, title, quote, start: self.start, end: self.end }
    }
}
