//! Manifests for the providers whose usual variables are set in the environment.
//!
//! They are a text like that of a file, so that what is served without any manifest is exactly what `tollgate init`
//! prints: one endpoint, whose model chooses the provider. The text names variables, and holds none of their values.

use std::fmt::Write as _;

/// The name of everything in the text, in the namespace `default`.
const NAME: &str = "tollgate";

/// A provider that variables of the environment enable.
struct Usual {
    /// Its name in `provider/MODEL`, and that of its Secret.
    name: &'static str,
    /// Variables with its key, the first that is set counts.
    keys: &'static [&'static str],
    /// Its field in a Backend, and what is in that beside the key.
    provider: (&'static str, &'static str),
    /// The models that are known to be its own.
    models: &'static [&'static str],
}

/// A server with OpenAI's API. Its models have names that others have, too, so clients write `NAME/MODEL`.
const fn compatible(name: &'static str, keys: &'static [&'static str], preset: &'static str) -> Usual {
    Usual { name, keys, provider: ("openai", preset), models: &[] }
}

const OPENAI_MODELS: &[&str] = &[
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
const GEMINI_MODELS: &[&str] = &["gemini-*", "gemma-*", "learnlm-*"];
const BEDROCK_MODELS: &[&str] = &[
    "amazon.*",
    "anthropic.*",
    "cohere.*",
    "deepseek.*",
    "meta.*",
    "mistral.*",
    "openai.*",
    "qwen.*",
    "us.*",
    "eu.*",
    "apac.*",
    "global.*",
    "arn:aws:bedrock:*",
];

/// The providers, in the order of the documentation. The variables are those that their own SDKs read.
const USUAL: &[Usual] = &[
    Usual { name: "openai", keys: &["OPENAI_API_KEY"], provider: ("openai", ""), models: OPENAI_MODELS },
    Usual { name: "anthropic", keys: &["ANTHROPIC_API_KEY"], provider: ("anthropic", ""), models: &["claude-*"] },
    Usual {
        name: "gemini",
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        provider: ("gemini", "model: \"\", apiVersion: v1beta, "),
        models: GEMINI_MODELS,
    },
    compatible("cerebras", &["CEREBRAS_API_KEY"], "preset: cerebras, "),
    compatible("cohere", &["CO_API_KEY", "COHERE_API_KEY"], "preset: cohere, "),
    compatible("deepseek", &["DEEPSEEK_API_KEY"], "preset: deepseek, "),
    compatible("fireworks", &["FIREWORKS_API_KEY"], "preset: fireworks, "),
    compatible("groq", &["GROQ_API_KEY"], "preset: groq, "),
    compatible("huggingface", &["HF_TOKEN"], "preset: huggingface, "),
    compatible("mistral", &["MISTRAL_API_KEY"], "preset: mistral, "),
    compatible("openrouter", &["OPENROUTER_API_KEY"], "preset: openrouter, "),
    compatible("together", &["TOGETHER_API_KEY"], "preset: together, "),
    compatible("xai", &["XAI_API_KEY"], "preset: xai, "),
];

/// The variables that AWS's SDKs read, all of which Bedrock needs.
const AWS_KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
const AWS_REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// The providers that are simulated, or printed as an example, where no variable is set.
const EXAMPLES: usize = 3;

/// One entry of the Backend.
struct Entry {
    name: &'static str,
    /// The Secret's key with its variable, if it needs a Secret.
    variable: Option<&'static str>,
    provider: String,
    models: &'static [&'static str],
}

/// What the environment serves.
pub struct Environment {
    entries: Vec<Entry>,
    port: u16,
}

impl Environment {
    /// The providers whose variables `get` finds, at `port`; `None` when there are none.
    pub fn read(get: &dyn Fn(&str) -> Option<String>, port: u16) -> Option<Self> {
        let is_set = |name: &&str| get(name).is_some_and(|value| !value.trim().is_empty());
        let usual = |usual: &'static Usual| {
            let variable = usual.keys.iter().copied().find(|name| is_set(name))?;
            Some(entry(usual, variable))
        };
        let mut entries: Vec<Entry> = USUAL.iter().filter_map(usual).collect();
        let region = AWS_REGIONS.iter().filter(|name| is_set(name)).find_map(|name| get(name));
        if let Some(region) = region.filter(|region| is_region(region) && AWS_KEYS.iter().all(is_set)) {
            let provider = format!("bedrock: {{region: {region}}}");
            entries.push(Entry { name: "bedrock", variable: None, provider, models: BEDROCK_MODELS });
        }
        (!entries.is_empty()).then_some(Self { entries, port })
    }

    /// The largest vendors, whether their variables are set or not.
    pub fn example(port: u16) -> Self {
        let entries = USUAL.iter().take(EXAMPLES);
        let first = |usual: &'static Usual| Some(entry(usual, usual.keys.first()?));
        Self { entries: entries.filter_map(first).collect(), port }
    }

    /// The names of the providers, joined with commas.
    pub fn providers(&self) -> String {
        self.entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
    }

    /// The manifests.
    pub fn manifests(&self) -> String {
        let mut text = format!(
            "# One endpoint for all models: the model that a request names chooses the provider. PROVIDER/MODEL does\n\
             # for all its models. Serve it to this machine alone:\n\
             #   tollgate run --manifests FILE --listen-address 127.0.0.1\n\
             apiVersion: gateway.networking.k8s.io/v1\n\
             kind: Gateway\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  gatewayClassName: tollgate\n  listeners:\n  - name: http\n    protocol: HTTP\n    port: {}\n\
             ---\n\
             apiVersion: gateway.networking.k8s.io/v1\n\
             kind: HTTPRoute\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  parentRefs:\n  - name: {NAME}\n  rules:\n  - backendRefs:\n    - name: {NAME}\n      \
             group: gateway.kgateway.dev\n      kind: Backend\n\
             ---\n\
             apiVersion: gateway.kgateway.dev/v1alpha1\n\
             kind: Backend\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  type: AI\n  ai:\n    priorityGroups:\n    - providers:\n",
            self.port
        );
        let is_alone = self.entries.len() == 1;
        for entry in &self.entries {
            let models = if is_alone { &["*"] } else { entry.models };
            // Writing to a String does not fail.
            let _ = writeln!(text, "      - name: {}\n        {}", entry.name, entry.provider);
            if !models.is_empty() {
                let models: Vec<String> = models.iter().map(|model| format!("\"{model}\"")).collect();
                let _ = writeln!(text, "        models: [{}]", models.join(", "));
            }
            let _ = writeln!(text, "        modelAliases: {{\"{}/*\": \"*\"}}", entry.name);
        }
        for entry in &self.entries {
            let Some(variable) = entry.variable else { continue };
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n  namespace: default\n\
                 stringData:\n  Authorization: ${variable}\n",
                entry.name
            );
        }
        text
    }
}

