//! What is added where. Expected bodies follow the vendors' references of each request.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    conversation::PLACEHOLDER,
    dialect::{BedrockVerb, GeminiVerb},
};

fn message(role: Role, text: &str) -> AddedMessage {
    AddedMessage { role, text: text.into() }
}

/// Instructions around the client's, a user's message in front and one behind.
fn enrichment() -> Enrichment {
    use Role::{System, User};
    Enrichment {
        prepend: vec![message(System, "S \"1\"\n"), message(User, "U1")],
        append: vec![message(User, "U2"), message(System, "S2")],
    }
}

fn only(role: Role) -> Enrichment {
    Enrichment { prepend: vec![message(role, "first")], append: vec![message(role, "last")] }
}

fn added(enrichment: &Enrichment, endpoint: &Endpoint, body: &Value) -> Value {
    let body = Bytes::from(body.to_string());
    let out = enrichment.apply(endpoint, &body).unwrap_or_else(|error| panic!("{error:?}"));
    serde_json::from_slice(&out).unwrap()
}

fn refusal(enrichment: &Enrichment, endpoint: &Endpoint, body: &Value) -> Invalid {
    enrichment.apply(endpoint, &Bytes::from(body.to_string())).unwrap_err()
}

const GEMINI: Endpoint = Endpoint::Gemini(GeminiVerb::Generate, None);
const CONVERSE: Endpoint = Endpoint::Bedrock(BedrockVerb::Converse, None);

#[test]
fn chat_has_all_of_it_in_its_messages() {
    let body = json!({"model": "m", "messages": [
        {"role": "developer", "content": "own"}, {"role": "user", "content": [{"type": "text", "text": "q"}]}]});
    let expected = json!({"model": "m", "messages": [
        {"role": "system", "content": "S \"1\"\n"}, {"role": "developer", "content": "own"},
        {"role": "user", "content": "U1"}, {"role": "user", "content": [{"type": "text", "text": "q"}]},
        {"role": "user", "content": "U2"}, {"role": "system", "content": "S2"}]});
    assert_eq!(added(&enrichment(), &Endpoint::ChatCompletions, &body), expected);
}

#[test]
fn responses_have_instructions_apart_and_a_text_becomes_a_list() {
    let body = json!({"input": "q", "instructions": "own", "previous_response_id": "resp_1"});
    let expected = json!({"instructions": "S \"1\"\n\n\nown\n\nS2", "previous_response_id": "resp_1", "input": [
        {"role": "user", "content": "U1"}, {"role": "user", "content": "q"}, {"role": "user", "content": "U2"}]});
    assert_eq!(added(&enrichment(), &Endpoint::Responses, &body), expected);
    // Instructions alone leave the input as it is.
    let body = json!({"input": "q", "instructions": null});
    let expected = json!({"input": "q", "instructions": "first\n\nlast"});
    assert_eq!(added(&only(Role::System), &Endpoint::Responses, &body), expected);
    // Reasoning must be followed by its message.
    let answer =
        [json!({"type": "reasoning", "id": "rs", "summary": []}), json!({"role": "assistant", "content": "a"})];
    let call = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
    let body = json!({"input": [call, answer[0], answer[1]]});
    let expected = json!({"input": [{"role": "user", "content": "first"}, call, {"role": "user", "content": "last"},
        answer[0], answer[1]]});
    assert_eq!(added(&only(Role::User), &Endpoint::Responses, &body), expected);
}

