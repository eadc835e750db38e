//! What failures leave behind: the next request goes elsewhere first, also after a change of the configuration.

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, Start, Upstream,
    manifests::{backend, llm, route, rule, secret},
};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/json");

fn manifest(entries: &[Value]) -> String {
    let groups: Vec<Value> = entries.iter().map(|entry| json!({"providers": [entry]})).collect();
    let backend = backend("both", &json!({"priorityGroups": groups}));
    secret("key", KEY) + &backend + &route("both", &json!([rule("/both", "both")]))
}

fn gateway(entries: &[Value]) -> Gateway {
    Start::new().manifest("a.yaml", &manifest(entries)).run()
}

fn entry(name: &str, provider: &str, port: u16) -> Value {
    let mut entry = llm(provider, "key", port, &json!({}));
    entry["name"] = json!(name);
    entry
}

fn openai(name: &str, port: u16) -> Value {
    entry(name, "openai", port)
}

fn completion() -> Upstream {
    Upstream::json(
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",
            "message":{"role":"assistant","content":"hi"}}]}"#,
    )
}

#[test]
fn each_kind_of_hint_reaches_the_next_client() {
    let rate = r#"{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let info = r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"31s"}]}}"#;
    let day = r#"{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"RequestsPerDayPerModel"}]}]}}"#;
    for (provider, headers, body, seconds) in [
        ("openai", &[("retry-after", "40")][..], rate, 40..=44),
        ("openai", &[("retry-after-ms", "12345")], rate, 13..=14),
        ("openai", &[("x-ms-retry-after-ms", "12345")], rate, 13..=14),
        ("openai", &[("retry-after", "Mon, 21 Oct 2126 07:28:30 GMT")], rate, 300..=330),
        ("openai", &[("retry-after", "86400")], rate, 300..=330),
        (
            "openai",
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "20s"),
                ("x-ratelimit-remaining-tokens", "9"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            rate,
            20..=22,
        ),
        ("openai", &[("x-ratelimit-reset-tokens-minute", "33.38")], rate, 34..=37),
        ("anthropic", &[("anthropic-ratelimit-tokens-reset", "2999-01-01T00:00:00Z")], "{}", 300..=330),
        ("gemini", &[], info, 31..=35),
        ("gemini", &[], day, 270..=330),
        // No hint, and hints that make no sense.
        ("openai", &[], rate, 5..=6),
        ("openai", &[("retry-after", "-1")], rate, 5..=6),
        ("openai", &[("retry-after", "1e9")], rate, 5..=6),
        ("openai", &[("retry-after", "120s")], rate, 5..=6),
        ("openai", &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], rate, 5..=6),
    ] {
        let headers = [&[CONTENT_TYPE][..], headers].concat();
        let limited = Upstream::fixed(429, &headers, body.as_bytes());
        let exhausted =
            Upstream::fixed(429, &[CONTENT_TYPE], br#"{"error":{"message":"pay","code":"insufficient_quota"}}"#);
        let gateway = gateway(&[entry("limited", provider, limited.port), openai("exhausted", exhausted.port)]);
        assert_eq!(gateway.post("/both", CHAT).status, 429, "{headers:?}");
        let reply = gateway.post("/both", CHAT);
        assert_eq!((reply.status, limited.received().len()), (429, 1), "{headers:?}: {}", reply.text());
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds.contains(&wait), "{headers:?} {body}: {wait}");
        assert_eq!(gateway.access("/both")["status"], 429);
        gateway.wait_for_log("the local answer", |line| line["error"] == "targets_limited");
    }
}

#[test]
fn a_change_of_the_configuration_keeps_what_is_known() {
    let (dead, second) = (Upstream::fixed(401, &[CONTENT_TYPE], b"{}"), completion());
    let entries = [openai("first", dead.port), openai("second", second.port)];
    let gateway = gateway(&entries);
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    assert_eq!(dead.received().len(), 1);
    // Of another object, then of the Backend itself.
    gateway.change(|| {
        drop(gateway.write("b.yaml", &backend("other", &json!({"llm": llm("openai", "key", 1, &json!({}))}))))
    });
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    let third = completion();
    let more = [&entries[..], &[openai("third", third.port)]].concat();
    gateway.change(|| drop(gateway.write("a.yaml", &manifest(&more))));
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    assert_eq!((dead.received().len(), second.received().len()), (1, 3));
}