fn entry(usual: &'static Usual, variable: &'static str) -> Entry {
    let (field, fields) = usual.provider;
    let token = format!("authToken: {{kind: SecretRef, secretRef: {{name: {}}}}}", usual.name);
    let provider = format!("{field}: {{{fields}{token}}}");
    Entry { name: usual.name, variable: Some(variable), provider, models: usual.models }
}

/// Whether this is the name of a region, which becomes part of the text.
fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        compile::Objects,
        provider::openai::presets,
        source::file::{self, LoadOptions},
    };

    fn read(set: &[(&str, &str)]) -> Option<Environment> {
        let set: HashMap<String, String> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment::read(&|name| set.get(name).cloned(), 8080)
    }

    fn objects(text: &str) -> Objects {
        file::read_text("environment", text, &|name| Some(format!("value-of-{name}")), &LoadOptions::default())
    }

    #[test]
    fn variables_enable_their_providers() {
        for (set, providers) in [
            (&[("OPENAI_API_KEY", "k")][..], "openai"),
            (&[("GOOGLE_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")], "anthropic, gemini"),
            (&[("OPENAI_API_KEY", " "), ("GROQ_API_KEY", "k")], "groq"),
            (
                &[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_DEFAULT_REGION", "eu-west-1")],
                "bedrock",
            ),
        ] {
            assert_eq!(read(set).unwrap().providers(), providers, "{set:?}");
        }
        // Not a whole credential, or a region that would write manifests of its own.
        assert!(read(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_REGION", "us-east-1")]).is_none());
        let odd = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "x}\n---")];
        assert!(read(&odd).is_none());
        assert!(read(&[]).is_none());
    }

    #[test]
    fn the_text_is_manifests_that_hold_no_value() {
        let all: Vec<(&str, &str)> =
            USUAL.iter().flat_map(|usual| usual.keys).map(|name| (*name, "sk-secret")).collect();
        let aws = [("AWS_ACCESS_KEY_ID", "sk-secret"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "us-east-1")];
        let text = read(&[all, aws.to_vec()].concat()).unwrap().manifests();
        assert!(!text.contains("sk-secret"), "{text}");
        let objects = objects(&text);
        assert_eq!(objects.rejected, []);
        assert_eq!((objects.gateways.len(), objects.http_routes.len(), objects.backends.len()), (1, 1, 1));
        assert_eq!(objects.secrets.len(), USUAL.len());
        let shape = crate::compile::shape::shape(&objects.backends.values().next().unwrap().spec).unwrap();
        assert!(shape.providers().starts_with("openai,anthropic,gemini"), "{}", shape.providers());
    }

    #[test]
    fn every_server_with_an_address_of_its_own_has_a_variable() {
        for preset in presets::PRESETS.iter().filter(|preset| preset.host.is_some()) {
            assert!(USUAL.iter().any(|usual| usual.name == preset.name), "{}", preset.name);
        }
    }
}
