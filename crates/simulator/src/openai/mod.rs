//! `OpenAI` and Azure `OpenAI`, and servers that speak as they do.

/// Chat Completions.
mod chat;
/// What is refused in a chat.
mod check;
/// What compatible servers do otherwise.
mod compatible;
/// What is refused in the input of Responses.
mod items;
/// Embeddings, models, moderations and the old completions.
mod others;
/// Responses.
mod responses;

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::received::Received;
use super::wire::{Node, Reply, data_event, ordered};
use super::{Ask, Provider};

/// The time of every reply, in seconds since 1970: replies are the same every day.
const CREATED: i32 = 1_750_000_000;

/// What the path names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Chat,
    Completions,
    Embeddings,
    Moderations,
    Responses,
    Models,
    Unknown,
}

/// Who answers, by path and host: servers that are compatible differ in places.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavour {
    OpenAi,
    /// With Azure's credentials, errors and additions.
    Azure,
    Mistral,
    DeepSeek,
    /// Any other server: it takes fields that `OpenAI` does not know.
    Other,
}

/// Hosts of providers, by their ends.
const HOSTS: &[(&str, Flavour)] = &[
    ("mistral.ai", Flavour::Mistral),
    ("deepseek.com", Flavour::DeepSeek),
    ("openai.com", Flavour::OpenAi),
    ("localhost", Flavour::OpenAi),
];

/// Paths end with one of these, after any prefix.
const APIS: &[(&str, Api)] = &[
    ("/chat/completions", Api::Chat),
    ("/completions", Api::Completions),
    ("/embeddings", Api::Embeddings),
    ("/moderations", Api::Moderations),
    ("/responses", Api::Responses),
    ("/models", Api::Models),
];

/// An endpoint of `OpenAI`, of Azure or of a compatible server.
struct OpenAi {
    api: Api,
    flavour: Flavour,
    /// The model or deployment, when the path names it.
    path_model: Option<String>,
}

/// Takes every request that is left: what no provider knows is answered in the most spoken dialect.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all providers")]
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let path = received.path.as_str();
    let flavour = flavour(received);
    let deployment = path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split('/').next());
    let mut path_model = deployment.map(str::to_owned);
    let mut api = APIS.iter().find(|(end, _)| path.ends_with(end)).map_or(Api::Unknown, |(_, api)| *api);
    if let (Api::Unknown, Some((_, id))) = (api, path.split_once("/models/")) {
        api = Api::Models;
        path_model = Some(id.to_owned());
    }
    Some(Box::new(OpenAi { api, flavour, path_model }))
}

fn flavour(received: &Received) -> Flavour {
    let (path, host) = (received.path.as_str(), received.host.as_str());
    // Bedrock has `OpenAI`'s API below the same path as Azure.
    if path.starts_with("/openai/") && !host.ends_with("amazonaws.com") {
        return Flavour::Azure;
    }
    if let Some((_, flavour)) = HOSTS.iter().find(|(end, _)| host.ends_with(end)) {
        return *flavour;
    }
    let nameless = host.is_empty() || host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    if nameless && path.starts_with("/v1/") { Flavour::OpenAi } else { Flavour::Other }
}

