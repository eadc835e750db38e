//! Rankings: the paths and bodies that each provider gets, and what clients and records get back. Expected forms are
//! from the vendors' SDKs and their documentation.

use serde_json::{Value, json};

use crate::common::{
    DialectId, Gateway, KEY, Reply, Start, Upstream, assert_error,
    manifests::{s1_of, s1_with, yaml},
};

const SCORES: &str = concat!(
    r#"{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}],"#,
    r#""meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2}}}"#,
);

fn body(model: &str) -> Value {
    json!({"model": model, "query": "q", "documents": ["one", "two"], "top_n": 2})
}

fn rerank(gateway: &Gateway, version: &str, body: &Value) -> Reply {
    gateway.post(&format!("/x/{version}/rerank"), body.to_string())
}

fn start(provider: &str, upstream: &Upstream, fields: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, fields)).run()
}

/// The manifest of a Backend of Bedrock.
fn bedrock(upstream: &Upstream) -> String {
    let entry = json!({
        "bedrock": {"region": "us-west-2", "auth": {"type": "Secret", "secretRef": {"name": "aws"}}},
        "host": "127.0.0.1", "port": upstream.port,
    });
    let keys = yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws", "namespace": "default"},
        "stringData": {"accessKey": "AKIDEXAMPLE", "secretKey": "secret"},
    }));
    keys + &s1_of("x", "/x", &entry)
}

/// A gateway whose requests to every host come to `upstream`.
fn simulated(upstream: &Upstream, entry: &Value) -> Gateway {
    let address = format!("127.0.0.1:{}", upstream.port);
    let start = Start::new().arg("--simulate-providers").flag("--simulator-address", &address);
    start.manifest("x.yaml", &s1_of("x", "/x", entry)).run()
}

fn vertex() -> Value {
    json!({"vertexai": {
        "projectId": "p", "location": "europe-west1", "apiVersion": "v1", "model": "gemini-2.5-flash",
        "authToken": {"kind": "Inline", "inline": KEY},
    }})
}

#[test]
fn a_ranking_passes_untouched_to_servers_that_have_it() {
    let token = json!({"kind": "Inline", "inline": KEY});
    let preset = |name: &str| json!({"openai": {"preset": name, "authToken": token}});
    let local =
        |name: &str| json!({"host": "own.example", "port": 8000, "openai": {"preset": name, "authToken": token}});
    for (entry, host, [v1, v2]) in [
        // https://docs.cohere.com/reference/rerank, and /v1/reference/rerank; not below /compatibility/v1.
        (preset("cohere"), "api.cohere.ai", ["/v1/rerank", "/v2/rerank"]),
        // https://docs.fireworks.ai/api-reference/rerank-documents.
        (preset("fireworks"), "api.fireworks.ai", ["/inference/v1/rerank"; 2]),
        // https://openrouter.ai/docs/api/api-reference/rerank/create-rerank.
        (preset("openrouter"), "openrouter.ai", ["/api/v1/rerank"; 2]),
        // https://docs.together.ai/reference/rerank.
        (preset("together"), "api.together.ai", ["/v1/rerank"; 2]),
        // https://docs.vllm.ai/en/stable/serving/openai_compatible_server/#re-rank-api.
        (local("vllm"), "own.example:8000", ["/v1/rerank"; 2]),
        (local("llamacpp"), "own.example:8000", ["/v1/rerank"; 2]),
    ] {
        let upstream = Upstream::json(SCORES);
        let gateway = simulated(&upstream, &entry);
        for (version, expected) in [("v1", v1), ("v2", v2)] {
            let sent = r#"{ "model":"m", "query":"q","documents":[{"text":"a","x":1}],"own":[1]}"#;
            let reply = gateway.post(&format!("/x/{version}/rerank"), sent);
            assert_eq!((reply.status, &*reply.text()), (200, SCORES), "{host}");
            let received = upstream.received().pop().unwrap();
            assert_eq!((received.path(), received.text()), (expected, sent.to_owned()), "{host}");
            assert_eq!(received.header("host").as_deref(), Some(host));
        }
        let log = gateway.access("/x/v2/rerank");
        let logged = [&log["operation"], &log["search_units"], &log["request_model"]];
        assert_eq!(logged, [&json!("rerank"), &json!(2), &json!("m")], "{log}");
        assert_eq!(gateway.metrics().sum("tollgate_search_units_total", &[("model", "m")]), 4.0);
    }
}

