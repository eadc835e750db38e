//! Tools that the client runs, of every kind: offered by every target, called, and answered.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::{Call, Choice, Content, Finish, Names, Reply},
    dialect::{DialectId, StreamMode, Translator},
    stream::TopLevel,
};

use crate::exercise::{DESTINATIONS, To, destination, head, mode, presets::ANTHROPIC};

/// Claude, to which most of the cases were sent.
const CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5");

/// What is sent to a target, and how its calls come back.
struct Sent {
    to: DialectId,
    body: Value,
    dropped: Vec<String>,
    names: Arc<Names>,
}

/// Translates a request of `from`; the text of the error if it is refused.
fn send(from: DialectId, request: &Value, to: To) -> Result<Sent, String> {
    let body = request.to_string();
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let mut read = from.dialect().read_request(&top).map_err(|invalid| invalid.to_string())?;
    let names = Arc::new(Names::fit(&mut read));
    let (mut out, mut dropped) = (Vec::new(), read.dropped.clone());
    let written = to.0.dialect().write_request(&read, &destination(to), &mut dropped, &mut out);
    written.map_err(|invalid| invalid.to_string())?;
    let dropped = dropped.names().iter().map(ToString::to_string).collect();
    Ok(Sent { to: to.0, body: serde_json::from_slice(&out).unwrap(), dropped, names })
}

fn sent(from: DialectId, request: &Value, to: To) -> Sent {
    send(from, request, to).unwrap_or_else(|why| panic!("{to:?}: {why}: {request}"))
}

impl Sent {
    /// The functions that the target is offered: name, description, schema.
    fn functions(&self) -> Vec<(String, String, Value)> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let (tools, inner, schema) = match self.to {
            DialectId::Chat => (list(&self.body["tools"]), "/function", "parameters"),
            DialectId::Responses => (list(&self.body["tools"]), "", "parameters"),
            DialectId::Messages => (list(&self.body["tools"]), "", "input_schema"),
            DialectId::Gemini => {
                let tools =
                    list(&self.body["tools"]).iter().flat_map(|tool| list(&tool["functionDeclarations"])).collect();
                (tools, "", "parametersJsonSchema")
            }
            DialectId::Converse => (list(&self.body["toolConfig"]["tools"]), "/toolSpec", "inputSchema"),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        tools
            .iter()
            // Those of another type are the vendor's.
            .filter(|tool| tool.get("type").is_none_or(|kind| kind == "function"))
            .map(|tool| tool.pointer(inner).unwrap())
            .map(|tool| (text(&tool["name"]), text(&tool["description"]), tool[schema].clone()))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.functions().into_iter().map(|(name, ..)| name).collect()
    }

    /// The client's reply, buffered and as the text of a stream, when the model calls `name`.
    fn call(&self, client: DialectId, name: &str, arguments: &str) -> (Value, String) {
        let call = Call { id: "c1".into(), name: name.into(), arguments: arguments.into(), signature: None };
        let choice = Choice {
            parts: vec![Content::Call(call).into()],
            finish: Finish::ToolCalls,
            stop_sequence: None,
            logprobs: vec![],
        };
        let provider = self.to.dialect();
        let mut wire = Vec::new();
        provider.write_reply(&Reply { choices: vec![choice], ..Reply::default() }, &head(StreamMode::No), &mut wire);
        let mut reply = provider.read_reply(&wire).unwrap();
        for part in reply.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
            if let Content::Call(call) = &mut part.content {
                self.names.restore(&mut call.name);
            }
        }
        let mut buffered = Vec::new();
        client.dialect().write_reply(&reply, &head(StreamMode::No), &mut buffered);
        let mut writer = provider.write_events(head(mode(self.to)));
        let mut stream = Vec::new();
        provider.read_reply(&wire).unwrap().replay(&mut |event| writer.event(&event, &mut stream));
        let names = Arc::clone(&self.names);
        let mut translator = Translator::new(self.to, mode(self.to), client, head(StreamMode::Sse), names);
        // In small frames, so that arguments arrive in pieces.
        let mut streamed = Vec::new();
        for frame in stream.chunks(7) {
            streamed.extend_from_slice(&translator.frame(frame).unwrap());
        }
        streamed.extend_from_slice(&translator.finish());
        (serde_json::from_slice(&buffered).unwrap(), String::from_utf8(streamed).unwrap())
    }
}

