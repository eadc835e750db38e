//! Requests that stay in their dialect and get another model than the client wrote them for. What the new model refuses,
//! by its vendor's documentation, is not sent.

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_dialects::{
    dialect::{Destination, DialectId, ModelFacts, Quirks, adapt::adapt},
    stream::{Splice, TopLevel},
};

use super::exercise::presets::{AI_STUDIO, ANTHROPIC, BEDROCK, OPENAI};

/// The body for `model`, and what is reported.
fn sent(dialect: DialectId, body: &Value, asked: &str, model: &str) -> (Value, String) {
    let quirks: &'static Quirks = match dialect {
        DialectId::Messages => ANTHROPIC,
        DialectId::Chat | DialectId::Responses => OPENAI,
        DialectId::Gemini => AI_STUDIO,
        DialectId::Converse => BEDROCK,
    };
    let text = Bytes::from(body.to_string());
    let top = TopLevel::scan(&text).unwrap();
    let to = Destination { model, facts: ModelFacts::of(model), quirks };
    let mut adapted = adapt(dialect, &top, ModelFacts::of(asked), &to);
    let fitted = dialect.dialect().fit(&top, &to, &mut adapted.dropped);
    let mut splice = Splice::new(&top);
    let fitted = fitted.into_iter().map(|(name, value)| (name.to_owned(), value.map(Bytes::from)));
    for (name, value) in adapted.edits.into_iter().chain(fitted) {
        match value {
            Some(value) => splice.set(name, value.to_vec()),
            None => splice.remove(name),
        }
    }
    (serde_json::from_slice(&splice.apply(&text)).unwrap(), adapted.dropped.to_string())
}

/// `body` with `changes`, of which `null` removes a field.
fn with(body: &Value, changes: &Value) -> Value {
    let mut body = body.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
    }
    body
}

/// Each case: the model that the client names, the one that the request gets, the client's fields beside `body`, the fields
/// that change, and what is reported.
fn check(dialect: DialectId, body: &Value, cases: &[(&str, &str, Value, Value, &str)]) {
    for (asked, model, fields, changes, lost) in cases {
        let body = with(body, fields);
        let expected = (with(&body, changes), (*lost).to_owned());
        assert_eq!(sent(dialect, &body, asked, model), expected, "{asked} to {model}: {fields}");
    }
}

fn messages() -> Value {
    json!({"max_tokens": 4000, "messages": [{"role": "user", "content": "q"}]})
}

/// <https://platform.claude.com/docs/en/about-claude/models/overview>: Claude from 5.5 on refuses `any` and `tool`.
#[test]
fn a_model_that_cannot_be_forced_is_not_forced() {
    let tool = json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]);
    let tools = |choice: Value| json!({"tools": tool, "tool_choice": choice});
    let (old, new) = ("claude-sonnet-4-5", "claude-opus-5-5");
    let single = json!({"type": "auto", "disable_parallel_tool_use": true});
    check(
        DialectId::Messages,
        &messages(),
        &[
            (old, new, tools(json!({"type": "any"})), json!({"tool_choice": null}), "tool_choice"),
            (old, new, tools(json!({"type": "tool", "name": "f"})), json!({"tool_choice": null}), "tool_choice"),
            (
                old,
                new,
                tools(json!({"type": "any", "disable_parallel_tool_use": true})),
                json!({"tool_choice": single}),
                "tool_choice",
            ),
            // These are taken, and stay as they are.
            (old, new, tools(json!({"type": "auto"})), json!({}), ""),
            (old, new, tools(json!({"type": "none"})), json!({}), ""),
            (old, "claude-sonnet-4-6", tools(json!({"type": "any"})), json!({}), ""),
        ],
    );
    let config = |choice: Value| {
        json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f",
        "inputSchema": {"json": {"type": "object"}}}}], "toolChoice": choice}})
    };
    let body = json!({"messages": [{"role": "user", "content": [{"text": "q"}]}]});
    let mut free = config(json!(null));
    free["toolConfig"].as_object_mut().unwrap().remove("toolChoice");
    let (old, new) = ("anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-opus-5-5");
    check(
        DialectId::Converse,
        &body,
        &[
            (old, new, config(json!({"any": {}})), free.clone(), "tool_choice"),
            (old, new, config(json!({"tool": {"name": "f"}})), free, "tool_choice"),
            (old, new, config(json!({"auto": {}})), json!({}), ""),
        ],
    );
    let functions = |choice: Value| {
        json!({"tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": choice})
    };
    let body = json!({"messages": [{"role": "user", "content": "q"}]});
    let (old, new) = ("gpt-4.1", "anthropic/claude-opus-5.5");
    check(
        DialectId::Chat,
        &body,
        &[
            (old, new, functions(json!("required")), json!({"tool_choice": "auto"}), "tool_choice"),
            (old, new, functions(json!("none")), json!({}), ""),
        ],
    );
}

