//! Rankings of all providers, and what each refuses.

use serde_json::{Value, json};

use super::{Answer, send};

const KEY: (&str, &str) = ("authorization", "Bearer key");

async fn post(host: &str, path: &str, body: &Value) -> Answer {
    send("POST", path, &[KEY, ("host", host)], &body.to_string()).await
}

fn texts() -> Value {
    json!({"query": "what is the capital", "documents": ["a river", "the capital is Paris", ""]})
}

fn with(mut body: Value, fields: &Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

const GOOGLE: &str = "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank";
const ENGINE: &str = "discoveryengine.googleapis.com";

#[tokio::test]
async fn the_document_with_the_querys_words_comes_first() {
    let cohere = with(texts(), &json!({"model": "rerank-v3.5", "top_n": 2}));
    let reply = post("api.cohere.com", "/v2/rerank", &cohere).await.json();
    assert_eq!((&reply["results"][0]["index"], reply["results"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(reply["meta"]["billed_units"]["search_units"], 1);
    let first = with(cohere, &json!({"return_documents": true}));
    let reply = post("api.cohere.com", "/v1/rerank", &first).await.json();
    assert_eq!(reply["results"][0]["document"]["text"], "the capital is Paris");

    let bedrock = json!({"query": "capital", "documents": ["a river", "the capital"], "api_version": 2});
    let reply = post("bedrock-runtime.us-west-2.amazonaws.com", "/model/cohere.rerank-v3-5:0/invoke", &bedrock).await;
    assert_eq!(reply.json()["results"][0]["index"], 1, "{}", reply.text);

    let records = json!([{"id": "a", "content": "a river"}, {"id": "b", "title": "the capital"}]);
    let google = json!({"model": "semantic-ranker-512@latest", "query": "capital", "records": records, "topN": 1});
    let reply = post(ENGINE, GOOGLE, &google).await.json();
    assert_eq!(reply, json!({"records": [{"id": "b", "title": "the capital", "score": 0.5}]}));
}

#[tokio::test]
async fn requests_that_the_vendors_refuse_are_refused() {
    let (runtime, cohere) = ("bedrock-runtime.us-west-2.amazonaws.com", "api.cohere.com");
    let invoke = |vendor: &str| format!("/model/{vendor}.rerank-v1:0/invoke");
    let pair = json!({"query": "q", "documents": ["a", "b"]});
    let record = json!({"id": "a", "content": "c"});
    let google = json!({"query": "q", "records": [record]});
    let many = |count: usize, one: Value| Value::Array(vec![one; count]);
    for (host, path, body, status) in [
        (cohere, "/v2/rerank".to_owned(), with(texts(), &json!({"model": "m", "return_documents": true})), 400),
        (cohere, "/v2/rerank".to_owned(), json!({"model": "m", "query": "q", "documents": [{"text": "a"}]}), 400),
        (cohere, "/v2/rerank".to_owned(), json!({"model": "m", "query": "q", "documents": []}), 400),
        (cohere, "/v2/rerank".to_owned(), with(pair.clone(), &json!({"model": "m", "top_n": 0})), 400),
        (cohere, "/v2/rerank".to_owned(), pair.clone(), 400),
        (cohere, "/compatibility/v1/rerank".to_owned(), with(pair.clone(), &json!({"model": "m"})), 404),
        ("api.openai.com", "/v1/rerank".to_owned(), with(pair.clone(), &json!({"model": "m"})), 404),
        (runtime, invoke("cohere"), pair.clone(), 400),
        (runtime, invoke("amazon"), with(pair.clone(), &json!({"api_version": 2})), 400),
        (runtime, invoke("amazon"), with(pair.clone(), &json!({"top_n": 3})), 400),
        (runtime, invoke("amazon"), json!({"query": "q", "documents": ["a", ""]}), 400),
        (runtime, invoke("amazon"), json!({"query": "q", "documents": many(1001, json!("a"))}), 400),
        (ENGINE, GOOGLE.to_owned(), with(google.clone(), &json!({"records": many(201, record)})), 400),
        (ENGINE, GOOGLE.to_owned(), with(google.clone(), &json!({"documents": []})), 400),
        (ENGINE, GOOGLE.to_owned(), with(google.clone(), &json!({"model": "gemini-2.5-flash"})), 400),
        (ENGINE, GOOGLE.to_owned(), json!({"query": "q", "records": [{"id": "a"}]}), 400),
        (ENGINE, GOOGLE.to_owned(), json!({"query": "q", "records": [{"id": 1, "content": "c"}]}), 400),
        ("aiplatform.googleapis.com", GOOGLE.to_owned(), google, 404),
    ] {
        let reply = post(host, &path, &body).await;
        let shown: String = body.to_string().chars().take(80).collect();
        assert_eq!(reply.status.as_u16(), status, "{host}{path} {shown}: {}", reply.text);
    }
}
