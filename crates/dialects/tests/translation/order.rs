//! The order of reasoning, texts and calls through every dialect, and loops of tools that must not end.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::Names,
    dialect::{DialectId, StreamMode, Translator},
    stream::TopLevel,
};

use crate::exercise::{
    DESTINATIONS, To, destination, head, mode,
    presets::{AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, DEEPSEEK, MISTRAL, OPENAI, OPENROUTER, VERTEX},
};

const CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-opus-4-7");
const OLDER_CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5");
const BEDROCK_CLAUDE: To = (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-20250929-v1:0");
const GEMINI_2: To = (DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash");
const GEMINI_3: To = (DialectId::Gemini, AI_STUDIO, "gemini-3-pro-preview");
const GPT: To = (DialectId::Responses, OPENAI, "gpt-5.6-terra");
const VLLM: To = (DialectId::Chat, COMPATIBLE, "qwen3.8-27b");

/// A request as the target gets it, and the names of what is not carried; the text of the error if it is refused.
pub fn try_send(from: DialectId, request: &Value, to: To) -> Result<(Value, String), String> {
    let body = request.to_string();
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let mut read = from.dialect().read_request(&top).map_err(|invalid| invalid.to_string())?;
    let _ = Names::fit(&mut read);
    let (mut out, mut dropped) = (Vec::new(), read.dropped.clone());
    destination(to).write(to.0, &read, &mut dropped, &mut out).map_err(|invalid| invalid.to_string())?;
    Ok((serde_json::from_slice(&out).unwrap(), dropped.to_string()))
}

#[track_caller]
pub fn send(from: DialectId, request: &Value, to: To) -> (Value, String) {
    try_send(from, request, to).unwrap_or_else(|why| panic!("{to:?}: {why}: {request}"))
}

/// A provider's buffered reply, for a client.
fn reply(from: DialectId, body: &Value, to: DialectId) -> Value {
    let body = body.to_string();
    let read = from.dialect().read_reply(body.as_bytes()).unwrap();
    let mut out = Vec::new();
    to.dialect().write_reply(&read, &head(StreamMode::No), &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// The data of the events that a client gets when the same reply comes as a stream.
fn streamed(from: DialectId, body: &Value, to: DialectId) -> Vec<Value> {
    let body = body.to_string();
    let read = from.dialect().read_reply(body.as_bytes()).unwrap();
    let (mut writer, mut wire) = (from.dialect().write_events(head(mode(from))), Vec::new());
    read.replay(&mut |event| writer.event(&event, &mut wire));
    let mut translator = Translator::new(from, mode(from), to, head(StreamMode::Sse), Arc::new(Names::default()));
    let mut out = Vec::new();
    for frame in wire.chunks(11) {
        out.extend_from_slice(&translator.frame(frame).unwrap());
    }
    out.extend_from_slice(&translator.finish());
    let text = String::from_utf8(out).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

/// The message that OpenAI's clients assemble of chunks: texts are joined, elements of lists by their index.
fn assembled(chunks: &[Value]) -> Value {
    fn merge(whole: &mut Value, delta: &Value) {
        match (whole, delta) {
            (Value::Object(whole), Value::Object(delta)) => {
                for (key, value) in delta {
                    match whole.get_mut(key) {
                        Some(known) if key != "index" && key != "type" && key != "id" => merge(known, value),
                        Some(_) => {}
                        None => {
                            whole.insert(key.clone(), if value.is_array() { json!([]) } else { value.clone() });
                            if value.is_array() {
                                merge(&mut whole[key], value);
                            }
                        }
                    }
                }
            }
            (Value::Array(whole), Value::Array(delta)) => {
                for element in delta {
                    match whole.iter_mut().find(|known| known["index"] == element["index"]) {
                        Some(known) => merge(known, element),
                        None => whole.push(element.clone()),
                    }
                }
            }
            (Value::String(whole), Value::String(delta)) => whole.push_str(delta),
            (whole, delta) => *whole = delta.clone(),
        }
    }
    let mut message = json!({});
    for delta in chunks.iter().filter_map(|chunk| chunk["choices"][0].get("delta")) {
        merge(&mut message, delta);
    }
    message
}

/// The message without these fields; `extra_content` is that of its calls.
fn without(message: &Value, fields: &[&str]) -> Value {
    let mut kept = message.clone();
    for field in fields {
        kept.as_object_mut().unwrap().remove(*field);
        for call in kept["tool_calls"].as_array_mut().into_iter().flatten() {
            call.as_object_mut().unwrap().remove(*field);
        }
    }
    kept
}

/// A request of a Chat client that sends this answer back, with a result for each call.
fn next_turn(answer: &Value) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "go"}), answer.clone()];
    for call in answer["tool_calls"].as_array().into_iter().flatten() {
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "done"}));
    }
    json!({"model": "m", "reasoning_effort": "low", "max_tokens": 4000, "messages": messages, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]})
}

