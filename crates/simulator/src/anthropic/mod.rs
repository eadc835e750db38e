//! Anthropic Messages, at Anthropic and on Vertex AI; Bedrock's `InvokeModel` takes and gives the same bodies.

/// Checks of fields, settings and tools.
pub(super) mod check;
/// What clouds refuse.
pub(super) mod cloud;
/// What the generations of Claude take.
pub(super) mod models;
/// The prompt of a request.
pub(super) mod read;
/// Messages and their streams.
pub(super) mod reply;
/// Rules that depend on the API version and on the cloud.
pub(super) mod rules;
/// Checks of the turns.
mod turns;

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::received::Received;
use super::wire::{EVENTS, Node, Reply, named_event, ordered};
use super::{ApiRequest, Provider, gemini};
use reply::Message;
use rules::{NEWEST, Rules};

/// Versions of the API.
const VERSIONS: &[&str] = &["2023-01-01", "2023-06-01", NEWEST];

/// Versions that a body on Vertex AI may name.
const VERTEX_VERSIONS: &[&str] = &["vertex-2023-10-16", NEWEST];

/// Models in the list of models. Others exist too.
const MODELS: &[(&str, &str)] = &[
    ("claude-opus-4-5", "Claude Opus 4.5"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-haiku-4-5", "Claude Haiku 4.5"),
];

enum Api {
    Messages,
    CountTokens,
    Models(Option<String>),
}

struct Anthropic {
    api: Api,
    /// The model in the path, on Vertex AI.
    vertex: Option<String>,
}

/// Finds messages by their path. The list of models, whose path is also `OpenAI`'s, needs the version header.
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let path = received.path.as_str();
    if let Some((_, rest)) = path.split_once("/publishers/anthropic/models/") {
        let (model, verb) = rest.rsplit_once(':')?;
        let api = match (model, verb) {
            ("count-tokens", "rawPredict") => Api::CountTokens,
            (_, "rawPredict" | "streamRawPredict") => Api::Messages,
            _ => return None,
        };
        return Some(Box::new(Anthropic { api, vertex: Some(model.to_owned()) }));
    }
    let api = if path.ends_with("/messages") {
        Api::Messages
    } else if path.ends_with("/messages/count_tokens") {
        Api::CountTokens
    } else if received.method == Method::GET && received.header("anthropic-version").is_some() {
        let (_, rest) = path.split_once("/models")?;
        Api::Models(rest.strip_prefix('/').map(str::to_owned))
    } else {
        return None;
    };
    Some(Box::new(Anthropic { api, vertex: None }))
}

impl Provider for Anthropic {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        if self.vertex.is_some() {
            return gemini::check_token(received);
        }
        let refuse = |message: &str| Err(error(StatusCode::UNAUTHORIZED, message));
        match (received.key("x-api-key"), received.bearer()) {
            (Some(key), _) if key.contains("invalid") => return refuse("invalid x-api-key"),
            (None, Some(token)) if token.contains("invalid") => return refuse("Invalid bearer token"),
            (None, None) => return refuse("x-api-key header is required"),
            _ => {}
        }
        match received.key("anthropic-version") {
            None => Err(invalid("anthropic-version: header is required")),
            Some(version) if !VERSIONS.contains(&version) => {
                Err(invalid(&format!("anthropic-version: \"{version}\" is not a valid version")))
            }
            Some(_) => Ok(()),
        }
    }

    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str> {
        match (&self.api, &self.vertex) {
            (Api::Models(id), _) => id.as_deref(),
            (Api::Messages, Some(model)) => Some(model),
            _ => body.get("model")?.as_str(),
        }
    }

    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply {
        // An error before the model is reached is Google's.
        if self.vertex.is_some() && status != StatusCode::BAD_REQUEST {
            return gemini::failure(status, message, retry_after);
        }
        error(status, message)
    }

    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        let reply = match &self.api {
            Api::Models(id) => models(id.as_deref()),
            _ if request.received.method != Method::POST => {
                Err(error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
            }
            api => self.messages(request, matches!(api, Api::CountTokens)),
        };
        reply.map(|reply| {
            reply
                .header("request-id", format!("req_{:016x}", request.id))
                .header("anthropic-organization-id", "simulator")
        })
    }

    fn error_event(&self, _first: bool) -> Bytes {
        let data = ordered!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        named_event("error", &data)
    }
}

