//! Reasoning, refusals, media, stop sequences, log probabilities and parallel calls, in every dialect.

use serde_json::{Value, json};

use super::{Answer, check_pointers, send};

const ANTHROPIC: [(&str, &str); 2] = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
const BEARER: (&str, &str) = ("authorization", "Bearer k");
const GEMINI: (&str, &str) = ("x-goog-api-key", "k");
const REASONING: &str = "Thinking about: Say: yes";

fn with(mut body: Value, fields: &Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

async fn chat(fields: Value) -> Answer {
    let body = with(json!({"model": "gpt-5", "messages": [{"role": "user", "content": "Say: yes"}]}), &fields);
    send("POST", "/v1/chat/completions", &[BEARER], &body.to_string()).await
}

async fn responses(fields: Value) -> Answer {
    let body = with(json!({"model": "gpt-5", "input": "Say: yes"}), &fields);
    send("POST", "/v1/responses", &[BEARER], &body.to_string()).await
}

async fn messages(fields: Value) -> Answer {
    let content = json!([{"role": "user", "content": "Say: yes"}]);
    let body = with(json!({"model": "claude-sonnet-4-5", "max_tokens": 2000, "messages": content}), &fields);
    send("POST", "/v1/messages", &ANTHROPIC, &body.to_string()).await
}

async fn gemini(verb: &str, fields: Value) -> Answer {
    let body = with(json!({"contents": [{"role": "user", "parts": [{"text": "Say: yes"}]}]}), &fields);
    send("POST", &format!("/v1beta/models/gemini-2.5-flash:{verb}"), &[GEMINI], &body.to_string()).await
}

/// The texts at this place of each event, one after the other.
fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn chats_think_and_show_it_where_the_server_does() {
    let reply = chat(json!({"reasoning_effort": "low"})).await.json();
    assert!(reply["choices"][0]["message"].get("reasoning_content").is_none(), "{reply}");
    let spent = reply["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert_eq!(reply["usage"]["completion_tokens"], spent + 1);
    let shown = json!({"model": "qwen3", "reasoning_effort": "low", "stream": true});
    let events = chat(shown.clone()).await.events();
    assert_eq!(joined(&events, "/choices/0/delta/reasoning_content"), REASONING);
    assert_eq!(joined(&events, "/choices/0/delta/content"), "yes");
    assert_eq!(
        chat(with(shown, &json!({"stream": false}))).await.json()["choices"][0]["message"]["reasoning_content"],
        REASONING
    );
    assert_eq!(chat(json!({"reasoning_effort": "none"})).await.json()["usage"]["completion_tokens"], 1);

    let body = json!({"model": "magistral", "reasoning_effort": "high",
                      "messages": [{"role": "user", "content": "Say: yes"}]});
    let mistral = send("POST", "/v1/chat/completions", &[BEARER, ("host", "api.mistral.ai")], &body.to_string()).await;
    check_pointers(
        &mistral.json()["choices"][0]["message"],
        &[("/content/0/thinking/0/text", REASONING.into()), ("/content/1/text", "yes".into())],
    );
}

#[tokio::test]
async fn responses_think_in_items() {
    let wanted = json!({"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]});
    let reply = responses(wanted.clone()).await.json();
    check_pointers(
        &reply,
        &[
            ("/output/0/type", "reasoning".into()),
            ("/output/0/summary/0/text", REASONING.into()),
            ("/output/1/content/0/text", "yes".into()),
        ],
    );
    let events = responses(with(wanted, &json!({"stream": true}))).await.events();
    let deltas = events.iter().filter(|event| event["type"] == "response.reasoning_summary_text.delta");
    assert_eq!(deltas.map(|event| event["delta"].as_str().unwrap()).collect::<String>(), REASONING);
    let last = &events.last().unwrap()["response"]["output"];
    assert_eq!(
        (&last[0]["summary"], &last[1]["content"]),
        (&reply["output"][0]["summary"], &reply["output"][1]["content"])
    );
    let user = |text: &str| json!({"role": "user", "content": text});
    let again = json!([user("a"), reply["output"][0], reply["output"][1], user("b")]);
    assert_eq!(responses(json!({"input": again})).await.status, 200);
}

#[tokio::test]
async fn messages_think_in_signed_blocks() {
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let wanted = json!({"thinking": thinking, "messages": [{"role": "user", "content": "Say: redacted"}]});
    let reply = messages(wanted.clone()).await.json();
    let kinds: Vec<&str> =
        reply["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "text"]);
    assert_eq!(reply["content"][0]["thinking"], "Thinking about: Say: redacted");
    assert!(reply["usage"]["output_tokens_details"]["thinking_tokens"].as_u64() > Some(0));
    let events = messages(with(wanted, &json!({"stream": true}))).await.events();
    assert_eq!(joined(&events, "/delta/thinking"), "Thinking about: Say: redacted");
    assert_eq!(joined(&events, "/delta/signature"), reply["content"][0]["signature"].as_str().unwrap());
    assert_eq!(events[events.len() - 2]["usage"]["output_tokens"], reply["usage"]["output_tokens"]);

    let hidden = json!({"thinking": with(thinking, &json!({"display": "omitted"}))});
    let hidden = messages(hidden).await.json();
    assert_eq!(hidden["content"][0]["thinking"], "");
    let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": hidden["content"]},
                       {"role": "user", "content": "b"}]);
    assert_eq!(messages(json!({"messages": turns})).await.status, 200);
}

#[tokio::test]
async fn gemini_thinks_in_parts() {
    let wanted = json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true, "thinkingBudget": -1}}});
    let reply = gemini("generateContent", wanted.clone()).await.json();
    check_pointers(
        &reply["candidates"][0]["content"],
        &[("/parts/0/thought", true.into()), ("/parts/0/text", REASONING.into()), ("/parts/1/text", "yes".into())],
    );
    let usage = &reply["usageMetadata"];
    assert_eq!(usage["candidatesTokenCount"], 1);
    assert!(usage["thoughtsTokenCount"].as_u64() > Some(0));
    let events = gemini("streamGenerateContent?alt=sse", wanted).await.events();
    let reasoning: Vec<&Value> = events
        .iter()
        .map(|event| &event["candidates"][0]["content"]["parts"][0])
        .filter(|part| part["thought"] == true)
        .collect();
    assert_eq!(reasoning.len(), 2);
    let hidden = json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 100}}});
    let hidden = gemini("generateContent", hidden).await.json();
    assert_eq!(hidden["candidates"][0]["content"]["parts"][0]["text"], "yes");
    assert!(hidden["usageMetadata"]["thoughtsTokenCount"].as_u64() > Some(0));
}

