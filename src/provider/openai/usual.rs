//! The variables of OpenAI's own API, and of the servers in [`presets`](super::presets).

use crate::provider::Usual;

/// The variables, as each vendor's SDK or documentation names them.
pub const USUAL: &[Usual] = &[
    Usual::with_key("openai", &["OPENAI_API_KEY"], MODELS),
    preset("cerebras", &["CEREBRAS_API_KEY"], "preset: cerebras"),
    preset("cohere", &["CO_API_KEY", "COHERE_API_KEY"], "preset: cohere"),
    preset("deepseek", &["DEEPSEEK_API_KEY"], "preset: deepseek"),
    preset("fireworks", &["FIREWORKS_API_KEY"], "preset: fireworks"),
    preset("groq", &["GROQ_API_KEY"], "preset: groq"),
    preset("huggingface", &["HF_TOKEN"], "preset: huggingface"),
    preset("mistral", &["MISTRAL_API_KEY"], "preset: mistral"),
    preset("openrouter", &["OPENROUTER_API_KEY"], "preset: openrouter"),
    preset("together", &["TOGETHER_API_KEY"], "preset: together"),
    preset("xai", &["XAI_API_KEY"], "preset: xai"),
];

/// The beginnings of the names of OpenAI's own models.
const MODELS: &[&str] = &[
    "gpt-*",
    "chatgpt-*",
    "o1*",
    "o3*",
    "o4*",
    "codex-*",
    "computer-use-*",
    "text-embedding-3-*",
    "text-embedding-ada-*",
    "omni-moderation-*",
    "ft:*",
];

/// A server with OpenAI's API. Its models have names that others have, too, so clients write `NAME/MODEL`.
const fn preset(name: &'static str, keys: &'static [&'static str], fields: &'static str) -> Usual {
    Usual { name, keys, credential: &[], region: &[], fields, models: &[] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::openai::presets::PRESETS;

    #[test]
    fn every_server_with_an_address_of_its_own_has_a_variable() {
        for preset in PRESETS.iter().filter(|preset| preset.host.is_some()) {
            assert!(USUAL.iter().any(|usual| usual.name == preset.name), "{}", preset.name);
        }
    }
}
