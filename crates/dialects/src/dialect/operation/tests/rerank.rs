//! Rankings: forms are from the vendors' SDKs (`cohere` 7.3, `bedrock-agent-runtime` and `bedrock-runtime` of botocore,
//! `google-cloud-discoveryengine` 0.20).

use super::*;
use crate::dialect::RerankApi;

const V1: Endpoint = Endpoint::Rerank(RerankApi::V1);
const V2: Endpoint = Endpoint::Rerank(RerankApi::V2);
const AGENT: Endpoint = Endpoint::Rerank(RerankApi::Bedrock);
const GOOGLE: Endpoint = Endpoint::Rerank(RerankApi::Google);

const COHERE_ON_BEDROCK: &str = "cohere.rerank-v3-5:0";
const AMAZON: &str = "amazon.rerank-v1:0";
const RANKER: &str = "semantic-ranker-default@latest";

fn cohere() -> Value {
    json!({
        "model": "x", "query": "q \"é\"", "documents": ["one", "two"], "top_n": 1, "max_tokens_per_doc": 512,
        "priority": 3,
    })
}

fn agent() -> Value {
    json!({
        "queries": [{"type": "TEXT", "textQuery": {"text": "q \"é\""}}],
        "sources": [
            {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "one"}}},
            {"type": "INLINE", "inlineDocumentSource": {"type": "JSON", "jsonDocument": {"a": 1}}},
        ],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {
                "numberOfResults": 1,
                "modelConfiguration": {
                    "modelArn": "arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0",
                    "additionalModelRequestFields": {"max_tokens_per_doc": 512, "own": 1},
                },
            },
        },
    })
}

fn google() -> Value {
    json!({
        "model": RANKER, "query": "q \"é\"", "topN": 1, "userLabels": {"a": "b"},
        "records": [{"id": "a", "title": "One", "content": "one"}, {"id": "b", "title": "Two"}],
    })
}

#[test]
fn rankings_are_written_in_each_providers_form() {
    let google_form = |one: Value, two: Value| {
        json!({
            "model": RANKER, "query": "q \"é\"", "topN": 1, "ignoreRecordDetailsInResponse": true,
            "records": [one, two],
        })
    };
    let record = |id: &str, content: &str| json!({"id": id, "content": content});
    let bedrock = |two: &str| json!({"query": "q \"é\"", "documents": ["one", two], "top_n": 1});
    let with = |mut body: Value, more: Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let json_document = r#"{"a":1}"#;
    for (from, body, server, model, endpoint, expected, dropped) in [
        (
            V2,
            cohere(),
            BEDROCK,
            COHERE_ON_BEDROCK,
            invoke(COHERE_ON_BEDROCK),
            with(bedrock("two"), json!({"api_version": 2, "max_tokens_per_doc": 512})),
            "priority",
        ),
        (V1, cohere(), BEDROCK, AMAZON, invoke(AMAZON), bedrock("two"), "priority, max_tokens_per_doc"),
        (
            V2,
            cohere(),
            VERTEX,
            RANKER,
            Some(GOOGLE),
            google_form(record("0", "one"), record("1", "two")),
            "priority, max_tokens_per_doc",
        ),
        (
            AGENT,
            agent(),
            BEDROCK,
            COHERE_ON_BEDROCK,
            invoke(COHERE_ON_BEDROCK),
            with(bedrock(json_document), json!({"api_version": 2, "max_tokens_per_doc": 512})),
            "additionalModelRequestFields.own",
        ),
        (
            AGENT,
            agent(),
            COMPATIBLE,
            "bge",
            Some(V2),
            with(bedrock(json_document), json!({"model": "bge", "max_tokens_per_doc": 512})),
            "additionalModelRequestFields.own",
        ),
        (
            GOOGLE,
            google(),
            COMPATIBLE,
            "bge",
            Some(V2),
            json!({"model": "bge", "query": "q \"é\"", "documents": ["One\none", "Two"], "top_n": 1}),
            "userLabels",
        ),
        (
            GOOGLE,
            google(),
            VERTEX,
            RANKER,
            Some(GOOGLE),
            google_form(
                json!({"id": "0", "title": "One", "content": "one"}),
                json!({"id": "1", "title": "Two", "content": ""}),
            ),
            "userLabels",
        ),
    ] {
        let plan = made(&from, &body, server, model).unwrap();
        assert_eq!(requests(&plan), (endpoint, vec![expected]), "{from:?} to {model}");
        assert_eq!(plan.dropped.to_string(), dropped, "{from:?} to {model}");
    }
}

