//! `OpenAI` and Azure `OpenAI`.

use serde_json::{Value, json};

use super::{Answer, check_pointers, send};

const KEY: (&str, &str) = ("authorization", "Bearer sk-test");
const TOOLS: &str = r#"[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",
    "properties":{"city":{"type":"string"}}}}},{"type":"function","function":{"name":"get_time","parameters":{}}}]"#;

async fn post(path: &str, body: &Value) -> Answer {
    send("POST", path, &[KEY], &body.to_string()).await
}

fn chat(prompt: &str) -> Value {
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]);
    json!({"model": "gpt-4o", "messages": messages})
}

fn with(mut body: Value, fields: &Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_chat_is_answered() {
    let reply = post("/v1/chat/completions", &chat("Explain how AI works in a few words")).await;
    assert!(reply.text.starts_with(r#"{"id":"chatcmpl-"#), "{}", reply.text);
    check_pointers(
        &reply.json(),
        &[
            ("/object", "chat.completion".into()),
            ("/model", "gpt-4o".into()),
            ("/choices/0/message/content", "Learning patterns from data to make predictions.\n".into()),
            ("/choices/0/finish_reason", "stop".into()),
            ("/usage/prompt_tokens", 11.into()),
            ("/usage/completion_tokens", 9.into()),
            ("/usage/total_tokens", 20.into()),
        ],
    );
    for path in ["/any/prefix/chat/completions", "/v1beta/openai/chat/completions"] {
        assert_eq!(post(path, &chat("hi")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_chat_streams_word_by_word() {
    let body = with(chat("Explain how AI works in a few words"), &json!({"stream": true}));
    let reply = post("/v1/chat/completions", &body).await;
    assert_eq!(reply.headers["content-type"], "text/event-stream; charset=utf-8");
    assert!(reply.text.ends_with("data: [DONE]\n\n"));
    let events = reply.events();
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Learning patterns from data to make predictions.\n");
    assert_eq!(events.len(), 1 + 7 + 1);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[8]["choices"][0]["finish_reason"], "stop");
    assert!(events.iter().all(|event| event.get("usage").is_none()));

    let counted = with(body, &json!({"stream_options": {"include_usage": true}}));
    let events = post("/v1/chat/completions", &counted).await.events();
    assert_eq!(events[9]["choices"], json!([]));
    assert_eq!(events[9]["usage"]["total_tokens"], 20);
    assert!(events[..9].iter().all(|event| event["usage"] == Value::Null && event.get("usage").is_some()));
}

#[tokio::test]
async fn tools_are_called_when_they_are_meant() {
    let tools: Value = serde_json::from_str(TOOLS).unwrap();
    let check = async |prompt: &str, extra: Value, expect: &[&str]| {
        let body = with(with(chat(prompt), &json!({"tools": tools})), &extra);
        let message = post("/v1/chat/completions", &body).await.json()["choices"][0]["message"].take();
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = calls.iter().map(|call| call["function"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, expect, "{prompt}");
        assert_eq!(message["content"].is_null(), !expect.is_empty());
        if expect.first() == Some(&"get_weather") {
            assert_eq!(calls[0]["function"]["arguments"], r#"{"city":"city"}"#);
        }
    };
    check("hello", json!({}), &[]).await;
    check("What is the weather?", json!({}), &["get_weather"]).await;
    check("What time is it?", json!({}), &["get_time"]).await;
    check("Use a tool", json!({}), &["get_weather"]).await;
    check("Use tools in parallel", json!({}), &["get_weather", "get_time"]).await;
    check("What is the weather?", json!({"tool_choice": "none"}), &[]).await;
    check("hello", json!({"tool_choice": "required"}), &["get_weather"]).await;
    check("hello", json!({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}), &["get_time"]).await;
}

#[tokio::test]
async fn tool_calls_stream_in_fragments_and_results_are_quoted() {
    let tools: Value = serde_json::from_str(TOOLS).unwrap();
    let body = with(chat("What is the weather?"), &json!({"tools": tools, "stream": true}));
    let events = post("/v1/chat/completions", &body).await.events();
    let calls = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0));
    let calls: Vec<&Value> = calls.collect();
    assert_eq!(calls[0]["function"]["name"], "get_weather");
    assert!(calls[1..].iter().all(|call| call.get("id").is_none() && call["index"] == 0));
    let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, r#"{"city":"city"}"#);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let mut body = with(chat("What is the weather?"), &json!({"tools": tools}));
    let call = json!({"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}});
    let turns = [
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "sunny"}),
    ];
    body["messages"].as_array_mut().unwrap().extend(turns);
    let reply = post("/v1/chat/completions", &body).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "The tool answered: sunny");
}

#[tokio::test]
async fn limits_schemas_and_choices_are_kept() {
    let body = with(chat("Explain how AI works in a few words"), &json!({"max_completion_tokens": 3, "n": 2}));
    let reply = post("/v1/chat/completions", &body).await.json();
    check_pointers(
        &reply,
        &[
            ("/choices/1/index", 1.into()),
            ("/choices/1/message/content", "Learning patterns from ".into()),
            ("/choices/0/finish_reason", "length".into()),
            ("/usage/completion_tokens", 6.into()),
        ],
    );
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let body = with(chat("hi"), &json!({"response_format": format}));
    assert_eq!(post("/v1/chat/completions", &body).await.json()["choices"][0]["message"]["content"], r#"{"n":1}"#);
}

#[tokio::test]
async fn bad_requests_are_refused_in_openai_words() {
    let check = async |path: &str, headers: &[(&str, &str)], body: &str, status: u16, code: Value, words: &str| {
        let reply = send("POST", path, headers, body).await;
        assert_eq!(reply.status, status, "{body}");
        let error = reply.json()["error"].take();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    };
    let path = "/v1/chat/completions";
    let good = chat("hi").to_string();
    check(path, &[], &good, 401, Value::Null, "didn't provide an API key").await;
    check(path, &[("authorization", "Bearer ")], &good, 401, Value::Null, "didn't provide").await;
    check(path, &[("authorization", "Bearer invalid")], &good, 401, json!("invalid_api_key"), "Incorrect").await;
    check(path, &[("x-api-key", "k")], &good, 401, Value::Null, "didn't provide").await;
    check(path, &[KEY], "{", 400, Value::Null, "could not parse the JSON").await;
    check(path, &[KEY], "", 400, Value::Null, "must provide a model").await;
    check(path, &[KEY], r#"{"model":"m"}"#, 400, json!("missing_required_parameter"), "'messages'").await;
    check(path, &[KEY], r#"{"model":"m","messages":[]}"#, 400, json!("empty_array"), "empty array").await;
    check(path, &[KEY], r#"{"model":"m","messages":[{}]}"#, 400, json!("invalid_value"), "role").await;
    let unknown = good.replace("gpt-4o", "unknown-1");
    check(path, &[KEY], &unknown, 404, json!("model_not_found"), "`unknown-1` does not exist").await;
    check("/v1/nothing", &[KEY], &good, 404, Value::Null, "Invalid URL (POST /v1/nothing)").await;
    assert_eq!(send("GET", path, &[KEY], "").await.status, 405);
}

#[tokio::test]
async fn azure_has_its_own_paths_keys_and_additions() {
    let body = chat("hi").to_string();
    let key = ("api-key", "k");
    let path = "/openai/deployments/mine/chat/completions";
    let reply = send("POST", &format!("{path}?api-version=2024-10-21"), &[key], &body).await;
    check_pointers(
        &reply.json(),
        &[("/model", "mine".into()), ("/choices/0/content_filter_results/hate/filtered", false.into())],
    );
    assert_eq!(send("POST", path, &[key], &body).await.status, 404);
    assert_eq!(send("POST", "/openai/v1/chat/completions", &[key], &body).await.status, 200);
    assert_eq!(send("POST", "/openai/v1/chat/completions", &[KEY], &body).await.status, 200);
    let refused = send("POST", &format!("{path}?api-version=1"), &[], &body).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["code"].take()), (401, json!("401")));
    let stream = with(chat("hi"), &json!({"stream": true})).to_string();
    let events = send("POST", &format!("{path}?api-version=1"), &[key], &stream).await.events();
    assert_eq!(events[0]["choices"], json!([]));
    assert!(events[0]["prompt_filter_results"].is_array());
}

#[tokio::test]
async fn embeddings_are_floats_or_base64() {
    let body = json!({"model": "text-embedding-3-small", "input": ["one", "two words"], "dimensions": 4});
    let floats = post("/v1/embeddings", &body).await.json();
    assert_eq!(floats["usage"]["prompt_tokens"], 3);
    let first: Vec<f64> = serde_json::from_value(floats["data"][0]["embedding"].clone()).unwrap();
    assert!((first.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5, "{first:?}");
    assert_ne!(floats["data"][0]["embedding"], floats["data"][1]["embedding"]);

    let base64 = post("/v1/embeddings", &with(body, &json!({"encoding_format": "base64"}))).await.json();
    let text = base64["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).unwrap();
    assert_eq!(bytes.len(), 16);
    let number = f64::from(f32::from_le_bytes(bytes[..4].try_into().unwrap()));
    assert!((number - first[0]).abs() < 1e-6);
    let tokens = post("/v1/embeddings", &json!({"model": "m", "input": [1, 2, 3]})).await.json();
    assert_eq!(tokens["usage"]["total_tokens"], 3);
    assert_eq!(tokens["data"][0]["embedding"].as_array().unwrap().len(), 1536);
}

#[tokio::test]
async fn the_tokens_of_responses_are_counted() {
    let body = json!({"model": "gpt-5.5", "input": "Explain how AI works in a few words"});
    let counted = post("/v1/responses/input_tokens", &body).await;
    assert_eq!(counted.json(), json!({"object": "response.input_tokens", "input_tokens": 8}));
    // The SDK's types have no such field here.
    let body = json!({"model": "gpt-5.5", "input": "x", "max_output_tokens": 5});
    let refused = post("/v1/responses/input_tokens", &body).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["param"].take()), (400, json!("max_output_tokens")));
}

#[tokio::test]
async fn responses_are_answered_and_streamed() {
    let body = json!({"model": "gpt-5", "instructions": "Be brief.", "input": "Explain how AI works in a few words"});
    check_pointers(
        &post("/v1/responses", &body).await.json(),
        &[
            ("/status", "completed".into()),
            ("/output/0/content/0/text", "Learning patterns from data to make predictions.\n".into()),
            ("/usage/input_tokens", 11.into()),
            ("/usage/output_tokens", 9.into()),
        ],
    );
    let reply = post("/v1/responses", &with(body, &json!({"stream": true}))).await;
    let events = reply.events();
    let numbers = events.iter().enumerate();
    assert!(numbers.clone().all(|(index, event)| event["sequence_number"] == index), "{}", reply.text);
    assert!(
        numbers.clone().all(|(_, event)| reply.text.contains(&format!("event: {}\n", event["type"].as_str().unwrap())))
    );
    assert_eq!(events[0]["type"], "response.created");
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    assert_eq!(events.last().unwrap()["response"]["usage"]["total_tokens"], 20);
    assert_eq!(events.iter().filter(|event| event["type"] == "response.output_text.delta").count(), 7);
}

#[tokio::test]
async fn models_moderations_and_old_completions() {
    let list = send("GET", "/v1/models", &[KEY], "").await.json();
    assert_eq!(list["data"][0]["id"], "gpt-4o");
    assert_eq!(send("GET", "/v1/models/mine", &[KEY], "").await.json()["id"], "mine");
    assert_eq!(send("GET", "/v1/models/unknown", &[KEY], "").await.status, 404);
    let verdicts = post("/v1/moderations", &json!({"input": ["I will kill you", "hello"]})).await.json();
    check_pointers(
        &verdicts,
        &[
            ("/results/0/flagged", true.into()),
            ("/results/0/categories/violence", true.into()),
            ("/results/1/flagged", false.into()),
        ],
    );
    let body = json!({"model": "m", "prompt": "Say: two words"});
    assert_eq!(post("/v1/completions", &body).await.json()["choices"][0]["text"], "two words");
    let events = post("/v1/completions", &with(body, &json!({"stream": true}))).await.events();
    let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "two words");
}
