//! What of a client's headers and query reaches a provider: an allow list, what a Backend adds to it, and what the
//! route adds.

use serde_json::json;

use crate::common::{
    CLIENT_KEY, KEY, Start, Upstream,
    manifests::{backend, llm, route, rule, s1, secret},
};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// Where access proxies, vendors and clients put credentials and identities; the account that is billed; the client's
/// address.
const PRIVATE: [&str; 24] = [
    "cf-access-jwt-assertion",
    "cf-access-client-secret",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-data",
    "x-amzn-oidc-accesstoken",
    "x-ms-token-aad-access-token",
    "x-pomerium-jwt-assertion",
    "x-forwarded-access-token",
    "x-auth-request-access-token",
    "x-auth-token",
    "xi-api-key",
    "x-vault-token",
    "x-functions-key",
    "ocp-apim-subscription-key",
    "x-rapidapi-key",
    "private-token",
    "x-csrf-token",
    "baggage",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-real-ip",
    "forwarded",
    "x-of-the-future",
];

/// What the providers' own clients send beside the credential.
const USEFUL: [(&str, &str); 12] = [
    ("accept", "text/event-stream"),
    ("accept-language", "de"),
    ("user-agent", "OpenAI/Python 1.99.0"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "tools-2024-04-04"),
    ("openai-beta", "assistants=v2"),
    ("x-stainless-retry-count", "1"),
    ("x-goog-api-client", "genai-py/1.0"),
    ("idempotency-key", "stainless-python-retry-1"),
    ("x-client-request-id", "7"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "a=b"),
];

fn with<'a>(names: &'a [&'a str], value: &'a str) -> Vec<(&'a str, &'a str)> {
    names.iter().map(|name| (*name, value)).chain(USEFUL).collect()
}