#[test]
fn results_are_returned_in_the_clients_form() {
    let scores = json!({
        "id": "r", "results": [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.5}],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1.0}},
    });
    let objects = json!({"query": "q", "documents": ["one", {"text": "two", "n": 2}], "return_documents": true});
    let (body, reply) = finish(made(&V1, &objects, BEDROCK, COHERE_ON_BEDROCK).unwrap(), std::slice::from_ref(&scores));
    assert_eq!(
        body,
        json!({
            "model": COHERE_ON_BEDROCK,
            "results": [
                {"index": 1, "relevance_score": 0.75, "document": {"text": "two", "n": 2}},
                {"index": 0, "relevance_score": 0.5, "document": {"text": "one"}},
            ],
            "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        })
    );
    assert_eq!((reply.usage.search_units, reply.usage.prompt, reply.estimated), (Some(1), None, false));

    // A zero is left out by Google, and 0 results are all of them.
    let all = json!({"query": "q", "documents": ["one", "two"], "top_n": 0});
    let google_scores = json!({"records": [{"id": "1", "score": 0.25}, {"id": "0"}]});
    let (body, _) = finish(made(&V2, &all, VERTEX, RANKER).unwrap(), &[google_scores]);
    let expected = json!([{"index": 1, "relevance_score": 0.25}, {"index": 0, "relevance_score": 0.0}]);
    assert_eq!((&body["results"], &body["meta"]), (&expected, &json!({"api_version": {"version": "2"}})));

    let mut both = agent();
    both["rerankingConfiguration"]["bedrockRerankingConfiguration"]["numberOfResults"] = json!(2);
    let (body, _) = finish(made(&AGENT, &both, COMPATIBLE, "bge").unwrap(), std::slice::from_ref(&scores));
    assert_eq!(body, json!({"results": [{"index": 1, "relevanceScore": 0.75}, {"index": 0, "relevanceScore": 0.5}]}));

    let (body, _) = finish(made(&GOOGLE, &google(), COMPATIBLE, "bge").unwrap(), std::slice::from_ref(&scores));
    assert_eq!(body, json!({"records": [{"id": "b", "title": "Two", "score": 0.75}]}), "the best one of two");
    let mut ids = google();
    ids["ignoreRecordDetailsInResponse"] = json!(true);
    let (body, _) = finish(made(&GOOGLE, &ids, COMPATIBLE, "bge").unwrap(), &[scores]);
    assert_eq!(body, json!({"records": [{"id": "b", "score": 0.75}]}));

    let jina = json!({
        "model": "jina-m", "usage": {"total_tokens": 9},
        "results": [{"index": 0, "relevance_score": -1.5, "document": {"text": "one"}}],
    });
    let (body, reply) = finish(made(&AGENT, &agent(), COMPATIBLE, "bge").unwrap(), &[jina]);
    assert_eq!(body, json!({"results": [{"index": 0, "relevanceScore": -1.5}]}));
    assert_eq!((reply.usage.prompt, reply.model.as_deref()), (Some(9), Some("jina-m")));
}

#[test]
fn more_documents_than_a_provider_takes_are_merged_by_their_scores() {
    let documents: Vec<String> = (0..450).map(|number| number.to_string()).collect();
    let body = json!({"query": "q", "documents": documents, "top_n": 3});
    let plan = made(&V2, &body, VERTEX, RANKER).unwrap();
    let parts = requests(&plan).1;
    let sizes: Vec<usize> = parts.iter().map(|part| part["records"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [200, 200, 50]);
    assert_eq!((&parts[2]["records"][49]["content"], &parts[2]["topN"]), (&json!("449"), &json!(3)));
    let reply = |scores: &[(&str, f64)]| {
        let records: Vec<Value> = scores.iter().map(|(id, score)| json!({"id": id, "score": score})).collect();
        json!({"records": records})
    };
    let replies = [reply(&[("7", 0.5), ("0", 0.25)]), reply(&[("199", 0.9), ("1", 0.5)]), reply(&[("49", 0.1)])];
    let (body, _) = finish(plan, &replies);
    let places: Vec<u64> =
        body["results"].as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [399, 7, 201], "equal scores stay in the order of the documents");

    let thousand: Vec<&str> = vec!["a"; 1001];
    let plan = made(&V2, &json!({"query": "q", "documents": thousand, "top_n": 1001}), BEDROCK, AMAZON).unwrap();
    let tops: Vec<Value> = requests(&plan).1.iter().map(|part| part["top_n"].clone()).collect();
    assert_eq!(tops, [1000, 1]);
    // What is stated of each part is added up.
    let part = |units: u64| json!({"results": [{"index": 0, "relevance_score": 0}], "meta": {"billed_units": {"search_units": units}}});
    let (_, reply) = finish(plan, &[part(10), part(1)]);
    assert_eq!(reply.usage.search_units, Some(11));
}

#[test]
fn invalid_rankings_are_refused_with_their_field() {
    let many: Vec<&str> = vec!["a"; 10_001];
    let with = |documents: Value| json!({"query": "q", "documents": documents});
    let mut paged = agent();
    paged["nextToken"] = json!("t");
    let mut no_source = agent();
    no_source["sources"][1] = json!({"type": "INLINE"});
    for (endpoint, body, field) in [
        (V2, json!({"documents": ["a"]}), "query"),
        (V2, json!({"query": {"image": "x"}, "documents": ["a"]}), "query"),
        (V2, json!({"query": "", "documents": ["a"]}), "query"),
        (V2, json!({"query": "q"}), "documents"),
        (V2, with(json!("a")), "documents"),
        (V2, with(json!([])), "documents"),
        (V2, with(json!(many)), "documents"),
        (V1, with(json!(["a", {"image": "x"}])), "documents[1]"),
        (V1, with(json!(["a", {"text": 1}])), "documents[1]"),
        (V1, with(json!(["a", 7])), "documents[1]"),
        (V1, with(json!(["a", ""])), "documents[1]"),
        (V2, json!({"query": "q", "documents": ["a"], "top_n": "1"}), "top_n"),
        (V2, json!({"query": "q", "documents": ["a"], "top_n": -1}), "top_n"),
        (V1, json!({"query": "q", "documents": ["a"], "return_documents": 1}), "return_documents"),
        (AGENT, json!({"queries": [], "sources": []}), "queries"),
        (AGENT, no_source, "sources[1]"),
        (AGENT, paged, "nextToken"),
        (GOOGLE, json!({"query": "q"}), "records"),
        (GOOGLE, json!({"query": "q", "records": [{"id": "1"}]}), "records[0]"),
        (GOOGLE, json!({"records": [{"content": "a"}]}), "query"),
    ] {
        let refused = made(&endpoint, &body, BEDROCK, AMAZON).unwrap_err();
        let OperationError::Invalid(invalid) = refused else { panic!("{body}: {refused:?}") };
        assert_eq!(invalid.field, field, "{endpoint:?}");
    }
    let one = with(json!(["a"]));
    for (server, model) in [(ANTHROPIC, "m"), (VERTEX_CLAUDE, "m"), (AI_STUDIO, "m")] {
        assert_eq!(made(&V2, &one, server, model).unwrap_err(), OperationError::Missing(NO_RERANK.into()));
    }
    for model in ["cohere.embed-v4:0", "amazon.titan-embed-text-v2:0", "anthropic.claude"] {
        assert!(matches!(made(&V2, &one, BEDROCK, model), Err(OperationError::Invalid(_))), "{model}");
    }
}

#[test]
fn replies_without_a_ranking_are_the_providers_fault() {
    let two = json!({"query": "q", "documents": ["a", "b"]});
    for bad in [
        json!({}),
        json!({"message": "no"}),
        json!({"results": [{"index": 2, "relevance_score": 1}]}),
        json!({"results": [{"index": u64::MAX, "relevance_score": 1}]}),
        json!({"results": [{"index": 0}]}),
        json!({"results": [{"index": 0, "relevance_score": "x"}]}),
    ] {
        let plan = made(&V2, &two, BEDROCK, AMAZON).unwrap();
        let failure = plan.reply(&upstream(std::slice::from_ref(&bad))).unwrap_err();
        assert_eq!(failure.class, ErrorClass::BadGateway, "{bad}");
    }
    for bad in [json!({}), json!({"records": [{"id": "x", "score": 1}]}), json!({"records": [{"score": 1}]})] {
        let plan = made(&V2, &two, VERTEX, RANKER).unwrap();
        let failure = plan.reply(&upstream(std::slice::from_ref(&bad))).unwrap_err();
        assert_eq!(failure.class, ErrorClass::BadGateway, "{bad}");
    }
}
