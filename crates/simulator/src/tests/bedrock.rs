//! Bedrock: Converse, `InvokeModel`, embeddings, counting and signatures.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Answer, check_pointers, send};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const KEY: (&str, &str) = ("authorization", "Bearer bedrock-key");

async fn post(verb: &str, body: &Value) -> Answer {
    post_to(CLAUDE, verb, body).await
}

async fn post_to(model: &str, verb: &str, body: &Value) -> Answer {
    let model = model.replace(':', "%3A").replace('/', "%2F");
    send("POST", &format!("/model/{model}/{verb}"), &[KEY], &body.to_string()).await
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": [{"text": text}]})
}

fn converse(text: &str) -> Value {
    json!({"system": [{"text": "Be brief."}], "messages": [user(text)], "inferenceConfig": {"maxTokens": 3000}})
}

fn with(mut body: Value, fields: &Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn tools() -> Value {
    let tool = |name: &str| {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        json!({"toolSpec": {"name": name, "inputSchema": {"json": schema}}})
    };
    json!({"tools": [tool("get_weather"), tool("get_time")]})
}

#[tokio::test]
async fn a_conversation_is_answered() {
    let reply = post("converse", &converse("Explain how AI works in a few words")).await;
    assert_eq!(reply.headers["x-amzn-requestid"].len(), 36);
    check_pointers(
        &reply.json(),
        &[
            ("/output/message/content/0/text", "Learning patterns from data to make predictions.\n".into()),
            ("/output/message/role", "assistant".into()),
            ("/stopReason", "end_turn".into()),
            (
                "/usage",
                json!({"inputTokens": 11, "outputTokens": 9, "totalTokens": 20,
                              "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}),
            ),
        ],
    );
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    assert_eq!(post_to(arn, "converse", &converse("hi")).await.status, 200);
    let stopped = with(
        converse("Say: one two three"),
        &json!({"inferenceConfig": {"stopSequences": ["two"]},
                "additionalModelResponseFieldPaths": ["/stop_sequence"]}),
    );
    check_pointers(
        &post("converse", &stopped).await.json(),
        &[
            ("/stopReason", "stop_sequence".into()),
            ("/output/message/content/0/text", "one ".into()),
            ("/additionalModelResponseFields/stop_sequence", "two".into()),
        ],
    );
}

#[tokio::test]
async fn a_conversation_streams_in_frames() {
    let reply = post("converse-stream", &converse("Explain how AI works in a few words")).await;
    assert_eq!(reply.headers["content-type"], "application/vnd.amazon.eventstream");
    let frames = reply.frames();
    let names: Vec<&str> = frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["messageStart", "contentBlockDelta"]);
    assert_eq!(names[names.len() - 3..], ["contentBlockStop", "messageStop", "metadata"]);
    let text: String = frames.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, "Learning patterns from data to make predictions.\n");

    let headers = [KEY, ("x-simulator-fault", "error-after=2")];
    let body = converse("hi").to_string();
    let frames = send("POST", "/model/m/converse-stream", &headers, &body).await.frames();
    assert_eq!((frames.len(), frames[2].0.as_str()), (3, "internalServerException"));
    let headers = [KEY, ("x-simulator-fault", "unknown-shape")];
    let frames = send("POST", "/model/m/converse-stream", &headers, &body).await.frames();
    assert_eq!(frames[0].0, "oracle");
}

#[tokio::test]
async fn two_calls_and_their_reasoning_make_a_round_trip() {
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    let extra = json!({"toolConfig": tools(), "additionalModelRequestFields": thinking});
    let mut body = with(converse("Use tools in parallel, redacted"), &extra);
    let message = post("converse", &body).await.json()["output"]["message"].take();
    let kinds: Vec<&String> =
        message["content"].as_array().unwrap().iter().flat_map(|block| block.as_object().unwrap().keys()).collect();
    assert_eq!(kinds, ["reasoningContent", "reasoningContent", "toolUse", "toolUse"]);
    let frames = post("converse-stream", &body).await.frames();
    let starts: Vec<&Value> =
        frames.iter().filter(|(name, _)| name == "contentBlockStart").map(|(_, data)| data).collect();
    assert_eq!(starts.iter().map(|data| data["contentBlockIndex"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    let input: String = frames
        .iter()
        .filter(|(_, data)| data["contentBlockIndex"] == 2)
        .filter_map(|(_, data)| data["delta"]["toolUse"]["input"].as_str())
        .collect();
    assert_eq!(input, r#"{"city":"city"}"#);

    let result = |index: usize| {
        let id = &message["content"][index]["toolUse"]["toolUseId"];
        json!({"toolResult": {"toolUseId": id, "content": [{"json": {"n": index}}]}})
    };
    let turns = [message.clone(), json!({"role": "user", "content": [result(2), result(3)]})];
    body["messages"].as_array_mut().unwrap().extend(turns);
    let reply = post("converse", &body).await.json();
    assert_eq!(reply["output"]["message"]["content"][2]["text"], r#"The tool answered: {"n":2}; {"n":3}"#);

    let mut unsigned = body.clone();
    unsigned["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]["text"] = "another".into();
    assert!(post("converse", &unsigned).await.text.contains("Invalid `signature`"));
    let mut without_reasoning = body.clone();
    without_reasoning["messages"][1]["content"].as_array_mut().unwrap().drain(..2);
    assert!(post("converse", &without_reasoning).await.text.contains("Expected `thinking`"));
    let mut lost = body;
    lost["messages"][2]["content"].as_array_mut().unwrap().truncate(1);
    assert!(post("converse", &lost).await.text.contains("Expected toolResult blocks at messages.2.content"));
}

#[tokio::test]
async fn bad_conversations_are_refused_in_bedrocks_words() {
    let check = async |fields: Value, words: &str| {
        let reply = post("converse", &with(converse("hi"), &fields)).await;
        assert_eq!(reply.status, 400, "{fields}");
        assert!(reply.headers["x-amzn-errortype"].to_str().unwrap().starts_with("ValidationException"));
        assert!(reply.json()["message"].as_str().unwrap().contains(words), "{}", reply.text);
    };
    let content = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let assistant = |text: &str| json!({"role": "assistant", "content": [{"text": text}]});
    let call =
        json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "get_weather", "input": {}}}]});
    let result = json!({"role": "user", "content": [{"toolResult": {"toolUseId": "b", "content": []}}]});
    check(json!({"model": "m"}), "extraneous key [model]").await;
    check(json!({"stream": true}), "extraneous key [stream]").await;
    check(json!({"messages": []}), "must start with a user message").await;
    check(json!({"messages": [assistant("hi")]}), "must start with a user message").await;
    check(json!({"messages": [user("a"), user("b")]}), "must alternate").await;
    check(content(json!([])), "messages.0 is empty").await;
    check(content(json!([{"text": " \n"}])), "messages.0.content.0 is blank").await;
    check(content(json!([{"text": "a", "image": {}}])), "must set one of the following keys").await;
    check(content(json!([{"image": {"format": "jpg", "source": {"bytes": "aGk="}}}])), "enum value set").await;
    check(content(json!([{"image": {"format": "png", "source": {"url": "x"}}}])), "ImageSource").await;
    check(content(json!([{"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": "aGk="}}}])), "file name")
        .await;
    check(json!({"messages": [user("a"), call, result]}), "The toolConfig field must be defined").await;
    check(json!({"messages": [user("a"), call, result], "toolConfig": tools()}), "the following Ids: a").await;
    check(json!({"messages": [result], "toolConfig": tools()}), "exceeds the number of toolUse blocks").await;
    check(json!({"toolConfig": {"tools": []}}), "toolConfig.tools").await;
    check(json!({"toolConfig": with(tools(), &json!({"toolChoice": {"auto": {}, "any": {}}}))}), "ToolChoice").await;
    check(json!({"inferenceConfig": {"temperature": 1.5}}), "less than or equal to 1").await;
    check(json!({"inferenceConfig": {"temperature": 0.5, "topP": 0.5}}), "cannot both be specified").await;
    let forced = with(tools(), &json!({"toolChoice": {"any": {}}}));
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    check(json!({"toolConfig": forced, "additionalModelRequestFields": thinking}), "forces tool use").await;
    let newest = with(converse("hi"), &json!({"inferenceConfig": {"temperature": 0.5}}));
    let reply = post_to("us.anthropic.claude-opus-4-7-v1:0", "converse", &newest).await;
    assert!(reply.text.contains("`temperature` is deprecated"), "{}", reply.text);
}

