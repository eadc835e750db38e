//! `anthropic` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Anthropic, DEF};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Server, ServerRules, Settings,
    auth::AuthToken,
    check::{self, Problems, optional},
};

/// Anthropic.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The credential, sent as `x-api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = check::no_workload())]
    pub auth_token: Option<AuthToken>,
    /// Version of the API, sent as `anthropic-version` when the client sends none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The model that answers, whatever the client requests. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems)?;
        let (api_version, model) = (optional(self.api_version.as_deref()), optional(self.model.as_deref()));
        Some(Checked::with_key(&DEF, key, AnthropicSettings { api_version, model }))
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct AnthropicSettings {
    /// `anthropic-version`; `None` leaves the choice to Tollgate.
    pub api_version: Option<String>,
    /// The model that answers; `None` leaves the choice to the client.
    pub model: Option<String>,
}

impl Settings for AnthropicSettings {
    fn server_rules(&self) -> ServerRules {
        ServerRules { base_path: true, ..ServerRules::default() }
    }

    fn build(&self, server: &Server) -> Result<Box<dyn Provider>, String> {
        let provider = Anthropic::new(self.model.clone(), self.api_version.as_deref());
        Ok(Box::new(provider.with_base_path(server.base_path.clone())))
    }
}
