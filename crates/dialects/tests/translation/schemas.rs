//! Schemas and forms of answers as each target accepts them, by its vendor's documentation and its errors.

use serde_json::{Value, json};
use tollgate_dialects::dialect::{DialectId, Quirks};

use super::order::send;
use crate::exercise::{
    To,
    presets::{AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, OPENAI},
};

const GPT: To = (DialectId::Chat, OPENAI, "gpt-4.1");
const GPT_IN_RESPONSES: To = (DialectId::Responses, OPENAI, "gpt-5.4");
const CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5");
const CLAUDE_ON_BEDROCK: To = (DialectId::Converse, BEDROCK, "us.anthropic.claude-sonnet-4-5-20250929-v1:0");
const NOVA: To = (DialectId::Converse, BEDROCK, "us.amazon.nova-pro-v1:0");
/// The shape of OpenAI's tools.
const OPENAI_SHAPED: [To; 4] =
    [GPT, GPT_IN_RESPONSES, (DialectId::Chat, AZURE, "our-deployment"), (DialectId::Chat, COMPATIBLE, "llama-3.3-70b")];

/// A request of Messages with one tool.
fn with_tool(schema: &Value, strict: bool) -> Value {
    let mut tool = json!({"name": "f", "input_schema": schema});
    if strict {
        tool["strict"] = json!(true);
    }
    json!({"model": "m", "max_tokens": 900, "messages": [{"role": "user", "content": "q"}], "tools": [tool]})
}

/// The tool's schema and its `strict`, as the target gets them.
fn tool_in(body: &Value) -> (Value, Value) {
    let tool = &body["tools"][0];
    match (tool.get("function"), tool.get("input_schema")) {
        (Some(function), _) => (function["parameters"].clone(), function["strict"].clone()),
        (None, Some(schema)) => (schema.clone(), tool["strict"].clone()),
        (None, None) if tool.is_null() => {
            let spec = &body["toolConfig"]["tools"][0]["toolSpec"];
            (spec["inputSchema"]["json"].clone(), spec["strict"].clone())
        }
        (None, None) => (tool["parameters"].clone(), tool["strict"].clone()),
    }
}

/// "'additionalProperties' is required to be supplied and to be false", and "'required' is required to be supplied and to
/// be an array including every key in properties".
#[test]
fn strict_schemas_have_openais_form_or_are_not_strict() {
    let object = |properties: Value, required: Value| {
        json!({"type": "object", "properties": properties,
        "required": required})
    };
    let closed = |mut schema: Value| {
        schema["additionalProperties"] = json!(false);
        schema
    };
    let string = json!({"type": "string"});
    let all = object(json!({"a": string, "b": string}), json!(["a", "b"]));
    let either = json!([{"type": "string"}, {"type": "integer"}]);
    let either_one = object(json!({"a": {"oneOf": either}}), json!(["a"]));
    let either_any = object(json!({"a": {"anyOf": either}}), json!(["a"]));
    let nested = object(json!({"o": all}), json!(["o"]));
    let nested_closed = object(json!({"o": closed(all.clone())}), json!(["o"]));
    let optional = object(json!({"a": string, "b": {"type": "integer"}}), json!(["a"]));
    let map = object(json!({"a": {"type": "object", "patternProperties": {"^x": {}}}}), json!(["a"]));
    let both = object(json!({"a": {"allOf": either}}), json!(["a"]));
    for to in OPENAI_SHAPED {
        for (schema, expected) in [(&all, &all), (&either_one, &either_any), (&nested, &nested_closed)] {
            let (body, lost) = send(DialectId::Messages, &with_tool(schema, true), to);
            let expected = (closed(expected.clone()), json!(true));
            assert_eq!((tool_in(&body), lost.as_str()), (expected, ""), "{to:?}");
        }
        // An optional property would come back as `null`, which the client's schema does not allow.
        for schema in [&optional, &map, &both] {
            let (body, lost) = send(DialectId::Messages, &with_tool(schema, true), to);
            let (found, strict) = tool_in(&body);
            assert_eq!((&found, lost.as_str()), (schema, "strict"), "{to:?}");
            assert_ne!(strict, json!(true), "{to:?}");
        }
    }
    let answer = |schema: &Value| {
        json!({"model": "m", "max_tokens": 900, "messages": [{"role": "user",
        "content": "q"}], "output_config": {"format": {"type": "json_schema", "schema": schema}}})
    };
    for to in [GPT, GPT_IN_RESPONSES] {
        let form = |body: &Value| {
            let chat = &body["response_format"]["json_schema"];
            let form = if chat.is_null() { &body["text"]["format"] } else { chat };
            (form["schema"].clone(), form["strict"].clone())
        };
        let (body, lost) = send(DialectId::Messages, &answer(&nested), to);
        assert_eq!((form(&body), lost.as_str()), ((closed(nested_closed.clone()), json!(true)), ""), "{to:?}");
        let (body, lost) = send(DialectId::Messages, &answer(&optional), to);
        assert_eq!((form(&body), lost.as_str()), ((optional.clone(), Value::Null), "strict"), "{to:?}");
    }
}

