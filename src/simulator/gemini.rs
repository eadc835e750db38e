//! Gemini `generateContent`, on AI Studio and Vertex AI.

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, Choice, Prompt, vector};
use super::received::Received;
use super::wire::{Node, Reply, data_event, ordered};
use super::{Ask, Provider};

/// Models that are listed; any other exists too.
const MODELS: &[&str] = &["gemini-1.5-flash-latest", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"];

/// Numbers in an embedding when the request does not say.
const DIMENSIONS: u64 = 768;

/// Most numbers that may be asked for.
const MOST_DIMENSIONS: u64 = 4096;

/// Versions that only Google has.
const BETAS: &[&str] = &["v1beta", "v1alpha", "v1beta1"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Generate,
    Stream,
    Count,
    Embed,
    BatchEmbed,
    Models,
    Unknown,
}

const APIS: &[(&str, Api)] = &[
    ("generateContent", Api::Generate),
    ("streamGenerateContent", Api::Stream),
    ("countTokens", Api::Count),
    ("embedContent", Api::Embed),
    ("batchEmbedContents", Api::BatchEmbed),
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
        match (key, received.bearer().filter(|_| self.vertex)) {
            (Some(key), _) if key.contains("invalid") => {
                let message = "API key not valid. Please pass a valid API key.";
                let reason = ordered!({
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"},
                });
                Err(self.error(StatusCode::BAD_REQUEST, message, vec![reason]))
            }
            (Some(_), _) => Ok(()),
            (None, Some(token)) if !token.contains("invalid") => Ok(()),
            (None, None) if !self.vertex && received.bearer().is_none() => {
                let message = "Method doesn't allow unregistered callers (callers without established identity). \
                               Please use API Key or other form of API consumer identity to call this API.";
                Err(self.error(StatusCode::FORBIDDEN, message, Vec::new()))
            }
            _ => {
                let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login \
                               cookie or other valid authentication credential.";
                Err(self.error(StatusCode::UNAUTHORIZED, message, Vec::new()))
            }
        }
    }

    fn model<'a>(&'a self, _body: &'a Value) -> Option<&'a str> {
        Some(&self.model)
    }

    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply {
        let retry = retry_after.map(|seconds| {
            let delay = format!("{seconds}s");
            ordered!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
        });
        self.error(status, message, retry.into_iter().collect())
    }

    fn answer(&self, ask: &Ask) -> Result<Reply, Reply> {
        if self.model.contains("unknown") || self.api == Api::Unknown {
            let message = format!(
                "models/{} is not found for API version {}, or is not supported for this method. Call ListModels to \
                 see the list of available models and their supported methods.",
                self.model, self.version
            );
            return Err(self.error(StatusCode::NOT_FOUND, &message, Vec::new()));
        }
        match self.api {
            Api::Models => Ok(self.models()),
            Api::Embed => self
                .embed(&ask.body)
                .map(|embedding| Reply::pretty(StatusCode::OK, &ordered!({"embedding": embedding}))),
            Api::BatchEmbed => {
                let requests = ask.body.get("requests").and_then(Value::as_array);
                let requests =
                    requests.ok_or_else(|| self.invalid("* BatchEmbedContentsRequest.requests: must be set"))?;
                let embeddings = requests.iter().map(|one| self.embed(one)).collect::<Result<Vec<Node>, Reply>>()?;
                Ok(Reply::pretty(StatusCode::OK, &ordered!({"embeddings": embeddings})))
            }
            Api::Count => {
                let request = field(&ask.body, "generateContentRequest").unwrap_or(&ask.body);
                let tokens = self.prompt(request)?.tokens();
                let count = ordered!({"totalTokens": tokens, "promptTokensDetails": (details(tokens))});
                Ok(Reply::pretty(StatusCode::OK, &count))
            }
            Api::Generate | Api::Stream | Api::Unknown => {
                let answer = self.prompt(&ask.body)?.answer(ask);
                Ok(self.generate(ask.id, &answer))
            }
        }
    }

    fn interruption(&self, first: bool) -> Bytes {
        let error = ordered!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
        let before = if first { "[" } else { ",\r\n" };
        if self.sse { data_event(&error) } else { format!("{before}{}\r\n]", error.compact()).into() }
    }
}

