//! Several providers in one Backend: which ones get the request, and which reply is forwarded.

use serde_json::{Value, json};

use crate::common::{
    DialectId, Exchange, Gateway, KEY, Start, Upstream, assert_error,
    manifests::{backend, llm, route, rule, secret},
    request,
};

const CHAT: &str = r#"{ "model":"m","messages":[ ],"temperature":1.0e0 }"#;

fn entry(port: u16) -> Value {
    llm("openai", "key", port, &json!({}))
}

fn gateway(ai: &Value) -> Gateway {
    let manifest = secret("key", KEY) + &backend("both", ai) + &route("both", &json!([rule("/both", "both")]));
    Start::new().manifest("a.yaml", &manifest).run()
}

fn groups(entries: &[Value]) -> Value {
    json!({"priorityGroups": entries.iter().map(|e| json!({"providers": [e]})).collect::<Vec<_>>()})
}

fn multipool(entries: &[Value]) -> Value {
    json!({"multipool": {"priorities": entries.iter().map(|e| json!({"pool": [e]})).collect::<Vec<_>>()}})
}

fn failing(status: u16) -> Upstream {
    let body = format!("{{\"error\":{{\"message\":\"from the one that says {status}\"}}}}");
    Upstream::fixed(status, &[("content-type", "application/json"), ("retry-after", "7")], body.as_bytes())
}

#[test]
fn the_second_group_replaces_the_first_when_it_fails() {
    for status in [408, 429, 500, 502, 503, 504, 529] {
        for form in [groups, multipool] {
            let (first, second) = (failing(status), Upstream::json("{\"ok\":true}"));
            let gateway = gateway(&form(&[entry(first.port), entry(second.port)]));
            let reply = gateway.post("/both", CHAT);
            assert_eq!((reply.status, reply.text().as_str()), (200, "{\"ok\":true}"), "{status}");
            // Both got the same request, with the key.
            for sent in [first.only(), second.only()] {
                assert_eq!((sent.text().as_str(), sent.path()), (CHAT, "/v1/chat/completions"));
                assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}")));
            }
            let line = gateway.access("/both");
            assert_eq!((&line["upstream_attempts"], &line["status"]), (&json!(2), &json!(200)), "{line}");
            let tried = gateway.wait_for_log("the first try", |l| l["msg"] == "trying the next target");
            assert_eq!((&tried["status"], &tried["trace_id"]), (&json!(status), &line["trace_id"]), "{tried}");
        }
    }
}

#[test]
fn a_first_group_that_gives_no_reply_is_replaced_too() {
    let closing = Upstream::new(Exchange::close);
    let silent = Upstream::new(Exchange::wait_closed);
    for (what, port) in [("refused", Upstream::refusing()), ("closed", closing.port), ("silent", silent.port)] {
        let second = Upstream::json("{\"ok\":true}");
        let mut own = rule("/both", "both");
        own["timeouts"] = json!({"backendRequest": "400ms"});
        let manifest = secret("key", KEY)
            + &backend("both", &groups(&[entry(port), entry(second.port)]))
            + &route("both", &Value::Array(vec![own]));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        assert_eq!(gateway.post("/both", CHAT).text(), "{\"ok\":true}", "{what}");
        assert_eq!(second.only().text(), CHAT, "{what}");
    }
}

#[test]
fn client_errors_do_not_fail_over() {
    for status in [400, 404, 413, 422] {
        let (first, second) = (failing(status), Upstream::json("{}"));
        let gateway = gateway(&groups(&[entry(first.port), entry(second.port)]));
        let reply = gateway.post("/both", CHAT);
        assert_eq!(reply.status, status);
        assert!(reply.text().contains(&status.to_string()));
        assert_eq!(second.connections(), 0, "{status}");
    }
}