#[tokio::test]
async fn claude_is_invoked_with_its_own_body() {
    let mut body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100,
        "messages": [{"role": "user", "content": "Explain how AI works in a few words"}]});
    let reply = post("invoke", &body).await;
    assert_eq!(reply.headers["x-amzn-bedrock-output-token-count"], "9");
    assert_eq!(reply.json()["content"][0]["text"], "Learning patterns from data to make predictions.\n");
    let frames = post("invoke-with-response-stream", &body).await.frames();
    assert!(frames.iter().all(|(name, _)| name == "chunk"));
    let events: Vec<Value> = frames
        .iter()
        .map(|(_, data)| BASE64_STANDARD.decode(data["bytes"].as_str().unwrap()).unwrap())
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .collect();
    assert_eq!(events[0]["type"], "message_start");
    assert_eq!(events.last().unwrap()["amazon-bedrock-invocationMetrics"]["outputTokenCount"], 9);
    for (field, words) in [("model", "[model]"), ("stream", "[stream]")] {
        assert!(post("invoke", &with(body.clone(), &json!({field: true}))).await.text.contains(words));
    }
    body["anthropic_version"] = "2026-10-21".into();
    assert!(post("invoke", &body).await.text.contains("Invalid API version"));
    assert_eq!(post_to("anthropic.claude-opus-4-7", "invoke", &body).await.status, 200);
    let image = json!([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]);
    body["messages"][0]["content"] = image;
    let refused = post_to("anthropic.claude-opus-4-7", "invoke", &body).await;
    assert!(refused.text.contains("URL sources are not supported"), "{}", refused.text);
}

