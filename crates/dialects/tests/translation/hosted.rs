//! Tools that a vendor runs: offered by every client, run by the targets that have them.

use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::{BlockStart, Event, HostedAction, HostedCall, Page},
    dialect::DialectId,
    stream::TopLevel,
};

use crate::exercise::{
    To, destination,
    presets::{AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, OPENAI, VERTEX, VERTEX_CLAUDE},
    read_stream, write_reply,
};

/// The body for a target, and what is left out; the text of the error if the request is refused.
fn send(from: DialectId, request: &Value, to: To) -> Result<(Value, String), String> {
    let body = request.to_string();
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let read = from.dialect().read_request(&top).map_err(|invalid| invalid.to_string())?;
    let (mut out, mut dropped) = (Vec::new(), read.dropped.clone());
    destination(to).write(to.0, &read, &mut dropped, &mut out).map_err(|invalid| invalid.to_string())?;
    Ok((serde_json::from_slice(&out).unwrap(), dropped.to_string()))
}

const TO_CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5");
const TO_VERTEX_CLAUDE: To = (DialectId::Messages, VERTEX_CLAUDE, "claude-sonnet-4-5");
const TO_RESPONSES: To = (DialectId::Responses, OPENAI, "gpt-5.5");
const TO_AZURE: To = (DialectId::Responses, AZURE, "gpt-5.5");
const TO_GEMINI: To = (DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash");
const TO_VERTEX: To = (DialectId::Gemini, VERTEX, "gemini-2.5-flash");
/// Targets that search, and those that don't.
const SEARCH: [To; 6] = [TO_CLAUDE, TO_VERTEX_CLAUDE, TO_RESPONSES, TO_AZURE, TO_GEMINI, TO_VERTEX];
const NONE: [To; 3] = [
    (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-v1:0"),
    (DialectId::Chat, COMPATIBLE, "m"),
    (DialectId::Responses, COMPATIBLE, "m"),
];

/// A search in each client's own form, without limits, beside `tools`.
fn searches() -> Vec<(DialectId, Value)> {
    vec![
        (
            DialectId::Messages,
            json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "q"}],
                "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ),
        (DialectId::Responses, json!({"model": "m", "input": "q", "tools": [{"type": "web_search"}]})),
        (
            DialectId::Chat,
            json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "web_search_options": {}}),
        ),
        (
            DialectId::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}], "tools": [{"googleSearch": {}}]}),
        ),
        (
            DialectId::Converse,
            json!({"messages": [{"role": "user", "content": [{"text": "q"}]}],
                "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
        ),
    ]
}

#[test]
fn a_search_reaches_every_target_that_has_one() {
    for (from, request) in searches() {
        for to in SEARCH {
            let (body, dropped) = send(from, &request, to).unwrap();
            let expected = match to.0 {
                DialectId::Messages => json!([{"type": "web_search_20250305", "name": "web_search"}]),
                DialectId::Responses => json!([{"type": "web_search"}]),
                _ => json!([{"googleSearch": {}}]),
            };
            assert_eq!((&body["tools"], dropped.as_str()), (&expected, ""), "{from:?} {to:?}");
        }
        for to in NONE {
            let (body, dropped) = send(from, &request, to).unwrap();
            assert!(body.get("tools").is_none() && body.get("toolConfig").is_none(), "{from:?} {to:?}: {body}");
            let name = if from == DialectId::Responses { "web_search" } else { &dropped };
            assert!(!name.is_empty() && dropped == name, "{from:?} {to:?}: {dropped}");
        }
    }
}

