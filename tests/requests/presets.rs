//! Servers with OpenAI's API by their names, against a stand-in for all of them. What each is expected to get is from
//! its vendor's documentation, which is named at its row.

use serde_json::{Value, json};

use crate::common::{Exchange, Gateway, KEY, Start, Upstream, manifests::s1_of, request};

/// A server, as its vendor documents it.
struct Row {
    /// The name in Backends.
    preset: &'static str,
    /// The host that requests are for.
    host: &'static str,
    /// What comes before each endpoint's path.
    base: &'static str,
    /// Whether it has Responses.
    responses: bool,
    /// Whether it takes `stream_options`.
    stream_options: bool,
    /// Fields of Chat Completions that it refuses or ignores.
    refused: &'static [&'static str],
}

const fn row(preset: &'static str, host: &'static str, base: &'static str, responses: bool) -> Row {
    Row { preset, host, base, responses, stream_options: true, refused: &[] }
}

impl Row {
    const fn refuses(self, refused: &'static [&'static str]) -> Self {
        Self { refused, ..self }
    }

    const fn without_stream_options(self) -> Self {
        Self { stream_options: false, ..self }
    }

    /// Whether its users run it, so that they name the host.
    fn is_local(&self) -> bool {
        self.host.ends_with(":8000")
    }
}

const LOGPROBS: [&str; 2] = ["logprobs", "top_logprobs"];

fn rows() -> Vec<Row> {
    vec![
        row("openai", "api.openai.com", "/v1", true).refuses(&["top_k"]),
        // cerebras_cloud_sdk 1.91: the fields of a request; messages have `reasoning`, and no `reasoning_content`.
        row("cerebras", "api.cerebras.ai", "/v1", false).refuses(&["top_k"]),
        // https://docs.cohere.com/docs/compatibility-api, "Supported parameters" and "Unsupported parameters".
        row("cohere", "api.cohere.ai", "/compatibility/v1", false)
            .refuses(&["top_k", "n", "logprobs", "top_logprobs", "user", "parallel_tool_calls"])
            .without_stream_options(),
        // https://api-docs.deepseek.com/: "you can also use https://api.deepseek.com/v1 as the base_url".
        row("deepseek", "api.deepseek.com", "/v1", false).refuses(&[
            "top_k",
            "n",
            "seed",
            "user",
            "parallel_tool_calls",
        ]),
        // https://docs.fireworks.ai/tools-sdks/openai-compatibility, https://docs.fireworks.ai/guides/response-api.
        row("fireworks", "api.fireworks.ai", "/inference/v1", true),
        // https://console.groq.com/docs/openai, "Currently Unsupported OpenAI Features"; groq 1.7 for the penalties.
        row("groq", "api.groq.com", "/openai/v1", true).refuses(&[
            "top_k",
            "n",
            "logprobs",
            "top_logprobs",
            "presence_penalty",
            "frequency_penalty",
        ]),
        // https://huggingface.co/docs/inference-providers/tasks/chat-completion, the parameters of requests.
        row("huggingface", "router.huggingface.co", "/v1", true).refuses(&["top_k", "n", "user"]),
        row("llamacpp", "llama.example:8000", "/v1", true),
        row("lmstudio", "studio.example:8000", "/v1", true),
        // https://docs.mistral.ai/api.
        row("mistral", "api.mistral.ai", "/v1", false)
            .refuses(&["logprobs", "top_logprobs", "user"])
            .without_stream_options(),
        // https://docs.ollama.com/api/openai-compatibility, "Supported request fields".
        row("ollama", "ollama.example:8000", "/v1", true).refuses(&["top_k", "n", "user", "parallel_tool_calls"]),
        // https://openrouter.ai/docs/api-reference/overview.
        row("openrouter", "openrouter.ai", "/api/v1", true),
        // https://docs.together.ai/docs/inference/openai-compatibility; together 3.1 for the fields.
        row("together", "api.together.ai", "/v1", false).refuses(&[
            "logprobs",
            "top_logprobs",
            "user",
            "parallel_tool_calls",
        ]),
        row("vllm", "vllm.example:8000", "/v1", true),
        // https://docs.x.ai: "presencePenalty, frequencyPenalty and stop are not supported by reasoning models".
        row("xai", "api.x.ai", "/v1", true).refuses(&["top_k", "presence_penalty", "frequency_penalty", "stop"]),
    ]
}

