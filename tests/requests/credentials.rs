//! Whose key reaches the provider, where, and that no other does.

use serde_json::json;
use tollgate::provider::{self, ProviderDef};

use crate::common::{
    CLIENT_KEY, DialectId, KEY, Start, Upstream, assert_error,
    manifests::{llm, s1, s1_of, secret},
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const LIMITED: &str = r#"{"model":"m","messages":[],"max_tokens":5}"#;
const CONTENTS: &str = r#"{"contents":[]}"#;

/// Where each provider wants its key, and a body that it understands.
const PROVIDERS: [(&str, &str, &str, &str); 5] = [
    ("openai", "authorization", "Bearer ", CHAT),
    ("azureopenai", "api-key", "", CHAT),
    ("anthropic", "x-api-key", "", LIMITED),
    ("gemini", "x-goog-api-key", "", CONTENTS),
    ("vertexai", "authorization", "Bearer ", CONTENTS),
];

#[test]
fn every_provider_that_sends_a_key_is_in_the_table() {
    let sends_key = |def: &&&ProviderDef| !def.docs.credential.starts_with("signed");
    let expected: Vec<&str> = provider::PROVIDERS.iter().filter(sends_key).map(|def| def.info.name).collect();
    assert_eq!(PROVIDERS.map(|row| row.0), *expected);
}

#[test]
fn client_credentials_never_reach_a_provider() {
    let bearer = format!("Bearer {CLIENT_KEY}");
    let cookie = format!("session={CLIENT_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-api-key", CLIENT_KEY),
        ("api-key", CLIENT_KEY),
        ("x-goog-api-key", CLIENT_KEY),
        ("proxy-authorization", &bearer),
        ("cookie", &cookie),
    ];
    for (provider, header, prefix, body) in PROVIDERS {
        let upstream = Upstream::json("{}");
        let gateway = Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run();
        for query in ["key", "%6Bey", "KEY", "api-key", "access_token"] {
            let path = format!("/x?{query}={CLIENT_KEY}&kept=1");
            assert_eq!(gateway.post_with(&path, &headers, body).status, 200, "{provider}");
            let sent = upstream.received().pop().unwrap();
            assert!(!sent.head.contains(CLIENT_KEY), "{provider}: {}", sent.head);
            assert_eq!(sent.header(header), Some(format!("{prefix}{KEY}")), "{provider}");
            assert_eq!(sent.head.matches(KEY).count(), 1, "{provider}: {}", sent.head);
        }
    }
}

#[test]
fn each_kind_of_token_reaches_its_header() {
    for (provider, header, prefix, body) in PROVIDERS {
        let inline = json!({"authToken": {"kind": "Inline", "inline": KEY}});
        let token = json!({});
        for (what, in_secret, fields) in [
            ("Inline", "unused", &inline),
            ("SecretRef", KEY, &token),
            ("with Bearer", &format!("Bearer {KEY}"), &token),
        ] {
            let upstream = Upstream::json("{}");
            let entry = llm(provider, "key", upstream.port, fields);
            let manifest = secret("key", in_secret) + &s1_of("a", "/x", &entry);
            let gateway = Start::new().manifest("a.yaml", &manifest).run();
            assert_eq!(gateway.post("/x", body).status, 200, "{provider} {what}");
            assert_eq!(upstream.only().header(header), Some(format!("{prefix}{KEY}")), "{provider} {what}");
        }
    }
}

#[test]
fn passthrough_finds_the_clients_key_in_headers_and_query() {
    let bearer = format!("Bearer {CLIENT_KEY}");
    let query = format!("?key={CLIENT_KEY}");
    for (provider, header, prefix, body) in PROVIDERS {
        let upstream = Upstream::json("{}");
        let entry = llm(provider, "", upstream.port, &json!({"authToken": {"kind": "Passthrough"}}));
        let gateway = Start::new().manifest("a.yaml", &s1_of("a", "/x", &entry)).run();
        for (name, value, query) in [
            ("authorization", bearer.as_str(), ""),
            ("x-api-key", CLIENT_KEY, ""),
            ("api-key", CLIENT_KEY, ""),
            ("x-goog-api-key", CLIENT_KEY, ""),
            ("accept", "*/*", query.as_str()),
        ] {
            let reply = gateway.post_with(&format!("/x{query}"), &[(name, value)], body);
            assert_eq!(reply.status, 200, "{provider} {name}");
            let sent = upstream.received().pop().unwrap();
            assert_eq!(sent.header(header), Some(format!("{prefix}{CLIENT_KEY}")), "{provider} {name}");
            assert_eq!(sent.head.matches(CLIENT_KEY).count(), 1, "{provider} {name}: {}", sent.head);
        }
    }
}

#[test]
fn passthrough_without_a_key_is_refused_and_not_sent() {
    for (provider, body, dialect) in [
        ("openai", CHAT, DialectId::OpenAi),
        ("anthropic", LIMITED, DialectId::Anthropic),
        ("gemini", CONTENTS, DialectId::Gemini),
    ] {
        let upstream = Upstream::json("{}");
        let entry = llm(provider, "", upstream.port, &json!({"authToken": {"kind": "Passthrough"}}));
        let gateway = Start::new().manifest("a.yaml", &s1_of("a", "/x", &entry)).run();
        for headers in [&[][..], &[("authorization", "")], &[("authorization", "Bearer ")]] {
            assert_error(&gateway.post_with("/x", headers, body), dialect, 401, provider);
        }
        assert_eq!(upstream.connections(), 0, "{provider}");
        assert_eq!(gateway.access("/x")["error"], "no_credential", "{provider}");
    }
}
