//! A simulator of LLM providers: it answers, refuses and fails as they do, without a key and without cost.
//!
//! It serves the wire formats of `OpenAI`, Azure `OpenAI`, Anthropic, Gemini, Vertex AI and Bedrock on one port and
//! distinguishes them by path and headers. It checks credentials, validates requests, and gives the same reply to the
//! same request. A request can select faults. `docs/simulator.md` is the manual.
//!
//! ```text
//! serve: accept ─> handle: received ─> PROVIDERS (endpoint) ─> authenticate ─> fault
//!                            └─> answer (prompt to text, tool calls, usage) ─> wire (reply) ─> respond ─> client
//! ```
//!
//! The crate shares no code with the gateway or its codecs, so that it does not share their errors either.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like"))]

/// How relevant documents are to a query.
mod rank;
/// The received request.
mod received;
/// Ordered JSON, replies and the framing of events.
mod wire;
/// gzip framing without compression.
mod gzip;
/// Faults that a request selects.
mod fault;
/// Values made from a JSON schema.
mod sample;
/// Signatures of reasoning.
mod sign;
/// The content of a reply: deterministic text, tool calls and token counts.
mod answer;
/// Gemini `generateContent`, on AI Studio and Vertex AI.
mod gemini;
/// Anthropic Messages.
mod anthropic;
/// `OpenAI` and Azure `OpenAI`.
mod openai;
/// Bedrock: Converse, `InvokeModel` and token counts.
mod bedrock;
/// Connections.
mod serve;
/// Responses whose bodies are sent step by step.
mod respond;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use fault::Faults;
use received::Received;
use respond::RequestCounter;
pub use serve::serve;
use wire::{Reply, ordered};

/// Settings that hold for all requests. A request selects its own faults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a request without a usable credential is refused, as the provider does. Default: true.
    pub check_credentials: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { check_credentials: true }
    }
}

/// A router that serves all providers. It does no IO.
///
/// Where the router is called without [`serve()`], the connection is not known: a fault that resets it fails the body
/// instead.
pub fn router(options: Options) -> Router {
    Router::new().fallback(handle).with_state(Arc::new(Simulator { options, counts: Arc::default() }))
}

/// Finds the endpoint of one provider by the path and headers of a request.
type Find = fn(&Received) -> Option<Box<dyn Provider>>;

/// All providers, in the order in which they are tried. The last one takes every request.
const PROVIDERS: &[Find] = &[bedrock::find, gemini::rank::find, gemini::find, anthropic::find, openai::find];

/// The endpoint of a provider that a request is for.
trait Provider: Send + Sync {
    /// Refuses a request whose credential is missing or wrong.
    fn authenticate(&self, received: &Received) -> Result<(), Reply>;

    /// The model, from the path or the body.
    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str>;

    /// An error in the provider's format. `retry_after` is in seconds, for providers that repeat it in the body.
    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply;

    /// The reply to a request, or the provider's refusal of it.
    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply>;

    /// The event that ends a failed stream. `first` is true when no event came before it.
    fn error_event(&self, first: bool) -> axum::body::Bytes;
}

/// An authenticated request with a JSON body.
struct ApiRequest<'a> {
    /// The received request.
    received: &'a Received,
    /// Its body; `Null` when it is empty.
    body: Value,
    /// Hash of the request; all ids of the reply are made from it.
    id: u64,
    /// Text of the reply, instead of an answer to the prompt.
    text: Option<String>,
    /// Number of words of the reply, each an event of its own in a stream.
    words: Option<usize>,
}

struct Simulator {
    options: Options,
    counts: Arc<RequestCounts>,
}

/// Counts of requests by outcome. Tests see cancellations here, from the provider's side.
#[derive(Default)]
struct RequestCounts {
    started: AtomicU64,
    finished: AtomicU64,
    cancelled: AtomicU64,
}

async fn handle(State(simulator): State<Arc<Simulator>>, request: Request) -> Response {
    match request.uri().path() {
        "/" => return index(),
        "/simulator/requests" => return simulator.counts.report(),
        _ => {}
    }
    let counter = RequestCounter::start(Arc::clone(&simulator.counts));
    let connection = request.extensions().get::<serve::Connection>().cloned();
    let received = match Received::read(request).await {
        Ok(received) => received,
        Err(status) => return status.into_response(),
    };
    let id = received.hash();
    let (reply, faults) = simulator.reply(&received, id);
    if let Some(delay) = faults.delay {
        tokio::time::sleep(delay).await;
    }
    let mut response = respond::respond(reply, &faults, connection, counter).await;
    if let Ok(value) = HeaderValue::try_from(format!("sim-{id:016x}")) {
        response.headers_mut().insert("x-simulator-request-id", value);
    }
    response
}

impl ApiRequest<'_> {
    /// Whether the reply only shows the request (echo). Such a request is not validated.
    fn is_shown(&self) -> bool {
        self.text.is_some()
    }
}

