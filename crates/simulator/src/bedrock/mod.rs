//! Bedrock: Converse for every model, `InvokeModel` with the models' own bodies, and counting.

/// Checks of a Converse request.
mod check;
/// Converse and its stream.
mod converse;
/// `InvokeModel`: Claude's messages, Titan's and Cohere's embeddings.
mod invoke;
/// Checks of tools in Converse.
mod pairs;
/// The prompt of a Converse request.
mod read;
/// Rankings of models of Cohere and Amazon.
mod rerank;
/// Signature Version 4.
mod sigv4;
/// Unions of Smithy.
mod union;

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use serde_json::Value;

use super::received::Received;
use super::wire::{FRAMES, Node, Reply, exception, frame, ordered};
use super::{ApiRequest, Provider};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
    Count,
}

/// Paths end with one of these, after the id of the model.
const APIS: &[(&str, Api)] = &[
    ("converse", Api::Converse),
    ("converse-stream", Api::ConverseStream),
    ("invoke", Api::Invoke),
    ("invoke-with-response-stream", Api::InvokeStream),
    ("count-tokens", Api::Count),
];

struct Bedrock {
    api: Api,
    model: String,
}

/// Finds the endpoint by the path, such as `/model/ID/converse`. The id may contain slashes, as an ARN does.
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let (_, rest) = received.path.split_once("/model/")?;
    let (model, verb) = rest.rsplit_once('/')?;
    let (_, api) = APIS.iter().find(|(name, _)| *name == verb)?;
    Some(Box::new(Bedrock { api: *api, model: model.to_owned() }))
}

impl Provider for Bedrock {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        let refuse = |kind: &'static str, message: &str| Err(error(StatusCode::FORBIDDEN, kind, message));
        match (received.bearer(), received.key("authorization")) {
            (Some(token), _) if token.contains("invalid") => {
                refuse("AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.")
            }
            (Some(_), _) => Ok(()),
            (None, None) => refuse("MissingAuthenticationTokenException", "Missing Authentication Token"),
            (None, Some(_)) => {
                sigv4::check(received).map_err(|(kind, message)| error(StatusCode::FORBIDDEN, kind, &message))
            }
        }
    }

    fn model<'a>(&'a self, _body: &'a Value) -> Option<&'a str> {
        Some(&self.model)
    }

    fn refuse(&self, status: StatusCode, message: &str, _retry_after: Option<u64>) -> Reply {
        error(status, kind(status), message)
    }

    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        if request.received.method != Method::POST {
            return Err(error(StatusCode::METHOD_NOT_ALLOWED, "UnknownOperationException", "Method Not Allowed"));
        }
        if self.model.contains("unknown") {
            let message = "The provided model identifier is invalid.";
            return Err(error(StatusCode::BAD_REQUEST, "ValidationException", message));
        }
        let reply = match self.api {
            Api::Converse | Api::ConverseStream => self.converse(request),
            Api::Invoke | Api::InvokeStream => invoke::answer(request, &self.model, self.api == Api::InvokeStream),
            Api::Count => self.count(request),
        };
        let reply = reply.map_err(|message| self.refuse(StatusCode::BAD_REQUEST, &message, None))?;
        Ok(reply.header("x-amzn-requestid", request_id(request.id)))
    }

    fn error_event(&self, _first: bool) -> Bytes {
        let message = "The system encountered an unexpected error during processing. Try your request again.";
        exception("internalServerException", &ordered!({"message": message}))
    }
}

impl Bedrock {
    fn converse(&self, request: &ApiRequest) -> Result<Reply, String> {
        let prompt = read::prompt(&request.body)?;
        if !request.is_shown() {
            check::request(&request.body, &self.model)?;
        }
        let turn = converse::Turn::new(request.id, &self.model, prompt.answer(request), &request.body);
        if self.api == Api::Converse {
            return Ok(Reply::json(StatusCode::OK, &turn.buffered()));
        }
        let events = turn.events().into_iter().map(|(name, data)| frame(name, data.compact()));
        Ok(Reply::events(FRAMES, events.collect()))
    }

    /// The tokens of a Converse or `InvokeModel` request.
    fn count(&self, request: &ApiRequest) -> Result<Reply, String> {
        let input = request.body.get("input").unwrap_or(&Value::Null);
        let tokens = match (input.get("converse"), input.pointer("/invokeModel/body").and_then(Value::as_str)) {
            (Some(body), None) => {
                let prompt = read::prompt(body)?;
                check::request(body, &self.model)?;
                prompt.tokens()
            }
            (None, Some(body)) => {
                let bytes = BASE64_STANDARD.decode(body).map_err(|error| error.to_string())?;
                let body = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
                invoke::count(&body)?
            }
            _ => return Err("The input field must set one of the following keys: converse, invokeModel.".to_owned()),
        };
        Ok(Reply::json(StatusCode::OK, &ordered!({"inputTokens": tokens})))
    }
}

/// The name of the exception for a status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

fn error(status: StatusCode, kind: &'static str, message: &str) -> Reply {
    let body: Node = ordered!({"message": message});
    // The protocol allows a URL after the name; clients must cut it off.
    let named = format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/");
    Reply::json(status, &body).header("x-amzn-errortype", named).header("x-amzn-requestid", request_id(0))
}

/// A request id in the form of a UUID.
fn request_id(id: u64) -> String {
    let digits = format!("{id:016x}{:016x}", id.rotate_left(29));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
