//! The access log: one event a request.

/// The target of the access log's events, for filters.
pub const TARGET: &str = "tollgate::access";

/// The access-log entry of one request that has ended. Fields that are `None` are left out of the line.
///
/// Holds no secret: the path comes without its query, where clients put keys, and no header is here.
#[derive(Clone, Debug, Default)]
pub struct AccessLog<'a> {
    /// The trace the request is part of.
    pub trace_id: &'a str,
    /// The request's own id, which its reply carries as `x-tollgate-request-id`.
    pub request_id: &'a str,
    /// The client's `x-request-id`.
    pub client_request_id: Option<&'a str>,
    /// HTTP method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The status that was sent, or would have been: 499 when the client disconnected before.
    pub status: u16,
    /// The reason of the error.
    pub error: Option<&'static str>,
    /// The type of the provider's error, as the provider names it.
    pub upstream_error_type: Option<&'a str>,
    /// The provider's code for it.
    pub upstream_error_code: Option<&'a str>,
    /// The provider's message, or its beginning.
    pub upstream_error_message: Option<&'a str>,
    /// To the end of the reply, in microseconds.
    pub duration_us: u64,
    /// How long the request has waited for room at its Backend, in microseconds, if it did.
    pub queued_us: Option<u64>,
    /// To the first token, in microseconds.
    pub ttft_us: Option<u64>,
    /// The Gateway, as `namespace/name`.
    pub gateway: Option<&'a str>,
    /// The HTTPRoute, as `namespace/name`.
    pub route: Option<&'a str>,
    /// Which rule of the route: its name, or its number counted from 0.
    pub rule: Option<&'a str>,
    /// The Backend, as `namespace/name`.
    pub backend: Option<&'a str>,
    /// The provider entry of the Backend that replied.
    pub target: Option<&'a str>,
    /// The entry's address.
    pub upstream_address: Option<&'a str>,
    /// The entry's provider.
    pub provider: Option<&'a str>,
    /// The requested model.
    pub request_model: Option<&'a str>,
    /// The model that answered.
    pub response_model: Option<&'a str>,
    /// The wire format.
    pub dialect: Option<&'static str>,
    /// The operation, such as `chat`.
    pub operation: Option<&'static str>,
    /// Whether the client requested a stream.
    pub stream: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the reply.
    pub completion_tokens: Option<u64>,
    /// What a ranking is billed by.
    pub search_units: Option<u64>,
    /// The counts are Tollgate's estimate, since the provider stated none.
    pub tokens_estimated: bool,
    /// Fields of the request that are unsupported in the provider's dialect.
    pub dropped: Option<&'a str>,
    /// What guards of content have found: direction, rule, action, kind of the text and count of each.
    pub guarded: Option<&'a str>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the reply's body that were sent.
    pub response_bytes: u64,
    /// How many attempts at providers there were.
    pub upstream_attempts: u32,
    /// The client.
    pub client_addr: Option<&'a str>,
    /// The client's name, where its key was checked: never the key.
    pub client_id: Option<&'a str>,
    /// The snapshot that served it.
    pub generation: u64,
}

impl AccessLog<'_> {
    /// Writes the event.
    pub fn emit(&self) {
        // A caller may forget to remove the query; a key in it must not be logged.
        let path = self.path.split('?').next().unwrap_or_default();
        tracing::info!(
            target: TARGET,
            trace_id = self.trace_id,
            request_id = self.request_id,
            client_request_id = self.client_request_id,
            method = self.method,
            path,
            status = self.status,
            error = self.error,
            upstream_error_type = self.upstream_error_type,
            upstream_error_code = self.upstream_error_code,
            upstream_error_message = self.upstream_error_message,
            duration_us = self.duration_us,
            queued_us = self.queued_us,
            ttft_us = self.ttft_us,
            gateway = self.gateway,
            route = self.route,
            rule = self.rule,
            backend = self.backend,
            upstream = self.target,
            upstream_address = self.upstream_address,
            provider = self.provider,
            request_model = self.request_model,
            response_model = self.response_model,
            dialect = self.dialect,
            operation = self.operation,
            stream = self.stream,
            prompt_tokens = self.prompt_tokens,
            completion_tokens = self.completion_tokens,
            search_units = self.search_units,
            tokens_estimated = self.tokens_estimated.then_some(true),
            dropped = self.dropped,
            guarded = self.guarded,
            request_bytes = self.request_bytes,
            response_bytes = self.response_bytes,
            upstream_attempts = self.upstream_attempts,
            client_addr = self.client_addr,
            client_id = self.client_id,
            generation = self.generation,
            "request"
        );
    }
}