fn message(content: &[Value]) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 5}})
}

fn thinking(text: &str, signature: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": signature})
}

fn redacted(data: &str) -> Value {
    json!({"type": "redacted_thinking", "data": data})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": {"of": id}})
}

/// The blocks of the assistant's message.
fn blocks(body: &Value) -> Vec<Value> {
    let messages = body["messages"].as_array().unwrap();
    messages.iter().find(|message| message["role"] == "assistant").unwrap()["content"].as_array().unwrap().clone()
}

/// Answers of Claude that reason between their calls: "thinking blocks in the latest assistant message cannot be
/// modified".
fn interleaved() -> Vec<Vec<Value>> {
    vec![
        vec![thinking("t1", "S1"), tool_use("c1"), thinking("t2", "S2"), tool_use("c2")],
        vec![
            thinking("", "S1"),
            text("Först. "),
            tool_use("c1"),
            text("Then. "),
            redacted("R2"),
            tool_use("c2"),
            tool_use("c3"),
            thinking("t3", "S3"),
            tool_use("c4"),
        ],
        vec![thinking("a", "S1"), thinking("b", "S2"), text("x"), tool_use("c1"), tool_use("c2"), thinking("c", "S3")],
        vec![thinking("a", "S1"), text("one"), thinking("b", "S2"), text("two"), tool_use("c1")],
    ]
}

#[test]
fn interleaved_reasoning_keeps_its_order_over_chat() {
    for content in interleaved() {
        let provider = message(&content);
        let buffered = reply(DialectId::Messages, &provider, DialectId::Chat)["choices"][0]["message"].clone();
        let streamed = assembled(&streamed(DialectId::Messages, &provider, DialectId::Chat));
        for answer in [&buffered, &streamed] {
            // Clients keep both lists, or the one that they know, with or without the other fields of calls.
            for gone in [
                &[][..],
                &["extra_content"],
                &["reasoning_details"],
                &["thinking_blocks"],
                &["reasoning_details", "extra_content"],
                &["thinking_blocks", "extra_content", "reasoning_content"],
            ] {
                let (body, dropped) = send(DialectId::Chat, &next_turn(&without(answer, gone)), CLAUDE);
                assert_eq!(blocks(&body), content, "without {gone:?}: {answer:#}");
                assert_eq!(dropped, "", "without {gone:?}");
            }
        }
    }
}

