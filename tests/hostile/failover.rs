//! Several entries in a Backend: the most useful error wins, and an entry that can't be used costs only itself.

use serde_json::{Value, json};

use crate::{
    CHAT, JSON,
    common::{
        Exchange, Gateway, KEY, Start, Upstream,
        manifests::{backend, llm, route, rule, secret},
    },
};

const PATH: &str = "/both/v1/chat/completions";

fn entry(provider: &str, secret: &str, port: u16) -> Value {
    llm(provider, secret, port, &json!({}))
}

/// A gateway whose entries are tried in this order.
fn in_turn(entries: &[Value]) -> Gateway {
    grouped(&entries.iter().map(|entry| json!({"providers": [entry]})).collect::<Vec<_>>())
}

fn grouped(groups: &[Value]) -> Gateway {
    let mut own = rule("/both", "both");
    own["timeouts"] = json!({"backendRequest": "2s"});
    let manifest = secret("key", KEY)
        + &backend("both", &json!({"priorityGroups": groups}))
        + &route("both", &Value::Array(vec![own]));
    Start::new().manifest("a.yaml", &manifest).run()
}

/// An error in OpenAI's form, with a hint where there is one.
fn failing(status: u16, retry_after: Option<&str>) -> Upstream {
    let mut headers = JSON.to_vec();
    headers.extend(retry_after.map(|value| ("retry-after", value)));
    let body = json!({"error": {"message": format!("this is {status}"), "type": "t", "param": null, "code": "c"}});
    Upstream::fixed(status, &headers, body.to_string().as_bytes())
}

