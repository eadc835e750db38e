//! The bodies between client dialects and providers, as files that are easy to read and to compare in a review.
//!
//! - `golden_bodies/requests/CLIENT.json` is one request of each client dialect: a system prompt, text, an image, a
//!   tool with a call and its result, sampling parameters and a reasoning effort.
//! - `golden_bodies/requests/TARGET/CLIENT.json` is what the provider gets for it: path, body, and the fields that are
//!   reported as unsupported. Where the gateway refuses the request, it is the reply to the client.
//! - `golden_bodies/replies/TARGET.json` and `TARGET.stream.txt` are the replies of one provider of each dialect.
//! - `golden_bodies/replies/TARGET/CLIENT.json` and `CLIENT.stream.txt` are what each client gets for them.
//!
//! Streams of Bedrock are binary: each frame is written as a line `EVENT-TYPE PAYLOAD`. The program runs as users run
//! it. All connections to providers go to the test's server, so that every provider has its real host name.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden_bodies` writes the files anew. Check them against the vendors' documents
//! before you commit them.

#![cfg(feature = "simulator")]
#![allow(clippy::disallowed_methods, reason = "tests read clocks and the environment as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use regex::Regex;
use serde_json::{Value, json};

use common::{Exchange, Gateway, KEY, Start, Upstream, manifests::s1_of};

/// The client dialects: the name of each, and the paths of a buffered and of a streaming request.
const CLIENTS: [(&str, &str, &str); 5] = [
    ("chat", "/v1/chat/completions", "/v1/chat/completions"),
    ("responses", "/v1/responses", "/v1/responses"),
    ("messages", "/v1/messages", "/v1/messages"),
    ("gemini", "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"),
    ("converse", "/model/m/converse", "/model/m/converse-stream"),
];

/// The targets with a reply of their own, one for each provider dialect.
const REPLYING: [&str; 5] = ["deepseek", "openai-responses", "anthropic", "gemini", "bedrock-nova"];