#[test]
fn other_dialects_keep_the_order_of_interleaved_reasoning() {
    let content = &interleaved()[0];
    let gemini = reply(DialectId::Messages, &message(content), DialectId::Gemini);
    let mut model = gemini["candidates"][0]["content"].clone();
    model["role"] = json!("model");
    let request = json!({"contents": [{"role": "user", "parts": [{"text": "go"}]}, model],
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}});
    assert_eq!(blocks(&send(DialectId::Gemini, &request, CLAUDE).0), *content);

    let response = reply(DialectId::Messages, &message(content), DialectId::Responses);
    let mut input = vec![json!({"role": "user", "content": "go"})];
    input.extend(response["output"].as_array().unwrap().iter().cloned());
    let request = json!({"model": "m", "input": input, "reasoning": {"effort": "low"}});
    assert_eq!(blocks(&send(DialectId::Responses, &request, CLAUDE).0), *content);

    let converse = reply(DialectId::Messages, &message(content), DialectId::Converse);
    let request = json!({"messages": [{"role": "user", "content": [{"text": "go"}]}, converse["output"]["message"]],
        "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}});
    assert_eq!(blocks(&send(DialectId::Converse, &request, CLAUDE).0), *content);
}

#[test]
fn steps_that_do_not_fit_the_message_are_harmless() {
    for signature in ["TGatt99999c7zTGanS2", "TGatc18446744073709551615zTGanS2", "TGatc2t1c9zTGanS2"] {
        let answer = json!({"role": "assistant", "content": "hello", "thinking_blocks": [
                {"type": "thinking", "thinking": "t2", "signature": signature}],
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let blocks = blocks(&send(DialectId::Chat, &next_turn(&answer), CLAUDE).0);
        let mut kinds: Vec<&str> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
        kinds.dedup();
        assert!(kinds.contains(&"thinking") && kinds.contains(&"text") && kinds.contains(&"tool_use"), "{blocks:?}");
        let signed = blocks.iter().find(|block| block["type"] == "thinking").unwrap();
        assert_eq!(signed["signature"], "S2");
    }
    // A signature that only begins like steps is one.
    for signature in ["TGatz", "TGatt1", "TGatx1zS", "TGat1zS"] {
        let answer = json!({"role": "assistant", "content": "x", "reasoning_details": [
            {"type": "reasoning.text", "text": "t", "signature": signature, "format": "anthropic-claude-v1"}]});
        let blocks = blocks(&send(DialectId::Chat, &next_turn(&answer), CLAUDE).0);
        assert_eq!(blocks[0], thinking("t", signature));
    }
}

#[test]
fn reasoning_comes_back_with_calls_alone() {
    let content =
        [thinking("t1", "S1"), redacted("R1"), text("a"), tool_use("c1"), thinking("t2", "S2"), tool_use("c2")];
    let provider = message(&content);
    let gone = ["thinking_blocks", "reasoning_details", "reasoning_content"];
    let buffered = reply(DialectId::Messages, &provider, DialectId::Chat)["choices"][0]["message"].clone();
    let in_stream = assembled(&streamed(DialectId::Messages, &provider, DialectId::Chat));
    for answer in [buffered, in_stream] {
        let (body, dropped) = send(DialectId::Chat, &next_turn(&without(&answer, &gone)), CLAUDE);
        assert_eq!((blocks(&body).as_slice(), dropped.as_str()), (&content[..], ""));
    }
    // Gemini's clients leave the parts of reasoning out, and decode and encode the signatures again.
    let buffered =
        reply(DialectId::Messages, &provider, DialectId::Gemini)["candidates"][0]["content"]["parts"].clone();
    let events = streamed(DialectId::Messages, &provider, DialectId::Gemini);
    let in_stream = events
        .iter()
        .flat_map(|event| event["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default());
    for parts in [buffered, in_stream.collect::<Vec<_>>().into()] {
        let kept = parts.as_array().unwrap().iter().filter(|part| part["thought"] != true && part["text"] != "");
        let parts: Vec<Value> = kept
            .map(|part| {
                let mut part = part.clone();
                if let Some(signature) = part["thoughtSignature"].as_str() {
                    let bytes = base64::engine::general_purpose::STANDARD.decode(signature).unwrap();
                    part["thoughtSignature"] = URL_SAFE_NO_PAD.encode(bytes).into();
                }
                part
            })
            .collect();
        let request = json!({"contents": [{"role": "user", "parts": [{"text": "go"}]},
                {"role": "model", "parts": parts}],
            "generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}});
        assert_eq!(blocks(&send(DialectId::Gemini, &request, CLAUDE).0), content);
    }
}

#[test]
fn encrypted_reasoning_of_openai_comes_back_with_calls_alone() {
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "plan"}],
        "encrypted_content": "gAAA"});
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"});
    let provider =
        json!({"id": "resp_1", "object": "response", "status": "completed", "model": "gpt", "output": [item, call]});
    let answer = &reply(DialectId::Responses, &provider, DialectId::Chat)["choices"][0]["message"];
    for gone in [
        &["thinking_blocks", "reasoning_details"][..],
        &["thinking_blocks", "extra_content"],
        &["reasoning_details", "extra_content"],
        &[],
    ] {
        let (body, dropped) = send(DialectId::Chat, &next_turn(&without(answer, gone)), GPT);
        let input = body["input"].as_array().unwrap();
        assert_eq!(input[1]["type"], "reasoning", "without {gone:?}: {body:#}");
        assert_eq!(input[1]["encrypted_content"], "gAAA");
        assert_eq!(input[1]["summary"][0]["text"], "plan");
        assert_eq!((&input[2]["type"], dropped.as_str()), (&json!("function_call"), ""));
        assert_eq!(input.len(), 4, "{body:#}");
    }
}

/// The forms are those of `OpenRouter`'s documentation and of its client `@openrouter/ai-sdk-provider`.
#[test]
fn reasoning_details_are_read() {
    let answer = |details: Value| {
        json!({"role": "assistant", "content": null, "reasoning": "think", "reasoning_details": details,
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]})
    };
    let claude = "anthropic-claude-v1";
    let signed = json!([{"type": "reasoning.text", "text": "think", "signature": "SIG", "format": claude, "index": 0}]);
    let (body, dropped) = send(DialectId::Chat, &next_turn(&answer(signed)), OLDER_CLAUDE);
    assert_eq!(blocks(&body)[0], thinking("think", "SIG"));
    assert_eq!(body["thinking"]["type"], "enabled", "the model goes on thinking");
    assert_eq!(dropped, "");
    // In pieces, as a client that joins nothing keeps a stream; and without a format.
    let pieces = json!([
        {"type": "reasoning.text", "text": "thi", "format": claude, "index": 0},
        {"type": "reasoning.text", "text": "nk", "format": claude, "index": 0},
        {"type": "reasoning.text", "signature": "SIG", "index": 0},
        {"type": "reasoning.encrypted", "data": "RED", "format": claude, "index": 1},
    ]);
    let (body, _) = send(DialectId::Chat, &next_turn(&answer(pieces)), OLDER_CLAUDE);
    assert_eq!(blocks(&body)[..2], [thinking("think", "SIG"), redacted("RED")]);
    // OpenAI's.
    let encrypted = json!([
        {"type": "reasoning.summary", "summary": "plan", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "id": "rs_1", "index": 0},
    ]);
    let (body, dropped) = send(DialectId::Chat, &next_turn(&answer(encrypted.clone())), GPT);
    assert_eq!(body["input"][1]["encrypted_content"], "gAAA");
    assert_eq!((&body["input"][1]["summary"][0]["text"], dropped.as_str()), (&json!("plan"), ""));
    // Gemini's signature of a call has the call's id.
    let google = json!([
        {"type": "reasoning.text", "text": "think", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1", "id": "toolu_1", "index": 0},
    ]);
    let (body, dropped) = send(DialectId::Chat, &next_turn(&answer(google)), GEMINI_3);
    assert_eq!((&body["contents"][1]["parts"][0]["thoughtSignature"], dropped.as_str()), (&json!("c2ln"), ""));
    // What another vendor has signed reaches none of these, and no signature reaches another vendor.
    let other = json!([{"type": "reasoning.encrypted", "data": "SECRET", "format": "xai-responses-v1", "index": 0}]);
    for to in [OLDER_CLAUDE, GPT, GEMINI_3, VLLM] {
        let (body, dropped) = send(DialectId::Chat, &next_turn(&answer(other.clone())), to);
        assert!(!body.to_string().contains("SECRET") && dropped.contains("reasoning_details"), "{to:?}: {dropped}");
    }
    let (body, dropped) = send(DialectId::Chat, &next_turn(&answer(encrypted)), CLAUDE);
    assert!(!body.to_string().contains("gAAA") && dropped.contains("thinking"), "{dropped}");
}

#[test]
fn reasoning_details_are_written() {
    let provider = message(&[thinking("t1", "S1"), redacted("R1"), tool_use("c1")]);
    let expected = json!([
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "t1", "signature": "S1"},
        {"type": "reasoning.encrypted", "format": "anthropic-claude-v1", "index": 1, "data": "R1"},
    ]);
    let buffered = &reply(DialectId::Messages, &provider, DialectId::Chat)["choices"][0]["message"];
    assert_eq!(buffered["reasoning_details"], expected);
    assert_eq!(assembled(&streamed(DialectId::Messages, &provider, DialectId::Chat))["reasoning_details"], expected);
    // Gemini signs the call.
    let provider = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"functionCall": {"id": "g1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}]},
        "finishReason": "STOP"}]});
    let expected =
        json!([{"type": "reasoning.encrypted", "format": "google-gemini-v1", "index": 0, "data": "c2ln", "id": "g1"}]);
    let buffered = &reply(DialectId::Gemini, &provider, DialectId::Chat)["choices"][0]["message"];
    assert_eq!(buffered["reasoning_details"], expected);
    let in_stream = assembled(&streamed(DialectId::Gemini, &provider, DialectId::Chat));
    assert_eq!(in_stream["reasoning_details"], expected);
    let (body, dropped) = send(DialectId::Chat, &next_turn(&in_stream), GEMINI_3);
    assert_eq!((&body["contents"][1]["parts"][0]["thoughtSignature"], dropped.as_str()), (&json!("c2ln"), ""));
    // It comes back by that list alone.
    let (body, _) = send(DialectId::Chat, &next_turn(&without(&in_stream, &["extra_content"])), GEMINI_3);
    assert_eq!(body["contents"][1]["parts"][0]["thoughtSignature"], "c2ln");
}

