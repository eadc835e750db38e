//! Bodies that arrive byte for byte, and the few bytes that may change.

use serde_json::json;

use crate::common::{
    KEY, Start, Upstream,
    manifests::{s1, s1_with},
};

/// A body that no serialiser would write: order, spaces, numbers, escapes, a duplicate key, unknown keys.
const ODD: &str = concat!(
    "{ \"zz_new\" : {\"b\":[ ],\"a\":-0.0} ,\r\n\t\"temperature\":1.0e+2,\"seed\":123456789012345678901234567890,",
    "\"user\":\"caf\\u00e9 \\ud83d\\ude00 \u{e9}\\/\",\"x\":1,\"x\":2,\"model\":\"m\",@@, \
        \"logit_bias\":{\"50256\":-1E2}}  \n"
);
const MESSAGES: &str = r#""messages":[ {"role":"user","content":"a \"model\":\"no\" "} ]"#;
const CONTENTS: &str = r#""contents":[ {"parts":[{"text":"\u0061"}]} ]"#;

fn odd(core: &str) -> String {
    ODD.replace("@@", core)
}

#[test]
fn an_unedited_body_arrives_byte_for_byte() {
    let chat = odd(MESSAGES);
    let limited = odd(&format!("{MESSAGES},\"max_tokens\":5"));
    let contents = odd(CONTENTS);
    for (provider, path, body) in [
        ("openai", "/x/v1/chat/completions", &chat),
        ("openai", "/x", &chat),
        ("openai", "/x/v1/embeddings", &odd("\"input\":[\"a\" , 1]")),
        ("openai", "/x/v1/responses", &odd("\"input\":\"a\"")),
        ("azureopenai", "/x", &chat),
        ("anthropic", "/x/v1/messages", &limited),
        ("gemini", "/x", &contents),
        ("gemini", "/x/v1beta/models/m:countTokens", &contents),
        ("vertexai", "/x", &contents),
    ] {
        let upstream = Upstream::json("{}");
        let gateway = Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run();
        let reply = gateway.post(path, body);
        assert_eq!(reply.status, 200, "{provider} {path}: {}", reply.text());
        let sent = upstream.only();
        assert_eq!(sent.text(), **body, "{provider} {path}");
        assert_eq!(sent.header("content-length"), Some(body.len().to_string()), "{provider} {path}");
        assert_eq!(sent.header("content-type").as_deref(), Some("application/json"), "{provider} {path}");
    }
}

#[test]
fn a_model_of_the_backend_replaces_only_the_model() {
    for (provider, path, core) in [
        ("openai", "/x/v1/chat/completions", MESSAGES.to_owned()),
        ("anthropic", "/x/v1/messages", format!("{MESSAGES},\"max_tokens\":5")),
    ] {
        let upstream = Upstream::json("{}");
        let manifest = s1_with(provider, "/x", upstream.port, &json!({"model": "our \"own\""}));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        let body = odd(&core);
        assert_eq!(gateway.post(path, &body).status, 200);
        let expected = body.replacen("\"model\":\"m\"", "\"model\":\"our \\\"own\\\"\"", 1);
        assert_eq!(upstream.only().text(), expected, "{provider}");
        assert_eq!(gateway.access(path)["request_model"], "our \"own\"", "{provider}");
    }
}

#[test]
fn no_spelling_of_the_model_bypasses_the_backends_model() {
    let upstream = Upstream::json("{}");
    let manifest = s1_with("openai", "/x", upstream.port, &json!({"model": "ours"}));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    for body in [
        r#"{"messages":[]}"#,
        r#"{"messages":[],"mod\u0065l":"theirs"}"#,
        r#"{"model":"theirs","messages":[],"model":"theirs"}"#,
        r#"{"model":"ours","messages":[],"model":"theirs"}"#,
        r#"{"model":"theirs","messages":[],"model":"ours"}"#,
        r#"{"model":null,"messages":[]}"#,
        r#"{"model":"ours","messages":[],"Model":"theirs"}"#,
        r#"{"MODEL":"theirs","messages":[]}"#,
        r#"{"messages":[],"\u004dodel":"theirs","model":"ours","mOdEl":"theirs"}"#,
    ] {
        let reply = gateway.post("/x/v1/chat/completions", body);
        // To refuse a model that is written twice is as good as to replace both.
        if reply.status == 400 {
            continue;
        }
        let sent = upstream.received().pop().unwrap();
        assert_eq!(sent.json()["model"], "ours", "{body}: {}", sent.text());
        assert!(!sent.text().contains("theirs"), "{body}: {}", sent.text());
    }
}