/// The data of a stream's events.
fn events(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

/// Whether `value` has everything that `expected` has.
fn has(value: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => fields.iter().all(|(key, expected)| has(&value[key], expected)),
        _ => value == expected,
    }
}

fn responses(tools: &Value) -> Value {
    json!({"model": "m", "input": "go", "tools": tools})
}

/// Rules that hold for the functions of every target.
fn check_functions(sent: &Sent) {
    let mut seen = BTreeSet::new();
    for (name, _, schema) in sent.functions() {
        assert!(
            name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
            "{name}"
        );
        assert!(name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'), "{name}");
        let schema = if sent.to == DialectId::Converse { schema["json"].clone() } else { schema };
        let needed = matches!(sent.to, DialectId::Messages | DialectId::Converse | DialectId::Responses);
        assert!(schema["type"] == "object" || (schema.is_null() && !needed), "{name}: {schema}");
        assert!(seen.insert(name.clone()), "{:?}: {name} is there twice", sent.to);
    }
}

/// The names under which the tools of a list are expected.
fn expected_names(tools: &Value, into: &mut BTreeSet<String>) {
    for tool in tools.as_array().into_iter().flatten() {
        let name = tool["name"].as_str().unwrap_or_default();
        match tool["type"].as_str().unwrap() {
            "namespace" => {
                let inner = tool["tools"].as_array().unwrap();
                into.extend(inner.iter().map(|inner| format!("{name}__{}", inner["name"].as_str().unwrap())));
            }
            "function" | "custom" => drop(into.insert(name.to_owned())),
            "tool_search" => drop(into.insert("tool_search".to_owned())),
            _ => {}
        }
    }
}

#[test]
fn every_tool_of_an_agent_reaches_every_target() {
    let requests = [
        include_str!("agents/searched_tools.json"),
        include_str!("agents/namespaces.json"),
        include_str!("agents/mcp_namespaces.json"),
        include_str!("agents/additional_tools.json"),
    ];
    for text in requests {
        let request: Value = serde_json::from_str(text).unwrap();
        let mut expected = BTreeSet::new();
        expected_names(&request["tools"], &mut expected);
        let items = request["input"].as_array().unwrap();
        for item in items {
            expected_names(&item["tools"], &mut expected);
        }
        assert!(expected.len() > 1, "{expected:?}");
        for to in DESTINATIONS {
            let sent = sent(DialectId::Responses, &request, to);
            check_functions(&sent);
            assert_eq!(sent.names().into_iter().collect::<BTreeSet<_>>(), expected, "{to:?}");
            let kinds = ["custom", "namespace", "tool_search", "additional_tools", "apply_patch", "call"];
            let named = sent.dropped.iter().any(|name| kinds.iter().any(|kind| name.contains(kind)));
            assert!(!named, "{to:?}: {:?}", sent.dropped);
            // Whatever was called or answered is still there.
            let body = sent.body.to_string();
            for item in items {
                for key in ["output", "input"] {
                    if let Some(text) = item[key].as_str() {
                        let text = json!(text).to_string();
                        let inner = text.trim_matches('"');
                        // The argument of a function may be JSON within JSON.
                        let nested = json!(inner).to_string();
                        assert!(
                            body.contains(inner) || body.contains(nested.trim_matches('"')),
                            "{to:?}: {text}: {body}"
                        );
                    }
                }
            }
        }
    }
}

/// Every kind: its declaration, the function that the model calls, the arguments, and the item that the client gets, as
/// `openai.types.responses` defines it.
fn kinds() -> Vec<(Value, &'static str, &'static str, Value)> {
    let input = r#"{"input":"*** Begin Patch\n*** End Patch"}"#;
    vec![
        (
            json!({"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}),
            "f",
            r#"{"a":1}"#,
            json!({"type": "function_call", "name": "f", "arguments": "{\"a\":1}", "namespace": null}),
        ),
        (
            json!({"type": "custom", "name": "patch", "description": "d"}),
            "patch",
            input,
            json!({"type": "custom_tool_call", "name": "patch", "input": "*** Begin Patch\n*** End Patch"}),
        ),
        (
            json!({"type": "namespace", "name": "mcp__x", "description": "d", "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}),
            "mcp__x__f",
            "{}",
            json!({"type": "function_call", "name": "f", "namespace": "mcp__x", "arguments": "{}"}),
        ),
        (
            json!({"type": "namespace", "name": "ns", "description": "d", "tools": [{"type": "custom", "name": "c"}]}),
            "ns__c",
            r#"{"input":"x"}"#,
            json!({"type": "custom_tool_call", "name": "c", "namespace": "ns", "input": "x"}),
        ),
        (
            json!({"type": "tool_search", "execution": "client", "description": "d",
                   "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}),
            "tool_search",
            r#"{"query":"q"}"#,
            json!({"type": "tool_search_call", "execution": "client", "arguments": {"query": "q"}}),
        ),
        (
            json!({"type": "local_shell"}),
            "local_shell",
            r#"{"command":["ls","-l"]}"#,
            json!({"type": "local_shell_call", "action": {"type": "exec", "command": ["ls", "-l"], "env": {}}}),
        ),
        (
            json!({"type": "shell", "environment": {"type": "local"}}),
            "shell",
            r#"{"commands":["ls"],"timeout_ms":9}"#,
            json!({"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": 9},
                   "environment": {"type": "local"}}),
        ),
        (
            json!({"type": "apply_patch"}),
            "apply_patch",
            r#"{"type":"create_file","path":"a","diff":"+b"}"#,
            json!({"type": "apply_patch_call", "operation": {"type": "create_file", "path": "a", "diff": "+b"}}),
        ),
        (
            json!({"type": "computer"}),
            "computer",
            r#"{"actions":[{"type":"wait"}]}"#,
            json!({"type": "computer_call", "actions": [{"type": "wait"}], "pending_safety_checks": []}),
        ),
        (
            json!({"type": "computer_use_preview", "display_width": 800, "display_height": 600,
                   "environment": "linux"}),
            "computer",
            r#"{"action":{"type":"click","button":"left","x":1,"y":2}}"#,
            json!({"type": "computer_call", "action": {"type": "click", "button": "left", "x": 1, "y": 2},
                   "pending_safety_checks": []}),
        ),
    ]
}

#[test]
fn calls_come_back_in_the_form_of_their_tools() {
    for (tool, name, arguments, expected) in kinds() {
        for to in DESTINATIONS {
            let sent = sent(DialectId::Responses, &responses(&json!([tool])), to);
            check_functions(&sent);
            assert_eq!(sent.names(), [name], "{to:?}");
            assert_eq!(sent.dropped, [""; 0], "{to:?}");
            let (buffered, stream) = sent.call(DialectId::Responses, name, arguments);
            let item = &buffered["output"][0];
            assert!(has(item, &expected), "{to:?}: {item} is not {expected}");
            assert_eq!((&item["status"], item["call_id"].is_string()), (&json!("completed"), true), "{to:?}: {item}");
            let events = events(&stream);
            let done = events.iter().find(|event| event["type"] == "response.output_item.done").unwrap();
            assert!(has(&done["item"], &expected), "{to:?}: {done}");
            let last = events.last().unwrap();
            assert!(has(&last["response"]["output"][0], &expected), "{to:?}: {last}");
            let added = events.iter().find(|event| event["type"] == "response.output_item.added").unwrap();
            assert_eq!(added["item"]["type"], expected["type"], "{to:?}");
            let streamed = |kind: &str| {
                let deltas = events.iter().filter(|event| event["type"] == format!("response.{kind}.delta"));
                let text: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
                let done = events.iter().find(|event| event["type"] == format!("response.{kind}.done"));
                (text, done.cloned().unwrap_or_default())
            };
            if let Some(input) = expected["input"].as_str() {
                let (text, done) = streamed("custom_tool_call_input");
                assert_eq!((text.as_str(), &done["input"]), (input, &json!(input)), "{to:?}: {stream}");
            }
            if let Some(arguments) = expected["arguments"].as_str() {
                let (text, done) = streamed("function_call_arguments");
                assert_eq!((text.as_str(), &done["arguments"]), (arguments, &json!(arguments)), "{to:?}: {stream}");
            }
        }
    }
}

/// A turn of every kind: the items, the function that was called, its arguments, and the text of the result.
fn turns() -> Vec<(Value, &'static str, Value, &'static str)> {
    let item = |value: Value| value;
    vec![
        (
            item(json!([
                {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": "*** Begin"},
                {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"}])),
            "patch",
            json!({"input": "*** Begin"}),
            "Done",
        ),
        (
            item(json!([
                {"type": "function_call", "call_id": "call_1", "name": "f", "namespace": "mcp__x", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1",
                 "output": [{"type": "input_text", "text": "seen"}]}])),
            "mcp__x__f",
            json!({}),
            "seen",
        ),
        (
            item(json!([
                {"type": "tool_search_call", "call_id": "call_1", "execution": "client", "arguments": {"query": "q"}},
                {"type": "tool_search_output", "call_id": "call_1", "execution": "client", "tools": [
                    {"type": "namespace", "name": "n", "description": "d",
                     "tools": [{"type": "function", "name": "g"}]}]}])),
            "tool_search",
            json!({"query": "q"}),
            "n__g",
        ),
        (
            item(json!([
                {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_1", "status": "completed",
                 "action": {"type": "exec", "command": ["ls"], "env": {}}},
                {"type": "local_shell_call_output", "id": "lsh_1", "output": "files"}])),
            "local_shell",
            json!({"type": "exec", "command": ["ls"], "env": {}}),
            "files",
        ),
        (
            item(json!([
                {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}},
                {"type": "shell_call_output", "call_id": "call_1",
                 "output": [{"stdout": "files", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]}])),
            "shell",
            json!({"commands": ["ls"]}),
            "exit_code",
        ),
        (
            item(json!([
                {"type": "apply_patch_call", "call_id": "call_1", "status": "completed",
                 "operation": {"type": "delete_file", "path": "a"}},
                {"type": "apply_patch_call_output", "call_id": "call_1", "status": "failed",
                 "output": "no such file"}])),
            "apply_patch",
            json!({"type": "delete_file", "path": "a"}),
            "no such file",
        ),
        (
            item(json!([
                {"type": "computer_call", "id": "cu_1", "call_id": "call_1", "status": "completed",
                 "actions": [{"type": "screenshot"}], "pending_safety_checks": []},
                {"type": "computer_call_output", "call_id": "call_1",
                 "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,iVBORw0KGgo="}}])),
            "computer",
            json!({"actions": [{"type": "screenshot"}]}),
            "iVBORw0KGgo=",
        ),
    ]
}

#[test]
fn calls_and_results_of_every_kind_stay_in_the_history() {
    for (items, name, arguments, result) in turns() {
        let mut input = vec![json!({"role": "user", "content": "go"})];
        input.extend(items.as_array().unwrap().iter().cloned());
        input.push(json!({"role": "user", "content": "on"}));
        // The tool is not declared any more.
        let request = json!({"model": "m", "input": input});
        for to in DESTINATIONS {
            let sent = sent(DialectId::Responses, &request, to);
            let body = sent.body.to_string();
            assert!(body.contains(name), "{to:?}: {body}");
            // The models that read no pictures name them.
            let seen = body.contains(result) || sent.dropped.iter().any(|name| name == "image");
            assert!(seen, "{to:?}: {body}");
            let left: Vec<_> =
                sent.dropped.iter().filter(|name| !["image", "is_error"].contains(&name.as_str())).collect();
            assert!(left.is_empty(), "{to:?}: {left:?}");
        }
        let claude = sent(DialectId::Responses, &request, CLAUDE).body;
        let call = &claude["messages"][1]["content"][0];
        assert_eq!((&call["type"], &call["name"], &call["input"]), (&json!("tool_use"), &json!(name), &arguments));
        let answer = &claude["messages"][2]["content"][0];
        assert_eq!((&answer["type"], &answer["tool_use_id"]), (&json!("tool_result"), &call["id"]), "{claude}");
        assert!(answer["content"].to_string().contains(result), "{answer}");
    }
}

#[test]
fn what_openai_ran_stays_in_the_history_as_text() {
    let image = json!({"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBORw0KGgo="});
    let request = json!({"model": "m", "input": [
        {"role": "user", "content": "go"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "cats"}},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "print(42)", "container_id": "c",
         "outputs": [{"type": "logs", "logs": "42"}]},
        {"type": "mcp_call", "id": "mcp_1", "name": "roll", "server_label": "dice", "arguments": "{}", "output": "six"},
        image,
        {"type": "program_output", "id": "p_1", "call_id": "call_p", "result": "seven", "status": "completed"},
        {"role": "user", "content": "on"}]});
    for to in DESTINATIONS {
        let sent = sent(DialectId::Responses, &request, to);
        let body = sent.body.to_string();
        for text in ["cats", "print(42)", "dice", "six", "seven"] {
            assert!(body.contains(text), "{to:?}: {text}: {body}");
        }
        assert!(body.contains("iVBORw0KGgo=") || sent.dropped == ["image"], "{to:?}: {:?}", sent.dropped);
    }
    let searched = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "cats"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://example.com", "title": "About cats",
                 "encrypted_content": "b3BhcXVl", "page_age": null}]},
            {"type": "text", "text": "They purr."}]},
        {"role": "user", "content": "on"}]});
    let ran = json!({"contents": [
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"executableCode": {"language": "PYTHON", "code": "print(42)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42"}},
            {"text": "It is 42."}]},
        {"role": "user", "parts": [{"text": "on"}]}]});
    for (from, request, texts) in [
        (DialectId::Messages, &searched, ["cats", "https://example.com", "They purr."]),
        (DialectId::Gemini, &ran, ["print(42)", "OUTCOME_OK", "It is 42."]),
    ] {
        for to in DESTINATIONS.into_iter().filter(|to| to.0 != from) {
            let sent = sent(from, request, to);
            let body = sent.body.to_string();
            assert!(texts.iter().all(|text| body.contains(text)) && !body.contains("b3BhcXVl"), "{to:?}: {body}");
            assert_eq!(sent.dropped, [""; 0], "{to:?}");
        }
    }
}