/// Claude from 4.6 on: "Prefilling assistant messages is not supported".
#[test]
fn the_beginning_of_an_answer_is_followed_by_a_turn_of_the_user() {
    let turns = |last: &[Value]| {
        let mut turns = vec![json!({"role": "user", "content": "q"}), json!({"role": "assistant", "content": "The"})];
        turns.extend_from_slice(last);
        json!({"messages": turns})
    };
    let continued = turns(&[json!({"role": "user", "content": "(continue)"})]);
    let (old, new) = ("claude-sonnet-4-5", "claude-opus-4-8");
    check(
        DialectId::Messages,
        &messages(),
        &[
            (old, new, turns(&[]), continued, "prefill"),
            (old, new, turns(&[json!({"role": "user", "content": "on"})]), json!({}), ""),
            ("claude-3-7-sonnet-latest", old, turns(&[]), json!({}), ""),
        ],
    );
    let turns = |last: &[Value]| {
        let mut turns = vec![
            json!({"role": "user", "content": [{"text": "q"}]}),
            json!({"role": "assistant", "content": [{"text": "The"}]}),
        ];
        turns.extend_from_slice(last);
        json!({"messages": turns})
    };
    let (old, new) = ("anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-opus-4-8");
    let continued = turns(&[json!({"role": "user", "content": [{"text": "(continue)"}]})]);
    check(DialectId::Converse, &json!({}), &[(old, new, turns(&[]), continued, "prefill")]);
}

