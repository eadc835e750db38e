//! Anthropic Messages.

use serde_json::{Value, json};

use super::{Answer, check_pointers, send};

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
const KEY: (&str, &str) = ("x-api-key", "sk-ant-test");

async fn post(body: &Value) -> Answer {
    send("POST", "/v1/messages", &[KEY, VERSION], &body.to_string()).await
}

fn message(prompt: &str) -> Value {
    json!({"model": "claude-sonnet-4-6", "max_tokens": 100, "system": "Be brief.",
           "messages": [{"role": "user", "content": prompt}]})
}

#[tokio::test]
async fn a_message_is_answered() {
    let reply = post(&message("Explain how AI works in a few words")).await;
    assert!(reply.headers.contains_key("request-id"));
    check_pointers(
        &reply.json(),
        &[
            ("/type", "message".into()),
            ("/content/0/text", "Learning patterns from data to make predictions.\n".into()),
            ("/stop_reason", "end_turn".into()),
            ("/usage/input_tokens", 11.into()),
            ("/usage/output_tokens", 9.into()),
        ],
    );
    let mut short = message("Explain how AI works in a few words");
    short["max_tokens"] = 2.into();
    check_pointers(
        &post(&short).await.json(),
        &[("/stop_reason", "max_tokens".into()), ("/content/0/text", "Learning patterns ".into())],
    );
}

#[tokio::test]
async fn a_message_streams_in_named_events() {
    let mut body = message("Explain how AI works in a few words");
    body["stream"] = true.into();
    let reply = post(&body).await;
    let names: Vec<&str> = reply.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let events = reply.events();
    assert!(names.iter().zip(&events).all(|(name, event)| event["type"] == *name));
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, "Learning patterns from data to make predictions.\n");
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 11);
    assert_eq!(events[events.len() - 2]["usage"], json!({"output_tokens": 9}));
}

#[tokio::test]
async fn tools_are_called_and_their_results_quoted() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let mut body = message("What is the weather?");
    body["tools"] = json!([{"name": "get_weather", "input_schema": schema}]);
    let reply = post(&body).await.json();
    check_pointers(
        &reply,
        &[
            ("/stop_reason", "tool_use".into()),
            ("/content/0/name", "get_weather".into()),
            ("/content/0/input", json!({"city": "city"})),
        ],
    );
    body["stream"] = true.into();
    let events = post(&body).await.events();
    let input: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(input, r#"{"city":"city"}"#);

    body["stream"] = false.into();
    let id = &reply["content"][0]["id"];
    let result = json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": "sunny"}]});
    let turns =
        [json!({"role": "assistant", "content": reply["content"]}), json!({"role": "user", "content": [result]})];
    body["messages"].as_array_mut().unwrap().extend(turns);
    assert_eq!(post(&body).await.json()["content"][0]["text"], "The tool answered: sunny");

    let mut forced = message("hello");
    forced["tools"] = body["tools"].clone();
    for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "get_weather"})] {
        forced["tool_choice"] = choice;
        assert_eq!(post(&forced).await.json()["stop_reason"], "tool_use");
    }
}

#[tokio::test]
async fn bad_requests_are_refused_in_anthropic_words() {
    let check = async |headers: &[(&str, &str)], body: Value, status: u16, kind: &str, words: &str| {
        let reply = send("POST", "/v1/messages", headers, &body.to_string()).await;
        assert_eq!(reply.status, status, "{body}");
        let error = reply.json();
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{error}");
    };
    let without = |field: &str| {
        let mut body = message("hi");
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let with = |field: &str, value: Value| {
        let mut body = message("hi");
        body[field] = value;
        body
    };
    let (bearer, invalid) = (("authorization", "Bearer k"), "invalid_request_error");
    let ok = send("POST", "/v1/messages", &[bearer, VERSION], &message("hi").to_string()).await;
    assert_eq!(ok.status, 200);
    check(&[VERSION], message("hi"), 401, "authentication_error", "x-api-key header is required").await;
    check(&[VERSION, ("x-api-key", "invalid")], message("hi"), 401, "authentication_error", "invalid").await;
    check(&[KEY], message("hi"), 400, invalid, "anthropic-version").await;
    check(&[KEY, VERSION], without("model"), 400, invalid, "model: Field required").await;
    check(&[KEY, VERSION], without("max_tokens"), 400, invalid, "max_tokens: Field required").await;
    check(&[KEY, VERSION], without("messages"), 400, invalid, "messages: Field required").await;
    check(&[KEY, VERSION], with("messages", json!([])), 400, invalid, "at least one message").await;
    check(&[KEY, VERSION], with("model", "unknown".into()), 404, "not_found_error", "model: unknown").await;
    let assistant_first = with("messages", json!([{"role": "assistant", "content": "x"}]));
    check(&[KEY, VERSION], assistant_first, 400, invalid, "first message").await;
    let newer = ("anthropic-version", "2026-10-21");
    check(&[KEY, newer], with("temperature", 1.into()), 400, invalid, "temperature").await;
    assert_eq!(post(&with("temperature", 1.into())).await.status, 200);
}

#[tokio::test]
async fn tokens_are_counted_and_models_listed() {
    let mut body = message("Explain how AI works in a few words");
    body.as_object_mut().unwrap().remove("max_tokens");
    let count = send("POST", "/v1/messages/count_tokens", &[KEY, VERSION], &body.to_string()).await;
    assert_eq!(count.json(), json!({"input_tokens": 11}));
    let list = send("GET", "/v1/models", &[KEY, VERSION], "").await.json();
    check_pointers(&list, &[("/data/0/type", "model".into()), ("/has_more", false.into())]);
    assert_eq!(send("GET", "/v1/models/mine", &[KEY, VERSION], "").await.json()["id"], "mine");
}