#[test]
fn choices_name_tools_of_every_kind() {
    let tools = json!([
        {"type": "function", "name": "plain"},
        {"type": "custom", "name": "patch"},
        {"type": "apply_patch"},
        {"type": "namespace", "name": "ns", "description": "d", "tools": [
            {"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]},
        {"type": "web_search"}]);
    let with = |choice: Value| json!({"model": "m", "input": "go", "tools": tools, "tool_choice": choice});
    for (choice, name) in [
        (json!({"type": "function", "name": "plain"}), "plain"),
        (json!({"type": "custom", "name": "patch"}), "patch"),
        (json!({"type": "apply_patch"}), "apply_patch"),
        (json!({"type": "function", "name": "f", "namespace": "ns"}), "ns__f"),
        (json!({"type": "function", "name": "f"}), "ns__f"),
        (json!({"type": "custom", "name": "g"}), "ns__g"),
    ] {
        let sent = sent(DialectId::Responses, &with(choice.clone()), CLAUDE);
        assert_eq!(sent.body["tool_choice"], json!({"type": "tool", "name": name}), "{choice}");
        assert_eq!(sent.dropped, [""; 0], "{choice}");
    }
    let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [
        {"type": "custom", "name": "patch"}, {"type": "namespace", "name": "ns"}, {"type": "web_search"}]});
    let sent = sent(DialectId::Responses, &with(allowed), CLAUDE);
    assert_eq!(sent.names(), ["patch", "ns__f", "ns__g"]);
    assert_eq!(sent.body["tool_choice"]["type"], "any");
}

#[test]
fn a_forced_tool_of_the_vendor_is_not_answered_from_memory() {
    let search = json!([{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]);
    let message = json!([{"role": "user", "content": "Perform a web search for the query: x"}]);
    let messages =
        |choice: Value| json!({"max_tokens": 99, "messages": message, "tools": search, "tool_choice": choice});
    let openai = |choice: Value| json!({"input": "x", "tools": [{"type": "image_generation"}], "tool_choice": choice});
    let gemini = json!({"contents": [{"parts": [{"text": "x"}]}], "tools": [{"googleMaps": {}}],
                        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}});
    let cases = [
        (DialectId::Messages, messages(json!({"type": "tool", "name": "web_search"})), "web_search"),
        (DialectId::Messages, messages(json!({"type": "any"})), "web_search"),
        (DialectId::Responses, openai(json!({"type": "image_generation"})), "image_generation"),
        (DialectId::Responses, openai(json!("required")), "image_generation"),
        (DialectId::Gemini, gemini, "googleMaps"),
    ];
    let to = (DialectId::Chat, crate::exercise::presets::COMPATIBLE, "llama-3.3-70b");
    for (from, request, tool) in cases {
        let refused = send(from, &request, to).err().unwrap_or_default();
        assert!(refused.starts_with("tool_choice: ") && refused.contains(tool), "{request}: {refused:?}");
    }
    // One that the model may call is left out by its name.
    let sent = sent(DialectId::Messages, &messages(json!({"type": "auto"})), to);
    assert_eq!((sent.dropped, sent.body.get("tool_choice")), (vec!["web_search".to_owned()], None));
}

#[test]
fn custom_tools_of_chat_completions_are_carried() {
    let tool = json!({"type": "custom", "custom": {"name": "sql", "description": "Runs SQL.",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "SELECT .*"}}}});
    let request = json!({"model": "m", "tools": [tool], "tool_choice": {"type": "custom", "custom": {"name": "sql"}},
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [
            {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "user", "content": "on"}]});
    for to in DESTINATIONS.into_iter().filter(|to| to.0 != DialectId::Chat) {
        let sent = sent(DialectId::Chat, &request, to);
        check_functions(&sent);
        let (name, description, _) = sent.functions().remove(0);
        assert!(
            name == "sql" && description.contains("Runs SQL.") && description.contains("SELECT .*"),
            "{description}"
        );
        let body = sent.body.to_string();
        assert!(body.contains("SELECT 1") && body.contains("\"one\""), "{to:?}: {body}");
        assert!(
            !sent.dropped.iter().any(|name| name.contains("custom") || name == "tool_choice"),
            "{:?}",
            sent.dropped
        );
        let (buffered, stream) = sent.call(DialectId::Chat, "sql", r#"{"input":"SELECT \"x\""}"#);
        let call = &buffered["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(
            (&call["type"], &call["custom"]),
            (&json!("custom"), &json!({"name": "sql", "input": "SELECT \"x\""}))
        );
        let deltas: Vec<Value> =
            events(&stream).iter().map(|event| event["choices"][0]["delta"]["tool_calls"][0].clone()).collect();
        let first = deltas.iter().find(|delta| delta["id"].is_string()).unwrap();
        assert_eq!((&first["type"], &first["custom"]["name"]), (&json!("custom"), &json!("sql")), "{first}");
        let input: String = deltas.iter().filter_map(|delta| delta["custom"]["input"].as_str()).collect();
        assert_eq!(input, "SELECT \"x\"", "{to:?}");
    }
}