/// Answers as any of them, with what a client needs to see the end.
fn answer(exchange: &mut Exchange) {
    let json = [("content-type", "application/json")];
    let path = exchange.request().path().to_owned();
    let body: &[u8] = if path.ends_with("/chat/completions") {
        br#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
            "message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#
    } else {
        br#"{"data":[]}"#
    };
    exchange.reply(200, &json, body);
}

/// A gateway with one Backend for each row, below `/PRESET`, or below `/HOST` where only the host shows which it is.
fn gateway(upstream: &Upstream) -> Gateway {
    let address = format!("127.0.0.1:{}", upstream.port);
    let start = Start::new().arg("--simulate-providers").flag("--simulator-address", &address);
    let start = rows().iter().fold(start, |start, row| {
        let token = json!({"kind": "Inline", "inline": KEY});
        let address = |entry: &mut Value, port: u16| {
            let host = row.host.split(':').next().unwrap();
            (entry["host"], entry["port"]) = (json!(host), json!(port));
        };
        let mut named = json!({"openai": {"preset": row.preset, "authToken": token}});
        if row.is_local() {
            address(&mut named, 8000);
        }
        let mut found = json!({"openai": {"authToken": token}});
        address(&mut found, 443);
        let start =
            start.manifest(&format!("{}.yaml", row.preset), &s1_of(row.preset, &format!("/{}", row.preset), &named));
        if row.is_local() {
            return start;
        }
        let name = format!("by-host-{}", row.preset);
        start.manifest(&format!("{name}.yaml"), &s1_of(&name, &format!("/{name}"), &found))
    });
    start.run()
}

/// The prefixes of the routes to a row's Backends.
fn routes(row: &Row) -> Vec<String> {
    let by_host = (!row.is_local()).then(|| format!("/by-host-{}", row.preset));
    std::iter::once(format!("/{}", row.preset)).chain(by_host).collect()
}

#[test]
fn each_server_is_reached_at_its_own_address_with_its_key() {
    let upstream = Upstream::new(answer);
    let gateway = gateway(&upstream);
    for row in rows() {
        for route in routes(&row) {
            let chat = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
            let input = r#"{"model":"m","input":"x"}"#;
            let responses = if row.responses { "/responses" } else { "/chat/completions" };
            for (method, path, body, expected) in [
                ("POST", "/v1/chat/completions", chat, "/chat/completions"),
                ("POST", "/v1/responses", input, responses),
                ("POST", "/v1/embeddings", input, "/embeddings"),
                ("GET", "/v1/models", "", "/models"),
                ("GET", "/v1/models/m", "", "/models/m"),
            ] {
                let before = upstream.received().len();
                let what = format!("{method} {route}{path}");
                let headers = [("content-type", "application/json"), ("authorization", "Bearer mine")];
                let asked = request(method, &format!("{route}{path}"), &headers, body.as_bytes());
                let reply = gateway.connect().send(&asked).reply();
                assert_eq!(reply.status, 200, "{what}: {}", reply.text());
                let sent = upstream.received();
                assert_eq!(sent.len(), before + 1, "{what}");
                let sent = &sent[before];
                assert_eq!(sent.path(), format!("{}{expected}", row.base), "{what}");
                assert_eq!(sent.header("host").as_deref(), Some(row.host), "{what}");
                assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}")), "{what}");
            }
        }
    }
}

