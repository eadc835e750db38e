//! A provider that is in no list: what a folder of `src/provider` has to hold, in one file.

use http::{HeaderName, uri::PathAndQuery};
use serde_json::json;
use tollgate::{
    dialect::{ApiRequest, DialectId, Endpoint, Quirks, chat},
    provider::{
        Auth, Checked, CredentialSlot, Docs, Info, Provider, ProviderConfig, ProviderDef, Refusal, Server, Settings,
        TranslationNeeds,
        auth::AuthToken,
        check::{self, Problems},
        native_request, path_of, resolve_model,
    },
};

// What `config.rs` holds. There the struct derives `KubeSchema`, too.

/// Models behind an address for each tenant.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auth_token: Option<AuthToken>,
    tenant: Option<String>,
    model: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems);
        let tenant = check::required(self.tenant.as_deref(), path, "tenant", "the tenant's name", problems);
        let model = check::optional(self.model.as_deref());
        Some(Checked::with_key(&DEF, key?, ExampleSettings { tenant: tenant?, model }))
    }
}

#[derive(Debug)]
struct ExampleSettings {
    tenant: String,
    model: Option<String>,
}

impl Settings for ExampleSettings {
    fn build(&self, _server: &Server) -> Result<Box<dyn Provider>, String> {
        Ok(Box::new(Example { tenant: self.tenant.clone(), model: self.model.clone() }))
    }
}

// What `mod.rs` holds.

const INFO: Info = Info { name: "example", llm: "example", system: "example", dialect: DialectId::Chat };

const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: r#"{"tenant": "ours"}"#,
    usual: &[],
    docs: Docs {
        section: "Example Models",
        host: "`TENANT.example.com`",
        dialects: "OpenAI",
        credential: "`x-example-key: KEY`",
    },
};

/// `example` in a Backend.
#[derive(Debug)]
struct Example {
    tenant: String,
    model: Option<String>,
}

impl Provider for Example {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        format!("{}.example.com", self.tenant)
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: HeaderName::from_static("x-example-key"), prefix: String::new() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn path(&self, request: &ApiRequest, _model: Option<&str>, _query: Option<&str>) -> Result<PathAndQuery, Refusal> {
        match &request.endpoint {
            Endpoint::Responses => Err(Refusal::Translation),
            endpoint => {
                let path = chat::endpoint::path(endpoint).ok_or(Refusal::Translation)?;
                PathAndQuery::try_from(format!("/api{path}")).map_err(|_| Refusal::ModelInvalid)
            }
        }
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Chat, &Quirks::PLAIN))
    }
}

fn checked(fields: serde_json::Value) -> Result<Checked, Vec<String>> {
    let config: Config = serde_json::from_value(fields).unwrap();
    let mut problems = Problems::default();
    let checked = config.check("spec.ai.llm.example", &mut problems);
    let problems = problems.into_vec().into_iter().map(|p| format!("{}: {}", p.path, p.message));
    checked.ok_or_else(|| problems.collect())
}

#[test]
fn a_provider_of_a_test_goes_all_the_way() {
    assert_eq!(
        checked(json!({"authToken": {"kind": "Workload"}})).unwrap_err(),
        [
            "spec.ai.llm.example.authToken: kind Workload is of azureopenai and vertexai alone: \
             write SecretRef, Inline \
             or Passthrough",
            "spec.ai.llm.example.tenant: tenant is missing: write the tenant's name",
        ]
    );
    let fields = json!({"authToken": {"kind": "Passthrough"}, "tenant": "ours", "model": "m"});
    let checked = checked(fields).unwrap();
    assert!(matches!(checked.auth, Auth::Key(_)));
    assert_eq!(
        checked.def.docs_row(),
        "| [`example`](#example-models) | `TENANT.example.com` | OpenAI | `x-example-key: KEY` | `example` |"
    );

    let provider = checked.settings.build(&Server::default()).unwrap();
    assert_eq!((provider.info(), provider.host()), (checked.def.info, "ours.example.com".to_owned()));
    for (dialect, expected) in [
        (DialectId::Chat, Ok("/api/chat/completions")),
        (DialectId::Responses, Err(Refusal::Translation)),
        (DialectId::Messages, Err(Refusal::Translation)),
    ] {
        let request = native_request(dialect, true, "theirs");
        let model = resolve_model(&*provider, &request);
        assert_eq!(model, Some("m"));
        let path = path_of(&*provider, &request, model, None);
        assert_eq!(path.as_ref().map(PathAndQuery::as_str), expected.as_ref().copied(), "{dialect:?}");
        assert_eq!(provider.speaks(&request, model), path.is_ok());
        assert_eq!(provider.translation(&TranslationNeeds::plain(model)), Some((DialectId::Chat, &Quirks::PLAIN)));
    }
}