#[test]
fn openrouter_gets_and_gives_reasoning_details() {
    let to = (DialectId::Chat, OPENROUTER, "anthropic/claude-sonnet-4.5");
    let request = json!({"model": "m", "max_tokens": 3000, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [thinking("t1", "S1"), redacted("R1"), tool_use("c1")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"}]}]});
    let (body, dropped) = send(DialectId::Messages, &request, to);
    let expected = json!([
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "t1", "signature": "S1"},
        {"type": "reasoning.encrypted", "format": "anthropic-claude-v1", "index": 1, "data": "R1"},
    ]);
    assert_eq!((&body["messages"][1]["reasoning_details"], dropped.as_str()), (&expected, ""));
    // Servers that do not know the field do not get it.
    for to in [VLLM, (DialectId::Chat, OPENAI, "gpt-4.1"), (DialectId::Chat, MISTRAL, "mistral-large-latest")] {
        let (body, dropped) = send(DialectId::Messages, &request, to);
        assert!(body["messages"][1].get("reasoning_details").is_none() && dropped.contains("thinking"), "{to:?}");
    }
    let answer = json!({"role": "assistant", "content": null, "reasoning": "t1", "reasoning_details": expected,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"of\":\"c1\"}"}}]});
    let whole = json!({"id": "gen-1", "object": "chat.completion", "choices": [
        {"index": 0, "message": answer, "finish_reason": "tool_calls"}]});
    let content = reply(DialectId::Chat, &whole, DialectId::Messages)["content"].clone();
    assert_eq!(content, json!([thinking("t1", "S1"), redacted("R1"), tool_use("c1")]));
    // In its stream each delta has the text twice, and the signature comes last.
    let delta = |delta: Value| json!({"id": "gen-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]});
    let part = |text: &str| {
        delta(json!({"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0,
            "format": "anthropic-claude-v1"}]}))
    };
    let mut end = delta(json!({}));
    end["choices"][0]["finish_reason"] = json!("stop");
    let chunks = [
        part("t"),
        part("1"),
        delta(json!({"content": "", "reasoning_details": [
            {"type": "reasoning.text", "signature": "S1", "index": 0, "format": "anthropic-claude-v1"}]})),
        delta(json!({"content": "hi"})),
        end,
    ];
    let wire = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<Vec<_>>().concat();
    let out = crate::exercise::translate(DialectId::Chat, DialectId::Messages, &[wire.as_bytes(), b"data: [DONE]\n\n"]);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.matches(r#""signature":"S1""#).count(), 1, "{out}");
    assert_eq!(out.matches(r#""thinking":"t""#).count(), 1, "{out}");
    assert_eq!(out.matches(r#""type":"content_block_start""#).count(), 2, "{out}");
}

#[test]
fn calls_that_were_cut_do_not_end_the_conversation() {
    for arguments in [r#"{"a":"b"#, "", "[1]", r#""text""#, "f(x)", "{\"a\":1}}", "\u{1f600}{"] {
        let requests = [
            (
                DialectId::Responses,
                json!({"model": "m", "input": [
                {"role": "user", "content": "x"},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments, "status": "incomplete"},
                {"type": "function_call_output", "call_id": "c1", "output": "failed to parse function arguments"},
                {"role": "user", "content": "go on"}],
                "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}),
            ),
            (
                DialectId::Chat,
                json!({"model": "m", "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "failed to parse function arguments"},
                {"role": "user", "content": "go on"}]}),
            ),
            (
                DialectId::Chat,
                json!({"model": "m", "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": arguments}},
                {"role": "function", "name": "f", "content": "failed to parse function arguments"},
                {"role": "user", "content": "go on"}]}),
            ),
        ];
        for (from, request) in &requests {
            for to in DESTINATIONS {
                let (body, dropped) = send(*from, request, to);
                let sent = body.to_string();
                assert!(sent.contains("failed to parse function arguments"), "{to:?}: {sent}");
                let kept = if arguments.is_empty() { json!({}) } else { json!({"_raw": arguments}) };
                let there = |wanted: &str| sent.contains(wanted);
                let text = kept.to_string();
                // An object, or its text as a string.
                assert!(there(&text) || there(&json!(text).to_string()), "{to:?}: {text}: {sent}");
                assert_eq!(dropped.contains("arguments;hint"), !arguments.is_empty(), "{to:?}: {dropped}");
            }
        }
    }
}

#[test]
fn a_call_that_the_gateway_hands_out_cut_comes_back() {
    let provider = json!({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "length",
        "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b"}}]}}]});
    let response = reply(DialectId::Chat, &provider, DialectId::Responses);
    assert_eq!(response["output"][0]["status"], "incomplete");
    let mut input = vec![json!({"role": "user", "content": "x"})];
    input.extend(response["output"].as_array().unwrap().iter().cloned());
    input.push(json!({"type": "function_call_output", "call_id": "c1", "output": "no JSON"}));
    for to in DESTINATIONS {
        let (body, _) = send(DialectId::Responses, &json!({"model": "m", "input": input}), to);
        assert!(body.to_string().contains("_raw"), "{to:?}: {body}");
    }
}