#[test]
fn fields_that_a_server_refuses_are_left_out_and_named() {
    let upstream = Upstream::new(answer);
    let gateway = gateway(&upstream);
    // Every field that some server refuses, from two clients: none of them has all.
    let gemini = json!({
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "generationConfig": {
            "topK": 5, "candidateCount": 2, "seed": 7, "presencePenalty": 0.5, "frequencyPenalty": 0.5,
            "responseLogprobs": true, "logprobs": 3, "stopSequences": ["END"],
        },
    });
    let messages = json!({
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "metadata": {"user_id": "user-1"},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
    });
    let of_gemini = ["top_k", "n", "seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "stop"];
    let of_messages = ["user", "parallel_tool_calls"];
    for row in rows() {
        for (path, body, fields) in [
            ("/v1beta/models/m:generateContent", &gemini, of_gemini.as_slice()),
            ("/v1/messages", &messages, of_messages.as_slice()),
        ] {
            let before = upstream.received().len();
            let reply = gateway.post(&format!("/{}{path}", row.preset), body.to_string());
            assert_eq!(reply.status, 200, "{} {path}: {}", row.preset, reply.text());
            let sent = upstream.received().remove(before).json();
            let dropped: Vec<String> =
                reply.header("x-tollgate-dropped").unwrap_or_default().split(", ").map(str::to_owned).collect();
            for field in fields {
                let refused = row.refused.contains(field);
                let key = if row.preset == "mistral" && *field == "seed" { "random_seed" } else { field };
                assert_eq!(sent.get(key).is_none(), refused, "{}: {field} in {sent}", row.preset);
                // One name for both.
                let name = if LOGPROBS.contains(field) { "logprobs" } else { field };
                let is_named = dropped.iter().any(|one| one.strip_suffix(";hint").unwrap_or(one) == name);
                assert_eq!(is_named, refused, "{}: {field} in {dropped:?}", row.preset);
            }
        }
    }
}

#[test]
fn usage_of_streams_is_requested_where_that_is_no_error() {
    let upstream = Upstream::new(answer);
    let gateway = gateway(&upstream);
    for row in rows() {
        let before = upstream.received().len();
        let chat = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}"#;
        gateway.post(&format!("/{}/v1/chat/completions", row.preset), chat);
        let sent = upstream.received().remove(before).json();
        assert_eq!(sent["stream_options"]["include_usage"] == true, row.stream_options, "{}: {sent}", row.preset);
    }
}

#[test]
fn a_host_or_a_base_path_of_the_operators_replaces_that_of_the_preset() {
    let upstream = Upstream::new(answer);
    let chat = r#"{"model":"m","messages":[]}"#;
    let openai = json!({"preset": "groq", "authToken": {"kind": "Inline", "inline": KEY}});
    let at = |fields: Value| {
        let mut entry = json!({"host": "127.0.0.1", "port": upstream.port, "openai": openai});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        entry
    };
    let gateway = Start::new()
        .manifest("a.yaml", &s1_of("a", "/a", &at(json!({}))))
        .manifest("b.yaml", &s1_of("b", "/b", &at(json!({"path": {"prefix": "/llm/groq/"}}))))
        .manifest("c.yaml", &s1_of("c", "/c", &at(json!({"pathOverride": {"prefix": "/"}}))))
        .manifest("d.yaml", &s1_of("d", "/d", &at(json!({"path": {"full": "/one"}}))))
        .run();
    for (route, expected) in [
        ("/a", "/openai/v1/chat/completions"),
        ("/b", "/llm/groq/chat/completions"),
        ("/c", "/chat/completions"),
        ("/d", "/one"),
    ] {
        let before = upstream.received().len();
        assert_eq!(gateway.post(&format!("{route}/v1/chat/completions"), chat).status, 200, "{route}");
        assert_eq!(upstream.received().remove(before).path(), expected, "{route}");
    }
}