#[test]
fn its_limits_are_kept_or_named() {
    let limited = json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "q"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8, "allowed_domains": ["a.example"],
            "user_location": {"type": "approximate", "city": "Bern", "country": "CH"}}]});
    let place = json!({"type": "approximate", "city": "Bern", "country": "CH"});
    let (body, dropped) = send(DialectId::Messages, &limited, TO_RESPONSES).unwrap();
    let tool = json!({"type": "web_search", "filters": {"allowed_domains": ["a.example"]}, "user_location": place});
    assert_eq!((&body["tools"], &body["max_tool_calls"], dropped.as_str()), (&json!([tool]), &json!(8), ""));
    let (body, dropped) = send(DialectId::Messages, &limited, TO_GEMINI).unwrap();
    assert_eq!(body["tools"], json!([{"googleSearch": {}}]));
    assert_eq!(dropped, "allowed_domains, max_uses, user_location");

    let of_responses = json!({"model": "m", "input": "q", "tools": [{"type": "web_search", "search_context_size": "low",
        "filters": {"allowed_domains": ["a.example"]}, "user_location": place}]});
    let (body, dropped) = send(DialectId::Responses, &of_responses, TO_CLAUDE).unwrap();
    let tool = json!({"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.example"],
        "user_location": place});
    assert_eq!((&body["tools"], dropped.as_str()), (&json!([tool]), "search_context_size"));

    let of_chat = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "web_search_options":
        {"search_context_size": "high", "user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}});
    let (body, dropped) = send(DialectId::Chat, &of_chat, TO_RESPONSES).unwrap();
    let tool = json!({"type": "web_search", "search_context_size": "high",
        "user_location": {"type": "approximate", "city": "Bern"}});
    assert_eq!((&body["tools"], dropped.as_str()), (&json!([tool]), ""));

    let mut blocked = limited;
    blocked["tools"][0]["allowed_domains"] = Value::Null;
    blocked["tools"][0]["blocked_domains"] = json!(["b.example"]);
    let (body, _) = send(DialectId::Messages, &blocked, TO_VERTEX_CLAUDE).unwrap();
    assert_eq!(body["tools"][0]["blocked_domains"], json!(["b.example"]));
    let (_, dropped) = send(DialectId::Messages, &blocked, TO_RESPONSES).unwrap();
    assert_eq!(dropped, "blocked_domains");
}

#[test]
fn a_search_that_is_required_is_required_or_refused() {
    let mut of_claude = searches().remove(0).1;
    of_claude["tool_choice"] = json!({"type": "tool", "name": "web_search"});
    let mut of_responses = searches().remove(1).1;
    of_responses["tool_choice"] = json!({"type": "web_search"});
    for (from, request) in [(DialectId::Messages, &of_claude), (DialectId::Responses, &of_responses)] {
        let choice = |to: To| send(from, request, to).map(|(body, dropped)| (body["tool_choice"].clone(), dropped));
        let named = json!({"type": "tool", "name": "web_search"});
        assert_eq!(choice(TO_CLAUDE), Ok((named, String::new())));
        assert_eq!(choice(TO_RESPONSES), Ok((json!("required"), String::new())));
        // Google's model decides itself.
        assert_eq!(choice(TO_GEMINI), Ok((Value::Null, "tool_choice".to_owned())));
        for to in NONE {
            let refused = choice(to).unwrap_err();
            assert!(refused.starts_with("tool_choice"), "{to:?}: {refused}");
        }
    }
    // Beside a function it is one of several.
    of_claude["tools"].as_array_mut().unwrap().push(json!({"name": "f", "input_schema": {"type": "object"}}));
    let (body, _) = send(DialectId::Messages, &of_claude, TO_RESPONSES).unwrap();
    let one = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]});
    assert_eq!((body["tool_choice"].clone(), body["tools"].as_array().map(Vec::len)), (one, Some(2)));
    // Most of Google's models refuse both together.
    let refused = send(DialectId::Messages, &of_claude, TO_GEMINI).unwrap_err();
    assert!(refused.starts_with("tool_choice"), "{refused}");
    of_claude["tool_choice"] = json!({"type": "auto"});
    let (body, dropped) = send(DialectId::Messages, &of_claude, TO_GEMINI).unwrap();
    assert_eq!(
        (body["tools"][0]["functionDeclarations"][0]["name"].clone(), dropped.as_str()),
        (json!("f"), "web_search")
    );
}

