//! The simulator through its router, and over TCP where the connection matters.

mod anthropic;
mod bedrock;
mod connection;
mod gemini;
mod openai;
mod rank;
mod strict;
mod thinking;

use aws_smithy_eventstream::frame::read_message_from;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::{Options, router};

/// A reply, read to its end.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    bytes: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The data of each event, without `[DONE]`.
    fn events(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

impl Answer {
    /// Name and data of each frame of an AWS event stream.
    fn frames(&self) -> Vec<(String, Value)> {
        let mut frames = Vec::new();
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let message = read_message_from(&mut rest).unwrap();
            let names = [":event-type", ":exception-type"];
            let header = message.headers().iter().find(|header| names.contains(&header.name().as_str())).unwrap();
            let name = header.value().as_string().unwrap().as_str().to_owned();
            frames.push((name, serde_json::from_slice(message.payload()).unwrap()));
        }
        frames
    }
}

/// Sends a request with these headers; `body` is JSON or empty.
async fn send(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_to(Options::default(), method, target, headers, body).await
}

async fn send_to(options: Options, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = TowerToHyperService::new(router(options)).call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: parts.status, headers: parts.headers, text, bytes: bytes.to_vec() }
}

/// Checks values in a reply by their JSON pointers.
fn check_pointers(value: &Value, expect: &[(&str, Value)]) {
    for (pointer, expected) in expect {
        assert_eq!(value.pointer(pointer), Some(expected), "{pointer} of {value:#}");
    }
}

/// A table or a codec that both had would hide its own errors.
#[test]
fn the_simulator_shares_no_code_with_what_it_tests() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
    assert!(!dependencies.contains("tollgate"), "{dependencies}");
}

#[tokio::test]
async fn the_index_lists_every_fault() {
    let index = send("GET", "/", &[], "").await;
    assert_eq!(index.status, StatusCode::OK);
    for (name, _) in super::fault::FAULTS {
        assert!(index.text.contains(name), "{name}");
    }
}

#[test]
fn the_manual_shows_every_fault_in_a_request() {
    let manual = include_str!("../../../../docs/simulator.md");
    for (example, _) in super::fault::FAULTS {
        let name = example.split('=').next().unwrap();
        assert!(manual.contains(&format!("| `{name}")), "{name} is not in the table");
        let sent = ["x-simulator-fault: ", "; "].iter().any(|before| manual.contains(&format!("{before}{name}")));
        assert!(sent, "{name} has no curl example");
    }
}

#[tokio::test]
async fn one_request_has_one_reply() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let key = ("authorization", "Bearer k");
    let one = send("POST", "/v1/chat/completions", &[key], body).await;
    let same = send("POST", "/v1/chat/completions", &[("authorization", "Bearer other")], body).await;
    let other = send("POST", "/v1/chat/completions", &[key], &body.replace("hi", "ho")).await;
    assert_eq!(one.text, same.text);
    assert_eq!(one.headers["x-simulator-request-id"], same.headers["x-simulator-request-id"]);
    assert_ne!(one.headers["x-simulator-request-id"], other.headers["x-simulator-request-id"]);
    assert_ne!(one.json()["id"], other.json()["id"]);
}

#[tokio::test]
async fn credentials_need_not_be_checked() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let options = Options { check_credentials: false };
    assert_eq!(send_to(options, "POST", "/v1/chat/completions", &[], body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_echo_shows_the_request_without_its_secrets() {
    let body = r#"{"model":"m","extra":[1,1],"messages":[{"role":"user","content":"hi"}]}"#;
    let headers = [("authorization", "Bearer sk-1234567"), ("x-simulator-echo", "1"), ("x-other", "seen")];
    let reply = send("POST", "/v1/chat/completions?a=b", &headers, body).await.json();
    let echo: Value = serde_json::from_str(reply["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    check_pointers(
        &echo,
        &[
            ("/method", "POST".into()),
            ("/path", "/v1/chat/completions".into()),
            ("/query/0", serde_json::json!(["a", "b"])),
            ("/body", body.into()),
            ("/headers/0", serde_json::json!(["authorization", "Bearer sk-1...(10)"])),
            ("/headers/2", serde_json::json!(["x-other", "seen"])),
        ],
    );
    let by_model = send("POST", "/v1beta/models/echo:generateContent?key=abcdefgh", &[], r#"{"contents":[{}]}"#).await;
    assert!(by_model.json()["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().contains("abcd...(8)"));
    assert!(!by_model.text.contains("abcdefgh"));
}
