//! `OpenAI`, Azure `OpenAI` and compatible servers.

/// Chat Completions.
mod chat;
/// Checks of a chat completion.
mod check;
/// The quirks of compatible servers.
mod compatible;
/// Checks of the input of Responses.
mod items;
/// Embeddings, models, moderations and legacy completions.
mod others;
/// Rankings.
mod rerank;
/// Responses.
mod responses;

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::received::Received;
use super::wire::{Node, Reply, data_event, ordered};
use super::{ApiRequest, Provider};

/// The time of every reply, in seconds since 1970; fixed, so that replies are deterministic.
const CREATED: i32 = 1_750_000_000;

/// The endpoint that the path names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Chat,
    Completions,
    Embeddings,
    Moderations,
    Rerank,
    Responses,
    /// The tokens of a request of Responses.
    ResponseTokens,
    Models,
    Unknown,
}

/// The server, by path and host: compatible servers differ in places.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quirks {
    OpenAi,
    /// With Azure's credentials, errors and additions.
    Azure,
    Mistral,
    DeepSeek,
    /// Any other server, which accepts unknown fields.
    Other,
}

/// Hosts of servers, by their ends.
const HOSTS: &[(&str, Quirks)] = &[
    ("mistral.ai", Quirks::Mistral),
    ("deepseek.com", Quirks::DeepSeek),
    ("openai.com", Quirks::OpenAi),
    ("localhost", Quirks::OpenAi),
];

/// Paths end with one of these, after any prefix.
const APIS: &[(&str, Api)] = &[
    ("/chat/completions", Api::Chat),
    ("/completions", Api::Completions),
    ("/embeddings", Api::Embeddings),
    ("/moderations", Api::Moderations),
    ("/rerank", Api::Rerank),
    ("/responses", Api::Responses),
    ("/responses/input_tokens", Api::ResponseTokens),
    ("/models", Api::Models),
];

/// An endpoint of `OpenAI`, of Azure or of a compatible server.
struct OpenAi {
    api: Api,
    quirks: Quirks,
    /// The model or deployment in the path.
    path_model: Option<String>,
}

/// Takes every request that no other provider took.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all providers")]
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let path = received.path.as_str();
    let quirks = quirks(received);
    let deployment = path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split('/').next());
    let mut path_model = deployment.map(str::to_owned);
    let mut api = APIS.iter().find(|(end, _)| path.ends_with(end)).map_or(Api::Unknown, |(_, api)| *api);
    if let (Api::Unknown, Some((_, id))) = (api, path.split_once("/models/")) {
        api = Api::Models;
        path_model = Some(id.to_owned());
    }
    Some(Box::new(OpenAi { api, quirks, path_model }))
}

fn quirks(received: &Received) -> Quirks {
    let (path, host) = (received.path.as_str(), received.host.as_str());
    // Bedrock serves `OpenAI`'s API below the same path as Azure.
    if path.starts_with("/openai/") && !host.ends_with("amazonaws.com") {
        return Quirks::Azure;
    }
    if let Some((_, quirks)) = HOSTS.iter().find(|(end, _)| host.ends_with(end)) {
        return *quirks;
    }
    let nameless = host.is_empty() || host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    if nameless && path.starts_with("/v1/") { Quirks::OpenAi } else { Quirks::Other }
}

impl Provider for OpenAi {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        let azure = self.quirks == Quirks::Azure;
        let key = if azure { received.key("api-key").or(received.bearer()) } else { received.bearer() };
        let problem = match key {
            Some(key) if !key.contains("invalid") => return Ok(()),
            _ if azure => {
                let message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to \
                               provide a valid key for an active subscription and use a correct regional API endpoint \
                               for your resource.";
                let body = ordered!({"error": {"code": "401", "message": message}});
                return Err(Reply::json(StatusCode::UNAUTHORIZED, &body));
            }
            Some(key) => {
                let head: String = key.chars().take(4).collect();
                let message = format!(
                    "Incorrect API key provided: {head}***. You can find your API key at \
                     https://platform.openai.com/account/api-keys."
                );
                error(StatusCode::UNAUTHORIZED, &message, None, Some("invalid_api_key"))
            }
            None => {
                let message = "You didn't provide an API key. You need to provide your API key in an Authorization \
                               header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
                error(StatusCode::UNAUTHORIZED, message, None, None)
            }
        };
        Err(self.in_provider_format(problem))
    }

    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str> {
        self.path_model.as_deref().or_else(|| body.get("model")?.as_str())
    }

    fn refuse(&self, status: StatusCode, message: &str, _retry_after: Option<u64>) -> Reply {
        self.in_provider_format(error(status, message, None, None))
    }

    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        self.reply(request).map_err(|refusal| self.in_provider_format(refusal))
    }

    fn error_event(&self, _first: bool) -> Bytes {
        let (message, kind) = ("The server had an error while processing your request", "server_error");
        if self.api == Api::Responses {
            let data =
                ordered!({"type": "error", "sequence_number": 0, "code": kind, "message": message, "param": null});
            return super::wire::named_event("error", &data);
        }
        data_event(&ordered!({"error": {"message": message, "type": kind, "param": null, "code": null}}))
    }
}

