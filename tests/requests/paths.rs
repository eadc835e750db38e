//! Where a request goes: path, query and host upstream, and what has no place to go.

use serde_json::{Value, json};

use crate::common::{
    Client, DialectId, KEY, Start, Upstream, assert_error,
    manifests::{llm, route, rule, s1, s1_of, s1_with, secret, yaml},
    request,
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const LIMITED: &str = r#"{"model":"m","messages":[],"max_tokens":5}"#;
const CONTENTS: &str = r#"{"contents":[{"parts":[{"text":"Explain how AI works in a few words"}]}]}"#;

#[test]
fn the_guides_request_reaches_the_provider_as_documented() {
    let upstream = Upstream::json(r#"{"candidates":[],"usageMetadata":{"promptTokenCount":8}}"#);
    let gateway = Start::new().manifest("a.yaml", &s1("gemini", "/gemini", upstream.port)).run();
    let reply = gateway.post("/gemini", CONTENTS);
    assert_eq!(reply.text(), r#"{"candidates":[],"usageMetadata":{"promptTokenCount":8}}"#);
    let sent = upstream.only();
    assert_eq!(sent.line(), "POST /v1beta/models/gemini-1.5-flash-latest:generateContent HTTP/1.1");
    assert_eq!(sent.header("x-goog-api-key").as_deref(), Some(KEY));
    assert_eq!(sent.header("host"), Some(format!("127.0.0.1:{}", upstream.port)));
    assert_eq!(sent.header("authorization"), None);
    assert_eq!(sent.text(), CONTENTS);
}

#[test]
fn each_provider_is_requested_at_its_own_path() {
    let azure = "/openai/deployments/our-gpt/chat/completions?api-version=2024-10-21";
    let vertex = "/v1/projects/our-project/locations/us-central1/publishers/google/models/gemini-2.5-pro";
    let free = json!({"model": ""});
    for (provider, fields, asked, body, expected) in [
        ("openai", json!({}), "/x", CHAT, "/v1/chat/completions".to_owned()),
        ("openai", json!({}), "/x/v1/chat/completions?order=b%20c&d", CHAT, "/v1/chat/completions?order=b%20c".into()),
        ("openai", json!({}), "/x/v1/embeddings", r#"{"model":"m","input":"a"}"#, "/v1/embeddings".into()),
        ("openai", json!({}), "/x/v1/responses", r#"{"model":"m","input":"a"}"#, "/v1/responses".into()),
        ("azureopenai", json!({}), "/x", CHAT, azure.into()),
        ("azureopenai", json!({}), "/x/v1/chat/completions?api-version=1", CHAT, azure.into()),
        ("anthropic", json!({}), "/x", LIMITED, "/v1/messages".into()),
        ("anthropic", json!({}), "/x/v1/messages/count_tokens", CHAT, "/v1/messages/count_tokens".into()),
        (
            "gemini",
            free.clone(),
            "/x/v1beta/models/g:generateContent",
            CONTENTS,
            "/v1beta/models/g:generateContent".into(),
        ),
        (
            "gemini",
            json!({}),
            "/x/v1beta/models/g:streamGenerateContent?alt=sse",
            CONTENTS,
            "/v1beta/models/gemini-1.5-flash-latest:streamGenerateContent?alt=sse".into(),
        ),
        ("vertexai", json!({}), "/x", CONTENTS, format!("{vertex}:generateContent")),
        (
            "vertexai",
            json!({}),
            "/x/v1/models/g:streamGenerateContent",
            CONTENTS,
            format!("{vertex}:streamGenerateContent"),
        ),
    ] {
        let upstream = Upstream::json("{}");
        let gateway = Start::new().manifest("a.yaml", &s1_with(provider, "/x", upstream.port, &fields)).run();
        let reply = gateway.post(asked, body);
        assert_eq!(reply.status, 200, "{provider} {asked}: {}", reply.text());
        let sent = upstream.only();
        assert_eq!(sent.line(), format!("POST {expected} HTTP/1.1"), "{provider} {asked}");
        assert_eq!(sent.header("host"), Some(format!("127.0.0.1:{}", upstream.port)), "{provider}");
        let version = sent.header("anthropic-version");
        assert_eq!(version.as_deref(), (provider == "anthropic").then_some("2023-06-01"), "{provider}");
    }
}

#[test]
fn overrides_replace_host_path_and_header() {
    let upstream = Upstream::json("{}");
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["hostOverride"]["host"] = json!("localhost");
    entry["pathOverride"] = json!({"fullPath": "/custom/chat?x=1"});
    entry["authHeaderOverride"] = json!({"headerName": "X-Our-Key", "prefix": "Token "});
    let manifest = secret("key", KEY) + &s1_of("a", "/x", &entry);
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    assert_eq!(gateway.post("/x/v1/chat/completions", CHAT).status, 200);
    let sent = upstream.only();
    assert_eq!(sent.line(), "POST /custom/chat?x=1 HTTP/1.1");
    assert_eq!(sent.header("host"), Some(format!("localhost:{}", upstream.port)));
    assert_eq!(sent.header("x-our-key"), Some(format!("Token {KEY}")));
    assert_eq!(sent.header("authorization"), None);
}

#[test]
fn provider_specific_headers_are_forwarded() {
    let upstream = Upstream::json("{}");
    let gateway = Start::new().manifest("a.yaml", &s1("anthropic", "/x", upstream.port)).run();
    let headers = [("anthropic-version", "2099-01-01"), ("anthropic-beta", "new-thing"), ("x-stainless-lang", "rust")];
    assert_eq!(gateway.post_with("/x/v1/messages", &headers, LIMITED).status, 200);
    let sent = upstream.only();
    for (name, value) in headers {
        assert_eq!(sent.header(name).as_deref(), Some(value));
    }
}

#[test]
fn a_route_type_makes_gemini_stream() {
    let event = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n";
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], event.as_bytes());
    let policy = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "streams", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "gemini"}],
            "ai": {"routeType": "CHAT_STREAMING"},
        },
    }));
    let manifest = s1("gemini", "/gemini", upstream.port) + &policy;
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let reply = gateway.post("/gemini", CONTENTS);
    assert_eq!(reply.text(), event);
    let expected = "POST /v1beta/models/gemini-1.5-flash-latest:streamGenerateContent?alt=sse HTTP/1.1";
    assert_eq!(upstream.only().line(), expected);
}

