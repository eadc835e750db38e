//! Policies on LLM requests and replies: guards, enrichment, defaults.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::provider::{auth::AuthToken, check::no_workload};

/// Processing of LLM requests and replies.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// As for the policy's spec.
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AiPolicy {
    /// Whether replies stream. Only for the native APIs of Gemini and Vertex AI, where it is in the path; other APIs have it in the body.
    #[serde(default)]
    pub route_type: RouteType,
    /// Messages added to every conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_enrichment: Option<PromptEnrichment>,
    /// Content that is rejected or masked, in prompts and in replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_guard: Option<PromptGuard>,
    /// Values for fields of the body that the provider gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<FieldDefault>,
}

/// Whether replies stream.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RouteType {
    /// One reply.
    #[default]
    Chat,
    /// A stream.
    ChatStreaming,
}

/// Messages added to every conversation.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptEnrichment {
    /// Added before the client's messages, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepend: Vec<PromptMessage>,
    /// Added after the client's messages, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<PromptMessage>,
}

/// One message.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptMessage {
    /// The author's role: `system` (or `developer`), `user` or `assistant` (or `model`), case-insensitive.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Content that is rejected or masked, in prompts and in replies.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptGuard {
    /// Guards on the client's messages: webhook first, then regex, then moderation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<PromptGuardRequest>,
    /// Guards on the model's output: webhook first, then regex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<PromptGuardResponse>,
}

/// Guards on the client's messages.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptGuardRequest {
    /// The reply to a rejected request. Without it, status 403 and a short text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_response: Option<CustomResponse>,
    /// Patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Regex>,
    /// A service of yours that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A provider's moderation model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderation: Option<Moderation>,
}

/// Guards on the model's output.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptGuardResponse {
    /// Patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Regex>,
    /// A service of yours that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// The reply to a rejected request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomResponse {
    /// The body, sent as plain text.
    #[serde(default = "CustomResponse::default_message")]
    pub message: String,
    /// The status code.
    #[serde(default = "CustomResponse::default_status_code")]
    #[schemars(range(min = 200, max = 599))]
    pub status_code: u16,
}

impl CustomResponse {
    fn default_message() -> String {
        "The request was rejected due to inappropriate content".into()
    }

    fn default_status_code() -> u16 {
        403
    }
}

/// The answer of a guard that has no `customResponse`.
impl Default for CustomResponse {
    fn default() -> Self {
        Self { message: Self::default_message(), status_code: Self::default_status_code() }
    }
}

/// Patterns that may not pass: your own and ready-made ones together.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regex {
    /// Your own patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RegexMatch>,
    /// Ready-made patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builtins: Vec<Builtin>,
    /// The action on a match: `MASK` replaces it with `<NAME>`, `REJECT` refuses the request. In replies both mask; `Reject` refuses replies too.
    #[serde(default)]
    pub action: RegexAction,
    /// The texts that are looked at. Without it all but `ToolInput`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<GuardScope>,
}

/// One pattern of your own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegexMatch {
    /// The regular expression. The case of letters does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The name of a match: a masked one becomes `<NAME>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A ready-made pattern. Agentgateway's spellings are accepted, as in `CreditCard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Builtin {
    /// US social security numbers.
    #[serde(alias = "Ssn")]
    Ssn,
    /// Credit card numbers.
    #[serde(alias = "CreditCard")]
    CreditCard,
    /// Telephone numbers.
    #[serde(alias = "PhoneNumber")]
    PhoneNumber,
    /// E-mail addresses.
    #[serde(alias = "Email")]
    Email,
    /// Canadian social insurance numbers.
    #[serde(alias = "CaSin")]
    CaSin,
    /// International bank account numbers.
    Iban,
    /// IP addresses.
    IpAddress,
    /// Keys of well-known APIs.
    ApiKey,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
}