/// Roles and texts of a Chat or Responses body.
fn roles(body: &Value) -> Vec<(String, String)> {
    let list = body["messages"].as_array().or(body["input"].as_array()).unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    list.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

#[test]
fn instructions_in_mid_conversation_reach_chat_templates_at_the_beginning() {
    let pair = |role: &str, content: &str| (role.to_owned(), content.to_owned());
    let request = json!({"model": "m", "max_tokens": 1024, "system": "S", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Available agent types"}]});
    for to in [
        VLLM,
        (DialectId::Chat, MISTRAL, "mistral-large-latest"),
        (DialectId::Chat, DEEPSEEK, "deepseek-chat"),
        (DialectId::Chat, OPENROUTER, "qwen/qwen3.8-27b"),
    ] {
        let (body, dropped) = send(DialectId::Messages, &request, to);
        assert_eq!(roles(&body), [pair("system", "S\n\nAvailable agent types"), pair("user", "hi")], "{to:?}");
        assert_eq!(dropped, "");
    }
    // OpenAI keeps the position.
    for to in [(DialectId::Chat, OPENAI, "gpt-4.1"), (DialectId::Chat, AZURE, "gpt-4.1")] {
        let (body, _) = send(DialectId::Messages, &request, to);
        let expected = [pair("system", "S"), pair("user", "hi"), pair("system", "Available agent types")];
        assert_eq!(roles(&body), expected, "{to:?}");
    }
    let (body, _) = send(DialectId::Messages, &request, GPT);
    assert_eq!(body["instructions"], "S");
    assert_eq!(roles(&body), [pair("user", "hi"), pair("developer", "Available agent types")]);
    // The same servers' Responses end in the same templates.
    let (body, _) = send(DialectId::Messages, &request, (DialectId::Responses, COMPATIBLE, "qwen3.8-27b"));
    assert_eq!((&body["instructions"], roles(&body)), (&json!("S\n\nAvailable agent types"), vec![pair("user", "hi")]));

    // Without a first instruction, and in a loop of tools.
    let request = json!({"model": "m", "input": [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"role": "developer", "content": "Be brief"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"role": "system", "content": [{"type": "input_text", "text": "Be kind"}]}]});
    let (body, _) = send(DialectId::Responses, &request, VLLM);
    let sent = roles(&body);
    assert_eq!(sent[0], pair("system", "Be brief\n\nBe kind"));
    let order: Vec<&str> = sent.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(order, ["system", "user", "assistant", "tool"]);
    // OpenAI requires the result directly behind its call.
    let (body, _) = send(DialectId::Responses, &request, (DialectId::Chat, OPENAI, "gpt-4.1"));
    let order: Vec<String> = roles(&body).into_iter().map(|(role, _)| role).collect();
    assert_eq!(order, ["user", "assistant", "tool", "system", "system"]);

    // The instruction of the gateway is in the same message.
    let request = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "S"}, {"text": " "}],
        "additionalModelRequestFields": {}, "outputConfig": {"textFormat": {"type": "json_schema", "structure": {
            "jsonSchema": {"schema": "{\"type\":\"object\"}", "name": "n"}}}}});
    let (body, _) = send(DialectId::Converse, &request, (DialectId::Chat, DEEPSEEK, "deepseek-chat"));
    let sent = roles(&body);
    assert_eq!(sent.len(), 2, "{body}");
    assert!(sent[0].1.contains("JSON Schema") && sent[0].1.ends_with("\n\nS"), "{body}");
}

