//! Refusals: each row changes a valid request and names a part of the provider's error message.

use serde_json::{Value, json};

use super::{Answer, send};

const ANTHROPIC: [(&str, &str); 2] = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
const BEARER: (&str, &str) = ("authorization", "Bearer k");
const GEMINI: (&str, &str) = ("x-goog-api-key", "k");

fn with(mut body: Value, fields: &Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn refused(reply: &Answer, words: &str) {
    assert_eq!(reply.status, 400, "{words}: {}", reply.text);
    let error = reply.json();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(words), "{words}: {message}");
}

fn claude(model: &str) -> Value {
    json!({"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]})
}

/// A conversation with a call and what follows it.
#[expect(clippy::needless_pass_by_value, reason = "callers write values in place")]
fn loop_with(content: Value, answer: Value) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content},
                        {"role": "user", "content": answer}]})
}

#[tokio::test]
async fn anthropic_refuses_turns_that_do_not_fit() {
    let check = async |fields: Value, words: &str| {
        let body = with(claude("claude-sonnet-4-5"), &fields).to_string();
        refused(&send("POST", "/v1/messages", &ANTHROPIC, &body).await, words);
    };
    let said = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "ok"});
    let text = |text: &str| json!({"type": "text", "text": text});
    check(said(json!("")), "must have non-empty content").await;
    check(said(json!([text("")])), "text content blocks must be non-empty").await;
    check(said(json!([text(" ")])), "must contain non-whitespace text").await;
    check(said(json!([{"type": "input_text", "text": "x"}])), "Input tag 'input_text'").await;
    check(
        said(json!([{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "aGk="}}])),
        "media_type",
    )
    .await;
    check(
        said(json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%"}}])),
        "invalid base64",
    )
    .await;
    check(said(json!([result("a")])), "unexpected `tool_use_id`").await;
    check(loop_with(json!([call("a")]), json!("no result")), "without `tool_result` blocks immediately after: a").await;
    check(loop_with(json!([call("a"), call("b")]), json!([result("a")])), "immediately after: b").await;
    check(loop_with(json!([call("a")]), json!([text("first"), result("a")])), "immediately after: a").await;
    check(loop_with(json!([call("a")]), json!([result("a"), result("c")])), "unexpected `tool_use_id`").await;
    check(loop_with(json!([call("a"), call("a")]), json!([result("a")])), "must be unique").await;
    check(loop_with(json!([call("a.b")]), json!([result("a.b")])), "should match pattern").await;
    let reasoning = json!({"type": "thinking", "thinking": "x", "signature": "c2ln"});
    check(loop_with(json!([reasoning]), json!("x")), "Invalid `signature` in `thinking` block").await;
    let hidden = json!({"type": "redacted_thinking", "data": "c2ln"});
    check(loop_with(json!([hidden]), json!("x")), "Invalid `data` in `redacted_thinking` block").await;
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    check(with(loop_with(json!([call("a")]), json!([result("a")])), &thinking), "but found `tool_use`").await;
    // Messages of one role are one turn: results may come in several.
    let merged = json!({"messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [call("a"), call("b")]},
        {"role": "user", "content": [result("a")]},
        {"role": "user", "content": [result("b"), text("go on")]},
    ]});
    let body = with(claude("claude-sonnet-4-5"), &merged).to_string();
    assert_eq!(send("POST", "/v1/messages", &ANTHROPIC, &body).await.status, 200);
}

