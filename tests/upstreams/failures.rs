//! Providers that give no reply, or break off in it.

use serde_json::{Value, json};

use crate::common::{
    Client, DialectId, Exchange, Gateway, KEY, Start, Upstream, assert_error,
    manifests::{backend, llm, route, rule, s1, s1_of, secret},
    request,
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const LIMITED: &str = r#"{"model":"m","messages":[],"max_tokens":5}"#;
const CONTENTS: &str = r#"{"contents":[]}"#;

/// One caller of each dialect: provider, path, body.
const CALLERS: [(&str, &str, &str, DialectId); 3] = [
    ("openai", "/openai/v1/chat/completions", CHAT, DialectId::OpenAi),
    ("anthropic", "/anthropic/v1/messages", LIMITED, DialectId::Anthropic),
    ("gemini", "/gemini", CONTENTS, DialectId::Gemini),
];

fn all_at(port: u16) -> Gateway {
    let manifest = CALLERS.map(|(p, ..)| s1(p, &format!("/{p}"), port)).concat();
    Start::new().manifest("a.yaml", &manifest).run()
}

/// The log must say what failed and why, and let the client's report be found.
fn assert_logged(gateway: &Gateway, trace: &str, error: &str, provider: &str, cause: &str) {
    let line = gateway.wait_for_log(error, |l| l["trace_id"] == trace && l["msg"] == "request failed");
    assert_eq!((&line["level"], &line["error"]), (&json!("WARN"), &json!(error)), "{line}");
    assert_eq!(line["backend"], format!("default/{provider}"), "{line}");
    assert!(line["rule"].as_str().unwrap().contains(&format!("default/{provider}")), "{line}");
    assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
}

#[test]
fn no_reply_is_an_error_in_the_callers_dialect() {
    type Script = fn(&mut Exchange);
    let scripts: [(&str, Script, &str, u16); 6] = [
        ("closes before the reply", |x| x.close(), "upstream_closed", 502),
        ("resets before the reply", |x| x.reset(), "upstream_closed", 502),
        ("closes in the head", |x| x.write("HTTP/1.1 200 OK\r\ncontent-").close(), "upstream_closed", 502),
        ("speaks something else", |x| x.write("SSH-2.0-OpenSSH_9.6\r\n\r\n").close(), "upstream_protocol", 502),
        (
            "two lengths",
            |x| x.write("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab").close(),
            "upstream_protocol",
            502,
        ),
        (
            "a head without end",
            |x| x.write(format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(2 * 1024 * 1024))).close(),
            "upstream_protocol",
            502,
        ),
    ];
    for (what, script, error, status) in scripts {
        let upstream = Upstream::new(script);
        let gateway = all_at(upstream.port);
        for (provider, path, body, dialect) in CALLERS {
            let mut client = gateway.connect();
            let reply = client.send(&request("POST", path, &[], body.as_bytes())).reply();
            assert_error(&reply, dialect, status, what);
            assert_logged(&gateway, reply.header("x-request-id").unwrap(), error, provider, "");
            assert!(!reply.text().contains("127.0.0.1"), "{what}: {}", reply.text());
            // The client's connection is not to blame.
            let reply = client.send(&request("GET", "/nowhere", &[], b"")).reply();
            assert_eq!(reply.status, 404, "{what}");
        }
        // Each got one request: a request that may have been processed is not repeated.
        assert_eq!(upstream.received().len(), 3, "{what}");
    }
}

#[test]
fn a_host_that_cannot_be_reached_is_502() {
    let refusing = Upstream::refusing();
    for (what, host) in [("refused", "127.0.0.1"), ("unresolvable", "no-such-host.invalid")] {
        let entries = CALLERS.map(|(provider, ..)| {
            let mut entry = llm(provider, "key", refusing, &json!({}));
            entry["hostOverride"]["host"] = json!(host);
            s1_of(provider, &format!("/{provider}"), &entry)
        });
        let gateway = Start::new().manifest("a.yaml", &(secret("key", KEY) + &entries.concat())).run();
        for (provider, path, body, dialect) in CALLERS {
            let reply = gateway.post(path, body);
            assert_error(&reply, dialect, 502, what);
            assert!(!reply.text().contains(host), "{what}: {}", reply.text());
            assert_logged(&gateway, reply.header("x-request-id").unwrap(), "upstream_unreachable", provider, "");
        }
        let labels = [("error", "upstream_unreachable"), ("status", "502"), ("backend", "default/openai")];
        assert_eq!(gateway.metrics().get("tollgate_requests_total", &labels), Some(1.0), "{what}");
    }
}

#[test]
fn a_silent_provider_is_504_after_the_routes_own_time() {
    let upstream = Upstream::new(Exchange::wait_closed);
    for timeouts in [json!({"backendRequest": "300ms"}), json!({"request": "300ms"})] {
        let documents = CALLERS.map(|(provider, ..)| {
            let mut own = rule(&format!("/{provider}"), provider);
            own["timeouts"] = timeouts.clone();
            let entry = llm(provider, "key", upstream.port, &json!({}));
            backend(provider, &json!({"llm": entry})) + &route(provider, &Value::Array(vec![own]))
        });
        let gateway = Start::new().manifest("a.yaml", &(secret("key", KEY) + &documents.concat())).run();
        for (provider, path, body, dialect) in CALLERS {
            let reply = gateway.post(path, body);
            assert_error(&reply, dialect, 504, provider);
            assert_logged(&gateway, reply.header("x-request-id").unwrap(), "upstream_timeout", provider, "");
        }
    }
    // Given up means given up: no connection to the provider stays open.
    upstream.wait_for_closed(6);
    assert_eq!(upstream.connections(), 6);
}

#[test]
fn a_truncated_reply_is_truncated_for_the_client_too() {
    type Script = fn(&mut Exchange);
    const HEAD: [(&str, &str); 2] = [("content-type", "application/json"), ("content-length", "100")];
    let scripts: [(&str, Script); 3] = [
        ("reset", |x| x.head(200, &HEAD).write("{\"a\":").reset()),
        ("closed", |x| x.head(200, &HEAD).write("{\"a\":").close()),
        ("closed between chunks", |x| x.stream("application/json").chunk("{\"a\":").close()),
    ];
    for (what, script) in scripts {
        let upstream = Upstream::new(script);
        let gateway = all_at(upstream.port);
        for (provider, path, body, _) in CALLERS {
            let mut client = Client::connect(gateway.port);
            // The break may overtake the head; then there is no reply at all.
            match client.send(&request("POST", path, &[], body.as_bytes())).try_reply() {
                Some(reply) if reply.status == 200 => {
                    assert!(!reply.complete, "{what} {provider}: the end looks clean: {}", reply.text());
                }
                Some(reply) => assert_eq!((what, reply.status), ("reset", 502), "{provider}: {}", reply.text()),
                None => {}
            }
            assert!(client.closed(), "{what} {provider}");
            let line = gateway.access(path);
            assert_eq!(line["error"], "upstream_closed", "{what} {provider}: {line}");
        }
    }
}

#[test]
fn a_provider_that_stops_in_mid_reply_is_given_up() {
    let upstream = Upstream::new(|exchange| {
        exchange.head(200, &[("content-type", "application/json"), ("content-length", "100")]).write("{");
        exchange.wait_closed();
    });
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--idle-timeout", "1").run();
    let reply = gateway.post("/openai", CHAT);
    assert_eq!((reply.status, reply.complete), (200, false));
    assert_eq!(gateway.access("/openai")["error"], "upstream_timeout");
}