/// "Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant`
/// message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
#[test]
fn loops_without_reasoning_switch_it_off() {
    let call = json!({"role": "assistant", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": "r"});
    let image = json!({"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]});
    let ask = json!({"role": "user", "content": "and now?"});
    let system = json!({"role": "system", "content": "be brief"});
    let user = json!({"role": "user", "content": "go"});
    let said = json!({"role": "assistant", "content": "done"});
    let signed = json!({"role": "assistant", "thinking_blocks": [
            {"type": "thinking", "thinking": "t", "signature": "TGanS"}],
        "tool_calls": call["tool_calls"]});
    let thinks = |messages: &[&Value], to: To| {
        let request = json!({"model": "m", "reasoning_effort": "low", "max_tokens": 4000, "messages": messages});
        let (body, dropped) = send(DialectId::Chat, &request, to);
        let on = !body["thinking"].is_null() || !body["additionalModelRequestFields"]["thinking"].is_null();
        assert_eq!(on, !dropped.contains("reasoning"), "{to:?}: {dropped}: {body}");
        on
    };
    for to in [OLDER_CLAUDE, BEDROCK_CLAUDE] {
        for behind in [
            &[][..],
            &[&ask],
            &[&image],
            &[&system],
            &[&image, &system, &ask],
            &[&call, &result],
            &[&image, &call, &result, &ask],
        ] {
            let messages = [&[&user, &call, &result], behind].concat();
            assert!(!thinks(&messages, to), "{to:?}: {behind:?}");
            let messages = [&[&user, &signed, &result], behind].concat();
            assert!(thinks(&messages, to), "{to:?}: signed: {behind:?}");
        }
        for messages in [
            &[&user][..],
            // The loop is over.
            &[&user, &call, &result, &said, &ask],
            &[&user, &call, &result, &said, &system, &ask],
        ] {
            assert!(thinks(messages, to), "{to:?}: {messages:?}");
        }
    }
    // Models that decide themselves how much they think do not require it.
    for to in [CLAUDE, (DialectId::Converse, BEDROCK, "anthropic.claude-opus-4-7-v1")] {
        assert!(thinks(&[&user, &call, &result, &ask], to), "{to:?}");
    }
}

#[test]
fn images_are_behind_all_results() {
    let png = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [text("shot"), png]});
    let request = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [tool_use("c1"), tool_use("c2")]},
        {"role": "user", "content": [result("c1"), result("c2"), text("what is it?")]}]});
    let kinds = |parts: &Value| -> Vec<String> {
        let first = |part: &Value| part.as_object().unwrap().keys().next().unwrap().clone();
        parts.as_array().unwrap().iter().map(first).collect()
    };
    for to in [GEMINI_2, (DialectId::Gemini, VERTEX, "gemini-2.5-pro")] {
        let (body, dropped) = send(DialectId::Messages, &request, to);
        let parts = &body["contents"][2]["parts"];
        let expected = ["functionResponse", "functionResponse", "text", "inlineData", "text", "inlineData", "text"];
        assert_eq!((kinds(parts).as_slice(), dropped.as_str()), (&expected.map(str::to_owned)[..], ""), "{to:?}");
        assert_eq!(parts[2]["text"], "From the result of f:");
    }
    let (body, _) = send(DialectId::Messages, &request, GEMINI_3);
    let parts = &body["contents"][2]["parts"];
    assert_eq!(kinds(parts), ["functionResponse", "functionResponse", "text"]);
    assert_eq!(parts[1]["functionResponse"]["parts"][0]["inlineData"]["mimeType"], "image/png");
    let (body, _) = send(DialectId::Messages, &request, (DialectId::Chat, OPENAI, "gpt-4.1"));
    let order: Vec<String> = roles(&body).into_iter().map(|(role, _)| role).collect();
    assert_eq!(order, ["user", "assistant", "tool", "tool", "user", "user"]);
    assert_eq!(body["messages"][4]["content"][1]["type"], "image_url");
}