/// The targets by name: the provider's key in Backends, its fields, and the host where it is not the provider's own.
fn targets() -> Vec<(&'static str, &'static str, Value, Option<&'static str>)> {
    let vertex = |model: &str, publisher: &str| {
        json!({
            "model": model, "publisher": publisher, "apiVersion": "v1", "projectId": "p", "location": "us-east5",
        })
    };
    let azure = json!({
        "endpoint": "ours.openai.azure.com", "deploymentName": "gpt-5.1", "apiVersion": "2025-04-01-preview",
    });
    vec![
        ("openai", "openai", json!({"model": "gpt-5.1"}), None),
        // Chat Completions refuses tools for this model.
        ("openai-responses", "openai", json!({"model": "gpt-5.6-terra"}), None),
        ("azure", "azureopenai", azure, None),
        ("openai-compatible", "openai", json!({"model": "qwen3-vl-32b"}), Some("vllm.example.com")),
        ("mistral", "openai", json!({"model": "mistral-medium-latest"}), Some("api.mistral.ai")),
        ("deepseek", "openai", json!({"model": "deepseek-chat"}), Some("api.deepseek.com")),
        ("anthropic", "anthropic", json!({"model": "claude-sonnet-4-5"}), None),
        ("vertex-claude", "vertexai", vertex("claude-sonnet-4-5@20250929", "ANTHROPIC"), None),
        ("gemini", "gemini", json!({"model": "gemini-2.5-flash", "apiVersion": "v1beta"}), None),
        ("vertex-gemini", "vertexai", vertex("gemini-2.5-flash", "GOOGLE"), None),
        ("bedrock-claude", "bedrock", json!({"model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}), None),
        ("bedrock-nova", "bedrock", json!({"model": "amazon.nova-pro-v1:0"}), None),
    ]
}

/// A gateway with all targets, each below `/TARGET`, whose connections to providers end at `upstream`.
fn gateway(upstream: &Upstream) -> Gateway {
    let address = format!("127.0.0.1:{}", upstream.port);
    let start = Start::new().arg("--simulate-providers").flag("--simulator-address", &address);
    let start = targets().into_iter().fold(start, |start, (name, provider, mut fields, host)| {
        if provider != "bedrock" {
            fields["authToken"] = json!({"kind": "Inline", "inline": KEY});
        }
        let mut entry = json!({"provider": {provider: fields}});
        if let Some(host) = host {
            entry["hostOverride"] = json!({"host": host, "port": 443});
        }
        start.manifest(&format!("{name}.yaml"), &s1_of(name, &format!("/{name}"), &entry))
    });
    start.run()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_bodies")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// Compares files with what they should contain, or writes them.
#[derive(Default)]
struct Golden {
    differences: Vec<String>,
}

impl Golden {
    fn check(&mut self, path: &str, actual: &str) {
        let file = folder().join(path);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, actual).unwrap();
        } else {
            let expected = fs::read_to_string(&file).unwrap_or_default();
            if expected != actual {
                self.differences.push(format!("--- {path}\n{}", first_difference(&expected, actual)));
            }
        }
    }

    fn finish(self) {
        let differences = self.differences.join("\n");
        assert!(differences.is_empty(), "run with UPDATE_GOLDEN=1 and read the changes:\n{differences}");
    }
}

/// The first line that differs, from both texts.
fn first_difference(expected: &str, actual: &str) -> String {
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    for line in 1.. {
        match (expected.next(), actual.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => return format!("line {line}\n- {}\n+ {}", old.unwrap_or_default(), new.unwrap_or_default()),
        }
    }
    "only line ends differ".into()
}

/// The text with fixed times and ids, where the gateway makes them: replies of Bedrock have none.
fn without_chance(text: &str) -> String {
    static TIME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""(created|created_at|completed_at)":( ?)[0-9]{10}"#).unwrap());
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""([a-z]*[-_]?(?:TG_)?)[0-9a-f]{18}"#).unwrap());
    let text = TIME.replace_all(text, r#""$1":${2}1700000000"#);
    ID.replace_all(&text, r#""${1}ID"#).into_owned()
}

/// One frame of an AWS event stream from a line `EVENT-TYPE PAYLOAD`.
fn frame(line: &str) -> Vec<u8> {
    let (event, payload) = line.split_once(' ').unwrap();
    let header = |(name, value): (&'static str, &str)| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let headers = [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")];
    let message = Message::new_from_parts(headers.map(header).into(), payload.as_bytes().to_vec());
    let mut frame = Vec::new();
    write_message_to(&message, &mut frame).unwrap();
    frame
}

/// The frames of an AWS event stream, each as a line `EVENT-TYPE PAYLOAD`.
fn lines_of_frames(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while !bytes.is_empty() {
        let message = read_message_from(&mut bytes).unwrap();
        let kind = message.headers().iter().find(|header| header.name().as_str() == ":event-type").unwrap();
        let payload = str::from_utf8(message.payload()).unwrap();
        writeln!(text, "{} {payload}", kind.value().as_string().unwrap().as_str()).unwrap();
    }
    text
}

/// Answers as a provider of the dialect that the path belongs to. Other requests get an empty object.
fn answer(exchange: &mut Exchange) {
    let request = exchange.request();
    let path = request.path();
    let in_body = serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body["stream"] == true);
    let (target, stream) = if path.ends_with("/chat/completions") {
        ("deepseek", in_body)
    } else if path.ends_with("/v1/responses") {
        ("openai-responses", in_body)
    } else if path.ends_with("/v1/messages") {
        ("anthropic", in_body)
    } else if path.contains("enerateContent") {
        ("gemini", path.contains(":stream"))
    } else if path.contains("/converse") {
        ("bedrock-nova", path.ends_with("-stream"))
    } else {
        exchange.reply(200, &[("content-type", "application/json")], b"{}");
        return;
    };
    let (kind, body) = match (stream, target) {
        (false, _) => ("application/json", read(&format!("replies/{target}.json")).into_bytes()),
        (true, "bedrock-nova") => {
            let lines = read("replies/bedrock-nova.stream.txt");
            ("application/vnd.amazon.eventstream", lines.lines().flat_map(frame).collect())
        }
        (true, _) => ("text/event-stream", read(&format!("replies/{target}.stream.txt")).into_bytes()),
    };
    exchange.reply(200, &[("content-type", kind)], &body);
}

#[test]
fn requests_to_each_provider() {
    let upstream = Upstream::new(answer);
    let gateway = gateway(&upstream);
    let mut golden = Golden::default();
    for (client, path, _) in CLIENTS {
        let request = read(&format!("requests/{client}.json"));
        for (target, ..) in targets() {
            let before = upstream.received().len();
            let reply = gateway.post(&format!("/{target}{path}"), &request);
            let actual = match upstream.received().get(before) {
                Some(sent) => json!({
                    "path": sent.path(), "body": sent.json(), "unsupported": reply.header("x-tollgate-dropped"),
                }),
                None => json!({"status": reply.status, "reply": reply.json()}),
            };
            golden.check(&format!("requests/{target}/{client}.json"), &pretty(&actual));
        }
    }
    golden.finish();
}

#[test]
fn replies_to_each_client() {
    let upstream = Upstream::new(answer);
    let gateway = gateway(&upstream);
    let mut golden = Golden::default();
    for (client, path, stream_path) in CLIENTS {
        let mut request: Value = serde_json::from_str(&read(&format!("requests/{client}.json"))).unwrap();
        for target in REPLYING {
            let reply = gateway.post(&format!("/{target}{path}"), request.to_string());
            assert_eq!(reply.status, 200, "{target} {client}: {}", reply.text());
            golden.check(&format!("replies/{target}/{client}.json"), &without_chance(&pretty(&reply.json())));
        }
        if matches!(client, "chat" | "responses" | "messages") {
            request["stream"] = true.into();
        }
        if client == "chat" {
            request["stream_options"] = json!({"include_usage": true});
        }
        for target in REPLYING {
            let reply = gateway.post(&format!("/{target}{stream_path}"), request.to_string());
            assert_eq!(reply.status, 200, "{target} {client}: {}", reply.text());
            let text = if client == "converse" { lines_of_frames(&reply.body) } else { reply.text() };
            golden.check(&format!("replies/{target}/{client}.stream.txt"), &without_chance(&text));
        }
    }
    golden.finish();
}

#[test]
fn differences_are_found() {
    assert!(first_difference("a\nb\n", "a\nc\n").starts_with("line 2\n- b\n+ c"));
    assert!(first_difference("a\n", "a\nb\n").starts_with("line 2\n- \n+ b"));
    let text = r#"{"created":1764381234,"n":1764381234,"id":"resp_6b0b8cc90eea010009"}"#;
    assert_eq!(without_chance(text), r#"{"created":1700000000,"n":1764381234,"id":"resp_ID"}"#);
}