#[test]
fn a_target_that_refuses_the_gateways_key_is_replaced() {
    for status in [401, 403] {
        let (first, second) = (failing(status), Upstream::json("{\"ok\":true}"));
        let gateway = gateway(&groups(&[entry(first.port), entry(second.port)]));
        assert_eq!(gateway.post("/both", CHAT).text(), "{\"ok\":true}", "{status}");
    }
}

#[test]
fn a_target_that_refuses_the_clients_key_is_not_replaced() {
    for status in [401, 403] {
        let (first, second) = (failing(status), Upstream::json("{}"));
        let with_the_clients_key = |port: u16| llm("openai", "", port, &json!({"authToken": {"kind": "Passthrough"}}));
        let gateway = gateway(&groups(&[with_the_clients_key(first.port), with_the_clients_key(second.port)]));
        let headers = [("authorization", "Bearer of-the-client")];
        let reply = gateway.connect().send(&request("POST", "/both", &headers, CHAT.as_bytes())).reply();
        assert_eq!((reply.status, second.connections()), (status, 0), "{}", reply.text());
    }
}

/// A target's reply, with or without a hint when to come back; `None` for one that can't be reached.
fn target(reply: Option<(u16, bool)>) -> (u16, Option<Upstream>) {
    let Some((status, hint)) = reply else { return (Upstream::refusing(), None) };
    let body = format!("{{\"error\":{{\"message\":\"from the one that says {status}\"}}}}");
    let (json, later) = (("content-type", "application/json"), ("retry-after", "7"));
    let headers = if hint { vec![json, later] } else { vec![json] };
    let upstream = Upstream::fixed(status, &headers, body.as_bytes());
    (upstream.port, Some(upstream))
}

#[test]
fn when_all_targets_fail_the_client_gets_the_most_useful_reply() {
    let (hint, none) = (true, false);
    for (targets, status, retry_after) in [
        // A hint when to come back is worth most, whatever comes behind it.
        ([Some((429, hint)), None], 429, Some("7")),
        ([Some((503, hint)), Some((500, none))], 503, Some("7")),
        ([Some((429, hint)), Some((401, none))], 429, Some("7")),
        ([Some((429, hint)), Some((429, none))], 429, Some("7")),
        ([Some((500, none)), Some((429, hint))], 429, Some("7")),
        // Then what names a cause.
        ([Some((429, none)), Some((500, none))], 429, None),
        ([Some((429, none)), None], 429, None),
        ([Some((500, none)), Some((422, none))], 422, None),
        // Any reply says more than that there was none.
        ([Some((500, none)), None], 500, None),
        ([None, Some((502, none))], 502, None),
        // The later of two that say as much.
        ([Some((500, none)), Some((502, none))], 502, None),
    ] {
        let [(first, _first), (second, _second)] = targets.map(target);
        let gateway = gateway(&groups(&[entry(first), entry(second)]));
        let reply = gateway.post("/both", CHAT);
        assert_eq!((reply.status, reply.header("retry-after")), (status, retry_after), "{targets:?}");
        assert!(reply.text().contains(&format!("says {status}")), "{targets:?}: {}", reply.text());
        assert_eq!(gateway.access("/both")["upstream_attempts"], 2, "{targets:?}");
    }
    let none = gateway(&groups(&[entry(Upstream::refusing()), entry(Upstream::refusing())]));
    assert_error(&none.post("/both", CHAT), DialectId::OpenAi, 502, "nobody there");
    assert_eq!(none.access("/both")["upstream_attempts"], 2);
}

#[test]
fn an_unusable_target_of_another_dialect_does_not_hide_the_reply() {
    let (first, other) = (failing(503), Upstream::json("{}"));
    let anthropic = llm("anthropic", "key", other.port, &json!({}));
    let behind = gateway(&groups(&[entry(first.port), anthropic.clone()]));
    let reply = behind.post("/both", CHAT);
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.text().contains("says 503"), "{}", reply.text());
    // Before it, it is passed over.
    let second = Upstream::json("{\"ok\":true}");
    let before = gateway(&groups(&[anthropic.clone(), entry(second.port)]));
    assert_eq!(before.post("/both", CHAT).text(), "{\"ok\":true}");
    let alone = gateway(&groups(&[anthropic.clone(), anthropic]));
    assert_error(&alone.post("/both", CHAT), DialectId::OpenAi, 400, "there is nothing to translate");
    assert_eq!(other.connections(), 0);
}