#[test]
fn messages_have_blocks_and_keep_what_is_cached() {
    let cached = json!({"type": "text", "text": "own", "cache_control": {"type": "ephemeral"}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let body = json!({"system": [cached], "messages": [{"role": "user", "content": "q"}]});
    let expected = json!({"system": [text("S \"1\"\n"), cached, text("S2")],
        "messages": [{"role": "user", "content": [text("U1"), text("q"), text("U2")]}]});
    assert_eq!(added(&enrichment(), &Endpoint::Messages, &body), expected);
    // A text becomes a block; an empty one would be refused.
    for (own, blocks) in
        [("own", json!([text("first"), text("own"), text("last")])), ("", json!([text("first"), text("last")]))]
    {
        let body = json!({"system": own, "messages": []});
        let expected = json!({"system": blocks, "messages": []});
        assert_eq!(added(&only(Role::System), &Endpoint::Messages, &body), expected);
    }
    let none = added(&only(Role::System), &Endpoint::Messages, &json!({"messages": []}));
    assert_eq!(none["system"], json!([text("first"), text("last")]));
}

#[test]
fn a_result_follows_its_call_and_an_answer_that_is_begun_stays_last() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "r"});
    let question = json!({"role": "user", "content": [text("q")]});
    let begun = json!({"role": "assistant", "content": "The answer is"});
    let body = json!({"messages": [question, call, {"role": "user", "content": [result]}, begun]});
    let expected = json!({"messages": [{"role": "user", "content": [text("first"), text("q")]}, call,
        {"role": "user", "content": [result, text("last")]}, begun]});
    assert_eq!(added(&only(Role::User), &Endpoint::Messages, &body), expected);
    // In Chat Completions results have a role of their own.
    let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let chat = json!({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t", "content": "r"}]});
    let mut expected = chat.clone();
    expected["messages"].as_array_mut().unwrap().insert(0, json!({"role": "user", "content": "first"}));
    expected["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "last"}));
    assert_eq!(added(&only(Role::User), &Endpoint::ChatCompletions, &chat), expected);
}

#[test]
fn gemini_has_parts_in_both_of_its_spellings() {
    let own = json!({"text": "own"});
    let turns = json!([{"parts": [{"text": "q"}]}, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]);
    let expected_turns = json!([{"parts": [{"text": "U1"}, {"text": "q"}]}, turns[1],
        {"role": "user", "parts": [turns[2]["parts"][0], {"text": "U2"}]}]);
    for (name, system) in [
        ("systemInstruction", json!({"role": "system", "parts": [own]})),
        ("system_instruction", json!({"role": "system", "parts": own})),
    ] {
        let expected = json!({name: {"role": "system", "parts": [{"text": "S \"1\"\n"}, own, {"text": "S2"}]},
            "contents": expected_turns});
        assert_eq!(added(&enrichment(), &GEMINI, &json!({name: system, "contents": turns})), expected);
    }
    // Google's servers take the only element of a list without brackets, and a text as instructions.
    let body = json!({"contents": {"role": "user", "parts": {"text": "q"}}, "systemInstruction": "own"});
    let expected = json!({"contents": [{"role": "user", "parts": [{"text": "U1"}, {"text": "q"}, {"text": "U2"}]}],
        "systemInstruction": {"parts": [{"text": "S \"1\"\n"}, own, {"text": "S2"}]}});
    assert_eq!(added(&enrichment(), &GEMINI, &body), expected);
    let none = added(&only(Role::System), &GEMINI, &json!({"contents": []}));
    assert_eq!(none["systemInstruction"], json!({"parts": [{"text": "first"}, {"text": "last"}]}));
}

#[test]
fn converse_alternates_and_begins_with_the_user() {
    let point = json!({"cachePoint": {"type": "default"}});
    let body = json!({"system": [{"text": "own"}, point], "messages": [{"role": "user", "content": [{"text": "q"}]}]});
    let expected = json!({"system": [{"text": "S \"1\"\n"}, {"text": "own"}, point, {"text": "S2"}],
        "messages": [{"role": "user", "content": [{"text": "U1"}, {"text": "q"}, {"text": "U2"}]}]});
    assert_eq!(added(&enrichment(), &CONVERSE, &body), expected);
    let body = json!({"messages": [{"role": "user", "content": [{"text": "q"}]}]});
    let expected = json!({"messages": [{"role": "user", "content": [{"text": PLACEHOLDER}]},
        {"role": "assistant", "content": [{"text": "first"}]}, {"role": "user", "content": [{"text": "q"}]},
        {"role": "assistant", "content": [{"text": "last"}]}]});
    assert_eq!(added(&only(Role::Assistant), &CONVERSE, &body), expected);
    // OpenAI's conversations may begin with anyone.
    let chat = added(&only(Role::Assistant), &Endpoint::ChatCompletions, &json!({"messages": []}));
    assert_eq!(chat["messages"][0], json!({"role": "assistant", "content": "first"}));
}

#[test]
fn several_messages_keep_their_order_and_authors() {
    let all = [(Role::User, "1"), (Role::Assistant, "2"), (Role::Assistant, "3"), (Role::User, "4")];
    let prepend = all.into_iter().map(|(role, text)| message(role, text)).collect();
    let added = added(&Enrichment { prepend, append: Vec::new() }, &Endpoint::Messages, &json!({"messages": []}));
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!([{"role": "user", "content": [text("1")]},
        {"role": "assistant", "content": [text("2"), text("3")]}, {"role": "user", "content": [text("4")]}]);
    assert_eq!(added["messages"], expected);
}

#[test]
fn what_is_counted_is_what_would_be_sent() {
    let messages = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
    let sent = added(&enrichment(), &Endpoint::Messages, &messages);
    assert_eq!(added(&enrichment(), &Endpoint::CountMessageTokens, &messages), sent);

    let converse = json!({"messages": [{"role": "user", "content": [{"text": "q"}]}]});
    let count = Endpoint::Bedrock(BedrockVerb::CountTokens, None);
    let expected = json!({"input": {"converse": added(&enrichment(), &CONVERSE, &converse)}});
    assert_eq!(added(&enrichment(), &count, &json!({"input": {"converse": converse}})), expected);
    let body = BASE64_STANDARD.encode(messages.to_string());
    let invoked = added(&enrichment(), &count, &json!({"input": {"invokeModel": {"body": body}}}));
    let body = BASE64_STANDARD.decode(invoked["input"]["invokeModel"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), sent);

    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}]});
    let count = Endpoint::Gemini(GeminiVerb::CountTokens, None);
    for name in ["generateContentRequest", "generate_content_request"] {
        let expected = json!({name: added(&enrichment(), &GEMINI, &contents)});
        assert_eq!(added(&enrichment(), &count, &json!({name: contents})), expected);
    }
    // AI Studio refuses instructions beside contents.
    let expected = json!({"contents": [{"parts": [{"text": "first"}, {"text": "last"}]}, contents["contents"][0]]});
    assert_eq!(added(&only(Role::System), &count, &contents), expected);
}