#[test]
fn a_hint_when_to_come_back_outlives_a_target_without_one() {
    let silent = Upstream::new(Exchange::wait_closed);
    let closing = Upstream::new(Exchange::close);
    let (failed, unavailable) = (failing(500, None), failing(503, None));
    let mut faults = Vec::new();
    for status in [429, 503] {
        for (what, last) in [
            ("can't be reached", Upstream::refusing()),
            ("is silent", silent.port),
            ("closes", closing.port),
            ("answers 500", failed.port),
            ("answers 503 without a hint", unavailable.port),
        ] {
            let first = failing(status, Some("7"));
            let gateway = in_turn(&[entry("openai", "key", first.port), entry("openai", "key", last)]);
            let reply = gateway.post(PATH, CHAT);
            if (reply.status, reply.header("retry-after")) != (status, Some("7")) {
                faults.push(format!("{status}, and the last {what}: {} {:?}", reply.status, reply.headers));
            } else if !reply.text().contains(&format!("this is {status}")) {
                faults.push(format!("{status}, and the last {what}: {}", reply.text()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_hint_of_another_dialects_target_is_not_lost() {
    let error = r#"{"type":"error","error":{"type":"rate_limit_error","message":"this is 429"}}"#;
    let first = Upstream::fixed(429, &[JSON[0], ("retry-after", "7")], error.as_bytes());
    let gateway = in_turn(&[entry("anthropic", "key", first.port), entry("openai", "key", Upstream::refusing())]);
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"a"}]}"#;
    let reply = gateway.post(PATH, body);
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")), "{}", reply.text());
    assert_eq!(reply.json()["error"]["message"], "this is 429");
}

#[test]
fn the_gateways_own_error_is_the_last_resort() {
    // Without a hint too: a provider's words that name a cause are better than a failed connection to another.
    for status in [408, 429] {
        let first = failing(status, None);
        let gateway = in_turn(&[entry("openai", "key", first.port), entry("openai", "key", Upstream::refusing())]);
        let reply = gateway.post(PATH, CHAT);
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().contains(&format!("this is {status}")), "{}", reply.text());
    }
}

#[test]
fn an_entry_without_its_secret_is_left_out() {
    let mut faults = Vec::new();
    for (what, missing_first, one_group) in [
        ("the fallback's is missing", false, false),
        ("the first one's is missing", true, false),
        ("one of a group is missing", true, true),
        ("the other of a group is missing", false, true),
    ] {
        let (good, bad) = (Upstream::json("{\"ok\":true}"), Upstream::json("{}"));
        let mut entries = [entry("openai", "key", good.port), entry("openai", "no-such-secret", bad.port)];
        if missing_first {
            entries.reverse();
        }
        let gateway = if one_group { grouped(&[json!({"providers": entries})]) } else { in_turn(&entries) };
        for _ in 0..4 {
            let reply = gateway.post(PATH, CHAT);
            if (reply.status, reply.text().as_str()) != (200, "{\"ok\":true}") {
                faults.push(format!("{what}: {} {}", reply.status, reply.text()));
            }
        }
        assert_eq!(bad.connections(), 0, "{what}: nothing is sent without its key");
        // And the Backend says so.
        let objects = gateway.debug("/debug/objects");
        let of_backend = objects["objects"].as_array().unwrap().iter().find(|o| o["kind"] == "Backend").unwrap();
        let mut conditions = of_backend["conditions"].as_array().unwrap().iter();
        let resolved = conditions.find(|c| c["type"] == "ResolvedRefs").cloned().unwrap_or_default();
        let message = resolved["message"].as_str().unwrap_or_default();
        if resolved["status"] != json!(false) || !message.contains("1 of 2") || !message.contains("no-such-secret") {
            faults.push(format!("{what}: {}", of_backend["conditions"]));
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_backend_without_a_usable_entry_is_closed() {
    let upstream = Upstream::json("{}");
    let gateway = in_turn(&[entry("openai", "none", upstream.port), entry("openai", "none-either", upstream.port)]);
    let status = gateway.post_with(PATH, &[("authorization", "Bearer of-the-client")], CHAT).status;
    assert!((500..600).contains(&status), "{status}");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_secret_that_comes_back_is_used_again() {
    let (first, second) = (Upstream::json("{\"is\":1}"), Upstream::json("{\"is\":2}"));
    let gateway = in_turn(&[entry("openai", "later", first.port), entry("openai", "key", second.port)]);
    assert_eq!(gateway.post(PATH, CHAT).text(), "{\"is\":2}");
    gateway.change(|| _ = gateway.write("later.yaml", &secret("later", KEY)));
    assert_eq!(gateway.post(PATH, CHAT).text(), "{\"is\":1}");
    gateway.change(|| gateway.remove("later.yaml"));
    assert_eq!(gateway.post(PATH, CHAT).text(), "{\"is\":2}");
}

#[test]
fn a_refused_key_of_the_gateways_moves_on() {
    // The last one is how Gemini refuses a key (google.rpc.ErrorInfo).
    let invalid = json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}});
    let gemini = Upstream::fixed(400, &JSON, invalid.to_string().as_bytes());
    let (unauthorized, forbidden) = (failing(401, None), failing(403, None));
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
    let mut faults = Vec::new();
    for (what, provider, first) in
        [("401", "openai", &unauthorized), ("403", "openai", &forbidden), ("Gemini's 400", "gemini", &gemini)]
    {
        let second = Upstream::json("{\"ok\":true}");
        let gateway = in_turn(&[entry(provider, "key", first.port), entry("openai", "key", second.port)]);
        let reply = gateway.post(PATH, body);
        if (reply.status, reply.text().as_str()) != (200, "{\"ok\":true}") {
            faults.push(format!("{what}: {} {}", reply.status, reply.text()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_refused_key_of_the_clients_is_the_clients_answer() {
    let (first, second) = (failing(401, None), Upstream::json("{}"));
    let entries =
        [first.port, second.port].map(|port| llm("openai", "", port, &json!({"authToken": {"kind": "Passthrough"}})));
    let gateway = in_turn(&entries);
    let reply = gateway.post_with(PATH, &[("authorization", "Bearer of-the-client")], CHAT);
    assert_eq!(reply.status, 401);
    assert_eq!(second.connections(), 0, "a client's key is tried at no other provider");
}
