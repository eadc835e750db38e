//! What a request asks: the endpoint from its path or its body's shape, the model, and whether it streams.

use std::borrow::Cow;

use http::{HeaderMap, Method};

use super::{BedrockVerb, Endpoint, Family, GeminiVerb};
use crate::stream::TopLevel;

/// How the reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamMode {
    /// In one piece.
    No,
    /// As server-sent events.
    Sse,
    /// As one JSON array, element by element: Gemini without `alt=sse`.
    JsonArray,
    /// As frames of an AWS event stream: Bedrock.
    EventStream,
}

/// What the client asks for, in the client's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// The operation.
    pub endpoint: Endpoint,
    /// Whose conventions the client speaks: how it is answered.
    pub family: Family,
    /// The model the client names, if it names one.
    pub model: Option<String>,
    /// How the client wants the reply.
    pub stream: StreamMode,
}

/// What decides an [`Ask`], apart from the body.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The whole path.
    pub path: &'a str,
    /// What follows the matched prefix; empty for an exact match.
    pub suffix: &'a str,
    /// The raw query, without `?`.
    pub query: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The family the chosen backend speaks: settles what the body's shape leaves open.
    pub backend: Family,
    /// What the backend says that paths mean, by their end.
    pub listed: &'a [(String, Endpoint)],
    /// The route asks for streaming (`routeType: CHAT_STREAMING`), which only Gemini's URLs need to be told.
    pub route_streams: bool,
}

/// Why a request can't be understood. Each message is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassifyError {
    /// No endpoint has this path, and the body does not tell either.
    NoEndpoint,
    /// The endpoint has no such method; holds the `Allow` header's value.
    Method(&'static str),
    /// A field has the wrong type.
    Field(String),
}

/// Keys that only Chat Completions has.
const CHAT_ONLY: [&str; 14] = [
    "max_completion_tokens",
    "stream_options",
    "response_format",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "seed",
    "functions",
    "reasoning_effort",
    "parallel_tool_calls",
    "stop",
    "logit_bias",
    "n",
];
/// Keys that only Messages has.
const MESSAGES_ONLY: [&str; 3] = ["system", "stop_sequences", "anthropic_version"];

/// Keys that only Converse has.
const CONVERSE_ONLY: [&str; 5] =
    ["inferenceConfig", "toolConfig", "additionalModelRequestFields", "guardrailConfig", "outputConfig"];

