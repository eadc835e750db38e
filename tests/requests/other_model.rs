//! Requests in their provider's dialect whose model the Backend replaces: the settings fit the new model, and the reply
//! names the client's where clients compare it.

use serde_json::{Value, json};

use crate::common::{Gateway, Start, Upstream, manifests::s1_with};

const MESSAGES: &str = "/x/v1/messages";
const REPLY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",
    "content":[{"type":"thinking","thinking":"t","signature":"c2ln"},{"type":"text","text":"hi"}],
    "stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}"#;

fn start(provider: &str, upstream: &Upstream, fields: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, fields)).run()
}

/// What Claude Code sends for its newest model.
fn adaptive() -> Value {
    json!({"model": "claude-opus-4-8", "max_tokens": 32000, "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"}, "temperature": 1, "context_management": {"edits": []},
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}]}]})
}

#[test]
fn settings_fit_the_model_that_the_request_gets() {
    let upstream = Upstream::json(REPLY);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let asked = adaptive();
    let reply = gateway.post(MESSAGES, asked.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only().json();
    assert_eq!(sent["model"], "claude-sonnet-4-5");
    assert_eq!(sent["thinking"]["type"], "enabled", "{sent}");
    assert!(sent["thinking"]["budget_tokens"].as_u64().is_some_and(|tokens| (1024..32000).contains(&tokens)), "{sent}");
    assert!(sent["output_config"].get("effort").is_none(), "{sent}");
    for field in ["max_tokens", "messages", "context_management"] {
        assert_eq!(sent[field], asked[field]);
    }
    let rest =
        std::str::from_utf8(&reply.body).unwrap().replace("\"claude-opus-4-8\"", "\"claude-sonnet-4-5-20250929\"");
    assert_eq!(rest, REPLY, "only the model of the reply changes");
    let log = gateway.access(MESSAGES);
    assert_eq!(
        (&log["request_model"], &log["response_model"]),
        (&json!("claude-sonnet-4-5"), &json!("claude-sonnet-4-5-20250929"))
    );

    // The client asks for the model that it gets.
    let upstream = Upstream::json(REPLY);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-opus-4-8"}));
    let reply = gateway.post(MESSAGES, asked.to_string());
    assert_eq!((upstream.only().text(), reply.text()), (asked.to_string(), REPLY.to_owned()));
}

#[test]
fn tokens_are_counted_with_settings_that_fit_too() {
    let upstream = Upstream::json(r#"{"input_tokens":3}"#);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let mut asked = adaptive();
    for field in ["max_tokens", "temperature"] {
        asked.as_object_mut().unwrap().remove(field);
    }
    let reply = gateway.post("/x/v1/messages/count_tokens", asked.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only().json();
    assert_eq!((&sent["model"], &sent["thinking"]["type"]), (&json!("claude-sonnet-4-5"), &json!("enabled")));
    // The endpoint refuses it.
    assert!(sent.get("max_tokens").is_none(), "{sent}");
}

#[test]
fn a_body_of_too_many_values_is_not_read_for_its_settings() {
    let upstream = Upstream::json(REPLY);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let mut asked = adaptive();
    asked["metadata"] = json!({"many": vec![0; 250_001]});
    let reply = gateway.post(MESSAGES, asked.to_string());
    assert_eq!(reply.status, 200);
    let expected = asked.to_string().replace("claude-opus-4-8", "claude-sonnet-4-5");
    assert_eq!(upstream.only().text(), expected);
}

#[test]
fn settings_that_the_model_does_not_take_are_named_or_refused() {
    let body = json!({"model": "gpt-4o-mini", "temperature": 0.5, "max_tokens": 10, "user": "u",
        "messages": [{"role": "user", "content": "q"}]});
    let upstream = Upstream::json(r#"{"id":"c","object":"chat.completion","model":"gpt-5.5","choices":[]}"#);
    let gateway = start("azureopenai", &upstream, &json!({"deploymentName": "gpt-5.5"}));
    let reply = gateway.post("/x/v1/chat/completions", body.to_string());
    let sent = upstream.only().json();
    assert_eq!(
        sent,
        json!({"model": "gpt-4o-mini", "max_completion_tokens": 10, "user": "u", "messages": body["messages"]}),
    );
    assert_eq!(reply.header("x-tollgate-dropped"), Some("temperature"));
    // Clients of this dialect don't compare models.
    assert_eq!(reply.json()["model"], "gpt-5.5");

    let upstream = Upstream::json("{}");
    let manifest = s1_with("azureopenai", "/x", upstream.port, &json!({"deploymentName": "gpt-5.5"}))
        .replace("\"ai\":{", "\"ai\":{\"strict\":true,");
    let strict = Start::new().manifest("x.yaml", &manifest).run();
    let reply = strict.post("/x/v1/chat/completions", body.to_string());
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (400, json!("not_carried")), "{}", reply.text());
    assert!(reply.text().contains("temperature") && upstream.received().is_empty());

    // Nothing is known of a deployment with a name of its own.
    let upstream = Upstream::json("{}");
    let gateway = start("azureopenai", &upstream, &json!({"deploymentName": "prod"}));
    gateway.post("/x/v1/chat/completions", body.to_string());
    assert_eq!(upstream.only().text(), body.to_string());
}

#[test]
fn a_model_that_takes_tools_only_in_responses_is_asked_there() {
    let reply = r#"{"id":"resp_1","object":"response","created_at":1,"model":"gpt-5.5","status":"completed","output":
        [{"type":"message","id":"m","role":"assistant","status":"completed",
            "content":[{"type":"output_text","text":"hi","annotations":[]}]}],
        "usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;
    let upstream = Upstream::json(reply);
    let gateway =
        start("azureopenai", &upstream, &json!({"deploymentName": "gpt-5.5", "apiVersion": "2025-04-01-preview"}));
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let body = json!({"model": "qwen3-coder", "messages": [{"role": "user", "content": "q"}], "tools": tools});
    let reply = gateway.post("/x/v1/chat/completions", body.to_string());
    assert_eq!(upstream.only().path().split('?').next(), Some("/openai/responses"));
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "hi", "{}", reply.text());
}

#[test]
fn a_stream_names_the_clients_model_and_changes_nothing_else() {
    let own = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",",
        "\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,",
        "\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
        "\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let mut body = adaptive();
    body["stream"] = json!(true);
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], own.as_bytes());
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let reply = gateway.post(MESSAGES, body.to_string());
    assert_eq!(reply.text(), own.replace("claude-sonnet-4-5", "claude-opus-4-8"));
    assert_eq!(gateway.access(MESSAGES)["response_model"], "claude-sonnet-4-5");

    // A translated stream does so, too, and so does a translated reply.
    let chunks = concat!(
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",",
        "\"choices\":[{\"index\":0,",
        "\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    );
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], chunks.as_bytes());
    let gateway = start("openai", &upstream, &json!({"model": "gpt-4o"}));
    let text = gateway.post(MESSAGES, body.to_string()).text();
    assert!(text.contains("\"model\":\"claude-opus-4-8\"") && !text.contains("gpt-4o"), "{text}");
    let upstream = Upstream::json(
        r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o",
            "choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#,
    );
    let gateway = start("openai", &upstream, &json!({"model": "gpt-4o"}));
    let reply = gateway.post(MESSAGES, adaptive().to_string());
    assert_eq!(reply.json()["model"], "claude-opus-4-8", "{}", reply.text());
    assert_eq!(gateway.access(MESSAGES)["response_model"], "gpt-4o");
}

