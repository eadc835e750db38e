//! The server that a request is written for.

use super::ModelFacts;

/// Who will read a request.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// What the model takes.
    pub facts: ModelFacts,
    /// Whose server reads it.
    pub server: Server,
}

/// Servers that speak one dialect with different limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// `api.openai.com`.
    OpenAi,
    /// Azure OpenAI.
    Azure,
    /// Mistral: ids of nine letters and digits, `random_seed`, refuses what it does not know.
    Mistral,
    /// `DeepSeek`: wants its `reasoning_content` back.
    DeepSeek,
    /// Any other server that speaks OpenAI's API (vLLM, Ollama, ...): knows `system` and `max_tokens` only.
    Compatible,
    /// `api.anthropic.com`.
    Anthropic,
    /// Claude on Vertex AI: the model is in the URL, `anthropic_version` in the body, media are inline.
    VertexClaude,
    /// Gemini on AI Studio.
    AiStudio,
    /// Gemini on Vertex AI.
    Vertex,
    /// Amazon Bedrock's Converse.
    Bedrock,
}

impl Server {
    /// Whether the server fetches an image or document from an `https:` URL itself.
    pub const fn fetches_urls(self) -> bool {
        matches!(self, Self::OpenAi | Self::Azure | Self::Mistral | Self::DeepSeek | Self::Anthropic)
    }

    /// Whether the server can be given this URL. Anthropic takes no `http:`.
    pub fn fetches(self, url: &str) -> bool {
        self.fetches_urls() && (self != Self::Anthropic || url.starts_with("https:"))
    }
}
