//! The servers that `openai` reaches, each a row: its name in Backends, its address, what it has and its quirks.
//!
//! A Backend names a row (`preset: groq`), or its host is that of one. Nothing else about a server is in code.

use super::{compatible, quirks};
use crate::{
    dialect::{Quirks, params::Form, quirks::ChatQuirks},
    provider::Api,
};

/// A server with OpenAI's API.
#[derive(Debug)]
pub struct Preset {
    /// Its name in Backends.
    pub name: &'static str,
    /// Whose it is, for the documentation.
    pub title: &'static str,
    /// The host that answers, over TLS. `None` for servers at addresses of their users.
    pub host: Option<&'static str>,
    /// The domains of hosts that are recognised without the name; hosts below them are too.
    pub domains: &'static [&'static str],
    /// The path before each endpoint's own.
    pub base_path: &'static str,
    /// The APIs that it has for conversations, the preferred one first.
    pub apis: &'static [Api],
    /// Whether some versions of it have no Responses, so that a 404 or 405 may mean that.
    pub may_lack_responses: bool,
    /// Where it ranks documents, if it does.
    pub rerank: Option<Rerank>,
    /// The header for the key, and the text before the key.
    pub key: (&'static str, &'static str),
    /// Whether the models are OpenAI's, some of which only Responses serves.
    pub is_openai: bool,
    /// What it takes differently.
    pub quirks: &'static Quirks,
    /// Where the vendor documents this.
    pub source: &'static str,
}

/// Where a server ranks documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rerank {
    /// At `/rerank` below the path of its other endpoints.
    BelowBase,
    /// At `/v1/rerank` or `/v2/rerank`, as the client's request has it, whatever the path of its other endpoints is.
    Versioned,
}

impl Preset {
    /// Its row in the table of `docs/providers.md`.
    #[must_use]
    pub fn docs_row(&self) -> String {
        let Self { name, title, base_path, source, .. } = self;
        let host = self.host.map_or_else(|| "yours".to_owned(), |host| format!("`{host}`"));
        let apis: Vec<&str> = self.apis.iter().map(|api| api.as_str()).collect();
        let unsure = if self.may_lack_responses { "?" } else { "" };
        let left_out = left_out(&self.quirks.chat).iter().map(|field| format!("`{field}`")).collect::<Vec<_>>();
        format!(
            "| `{name}` | [{title}]({source}) | {host} | `{base_path}` | {}{unsure} | {} |",
            apis.join(", "),
            left_out.join(", ")
        )
    }
}

/// The fields that requests to a server of Chat Completions are translated without.
fn left_out(quirks: &ChatQuirks) -> Vec<&'static str> {
    let absent = quirks.params.iter().filter(|param| param.form == Form::Absent).map(|param| param.field.name());
    let others = [
        (quirks.parallel_tool_calls, "parallel_tool_calls"),
        (quirks.strict_tools, "strict"),
        (quirks.json_schema, "json_schema"),
        (quirks.stream_options, "stream_options"),
    ];
    let others = others.into_iter().filter(|(supported, _)| !supported).map(|(_, name)| name);
    let mut fields: Vec<&str> = absent.chain(others).collect();
    fields.dedup();
    fields
}

const CHAT: &[Api] = &[Api::Chat];
const CHAT_AND_RESPONSES: &[Api] = &[Api::Chat, Api::Responses];
const BEARER: (&str, &str) = ("authorization", "Bearer ");

/// What a row has unless it states something else: a vendor's server with both APIs of OpenAI.
const HOSTED: Preset = Preset {
    name: "",
    title: "",
    host: None,
    domains: &[],
    base_path: "/v1",
    apis: CHAT_AND_RESPONSES,
    may_lack_responses: false,
    rerank: None,
    key: BEARER,
    is_openai: false,
    quirks: &Quirks::PLAIN,
    source: "",
};
/// A server that users run, in any version.
const LOCAL: Preset = Preset { may_lack_responses: true, rerank: Some(Rerank::BelowBase), ..HOSTED };

/// OpenAI, which answers where a Backend states nothing else.
pub const OPENAI: &Preset = &Preset {
    name: "openai",
    title: "OpenAI",
    host: Some("api.openai.com"),
    domains: &["api.openai.com"],
    is_openai: true,
    quirks: quirks::OPENAI,
    source: "https://platform.openai.com/docs/api-reference",
    ..HOSTED
};

/// Any other server. Nothing is known about it, so requests for Responses are tried.
pub const COMPATIBLE: &Preset = &LOCAL;

