//! Amazon Bedrock: Converse, and for Claude its own Messages by `InvokeModel`.

mod config;
pub(super) mod quirks;

pub use config::{AwsAuth, AwsAuthKind, BedrockSettings, Config, Guardrail};

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{
    BodyEdit, CredentialSlot, Docs, Framing, Info, Provider, ProviderDef, Refusal, TranslationNeeds, Usual, claude,
    model_segment, path_and_query,
};
use crate::{
    dialect::{ApiRequest, BedrockVerb, DialectId, Endpoint, ModelName, Quirks, StreamMode},
    stream::TopLevel,
};

const INFO: Info = Info { name: "bedrock", llm: "bedrock", system: "aws.bedrock", dialect: DialectId::Converse };

/// The beginnings of its models' names.
const MODELS: &[&str] = &[
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

/// `bedrock` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: "{}",
    usual: &[Usual {
        credential: &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
        region: &["AWS_REGION", "AWS_DEFAULT_REGION"],
        ..Usual::with_key("bedrock", &[], MODELS)
    }],
    docs: Docs {
        section: "Bedrock",
        host: "`bedrock-runtime.REGION.amazonaws.com`",
        dialects: "Bedrock; Anthropic for Claude",
        credential: "signed (SigV4)",
    },
};

/// The version of Messages in the body that every Claude on Bedrock accepts.
const ANTHROPIC_VERSION: &str = r#""bedrock-2023-05-31""#;
/// The headers from which `InvokeModel` reads the guardrail; Converse reads it from the body.
const GUARDRAIL_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-guardrailidentifier");
const GUARDRAIL_VERSION: HeaderName = HeaderName::from_static("x-amzn-bedrock-guardrailversion");
/// All but RFC 3986's unreserved characters: a model's id is one segment, and is signed as it is sent.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `bedrock` in a Backend.
#[derive(Debug)]
pub struct Bedrock {
    region: String,
    model: Option<String>,
    guardrail: Option<GuardrailFields>,
}

/// A guardrail in the forms that requests contain.
#[derive(Debug)]
struct GuardrailFields {
    /// The value of Converse's `guardrailConfig`, JSON.
    config: String,
    /// The same as a field of an object.
    field: String,
    identifier: HeaderValue,
    version: HeaderValue,
}

impl Bedrock {
    /// An entry in `region` that overrides the client's model with `model`: a model id, an inference profile, or an
    /// ARN.
    pub fn new(region: String, model: Option<String>) -> Self {
        Self { region, model, guardrail: None }
    }

    /// The same with a guardrail on every request, instead of the client's own.
    ///
    /// # Errors
    /// When `identifier` or `version` can't be sent in a header.
    pub fn with_guardrail(mut self, identifier: &str, version: &str) -> Result<Self, http::header::InvalidHeaderValue> {
        let config = json!({ "guardrailIdentifier": identifier, "guardrailVersion": version }).to_string();
        self.guardrail = Some(GuardrailFields {
            field: format!("\"guardrailConfig\":{config}"),
            config,
            identifier: HeaderValue::from_str(identifier)?,
            version: HeaderValue::from_str(version)?,
        });
        Ok(self)
    }

    /// Whether Messages are sent to `model` as they are. The ARN of an application inference profile does not name its
    /// model.
    fn is_claude(&self, model: Option<&str>) -> bool {
        [model, self.model.as_deref()].into_iter().flatten().any(|name| ModelName::of(name).has(&["claude"]))
    }
}

/// Whether this is a conversation in Bedrock's own dialect.
const fn converses(request: &ApiRequest) -> bool {
    matches!(request.endpoint, Endpoint::Bedrock(BedrockVerb::Converse | BedrockVerb::ConverseStream, _))
}

impl Provider for Bedrock {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        format!("bedrock-runtime.{}.amazonaws.com", self.region)
    }

    /// The slot is for Bedrock's API keys; with other credentials requests are signed.
    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn model_in_body(&self, _request: &ApiRequest) -> bool {
        false
    }

    /// Bedrock has no queries: the client's is not forwarded.
    fn path(&self, request: &ApiRequest, model: Option<&str>, _query: Option<&str>) -> Result<PathAndQuery, Refusal> {
        let verb = match &request.endpoint {
            // Another model may have another format, or other settings.
            Endpoint::Bedrock(verb, _) if verb.is_messages() && model != request.model.as_deref() => {
                return Err(Refusal::Translation);
            }
            Endpoint::Bedrock(verb, _) => *verb,
            Endpoint::Messages if self.is_claude(model) => match request.stream {
                StreamMode::No => BedrockVerb::Invoke,
                _ => BedrockVerb::InvokeStream,
            },
            Endpoint::Models(_) => {
                return Err(Refusal::Endpoint("Amazon Bedrock lists its models at another host".into()));
            }
            _ => return Err(Refusal::Translation),
        };
        let model = utf8_percent_encode(model_segment(model)?, SEGMENT);
        path_and_query(format!("/model/{model}/{}", verb.as_str()))
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Converse, quirks::BEDROCK))
    }

    fn body_edits(&self, request: &ApiRequest, top: &TopLevel<'_>, headers: &HeaderMap) -> Vec<BodyEdit> {
        if request.endpoint == Endpoint::Messages {
            let mut edits = vec![("model", None), ("stream", None)];
            edits.extend(claude::version(top, ANTHROPIC_VERSION));
            edits.extend(claude::beta_field(top, headers, claude::Cloud::Bedrock));
            return edits;
        }
        let guardrail = self.guardrail.iter().filter(|_| converses(request));
        guardrail.map(|g| ("guardrailConfig", Some(Cow::Owned(g.config.clone().into_bytes())))).collect()
    }

    fn unsupported_headers(&self, request: &ApiRequest, top: &TopLevel<'_>, headers: &HeaderMap) -> Vec<String> {
        claude::refused(request, top, headers, claude::Cloud::Bedrock)
    }

    fn extra_body_fields(&self, request: &ApiRequest) -> Option<&str> {
        self.guardrail.as_ref().filter(|_| converses(request)).map(|g| g.field.as_str())
    }

    fn framing(&self, request: &ApiRequest) -> Framing {
        if request.endpoint == Endpoint::Messages && request.stream != StreamMode::No {
            Framing::WrappedEvents
        } else {
            Framing::of(request.stream)
        }
    }

    /// Settings that Anthropic's API has in headers are in the body here. The Backend's guardrail is the operator's
    /// rule, so it replaces the client's.
    fn complete_headers(&self, headers: &mut HeaderMap) {
        headers.remove(claude::VERSION_HEADER);
        headers.remove(claude::BETA_HEADER);
        if let Some(guardrail) = &self.guardrail {
            headers.insert(GUARDRAIL_ID, guardrail.identifier.clone());
            headers.insert(GUARDRAIL_VERSION, guardrail.version.clone());
        }
    }
}