#[test]
fn bedrock_ranks_by_invoke_model() {
    let upstream =
        Upstream::json(r#"{"results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}"#);
    let gateway = Start::new().manifest("x.yaml", &bedrock(&upstream)).run();
    let reply = rerank(&gateway, "v2", &body("cohere.rerank-v3-5:0"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.path(), "/model/cohere.rerank-v3-5%3A0/invoke");
    assert_eq!(received.json(), json!({"query": "q", "documents": ["one", "two"], "top_n": 2, "api_version": 2}));
    assert!(received.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
    assert_eq!(reply.json()["results"][0], json!({"index": 1, "relevance_score": 0.9}));
    assert_eq!(reply.header("x-tollgate-dropped"), None);

    // The agent runtime's client has the same path.
    let agent = json!({
        "queries": [{"type": "TEXT", "textQuery": {"text": "q"}}],
        "sources": [
            {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "one"}}},
            {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "two"}}},
        ],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {
                "numberOfResults": 1,
                "modelConfiguration": {"modelArn": "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"},
            },
        },
    });
    let reply = gateway.post("/x/rerank", agent.to_string());
    assert_eq!(reply.json(), json!({"results": [{"index": 1, "relevanceScore": 0.9}]}), "{}", reply.text());
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.path(), "/model/amazon.rerank-v1%3A0/invoke");
    assert_eq!(received.json(), json!({"query": "q", "documents": ["one", "two"], "top_n": 1}));
    assert_eq!(gateway.access("/x/rerank")["dialect"], "Bedrock");

    let reply = rerank(&gateway, "v2", &body("anthropic.claude-sonnet-4-5-20250929-v1:0"));
    assert_error(&reply, DialectId::OpenAi, 400, "a model that does not rank");
    let mut no_query = agent;
    no_query["queries"] = json!([]);
    let reply = gateway.post("/x/rerank", no_query.to_string());
    assert_eq!((reply.status, reply.header("x-amzn-errortype")), (400, Some("ValidationException")));
    assert!(reply.json()["message"].as_str().unwrap().contains("queries"), "{}", reply.text());
}