impl Gemini {
    fn error(&self, status: StatusCode, message: &str, details: Vec<Node>) -> Reply {
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
        let body = ordered!({"error": error});
        // A stream that is an array is one when it fails, too.
        let array = self.api == Api::Stream && !self.sse;
        Reply::pretty(status, &if array { ordered!([body]) } else { body })
    }

    fn invalid(&self, message: &str) -> Reply {
        self.error(StatusCode::BAD_REQUEST, message, Vec::new())
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

    fn embed(&self, request: &Value) -> Result<Node, Reply> {
        let Some(content) = request.get("content") else {
            return Err(self.invalid("* EmbedContentRequest.content: content is not specified"));
        };
        let config = field(request, "embedContentConfig").unwrap_or(request);
        let dimensions = field(config, "outputDimensionality").and_then(Value::as_u64).unwrap_or(DIMENSIONS);
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(self.invalid("* EmbedContentRequest.output_dimensionality: out of range"));
        }
        let values: Vec<Node> = vector(&texts(content), dimensions).into_iter().map(Node::Float).collect();
        Ok(ordered!({"values": values}))
    }

    /// Reads the request in the words of every dialect; keys in camelCase and in `snake_case`, as proto3 JSON allows.
    fn prompt(&self, body: &Value) -> Result<Prompt, Reply> {
        for foreign in ["messages", "prompt", "input"] {
            if body.get(foreign).is_some() {
                let message = format!("Invalid JSON payload received. Unknown name \"{foreign}\": Cannot find field.");
                return Err(self.invalid(&message));
            }
        }
        let contents = body.get("contents").and_then(Value::as_array).filter(|contents| !contents.is_empty());
        let Some(contents) = contents else {
            return Err(self.invalid("* GenerateContentRequest.contents: contents is not specified\n"));
        };
        let mut prompt = Prompt::default();
        if let Some(system) = field(body, "systemInstruction") {
            prompt.says(&texts(system));
        }
        for content in contents {
            match content.get("role").and_then(Value::as_str) {
                Some("user" | "model" | "function") => {}
                None if !self.vertex => {}
                _ => return Err(self.invalid("Please use a valid role: user, model.")),
            }
            read_content(&mut prompt, content);
        }
        read_tools(&mut prompt, body);
        if let Some(config) = field(body, "generationConfig") {
            prompt.limit = field(config, "maxOutputTokens").and_then(Value::as_u64);
            let schema = field(config, "responseSchema").or(field(config, "responseJsonSchema"));
            let json = field(config, "responseMimeType").and_then(Value::as_str) == Some("application/json");
            let free = || json!({"type": "object", "properties": {"answer": {"type": "string"}}});
            prompt.schema = schema.cloned().or_else(|| json.then(free));
        }
        Ok(prompt)
    }

    fn generate(&self, id: u64, answer: &Answer) -> Reply {
        let finish = if answer.cut_short { "MAX_TOKENS" } else { "STOP" };
        let calls = answer.calls.iter().enumerate().map(|(number, call)| {
            let id = format!("call_{id:016x}{number}");
            ordered!({"functionCall": {"id": id, "name": (&call.name), "args": (call.arguments.clone())}})
        });
        let text = |text: &str| ordered!({"text": text});
        let content = |parts: Vec<Node>| ordered!({"content": {"parts": parts, "role": "model"}});
        if self.api == Api::Generate {
            let parts = if answer.calls.is_empty() { vec![text(&answer.text())] } else { calls.collect() };
            let candidate = content(parts).and("finishReason", finish).and("avgLogprobs", -0.017_732_446_392_377_216);
            let reply = self.response(id, candidate, usage(answer.prompt_tokens, answer.reply_tokens));
            return Reply::pretty(StatusCode::OK, &reply);
        }
        let mut spent = 0;
        let mut chunks: Vec<Node> = Vec::with_capacity(answer.pieces.len() + 2);
        for piece in &answer.pieces {
            spent += super::answer::tokens(piece);
            chunks.push(self.response(id, content(vec![text(piece)]), usage(answer.prompt_tokens, spent)));
        }
        for call in calls {
            chunks.push(self.response(id, content(vec![call]), usage(answer.prompt_tokens, answer.reply_tokens)));
        }
        let last = content(vec![text("")]).and("finishReason", finish);
        chunks.push(self.response(id, last, usage(answer.prompt_tokens, answer.reply_tokens)));
        self.stream(&chunks)
    }