#[test]
fn targets_of_different_dialects_fail_over() {
    let claude = Upstream::json(
        r#"{"type":"message","model":"claude-x","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn",
            "usage":{"input_tokens":3,"output_tokens":4}}"#,
    );
    let hello = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let (first, anthropic) = (failing(503), llm("anthropic", "key", claude.port, &json!({"model": "claude-x"})));
    let behind = gateway(&groups(&[entry(first.port), anthropic.clone()]));
    let reply = behind.post("/both", hello);
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "hi", "{}", reply.text());
    assert_eq!(claude.only().json()["model"], "claude-x");
    let line = behind.access("/both");
    assert_eq!((&line["provider"], &line["upstream_attempts"]), (&json!("anthropic"), &json!(2)), "{line}");
    let (tired, second) = (failing(529), Upstream::json("{\"ok\":true}"));
    let anthropic = llm("anthropic", "key", tired.port, &json!({}));
    let before = gateway(&groups(&[anthropic, entry(second.port)]));
    assert_eq!(before.post("/both", hello).text(), "{\"ok\":true}");
    assert_eq!(tired.received().len(), 1, "it got the request in its own dialect");
}

#[test]
fn providers_of_one_group_share_the_load_and_fail_over() {
    let (a, b, c) = (Upstream::json("{\"is\":\"a\"}"), failing(503), Upstream::json("{\"is\":\"c\"}"));
    let last = Upstream::json("{\"is\":\"last\"}");
    let first = json!({"providers": [entry(a.port), entry(b.port), entry(c.port)]});
    let gateway = gateway(&json!({"priorityGroups": [first, {"providers": [entry(last.port)]}]}));
    for _ in 0..30 {
        assert_eq!(gateway.post("/both", CHAT).status, 200);
    }
    let asked = [a.received().len(), b.received().len(), c.received().len(), last.received().len()];
    assert_eq!(asked.iter().sum::<usize>(), 30 + asked[1], "{asked:?}");
    // The one that fails cools after its first request.
    assert!(asked[0] >= 10 && (1..10).contains(&asked[1]) && asked[2] >= 10 && asked[3] == 0, "{asked:?}");
}

#[test]
fn a_stream_fails_over_until_it_has_begun() {
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let event = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let second = Upstream::fixed(200, &[("content-type", "text/event-stream")], event.as_bytes());
    let first = failing(429);
    let limited = gateway(&groups(&[entry(first.port), entry(second.port)]));
    assert_eq!(limited.post("/both", body).text(), event);
    let breaking = Upstream::new(|exchange| {
        exchange.stream("text/event-stream").chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n").close();
    });
    let broken = gateway(&groups(&[entry(breaking.port), entry(second.port)]));
    let reply = broken.post("/both", body);
    assert!(reply.text().contains("\"error\""), "{}", reply.text());
    assert_eq!(second.received().len(), 1);
}

#[test]
fn each_entry_has_its_own_model() {
    let (first, second) = (failing(429), Upstream::json("{}"));
    let own = llm("openai", "key", second.port, &json!({"model": "the-second"}));
    let gateway = gateway(&groups(&[entry(first.port), own]));
    assert_eq!(gateway.post("/both", CHAT).status, 200);
    assert_eq!(first.only().text(), CHAT);
    assert_eq!(second.only().text(), CHAT.replace("\"m\"", "\"the-second\""));
    assert_eq!(gateway.access("/both")["request_model"], "the-second");
}