impl RequestHead<'_> {
    /// The endpoint that the path names, if it names one: what follows the matched prefix, or else the whole path (a
    /// route may match `/v1/chat/completions` itself).
    pub fn endpoint_from_path(&self) -> Option<Endpoint> {
        let listed = || self.listed.iter().filter(|(end, _)| self.path.ends_with(end.as_str()));
        let found = listed().max_by_key(|(end, _)| end.len()).map(|(_, endpoint)| match endpoint {
            Endpoint::Other(_) => {
                Endpoint::Other(if self.suffix.is_empty() { self.path } else { self.suffix }.to_owned())
            }
            endpoint => endpoint.clone(),
        });
        found.or_else(|| Endpoint::from_path(self.suffix)).or_else(|| Endpoint::from_path(self.path))
    }

    /// The family whose errors the client can read, before or without its body: from the path, the headers, and last
    /// the backend.
    pub fn family_hint(&self) -> Family {
        self.endpoint_from_path()
            .and_then(|e| e.family())
            .unwrap_or(if self.headers.contains_key("anthropic-version") { Family::Anthropic } else { self.backend })
    }

    /// What the request asks for. `body` is absent for methods that have none.
    ///
    /// # Errors
    /// When neither path nor body tells the endpoint, when the endpoint has no such method, or when `model` or
    /// `stream` is not what its name says.
    pub fn ask(&self, body: Option<&TopLevel<'_>>) -> Result<ApiRequest, ClassifyError> {
        let named = self.endpoint_from_path();
        let by_path = named.is_some();
        let endpoint = match named {
            Some(endpoint) => endpoint,
            None => body.and_then(|b| self.endpoint_from_shape(b)).ok_or(ClassifyError::NoEndpoint)?,
        };
        if !endpoint.allows(self.method) {
            return Err(ClassifyError::Method(endpoint.allow_header()));
        }
        let family = endpoint.family().unwrap_or_else(|| crate::operation::models::family(self));
        let (endpoint, model, stream) = match endpoint {
            Endpoint::Gemini(verb, model) => {
                let (verb, stream) = self.gemini_stream(verb, by_path);
                (Endpoint::Gemini(verb, model.clone()), model, stream)
            }
            Endpoint::Bedrock(verb, model) => {
                let verb = match verb {
                    // The body does not say; the route does.
                    BedrockVerb::Converse if !by_path && self.route_streams => BedrockVerb::ConverseStream,
                    verb => verb,
                };
                let stream = if verb.streams() { StreamMode::EventStream } else { StreamMode::No };
                (Endpoint::Bedrock(verb, model.clone()), model, stream)
            }
            endpoint => {
                let model = body.map(model_of).transpose()?.flatten();
                let streams = body.and_then(|b| b.get("stream")?.as_bool()).unwrap_or(false);
                (endpoint, model, if streams { StreamMode::Sse } else { StreamMode::No })
            }
        };
        Ok(ApiRequest { endpoint, family, model, stream })
    }

    /// Gemini says by the verb whether it streams. Where the client's URL has no verb, the route's type or `alt=sse` do.
    fn gemini_stream(&self, verb: GeminiVerb, by_path: bool) -> (GeminiVerb, StreamMode) {
        let sse = self.query.is_some_and(|q| q.split('&').any(|pair| pair == "alt=sse"));
        match verb {
            GeminiVerb::StreamGenerate => (verb, if sse { StreamMode::Sse } else { StreamMode::JsonArray }),
            GeminiVerb::Generate if !by_path && (sse || self.route_streams) => {
                (GeminiVerb::StreamGenerate, StreamMode::Sse)
            }
            verb => (verb, StreamMode::No),
        }
    }

    /// The endpoint that the body's top-level keys tell.
    fn endpoint_from_shape(&self, body: &TopLevel<'_>) -> Option<Endpoint> {
        let has = |key: &str| body.get(key).is_some();
        if has("contents") {
            Some(Endpoint::Gemini(GeminiVerb::Generate, None))
        } else if has("messages") && CONVERSE_ONLY.into_iter().any(has) {
            Some(Endpoint::Bedrock(BedrockVerb::Converse, None))
        } else if has("messages") {
            Some(if self.speaks_messages(body) { Endpoint::Messages } else { Endpoint::ChatCompletions })
        } else if !matches!(self.suffix, "" | "/") {
            // `/v1/audio/speech` has an `input` too: only bodies that can't be mistaken speak against a path.
            None
        } else if has("prompt") {
            Some(Endpoint::Completions)
        } else if has("input")
            && ["instructions", "max_output_tokens", "stream", "reasoning", "text"].iter().any(|k| has(k))
        {
            Some(Endpoint::Responses)
        } else if has("input") && has("model") {
            Some(Endpoint::Embeddings)
        } else {
            None
        }
    }

    /// Both Chat Completions and Messages have `messages`. Messages always has `max_tokens`; beyond that the header,
    /// then keys that only one of them has, then the backend decide.
    fn speaks_messages(&self, body: &TopLevel<'_>) -> bool {
        let has = |key: &str| body.contains(key);
        if self.headers.contains_key("anthropic-version") {
            return true;
        }
        if CHAT_ONLY.into_iter().any(has) || !has("max_tokens") {
            return false;
        }
        MESSAGES_ONLY.into_iter().any(has) || self.backend == Family::Anthropic
    }
}

