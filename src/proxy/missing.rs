//! Part of step 5: whether a reply shows that a server does not have the requested endpoint.
//!
//! Servers of OpenAI's API have no common form for that. Behind 404 there are `{"detail":"Not Found"}` (vLLM and others
//! with `FastAPI`), `404 page not found` (Ollama), `File Not Found` (llama.cpp), pages of proxies, and nothing at all.
//! A model or a stored response that does not exist has the same status, so the body decides.

use std::borrow::Cow;

use http::{Response, StatusCode};

use crate::{
    conversation::Failure,
    dialect::{ApiRequest, DialectId, Endpoint},
    stream::{Member, TopLevel},
    upstream::ReplyBody,
};

/// The codes of errors about something that a request names.
const ABOUT_THE_REQUEST: [&str; 3] = ["model_not_found", "DeploymentNotFound", "previous_response_not_found"];

/// Whether this is the status of an endpoint that does not exist. No server has done any work for such a request.
pub fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}

/// What a request names that a server may not have.
pub struct Named {
    /// The model, as the server gets it.
    model: Option<String>,
    /// The stored response that the conversation continues.
    previous: Option<String>,
}

impl Named {
    /// The names in a request of `api` with this body, whose model was resolved to `model`.
    pub fn of(api: &ApiRequest, body: Option<&TopLevel<'_>>, model: Option<&str>) -> Self {
        let previous = body.and_then(|top| top.get("previous_response_id")).and_then(Member::as_str);
        let previous = previous.filter(|_| api.endpoint == Endpoint::Responses);
        Self { model: model.map(str::to_owned), previous: previous.map(Cow::into_owned) }
    }

    /// Whether `reply` to the request shows that the server does not have its endpoint.
    pub fn misses_endpoint(&self, reply: &Response<ReplyBody>) -> bool {
        let status = reply.status();
        is_missing(status) && {
            let failure = DialectId::Chat.dialect().read_error(status.as_u16(), reply.body().begun());
            !self.is_subject(&failure)
        }
    }

    /// Whether an error is about something that the request names.
    fn is_subject(&self, failure: &Failure<'_>) -> bool {
        let message = &failure.message;
        let is_code = failure.code.as_ref().is_some_and(|code| ABOUT_THE_REQUEST.contains(&&**code));
        let names = [self.model.as_deref(), self.previous.as_deref(), Some("model")];
        is_code || failure.param.is_some() || names.into_iter().flatten().any(|name| has_word(message, name))
    }
}

/// Whether `word` is in `text`, in any case, and not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !word.is_empty()
        && text.match_indices(&word).any(|(at, found)| {
            let before = text.get(..at).and_then(|rest| rest.chars().next_back());
            let behind = text.get(at + found.len()..).and_then(|rest| rest.chars().next());
            !is_part(before) && !is_part(behind)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies of vLLM, Ollama, llama.cpp, LM Studio, Express, nginx, Kong (Mistral), Groq and OpenAI.
    #[test]
    fn what_is_missing_is_read_from_the_body() {
        let missing = |model: &str, status: u16, body: &str| {
            let named = Named { model: Some(model.into()), previous: Some("resp_1".into()) };
            !named.is_subject(&DialectId::Chat.dialect().read_error(status, body.as_bytes()))
        };
        for body in [
            "",
            r#"{"detail":"Not Found"}"#,
            r#"{"detail":"Method Not Allowed"}"#,
            "404 page not found",
            r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#,
            r#"{"error":"Unexpected endpoint or method. (POST /v1/responses)"}"#,
            "<!DOCTYPE html><html><body><pre>Cannot POST /v1/responses</pre></body></html>",
            "<html><head><title>404 Not Found</title></head><body><center>nginx</center></body></html>",
            r#"{"message":"no Route matched with those values"}"#,
            r#"{"error":{"message":"Unknown request URL: POST /openai/v1/responses","type":"invalid_request_error","code":"unknown_url"}}"#,
            r#"{"error":{"message":"Invalid URL (POST /v1/responses)","type":"invalid_request_error","param":null,"code":null}}"#,
        ] {
            for (model, status) in [("m", 404), ("llama-3.3-70b", 405)] {
                assert!(missing(model, status, body), "{model} {status} {body}");
            }
        }
        for body in [
            r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            r#"{"object":"error","message":"The model `llama-3.3-70b` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            r#"{"error":{"message":"model 'llama-3.3-70b' not found","type":"not_found_error","param":null,"code":null}}"#,
            r#"{"error":{"message":"No endpoints found for llama-3.3-70b.","code":404}}"#,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            r#"{"error":{"message":"Response with id 'resp_1' not found.","type":"invalid_request_error","param":null,"code":404}}"#,
            r#"{"error":{"message":"not there","type":"invalid_request_error","param":"previous_response_id"}}"#,
            r#"{"detail":"Model not found"}"#,
        ] {
            assert!(!missing("llama-3.3-70b", 404, body), "{body}");
        }
    }
}