#[tokio::test]
async fn anthropic_refuses_settings_by_model() {
    let check = async |model: &str, fields: Value, words: &str| {
        let body = with(claude(model), &fields).to_string();
        refused(&send("POST", "/v1/messages", &ANTHROPIC, &body).await, words);
    };
    let thinking = |kind: &str, budget: u64| json!({"type": kind, "budget_tokens": budget});
    let (old, new) = ("claude-sonnet-4-5", "claude-opus-4-7");
    let tool = json!({"name": "f", "input_schema": {"type": "object"}});
    check(old, json!({"n": 1}), "n: Extra inputs are not permitted").await;
    check(old, json!({"temperature": 1.5}), "range: 0..1").await;
    check(old, json!({"temperature": 0.5, "top_p": 0.5}), "cannot both be specified").await;
    check(new, json!({"temperature": 1}), "`temperature` is deprecated for this model.").await;
    check(new, json!({"thinking": thinking("enabled", 1024)}), "\"thinking.type.enabled\" is not supported").await;
    check(old, json!({"thinking": {"type": "adaptive"}}), "adaptive thinking is not supported").await;
    check(old, json!({"thinking": thinking("enabled", 1000)}), "greater than or equal to 1024").await;
    check(old, json!({"thinking": thinking("enabled", 2000)}), "`max_tokens` must be greater").await;
    check(old, json!({"thinking": thinking("enabled", 1024), "temperature": 0.5}), "may only be set to 1").await;
    let forced = json!({"thinking": thinking("enabled", 1024), "tools": [tool], "tool_choice": {"type": "any"}});
    check(old, forced, "Thinking may not be enabled when tool_choice forces tool use.").await;
    check(old, json!({"tools": [{"name": "f"}]}), "tools.0.custom.input_schema: Field required").await;
    check(old, json!({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}), "should match pattern").await;
    check(old, json!({"tool_choice": {"type": "auto"}}), "only be specified while providing tools").await;
    check(old, json!({"tools": [tool], "tool_choice": {"type": "tool", "name": "g"}}), "'g' not found").await;
    check(old, json!({"stop_sequences": ["\n"]}), "non-whitespace").await;
    check(old, json!({"output_config": {"effort": "high"}}), "does not support the effort").await;
    let open = json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}});
    check(old, open, "'additionalProperties' must be explicitly set to false").await;
    let last = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    check(new, last.clone(), "assistant message prefill").await;
    let body = with(claude(old), &last).to_string();
    assert_eq!(send("POST", "/v1/messages", &ANTHROPIC, &body).await.status, 200);
    // A request for an echo is not validated.
    let echo = with(claude("echo"), &json!({"n": 1})).to_string();
    assert_eq!(send("POST", "/v1/messages", &ANTHROPIC, &echo).await.status, 200);
}