#[tokio::test]
async fn embeddings_and_counts() {
    let titan = "amazon.titan-embed-text-v2:0";
    let one = post_to(titan, "invoke", &json!({"inputText": "one", "dimensions": 256})).await.json();
    assert_eq!(one["embedding"].as_array().unwrap().len(), 256);
    assert_eq!(one["inputTextTokenCount"], 1);
    assert_eq!(post_to(titan, "invoke", &json!({"inputText": "one", "dimensions": 5})).await.status, 400);
    assert_eq!(post_to(titan, "invoke", &json!({"inputText": "one", "input": "x"})).await.status, 400);
    let cohere = "cohere.embed-english-v3";
    let many = json!({"texts": ["one", "two"], "input_type": "search_document"});
    assert_eq!(post_to(cohere, "invoke", &many).await.json()["embeddings"].as_array().unwrap().len(), 2);
    let typed = with(many, &json!({"embedding_types": ["float"]}));
    assert_eq!(post_to(cohere, "invoke", &typed).await.json()["embeddings"]["float"].as_array().unwrap().len(), 2);
    let without_type = post_to(cohere, "invoke", &json!({"texts": ["one"]})).await;
    assert!(without_type.text.contains("required key [input_type]"));

    let count = json!({"input": {"converse": {"messages": [user("Explain how AI works in a few words")]}}});
    assert_eq!(post("count-tokens", &count).await.json(), json!({"inputTokens": 8}));
    let own = BASE64_STANDARD.encode(r#"{"messages":[{"role":"user","content":"one two"}]}"#);
    let count = json!({"input": {"invokeModel": {"body": own}}});
    assert_eq!(post("count-tokens", &count).await.json(), json!({"inputTokens": 2}));
}

#[tokio::test]
async fn credentials_are_checked() {
    let path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
    let (host, date) = (("host", "bedrock-runtime.us-east-1.amazonaws.com"), ("x-amz-date", "20260102T030405Z"));
    let body = r#"{"messages":[]}"#;
    let check = async |authorization: &str, kind: &str| {
        let headers = [host, date, ("content-type", "application/json"), ("authorization", authorization)];
        let reply = send("POST", path, &headers, body).await;
        assert_eq!(reply.status, 403, "{authorization}");
        let named = reply.headers["x-amzn-errortype"].to_str().unwrap();
        assert!(named.starts_with(kind), "{named}: {}", reply.text);
    };
    let signed = |credential: &str, headers: &str, signature: &str| {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature={signature}")
    };
    let (credential, headers) = ("AKID/20260102/us-east-1/bedrock/aws4_request", "content-type;host;x-amz-date");
    let wrong = "0".repeat(64);
    check(&signed(credential, headers, &wrong), "InvalidSignatureException").await;
    check(&signed(credential, "content-type;host", &wrong), "IncompleteSignatureException").await;
    check(&signed(credential, headers, "abc"), "IncompleteSignatureException").await;
    check(&signed("AKID/20260103/us-east-1/bedrock/aws4_request", headers, &wrong), "InvalidSignatureException").await;
    check(&signed("AKID/20260102/eu-west-1/bedrock/aws4_request", headers, &wrong), "InvalidSignatureException").await;
    check(&signed("AKID/20260102/us-east-1/s3/aws4_request", headers, &wrong), "InvalidSignatureException").await;
    check(&signed("AKIDINVALID/20260102/us-east-1/bedrock/aws4_request", headers, &wrong), "UnrecognizedClient").await;
    check("Bearer invalid", "AccessDeniedException").await;
    check("Basic abc", "IncompleteSignatureException").await;
    assert_eq!(send("POST", path, &[host, date], body).await.status, 403);

    // Both were computed with Python's hmac.
    for (key, signature) in SIGNED {
        let authorization = signed(&format!("{key}/20260102/us-east-1/bedrock/aws4_request"), headers, signature);
        let sent = [host, date, ("content-type", "application/json"), ("authorization", authorization.as_str())];
        let reply = send("POST", path, &sent, body).await;
        assert_eq!(reply.status, 400, "past the door, to an empty conversation: {}", reply.text);
    }
}

/// Access keys, with the signature by `simulated-secret` and by `secret-` and the key's id.
const SIGNED: [(&str, &str); 2] = [
    ("AKIDEXAMPLE", "d17edc34104d6259b710e46e8592d13ea9d71d336ff606f50db27779b6532aa5"),
    ("AKIDOTHER", "1a3b073d0fad0978d25ece02633fa2085468b6d28728b3695ee118aa0f41600c"),
];