#[test]
fn calls_and_results_reach_servers_of_openai_s_apis_in_pairs() {
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "r"});
    let request = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [tool_use("t1"), tool_use("t2")]},
        {"role": "user", "content": [result("t2"), result("zz"), text("next")]}]});
    let ids = |list: &Value, member: &str| -> Vec<String> {
        let ids = list.as_array().unwrap().iter().filter_map(|entry| entry[member].as_str());
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.sort();
        ids
    };
    for to in [(DialectId::Chat, OPENAI, "gpt-4.1"), (DialectId::Chat, MISTRAL, "mistral-large-latest"), VLLM] {
        let (body, _) = send(DialectId::Messages, &request, to);
        let messages = body["messages"].as_array().unwrap();
        let calls = messages.iter().position(|message| message["tool_calls"].is_array()).unwrap();
        let called = ids(&messages[calls]["tool_calls"], "id");
        assert_eq!(called.len(), 2, "{to:?}");
        assert_eq!(ids(&json!(&messages[calls + 1..calls + 3]), "tool_call_id"), called, "{to:?}: {body}");
        assert!(messages[calls + 3..].iter().all(|message| message["role"] != "tool"), "{to:?}: {body}");
        assert!(body.to_string().contains("Result of the tool call zz:"), "{to:?}: {body}");
    }
    let (body, _) = send(DialectId::Messages, &request, GPT);
    let of_type = |kind: &str| -> Value {
        body["input"].as_array().unwrap().iter().filter(|item| item["type"] == kind).cloned().collect()
    };
    let called = ids(&of_type("function_call"), "call_id");
    assert_eq!((called.len(), &ids(&of_type("function_call_output"), "call_id")), (2, &called), "{body}");
}

