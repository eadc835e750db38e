//! Gemini, on AI Studio and Vertex AI.

use serde_json::{Value, json};

use super::{Answer, check_pointers, send};

const KEY: (&str, &str) = ("x-goog-api-key", "AIza-test");
const GUIDE: &str = r#"{"contents":[{"parts":[{"text":"Explain how AI works in a few words"}]}]}"#;

async fn post(verb: &str, body: &Value) -> Answer {
    send("POST", &format!("/v1beta/models/gemini-2.5-flash:{verb}"), &[KEY], &body.to_string()).await
}

#[tokio::test]
async fn the_guide_gets_the_reply_it_shows() {
    let path = "/v1beta/models/gemini-1.5-flash-latest:generateContent";
    let reply = send("POST", path, &[KEY], GUIDE).await;
    let mut value = reply.json();
    assert_eq!(value["responseId"].take().as_str().unwrap().len(), 22);
    let expect = json!({
        "candidates": [{
            "content": {"parts": [{"text": "Learning patterns from data to make predictions.\n"}], "role": "model"},
            "finishReason": "STOP",
            "avgLogprobs": -0.017_732_446_392_377_216,
        }],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": 9,
            "totalTokenCount": 17,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        },
        "modelVersion": "gemini-1.5-flash-latest",
        "responseId": null,
    });
    assert_eq!(value, expect);
    let places = ["candidates", "usageMetadata", "modelVersion", "responseId"].map(|key| reply.text.find(key).unwrap());
    assert!(places.is_sorted(), "{}", reply.text);
}

#[tokio::test]
async fn a_stream_is_events_or_an_array() {
    let body: Value = serde_json::from_str(GUIDE).unwrap();
    let sse = post("streamGenerateContent?alt=sse", &body).await;
    assert_eq!(sse.headers["content-type"], "text/event-stream");
    assert!(sse.text.ends_with("\r\n\r\n") && !sse.text.contains("[DONE]"));
    let events = sse.events();
    let array = post("streamGenerateContent", &body).await;
    assert_eq!(array.headers["content-type"], "application/json; charset=UTF-8");
    assert_eq!(array.json(), Value::Array(events.clone()));
    let text = |event: &Value| event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(events.iter().map(text).collect::<String>(), "Learning patterns from data to make predictions.\n");
    assert_eq!(events.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    assert_eq!(events.last().unwrap()["usageMetadata"]["totalTokenCount"], 17);
    assert!(events[..events.len() - 1].iter().all(|event| event["candidates"][0].get("finishReason").is_none()));
}

#[tokio::test]
async fn tools_are_called_and_their_results_quoted() {
    let schema = json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}});
    let mut body = json!({
        "contents": [{"role": "user", "parts": [{"text": "What is the weather?"}]}],
        "tools": [{"function_declarations": [{"name": "get_weather", "parameters": schema}]}],
    });
    let reply = post("generateContent", &body).await.json();
    let call = &reply["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!((&call["name"], &call["args"]), (&json!("get_weather"), &json!({"city": "city"})));
    let events = post("streamGenerateContent?alt=sse", &body).await.events();
    assert_eq!(events[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "get_weather");

    let result = json!({"functionResponse": {"name": "get_weather", "response": {"output": "sunny"}}});
    let turns = [reply["candidates"][0]["content"].clone(), json!({"role": "user", "parts": [result]})];
    body["contents"].as_array_mut().unwrap().extend(turns);
    let reply = post("generateContent", &body).await.json();
    assert_eq!(reply["candidates"][0]["content"]["parts"][0]["text"], "The tool answered: sunny");

    let mut forced = json!({"contents": [{"parts": [{"text": "hi"}]}], "tools": body["tools"],
                            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}});
    assert!(post("generateContent", &forced).await.text.contains("functionCall"));
    forced["toolConfig"]["functionCallingConfig"]["mode"] = "NONE".into();
    assert!(!post("generateContent", &forced).await.text.contains("functionCall"));
}

#[tokio::test]
async fn bad_requests_are_refused_in_google_words() {
    let check = async |path: &str, headers: &[(&str, &str)], body: &str, status: u16, name: &str, words: &str| {
        let reply = send("POST", path, headers, body).await;
        assert_eq!(reply.status, status, "{path} {body}");
        check_pointers(&reply.json(), &[("/error/code", status.into()), ("/error/status", name.into())]);
        assert!(reply.text.contains(words), "{}", reply.text);
    };
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    check(path, &[], GUIDE, 403, "PERMISSION_DENIED", "unregistered callers").await;
    check(path, &[("x-goog-api-key", "invalid")], GUIDE, 400, "INVALID_ARGUMENT", "API_KEY_INVALID").await;
    check(path, &[("authorization", "Bearer k")], GUIDE, 401, "UNAUTHENTICATED", "OAuth 2").await;
    check(path, &[KEY], "{}", 400, "INVALID_ARGUMENT", "contents is not specified").await;
    check(path, &[KEY], r#"{"messages":[]}"#, 400, "INVALID_ARGUMENT", "Unknown name \\\"messages\\\"").await;
    check(path, &[KEY], "{", 400, "INVALID_ARGUMENT", "JSON").await;
    let bad_role = r#"{"contents":[{"role":"assistant","parts":[]}]}"#;
    check(path, &[KEY], bad_role, 400, "INVALID_ARGUMENT", "valid role").await;
    check("/v1/models/unknown:generateContent", &[KEY], GUIDE, 404, "NOT_FOUND", "models/unknown").await;
    check("/v1/models/m:conjure", &[KEY], GUIDE, 404, "NOT_FOUND", "models/m").await;
    let stream = send("POST", "/v1beta/models/m:streamGenerateContent", &[KEY], "{}").await;
    assert_eq!(stream.json()[0]["error"]["code"], 400);
    let by_query = send("POST", &format!("{path}?key=k"), &[], GUIDE).await;
    assert_eq!(by_query.status, 200);
}

#[tokio::test]
async fn vertex_wants_a_token() {
    let path = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent";
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    let bearer = ("authorization", "Bearer ya29");
    assert_eq!(send("POST", path, &[bearer], body).await.json()["modelVersion"], "gemini-2.5-flash");
    assert_eq!(send("POST", path, &[KEY], body).await.status, 401);
    assert_eq!(send("POST", path, &[], body).await.status, 401);
    assert_eq!(send("POST", path, &[bearer], GUIDE).await.status, 400, "Vertex wants a role");
    let express = "/v1/publishers/google/models/gemini-2.5-flash:generateContent";
    assert_eq!(send("POST", express, &[KEY], body).await.status, 200);
}

#[tokio::test]
async fn tokens_embeddings_and_models() {
    let body: Value = serde_json::from_str(GUIDE).unwrap();
    assert_eq!(post("countTokens", &body).await.json()["totalTokens"], 8);
    let content = json!({"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 3});
    let one = post("embedContent", &content).await.json();
    assert_eq!(one["embedding"]["values"].as_array().unwrap().len(), 3);
    let many = post("batchEmbedContents", &json!({"requests": [content, content]})).await.json();
    assert_eq!(many["embeddings"], json!([one["embedding"], one["embedding"]]));
    for path in ["/v1beta/models", "/v1/models"] {
        let list = send("GET", path, &[KEY], "").await.json();
        assert_eq!(list["models"][0]["name"], "models/gemini-1.5-flash-latest");
    }
    assert_eq!(send("GET", "/v1beta/models/mine", &[KEY], "").await.json()["name"], "models/mine");
}
