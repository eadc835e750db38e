//! Gemini `generateContent`, on AI Studio and Vertex AI.

/// Checks of a request.
mod check;
/// How the generations of Gemini think.
mod models;
/// Embeddings.
mod embed;
/// Rankings.
pub(crate) mod rank;
/// The prompt of a request.
mod read;
/// Replies and their streams.
mod reply;
/// Checks of a schema.
mod schema;

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::received::Received;
use super::wire::{Node, Reply, data_event, ordered};
use super::{ApiRequest, Provider};
use read::field;
use reply::Generation;

/// Models in the list of models. Others exist too.
const MODELS: &[&str] = &["gemini-1.5-flash-latest", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"];

/// API versions that only Google has.
const BETAS: &[&str] = &["v1beta", "v1alpha", "v1beta1"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Generate,
    Stream,
    Count,
    Embed,
    BatchEmbed,
    Predict,
    Models,
    Unknown,
}

const APIS: &[(&str, Api)] = &[
    ("generateContent", Api::Generate),
    ("streamGenerateContent", Api::Stream),
    ("countTokens", Api::Count),
    ("embedContent", Api::Embed),
    ("batchEmbedContents", Api::BatchEmbed),
    ("predict", Api::Predict),
];

struct Gemini {
    api: Api,
    model: String,
    vertex: bool,
    /// Whether a stream is server-sent events; else it is one JSON array, sent element by element.
    sse: bool,
    /// `v1beta` and the like, for messages.
    version: String,
}

/// Verbs by their path (`models/MODEL:verb`); models, whose path is also `OpenAI`'s, by version or key.
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let path = received.path.as_str();
    if path.contains("/publishers/anthropic/") {
        return None;
    }
    let vertex = received.has_segment("publishers");
    let (api, model) = if received.method == Method::GET {
        let google = path.split('/').any(|segment| BETAS.contains(&segment))
            || received.key("x-goog-api-key").is_some()
            || received.query("key").is_some();
        let (_, model) = path.rsplit_once("/models").filter(|_| google && !received.has_segment("openai"))?;
        (Api::Models, model.trim_start_matches('/'))
    } else {
        let (model, verb) = path.rsplit_once("/models/")?.1.rsplit_once(':')?;
        (APIS.iter().find(|(name, _)| *name == verb).map_or(Api::Unknown, |(_, api)| *api), model)
    };
    let version = path.split('/').find(|segment| BETAS.contains(segment)).unwrap_or("v1").to_owned();
    let sse = received.query("alt") == Some("sse");
    Some(Box::new(Gemini { api, model: model.to_owned(), vertex, sse, version }))
}

impl Provider for Gemini {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        let key = received.key("x-goog-api-key").or(received.query("key").filter(|key| !key.is_empty()));
        // Vertex takes API keys only without a project ("express mode").
        let key = key.filter(|_| !self.vertex || !received.has_segment("projects"));
        let refused = match (key, received.bearer().filter(|_| self.vertex)) {
            (Some(key), _) if key.contains("invalid") => {
                let message = "API key not valid. Please pass a valid API key.";
                let reason = ordered!({
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"},
                });
                error(StatusCode::BAD_REQUEST, message, vec![reason])
            }
            (Some(_), _) => return Ok(()),
            (None, Some(token)) if !token.contains("invalid") => return Ok(()),
            (None, None) if !self.vertex && received.bearer().is_none() => {
                let message = "Method doesn't allow unregistered callers (callers without established identity). \
                               Please use API Key or other form of API consumer identity to call this API.";
                error(StatusCode::FORBIDDEN, message, Vec::new())
            }
            _ => unauthenticated(),
        };
        Err(self.reply(refused))
    }

    fn model<'a>(&'a self, _body: &'a Value) -> Option<&'a str> {
        Some(&self.model)
    }

    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply {
        self.reply(error(status, message, retry_info(retry_after)))
    }

    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        if self.model.contains("unknown") || self.api == Api::Unknown {
            let message = format!(
                "models/{} is not found for API version {}, or is not supported for this method. Call ListModels to \
                 see the list of available models and their supported methods.",
                self.model, self.version
            );
            return Err(self.refuse(StatusCode::NOT_FOUND, &message, None));
        }
        match self.api {
            Api::Models => Ok(self.models()),
            Api::Embed => embed::one(&request.body),
            Api::BatchEmbed => embed::batch(&request.body),
            Api::Predict => embed::predict(&request.body),
            Api::Count => self.count(&request.body),
            Api::Generate | Api::Stream | Api::Unknown => self.generate(request),
        }
        .map_err(|message| self.refuse(StatusCode::BAD_REQUEST, &message, None))
    }

    fn error_event(&self, first: bool) -> Bytes {
        let error = ordered!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
        let before = if first { "[" } else { ",\r\n" };
        if self.sse { data_event(&error) } else { format!("{before}{}\r\n]", error.compact()).into() }
    }
}