#[test]
fn vertex_ai_ranks_at_discovery_engine() {
    let upstream = Upstream::json(r#"{"records":[{"id":"1","score":0.9},{"id":"0","score":0.1}]}"#);
    let gateway = simulated(&upstream, &vertex());
    let model = "semantic-ranker-default@latest";
    let path = "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank";
    let reply = rerank(&gateway, "v2", &body(model));
    assert_eq!(reply.json()["results"][0], json!({"index": 1, "relevance_score": 0.9}), "{}", reply.text());
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.line(), format!("POST {path} HTTP/1.1"));
    assert_eq!(received.header("host").as_deref(), Some("discoveryengine.googleapis.com"));
    assert_eq!(received.header("authorization"), Some(format!("Bearer {KEY}")));
    assert_eq!(received.json()["records"][1], json!({"id": "1", "content": "two"}));
    let log = gateway.access("/x/v2/rerank");
    assert!(log["upstream_address"].as_str().unwrap().contains("discoveryengine"), "{log}");

    // Google's own client: the body is its own, with the Backend's model if it names none.
    let own = r#"{"query":"q", "records":[{"id":"a","content":"one"}]}"#;
    let reply = gateway.post("/x/v1/projects/other/locations/global/rankingConfigs/c:rank", own);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = upstream.received().pop().unwrap();
    assert_eq!((received.path(), &received.json()["model"]), (path, &json!("gemini-2.5-flash")));
    assert!(received.text().contains(r#""query":"q", "records":[{"id":"a","content":"one"}]"#), "{}", received.text());
    assert_eq!(received.header("host").as_deref(), Some("discoveryengine.googleapis.com"));

    // Everything else stays at Vertex AI, and an operator's host is for all.
    gateway.post("/x/v1/embeddings", r#"{"model":"text-embedding-005","input":"a"}"#);
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.header("host").as_deref(), Some("europe-west1-aiplatform.googleapis.com"));
    drop(gateway);
    let gateway = start("vertexai", &upstream, &json!({"model": model}));
    assert_eq!(rerank(&gateway, "v1", &body(model)).status, 200);
    let received = upstream.received().pop().unwrap();
    assert!(received.header("host").unwrap().starts_with("127.0.0.1:"), "{:?}", received.header("host"));
}

#[test]
fn many_documents_go_in_parts_and_come_back_in_one_order() {
    let upstream = Upstream::new(|exchange| {
        let records = exchange.request().json()["records"].clone();
        let records = records.as_array().unwrap();
        assert!(records.len() <= 200, "more than Google takes");
        // The later a document is in the client's list, the better it is.
        let scores: Vec<Value> = records
            .iter()
            .map(
                |one| json!({"id": one["id"], "score": one["content"].as_str().unwrap().parse::<f64>().unwrap() / 1e3}),
            )
            .rev()
            .collect();
        exchange.reply(200, &[("content-type", "application/json")], json!({"records": scores}).to_string().as_bytes());
    });
    let gateway = simulated(&upstream, &vertex());
    let documents: Vec<String> = (1..=450).map(|number| number.to_string()).collect();
    let sent = json!({"model": "semantic-ranker-default@latest", "query": "q", "documents": documents, "top_n": 3,
        "return_documents": true});
    let reply = rerank(&gateway, "v1", &sent).json();
    assert_eq!(upstream.received().len(), 3);
    let results: Vec<(&Value, &Value)> =
        reply["results"].as_array().unwrap().iter().map(|one| (&one["index"], &one["document"]["text"])).collect();
    assert_eq!(results, [(&json!(449), &json!("450")), (&json!(448), &json!("449")), (&json!(447), &json!("448"))]);
}

#[test]
fn providers_without_rankings_refuse_them_alike() {
    let upstream = Upstream::json("{}");
    let google = json!({"model": "m", "query": "q", "records": [{"id": "1", "content": "a"}]});
    let words = "this route's provider does not rank documents";
    let refuses = |gateway: &Gateway, what: &str| {
        let reply = rerank(gateway, "v2", &body("m"));
        assert_error(&reply, DialectId::OpenAi, 404, what);
        assert!(reply.text().contains(words), "{what}: {}", reply.text());
        let reply = gateway.post("/x/v1/projects/p/locations/l/rankingConfigs/c:rank", google.to_string());
        assert_error(&reply, DialectId::Gemini, 404, what);
        assert!(reply.text().contains(words), "{what}: {}", reply.text());
    };
    for provider in ["anthropic", "gemini", "azureopenai"] {
        refuses(&start(provider, &upstream, &json!({})), provider);
    }
    let token = json!({"kind": "Inline", "inline": KEY});
    for preset in ["openai", "groq", "mistral", "deepseek"] {
        refuses(&simulated(&upstream, &json!({"openai": {"preset": preset, "authToken": token}})), preset);
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn strict_backends_refuse_what_would_be_lost() {
    let upstream = Upstream::json(r#"{"results":[]}"#);
    let mut sent = body("amazon.rerank-v1:0");
    sent["max_tokens_per_doc"] = json!(100);
    let gateway = Start::new().manifest("x.yaml", &bedrock(&upstream)).run();
    let reply = rerank(&gateway, "v2", &sent);
    assert_eq!((reply.status, reply.header("x-tollgate-dropped")), (200, Some("max_tokens_per_doc")));
    drop(gateway);
    let strict = bedrock(&upstream).replace("\"ai\":{", "\"ai\":{\"strict\":true,");
    let gateway = Start::new().manifest("x.yaml", &strict).run();
    let reply = rerank(&gateway, "v2", &sent);
    assert_error(&reply, DialectId::OpenAi, 400, "a limit that Amazon's model does not have");
    assert!(reply.text().contains("max_tokens_per_doc"), "{}", reply.text());
}
