//! Embeddings, token counts and lists of models at providers of another dialect.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::common::{
    DialectId, Gateway, Reply, Start, Upstream, assert_error, assert_shape,
    manifests::{KEY, backend, llm, route, rule, s1_with, secret},
    request,
};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const VERSION: &[(&str, &str)] = &[("anthropic-version", "2023-06-01")];

fn start(provider: &str, upstream: &Upstream, fields: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, fields)).run()
}

fn vertex(upstream: &Upstream) -> Gateway {
    start("vertexai", upstream, &json!({"model": "gemini-2.5-pro"}))
}

fn embed(gateway: &Gateway, body: &Value) -> Reply {
    gateway.post("/x/v1/embeddings", body.to_string())
}

fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Reply {
    gateway.connect().send(&request("GET", path, headers, b"")).reply()
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn openai_embeddings_are_requested_from_gemini() {
    let upstream = Upstream::json(r#"{"embeddings":[{"values":[0.5,-1]},{"values":[2]}]}"#);
    let gateway = start("gemini", &upstream, &json!({}));
    let body = json!({"model": "gemini-embedding-001", "input": ["one", "two"], "dimensions": 2, "user": "u"});
    let reply = gateway.post_with(
        "/x/v1/embeddings",
        &[("openai-organization", "o"), ("x-own", "1"), ("traceparent", TRACE)],
        body.to_string(),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = upstream.only();
    assert_eq!(received.line(), "POST /v1beta/models/gemini-embedding-001:batchEmbedContents HTTP/1.1");
    assert_eq!(received.header("x-goog-api-key").as_deref(), Some(KEY));
    assert_eq!((received.header("openai-organization"), received.header("x-own")), (None, None));
    assert_eq!(received.header("traceparent").as_deref(), Some(TRACE));
    assert_eq!(received.json()["requests"][1]["outputDimensionality"], 2);
    let answer = reply.json();
    assert_eq!(answer["data"][0]["embedding"], json!([0.5, -1]));
    assert_eq!((&answer["data"][1]["index"], &answer["model"]), (&json!(1), &json!("gemini-embedding-001")));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-tollgate-dropped"), Some("user;hint"));
    assert_eq!(reply.header("x-tollgate-estimated"), Some("tokens"));
    let log = gateway.access("/x/v1/embeddings");
    assert_eq!((&log["prompt_tokens"], &log["tokens_estimated"]), (&json!(2), &json!(true)), "{log}");
    assert_eq!((&log["operation"], &log["target"].is_string()), (&json!("embeddings"), &true), "{log}");
    assert_eq!(gateway.metrics().sum("tollgate_estimated_tokens_total", &[("llm", "gemini")]), 2.0);
}

#[test]
fn texts_sent_one_by_one_are_returned_in_order() {
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let upstream = Upstream::new(move |exchange| {
        seen.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let content = exchange.request().json()["instances"][0]["content"].clone();
        let prediction = json!({"embeddings": {"values": [content], "statistics": {"token_count": 2}}});
        let body = json!({"predictions": [prediction]}).to_string();
        at_once.fetch_sub(1, Ordering::SeqCst);
        exchange.reply(200, JSON, body.as_bytes());
    });
    let gateway = vertex(&upstream);
    let texts: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let reply = embed(&gateway, &json!({"model": "gemini-embedding-001", "input": texts}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let data = reply.json()["data"].clone();
    let order: Vec<&str> = data.as_array().unwrap().iter().filter_map(|one| one["embedding"][0].as_str()).collect();
    assert_eq!(order, texts);
    assert_eq!(reply.json()["usage"]["prompt_tokens"], 18);
    assert_eq!(reply.header("x-tollgate-estimated"), None);
    assert_eq!(upstream.received().len(), 9);
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?} at a time");
    assert_eq!(gateway.access("/x/v1/embeddings")["prompt_tokens"], 18);
}

#[test]
fn one_failing_text_fails_the_request_in_the_clients_dialect() {
    let upstream = Upstream::new(|exchange| {
        if exchange.request().text().contains("bad") {
            let body = r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#;
            exchange.reply(429, JSON, body.as_bytes());
        } else {
            exchange.reply(200, JSON, br#"{"predictions":[{"embeddings":{"values":[1]}}]}"#);
        }
    });
    let gateway = vertex(&upstream);
    let reply = embed(&gateway, &json!({"model": "gemini-embedding-001", "input": ["good", "bad", "good"]}));
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_shape(&reply.json(), DialectId::OpenAi, 429, "slow down");
    assert_eq!(reply.json()["error"]["message"], "slow down");
}

#[test]
fn a_failing_target_is_replaced_by_the_next() {
    let first = Upstream::fixed(503, JSON, br#"{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}"#);
    let second = Upstream::json(r#"{"data":[{"index":0,"embedding":[1]}]}"#);
    let entry = |provider, upstream: &Upstream| llm(provider, "key", upstream.port, &json!({}));
    let group = |entry: Value| json!({"providers": [entry]});
    let groups = json!({"priorityGroups": [group(entry("gemini", &first)), group(entry("openai", &second))]});
    let manifest = secret("key", KEY) + &backend("both", &groups) + &route("both", &json!([rule("/x", "both")]));
    let gateway = Start::new().manifest("x.yaml", &manifest).run();
    let reply = embed(&gateway, &json!({"model": "m", "input": "one"}));
    assert_eq!((reply.status, reply.json()["data"][0]["embedding"][0].clone()), (200, json!(1)), "{}", reply.text());
    assert_eq!((first.received().len(), second.only().path().to_owned()), (1, "/v1/embeddings".to_owned()));
    assert_eq!(gateway.access("/x/v1/embeddings")["upstream_attempts"], 2);
}

#[test]
fn gemini_embeddings_are_requested_from_openai() {
    let upstream =
        Upstream::json(r#"{"data":[{"index":0,"embedding":[1,2]}],"model":"m-1","usage":{"prompt_tokens":5}}"#);
    let gateway = start("azureopenai", &upstream, &json!({}));
    let path = "/x/v1beta/models/my-embedder:embedContent";
    let reply = gateway.post(path, json!({"content": {"parts": [{"text": "one"}]}}).to_string());
    assert_eq!(reply.json(), json!({"embedding": {"values": [1, 2]}}), "{}", reply.text());
    assert_eq!(upstream.only().path(), "/openai/deployments/my-embedder/embeddings?api-version=2024-10-21");
    let log = gateway.access(path);
    assert_eq!((&log["prompt_tokens"], &log["response_model"]), (&json!(5), &json!("m-1")), "{log}");
}

#[test]
fn unavailable_embeddings_are_refused() {
    let upstream = Upstream::json("{}");
    let gateway = start("gemini", &upstream, &json!({}));
    let reply = embed(&gateway, &json!({"model": "m", "input": [1, 2]}));
    assert_error(&reply, DialectId::OpenAi, 400, "tokens");
    assert!(reply.text().contains("input"), "{}", reply.text());
    assert!(upstream.received().is_empty());
    let reply = embed(&gateway, &json!({"model": "m", "input": "a"}));
    assert_error(&reply, DialectId::OpenAi, 502, "a reply without embeddings");
    drop(gateway);
    let gateway = start("anthropic", &upstream, &json!({}));
    assert_error(&embed(&gateway, &json!({"model": "m", "input": "a"})), DialectId::OpenAi, 404, "no embeddings");
}

#[test]
fn embeddings_of_the_same_dialect_are_unchanged() {
    let upstream = Upstream::json(r#"{"data": []}"#);
    let gateway = start("openai", &upstream, &json!({}));
    let body = r#"{"model":"m",  "input":[1,2],"new":true}"#;
    let reply = gateway.post("/x/v1/embeddings", body);
    assert_eq!((reply.text(), upstream.only().text()), (r#"{"data": []}"#.to_owned(), body.to_owned()));
}

fn count(gateway: &Gateway) -> Reply {
    let body = json!({"model": "m", "system": "be kind", "messages": [{"role": "user", "content": "hello"}]});
    gateway.post_with("/x/v1/messages/count_tokens", VERSION, body.to_string())
}

#[test]
fn messages_token_counts_are_requested_from_gemini() {
    let upstream = Upstream::json(r#"{"totalTokens":31}"#);
    let gateway = start("gemini", &upstream, &json!({"model": "gemini-2.5-flash"}));
    let reply = count(&gateway);
    assert_eq!((reply.status, reply.json()), (200, json!({"input_tokens": 31})));
    assert_eq!(reply.header("x-tollgate-estimated"), None);
    let received = upstream.only();
    assert_eq!(received.path(), "/v1beta/models/gemini-2.5-flash:countTokens");
    assert_eq!(received.header("anthropic-version"), None);
    assert!(received.json()["generateContentRequest"].to_string().contains("hello"), "{}", received.text());
    let log = gateway.access("/x/v1/messages/count_tokens");
    assert_eq!((&log["prompt_tokens"], &log["operation"]), (&Value::Null, &json!("count_tokens")), "{log}");
}

#[test]
fn gemini_token_counts_are_requested_from_anthropic() {
    let upstream = Upstream::json(r#"{"input_tokens":12}"#);
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-sonnet-4-5"}));
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let reply = gateway.post("/x/v1beta/models/g:countTokens", body.to_string());
    assert_eq!((reply.status, reply.json()), (200, json!({"totalTokens": 12})), "{}", reply.text());
    let received = upstream.only();
    assert_eq!(received.path(), "/v1/messages/count_tokens");
    assert_eq!(received.header("anthropic-version").as_deref(), Some("2023-06-01"));
    let sent = received.json();
    assert_eq!((&sent["model"], sent.get("max_tokens")), (&json!("claude-sonnet-4-5"), None), "{sent}");
}

#[test]
fn token_counts_without_a_provider_endpoint_are_estimated_and_marked() {
    // A server other than OpenAI's own gets no request.
    let upstream = Upstream::json("{}");
    let gateway = start("openai", &upstream, &json!({"model": "m"}));
    let reply = count(&gateway);
    assert_eq!((reply.status, reply.json()), (200, json!({"input_tokens": 3})), "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-estimated"), Some("tokens"));
    assert!(upstream.received().is_empty());
    assert_eq!(gateway.access("/x/v1/messages/count_tokens")["upstream_attempts"], 0);
    drop(gateway);
    // One that does not know the endpoint is not believed.
    let upstream = Upstream::fixed(404, JSON, br#"{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}"#);
    let gateway = start("gemini", &upstream, &json!({}));
    let reply = count(&gateway);
    assert_eq!((reply.status, reply.header("x-tollgate-estimated")), (200, Some("tokens")), "{}", reply.text());
    drop(gateway);
    let upstream =
        Upstream::fixed(403, JSON, br#"{"error":{"code":403,"message":"not allowed","status":"PERMISSION_DENIED"}}"#);
    let gateway = start("gemini", &upstream, &json!({}));
    let reply = count(&gateway);
    assert_eq!((reply.status, reply.header("x-tollgate-estimated")), (403, None), "{}", reply.text());
    assert_shape(&reply.json(), DialectId::Anthropic, 403, "what the provider refuses");
}

#[test]
fn models_that_backends_name_are_listed_by_the_gateway() {
    let upstream = Upstream::json("{}");
    let entry = |provider, model: &str| llm(provider, "key", upstream.port, &json!({"model": model}));
    let group = |entries: &[Value]| json!({"providers": entries});
    let groups = json!({"priorityGroups": [
        group(&[entry("openai", "gpt"), entry("anthropic", "claude")]), group(&[entry("gemini", "gemini")]),
    ]});
    let manifest = secret("key", KEY) + &backend("all", &groups) + &route("all", &json!([rule("/x", "all")]));
    let gateway = Start::new().manifest("x.yaml", &manifest).run();
    let ids = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().filter_map(|model| Some(model[key].as_str()?.to_owned())).collect()
    };
    let openai = get(&gateway, "/x/v1/models", &[("authorization", "Bearer k")]).json();
    assert_eq!(ids(&openai["data"], "id"), ["gpt", "claude", "gemini"], "{openai}");
    assert_eq!(openai["data"][1]["owned_by"], "anthropic");
    let anthropic = get(&gateway, "/x/v1/models", VERSION).json();
    assert_eq!((ids(&anthropic["data"], "id").len(), &anthropic["last_id"]), (3, &json!("gemini")), "{anthropic}");
    let gemini = get(&gateway, "/x/v1beta/models", &[("x-goog-api-key", "k")]).json();
    assert_eq!(ids(&gemini["models"], "name"), ["models/gpt", "models/claude", "models/gemini"], "{gemini}");
    assert_eq!(get(&gateway, "/x/v1/models/claude", &[]).json()["id"], "claude");
    let unknown = get(&gateway, "/x/v1/models/nobody", &[]);
    assert_error(&unknown, DialectId::OpenAi, 404, "no such model");
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
    assert_error(&get(&gateway, "/x/v1/models/nobody", VERSION), DialectId::Anthropic, 404, "no such model");
    let mut client = gateway.connect();
    let head = client.send(&request("HEAD", "/x/v1/models", &[], b"")).reply_to_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    // The connection goes on: the reply had no body.
    assert_eq!(client.send(&request("GET", "/x/v1/models/gpt", &[], b"")).reply().status, 200);
    assert!(upstream.received().is_empty());
}

#[test]
fn model_lists_of_another_dialect_are_requested_and_rewritten() {
    let upstream = Upstream::json(r#"{"data":[{"type":"model","id":"claude-a","display_name":"A"}],"has_more":false}"#);
    let gateway = start("anthropic", &upstream, &json!({}));
    let headers = [("authorization", "Bearer mine")];
    let reply = get(&gateway, "/x/v1/models?limit=3", &headers);
    assert_eq!(
        reply.json(),
        json!({
            "object": "list",
            "data": [{"id": "claude-a", "object": "model", "created": 0, "owned_by": "anthropic"}],
        })
    );
    let received = upstream.only();
    assert_eq!(received.line(), "GET /v1/models?limit=1000 HTTP/1.1");
    assert_eq!(received.header("x-api-key").as_deref(), Some(KEY));
    // Its own clients get what it says.
    let own = get(&gateway, "/x/v1/models?limit=3", VERSION);
    assert_eq!(own.json()["data"][0]["display_name"], "A");
    assert_eq!(upstream.received()[1].path(), "/v1/models?limit=3");
}

#[test]
fn an_unknown_model_is_not_found_in_the_clients_dialect() {
    let body = br#"{"type":"error","error":{"type":"not_found_error","message":"model: nobody"}}"#;
    let upstream = Upstream::fixed(404, JSON, body);
    let gateway = start("anthropic", &upstream, &json!({}));
    let reply = get(&gateway, "/x/v1/models/nobody", &[("authorization", "Bearer k")]);
    assert_eq!(reply.status, 404);
    let error = &reply.json()["error"];
    assert_eq!((&error["message"], &error["type"]), (&json!("model: nobody"), &json!("invalid_request_error")));
}