impl Simulator {
    fn reply(&self, received: &Received, id: u64) -> (Reply, Faults) {
        let Some(provider) = PROVIDERS.iter().find_map(|find| find(received)) else {
            return (Reply::status(StatusCode::NOT_FOUND), Faults::default());
        };
        if self.options.check_credentials
            && let Err(refusal) = provider.authenticate(received)
        {
            return (refusal, Faults::default());
        }
        let body = match received.json() {
            Ok(body) => body,
            Err(error) => {
                let message = format!("We could not parse the JSON body of your request: {error}");
                return (provider.refuse(StatusCode::BAD_REQUEST, &message, None), Faults::default());
            }
        };
        let model = provider.model(&body).unwrap_or_default().to_owned();
        let faults = match Faults::parse(received.header("x-simulator-fault").unwrap_or_default(), &model) {
            Ok(faults) => faults,
            Err(message) => {
                return (provider.refuse(StatusCode::BAD_REQUEST, &message, None), Faults::default());
            }
        };
        (Self::decide(received, id, body, provider.as_ref(), &model, &faults), faults)
    }

    fn decide(
        received: &Received,
        id: u64,
        body: Value,
        provider: &dyn Provider,
        model: &str,
        faults: &Faults,
    ) -> Reply {
        if let Some(status) = faults.error_status() {
            let message = format!("The simulator answers {status}, as it was asked to");
            let reply = provider.refuse(status, &message, faults.retry_after_seconds());
            return faults.apply(reply, provider);
        }
        let echo = received.header("x-simulator-echo") == Some("1") || model.starts_with("echo");
        let text = match faults.big_event {
            Some(bytes) => Some("x".repeat(bytes)),
            None => echo.then(|| received.echo()),
        };
        let request = ApiRequest { received, body, id, text, words: faults.events };
        let reply = provider.answer(&request).unwrap_or_else(|refusal| refusal);
        faults.apply(reply, provider)
    }
}

impl RequestCounts {
    /// The counts as JSON; `started = finished + cancelled + in_flight`.
    fn report(&self) -> Response {
        let finished = self.finished.load(Ordering::SeqCst);
        let cancelled = self.cancelled.load(Ordering::SeqCst);
        let started = self.started.load(Ordering::SeqCst);
        let in_flight = started.saturating_sub(finished).saturating_sub(cancelled);
        let report = ordered!({
            "started": started, "finished": finished, "cancelled": cancelled, "in_flight": in_flight,
        });
        Reply::pretty(StatusCode::OK, &report).into_response()
    }
}

/// The index page: endpoints, credentials and faults.
fn index() -> Response {
    let head = "Tollgate's provider simulator. It answers like the providers, without cost.\n\n\
         OpenAI       POST /v1/chat/completions /v1/responses /v1/completions /v1/embeddings /v1/moderations\n\
         \x20            POST /v1/rerank /v2/rerank, as Cohere has them\n\
         \x20            GET  /v1/models /v1/models/MODEL                  (Authorization: Bearer KEY)\n\
         Azure OpenAI POST /openai/deployments/NAME/chat/completions?api-version=2024-10-21\n\
         \x20            POST /openai/v1/chat/completions                 (api-key: KEY)\n\
         Anthropic    POST /v1/messages /v1/messages/count_tokens, GET /v1/models\n\
         \x20                                              (x-api-key: KEY, anthropic-version: 2023-06-01)\n\
         Gemini       POST /v1beta/models/MODEL:generateContent :streamGenerateContent :countTokens\n\
         \x20                                   :embedContent :batchEmbedContents, GET /v1beta/models\n\
         \x20                                                                  (x-goog-api-key: KEY)\n\
         Vertex AI    POST /v1/projects/P/locations/L/publishers/google/models/MODEL:generateContent\n\
         \x20                                                           (Authorization: Bearer TOKEN)\n\
         \x20            POST .../publishers/google/models/MODEL:predict (embeddings)\n\
         \x20            POST /v1/projects/P/locations/global/rankingConfigs/ID:rank\n\
         \x20            POST .../publishers/anthropic/models/MODEL:rawPredict :streamRawPredict\n\
         Bedrock      POST /model/ID/converse /converse-stream /invoke /invoke-with-response-stream /count-tokens\n\
         \x20                    (AWS Signature v4, secret access key simulated-secret; or Authorization: Bearer KEY)\n\
         Itself       GET  /simulator/requests      how many requests started, finished, were cancelled\n\n\
         A key that contains `invalid` is refused, every other key is accepted.\n\
         A model whose name contains `unknown` does not exist.\n\
         Requests are validated as the provider does. Reasoning is on when a request turns it on.\n\
         `x-simulator-echo: 1` or a model named `echo...`: the text of the reply is the received request.\n\n\
         Faults, in `x-simulator-fault: NAME=VALUE; NAME` or in the model's name, `fault-NAME-VALUE+NAME`:\n\n";
    let faults: Vec<String> = fault::FAULTS.iter().map(|(name, help)| format!("  {name:<20} {help}\n")).collect();
    format!("{head}{}", faults.concat()).into_response()
}