#[test]
fn code_and_pages_reach_the_targets_that_have_them() {
    let of_gemini = json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}],
        "tools": [{"codeExecution": {}}, {"urlContext": {}}]});
    let (body, dropped) = send(DialectId::Gemini, &of_gemini, TO_CLAUDE).unwrap();
    let tools = json!([{"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "web_fetch_20250910", "name": "web_fetch"}]);
    assert_eq!((&body["tools"], dropped.as_str()), (&tools, ""));
    let (body, dropped) = send(DialectId::Gemini, &of_gemini, TO_RESPONSES).unwrap();
    let tools = json!([{"type": "code_interpreter", "container": {"type": "auto"}}]);
    assert_eq!((&body["tools"], dropped.as_str()), (&tools, "urlContext"));
    let (body, dropped) = send(DialectId::Gemini, &of_gemini, TO_VERTEX_CLAUDE).unwrap();
    assert_eq!((body.get("tools"), dropped.as_str()), (None, "codeExecution, urlContext"));
}

#[test]
fn searches_and_pages_of_all_chunks_are_kept() {
    let chunk = |candidate: Value| format!("data: {}\n\n", json!({"candidates": [candidate]}));
    let found = |query: &str, url: &str| json!({"webSearchQueries": [query], "groundingChunks": [{"web": {"uri": url, "title": "T"}}]});
    let pages =
        json!({"urlMetadata": [{"retrievedUrl": "https://p", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}]});
    let stream = [
        chunk(json!({"content": {"parts": [{"text": "a"}]}, "urlContextMetadata": pages})),
        chunk(json!({"content": {"parts": [{"text": "b"}]}, "groundingMetadata": found("q0", "https://z")})),
        chunk(json!({"groundingMetadata": found("q1", "https://y")})),
        chunk(json!({"groundingMetadata": found("q1", "https://y"), "finishReason": "STOP"})),
    ]
    .concat();
    let calls: Vec<HostedCall<'static>> = read_stream(DialectId::Gemini, &[stream.as_bytes()])
        .into_iter()
        .filter_map(|event| match event {
            Event::Open { opened: BlockStart::Hosted(call), .. } => Some(*call),
            _ => None,
        })
        .collect();
    let found = |query: &str| query.to_owned().into();
    let page = |url: &str| Page { title: Some("T".into()), ..Page::at(url.to_owned().into()) };
    let search = HostedAction::Search {
        queries: vec![found("q0"), found("q1")],
        pages: vec![page("https://z"), page("https://y")],
    };
    let read = HostedAction::Fetch(Page::at("https://p".into()));
    assert_eq!(calls, [HostedCall::done(read), HostedCall::done(search)]);
}

#[test]
fn a_page_without_an_address_is_no_search() {
    let reply = json!({"id": "r", "model": "m", "status": "completed", "output": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "open_page", "url": null}},
        {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "plot()", "container_id": "c",
            "outputs": [{"type": "image", "url": "https://e.com/i.png"}]}]})
    .to_string();
    let reply = DialectId::Responses.dialect().read_reply(reply.as_bytes()).unwrap();
    let written: Value = serde_json::from_slice(&write_reply(DialectId::Messages, &reply)).unwrap();
    assert_eq!(written["content"][0]["name"], "web_fetch");
    assert_eq!(written["usage"]["server_tool_use"]["web_search_requests"], 0);
    assert_eq!(reply.lost.to_string(), "code_interpreter_call.outputs", "the image");
}