#[tokio::test]
async fn each_dialect_refuses_in_its_own_way() {
    let said = json!([{"role": "user", "content": "Please refuse"}]);
    let refusal = "I can't help with that.";
    let reply = chat(json!({"messages": said})).await.json();
    check_pointers(&reply["choices"][0]["message"], &[("/content", Value::Null), ("/refusal", refusal.into())]);
    let events = chat(json!({"messages": said, "stream": true})).await.events();
    assert_eq!(joined(&events, "/choices/0/delta/refusal"), refusal);
    let reply = responses(json!({"input": said})).await.json();
    assert_eq!(reply["output"][0]["content"][0]["refusal"], refusal);
    let reply = messages(json!({"messages": said})).await.json();
    check_pointers(
        &reply,
        &[("/stop_reason", "refusal".into()), ("/stop_details/explanation", refusal.into()), ("/content", json!([]))],
    );
    let reply = gemini("generateContent", json!({"contents": [{"role": "user", "parts": [{"text": "refuse"}]}]})).await;
    let candidate = &reply.json()["candidates"][0];
    assert_eq!((&candidate["finishReason"], candidate.get("content")), (&json!("SAFETY"), None));
    let body = json!({"messages": [{"role": "user", "content": [{"text": "refuse"}]}]}).to_string();
    let reply = send("POST", "/model/m/converse", &[BEARER], &body).await.json();
    assert_eq!(reply["stopReason"], "content_filtered");
}

