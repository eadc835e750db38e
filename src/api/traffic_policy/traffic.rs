//! Policies on any traffic: timeouts, retries, rate limits.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{duration::GoDuration, schema::FreeForm};

/// How long requests may take.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From the request's end to the reply's end, with all retries. `0s` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<GoDuration>,
    /// Until the first text, reasoning or call of a streamed answer, from sending: after it the next provider of the
    /// Backend is tried. Four minutes are added for each million tokens of input. The last provider has no such limit.
    /// By default `120s`; `0s` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<GoDuration>,
    /// The longest pause within a reply. `0s` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<GoDuration>,
}

/// Which requests come first where a Backend has as many as its `circuitBreakers` or `maxRequests` allow.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// The class of the requests.
    #[serde(default)]
    pub class: PriorityClass,
    /// A header of clients that has the class: `interactive` or `batch`. Any other value counts as none. Without this
    /// field no client chooses its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: Option<String>,
}

/// How urgent requests are.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PriorityClass {
    /// A person waits for the answer.
    #[default]
    Interactive,
    /// The answer may come later: these requests wait until no interactive one does.
    Batch,
}

/// When and how often a failed request is sent again.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.retryOn) || has(self.statusCodes)", "retryOn or statusCodes must be set: they select the failures that are retried"))]
pub struct Retry {
    /// Which failures are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub retry_on: Vec<RetryOn>,
    /// How many more times a request is sent after the first.
    #[serde(default = "Retry::default_attempts")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub attempts: u32,
    /// How long each attempt may take. Without it, as long as the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("duration(self) >= duration('1ms')", "perTryTimeout must be at least 1ms"))]
    pub per_try_timeout: Option<GoDuration>,
    /// Replies with one of these status codes are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 200), inner(range(min = 400, max = 599)))]
    pub status_codes: Vec<u16>,
    /// The pause before the first further attempt; it doubles with each one.
    #[serde(default = "Retry::default_backoff")]
    #[x_kube(validation = ("duration(self) >= duration('1ms')", "backoffBaseInterval must be at least 1ms"))]
    pub backoff_base_interval: GoDuration,
}

impl Retry {
    fn default_attempts() -> u32 {
        1
    }

    #[expect(clippy::expect_used, reason = "a constant, and a test decodes it")]
    fn default_backoff() -> GoDuration {
        "25ms".parse().expect("25ms is a duration")
    }
}

/// A failure that is tried again, in Envoy's words.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// Any status of 500 and above, no reply, or a connection that was refused, reset or timed out.
    #[serde(rename = "5xx")]
    Status5xx,
    /// Status 502, 503 or 504.
    GatewayError,
    /// The connection was closed before the reply, or no reply came in time.
    Reset,
    /// The connection was closed before the request was sent.
    ResetBeforeRequest,
    /// No connection could be made.
    ConnectFailure,
    /// Envoy's own rate limit header.
    EnvoyRatelimited,
    /// Status 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// The upstream refused the HTTP/2 stream.
    RefusedStream,
    /// A status in `statusCodes`.
    RetriableStatusCodes,
    /// A failed HTTP/3 connection.
    #[serde(rename = "http3-post-connect-failure")]
    Http3PostConnectFailure,
    /// gRPC status cancelled.
    Cancelled,
    /// gRPC status deadline exceeded.
    DeadlineExceeded,
    /// gRPC status internal.
    Internal,
    /// gRPC status resource exhausted.
    ResourceExhausted,
    /// gRPC status unavailable.
    Unavailable,
}

/// Edits of the headers of requests and replies.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transformation {
    /// Edits of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Transform>,
    /// Edits of replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Transform>,
}

/// Edits of the headers of one direction. First headers are set, then added, then removed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// Headers that are set, in place of those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<HeaderTransformation>,
    /// Headers that are added beside those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub add: Vec<HeaderTransformation>,
    /// Names of headers that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub remove: Vec<String>,
    /// A template for the body. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<FreeForm>,
}

impl Transform {
    /// Whether a value of a header is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.set.iter().chain(&self.add).any(HeaderTransformation::is_template)
    }
}

/// A header and its value.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderTransformation {
    /// Name of the header.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value. One with a template of Inja (`{{ ... }}`) is accepted but not acted on, which the status reports.
    #[serde(default)]
    pub value: String,
}

impl HeaderTransformation {
    /// Whether the value is a template of Inja: it has an expression, a statement or a comment.
    #[must_use]
    pub fn is_template(&self) -> bool {
        ["{{", "{%", "{#"].iter().any(|mark| self.value.contains(mark))
    }
}

/// How many requests are let through.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Counted in each replica of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalRateLimit>,
    /// Counted by an external service. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<FreeForm>,
}

/// A limit counted in each replica of the gateway. Empty, it lifts a limit that a wider policy sets.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimit {
    /// The bucket that each request takes a token from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_bucket: Option<TokenBucket>,
}

/// A bucket of tokens, one for each request. These are not LLM tokens.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenBucket {
    /// How many tokens the bucket holds, and starts with: the largest burst.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_tokens: u32,
    /// How many tokens are added each `fillInterval`.
    #[serde(default = "TokenBucket::default_tokens_per_fill")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub tokens_per_fill: u32,
    /// How often tokens are added.
    #[x_kube(validation = ("duration(self) >= duration('1ms')", "fillInterval must be at least 1ms"))]
    pub fill_interval: GoDuration,
}

impl TokenBucket {
    fn default_tokens_per_fill() -> u32 {
        1
    }
}