impl JsonSchema for Builtin {
    fn schema_name() -> Cow<'static, str> {
        "Builtin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`SSN` (US social security numbers), `CREDIT_CARD`, `PHONE_NUMBER`, `EMAIL`, `CA_SIN` (Canadian \
                social insurance numbers), `IBAN`, `IP_ADDRESS`, `API_KEY` (of well-known APIs), `JWT`, or `PRIVATE_KEY` \
                (PEM). The first five also in agentgateway's spelling, as in `CreditCard`.",
            "enum": [
                "SSN", "CREDIT_CARD", "PHONE_NUMBER", "EMAIL", "CA_SIN", "IBAN", "IP_ADDRESS", "API_KEY", "JWT",
                "PRIVATE_KEY", "Ssn", "CreditCard", "PhoneNumber", "Email", "CaSin",
            ],
        })
    }
}

/// The action on a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegexAction {
    /// The match is replaced.
    #[default]
    #[serde(rename = "MASK", alias = "Mask")]
    Mask,
    /// A request is refused, and a reply is masked, as in kgateway.
    #[serde(rename = "REJECT")]
    RejectRequest,
    /// A request is refused, and so is a reply, as in agentgateway.
    Reject,
}

impl JsonSchema for RegexAction {
    fn schema_name() -> Cow<'static, str> {
        "RegexAction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["MASK", "REJECT", "Mask", "Reject"] })
    }
}

/// The texts that a guard looks at.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardScope {
    /// Instructions.
    SystemPrompt,
    /// The client's texts and the model's.
    Messages,
    /// Arguments of tool calls.
    ToolInput,
    /// Results of tool calls.
    ToolOutput,
}

/// A service of yours that decides over a plain HTTP call. `host` and `endpoint` are two spellings of the same, as are
/// `forwardHeaders` and `forwardHeaderMatches`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.host) != has(self.endpoint)", "exactly one of host and endpoint must be set: write `host: {host: NAME, port: PORT}`"),
    validation = ("!(has(self.forwardHeaders) && has(self.forwardHeaderMatches))", "forwardHeaders and forwardHeaderMatches are mutually exclusive: remove one of them"),
)]
pub struct Webhook {
    /// Where the service is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<WebhookHost>,
    /// Where the service is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<WebhookHost>,
    /// Which of the client's headers the service gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_headers: Vec<HeaderMatch>,
    /// Which of the client's headers the service gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_header_matches: Vec<HeaderMatch>,
}

impl Webhook {
    /// Where the service is, in whichever spelling. `None` when neither is there.
    #[must_use]
    pub fn target(&self) -> Option<&WebhookHost> {
        self.host.as_ref().or(self.endpoint.as_ref())
    }

    /// Which of the client's headers the service gets, in whichever spelling.
    pub fn forwarded_headers(&self) -> impl Iterator<Item = &HeaderMatch> {
        self.forward_headers.iter().chain(&self.forward_header_matches)
    }
}

/// Where a webhook is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookHost {
    /// Host name or IP address, without scheme and port.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Accepted because mid-2025 manifests may have it; webhooks are called without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// A match on one header.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: HeaderMatchType,
    /// Name of the header.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value. Without one, or empty, every value matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
}

/// How a header's value is compared.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderMatchType {
    /// The whole value, exactly.
    #[default]
    Exact,
    /// A regular expression over the whole value.
    RegularExpression,
}

/// A provider's moderation model.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = ("has(self.openAIModeration)", "OpenAI moderation config must be set for moderation prompt guard: write openAIModeration"))]
pub struct Moderation {
    /// OpenAI's moderation API.
    #[serde(rename = "openAIModeration", skip_serializing_if = "Option::is_none")]
    pub openai_moderation: Option<OpenAiModeration>,
}

/// OpenAI's moderation API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAiModeration {
    /// The credential for OpenAI.
    #[x_kube(validation = no_workload())]
    pub auth_token: AuthToken,
    /// The moderation model.
    #[serde(default = "OpenAiModeration::default_model")]
    pub model: String,
}

impl OpenAiModeration {
    fn default_model() -> String {
        "omni-moderation-latest".into()
    }
}

/// A value for a field of the body that the provider gets.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDefault {
    /// Name of the field, as the provider spells it, or a JSON pointer: `/generationConfig/maxOutputTokens`.
    #[schemars(length(min = 1))]
    pub field: String,
    /// The value, as JSON: `0.5` is a number, `[1,2]` a list. A value that is not JSON is a string.
    #[schemars(length(min = 1))]
    pub value: String,
    /// Whether the value also replaces the client's.
    #[serde(rename = "override", default)]
    pub overrides: bool,
}
