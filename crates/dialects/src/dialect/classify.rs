//! Classification of a request: its endpoint from the path or the body's shape, the model, and whether it streams. Each
//! dialect classifies its own requests; this module goes through [`DIALECTS`].

use std::borrow::Cow;

use http::{HeaderMap, Method};

use super::{DIALECTS, DialectId, Endpoint};
use crate::stream::TopLevel;

/// The framing of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamMode {
    /// Not streamed: a buffered reply.
    No,
    /// As server-sent events.
    Sse,
    /// As one JSON array, element by element: Gemini without `alt=sse`.
    JsonArray,
    /// As frames of an AWS event stream: Bedrock.
    EventStream,
}

impl StreamMode {
    /// The `Content-Type` of a reply with this framing.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::No | Self::JsonArray => "application/json",
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::EventStream => "application/vnd.amazon.eventstream",
        }
    }
}

/// The operation that a client requests, in the client's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// The operation.
    pub endpoint: Endpoint,
    /// The client's dialect, in which the reply is written.
    pub dialect: DialectId,
    /// The model, if the request names one.
    pub model: Option<String>,
    /// The requested framing of the reply.
    pub stream: StreamMode,
}

/// The parts of a request, apart from the body, that decide its classification.
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
    /// The dialect of the chosen backend: it decides where the body's shape is ambiguous.
    pub backend: DialectId,
    /// The paths whose endpoint the backend lists, by their end.
    pub listed: &'a [ListedPath],
    /// Whether the route is one for streams (`routeType: CHAT_STREAMING`): decides for dialects in which only the URL
    /// requests a stream.
    pub route_streams: bool,
}

/// A path whose endpoint a backend lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPath {
    /// The only method that matches; `None` if the endpoint itself defines its methods.
    pub method: Option<Method>,
    /// The path's end; for [`Endpoint::Other`], everything that follows the matched prefix.
    pub path: String,
    /// The endpoint.
    pub endpoint: Endpoint,
}

impl ListedPath {
    /// The endpoint, if `request` matches. A request to an endpoint that Tollgate does not support is forwarded as it
    /// is written, with the gateway's credential, so nothing may precede the listed path.
    fn endpoint_of(&self, request: &RequestHead<'_>) -> Option<Endpoint> {
        if self.method.as_ref().is_some_and(|method| method != request.method) {
            return None;
        }
        let Endpoint::Other(_) = self.endpoint else {
            return request.path.ends_with(self.path.as_str()).then(|| self.endpoint.clone());
        };
        let rest = if request.suffix.is_empty() { request.path } else { request.suffix };
        (rest == self.path).then(|| Endpoint::Other(rest.to_owned()))
    }
}

/// How certain a dialect is that a request is its own, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It may be, if no other dialect has a higher claim.
    Possible,
    /// It has features that other dialects may have, too.
    Likely,
    /// A header of the client names the dialect.
    Strong,
    /// It has features that no other dialect has.
    Certain,
}

/// Why a request can't be classified. Each message is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassifyError {
    /// No endpoint has this path, and the body does not show one either.
    NoEndpoint,
    /// The endpoint has no such method; holds the `Allow` header's value.
    Method(&'static str),
    /// A field has the wrong type.
    Field(String),
}

impl RequestHead<'_> {
    /// The endpoint that the path names, if it names one. Looks at the part that follows the matched prefix, and else
    /// at the whole path (a route may match `/v1/chat/completions` itself).
    pub fn endpoint_from_path(&self) -> Option<Endpoint> {
        let listed = self.listed.iter().filter_map(|listed| Some((listed.path.len(), listed.endpoint_of(self)?)));
        let found = listed.max_by_key(|(length, _)| *length).map(|(_, endpoint)| endpoint);
        found.or_else(|| Endpoint::from_path(self.suffix)).or_else(|| Endpoint::from_path(self.path))
    }

    /// The dialect of errors for this client, before or without its body: from the path, the headers, and last the
    /// backend.
    pub fn dialect_hint(&self) -> DialectId {
        self.endpoint_from_path()
            .and_then(|e| e.owner())
            .unwrap_or_else(|| DialectId::of_headers(self.headers).unwrap_or(self.backend))
    }

    /// Whether the path is only the route's prefix: then the body may name any endpoint. With another path, such as
    /// `/v1/audio/speech`, whose bodies have an `input` too, only unambiguous bodies count.
    pub fn has_bare_path(&self) -> bool {
        matches!(self.suffix, "" | "/")
    }

    /// The endpoint that the body's top-level keys show. The dialect with the highest claim decides, the first one of
    /// several.
    fn endpoint_from_body(&self, body: &TopLevel<'_>) -> Option<Endpoint> {
        surest(DIALECTS.iter().filter_map(|dialect| dialect.endpoint_from_body(self, body)))
    }

    /// The dialect of a client that lists models. Every API has the list at a path with the same end, so the header or
    /// parameter that holds the client's key decides, and last the backend.
    fn listing_dialect(&self) -> DialectId {
        let claims = DIALECTS.iter().filter_map(|dialect| Some((dialect.claims_client(self)?, dialect.id())));
        let fallback = || if self.backend.dialect().lists_models() { self.backend } else { DialectId::Chat };
        surest(claims).unwrap_or_else(fallback)
    }

    /// The operation that the request is for. `body` is absent for methods that have none.
    ///
    /// # Errors
    /// When neither path nor body shows the endpoint, when the endpoint has no such method, or when `model` or `stream`
    /// has the wrong type.
    pub fn classify(&self, body: Option<&TopLevel<'_>>) -> Result<ApiRequest, ClassifyError> {
        let named = self.endpoint_from_path();
        let by_path = named.is_some();
        let endpoint = match named {
            Some(endpoint) => endpoint.of_body(body),
            None => body.and_then(|b| self.endpoint_from_body(b)).ok_or(ClassifyError::NoEndpoint)?,
        };
        if !endpoint.allows(self.method) {
            return Err(ClassifyError::Method(endpoint.allow_header()));
        }
        let dialect = endpoint.owner().unwrap_or_else(|| self.listing_dialect());
        let (endpoint, model, stream) = dialect.dialect().classify(self, endpoint, by_path, body)?;
        Ok(ApiRequest { endpoint, dialect, model, stream })
    }
}