/// What Codex and opencode send for each turn. A model without reasoning answers 400: "Encrypted content is not supported
/// with this model", and to any `verbosity` but `medium`.
#[test]
fn agents_with_reasoning_get_a_model_without() {
    let question = json!({"role": "user", "content": "q"});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "r"});
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"});
    let body = json!({"store": false, "input": [question, reasoning, call, result],
        "reasoning": {"effort": "medium", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low"}});
    let without = json!([question, call, result]);
    let format = json!({"type": "text"});
    check(
        DialectId::Responses,
        &body,
        &[
            (
                "gpt-5.5",
                "gpt-4o",
                json!({}),
                json!({"input": without, "reasoning": null, "include": null, "text": null}),
                "reasoning, verbosity;hint",
            ),
            (
                "gpt-5.5",
                "gpt-4.1-mini",
                json!({"include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
                    "text": {"format": format, "verbosity": "high"}}),
                json!({"input": without, "reasoning": null, "include": ["message.output_text.logprobs"],
                    "text": {"format": format}}),
                "reasoning, verbosity;hint",
            ),
            ("gpt-5.5", "o4-mini", json!({}), json!({"text": null}), "verbosity;hint"),
            ("gpt-5.5", "gpt-5.1", json!({}), json!({}), ""),
        ],
    );
    let body = json!({"messages": [{"role": "user", "content": "q"}]});
    check(
        DialectId::Chat,
        &body,
        &[
            ("gpt-5.1", "gpt-4o", json!({"verbosity": "low"}), json!({"verbosity": null}), "verbosity;hint"),
            ("gpt-5.1", "gpt-4o", json!({"verbosity": "medium"}), json!({}), ""),
        ],
    );
}

/// Claude Code: "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive".
#[test]
fn thinking_is_not_cleared_where_there_is_none() {
    let clear = json!({"type": "clear_thinking_20251015", "keep": "all"});
    let other = json!({"type": "clear_tool_uses_20250919"});
    let adaptive = json!({"type": "adaptive"});
    let asked = |edits: &[&Value]| json!({"thinking": adaptive, "context_management": {"edits": edits}});
    check(
        DialectId::Messages,
        &messages(),
        &[
            (
                "claude-opus-4-8",
                "claude-3-5-haiku-20241022",
                asked(&[&clear]),
                json!({"thinking": null, "context_management": null}),
                "reasoning, context_management;hint",
            ),
            (
                "claude-opus-4-8",
                "claude-3-5-haiku-20241022",
                asked(&[&clear, &other]),
                json!({"thinking": null, "context_management": {"edits": [other]}}),
                "reasoning, context_management;hint",
            ),
            // There is no room for the smallest budget.
            (
                "claude-opus-4-8",
                "claude-sonnet-4-5",
                with(&asked(&[&clear]), &json!({"max_tokens": 1000})),
                json!({"thinking": null, "context_management": null}),
                "reasoning, context_management;hint",
            ),
            ("claude-opus-4-8", "claude-opus-5", asked(&[&clear]), json!({}), ""),
        ],
    );
}

#[test]
fn fields_of_newer_models_do_not_reach_older_ones() {
    let format = json!({"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}},
        "required": ["a"], "additionalProperties": false}});
    let fast = json!({"speed": "fast"});
    let formatted = json!({"output_config": {"format": format}});
    check(
        DialectId::Messages,
        &messages(),
        &[
            (
                "claude-opus-4-8",
                "claude-3-haiku-20240307",
                formatted.clone(),
                json!({"output_config": null}),
                "response_format",
            ),
            (
                "claude-opus-4-8",
                "claude-3-haiku-20240307",
                json!({"output_format": format}),
                json!({"output_format": null}),
                "response_format",
            ),
            ("claude-opus-4-8", "claude-sonnet-4-5", formatted, json!({}), ""),
            ("claude-opus-4-8", "claude-sonnet-4-6", fast.clone(), json!({"speed": null}), "speed;hint"),
            ("claude-opus-4-8", "claude-opus-5-5", fast, json!({}), ""),
            ("claude-opus-4-8", "claude-sonnet-4-6", json!({"speed": "standard"}), json!({}), ""),
        ],
    );
}

/// <https://platform.claude.com/docs/en/build-with-claude/effort>: the effort counts without thinking, too.
#[test]
fn an_effort_alone_turns_no_thinking_on() {
    let effort = |effort: &str| json!({"output_config": {"effort": effort}});
    check(
        DialectId::Messages,
        &messages(),
        &[
            ("claude-opus-4-8", "claude-opus-4-6", effort("high"), json!({}), ""),
            ("claude-opus-4-8", "claude-opus-4-6", effort("xhigh"), effort("high"), ""),
            ("claude-opus-4-8", "claude-opus-4-5", effort("low"), json!({}), ""),
        ],
    );
}

/// <https://ai.google.dev/gemini-api/docs/thought-signatures>: Gemini 3 refuses the first call of a turn without one.
#[test]
fn calls_of_a_model_that_does_not_sign_are_signed() {
    let history = |part: Value| {
        json!({"contents": [{"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [{"text": "t"}, part, {"functionCall": {"name": "g", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}},
            {"functionResponse": {"name": "g", "response": {}}}]}]})
    };
    let unsigned = history(json!({"functionCall": {"name": "f", "args": {}}}));
    // In base64, as the documentation has it: skip_thought_signature_validator.
    let placeholder = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
    let signed = |signature: &str| {
        history(json!({"functionCall": {"name": "f", "args": {}},
        "thoughtSignature": signature}))
    };
    check(
        DialectId::Gemini,
        &json!({}),
        &[
            ("gemini-2.5-flash", "gemini-3-pro-preview", unsigned.clone(), signed(placeholder), ""),
            ("gemini-2.5-flash", "gemini-3-pro-preview", signed("c2ln"), json!({}), ""),
            ("gemini-3-pro-preview", "gemini-2.5-flash", unsigned, json!({}), ""),
        ],
    );
}

/// Nova answers fields of Claude with a `ValidationException`, and can't read Claude's reasoning.
#[test]
fn what_is_claudes_does_not_reach_nova() {
    let reasoning = json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "c2ln"}}});
    let history = |content: Value| {
        json!([{"role": "user", "content": [{"text": "q"}]},
        {"role": "assistant", "content": content}, {"role": "user", "content": [{"text": "on"}]}])
    };
    let body = json!({"messages": history(json!([reasoning, {"text": "a"}])),
        "additionalModelRequestFields": {"anthropic_beta": ["context-1m-2025-08-07"]}});
    let claude = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let plain = json!({"messages": history(json!([{"text": "a"}])), "additionalModelRequestFields": null});
    let top_k = json!({"messages": history(json!([{"text": "a"}])),
        "additionalModelRequestFields": {"inferenceConfig": {"topK": 20}}});
    check(
        DialectId::Converse,
        &body,
        &[
            (claude, "us.amazon.nova-pro-v1:0", json!({}), plain, "anthropic_beta, thinking"),
            (claude, "us.anthropic.claude-opus-4-6", json!({}), json!({}), ""),
            (
                "us.amazon.nova-pro-v1:0",
                "us.anthropic.claude-opus-4-8",
                top_k,
                json!({"additionalModelRequestFields": null}),
                "top_k",
            ),
        ],
    );
}
