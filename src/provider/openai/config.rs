//! `openai` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    DEF, OpenAi,
    presets::{self, Preset},
};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Server, ServerRules, Settings,
    auth::AuthToken,
    check::{self, Problems},
};

/// OpenAI, or anything that speaks its API at another host.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The credential, sent as `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = check::no_workload())]
    pub auth_token: Option<AuthToken>,
    /// The model that answers, whatever the client requests. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The server by its name, such as `groq`: its address, paths and what it takes differently. Without it, the host
    /// shows which server it is. Servers that you run yourself (`ollama`, `vllm`, `llamacpp`, `lmstudio`) need `host`
    /// and `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = presets::names().collect::<Vec<_>>()))]
    pub preset: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems);
        let model = check::optional(self.model.as_deref());
        let preset = self.preset.as_deref().map(presets::named);
        if matches!(preset, Some(None)) {
            let names: Vec<&str> = presets::names().collect();
            problems.push(format!("{path}.preset"), format!("no such preset: write one of {}", names.join(", ")));
            return None;
        }
        let preset = preset.flatten();
        Some(Checked::with_key(&DEF, key?, OpenAiSettings { model, preset }))
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct OpenAiSettings {
    /// The model that answers; `None` leaves the choice to the client.
    pub model: Option<String>,
    /// The server that the Backend names.
    pub preset: Option<&'static Preset>,
}

impl Settings for OpenAiSettings {
    fn server_rules(&self) -> ServerRules {
        let needs_host = self.preset.filter(|preset| preset.host.is_none()).map(|preset| preset.title);
        ServerRules { base_path: true, apis: true, needs_host }
    }

    fn build(&self, server: &Server) -> Result<Box<dyn Provider>, String> {
        Ok(Box::new(OpenAi::new(self.model.clone(), self.preset, server)))
    }
}