impl OpenAi {
    fn in_provider_format(&self, refusal: Reply) -> Reply {
        if self.quirks == Quirks::Mistral { compatible::flat(refusal) } else { refusal }
    }

    fn reply(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        let azure = self.quirks == Quirks::Azure;
        let deployed = azure && request.received.has_segment("deployments");
        if deployed && request.received.query("api-version").is_none_or(str::is_empty) {
            let body = ordered!({"error": {"code": "404", "message": "Resource not found"}});
            return Err(Reply::json(StatusCode::NOT_FOUND, &body));
        }
        let method = if self.api == Api::Models { Method::GET } else { Method::POST };
        if self.api == Api::Unknown {
            let message = format!("Invalid URL ({} {})", request.received.method, request.received.path);
            return Err(error(StatusCode::NOT_FOUND, &message, None, None));
        }
        if request.received.method != method {
            let message = format!("Not allowed to {} on {}", request.received.method, request.received.path);
            return Err(error(StatusCode::METHOD_NOT_ALLOWED, &message, None, Some("method_not_supported")));
        }
        if self.api == Api::Models {
            return others::models(self.path_model.as_deref());
        }
        let model = match self.model(&request.body) {
            Some(model) if model.contains("unknown") => return Err(unknown_model(model)),
            Some(model) if !model.is_empty() => model,
            None if self.api == Api::Moderations => "omni-moderation-latest",
            _ => return Err(error(StatusCode::BAD_REQUEST, "you must provide a model parameter", None, None)),
        };
        let reply = match self.api {
            Api::Chat => chat::answer(request, model, self.quirks),
            Api::Completions => others::completions(request, model),
            Api::Embeddings => others::embeddings(request, model),
            Api::Moderations => others::moderations(request, model),
            Api::Rerank => rerank::answer(request, model, self.quirks),
            Api::Responses => responses::answer(request, model, self.quirks),
            Api::ResponseTokens => responses::count(request),
            Api::Models | Api::Unknown => others::models(None),
        }?;
        Ok(reply
            .header("x-request-id", format!("req_{:016x}", request.id))
            .header("openai-version", "2020-10-01")
            .header("openai-processing-ms", "1"))
    }
}

/// The error object of every endpoint.
fn error(status: StatusCode, message: &str, param: Option<&str>, code: Option<&str>) -> Reply {
    let kind = match status.as_u16() {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let code = code.or(match status.as_u16() {
        429 => Some("rate_limit_exceeded"),
        _ => None,
    });
    let body = ordered!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    Reply::json(status, &body)
}

fn unknown_model(model: &str) -> Reply {
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    error(StatusCode::NOT_FOUND, &message, None, Some("model_not_found"))
}

/// The error about a missing parameter.
fn missing(param: &str) -> Reply {
    let message = format!("Missing required parameter: '{param}'.");
    error(StatusCode::BAD_REQUEST, &message, Some(param), Some("missing_required_parameter"))
}

/// The error about an invalid parameter.
fn invalid(param: &str, message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, &format!("Invalid '{param}': {message}"), Some(param), Some("invalid_value"))
}

/// The usage object of Chat Completions and of legacy completions.
fn usage(prompt_tokens: u64, reply_tokens: u64, reasoning_tokens: u64) -> Node {
    let reply_tokens = reply_tokens + reasoning_tokens;
    ordered!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": reply_tokens,
        "total_tokens": (prompt_tokens + reply_tokens),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// Whether the body requests a stream.
fn streams(body: &Value) -> bool {
    body.get("stream").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a stream ends with its usage.
fn wants_usage(body: &Value) -> bool {
    body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether this is a model of `OpenAI`, which does not show its reasoning.
fn is_openai_model(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["gpt-", "chatgpt", "codex", "o1", "o3", "o4"].iter().any(|start| name.starts_with(start))
}

/// Whether this is a reasoning model of `OpenAI`, which takes no sampling settings.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let generation = name.strip_prefix("gpt-").and_then(|rest| rest.split(['.', '-']).next()?.parse::<u32>().ok());
    let thinks = generation.is_some_and(|number| number >= 5) && !name.contains("chat");
    thinks || ["o1", "o3", "o4"].iter().any(|start| name.starts_with(start))
}

/// A token with its log probability and the requested number of alternatives.
fn logprob(piece: &str, most: u64) -> Node {
    let token = || {
        let bytes: Vec<Node> = piece.bytes().map(|byte| Node::Count(u64::from(byte))).collect();
        ordered!({"token": piece, "logprob": (-0.0177), "bytes": bytes})
    };
    let top: Vec<Node> = (0..most.min(1)).map(|_| token()).collect();
    token().and("top_logprobs", top)
}
