//! A provider simulator: practice without spending tokens.
//!
//! It speaks the native wire formats of OpenAI (and Azure `OpenAI`), Anthropic, Gemini (and both on Vertex AI) and Bedrock on one
//! port, told apart by path and headers; checks the credential where the provider would; answers the same request always the same; and
//! misbehaves on demand. `docs/simulator.md` is its manual.
//!
//! ```text
//! serve: accept ─> handle: received ─> PROVIDERS (who is asked) ─> authenticate ─> fault (what shall go wrong)
//!                                       └─> answer (prompt to text, tool calls, usage) ─> wire (reply) ─> play ─> client
//! ```

/// One request, as it came.
mod received;
/// JSON in the order providers write it, replies and event framing.
mod wire;
/// gzip framing without compression.
mod gzip;
/// What shall go wrong, as the request asks.
mod fault;
/// Values made from a JSON schema.
mod sample;
/// Signatures of thoughts, which the simulator knows again.
mod sign;
/// What the model says: deterministic text, tool calls and token counts.
mod answer;
/// Gemini `generateContent`, on AI Studio and Vertex AI.
mod gemini;
/// Anthropic Messages.
mod anthropic;
/// `OpenAI` and Azure `OpenAI`.
mod openai;
/// Bedrock: Converse, and the models' own bodies.
mod bedrock;
/// Connections.
mod serve;
/// A reply and its faults, step by step onto the connection.
mod play;
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
use play::Ticket;
use received::Received;
pub use serve::serve;
use wire::{Reply, ordered};

/// How the simulator behaves towards everyone; what one request wants is said in that request.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a request without a usable credential is refused, as the provider would. Default: true.
    pub check_credentials: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { check_credentials: true }
    }
}

/// Every provider on one router, without any IO of its own.
///
/// A request whose connection is not known (the router was called without [`serve()`]) gets a failed body where a fault asks
/// for a TCP reset.
pub fn router(options: Options) -> Router {
    Router::new().fallback(handle).with_state(Arc::new(Simulator { options, traffic: Arc::default() }))
}

/// A provider's claim on a request, by its path and headers.
type Find = fn(&Received) -> Option<Box<dyn Provider>>;

/// Who may be asked, in the order in which they are given the chance to say "that is mine". The last takes what is left.
const PROVIDERS: &[Find] = &[bedrock::find, gemini::find, anthropic::find, openai::find];

/// One endpoint of one provider, as a request named it.
trait Provider: Send + Sync {
    /// Refuses, in the provider's own words, a request whose credential is missing or wrong.
    fn authenticate(&self, received: &Received) -> Result<(), Reply>;

    /// The model that is asked, wherever this provider has its name.
    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str>;

    /// An error in the provider's shape. `retry_after` is in seconds, for providers that say it in the body.
    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply;

    /// The reply to a request, or the provider's refusal of it.
    fn answer(&self, ask: &Ask) -> Result<Reply, Reply>;

    /// The event with which this provider ends a stream that fails; `first` when nothing came before it.
    fn interruption(&self, first: bool) -> axum::body::Bytes;
}

/// A request that passed the door.
struct Ask<'a> {
    /// The request as it came.
    received: &'a Received,
    /// Its body; `Null` when it has none.
    body: Value,
    /// Hash of the request, from which every id of the reply is made.
    id: u64,
    /// Text to answer instead of a reply to the prompt.
    text: Option<String>,
    /// Number of words the reply shall have, each its own event of a stream.
    words: Option<usize>,
}

struct Simulator {
    options: Options,
    traffic: Arc<Traffic>,
}

/// What became of the requests, so that a test can see a cancellation from the provider's side.
#[derive(Default)]
struct Traffic {
    started: AtomicU64,
    finished: AtomicU64,
    cancelled: AtomicU64,
}

async fn handle(State(simulator): State<Arc<Simulator>>, request: Request) -> Response {
    match request.uri().path() {
        "/" => return index(),
        "/simulator/requests" => return simulator.traffic.report(),
        _ => {}
    }
    let ticket = Ticket::start(Arc::clone(&simulator.traffic));
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
    let mut response = play::play(reply, &faults, connection, ticket).await;
    if let Ok(value) = HeaderValue::try_from(format!("sim-{id:016x}")) {
        response.headers_mut().insert("x-simulator-request-id", value);
    }
    response
}

impl Ask<'_> {
    /// Whether the request is only to be shown: then nothing in it is refused for its content.
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
        let ask = Ask { received, body, id, text, words: faults.events };
        let reply = provider.answer(&ask).unwrap_or_else(|refusal| refusal);
        faults.apply(reply, provider)
    }
}

impl Traffic {
    /// `started = finished + cancelled + in_flight`, read one after the other.
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

/// What this is, and what can be asked of it.
fn index() -> Response {
    let head = "Tollgate's provider simulator. It answers like the providers, and spends nothing.\n\n\
         OpenAI       POST /v1/chat/completions /v1/responses /v1/completions /v1/embeddings /v1/moderations\n\
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
         \x20            POST .../publishers/anthropic/models/MODEL:rawPredict :streamRawPredict\n\
         Bedrock      POST /model/ID/converse /converse-stream /invoke /invoke-with-response-stream /count-tokens\n\
         \x20                    (AWS Signature v4, secret access key simulated-secret; or Authorization: Bearer KEY)\n\
         Itself       GET  /simulator/requests      how many requests started, finished, were cancelled\n\n\
         Any key is good but one that contains `invalid`; any model exists but one that contains `unknown`.\n\
         What the provider refuses is refused in its words. Thinking is done when a request asks for it.\n\
         `x-simulator-echo: 1` or a model named `echo...`: the reply's text is the request as it was received.\n\n\
         Faults, in `x-simulator-fault: NAME=VALUE; NAME` or in the model's name, `fault-NAME-VALUE+NAME`:\n\n";
    let faults: Vec<String> = fault::FAULTS.iter().map(|(name, help)| format!("  {name:<20} {help}\n")).collect();
    format!("{head}{}", faults.concat()).into_response()
}