#[test]
fn deepseek_does_not_think_where_a_call_is_forced() {
    let off = json!({"type": "disabled"});
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    for model in ["deepseek-chat", "deepseek-reasoner", "deepseek-v4-flash"] {
        for (choice, thinking, expected, lost) in [
            (json!({"type": "any"}), Value::Null, &off, ""),
            (json!({"type": "tool", "name": "f"}), json!({"type": "disabled"}), &off, ""),
            (json!({"type": "any"}), json!({"type": "enabled", "budget_tokens": 2048}), &off, "reasoning"),
            (json!({"type": "auto"}), Value::Null, &Value::Null, ""),
        ] {
            let request = json!({"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "go"}],
                "tools": tools, "tool_choice": choice, "thinking": thinking});
            let (body, dropped) = send(DialectId::Messages, &request, (DialectId::Chat, DEEPSEEK, model));
            assert_eq!((&body["thinking"], dropped.as_str()), (expected, lost), "{model}: {request}");
            assert!(body["reasoning_effort"].is_null(), "{model}: {request}");
        }
    }
    // Another server.
    let request = json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "go"}],
        "tools": tools, "tool_choice": {"type": "any"}});
    let (body, _) = send(DialectId::Messages, &request, (DialectId::Chat, MISTRAL, "mistral-large-latest"));
    assert!(body["thinking"].is_null() && body["tool_choice"] != Value::Null, "{body}");
}
