//! `openai` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{DEF, OpenAi};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Settings,
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
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems)?;
        Some(Checked::with_key(&DEF, key, OpenAiSettings { model: check::optional(self.model.as_deref()) }))
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct OpenAiSettings {
    /// The model that answers; `None` leaves the choice to the client.
    pub model: Option<String>,
}

impl Settings for OpenAiSettings {
    fn build(&self, host: Option<&str>) -> Result<Box<dyn Provider>, String> {
        Ok(Box::new(OpenAi::new(self.model.clone(), host)))
    }
}