#[test]
fn a_server_of_the_clients_dialect_gets_what_it_accepts() {
    // Claude Code's newest requests, at a Claude that takes instructions in `system` alone.
    let upstream = Upstream::json(REPLY);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let mut asked = adaptive();
    asked["messages"] = json!([{"role": "user", "content": "q"}, {"role": "system", "content": "be brief"}]);
    gateway.post(MESSAGES, asked.to_string());
    let expected = json!([{"role": "user", "content": "q"}, {"role": "user", "content": "be brief"}]);
    assert_eq!(upstream.only().json()["messages"], expected);
    let upstream = Upstream::json(r#"{"input_tokens":3}"#);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    gateway.post("/x/v1/messages/count_tokens", asked.to_string());
    assert_eq!(upstream.only().json()["messages"], expected);
    // At the model that the client names itself they stay.
    let upstream = Upstream::json(REPLY);
    let gateway = start("anthropic", &upstream, &json!({}));
    gateway.post(MESSAGES, asked.to_string());
    assert_eq!(upstream.only().text(), asked.to_string());

    // Mistral, which wants an answer between a result and the user's next message.
    let chat = json!({"model": "m", "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"id": "123456789", "type": "function",
            "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "123456789", "content": "r"},
        {"role": "user", "content": [{"type": "text", "text": "look"}]}]});
    for (preset, changes) in [("mistral", true), ("groq", false)] {
        let upstream = Upstream::json(r#"{"id":"c","object":"chat.completion","model":"m","choices":[]}"#);
        let gateway = start("openai", &upstream, &json!({"preset": preset}));
        let reply = gateway.post("/x/v1/chat/completions", chat.to_string());
        assert_eq!(reply.header("x-tollgate-dropped"), None);
        let sent = upstream.only();
        if changes {
            let messages = sent.json()["messages"].clone();
            assert_eq!(messages[3]["role"], "assistant", "{messages}");
            assert_eq!(
                (messages[2].clone(), messages[4].clone()),
                (chat["messages"][2].clone(), chat["messages"][3].clone())
            );
        } else {
            assert_eq!(sent.text(), chat.to_string());
        }
    }
}

#[test]
fn a_cloud_gets_only_what_it_has_of_anthropics_own_api() {
    let upstream = Upstream::json(REPLY);
    let fields = json!({"projectId": "p", "location": "l", "apiVersion": "v1", "publisher": "ANTHROPIC",
        "model": "claude-opus-4-8"});
    let gateway = start("vertexai", &upstream, &fields);
    let mut asked = adaptive();
    asked["mcp_servers"] = json!([]);
    asked["system"] = json!([{"type": "text", "text": "s",
        "cache_control": {"type": "ephemeral", "scope": "global"}}]);
    let betas = "claude-code-20250219,context-management-2025-06-27";
    let reply = gateway.post_with(MESSAGES, &[("anthropic-beta", betas)], asked.to_string());
    let sent = upstream.only();
    assert_eq!(sent.header("anthropic-beta").as_deref(), Some("context-management-2025-06-27"));
    let body = sent.json();
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert!(body.get("mcp_servers").is_none(), "{body}");
    assert_eq!(reply.header("x-tollgate-dropped"), Some("mcp_servers, anthropic-beta: claude-code-20250219;hint"));
}

/// Azure reads the deployment in the body of Responses, and in the path of Chat Completions.
#[test]
fn the_deployment_replaces_the_clients_model_in_responses() {
    let upstream = Upstream::json("{}");
    let gateway = start("azureopenai", &upstream, &json!({"apiVersion": "2025-04-01-preview"}));
    for path in ["/x/v1/responses", "/x/v1/responses/input_tokens", "/x/v1/responses/compact"] {
        let reply = gateway.post(path, r#"{"model":"gpt-5.5","input":"q"}"#);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let models: Vec<Value> = upstream.received().iter().map(|sent| sent.json()["model"].clone()).collect();
    assert_eq!(models, ["our-gpt", "our-gpt", "our-gpt"]);
}