    fn stream(&self, chunks: &[Node]) -> Reply {
        if self.sse {
            let events = chunks.iter().map(|chunk| Bytes::from(format!("data: {}\r\n\r\n", chunk.compact())));
            return Reply::events("text/event-stream", events.collect());
        }
        let pretty = |chunk: &Node| serde_json::to_string_pretty(chunk).unwrap_or_default();
        let elements = chunks.iter().enumerate().map(|(index, chunk)| {
            let before = if index == 0 { "[" } else { ",\r\n" };
            let after = if index + 1 == chunks.len() { "\r\n]" } else { "" };
            Bytes::from(format!("{before}{}{after}", pretty(chunk)))
        });
        Reply::events("application/json; charset=UTF-8", elements.collect())
    }

    fn response(&self, id: u64, candidate: Node, usage: Node) -> Node {
        let bytes = [id.to_le_bytes(), id.rotate_left(17).to_le_bytes()].concat();
        let response_id = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        ordered!({
            "candidates": [candidate], "usageMetadata": usage, "modelVersion": (&self.model), "responseId": response_id,
        })
    }
}

fn read_content(prompt: &mut Prompt, content: &Value) {
    let mut results = Vec::new();
    let mut said = Vec::new();
    for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            said.push(text);
        } else if let Some(result) = field(part, "functionResponse") {
            let response = result.get("response").unwrap_or(&Value::Null);
            let output = response.get("output").or(response.get("result")).unwrap_or(response);
            results.push(output.as_str().map_or_else(|| output.to_string(), str::to_owned));
        } else if let Some(call) = field(part, "functionCall") {
            prompt.says(&call.to_string());
        } else {
            prompt.media();
        }
    }
    let text = said.join("\n");
    let user = content.get("role").and_then(Value::as_str) != Some("model");
    // Results and words in one turn: the words are about the results.
    if user && results.is_empty() {
        prompt.user(&text);
    } else {
        prompt.says(&text);
    }
    for result in &results {
        prompt.result(result);
    }
}

fn read_tools(prompt: &mut Prompt, body: &Value) {
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    for declaration in tools.filter_map(|tool| field(tool, "functionDeclarations")?.as_array()).flatten() {
        if let Some(name) = declaration.get("name").and_then(Value::as_str) {
            let schema = declaration.get("parameters").or(field(declaration, "parametersJsonSchema"));
            prompt.tool(name, schema, declaration);
        }
    }
    let config = field(body, "toolConfig").and_then(|config| field(config, "functionCallingConfig"));
    let allowed = config.and_then(|config| field(config, "allowedFunctionNames")?.get(0)?.as_str());
    prompt.choice = match config.and_then(|config| config.get("mode")?.as_str()) {
        Some("NONE") => Choice::None,
        Some("ANY") => allowed.map_or(Choice::Any, |name| Choice::Named(name.to_owned())),
        _ => Choice::Auto,
    };
}

/// The text of a content.
fn texts(content: &Value) -> String {
    let parts = content.get("parts").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
}

fn usage(prompt_tokens: u64, reply_tokens: u64) -> Node {
    ordered!({
        "promptTokenCount": prompt_tokens,
        "candidatesTokenCount": reply_tokens,
        "totalTokenCount": (prompt_tokens + reply_tokens),
        "promptTokensDetails": (details(prompt_tokens)),
        "candidatesTokensDetails": (details(reply_tokens)),
    })
}

fn details(tokens: u64) -> Node {
    ordered!([{"modality": "TEXT", "tokenCount": tokens}])
}

/// A field by its camelCase name or its `snake_case` one.
fn field<'a>(value: &'a Value, camel: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| {
        let snake = camel.chars().fold(String::new(), |mut name, c| {
            if c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
            name
        });
        value.get(snake)
    })
}