/// Every server with a name, in the order of the documentation.
pub const PRESETS: &[&Preset] = &[
    OPENAI,
    &Preset {
        name: "azure",
        title: "Azure OpenAI, API v1",
        domains: &["openai.azure.com", "services.ai.azure.com"],
        base_path: "/openai/v1",
        is_openai: true,
        quirks: quirks::AZURE,
        source: "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        ..HOSTED
    },
    &Preset {
        name: "cerebras",
        title: "Cerebras",
        host: Some("api.cerebras.ai"),
        domains: &["api.cerebras.ai"],
        apis: CHAT,
        quirks: compatible::CEREBRAS,
        source: "https://inference-docs.cerebras.ai/resources/openai",
        ..HOSTED
    },
    &Preset {
        name: "cohere",
        title: "Cohere",
        host: Some("api.cohere.ai"),
        domains: &["api.cohere.ai", "api.cohere.com"],
        base_path: "/compatibility/v1",
        apis: CHAT,
        rerank: Some(Rerank::Versioned),
        quirks: compatible::COHERE,
        source: "https://docs.cohere.com/docs/compatibility-api",
        ..HOSTED
    },
    &Preset {
        name: "deepseek",
        title: "DeepSeek",
        host: Some("api.deepseek.com"),
        domains: &["deepseek.com"],
        // It has Responses too, for some of its models.
        apis: CHAT,
        quirks: quirks::DEEPSEEK,
        source: "https://api-docs.deepseek.com/",
        ..HOSTED
    },
    &Preset {
        name: "fireworks",
        title: "Fireworks AI",
        host: Some("api.fireworks.ai"),
        domains: &["api.fireworks.ai"],
        base_path: "/inference/v1",
        rerank: Some(Rerank::BelowBase),
        quirks: compatible::FIREWORKS,
        source: "https://docs.fireworks.ai/tools-sdks/openai-compatibility",
        ..HOSTED
    },
    &Preset {
        name: "groq",
        title: "Groq",
        host: Some("api.groq.com"),
        domains: &["api.groq.com"],
        base_path: "/openai/v1",
        quirks: compatible::GROQ,
        source: "https://console.groq.com/docs/openai",
        ..HOSTED
    },
    &Preset {
        name: "huggingface",
        title: "Hugging Face Inference Providers",
        host: Some("router.huggingface.co"),
        domains: &["router.huggingface.co"],
        quirks: compatible::HUGGING_FACE,
        source: "https://huggingface.co/docs/inference-providers/tasks/chat-completion",
        ..HOSTED
    },
    &Preset {
        name: "llamacpp",
        title: "llama.cpp",
        source: "https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        ..LOCAL
    },
    &Preset {
        name: "lmstudio",
        title: "LM Studio",
        source: "https://lmstudio.ai/docs/developer/openai-compat",
        ..LOCAL
    },
    &Preset {
        name: "mistral",
        title: "Mistral",
        host: Some("api.mistral.ai"),
        domains: &["mistral.ai"],
        apis: CHAT,
        quirks: quirks::MISTRAL,
        source: "https://docs.mistral.ai/api",
        ..HOSTED
    },
    &Preset {
        name: "ollama",
        title: "Ollama",
        domains: &["ollama.com"],
        quirks: compatible::OLLAMA,
        source: "https://docs.ollama.com/api/openai-compatibility",
        ..LOCAL
    },
    &Preset {
        name: "openrouter",
        title: "OpenRouter",
        host: Some("openrouter.ai"),
        domains: &["openrouter.ai"],
        base_path: "/api/v1",
        rerank: Some(Rerank::BelowBase),
        quirks: quirks::OPENROUTER,
        source: "https://openrouter.ai/docs/api-reference/overview",
        ..HOSTED
    },
    &Preset {
        name: "together",
        title: "Together AI",
        host: Some("api.together.ai"),
        domains: &["api.together.ai", "api.together.xyz"],
        apis: CHAT,
        rerank: Some(Rerank::BelowBase),
        quirks: compatible::TOGETHER,
        source: "https://docs.together.ai/docs/inference/openai-compatibility",
        ..HOSTED
    },
    &Preset {
        name: "vllm",
        title: "vLLM",
        source: "https://docs.vllm.ai/en/stable/serving/openai_compatible_server/",
        ..LOCAL
    },
    &Preset {
        name: "xai",
        title: "xAI",
        host: Some("api.x.ai"),
        domains: &["api.x.ai"],
        quirks: compatible::XAI,
        source: "https://docs.x.ai/developers/model-capabilities/text/reasoning",
        ..HOSTED
    },
];

/// The server of this name.
pub fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().copied().find(|preset| preset.name == name)
}

/// The names of all servers, in the order of the documentation.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

/// The server at this host. Users may write the host in any case.
pub fn at_host(host: &str) -> &'static Preset {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is = |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    PRESETS.iter().copied().find(|preset| preset.domains.iter().any(is)).unwrap_or(COMPATIBLE)
}
