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
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"RequestsPerDay"}]}]}}"#;
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
        let exhausted = Upstream::fixed(
            429,
            &[CONTENT_TYPE, ("retry-after", "3600")],
            br#"{"error":{"code":"insufficient_quota"}}"#,
        );
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
        drop(gateway.write("b.yaml", &backend("other", &json!({"llm": llm("openai", "key", 1, &json!({}))}))));
    });
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    let third = completion();
    let more = [&entries[..], &[openai("third", third.port)]].concat();
    gateway.change(|| drop(gateway.write("a.yaml", &manifest(&more))));
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    assert_eq!((dead.received().len(), second.received().len()), (1, 3));
}

#[test]
fn an_error_inside_a_reply_counts_as_what_it_is() {
    // As Anthropic's reference for streams has it, and OpenAI's for errors.
    let stream = |error: &str| Upstream::fixed(200, &[("content-type", "text/event-stream")], error.as_bytes());
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
        \"message\":\"Overloaded\"}}\n\n";
    let limited =
        "data: {\"error\":{\"message\":\"slow down\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    let asked = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}],"stream":true}"#;
    for (provider, error, cause) in [("anthropic", overloaded, "overload"), ("openai", limited, "rate")] {
        let (failing, second) = (stream(error), completion());
        let gateway = gateway(&[entry("first", provider, failing.port), openai("second", second.port)]);
        for _ in 0..2 {
            assert_eq!(gateway.post("/both", asked).status, 200, "{provider}");
        }
        assert_eq!((failing.received().len(), second.received().len()), (1, 2), "{provider}");
        let failovers = [("backend", "default/both"), ("target", "first"), ("cause", cause)];
        assert_eq!(gateway.metrics().sum("tollgate_target_failovers_total", &failovers), 1.0, "{provider}");
    }
}

#[test]
fn what_has_failed_can_be_seen() {
    let (refusing, second) = (Upstream::fixed(401, &[CONTENT_TYPE], b"{}"), completion());
    let manifest = manifest(&[openai("first", refusing.port), openai("second", second.port)]);
    let gateway = Start::new().manifest("a.yaml", &manifest).arg("--reply-target-headers").run();
    let replies = [gateway.post("/both", CHAT), gateway.post("/both", CHAT)];
    for (reply, attempts) in replies.iter().zip(["2", "1"]) {
        assert_eq!(reply.header("x-tollgate-target"), Some("second"));
        assert_eq!(reply.header("x-tollgate-attempts"), Some(attempts));
    }
    let health = gateway.debug("/debug/health");
    let [first, other] = &health["targets"].as_array().unwrap()[..] else { panic!("{health}") };
    assert_eq!((&first["target"], &first["backend"]), (&json!("first"), &json!("default/both")));
    assert_eq!((&first["healthy"], &other["healthy"]), (&json!(false), &json!(true)));
    assert_eq!(first["cooling"]["cause"], "credential");
    assert!((50.0..67.0).contains(&first["cooling"]["seconds"].as_f64().unwrap()), "{first}");
    assert_eq!((&first["attempts"]["refused"], &other["attempts"]["answered"]), (&json!(1), &json!(2)));

    let metrics = gateway.metrics();
    let own = |target| [("backend", "default/both"), ("target", target)];
    let value = |name, target, more: &[(&str, &str)]| metrics.sum(name, &[&own(target)[..], more].concat());
    assert_eq!(value("tollgate_target_attempts_total", "first", &[("outcome", "credential")]), 1.0);
    assert_eq!(value("tollgate_target_attempts_total", "second", &[("outcome", "answered")]), 2.0);
    assert_eq!(value("tollgate_target_failovers_total", "first", &[("cause", "credential")]), 1.0);
    assert_eq!(value("tollgate_target_healthy", "first", &[]), 0.0);
    assert_eq!(value("tollgate_target_healthy", "second", &[]), 1.0);
    assert!((50.0..67.0).contains(&value("tollgate_target_cooldown_seconds", "first", &[])));

    // Within about a second the Backend's report has it, and so does the log.
    let problem = gateway.wait_for_log("the condition", |line| line["condition"] == "Degraded");
    assert_eq!((&problem["object"], &problem["reason"]), (&json!("default/both"), &json!("AuthFailed")));
    let objects = gateway.debug("/debug/objects");
    let report = objects["objects"].as_array().unwrap().iter().find(|o| o["kind"] == "Backend").unwrap();
    assert_eq!(report["healthy"], "1/2");
    assert_eq!(gateway.generation(), 1, "what is served has not changed");
}

#[test]
fn replies_name_no_target_unless_that_is_set() {
    let upstream = completion();
    let reply = gateway(&[openai("first", upstream.port)]).post("/both", CHAT);
    assert_eq!((reply.status, reply.header("x-tollgate-target")), (200, None));
    assert_eq!(reply.header("x-tollgate-attempts"), None);
}