#[test]
fn only_known_headers_reach_a_provider_with_the_gateways_credential() {
    for provider in ["openai", "anthropic", "gemini"] {
        let upstream = Upstream::json("{}");
        let gateway = Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run();
        let (path, body) = match provider {
            "openai" => ("/x/v1/chat/completions", CHAT),
            "anthropic" => ("/x/v1/messages", r#"{"model":"m","messages":[],"max_tokens":5}"#),
            _ => ("/x/v1beta/models/m:generateContent", r#"{"contents":[]}"#),
        };
        let query = "api_key=S&token=S&apikey=S&sig=S&X-Amz-Signature=S&%74oken=S&openai-organization=S&beta=true";
        let path = format!("{path}?{}", query.replace('S', CLIENT_KEY));
        let reply = gateway.post_with(&path, &with(&PRIVATE, CLIENT_KEY), body);
        assert_eq!(reply.status, 200, "{provider}: {}", reply.text());
        let sent = upstream.only();
        assert!(!sent.head.contains(CLIENT_KEY), "{provider}: {}", sent.head);
        for (name, value) in USEFUL {
            assert_eq!(sent.header(name).as_deref(), Some(value), "{provider} {name}: {}", sent.head);
        }
        assert!(sent.line().contains("?beta=true "), "{provider}: {}", sent.head);
    }
}

#[test]
fn a_backend_adds_names_to_the_list() {
    let upstream = Upstream::json("{}");
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["forwardHeaders"] = json!(["X-Title", "openai-organization"]);
    entry["forwardQueryParams"] = json!(["voice"]);
    let manifest = secret("key", KEY) + &backend("a", &json!({"llm": entry})) + &route("a", &json!([rule("/x", "a")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let headers = [("x-title", "ours"), ("openai-organization", "org-1"), ("openai-project", CLIENT_KEY)];
    let reply = gateway.post_with("/x/v1/chat/completions?voice=alto&token=t", &headers, CHAT);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only();
    assert_eq!(sent.header("x-title").as_deref(), Some("ours"));
    assert_eq!(sent.header("openai-organization").as_deref(), Some("org-1"));
    assert_eq!(sent.header("openai-project"), None);
    assert!(sent.line().contains("?voice=alto "), "{}", sent.head);
}

#[test]
fn a_backend_can_not_add_the_places_of_credentials() {
    let names = ["Authorization", "x-api-key", "Cookie", "Host", "Transfer-Encoding", "not a name"];
    for (field, name) in names.map(|name| ("forwardHeaders", name)).into_iter().chain([("forwardQueryParams", "key")]) {
        let upstream = Upstream::json("{}");
        let mut entry = llm("openai", "key", upstream.port, &json!({}));
        entry[field] = json!([name]);
        let manifest =
            secret("key", KEY) + &backend("a", &json!({"llm": entry})) + &route("a", &json!([rule("/x", "a")]));
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        assert_eq!(gateway.post("/x", CHAT).status, 500, "{name}");
        assert_eq!(upstream.connections(), 0, "{name}");
        let objects = gateway.debug("/debug/objects").to_string();
        assert!(objects.contains(&format!("spec.ai.llm.{field}[0]")), "{name}: {objects}");
    }
}

#[test]
fn what_the_route_adds_always_reaches_the_provider() {
    let upstream = Upstream::json("{}");
    let entry = llm("anthropic", "key", upstream.port, &json!({}));
    let edits = json!({
        "set": [{"name": "x-tenant", "value": "blue"}, {"name": "x-same", "value": "same"}],
        "add": [{"name": "x-list", "value": "of-the-route"}, {"name": "content-length", "value": "7"}],
        "remove": ["user-agent"],
    });
    let mut rule = rule("/x", "a");
    rule["filters"] = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": edits}]);
    let manifest = secret("key", KEY) + &backend("a", &json!({"llm": entry})) + &route("a", &json!([rule]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    // A client can neither take away nor forge what the route adds, also where the request is translated.
    let headers = [
        ("x-tenant", "red"),
        ("x-same", "same"),
        ("x-list", CLIENT_KEY),
        ("user-agent", "u"),
        ("connection", "x-same"),
    ];
    for path in ["/x/v1/messages", "/x/v1/chat/completions"] {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5}"#;
        gateway.post_with(path, &headers, body);
        let sent = upstream.received().pop().unwrap();
        assert_eq!(sent.header("x-tenant").as_deref(), Some("blue"), "{path}");
        assert_eq!(sent.header("x-same").as_deref(), Some("same"), "{path}");
        assert_eq!(sent.header("x-list").as_deref(), Some("of-the-route"), "{path}");
        assert_eq!(sent.header("user-agent"), None, "{path}");
        assert!(!sent.head.contains(CLIENT_KEY), "{path}: {}", sent.head);
        assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string()), "{path}");
    }
}

#[test]
fn passthrough_sends_the_account_but_no_other_identity() {
    let upstream = Upstream::json("{}");
    let entry = llm("openai", "", upstream.port, &json!({"authToken": {"kind": "Passthrough"}}));
    let manifest = backend("a", &json!({"llm": entry})) + &route("a", &json!([rule("/x", "a")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let account = ["openai-organization", "openai-project", "x-goog-user-project"];
    let others: Vec<&str> = PRIVATE.into_iter().filter(|name| !account.contains(name)).collect();
    let mut headers = with(&others, "of-another-place");
    headers.extend(account.map(|name| (name, "org-1")));
    let bearer = format!("Bearer {CLIENT_KEY}");
    headers.push(("authorization", &bearer));
    assert_eq!(gateway.post_with("/x/v1/chat/completions?token=of-another-place", &headers, CHAT).status, 200);
    let sent = upstream.only();
    assert!(!sent.head.contains("of-another-place"), "{}", sent.head);
    for name in account {
        assert_eq!(sent.header(name).as_deref(), Some("org-1"), "{}", sent.head);
    }
    assert_eq!(sent.header("authorization"), Some(bearer));
}
