//! What of a client's request reaches a provider that the gateway pays: an allow list, in headers and in the query.

use serde_json::{Value, json};

use crate::{
    CHAT,
    common::{
        Client, Gateway, KEY, Received, Start, Upstream,
        manifests::{backend, llm, route, rule, s1, s1_of, s1_with, secret},
        request,
    },
    plain,
};

const LIMITED: &str = r#"{"model":"m","messages":[],"max_tokens":5}"#;
const CONTENTS: &str = r#"{"contents":[]}"#;
/// Each provider with a request in its own dialect.
const CALLERS: [(&str, &str, &str); 3] = [
    ("openai", "/x/v1/chat/completions", CHAT),
    ("anthropic", "/x/v1/messages", LIMITED),
    ("gemini", "/x/v1beta/models/m:generateContent", CONTENTS),
];
/// Nothing with this text may reach a provider.
const MARK: &str = "mark-7f3a";

/// Identities, credentials and who is billed: of access proxies, of meshes, of other vendors, and of the client.
const PRIVATE: [&str; 44] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "xi-api-key",
    "x-functions-key",
    "ocp-apim-subscription-key",
    "x-vault-token",
    "private-token",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-data",
    "cf-access-jwt-assertion",
    "cf-access-client-id",
    "cf-access-client-secret",
    "cf-access-authenticated-user-email",
    "cf-connecting-ip",
    "true-client-ip",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-serverless-authorization",
    "x-ms-client-principal",
    "x-ms-token-aad-access-token",
    "x-forwarded-access-token",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-auth-request-access-token",
    "x-envoy-peer-metadata",
    "x-goog-user-project",
    "baggage",
    "openai-organization",
    "openai-project",
    "referer",
    "origin",
    "x-something-of-ours",
];

fn start(provider: &str, upstream: &Upstream) -> Gateway {
    Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run()
}