impl Provider for OpenAi {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        let azure = self.flavour == Flavour::Azure;
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
        Err(self.in_own_words(problem))
    }

    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str> {
        self.path_model.as_deref().or_else(|| body.get("model")?.as_str())
    }

    fn refuse(&self, status: StatusCode, message: &str, _retry_after: Option<u64>) -> Reply {
        self.in_own_words(error(status, message, None, None))
    }

    fn answer(&self, ask: &Ask) -> Result<Reply, Reply> {
        self.reply(ask).map_err(|refusal| self.in_own_words(refusal))
    }

    fn interruption(&self, _first: bool) -> Bytes {
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
    fn in_own_words(&self, refusal: Reply) -> Reply {
        if self.flavour == Flavour::Mistral { compatible::flat(refusal) } else { refusal }
    }

    fn reply(&self, ask: &Ask) -> Result<Reply, Reply> {
        let azure = self.flavour == Flavour::Azure;
        let deployed = azure && ask.received.has_segment("deployments");
        if deployed && ask.received.query("api-version").is_none_or(str::is_empty) {
            let body = ordered!({"error": {"code": "404", "message": "Resource not found"}});
            return Err(Reply::json(StatusCode::NOT_FOUND, &body));
        }
        let method = if self.api == Api::Models { Method::GET } else { Method::POST };
        if self.api == Api::Unknown {
            let message = format!("Invalid URL ({} {})", ask.received.method, ask.received.path);
            return Err(error(StatusCode::NOT_FOUND, &message, None, None));
        }
        if ask.received.method != method {
            let message = format!("Not allowed to {} on {}", ask.received.method, ask.received.path);
            return Err(error(StatusCode::METHOD_NOT_ALLOWED, &message, None, Some("method_not_supported")));
        }
        if self.api == Api::Models {
            return others::models(self.path_model.as_deref());
        }
        let model = match self.model(&ask.body) {
            Some(model) if model.contains("unknown") => return Err(unknown_model(model)),
            Some(model) if !model.is_empty() => model,
            None if self.api == Api::Moderations => "omni-moderation-latest",
            _ => return Err(error(StatusCode::BAD_REQUEST, "you must provide a model parameter", None, None)),
        };
        let reply = match self.api {
            Api::Chat => chat::answer(ask, model, self.flavour),
            Api::Completions => others::completions(ask, model),
            Api::Embeddings => others::embeddings(ask, model),
            Api::Moderations => others::moderations(ask, model),
            Api::Responses => responses::answer(ask, model, self.flavour),
            Api::Models | Api::Unknown => others::models(None),
        }?;
        Ok(reply
            .header("x-request-id", format!("req_{:016x}", ask.id))
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

/// A parameter that must be there.
fn missing(param: &str) -> Reply {
    let message = format!("Missing required parameter: '{param}'.");
    error(StatusCode::BAD_REQUEST, &message, Some(param), Some("missing_required_parameter"))
}

/// A parameter whose value cannot be.
fn invalid(param: &str, message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, &format!("Invalid '{param}': {message}"), Some(param), Some("invalid_value"))
}

/// The usage object of Chat Completions and of the old completions.
fn usage(prompt_tokens: u64, reply_tokens: u64, thought_tokens: u64) -> Node {
    let reply_tokens = reply_tokens + thought_tokens;
    ordered!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": reply_tokens,
        "total_tokens": (prompt_tokens + reply_tokens),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": thought_tokens, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// Whether the body asks for a stream.
fn streams(body: &Value) -> bool {
    body.get("stream").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a stream ends with its usage.
fn wants_usage(body: &Value) -> bool {
    body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a model is one of `OpenAI`'s own, which show nothing of what they think.
fn is_own(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["gpt-", "chatgpt", "codex", "o1", "o3", "o4"].iter().any(|start| name.starts_with(start))
}

/// Whether a model of `OpenAI`'s thinks always; these take no sampling settings.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let generation = name.strip_prefix("gpt-").and_then(|rest| rest.split(['.', '-']).next()?.parse::<u32>().ok());
    let thinks = generation.is_some_and(|number| number >= 5) && !name.contains("chat");
    thinks || ["o1", "o3", "o4"].iter().any(|start| name.starts_with(start))
}

/// One piece of a text with its probability, and as many alternatives as are wanted.
fn logprob(piece: &str, most: u64) -> Node {
    let token = || {
        let bytes: Vec<Node> = piece.bytes().map(|byte| Node::Count(u64::from(byte))).collect();
        ordered!({"token": piece, "logprob": (-0.0177), "bytes": bytes})
    };
    let top: Vec<Node> = (0..most.min(1)).map(|_| token()).collect();
    token().and("top_logprobs", top)
}