#[test]
fn anthropics_client_tools_become_functions_elsewhere() {
    // Arguments that the vendor documents for each.
    let tools = [
        (json!({"type": "bash_20250124", "name": "bash"}), vec!["command", "restart"]),
        (
            json!({"type": "text_editor_20250124", "name": "str_replace_editor"}),
            vec!["command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"],
        ),
        (
            json!({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9}),
            vec!["command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"],
        ),
        (json!({"type": "memory_20250818", "name": "memory"}), vec!["command", "path", "old_path", "new_path"]),
        (
            json!({"type": "computer_20250124", "name": "computer",
                   "display_width_px": 1024, "display_height_px": 768}),
            vec!["action", "coordinate", "text", "scroll_direction", "scroll_amount", "duration"],
        ),
    ];
    for (tool, arguments) in tools {
        let request =
            json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "go"}], "tools": [tool]});
        for to in DESTINATIONS.into_iter().filter(|to| to.0 != DialectId::Messages) {
            let sent = sent(DialectId::Messages, &request, to);
            check_functions(&sent);
            assert_eq!(sent.names(), [tool["name"].as_str().unwrap()], "{to:?}");
            assert_eq!(sent.dropped, [""; 0], "{to:?}");
            let body = sent.body.to_string();
            assert!(arguments.iter().all(|name| body.contains(&format!("\"{name}\""))), "{to:?}: {body}");
            assert!(tool["type"] != "computer_20250124" || body.contains("1024 x 768"), "{body}");
        }
    }
    // A version of the future is not like the present one.
    let odd = json!({"max_tokens": 99, "messages": [{"role": "user", "content": "go"}],
                     "tools": [{"type": "computer_toolset_20260801", "name": "screen"}]});
    assert_eq!(sent(DialectId::Messages, &odd, DESTINATIONS[0]).dropped, ["screen"]);
}