impl Gemini {
    /// An error as a reply. Where a stream is a JSON array, its error is in an array too.
    fn reply(&self, (status, body): (StatusCode, Node)) -> Reply {
        let array = self.api == Api::Stream && !self.sse;
        Reply::pretty(status, &if array { ordered!([body]) } else { body })
    }

    fn generate(&self, request: &ApiRequest) -> Result<Reply, String> {
        let prompt = read::prompt(&request.body, self.vertex)?;
        if !request.is_shown() {
            check::request(&request.body, &self.model, self.vertex)?;
        }
        let generation = Generation::new(request.id, &self.model, prompt.answer(request), &request.body);
        Ok(match (self.api, self.sse) {
            (Api::Stream, true) => {
                let chunks = generation.chunks();
                let events = chunks.iter().map(|chunk| Bytes::from(format!("data: {}\r\n\r\n", chunk.compact())));
                Reply::events("text/event-stream", events.collect())
            }
            (Api::Stream, false) => array(&generation.chunks()),
            _ => Reply::pretty(StatusCode::OK, &generation.buffered()),
        })
    }

    fn count(&self, body: &Value) -> Result<Reply, String> {
        let request = field(body, "generateContentRequest").unwrap_or(body);
        let tokens = read::prompt(request, self.vertex)?.tokens();
        let count = ordered!({"totalTokens": tokens, "promptTokensDetails": (reply::details(tokens))});
        Ok(Reply::pretty(StatusCode::OK, &count))
    }

    fn models(&self) -> Reply {
        let object = |id: &str| {
            let methods = if id.contains("embedding") {
                ordered!(["embedContent", "batchEmbedContents"])
            } else {
                ordered!(["generateContent", "streamGenerateContent", "countTokens"])
            };
            ordered!({
                "name": (format!("models/{id}")), "version": "001", "displayName": id,
                "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536, "supportedGenerationMethods": methods,
            })
        };
        if self.model.is_empty() {
            let models: Vec<Node> = MODELS.iter().map(|id| object(id)).collect();
            return Reply::pretty(StatusCode::OK, &ordered!({"models": models}));
        }
        Reply::pretty(StatusCode::OK, &object(&self.model))
    }
}

/// A stream that is one JSON array.
fn array(chunks: &[Node]) -> Reply {
    let elements = chunks.iter().enumerate().map(|(index, chunk)| {
        let before = if index == 0 { "[" } else { ",\r\n" };
        let after = if index + 1 == chunks.len() { "\r\n]" } else { "" };
        let text = serde_json::to_string_pretty(chunk).unwrap_or_default();
        Bytes::from(format!("{before}{text}{after}"))
    });
    Reply::events("application/json; charset=UTF-8", elements.collect())
}

/// Refuses a request to Vertex AI without a valid token.
///
/// # Errors
///
/// Google's refusal.
pub(super) fn check_token(received: &Received) -> Result<(), Reply> {
    if received.bearer().is_some_and(|token| !token.contains("invalid")) {
        return Ok(());
    }
    let (status, body) = unauthenticated();
    Err(Reply::pretty(status, &body))
}

/// Google's error, for the endpoints of other vendors on Vertex AI. `retry_after` is in seconds.
pub(super) fn failure(status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply {
    let (status, body) = error(status, message, retry_info(retry_after));
    Reply::pretty(status, &body)
}

fn retry_info(retry_after: Option<u64>) -> Vec<Node> {
    let retry = retry_after.map(|seconds| {
        let delay = format!("{seconds}s");
        ordered!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    });
    retry.into_iter().collect()
}

fn unauthenticated() -> (StatusCode, Node) {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                   other valid authentication credential.";
    error(StatusCode::UNAUTHORIZED, message, Vec::new())
}

fn error(status: StatusCode, message: &str, details: Vec<Node>) -> (StatusCode, Node) {
    let name = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let mut error = ordered!({"code": (u64::from(status.as_u16())), "message": message, "status": name});
    if !details.is_empty() {
        error = error.and("details", details);
    }
    (status, ordered!({"error": error}))
}