#[test]
fn claude_in_a_request_to_invoke_it_is_a_conversation() {
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "messages": [{"role": "user", "content": "q"}]});
    let mut expected = added(&enrichment(), &Endpoint::Messages, &body);
    expected["anthropic_version"] = body["anthropic_version"].clone();
    assert_eq!(added(&enrichment(), &Endpoint::Bedrock(BedrockVerb::InvokeClaude, None), &body), expected);
}

#[test]
fn other_operations_are_not_touched() {
    let body = Bytes::from_static(br#"{"input":"q","messages":[]}"#);
    for endpoint in [
        Endpoint::Embeddings,
        Endpoint::Completions,
        Endpoint::Moderations,
        Endpoint::CompactResponse,
        Endpoint::Bedrock(BedrockVerb::Invoke, None),
        Endpoint::Gemini(GeminiVerb::Embed, None),
    ] {
        let same = enrichment().apply(&endpoint, &body).unwrap();
        assert_eq!(same.as_ptr(), body.as_ptr(), "{endpoint:?}");
    }
}

#[test]
fn what_the_client_wrote_stays_as_it_is() {
    let turn = r#"{"role":"user", "content":"caf\u00e9 \ud83d\ude00", "x":1.0}"#;
    let body = Bytes::from(format!(r#"{{ "temperature" : 0.70, "messages" : [ {turn} ], "z": 1e2 }}"#));
    let out = only(Role::User).apply(&Endpoint::ChatCompletions, &body).unwrap();
    let out = std::str::from_utf8(&out).unwrap();
    assert!(out.starts_with(r#"{ "temperature" : 0.70, "messages" : ["#), "{out}");
    assert!(out.contains(turn), "{out}");
    assert!(out.ends_with(r#", "z": 1e2 }"#), "{out}");
}

#[test]
fn a_field_in_another_case_does_not_undo_it() {
    let body = json!({"messages": [], "MESSAGES": [{"role": "user", "content": "x"}], "System": "theirs"});
    let out = added(&enrichment(), &Endpoint::Messages, &body);
    assert!(out.get("MESSAGES").is_none() && out.get("System").is_none(), "{out}");
    assert_eq!(out["system"][0]["text"], "S \"1\"\n");
}

#[test]
fn fields_of_another_form_are_refused_by_name() {
    let user = only(Role::User);
    for body in
        [json!({"messages": 7}), json!({"messages": "q"}), json!({"messages": [{"role": "user", "content": 7}]})]
    {
        assert_eq!(refusal(&user, &Endpoint::Messages, &body).field, "messages", "{body}");
    }
    let system = only(Role::System);
    for (endpoint, body, field) in [
        (Endpoint::Responses, json!({"instructions": ["a"]}), "instructions"),
        (Endpoint::Messages, json!({"system": {"text": "a"}}), "system"),
        (GEMINI, json!({"systemInstruction": 7}), "systemInstruction"),
        (GEMINI, json!({"systemInstruction": {"parts": 7}}), "systemInstruction"),
        (Endpoint::Bedrock(BedrockVerb::CountTokens, None), json!({"input": {}}), "invokeModel"),
    ] {
        assert_eq!(refusal(&system, &endpoint, &body).field, field, "{body}");
    }
    // What is not a message is the provider's to refuse.
    assert_eq!(added(&user, &Endpoint::ChatCompletions, &json!({"messages": [7]}))["messages"][1], 7);
}

#[test]
fn a_megabyte_is_added_to_ten_thousand_messages() {
    let long = "\u{e9}".repeat(512 * 1024);
    let enrichment = Enrichment { prepend: vec![message(Role::User, &long)], append: Vec::new() };
    let messages: Vec<Value> = (0..10_000).map(|n| json!({"role": "user", "content": n.to_string()})).collect();
    let out = added(&enrichment, &Endpoint::ChatCompletions, &json!({"messages": messages}));
    let out = out["messages"].as_array().unwrap();
    assert_eq!((out.len(), out[0]["content"].as_str().unwrap().len()), (10_001, long.len()));
    assert_eq!(out.last().unwrap()["content"], "9999");
}