#[tokio::test]
async fn media_are_acknowledged() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}});
    let content = json!([{"type": "text", "text": "Say: seen"}, image, image]);
    let reply = chat(json!({"messages": [{"role": "user", "content": content}]})).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "seen (with 2 images)");
    let file = json!({"type": "input_file", "file_data": "data:application/pdf;base64,aGk="});
    let content = json!([{"type": "input_text", "text": "Say: seen"}, file]);
    let reply = responses(json!({"input": [{"role": "user", "content": content}]})).await.json();
    assert_eq!(reply["output"][0]["content"][0]["text"], "seen (with 1 document)");
    let source = json!({"type": "base64", "media_type": "image/png", "data": "aGk="});
    let content = json!([{"type": "text", "text": "Say: seen"}, {"type": "image", "source": source}]);
    let reply = messages(json!({"messages": [{"role": "user", "content": content}]})).await.json();
    assert_eq!(reply["content"][0]["text"], "seen (with 1 image)");
    let parts = json!([{"text": "Say: seen"}, {"inlineData": {"mime_type": "audio/wav", "data": "aGk="}}]);
    let reply = gemini("generateContent", json!({"contents": [{"role": "user", "parts": parts}]})).await.json();
    assert_eq!(reply["candidates"][0]["content"]["parts"][0]["text"], "seen (with 1 audio clip)");
    let content = json!([{"text": "Say: seen"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}}]);
    let body = json!({"messages": [{"role": "user", "content": content}]}).to_string();
    let reply = send("POST", "/model/m/converse", &[BEARER], &body).await.json();
    assert_eq!(reply["output"]["message"]["content"][0]["text"], "seen (with 1 image)");
}

#[tokio::test]
async fn stops_probabilities_and_choices() {
    let said = json!([{"role": "user", "content": "Say: one two three"}]);
    let reply =
        chat(json!({"model": "gpt-4o", "messages": said, "stop": ["two"], "logprobs": true, "top_logprobs": 1}));
    let reply = reply.await.json();
    check_pointers(
        &reply["choices"][0],
        &[
            ("/message/content", "one ".into()),
            ("/finish_reason", "stop".into()),
            ("/logprobs/content/0/token", "one ".into()),
            ("/logprobs/content/0/top_logprobs/0/token", "one ".into()),
        ],
    );
    let reply = messages(json!({"messages": said, "stop_sequences": ["two"]})).await.json();
    check_pointers(&reply, &[("/stop_reason", "stop_sequence".into()), ("/stop_sequence", "two".into())]);
    let config = json!({"candidateCount": 2, "responseLogprobs": true, "logprobs": 1, "stopSequences": ["e"]});
    let reply = gemini("generateContent", json!({"generationConfig": config})).await.json();
    check_pointers(
        &reply,
        &[
            ("/candidates/1/index", 1.into()),
            ("/candidates/1/content/parts/0/text", "y".into()),
            ("/candidates/0/logprobsResult/chosenCandidates/0/token", "y".into()),
            ("/usageMetadata/candidatesTokenCount", 2.into()),
        ],
    );
}

#[tokio::test]
async fn calls_stream_in_parallel_and_interleaved() {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let flat = |name: &str| json!({"type": "function", "name": name, "parameters": parameters});
    let tools = json!([flat("get_weather"), flat("get_time")]);
    let body = json!({"input": "Use tools in parallel, interleaved", "tools": tools, "stream": true});
    let events = responses(body.clone()).await.events();
    let places: Vec<u64> = events
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta")
        .map(|event| event["output_index"].as_u64().unwrap())
        .collect();
    assert_eq!(places, [0, 1, 0, 1]);
    let output = events.last().unwrap()["response"]["output"].clone();
    assert_eq!(output[1]["name"], "get_time");
    assert_eq!(output[0]["arguments"], r#"{"city":"city"}"#);
    let result =
        |index: usize| json!({"type": "function_call_output", "call_id": output[index]["call_id"], "output": "ok"});
    let input = json!([{"role": "user", "content": "Use tools"}, output[0], output[1], result(0), result(1)]);
    let reply = responses(json!({"input": input})).await.json();
    assert_eq!(reply["output"][0]["content"][0]["text"], "The tool answered: ok; ok");

    let nested = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let said = json!([{"role": "user", "content": "Use tools in parallel, interleaved"}]);
    let body = json!({"messages": said, "tools": [nested("get_weather"), nested("get_time")], "stream": true});
    let events = chat(body).await.events();
    let calls = events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0/index")?.as_u64());
    assert_eq!(calls.collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
}

#[tokio::test]
async fn vertex_predicts_embeddings() {
    let path = "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict";
    let body =
        json!({"instances": [{"content": "one two"}, {"content": "x"}], "parameters": {"outputDimensionality": 3}});
    let reply = send("POST", path, &[BEARER], &body.to_string()).await.json();
    check_pointers(
        &reply,
        &[
            ("/predictions/0/embeddings/statistics/token_count", 2.into()),
            ("/metadata/billableCharacterCount", 7.into()),
        ],
    );
    assert_eq!(reply["predictions"][1]["embeddings"]["values"].as_array().unwrap().len(), 3);
}