/// Model and framing of a request whose body has `model` and `stream`.
pub(super) fn by_body(
    endpoint: Endpoint,
    body: Option<&TopLevel<'_>>,
) -> Result<(Endpoint, Option<String>, StreamMode), ClassifyError> {
    let model = body.map(model_of).transpose()?.flatten();
    let streams = body.and_then(|b| b.get("stream")?.as_bool()).unwrap_or(false);
    Ok((endpoint, model, if streams { StreamMode::Sse } else { StreamMode::No }))
}

/// The value with the highest claim, the first one of several.
fn surest<T>(claims: impl Iterator<Item = (Claim, T)>) -> Option<T> {
    claims.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, claimed)| claimed)
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
    use crate::dialect::{BedrockVerb, GeminiVerb};

    struct Case {
        path: &'static str,
        prefix: usize,
        query: Option<&'static str>,
        backend: DialectId,
        body: &'static str,
        version_header: bool,
        route_streams: bool,
    }

    const GUIDE: Case = Case {
        path: "/gemini",
        prefix: 7,
        query: None,
        backend: DialectId::Gemini,
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
        .classify(Some(&top))
    }

    #[test]
    fn the_guides_request_is_a_gemini_request() {
        let told = ask(&GUIDE).unwrap();
        assert_eq!(told.endpoint, Endpoint::Gemini(GeminiVerb::Generate, None));
        assert_eq!((told.dialect, told.stream, told.model), (DialectId::Gemini, StreamMode::No, None));
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
        assert_eq!(endpoint(DialectId::Chat, plain, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(DialectId::Chat, limited, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(DialectId::Chat, system, false), Endpoint::Messages);
        assert_eq!(endpoint(DialectId::Chat, plain, true), Endpoint::Messages);
        assert_eq!(endpoint(DialectId::Messages, limited, false), Endpoint::Messages);
        assert_eq!(endpoint(DialectId::Messages, chat, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(DialectId::Messages, plain, false), Endpoint::ChatCompletions);
        assert_eq!(endpoint(DialectId::Gemini, plain, false), Endpoint::ChatCompletions);
    }

    #[test]
    fn the_shape_tells_converse() {
        let told = |route_streams| {
            let body = r#"{"messages":[],"inferenceConfig":{"maxTokens":5}}"#;
            ask(&Case { path: "/x", prefix: 2, backend: DialectId::Converse, body, route_streams, ..GUIDE }).unwrap()
        };
        assert_eq!(told(false).endpoint, Endpoint::Bedrock(BedrockVerb::Converse, None));
        assert_eq!(told(true).endpoint, Endpoint::Bedrock(BedrockVerb::ConverseStream, None));
        assert_eq!(told(true).stream, StreamMode::EventStream);
    }

    #[test]
    fn the_path_wins_over_the_shape() {
        let case = Case { path: "/x/v1/embeddings", prefix: 2, body: r#"{"messages":[]}"#, ..GUIDE };
        assert_eq!(ask(&case).unwrap().endpoint, Endpoint::Embeddings);
        let whole = Case { path: "/v1/chat/completions", prefix: 20, body: "{}", backend: DialectId::Chat, ..GUIDE };
        assert_eq!(ask(&whole).unwrap().endpoint, Endpoint::ChatCompletions);
    }

    #[test]
    fn listed_endpoints_match_the_whole_path_and_their_method() {
        let list = |method, path: &str, endpoint| ListedPath { method, path: path.into(), endpoint };
        let listed = [
            list(Some(Method::POST), "/v1/audio/speech", Endpoint::Other(String::new())),
            list(Some(Method::GET), "/v1/files", Endpoint::Other(String::new())),
            list(None, "/ask", Endpoint::ChatCompletions),
        ];
        let headers = HeaderMap::new();
        let find = |method: &Method, path: &str, prefix: usize| {
            let suffix = &path[prefix..];
            let backend = DialectId::Chat;
            let head = RequestHead {
                method,
                path,
                suffix,
                query: None,
                headers: &headers,
                backend,
                listed: &listed,
                route_streams: false,
            };
            head.endpoint_from_path()
        };
        let other = |path: &str| Some(Endpoint::Other(path.into()));
        assert_eq!(find(&Method::POST, "/x/v1/audio/speech", 2), other("/v1/audio/speech"));
        assert_eq!(find(&Method::POST, "/v1/audio/speech", 16), other("/v1/audio/speech"), "an exact match");
        assert_eq!(find(&Method::GET, "/x/v1/files", 2), other("/v1/files"));
        assert_eq!(find(&Method::POST, "/x/any/ask", 2), Some(Endpoint::ChatCompletions));
        for (method, path) in [
            (Method::DELETE, "/x/v1/audio/speech"),
            (Method::POST, "/x/v1/files"),
            (Method::POST, "/x/v1/organization/v1/audio/speech"),
            (Method::POST, "/x/v1/files%2f..%2fv1/audio/speech"),
            (Method::POST, "/x/v1/audio/speech/"),
            (Method::POST, "/x/v1/audio%2fspeech"),
            (Method::POST, "/x/v1/audio/speech;a"),
        ] {
            assert_eq!(find(&method, path, 2), None, "{method} {path}");
        }
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
