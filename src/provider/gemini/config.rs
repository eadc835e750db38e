//! `gemini` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{DEF, Gemini};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Server, Settings,
    auth::AuthToken,
    check::{self, Problems, optional},
};

/// Google Gemini (AI Studio).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = check::no_workload())]
    pub auth_token: Option<AuthToken>,
    /// The model that answers, such as `gemini-2.5-flash`. Empty leaves the choice to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub model: Option<String>,
    /// Version of the API: `v1` or `v1beta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub api_version: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems);
        // Both fields must be there, but the schema allows them to be empty.
        let (model, api_version) = (self.model.as_deref(), self.api_version.as_deref());
        check::present(model, path, "model", "the model, such as `gemini-2.5-flash`", problems);
        check::present(api_version, path, "apiVersion", "the API's version, such as `v1beta`", problems);
        let (model, api_version) = (optional(model), optional(api_version));
        Some(Checked::with_key(&DEF, key?, GeminiSettings { model, api_version }))
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct GeminiSettings {
    /// The model that answers; `None` leaves the choice to the client.
    pub model: Option<String>,
    /// `v1` or `v1beta`; `None` leaves the choice to Tollgate.
    pub api_version: Option<String>,
}

impl Settings for GeminiSettings {
    fn build(&self, _server: &Server) -> Result<Box<dyn Provider>, String> {
        Ok(Box::new(Gemini::new(self.model.clone(), self.api_version.clone())))
    }
}