#[test]
fn model_lists_are_requested_with_get_and_head() {
    let upstream = Upstream::json(r#"{"data":[]}"#);
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let reply = gateway.get("/openai/v1/models");
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"data":[]}"#));
    assert_eq!(gateway.get("/openai/v1/models/gpt-4o").status, 200);
    let mut client = gateway.connect();
    let head = client.send(&request("HEAD", "/openai/v1/models", &[], b"")).reply_to_head();
    assert_eq!(head.status, 200);
    let lines: Vec<String> = upstream.received().iter().map(|r| r.line().to_owned()).collect();
    assert_eq!(lines, ["GET /v1/models HTTP/1.1", "GET /v1/models/gpt-4o HTTP/1.1", "HEAD /v1/models HTTP/1.1"]);
    assert!(upstream.received().iter().all(|r| r.body.is_empty() && r.header("content-length").is_none()));
}

#[test]
fn unknown_endpoints_are_refused_in_the_clients_dialect() {
    use DialectId::{Anthropic, Gemini, OpenAi};
    let upstream = Upstream::json("{}");
    let manifest = ["openai", "anthropic", "gemini"].map(|p| s1(p, &format!("/{p}"), upstream.port)).concat();
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let long = format!("/openai/{}", "a".repeat(9000));
    for (method, path, body, dialect, status, word, allow) in [
        ("POST", "/nowhere", "{}", OpenAi, 404, "no_route", None),
        ("POST", "/nowhere/v1/messages", "{}", Anthropic, 404, "no_route", None),
        ("POST", "/openaix/v1/chat/completions", "{}", OpenAi, 404, "no_route", None),
        ("POST", "/openai/v1/audio/speech", "{}", OpenAi, 404, "no_endpoint", None),
        ("POST", "/anthropic/v1/nothing", "{}", Anthropic, 404, "no_endpoint", None),
        ("POST", "/gemini", "{}", Gemini, 404, "no_endpoint", None),
        ("GET", "/gemini", "", Gemini, 404, "no_endpoint", None),
        ("GET", "/openai/v1/chat/completions", "", OpenAi, 405, "method_not_allowed", Some("POST")),
        ("DELETE", "/anthropic/v1/messages", "", Anthropic, 405, "method_not_allowed", Some("POST")),
        ("PUT", "/gemini/v1beta/models/m:generateContent", "{}", Gemini, 405, "method_not_allowed", Some("POST")),
        ("POST", "/openai/v1/models", "{}", OpenAi, 405, "method_not_allowed", Some("GET, HEAD")),
        ("POST", "/openai/../secret", "{}", OpenAi, 400, "bad_request", None),
        ("POST", "/openai/%2e%2E/secret", "{}", OpenAi, 400, "bad_request", None),
        ("POST", "/openai/v1/./chat/completions", "{}", OpenAi, 400, "bad_request", None),
        ("POST", long.as_str(), "{}", OpenAi, 400, "bad_request", None),
        // Endpoints that the route's provider does not have.
        ("POST", "/anthropic/v1/moderations", r#"{"input":"x"}"#, OpenAi, 501, "not_implemented", None),
        ("POST", "/gemini/v1/completions", r#"{"prompt":"x"}"#, OpenAi, 501, "not_implemented", None),
        ("GET", "/anthropic/v1/responses/resp_1", "", OpenAi, 400, "bad_request", None),
        // Bodies that can't be translated.
        ("POST", "/anthropic/v1/chat/completions", CHAT, OpenAi, 400, "bad_body", None),
        ("POST", "/gemini/v1/chat/completions", CHAT, OpenAi, 400, "bad_body", None),
        ("POST", "/openai/v1/chat/completions", r#"{"messages":[]}"#, OpenAi, 400, "no_model", None),
    ] {
        let what = format!("{method} {path}");
        let mut client = gateway.connect();
        let reply = client.send(&request(method, path, &[], body.as_bytes())).reply();
        assert_error(&reply, dialect, status, &what);
        assert_eq!(reply.header("allow"), allow, "{what}");
        // SDKs repeat every 5xx unless they are told otherwise.
        assert_eq!(reply.header("x-should-retry"), (status >= 500).then_some("false"), "{what}");
        let trace = reply.header("x-request-id").unwrap();
        let line = gateway.wait_for_log(&what, |l| l["target"] == "tollgate::access" && l["trace_id"] == trace);
        assert_eq!((&line["error"], &line["status"]), (&json!(word), &json!(status)), "{what}");
        if dialect == OpenAi {
            assert_eq!(reply.json()["error"]["code"], word, "{what}");
        }
        let metrics = gateway.metrics();
        assert!(metrics.sum("tollgate_requests_total", &[("error", word)]) >= 1.0, "{what}");
    }
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
}

#[test]
fn a_route_that_names_no_prefix_serves_whole_paths() {
    let upstream = Upstream::json("{}");
    let entry = llm("openai", "key", upstream.port, &json!({}));
    let exact = json!({
        "matches": [{"path": {"type": "Exact", "value": "/v1/chat/completions"}}],
        "backendRefs": rule("/", "a")["backendRefs"],
    });
    let documents = [secret("key", KEY), s1_of("a", "/unused", &entry), route("exact", &Value::Array(vec![exact]))];
    let gateway = Start::new().manifest("a.yaml", &documents.concat()).run();
    assert_eq!(gateway.post("/v1/chat/completions", CHAT).status, 200);
    assert_eq!(upstream.only().line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(gateway.post("/v1/chat/completions/x", CHAT).status, 404);
}

#[test]
fn exactly_one_valid_host_is_required() {
    let upstream = Upstream::json("{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    for hosts in
        ["", "host: a\r\nhost: b\r\n", "host: a\r\nHost: a\r\n", "host: a b\r\n", "host: a/../b\r\n", "host: \r\n"]
    {
        let mut client = Client::connect(gateway.port);
        let head = format!("POST /openai HTTP/1.1\r\n{hosts}content-length: {}\r\n\r\n{CHAT}", CHAT.len());
        let reply = client.send(head.as_bytes()).reply();
        assert_eq!(reply.status, 400, "{hosts:?}: {}", reply.text());
    }
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
}

#[test]
fn endpoints_that_a_backend_lists_are_forwarded_unchanged() {
    let upstream = Upstream::fixed(200, &[("content-type", "audio/mpeg")], b"\xff\xfbsound");
    let fields = json!({"routes": {"/v1/audio/speech": "passthrough", "/v1/ask": "completions"}});
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["routes"] = fields["routes"].clone();
    entry["forwardQueryParams"] = json!(["a"]);
    let documents = [secret("key", KEY), s1_of("a", "/x", &entry)];
    let gateway = Start::new().manifest("a.yaml", &documents.concat()).run();
    let body = b"--b\r\nno json\xff\r\n--b--";
    let headers = [("content-type", "multipart/form-data; boundary=b"), ("authorization", "Bearer mine")];
    let reply = gateway.connect().send(&request("POST", "/x/v1/audio/speech?a=1", &headers, body)).reply();
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"\xff\xfbsound".as_slice()));
    let received = upstream.received().remove(0);
    assert_eq!(received.path(), "/v1/audio/speech?a=1");
    assert_eq!(received.body, body);
    assert_eq!(received.header("content-type").as_deref(), Some("multipart/form-data; boundary=b"));
    assert_eq!(received.header("authorization").as_deref(), Some(&*format!("Bearer {KEY}")));
    assert_eq!(gateway.post("/x/v1/audio/translations", "{}").status, 404, "it is not listed");
    for (method, path) in [
        ("GET", "/x/v1/audio/speech"),
        ("DELETE", "/x/v1/audio/speech"),
        ("POST", "/x/v1/files/v1/audio/speech"),
        ("POST", "/x/v1/files%2f..%2f..%2fv1/audio/speech"),
        ("POST", "/x/v1/audio%2fspeech"),
        ("POST", "/x/v1/audio/speech;x"),
        ("POST", "/x/v1/audio/speech/"),
    ] {
        let reply = gateway.connect().send(&request(method, path, &headers, body)).reply();
        // 400 where the body would have to tell, and is no JSON.
        assert!(matches!(reply.status, 400 | 404), "{method} {path}: {}", reply.status);
    }
    assert_eq!(upstream.received().len(), 1, "the key works for what is listed, and for nothing else");
    gateway.post("/x/v1/ask", r#"{"model":"m","messages":[]}"#);
    assert_eq!(upstream.received()[1].path(), "/v1/chat/completions");
}

#[test]
fn plain_servers_get_no_path_that_they_may_read_differently() {
    let upstream = Upstream::json("{}");
    let fixed = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "fixed", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    }));
    let gateway = Start::new().manifest("a.yaml", &(fixed + &route("fixed", &json!([rule("/x", "fixed")])))).run();
    for path in ["/x/..%2fadmin", "/x/a%5Cb", "/x/a%3fb", "/x/a%23b", "/x/a%00b", "/x/a;b", "/x/a%3Bb", "/x/a%2Fb"] {
        assert_eq!(gateway.get(path).status, 400, "{path}");
    }
    assert_eq!(upstream.connections(), 0);
    for path in ["/x/a%20b", "/x/a?b=%2f;%3f", "/x/100%25"] {
        assert_eq!(gateway.get(path).status, 200, "{path}");
        assert_eq!(upstream.received().pop().unwrap().path(), path);
    }
}

#[test]
fn a_client_that_requests_a_websocket_where_there_is_none_is_sent_to_http() {
    let upstream = Upstream::json("{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    for path in ["/openai/v1/chat/completions", "/openai/v1/realtime"] {
        let headers = [("connection", "Upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-version", "13")];
        let mut client = gateway.connect();
        let reply = client.send(&request("GET", path, &headers, b"")).reply();
        assert_error(&reply, DialectId::OpenAi, 426, path);
        assert_eq!(reply.json()["error"]["code"], "websocket_not_served");
        assert_eq!(reply.header("upgrade"), Some("HTTP/1.1"));
        assert_eq!(reply.header("sec-websocket-version"), Some("13"));
        // The connection serves on.
        let body = r#"{"model":"m","input":"q"}"#;
        assert_eq!(client.send(&request("POST", "/openai/v1/responses", &[], body.as_bytes())).reply().status, 200);
    }
    assert_eq!(upstream.received().len(), 2);
}