fn model_of(body: &TopLevel<'_>) -> Result<Option<String>, ClassifyError> {
    match body.get("model") {
        None => Ok(None),
        Some(member) if member.value == b"null" => Ok(None),
        Some(member) => match member.as_str() {
            Some(model) => Ok(Some(Cow::into_owned(model))),
            None => Err(ClassifyError::Field("'model' must be a string".into())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        path: &'static str,
        prefix: usize,
        query: Option<&'static str>,
        backend: Family,
        body: &'static str,
        version_header: bool,
        route_streams: bool,
    }

    const GUIDE: Case = Case {
        path: "/gemini",
        prefix: 7,
        query: None,
        backend: Family::Gemini,
        body: r#"{"contents":[]}"#,
        version_header: false,
        route_streams: false,
    };

    fn ask(case: &Case) -> Result<ApiRequest, ClassifyError> {
        let mut headers = HeaderMap::new();
        if case.version_header {
            headers.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        }
        let top = TopLevel::scan(case.body.as_bytes()).unwrap();
        RequestHead {
            method: &Method::POST,
            path: case.path,
            suffix: &case.path[case.prefix..],
            query: case.query,
            headers: &headers,
            backend: case.backend,
            listed: &[],
            route_streams: case.route_streams,
        }
        .ask(Some(&top))
    }

    #[test]
    fn the_guides_request_is_a_gemini_request() {
        let told = ask(&GUIDE).unwrap();
        assert_eq!(told.endpoint, Endpoint::Gemini(GeminiVerb::Generate, None));
        assert_eq!((told.family, told.stream, told.model), (Family::Gemini, StreamMode::No, None));
    }

    #[test]
    fn gemini_streams_by_verb_query_or_route() {
        let stream = |case: Case| {
            let told = ask(&case).unwrap();
            (told.endpoint, told.stream)
        };
        let streaming = |model: Option<&str>| Endpoint::Gemini(GeminiVerb::StreamGenerate, model.map(str::to_owned));
        let path = "/gemini/v1beta/models/m:streamGenerateContent";
        assert_eq!(stream(Case { path, ..GUIDE }), (streaming(Some("m")), StreamMode::JsonArray));
        assert_eq!(stream(Case { path, query: Some("alt=sse"), ..GUIDE }), (streaming(Some("m")), StreamMode::Sse));
        assert_eq!(stream(Case { query: Some("a=b&alt=sse"), ..GUIDE }), (streaming(None), StreamMode::Sse));
        assert_eq!(stream(Case { route_streams: true, ..GUIDE }), (streaming(None), StreamMode::Sse));
        let plain = "/gemini/v1beta/models/m:generateContent";
        assert_eq!(stream(Case { path: plain, route_streams: true, ..GUIDE }).1, StreamMode::No);
    }

    #[test]
    fn the_shape_tells_chat_from_messages() {
        let endpoint = |backend, body, version_header| {
            ask(&Case { path: "/x", prefix: 2, backend, body, version_header, ..GUIDE }).unwrap().endpoint
        };
        let plain = r#"{"model":"m","messages":[]}"#;
        let limited = r#"{"model":"m","messages":[],"max_tokens":5}"#;
        let system = r#"{"model":"m","messages":[],"max_tokens":5,"system":"s"}"#;
        let chat = r#"{"model":"m","messages":[],"max_tokens":5,"seed":1}"#;
        assert_eq!(endpoint(Family::OpenAi, plain, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(Family::OpenAi, limited, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(Family::OpenAi, system, false), Endpoint::Messages);
        assert_eq!(endpoint(Family::OpenAi, plain, true), Endpoint::Messages);
        assert_eq!(endpoint(Family::Anthropic, limited, false), Endpoint::Messages);
        assert_eq!(endpoint(Family::Anthropic, chat, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(Family::Anthropic, plain, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(Family::Gemini, plain, false), Endpoint::ChatCompletions);
    }

    #[test]
    fn the_shape_tells_converse() {
        let told = |route_streams| {
            let body = r#"{"messages":[],"inferenceConfig":{"maxTokens":5}}"#;
            ask(&Case { path: "/x", prefix: 2, backend: Family::Bedrock, body, route_streams, ..GUIDE }).unwrap()
        };
        assert_eq!(told(false).endpoint, Endpoint::Bedrock(BedrockVerb::Converse, None));
        assert_eq!(told(true).endpoint, Endpoint::Bedrock(BedrockVerb::ConverseStream, None));
        assert_eq!(told(true).stream, StreamMode::EventStream);
    }

    #[test]
    fn the_path_wins_over_the_shape() {
        let case = Case { path: "/x/v1/embeddings", prefix: 2, body: r#"{"messages":[]}"#, ..GUIDE };
        assert_eq!(ask(&case).unwrap().endpoint, Endpoint::Embeddings);
        let whole = Case { path: "/v1/chat/completions", prefix: 20, body: "{}", backend: Family::OpenAi, ..GUIDE };
        assert_eq!(ask(&whole).unwrap().endpoint, Endpoint::ChatCompletions);
    }

    #[test]
    fn what_nobody_understands_is_refused() {
        assert_eq!(ask(&Case { body: "{}", ..GUIDE }), Err(ClassifyError::NoEndpoint));
        assert_eq!(
            ask(&Case { path: "/x/chat/completions", body: r#"{"model":7}"#, ..GUIDE }),
            Err(ClassifyError::Field("'model' must be a string".into()))
        );
        assert_eq!(ask(&Case { path: "/v1/models", body: "{}", ..GUIDE }), Err(ClassifyError::Method("GET, HEAD")));
    }
}
