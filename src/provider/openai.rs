//! OpenAI, and everything that speaks its API under another host.

use http::{header, uri::PathAndQuery};

use super::{CredentialSlot, Info, Provider, Refusal, path_and_query, query, tail};
use crate::dialect::{Ask, Endpoint, Family, openai};

pub(super) const INFO: Info = Info {
    name: "openai",
    llm: "openai",
    system: "openai",
    family: Family::OpenAi,
    summary: "OpenAI, and every OpenAI-compatible server by host override",
};

/// Path of the API's base.
const BASE: &str = "/v1";

/// `openai` in a Backend.
pub struct OpenAi {
    model: Option<String>,
    asks_for_usage: bool,
}

impl OpenAi {
    /// An entry that overrides the client's model with `model`. `host` is the override, if there is one.
    pub fn new(model: Option<String>, host: Option<&str>) -> Self {
        // Mistral answers 422 to `stream_options`, and sends usage with the last chunk anyway.
        let mistral = host.is_some_and(|h| h == "api.mistral.ai" || h.ends_with(".mistral.ai"));
        Self { model, asks_for_usage: !mistral }
    }
}

impl Provider for OpenAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        "api.openai.com".into()
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn path(&self, ask: &Ask, _model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        if ask.endpoint == Endpoint::ChatCompletions && client.is_none() {
            return Ok(PathAndQuery::from_static("/v1/chat/completions"));
        }
        let path = match &ask.endpoint {
            Endpoint::Models(Some(id)) => format!("/models/{}", tail(id)?),
            Endpoint::ResponseResource(rest) => format!("/responses/{}", tail(rest)?),
            endpoint => openai::path(endpoint).ok_or(Refusal::Translation)?.to_owned(),
        };
        path_and_query(query::join(&format!("{BASE}{path}"), client, &[]))
    }

    fn asks_for_usage(&self) -> bool {
        self.asks_for_usage
    }
}