/// The one request that came since `before`.
fn sent(upstream: &Upstream, before: usize) -> Received {
    let mut all = upstream.received().split_off(before);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn identities_and_credentials_of_clients_reach_no_provider() {
    let mut leaked = Vec::new();
    for (provider, path, body) in CALLERS {
        let upstream = Upstream::json("{}");
        let gateway = start(provider, &upstream);
        for name in PRIVATE {
            for spelling in [name.to_owned(), name.to_ascii_uppercase()] {
                let before = upstream.received().len();
                let reply = gateway.post_with(path, &[(&spelling, MARK)], body);
                assert_eq!(reply.status, 200, "{provider} {name}: {}", reply.text());
                if sent(&upstream, before).head.contains(MARK) {
                    leaked.push(format!("{provider}: {spelling}"));
                }
            }
        }
    }
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn identities_are_left_out_of_translated_requests_too() {
    let upstream = Upstream::json(r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#);
    let gateway = start("openai", &upstream);
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"a"}]}"#;
    let headers: Vec<(&str, &str)> = PRIVATE.iter().map(|name| (*name, MARK)).collect();
    let reply = gateway.post_with("/x/v1/messages", &headers, body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let head = upstream.only().head;
    let leaked: Vec<&str> = head.lines().filter(|line| line.contains(MARK)).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn what_a_provider_needs_passes() {
    let allowed = [
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "application/json"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "context-1m-2025-08-07"),
        ("openai-beta", "assistants=v2"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("x-goog-api-client", "google-genai-sdk/3.4.0"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    for (provider, path, body) in CALLERS {
        let upstream = Upstream::json("{}");
        let gateway = start(provider, &upstream);
        let bytes = request("POST", path, &allowed, body.as_bytes());
        assert_eq!(gateway.connect().send(&bytes).reply().status, 200);
        let sent = upstream.only();
        for (name, value) in allowed {
            // The trace goes on with a span of the gateway's, or unchanged.
            let expected = if name == "traceparent" { &value[..35] } else { value };
            let passed = sent.header(name).unwrap_or_default();
            assert!(passed.starts_with(expected), "{provider}: {name}: {passed}");
        }
    }
}

#[test]
fn what_the_route_adds_passes() {
    for (provider, path, body) in CALLERS {
        let upstream = Upstream::json("{}");
        let mut own = rule("/x", "a");
        own["filters"] = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {
            "add": [{"name": "x-team", "value": "blue"}], "set": [{"name": "x-something-of-ours", "value": "set"}],
        }}]);
        let entry = llm(provider, "key", upstream.port, &json!({}));
        let manifest =
            secret("key", KEY) + &backend("a", &json!({"llm": entry})) + &route("a", &Value::Array(vec![own]));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        assert_eq!(gateway.post_with(path, &[("x-something-of-ours", MARK)], body).status, 200);
        let sent = upstream.only();
        assert_eq!(sent.header("x-team").as_deref(), Some("blue"), "{provider}");
        assert_eq!(sent.header("x-something-of-ours").as_deref(), Some("set"), "{provider}");
    }
}

#[test]
fn credentials_in_the_query_reach_no_provider() {
    let mut leaked = Vec::new();
    for (provider, path, body) in CALLERS {
        let upstream = Upstream::json("{}");
        let gateway = start(provider, &upstream);
        for name in [
            "key",
            "KEY",
            "%6bey",
            "api_key",
            "api-key",
            "apikey",
            "apiKey",
            "api%5Fkey",
            "token",
            "access_token",
            "auth",
            "auth_token",
            "authorization",
            "jwt",
            "id_token",
            "password",
            "secret",
            "code",
            "sig",
            "signature",
            "X-Amz-Signature",
            "X-Amz-Security-Token",
            "X-Goog-Signature",
            "subscription-key",
            "something_of_ours",
        ] {
            let before = upstream.received().len();
            let reply = gateway.post(&format!("{path}?{name}={MARK}&alt=json"), body);
            // To refuse it would be as good.
            if reply.status == 200 && sent(&upstream, before).head.contains(MARK) {
                leaked.push(format!("{provider}: {name}"));
            }
        }
    }
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[test]
fn parameters_of_the_vendors_apis_pass() {
    // As the vendors' SDKs send them.
    for (provider, method, path, body, expected) in [
        ("anthropic", "POST", "/x/v1/messages?beta=true", LIMITED, "beta=true"),
        ("openai", "GET", "/x/v1/responses/resp_1?starting_after=3&stream=true", "", "starting_after=3"),
        ("openai", "GET", "/x/v1/responses/resp_1/input_items?limit=5&order=asc&after=i", "", "limit=5"),
        ("gemini", "GET", "/x/v1beta/models?pageSize=5", "", "pageSize=5"),
        ("gemini", "POST", "/x/v1beta/models/m:streamGenerateContent?alt=sse", CONTENTS, "alt=sse"),
    ] {
        let upstream = Upstream::json("{}");
        let manifest = s1_with(provider, "/x", upstream.port, &json!({"model": ""}));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        let mut client = Client::connect(gateway.port);
        client.send(&request(method, path, &[("content-type", "application/json")], body.as_bytes())).head();
        let sent = upstream.received();
        assert!(sent.last().is_some_and(|sent| sent.path().contains(expected)), "{path}: {sent:?}");
    }
}

#[test]
fn no_case_of_a_field_outvotes_the_backends_model() {
    // Servers that ignore the case of names, as those in Go and .NET do, would take the last one.
    let mut faults = Vec::new();
    for (provider, path, rest) in [
        ("openai", "/x/v1/chat/completions", r#""messages":[]"#),
        ("openai", "/x/v1/responses", r#""input":"a""#),
        ("anthropic", "/x/v1/messages", r#""messages":[],"max_tokens":5"#),
    ] {
        let upstream = Upstream::json("{}");
        let manifest = s1_with(provider, "/x", upstream.port, &json!({"model": "ours"}));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        for name in ["Model", "MODEL", "mOdEl", "m\\u006Fdel", "\\u004dodel", "modeL"] {
            for body in [
                format!(r#"{{"model":"m",{rest},"{name}":"expensive"}}"#),
                format!(r#"{{"{name}":"expensive",{rest},"model":"m"}}"#),
                format!(r#"{{"{name}":"expensive",{rest}}}"#),
            ] {
                let before = upstream.received().len();
                let reply = gateway.post(path, &body);
                if reply.status == 400 {
                    continue;
                }
                let sent = sent(&upstream, before);
                if reply.status != 200 || sent.text().contains("expensive") || sent.json()["model"] != "ours" {
                    faults.push(format!("{provider}: {}: {}", reply.status, sent.text()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn paths_that_two_servers_read_differently_are_refused() {
    let upstream = Upstream::json("{}");
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["routes"] = json!({"/v1/audio/speech": "passthrough"});
    let manifest = secret("key", KEY) + &s1_of("openai", "/x", &entry) + &plain("plain", upstream.port, false);
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    assert_eq!(gateway.post("/x/v1/audio/speech", "{}").status, 200);
    assert_eq!(upstream.received().pop().unwrap().path(), "/v1/audio/speech");
    let before = upstream.received().len();
    let mut faults = Vec::new();
    for odd in ["%2f", "%2F", "%5c", "%5C", "%3f", "%3F", "%23", "%00", ";", ";a=b", "\\"] {
        for path in [
            format!("/x/v1/files{odd}v1/audio/speech"),
            format!("/x/v1/files{odd}/v1/audio/speech"),
            format!("/x/v1/audio/speech{odd}"),
            format!("/x{odd}/v1/audio/speech"),
            format!("/plain/a{odd}b"),
            format!("/plain/{odd}..{odd}admin"),
        ] {
            let status = gateway.post(&path, "{}").status;
            if !(400..500).contains(&status) {
                faults.push(format!("{path}: {status}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(upstream.received().len(), before);
}

#[test]
fn a_passthrough_route_is_the_whole_path() {
    let upstream = Upstream::json("{}");
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["routes"] = json!({"/v1/audio/speech": "passthrough"});
    let manifest = secret("key", KEY) + &s1_of("openai", "/x", &entry);
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    // The account's files and organization are not the route's.
    for path in ["/x/v1/files/a/v1/audio/speech", "/x/v1/organization/v1/audio/speech", "/x/a/v1/audio/speech"] {
        let status = gateway.post(path, "{}").status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(upstream.received().len(), 0);
}