#[test]
fn names_that_collide_stay_apart() {
    let function = |name: &str| json!({"type": "function", "name": name});
    let long = "x".repeat(80);
    let tools = json!([
        {"type": "namespace", "name": "a", "description": "", "tools": [
            function("b__c"), function(&long), {"type": "custom", "name": "d"}]},
        {"type": "namespace", "name": "a__b", "description": "", "tools": [function("c")]},
        {"type": "custom", "name": "a__d"},
        function("a__b__c"),
        {"type": "custom", "name": "apply_patch"},
        {"type": "apply_patch"},
        function("tool.with/slash")]);
    let expected = [
        ("function_call", Some("a"), Some("b__c")),
        ("function_call", Some("a"), Some(long.as_str())),
        ("custom_tool_call", Some("a"), Some("d")),
        ("function_call", Some("a__b"), Some("c")),
        ("custom_tool_call", None, Some("a__d")),
        ("function_call", None, Some("a__b__c")),
        ("custom_tool_call", None, Some("apply_patch")),
        ("apply_patch_call", None, None),
        ("function_call", None, Some("tool.with/slash")),
    ];
    for to in DESTINATIONS {
        let sent = sent(DialectId::Responses, &responses(&tools), to);
        check_functions(&sent);
        let names = sent.names();
        assert_eq!(names.len(), expected.len(), "{names:?}");
        assert!(names.contains(&"a__b__c".to_owned()), "a plain function keeps its name: {names:?}");
        for (name, (kind, namespace, own)) in names.iter().zip(expected) {
            let (buffered, _) = sent.call(DialectId::Responses, name, r#"{"input":"x"}"#);
            let item = &buffered["output"][0];
            let found = (item["type"].as_str(), item["namespace"].as_str(), item["name"].as_str());
            assert_eq!(found, (Some(kind), namespace, own), "{to:?}: {name}");
        }
    }
}

#[test]
fn large_and_odd_lists_of_tools_are_carried() {
    let many: Vec<Value> = (0..2000).map(|n| json!({"type": "function", "name": format!("tool_{n}")})).collect();
    let sent_many = sent(
        DialectId::Responses,
        &responses(&json!([{"type": "namespace", "name": "big", "description": "d", "tools": many}])),
        CLAUDE,
    );
    check_functions(&sent_many);
    assert_eq!(sent_many.names().len(), 2000);
    let (buffered, _) = sent_many.call(DialectId::Responses, "big__tool_1999", "{}");
    assert!(has(&buffered["output"][0], &json!({"name": "tool_1999", "namespace": "big"})), "{buffered}");

    let grammar = "start: \"a\"\n".repeat(10_000);
    let custom =
        json!({"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": grammar}});
    let large = sent(DialectId::Responses, &responses(&json!([custom])), CLAUDE);
    assert!(large.functions()[0].1.ends_with(&grammar));

    // A tool that becomes available again replaces the earlier one, and others are added.
    let more = |description: &str, other: &str| {
        json!({"type": "additional_tools", "role": "developer", "tools": [
            {"type": "custom", "name": "c", "description": description}, {"type": "function", "name": other}]})
    };
    let twice = json!({"model": "m", "tools": [{"type": "function", "name": "f"}],
                       "input": [more("old", "g"), more("new", "f"), {"role": "user", "content": "go"}]});
    let twice = sent(DialectId::Responses, &twice, CLAUDE);
    assert_eq!(twice.names(), ["f", "c", "g"]);
    assert_eq!(twice.functions()[1].1, "new");
}