#[test]
fn fields_that_the_gateway_sets_are_not_outvoted_in_another_case() {
    let upstream = Upstream::json("{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
    // U+017F and U+212A are "s" and "k" for servers that fold case.
    let body = concat!(
        r#"{"model":"m","messages":[],"stream":true,"Stream":false,"\u017ftream":false,"MODEL":"n","#,
        r#""Stream_Options":{"include_usage":false},"Temperature":1,"models":["n"]}"#
    );
    gateway.post("/x/v1/chat/completions", body);
    let sent = upstream.only().json();
    let names: Vec<&String> = sent.as_object().unwrap().keys().collect();
    assert_eq!(names, ["Temperature", "messages", "model", "models", "stream", "stream_options"], "{sent}");
    assert_eq!((&sent["model"], &sent["stream"]), (&json!("m"), &json!(true)));
    assert_eq!(sent["stream_options"]["include_usage"], true);
}

/// A chat stream with a usage chunk, as sent when the request has `include_usage`.
const CHUNKS: [&str; 4] = [
    "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
    "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"model\":\"m-2\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\n",
    "data: [DONE]\n\n",
];

#[test]
fn stream_usage_is_requested_counted_and_hidden() {
    let core = |more: &str| odd(&format!("{MESSAGES},\"stream\":true{more}"));
    let asked = ",\"stream_options\":{ \"include_usage\" : true }";
    for (what, body, unchanged, shown) in [
        ("not asked for", core(""), false, false),
        ("asked for", core(asked), true, true),
        ("asked not to", core(",\"stream_options\":{\"include_usage\":false,\"new\":1.0}"), false, false),
    ] {
        let upstream = Upstream::new(|exchange| {
            exchange.stream("text/event-stream; charset=utf-8");
            for chunk in CHUNKS {
                exchange.chunk(chunk);
            }
            exchange.end();
        });
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
        let reply = gateway.post("/x", &body);
        assert_eq!((reply.status, reply.complete), (200, true), "{what}");
        let expected: Vec<&str> = CHUNKS.into_iter().filter(|c| shown || !c.contains(":11")).collect();
        assert_eq!(reply.text(), expected.concat(), "{what}");
        let sent = upstream.only();
        assert_eq!(sent.text() == body, unchanged, "{what}: {}", sent.text());
        assert_eq!(sent.json()["stream_options"]["include_usage"], true, "{what}");
        // Only that option has changed, and unusual spelling is preserved.
        let (kept, sent_text) = (odd(MESSAGES), sent.text());
        for piece in kept.trim_start_matches('{').split(MESSAGES) {
            assert!(sent_text.contains(piece), "{what}: {sent_text}");
        }
        if what == "asked not to" {
            assert!(sent_text.contains("\"new\":1.0"), "{sent_text}");
        }
        let line = gateway.access("/x");
        let counted = [&line["prompt_tokens"], &line["completion_tokens"], &line["response_model"]];
        assert_eq!(counted, [&json!(11), &json!(7), &json!("m-2")], "{what}");
        let labels = [("llm", "openai"), ("model", "m")];
        assert_eq!(gateway.metrics().get("ai_completion_tokens_total", &labels), Some(7.0), "{what}");
    }
}

#[test]
fn a_request_is_counted_and_logged_with_all_labels() {
    let provider = Upstream::json(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let path = "/openai/v1/chat/completions";
    let reply = gateway.post_with(path, &[("traceparent", &parent)], r#"{"model":"m","messages":[]}"#);
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(provider.only().header("authorization"), Some(format!("Bearer {KEY}")));
    let line = gateway.access(path);
    for (field, value) in [
        ("trace_id", json!(trace)),
        ("status", json!(200)),
        ("gateway", json!("default/gw")),
        ("route", json!("default/openai")),
        ("backend", json!("default/openai")),
        ("prompt_tokens", json!(3)),
        ("completion_tokens", json!(4)),
        ("request_model", json!("m")),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    let metrics = gateway.metrics();
    let labels =
        [("gateway", "default/gw"), ("route", "default/openai"), ("backend", "default/openai"), ("status", "200")];
    assert_eq!(metrics.get("tollgate_requests_total", &labels), Some(1.0));
    assert_eq!(metrics.get("ai_prompt_tokens_total", &[("llm", "openai"), ("model", "m")]), Some(3.0));
    assert_eq!(metrics.get("tollgate_requests_in_flight", &[("gateway", "default/gw")]), Some(0.0));
}
