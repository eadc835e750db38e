//! The server that an entry of a Backend reaches, beside the provider's own fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dialect::DialectId;

/// An API for conversations that a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// OpenAI Chat Completions, at `/chat/completions`.
    Chat,
    /// OpenAI Responses, at `/responses`.
    Responses,
    /// Anthropic Messages, at `/messages`.
    Messages,
}

impl Api {
    /// The API as Backends spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// Its dialect.
    #[must_use]
    pub const fn dialect(self) -> DialectId {
        match self {
            Self::Chat => DialectId::Chat,
            Self::Responses => DialectId::Responses,
            Self::Messages => DialectId::Messages,
        }
    }
}

/// What a Backend's entry states about its server. By default all of it is the provider's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Another host: a DNS name, an IPv4 address, or an IPv6 address in brackets, as URIs have it.
    pub host: Option<String>,
    /// The path before each endpoint's own. Empty, or it starts with `/` and does not end with one. Valid in a URI.
    pub base_path: Option<String>,
    /// The APIs that the server has, the preferred one first. Not empty; each once.
    pub apis: Option<Vec<Api>>,
}

/// What an entry may state about its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerRules {
    /// Whether the base path can be another one.
    pub base_path: bool,
    /// Whether the APIs of the server can be listed.
    pub apis: bool,
    /// The kind of the server, where there is no host that answers by default.
    pub needs_host: Option<&'static str>,
}