impl Anthropic {
    /// A message, or only its tokens.
    fn messages(&self, request: &ApiRequest, count: bool) -> Result<Reply, Reply> {
        let body = &request.body;
        let Some(model) = self.model(body).filter(|model| !model.is_empty()) else {
            return Err(invalid("model: Field required"));
        };
        if model.contains("unknown") {
            return Err(self.unknown_model(model));
        }
        let rules = self.rules(request)?;
        let mut prompt = read::prompt(body).map_err(|message| invalid(&message))?;
        if !count {
            prompt.limit = Some(read::limit(body).map_err(|message| invalid(&message))?);
        }
        if !request.is_shown() {
            if self.vertex.is_some() {
                let betas = request.received.header("anthropic-beta").into_iter().flat_map(|list| list.split(','));
                cloud::check(body, betas, &["web-search-2025-03-05"]).map_err(|message| invalid(&message))?;
            }
            check::request(body, model, &rules).map_err(|message| invalid(&message))?;
        }
        if count {
            return Ok(Reply::json(StatusCode::OK, &ordered!({"input_tokens": (prompt.tokens())})));
        }
        let message = Message::new(request.id, model, prompt.answer(request), body);
        if body.get("stream").and_then(Value::as_bool).unwrap_or(false) {
            let events = message.events().into_iter().map(|(name, data)| named_event(name, &data));
            return Ok(Reply::events(EVENTS, events.collect()));
        }
        Ok(Reply::json(StatusCode::OK, &message.buffered()))
    }

    /// The rules of the API version that the request names.
    fn rules(&self, request: &ApiRequest) -> Result<Rules, Reply> {
        if self.vertex.is_none() {
            return Ok(Rules::direct(request.received.header("anthropic-version") == Some(NEWEST)));
        }
        let counts = matches!(self.api, Api::CountTokens);
        match request.body.get("anthropic_version").and_then(Value::as_str) {
            None => Err(invalid("anthropic_version: Field required")),
            Some(version) if !VERTEX_VERSIONS.contains(&version) => {
                Err(invalid("anthropic_version: Input should be 'vertex-2023-10-16'"))
            }
            Some(_) if !counts && request.body.get("model").is_some() => {
                Err(invalid("model: Extra inputs are not permitted"))
            }
            Some(version) => Ok(Rules::cloud(version == NEWEST)),
        }
    }

    fn unknown_model(&self, model: &str) -> Reply {
        if self.vertex.is_none() {
            return error(StatusCode::NOT_FOUND, &format!("model: {model}"));
        }
        let message = format!(
            "Publisher Model `publishers/anthropic/models/{model}` was not found or your project does not have access \
             to it. Please ensure you are using a valid model version."
        );
        gemini::failure(StatusCode::NOT_FOUND, &message, None)
    }
}

fn error(status: StatusCode, message: &str) -> Reply {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let body = ordered!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_simulator"});
    Reply::json(status, &body).header("request-id", "req_simulator")
}

fn invalid(message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, message)
}

fn models(id: Option<&str>) -> Result<Reply, Reply> {
    let object = |id: &str, name: &str| {
        let node = ordered!({"type": "model", "id": id, "display_name": name});
        node.and("created_at", "2025-06-15T00:00:00Z")
    };
    if let Some(id) = id {
        return if id.contains("unknown") {
            Err(error(StatusCode::NOT_FOUND, &format!("model: {id}")))
        } else {
            Ok(Reply::json(StatusCode::OK, &object(id, id)))
        };
    }
    let data: Vec<Node> = MODELS.iter().map(|(id, name)| object(id, name)).collect();
    let ends = (MODELS.first().map(|model| model.0), MODELS.last().map(|model| model.0));
    let list = ordered!({"data": data, "has_more": false, "first_id": (ends.0), "last_id": (ends.1)});
    Ok(Reply::json(StatusCode::OK, &list))
}