#[test]
fn tools_of_the_vendor_that_are_not_allowed_are_not_offered() {
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "function", "name": "g", "parameters": {"type": "object"}},
        {"type": "web_search_preview"}, {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "deepwiki", "server_url": "https://e.com"}]);
    let sent = |mode: &str, allowed: Value, to: To| {
        let choice = json!({"type": "allowed_tools", "mode": mode, "tools": allowed});
        send(DialectId::Responses, &json!({"model": "m", "input": "q", "tools": tools, "tool_choice": choice}), to)
    };
    let f = json!([{"type": "function", "name": "f"}]);
    let search = json!([{"type": "web_search"}]);
    let mcp = json!([{"type": "mcp", "server_label": "deepwiki"}]);
    let names = |body: &Value| -> Vec<String> {
        let tools = body["tools"].as_array().into_iter().flatten();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };

    let (body, dropped) = sent("required", f.clone(), TO_CLAUDE).unwrap();
    assert_eq!((names(&body), dropped.as_str()), (vec!["f".to_owned()], ""));
    assert_eq!(body["tool_choice"], json!({"type": "any"}));
    let (body, dropped) = sent("auto", search.clone(), TO_CLAUDE).unwrap();
    assert_eq!((names(&body), dropped.as_str()), (vec!["web_search".to_owned()], ""));
    let (body, dropped) = sent("auto", mcp.clone(), TO_CLAUDE).unwrap();
    assert_eq!((names(&body), dropped.as_str()), (vec![], "deepwiki"));

    let (body, dropped) = sent("auto", f.clone(), TO_GEMINI).unwrap();
    let calling = json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]});
    assert_eq!((&body["toolConfig"]["functionCallingConfig"], dropped.as_str()), (&calling, ""));
    let (body, dropped) = sent("auto", search, TO_GEMINI).unwrap();
    assert_eq!((&body["tools"], dropped.as_str()), (&json!([{"googleSearch": {}}]), ""));
    let (body, dropped) = sent("auto", mcp.clone(), TO_GEMINI).unwrap();
    assert_eq!((body.get("tools"), dropped.as_str()), (None, "deepwiki"));
    for to in [TO_CLAUDE, TO_GEMINI].into_iter().chain(NONE) {
        let refused = sent("required", mcp.clone(), to).unwrap_err();
        assert!(refused.starts_with("tool_choice"), "{to:?}: {refused}");
    }

    // A list without functions, from a client that has no tools of a vendor.
    let none = json!({"model": "m", "messages": [{"role": "user", "content": "q"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}});
    let (body, _) = send(DialectId::Chat, &none, TO_GEMINI).unwrap();
    assert_eq!(body["toolConfig"]["functionCallingConfig"], json!({"mode": "NONE"}));
}

#[test]
fn a_container_of_the_vendor_is_refused_with_its_files() {
    let request = |container: Value| json!({"model": "m", "input": "q", "tools": [{"type": "code_interpreter", "container": container}]});
    for to in [TO_CLAUDE, TO_GEMINI].into_iter().chain(NONE) {
        for (container, field) in [
            (json!("cntr_1"), "tools[0].container"),
            (json!({"type": "auto", "file_ids": ["file-1"]}), "tools[0].container.file_ids"),
        ] {
            let refused = send(DialectId::Responses, &request(container), to).unwrap_err();
            assert!(refused.starts_with(&format!("{field}: ")), "{to:?}: {refused}");
        }
    }
    for (container, lost) in [
        (json!({"type": "auto"}), ""),
        (json!({"type": "auto", "file_ids": []}), ""),
        (json!({"type": "auto", "memory_limit": "4g"}), "memory_limit"),
    ] {
        let (body, dropped) = send(DialectId::Responses, &request(container), TO_CLAUDE).unwrap();
        assert_eq!((&body["tools"][0]["name"], dropped.as_str()), (&json!("code_execution"), lost));
    }
}

#[test]
fn parts_of_items_that_are_always_there_may_be_requested() {
    let include = ["web_search_call.action.sources", "code_interpreter_call.outputs", "file_search_call.results"];
    let request = json!({"model": "m", "input": "q", "include": include, "tools": [{"type": "web_search"}]});
    for to in SEARCH {
        let (_, dropped) = send(DialectId::Responses, &request, to).unwrap();
        assert_eq!(dropped, "file_search_call.results", "{to:?}");
    }
    let (_, dropped) = send(DialectId::Responses, &request, NONE[1]).unwrap();
    assert_eq!(dropped, "file_search_call.results, web_search", "the tool");
}