/// "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level". What the
/// alternatives describe stays visible to the model.
#[test]
fn the_root_has_the_keywords_that_the_target_takes() {
    let (a, b) = (json!({"type": "string"}), json!({"type": "integer"}));
    let own = json!({"type": "object", "properties": {"a": a, "b": b}, "anyOf": [{"required": ["a"]},
        {"required": ["b"]}], "not": {"required": ["c"]}});
    let variants = json!({"anyOf": [
        {"type": "object", "properties": {"a": a, "k": {"const": "x"}}, "required": ["a", "k"]},
        {"$ref": "#/$defs/b"}], "$defs": {"b": {"type": "object", "properties": {"b": b, "k": {"const": "y"}},
        "required": ["b", "k"]}}});
    let flat = json!({"type": "object", "properties": {"a": a, "b": b}});
    for to in [GPT, GPT_IN_RESPONSES, CLAUDE_ON_BEDROCK, NOVA] {
        let (body, lost) = send(DialectId::Messages, &with_tool(&own, false), to);
        // Claude takes a `not`.
        let mut expected = flat.clone();
        if to.2.contains("claude") {
            expected["not"] = own["not"].clone();
        }
        assert_eq!((tool_in(&body).0, lost.as_str()), (expected, "schema keywords"), "{to:?}");
    }
    let request = |schema: &Value| {
        json!({"model": "m", "messages": [{"role": "user", "content": "q"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})
    };
    for to in [GPT_IN_RESPONSES, CLAUDE, CLAUDE_ON_BEDROCK, NOVA] {
        let (body, lost) = send(DialectId::Chat, &request(&variants), to);
        let mut expected = json!({"type": "object", "required": ["k"],
            "properties": {"a": a, "k": {"anyOf": [{"const": "x"}, {"const": "y"}]}, "b": b}});
        if to.2 != NOVA.2 {
            expected["$defs"] = variants["$defs"].clone();
        }
        assert_eq!((tool_in(&body).0, lost.as_str()), (expected, "schema keywords"), "{to:?}");
        let referred = json!({"$ref": "#/$defs/b", "$defs": variants["$defs"]});
        let (body, lost) = send(DialectId::Chat, &request(&referred), to);
        let mut expected = variants["$defs"]["b"].clone();
        if to.2 != NOVA.2 {
            expected["$defs"] = variants["$defs"].clone();
        }
        let named = if to.2 == NOVA.2 { "schema keywords;hint" } else { "" };
        assert_eq!((tool_in(&body).0, lost.as_str()), (expected, named), "{to:?}");
        // "None is not of type 'object'"
        let (body, _) = send(DialectId::Chat, &request(&json!({"type": "object", "properties": null})), to);
        assert_ne!(tool_in(&body).0.get("properties"), Some(&Value::Null), "{to:?}");
    }
}

/// "Only three fields are supported in top-level Object: type, properties, required."
/// <https://docs.aws.amazon.com/nova/latest/userguide/prompting-tool-troubleshooting.html>
#[test]
fn nova_gets_three_fields_at_the_root() {
    let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/list"}}});
    let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "title": "F",
        "description": "d", "properties": {"a": {"$ref": "#/$defs/x", "description": "e"}},
        "required": ["a"], "additionalProperties": false, "$defs": {"x": {"type": "string"}}});
    let (body, lost) = send(DialectId::Messages, &with_tool(&schema, false), NOVA);
    let expected = json!({"type": "object", "properties": {"a": {"type": "string", "description": "e"}},
        "required": ["a"]});
    assert_eq!((tool_in(&body).0, lost.as_str()), (expected, "schema keywords;hint"));
    // One that contains itself is written out as far as that makes sense.
    let recursive = json!({"type": "object", "properties": {"l": {"$ref": "#/$defs/list"}}, "$defs": {"list": node}});
    let (body, lost) = send(DialectId::Messages, &with_tool(&recursive, false), NOVA);
    let (found, _) = tool_in(&body);
    assert!(!found.to_string().contains('$') && found["properties"]["l"]["properties"]["next"].is_object(), "{found}");
    assert_eq!(lost, "schema keywords");
}

