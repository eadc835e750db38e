//! Requests that are no conversation, in another dialect than their provider's: embeddings, token counts, lists of
//! models.
//!
//! Each becomes a [`Lookup`]: the requests that the provider is sent, none, one or several, and what is needed to make
//! one answer of its replies, in the client's dialect. No IO.
//!
//! [`Lookup`]: crate::operation::Lookup

mod count_tokens;
mod embeddings;
pub mod models;
mod vectors;

pub use count_tokens::estimate;

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    conversation::{Failure, Invalid, Unsupported},
    dialect::{ApiRequest, BedrockVerb, DialectId, Endpoint, GeminiVerb, Server, StreamMode, Usage},
    stream::TopLevel,
};

/// Bytes of text that make a token, about: what is told when nobody counts.
const BYTES_PER_TOKEN: usize = 4;

/// A request that is no conversation, as a provider of another dialect is asked it.
#[derive(Debug)]
pub struct Lookup {
    /// What is sent, in the order in which [`answer`](Self::answer) wants the replies. Empty when nobody need be asked.
    pub asks: Vec<Sent>,
    /// What the provider is not told.
    pub dropped: Unsupported,
    back: Back,
}

/// One request to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What is asked, as the provider's paths understand it. Its model is the provider's.
    pub ask: ApiRequest,
    /// The query, without `?`.
    pub query: Option<&'static str>,
    /// JSON; empty for requests without a body.
    pub body: Bytes,
}

/// One reply of a provider, whose status was 2xx.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The whole body.
    pub body: Bytes,
    /// Tokens of the prompt, where the reply's headers tell them.
    pub tokens: Option<u64>,
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON in the client's dialect.
    pub body: Vec<u8>,
    /// Tokens that were used; a count of tokens uses none.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The tokens that the answer tells were not counted by the provider: they are estimated from the text.
    pub estimated: bool,
}

/// The provider of whom is asked.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// Whose server reads it.
    pub server: Server,
    /// The model, as the provider names it.
    pub model: Option<&'a str>,
    /// Whether its requests have paths of their own. Where all go to one path, nothing is counted there: what stands at
    /// that path would answer instead.
    pub has_paths: bool,
}

/// Why a provider can't be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What the client wrote can't be said to this provider.
    Invalid(Invalid),
    /// The provider has no such thing; the message says so to the client.
    Missing(Cow<'static, str>),
    /// Neither the request nor the Backend names a model.
    NoModel,
    /// No such model is served.
    UnknownModel(String),
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// What is needed to answer.
#[derive(Debug)]
enum Back {
    Embeddings(embeddings::Back),
    Count(count_tokens::Back),
    Models(models::Back),
}

impl Lookup {
    /// Whether `endpoint` is translated here. Lists of models are another matter: every dialect has them, so they have
    /// [`models::lookup`].
    pub const fn is_for(endpoint: &Endpoint) -> bool {
        matches!(
            endpoint,
            Endpoint::Embeddings
                | Endpoint::CountMessageTokens
                | Endpoint::Gemini(
                    GeminiVerb::Embed | GeminiVerb::BatchEmbed | GeminiVerb::Predict | GeminiVerb::CountTokens,
                    _
                )
                | Endpoint::Bedrock(BedrockVerb::CountTokens, _)
        )
    }

    /// What to send to answer `ask`, whose body is `top`.
    ///
    /// # Errors
    /// When the provider can't be asked this.
    pub fn read(ask: &ApiRequest, top: &TopLevel<'_>, to: &To<'_>) -> Result<Self, Refused> {
        match &ask.endpoint {
            Endpoint::CountMessageTokens
            | Endpoint::Gemini(GeminiVerb::CountTokens, _)
            | Endpoint::Bedrock(BedrockVerb::CountTokens, _) => count_tokens::read(&ask.endpoint, top, to),
            endpoint => embeddings::read(endpoint, top, to),
        }
    }

    /// The answer that the provider's replies make, in the order of [`asks`](Self::asks).
    ///
    /// # Errors
    /// When a reply is not what was asked for.
    pub fn answer(self, replies: &[Said]) -> Result<Answer, Failure<'static>> {
        match self.back {
            Back::Embeddings(back) => back.answer(replies),
            Back::Count(back) => back.answer(replies),
            Back::Models(back) => back.answer(replies),
        }
    }

    /// The answer that does without the provider, where it answers `status` because it does not do such things.
    pub fn without(&self, status: u16) -> Option<Answer> {
        match &self.back {
            Back::Count(back) => back.without(status),
            Back::Embeddings(_) | Back::Models(_) => None,
        }
    }
}

/// A request with a body, of which the reply comes in one piece.
fn sent(endpoint: Endpoint, dialect: DialectId, model: &str, body: Vec<u8>) -> Sent {
    let ask = ApiRequest { endpoint, dialect, model: Some(model.to_owned()), stream: StreamMode::No };
    Sent { ask, query: None, body: body.into() }
}

/// The error for a reply that is not what was asked for.
fn not_understood(message: impl Into<Cow<'static, str>>) -> Failure<'static> {
    Failure::bad_gateway(message)
}

#[cfg(test)]
mod tests;