#[tokio::test]
async fn claude_on_vertex_has_its_model_in_the_path() {
    let base = "/v1/projects/p/locations/l/publishers/anthropic/models";
    let path = &format!("{base}/claude-sonnet-4-5@20250929:rawPredict");
    let body = json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 100,
        "messages": [{"role": "user", "content": "Explain how AI works in a few words"}]});
    let post = async |path: &str, body: &Value| send("POST", path, &[BEARER], &body.to_string()).await;
    let reply = post(path, &body).await.json();
    assert_eq!(reply["model"], "claude-sonnet-4-5@20250929");
    let stream = post(&path.replace("raw", "streamRaw"), &with(body.clone(), &json!({"stream": true}))).await;
    assert_eq!(stream.events()[0]["type"], "message_start");
    let counted = with(body.clone(), &json!({"model": "claude-sonnet-4-5"}));
    refused(&post(path, &counted).await, "model: Extra inputs are not permitted");
    assert_eq!(post(&format!("{base}/count-tokens:rawPredict"), &counted).await.json()["input_tokens"], 8);
    refused(&post(path, &with(body.clone(), &json!({"anthropic_version": null}))).await, "anthropic_version");
    let image = json!([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]);
    let image = with(body.clone(), &json!({"messages": [{"role": "user", "content": image}]}));
    refused(&post(path, &image).await, "URL sources are not supported");
    let scoped = json!([{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "scope": "global"}}]);
    refused(&post(path, &with(body.clone(), &json!({"system": scoped}))).await, "cache_control.ephemeral.scope");
    refused(&post(path, &with(body.clone(), &json!({"mcp_servers": []}))).await, "mcp_servers: Extra inputs");
    for (beta, status) in [("context-1m-2025-08-07,web-search-2025-03-05", 200), ("claude-code-20250219", 400)] {
        let reply = send("POST", path, &[BEARER, ("anthropic-beta", beta)], &body.to_string()).await;
        assert_eq!(reply.status, status, "{beta}: {}", reply.text);
    }
    let keyless = send("POST", path, &[("x-api-key", "k")], &body.to_string()).await;
    assert_eq!((keyless.status.as_u16(), keyless.json()["error"]["status"].take()), (401, json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn gemini_refuses_what_it_does_not_know() {
    let check = async |model: &str, fields: Value, words: &str| {
        let body = with(json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}), &fields).to_string();
        refused(&send("POST", &format!("/v1beta/models/{model}:generateContent"), &[GEMINI], &body).await, words);
    };
    let flash = "gemini-2.5-flash";
    let schema = |schema: Value| json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]});
    let property = |property: Value| schema(json!({"type": "object", "properties": {"a": property}}));
    let config = |config: Value| json!({"generationConfig": config});
    check(flash, json!({"labels": {}}), "Unknown name \"labels\": Cannot find field").await;
    check(flash, config(json!({"max_tokens": 1})), "Unknown name \"max_tokens\" at 'generation_config'").await;
    for keyword in ["$schema", "$ref", "const", "oneOf", "exclusiveMinimum", "patternProperties"] {
        check(flash, property(json!({"type": "string", keyword: "x"})), &format!("Unknown name \"{keyword}\"")).await;
    }
    check(flash, property(json!({"type": ["string", "null"]})), "cannot start list").await;
    check(flash, property(json!({"type": "integer", "enum": [1]})), "TYPE_STRING").await;
    check(flash, property(json!({"type": "array"})), "items: missing field").await;
    check(flash, schema(json!({"type": "object", "properties": {}})), "should be non-empty").await;
    check(flash, config(json!({"responseSchema": {"type": "object"}})), "mime type").await;
    check(flash, config(json!({"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}})), "only one of").await;
    check(flash, config(json!({"thinkingConfig": {"thinkingLevel": "LOW"}})), "level is not supported").await;
    check("gemini-2.5-pro", config(json!({"thinkingConfig": {"thinkingBudget": 0}})), "Budget 0 is invalid").await;
    check("gemini-1.5-pro", config(json!({"thinkingConfig": {"includeThoughts": true}})), "not enabled").await;
    check(flash, json!({"contents": [{"role": "function", "parts": [{"text": "x"}]}]}), "valid role").await;
    check(flash, json!({"contents": [{"role": "user", "parts": []}]}), "must not be empty").await;
    check(flash, json!({"contents": [{"role": "user", "parts": [{}]}]}), "one initialized field").await;
}

#[tokio::test]
async fn gemini_wants_results_and_signatures_to_fit_their_calls() {
    let post = async |model: &str, turns: &[Value]| {
        let mut contents = vec![json!({"role": "user", "parts": [{"text": "What is the weather?"}]})];
        contents.extend(turns.iter().cloned());
        let tools = json!([{"functionDeclarations": [{"name": "get_weather"}]}]);
        let body = json!({"contents": contents, "tools": tools}).to_string();
        send("POST", &format!("/v1beta/models/{model}:generateContent"), &[GEMINI], &body).await
    };
    let call = json!({"functionCall": {"name": "get_weather", "args": {}}});
    let calls = json!({"role": "model", "parts": [call, call]});
    let result = json!({"functionResponse": {"name": "get_weather", "response": {"output": "sunny"}}});
    let results = |count: usize| json!({"role": "user", "parts": vec![result.clone(); count]});
    let number = "number of function response parts is equal";
    refused(&post("gemini-2.5-flash", &[calls.clone(), results(1)]).await, number);
    refused(&post("gemini-2.5-flash", &[results(1)]).await, "immediately after a function call turn");
    assert_eq!(post("gemini-2.5-flash", &[calls.clone(), results(2)]).await.status, 200);

    let newest = "gemini-3-pro-preview";
    refused(&post(newest, &[calls.clone(), results(2)]).await, "missing a thought_signature");
    for (signature, status) in [
        ("skip_thought_signature_validator", 200),
        ("c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=", 200),
        ("c2ln", 400),
    ] {
        let mut signed = calls.clone();
        signed["parts"][0]["thoughtSignature"] = signature.into();
        assert_eq!(post(newest, &[signed, results(2)]).await.status, status, "{signature}");
    }
    let own = post(newest, &[]).await.json()["candidates"][0]["content"].take();
    assert!(own["parts"][0]["thoughtSignature"].is_string(), "{own}");
    assert_eq!(post(newest, &[own, results(1)]).await.status, 200);
    // Calls before the last text of the user need no signature.
    let again = json!({"role": "user", "parts": [{"text": "thanks"}]});
    assert_eq!(post(newest, &[calls, results(2), again]).await.status, 200);
}

#[tokio::test]
async fn openai_refuses_what_it_does_not_know() {
    let check = async |model: &str, fields: Value, words: &str| {
        let good = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        let body = with(good, &fields).to_string();
        refused(&send("POST", "/v1/chat/completions", &[BEARER], &body).await, words);
    };
    let messages = |more: Value| json!({"messages": [{"role": "user", "content": "hi"}, more]});
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    check("gpt-4o", json!({"top_k": 1}), "Unrecognized request argument supplied: top_k").await;
    check("gpt-4o", json!({"reasoning_effort": "low"}), "supplied: reasoning_effort").await;
    for model in ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.4-mini"] {
        check(model, json!({"max_tokens": 5}), "'max_tokens' is not supported with this model").await;
        check(model, json!({"temperature": 0.5}), "'temperature' does not support 0.5").await;
    }
    check("gpt-4o", messages(json!({"role": "tool", "tool_call_id": "a", "content": "x"})), "preceeding message").await;
    check("gpt-4o", messages(json!({"role": "assistant", "tool_calls": [call]})), "did not have response messages: a")
        .await;
    check("gpt-4o", messages(json!({"role": "user", "content": null})), "expected a string, got null").await;
    check("gpt-4o", json!({"response_format": {"type": "json_object"}}), "must contain the word 'json'").await;
    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    check("gpt-4o", tool(json!({"name": "a.b"})), "does not match pattern").await;
    let open = json!({"name": "f", "strict": true, "parameters": {"type": "object", "properties": {}}});
    check("gpt-4o", tool(open), "'additionalProperties' is required").await;
    // Other servers accept unknown fields.
    let body = json!({"model": "gpt-4o", "top_k": 1, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let other = [BEARER, ("host", "models.example")];
    assert_eq!(send("POST", "/v1/chat/completions", &other, &body).await.status, 200);
    assert_eq!(send("POST", "/prefix/chat/completions", &[BEARER], &body).await.status, 200);
    let chatty = json!({"model": "gpt-5-chat-latest", "max_tokens": 50, "temperature": 0.5,
                        "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(send("POST", "/v1/chat/completions", &[BEARER], &chatty.to_string()).await.status, 200);
}

#[tokio::test]
async fn responses_refuse_items_that_do_not_fit() {
    let check = async |fields: Value, words: &str| {
        let body = with(json!({"model": "gpt-5", "input": "hi"}), &fields).to_string();
        refused(&send("POST", "/v1/responses", &[BEARER], &body).await, words);
    };
    let input = |items: Value| json!({"input": items});
    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    check(json!({"max_tokens": 1}), "supplied: max_tokens").await;
    check(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "'tools[0].name'").await;
    check(input(json!([call])), "No tool output found for function call a").await;
    check(input(json!([{"type": "function_call_output", "call_id": "a", "output": "x"}])), "No tool call found").await;
    check(input(json!([with(call, &json!({"id": "a"}))])), "begins with 'fc'").await;
    check(input(json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}])), "Invalid value: 'text'").await;
    check(input(json!([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}])), "'input_text'")
        .await;
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    check(input(json!([reasoning])), "without its required following item").await;
    check(input(json!([with(reasoning, &json!({"encrypted_content": "x"}))])), "could not be verified").await;
    // What Codex sends beside the documented fields.
    let codex = with(json!({"model": "gpt-5.5", "input": "hi"}), &json!({"client_metadata": {"turn_id": "1"}}));
    assert_eq!(send("POST", "/v1/responses", &[BEARER], &codex.to_string()).await.status, 200);
    let unknown = with(codex, &json!({"client_data": {}}));
    refused(&send("POST", "/v1/responses", &[BEARER], &unknown.to_string()).await, "supplied: client_data");
}

#[tokio::test]
async fn mistral_and_deepseek_have_rules_of_their_own() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let turns = |id: &str, last: Value| {
        json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call(id)]},
               {"role": "tool", "tool_call_id": id, "content": "x"}, last])
    };
    let host = [BEARER, ("host", "api.mistral.ai")];
    let post = async |body: Value| send("POST", "/v1/chat/completions", &host, &body.to_string()).await;
    let done = json!({"role": "assistant", "content": "x", "prefix": true});
    let bad = post(json!({"model": "m", "messages": turns("call_1", done.clone())})).await;
    assert_eq!((bad.status.as_u16(), &bad.json()["object"]), (400, &json!("error")), "{}", bad.text);
    assert!(bad.json()["message"].as_str().unwrap().contains("length of 9"));
    assert_eq!(post(json!({"model": "m", "messages": turns("abcdefgh1", done)})).await.status, 200);
    let order =
        post(json!({"model": "m", "messages": turns("abcdefgh1", json!({"role": "user", "content": "x"}))})).await;
    assert!(order.text.contains("Unexpected role 'user' after role 'tool'"), "{}", order.text);
    let unknown = json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream_options": {}});
    assert_eq!(post(unknown).await.status, 422);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "a tool"}], "tools": tools});
    let id = post(asked).await.json()["choices"][0]["message"]["tool_calls"][0]["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 9);

    let host = [BEARER, ("host", "api.deepseek.com")];
    let mut messages = turns("a", json!({"role": "user", "content": "go on"}));
    let body =
        |messages: &Value| json!({"model": "deepseek-chat", "thinking": {"type": "enabled"}, "messages": messages});
    let forgotten = send("POST", "/chat/completions", &host, &body(&messages).to_string()).await;
    refused(&forgotten, "must be passed back");
    messages[1]["reasoning_content"] = "".into();
    assert_eq!(send("POST", "/chat/completions", &host, &body(&messages).to_string()).await.status, 200);
}