/// "In context=('properties', 'tags'), array schema missing items"
#[test]
fn lists_have_items_at_openai() {
    let bare = json!({"type": "array"});
    let schema = json!({"type": "object", "properties": {"tags": bare, "deep": {"type": ["array", "null"],
        "items": {"anyOf": [bare, {"type": "string"}]}}, "array": {"enum": ["array"]}}});
    let whole = json!({"type": "array", "items": {}});
    let expected = json!({"type": "object", "properties": {"tags": whole, "deep": {"type": ["array", "null"],
        "items": {"anyOf": [whole, {"type": "string"}]}}, "array": {"enum": ["array"]}}});
    for to in OPENAI_SHAPED {
        let (body, lost) = send(DialectId::Messages, &with_tool(&schema, false), to);
        assert_eq!((tool_in(&body).0, lost.as_str()), (expected.clone(), ""), "{to:?}");
    }
    let (body, _) = send(
        DialectId::Chat,
        &json!({"model": "m", "messages": [{"role": "user", "content": "q"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}),
        CLAUDE,
    );
    assert_eq!(tool_in(&body).0, schema);
}

/// "Function calling with a response mime type: 'application/json' is unsupported" (Gemini before 3), and "json mode
/// cannot be combined with tool/function calling" (Groq).
#[test]
fn json_beside_tools_is_an_instruction_where_the_target_refuses_both() {
    const GROQ: &Quirks = &Quirks { json_with_tools: false, ..Quirks::PLAIN };
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let asked = |format: Value, tools: bool| {
        let mut request = json!({"model": "m", "input": "q", "instructions": "Be brief.", "text": {"format": format}});
        if tools {
            request["tools"] = json!([{"type": "function", "name": "f", "parameters": {"type": "object",
                "properties": {"x": {"type": "string"}}}}]);
        }
        request
    };
    let (any, one) = (json!({"type": "json_object"}), json!({"type": "json_schema", "name": "n", "schema": schema}));
    let has_form =
        |body: &Value| !body["generationConfig"]["responseMimeType"].is_null() || !body["response_format"].is_null();
    for (to, refuses) in [
        ((DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash"), true),
        ((DialectId::Gemini, AI_STUDIO, "gemini-2.0-flash"), true),
        ((DialectId::Gemini, AI_STUDIO, "gemini-3-pro-preview"), false),
        ((DialectId::Chat, GROQ, "llama-3.3-70b"), true),
        ((DialectId::Chat, COMPATIBLE, "llama-3.3-70b"), false),
    ] {
        for format in [&any, &one] {
            let (body, lost) = send(DialectId::Responses, &asked(format.clone(), true), to);
            assert_eq!((has_form(&body), lost.as_str()), (!refuses, if refuses { "response_format" } else { "" }));
            let text = body.to_string();
            assert_eq!(text.contains("Answer with one JSON object"), refuses || text.contains("json_object"), "{text}");
            assert!(text.contains("Be brief.") && text.contains("\"name\":\"f\""), "{text}");
            let (body, lost) = send(DialectId::Responses, &asked(format.clone(), false), to);
            assert_eq!((has_form(&body), lost.as_str()), (true, ""), "{to:?}");
        }
    }
}

/// "Circular reference detected in schema definitions" is Claude's answer to structured output.
#[test]
fn schemas_that_contain_themselves_are_not_constrained() {
    let node = json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"},
        {"type": "null"}]}}, "required": ["next"], "additionalProperties": false});
    let schema = json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/node"}}, "required": ["n"],
        "additionalProperties": false, "$defs": {"node": node}});
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "response_format": {
        "type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}}});
    let (body, lost) = send(DialectId::Chat, &asked, CLAUDE);
    assert_eq!((&body["output_config"], lost.as_str()), (&Value::Null, ""), "{body}");
    assert_eq!(body["tool_choice"]["name"], body["tools"][0]["name"], "{body}");
    assert_eq!(body["tools"][0]["input_schema"], schema);
    let (body, lost) = send(DialectId::Chat, &asked, CLAUDE_ON_BEDROCK);
    assert_eq!((&body["outputConfig"], lost.as_str()), (&Value::Null, ""), "{body}");
    assert_eq!(tool_in(&body).0, schema);
    // This one can't be forced to call a tool.
    let (body, lost) = send(DialectId::Chat, &asked, (DialectId::Messages, ANTHROPIC, "claude-opus-5-5"));
    assert_eq!((&body["output_config"], &body["tools"]), (&Value::Null, &Value::Null), "{body}");
    assert!(body["system"].to_string().contains("#/$defs/node") && lost == "response_format", "{lost} {body}");

    let tool = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "tools": [{"type": "function",
        "function": {"name": "f", "parameters": schema, "strict": true}}]});
    for to in [CLAUDE, CLAUDE_ON_BEDROCK] {
        let (body, lost) = send(DialectId::Chat, &tool, to);
        assert_eq!((tool_in(&body), lost.as_str()), ((schema.clone(), Value::Null), "strict"), "{to:?}");
    }
}