#[test]
fn calls_without_tools_and_results_without_calls_are_kept() {
    let request = json!({"model": "m", "tools": [{"type": "function", "name": "f"}], "input": [
        {"type": "custom_tool_call_output", "call_id": "call_9", "output": "before its call"},
        {"role": "user", "content": "go"},
        {"type": "custom_tool_call", "call_id": "call_9", "name": "gone", "input": "x"},
        {"type": "apply_patch_call_output", "call_id": "call_7", "status": "completed", "output": "of no call"},
        {"role": "user", "content": "on"}]});
    for to in DESTINATIONS {
        let sent = sent(DialectId::Responses, &request, to);
        let body = sent.body.to_string();
        for text in ["before its call", "gone", "of no call"] {
            assert!(body.contains(text), "{to:?}: {text}: {body}");
        }
    }
}

#[test]
fn a_custom_call_that_was_cut_is_not_complete() {
    let sent = sent(DialectId::Responses, &responses(&json!([{"type": "custom", "name": "c"}])), DESTINATIONS[0]);
    let (buffered, stream) = sent.call(DialectId::Responses, "c", r#"{"input":"half of i"#);
    let item = json!({"type": "custom_tool_call", "input": "half of i", "status": "incomplete"});
    assert!(has(&buffered["output"][0], &item), "{buffered}");
    let done = events(&stream).into_iter().find(|event| event["type"] == "response.output_item.done").unwrap();
    assert!(has(&done["item"], &item), "{done}");
}

#[test]
fn references_to_what_another_vendor_stores_are_refused() {
    let user = json!({"role": "user", "content": "go"});
    let input = |item: Value| json!({"model": "m", "input": [user, item]});
    let chat = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let cases = [
        (DialectId::Responses, input(json!({"type": "item_reference", "id": "msg_1"})), "input[1]"),
        (DialectId::Responses, input(json!({"type": "compaction", "encrypted_content": "x"})), "input[1]"),
        (DialectId::Responses, input(json!({"type": "compaction_trigger"})), "input[1]"),
        (DialectId::Responses, json!({"input": "go", "previous_response_id": "resp_1"}), "previous_response_id"),
        (DialectId::Responses, json!({"input": "go", "conversation": "conv_1"}), "conversation"),
        (
            DialectId::Responses,
            input(json!({"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]})),
            "file_id",
        ),
        (DialectId::Chat, chat(json!([{"type": "file", "file": {"file_id": "file-1"}}])), "file_id"),
        (
            DialectId::Chat,
            json!({"messages": [user, {"role": "assistant", "audio": {"id": "audio_1"}}, user]}),
            "messages[1].audio",
        ),
        (DialectId::Messages, json!({"max_tokens": 99, "messages": [user], "container": "c_1"}), "container"),
        (
            DialectId::Messages,
            json!({"max_tokens": 99, "messages": [user, {"role": "assistant", "content": [
                {"type": "compaction", "content": null, "encrypted_content": "x"}]}, user]}),
            "messages[1].content[0]",
        ),
        (
            DialectId::Gemini,
            json!({"contents": [{"parts": [{"text": "go"}]}], "cachedContent": "cachedContents/1"}),
            "cachedContent",
        ),
    ];
    for (from, request, field) in cases {
        let to = (DialectId::Converse, crate::exercise::presets::BEDROCK, "amazon.nova-2-lite-v1:0");
        let refused = send(from, &request, to).err().unwrap_or_default();
        assert!(refused.starts_with(field), "{request}: {refused:?}");
    }
    // The summary that Anthropic's compaction makes can be read by any model.
    let compacted = json!({"max_tokens": 99, "messages": [user, {"role": "assistant", "content": [
        {"type": "compaction", "content": "So far: cats."}]}, user]});
    let sent = sent(DialectId::Messages, &compacted, DESTINATIONS[0]);
    assert!(sent.body.to_string().contains("So far: cats."), "{}", sent.body);
}

#[test]
fn functions_without_properties_are_valid_everywhere() {
    let request = json!({"max_tokens": 99, "messages": [{"role": "user", "content": "hi"}],
                         "tools": [{"name": "help", "description": "d", "input_schema": {"type": "object"}}]});
    for to in DESTINATIONS {
        let sent = sent(DialectId::Messages, &request, to);
        let (_, _, schema) = sent.functions().remove(0);
        let needs = matches!(to.0, DialectId::Chat | DialectId::Responses | DialectId::Messages);
        assert!(!needs || schema == json!({"type": "object", "properties": {}}), "{to:?}: {schema}");
        assert_eq!(sent.dropped, [""; 0], "{to:?}");
    }
}

#[test]
fn what_is_carried_or_empty_is_not_named() {
    let request = json!({"messages": [{"role": "user", "content": [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        {"type": "text", "text": "x"}]}], "logit_bias": {}, "zz": {}, "yy": [ ]});
    let vertex = (DialectId::Gemini, crate::exercise::presets::VERTEX, "gemini-2.5-flash");
    let sent = sent(DialectId::Chat, &request, vertex);
    assert_eq!(sent.dropped, [""; 0]);
    assert!(sent.body.to_string().contains("\"displayName\":\"a.pdf\""), "{}", sent.body);
}

#[test]
fn tools_of_the_vendor_are_reported_by_their_names() {
    let request = json!({"input": "x", "tools": [{"type": "web_search"}, {"type": "mcp", "server_label": "deepwiki"}]});
    let chat = (DialectId::Chat, crate::exercise::presets::COMPATIBLE, "llama-3.3-70b");
    assert_eq!(sent(DialectId::Responses, &request, chat).dropped, ["web_search", "deepwiki"]);
}
