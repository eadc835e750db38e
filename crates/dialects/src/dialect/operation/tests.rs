//! Requests to providers and replies to clients, without a network.

use serde_json::{Value, json};

use super::{
    models::{Model, Source},
    *,
};
use crate::{
    conversation::ErrorClass,
    dialect::{BedrockVerb, GeminiVerb, presets},
};

mod rerank;

/// A provider's dialect and quirks.
type Server = (DialectId, &'static Quirks);

const OPENAI: Server = (DialectId::Chat, presets::OPENAI);
const AZURE: Server = (DialectId::Chat, presets::AZURE);
const MISTRAL: Server = (DialectId::Chat, presets::MISTRAL);
const COMPATIBLE: Server = (DialectId::Chat, presets::COMPATIBLE);
const ANTHROPIC: Server = (DialectId::Messages, presets::ANTHROPIC);
const VERTEX_CLAUDE: Server = (DialectId::Messages, presets::VERTEX_CLAUDE);
const AI_STUDIO: Server = (DialectId::Gemini, presets::AI_STUDIO);
const VERTEX: Server = (DialectId::Gemini, presets::VERTEX);
const BEDROCK: Server = (DialectId::Converse, presets::BEDROCK);

const EMBED: Endpoint = Endpoint::Gemini(GeminiVerb::Embed, None);
const BATCH: Endpoint = Endpoint::Gemini(GeminiVerb::BatchEmbed, None);
const PREDICT: Endpoint = Endpoint::Gemini(GeminiVerb::Predict, None);
const GEMINI_COUNT: Endpoint = Endpoint::Gemini(GeminiVerb::CountTokens, None);
const BEDROCK_COUNT: Endpoint = Endpoint::Bedrock(BedrockVerb::CountTokens, None);

fn made(endpoint: &Endpoint, body: &Value, server: Server, model: &str) -> Result<OperationPlan, OperationError> {
    let body = body.to_string();
    let dialect = endpoint.owner().unwrap();
    let request = ApiRequest { endpoint: endpoint.clone(), dialect, model: Some(model.into()), stream: StreamMode::No };
    let to = OperationTarget {
        dialect: server.0,
        quirks: server.1,
        model: Some(model),
        facts: ModelFacts::of(model),
        has_paths: true,
    };
    OperationPlan::new(&request, &TopLevel::scan(body.as_bytes()).unwrap(), &to)
}

/// The bodies that are sent, with the endpoint of the first.
fn requests(plan: &OperationPlan) -> (Option<Endpoint>, Vec<Value>) {
    let bodies = plan.requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap());
    (plan.requests.first().map(|request| request.api_request.endpoint.clone()), bodies.collect())
}

fn upstream(bodies: &[Value]) -> Vec<UpstreamReply> {
    bodies.iter().map(|body| UpstreamReply { body: body.to_string().into(), tokens: None }).collect()
}

fn finish(plan: OperationPlan, replies: &[Value]) -> (Value, OperationReply) {
    let reply = plan.reply(&upstream(replies)).unwrap();
    (serde_json::from_slice(&reply.body).unwrap(), reply)
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside absent ones in tables")]
fn gemini(verb: GeminiVerb, model: &str) -> Option<Endpoint> {
    Some(Endpoint::Gemini(verb, Some(model.into())))
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside absent ones in tables")]
fn invoke(model: &str) -> Option<Endpoint> {
    Some(Endpoint::Bedrock(BedrockVerb::Invoke, Some(model.into())))
}

#[test]
fn embeddings_are_written_in_each_providers_form() {
    let two = json!({"model": "x", "input": ["one", "two \"é\""], "dimensions": 8, "user": "u"});
    let content = |text: &str| json!({"parts": [{"text": text}]});
    for (server, model, endpoint, bodies) in [
        (
            AI_STUDIO,
            "gemini-embedding-001",
            gemini(GeminiVerb::BatchEmbed, "gemini-embedding-001"),
            vec![json!({"requests": [
                {"model": "models/gemini-embedding-001", "content": content("one"), "outputDimensionality": 8},
                {"model": "models/gemini-embedding-001", "content": content("two \"é\""), "outputDimensionality": 8},
            ]})],
        ),
        (
            VERTEX,
            "text-embedding-005",
            gemini(GeminiVerb::Predict, "text-embedding-005"),
            vec![json!({
                "instances": [{"content": "one"}, {"content": "two \"é\""}], "parameters": {"outputDimensionality": 8},
            })],
        ),
        (
            VERTEX,
            "gemini-embedding-001",
            gemini(GeminiVerb::Predict, "gemini-embedding-001"),
            vec![
                json!({"instances": [{"content": "one"}], "parameters": {"outputDimensionality": 8}}),
                json!({"instances": [{"content": "two \"é\""}], "parameters": {"outputDimensionality": 8}}),
            ],
        ),
        (
            VERTEX,
            "gemini-embedding-2",
            gemini(GeminiVerb::BatchEmbed, "gemini-embedding-2"),
            vec![json!({"requests": [
                {"content": content("one"), "embedContentConfig": {"outputDimensionality": 8}},
                {"content": content("two \"é\""), "embedContentConfig": {"outputDimensionality": 8}},
            ]})],
        ),
        (
            BEDROCK,
            "amazon.titan-embed-text-v2:0",
            invoke("amazon.titan-embed-text-v2:0"),
            vec![json!({"inputText": "one", "dimensions": 8}), json!({"inputText": "two \"é\"", "dimensions": 8})],
        ),
        (
            BEDROCK,
            "cohere.embed-v4:0",
            invoke("cohere.embed-v4:0"),
            vec![json!({
                "texts": ["one", "two \"é\""], "input_type": "search_document", "embedding_types": ["float"],
                "output_dimension": 8,
            })],
        ),
    ] {
        let plan = made(&Endpoint::Embeddings, &two, server, model).unwrap();
        assert_eq!(requests(&plan), (endpoint, bodies), "{model}");
        assert_eq!(plan.dropped.to_string(), "user;hint", "{model}");
    }
}

#[test]
fn one_text_goes_alone() {
    let one = json!({"input": "one"});
    let plan = made(&Endpoint::Embeddings, &one, VERTEX, "gemini-embedding-2").unwrap();
    let expected = json!({"content": {"parts": [{"text": "one"}]}});
    assert_eq!(requests(&plan), (gemini(GeminiVerb::Embed, "gemini-embedding-2"), vec![expected]));
}

#[test]
fn many_texts_go_in_batches_and_keep_their_order() {
    let texts: Vec<String> = (0..205).map(|n| n.to_string()).collect();
    let body = json!({"input": texts});
    for (server, model, sizes) in [
        (AI_STUDIO, "text-embedding-004", vec![100, 100, 5]),
        (BEDROCK, "cohere.embed-english-v3", vec![96, 96, 13]),
        (VERTEX, "text-embedding-005", vec![205]),
    ] {
        let plan = made(&Endpoint::Embeddings, &body, server, model).unwrap();
        let bodies = requests(&plan).1;
        let list = |body: &Value| ["requests", "texts", "instances"].iter().find_map(|k| body[k].as_array().cloned());
        let lists: Vec<Vec<Value>> = bodies.iter().filter_map(list).collect();
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{model}");
        let replies: Vec<Value> = if server == BEDROCK {
            let mut next = 0..205;
            let mut some = |n: usize| next.by_ref().take(n).map(|n| json!([n])).collect::<Vec<_>>();
            sizes.iter().map(|size| json!({"embeddings": {"float": some(*size)}})).collect()
        } else {
            continue;
        };
        let (answer, _) = finish(plan, &replies);
        for n in 0..205 {
            assert_eq!((&answer["data"][n]["index"], &answer["data"][n]["embedding"][0]), (&json!(n), &json!(n)));
        }
    }
}

#[test]
fn gemini_embeddings_are_written_for_openai_and_bedrock() {
    let one = json!({
        "content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY", "title": "t",
        "output_dimensionality": 4,
    });
    let nested = json!({
        "content": {"parts": [{"text": "a\nb"}]},
        "embedContentConfig": {"task_type": "RETRIEVAL_QUERY", "title": "t", "outputDimensionality": 4},
    });
    let batch = json!({"requests": [one]});
    let predict = json!({
        "instances": [{"content": "a\nb", "task_type": "RETRIEVAL_QUERY", "title": "t"}],
        "parameters": {"outputDimensionality": 4},
    });
    for (endpoint, body) in [(EMBED, &one), (EMBED, &nested), (BATCH, &batch), (PREDICT, &predict)] {
        let plan = made(&endpoint, body, OPENAI, "m").unwrap();
        let sent = json!({"model": "m", "input": ["a\nb"], "dimensions": 4});
        assert_eq!(requests(&plan), (Some(Endpoint::Embeddings), vec![sent]), "{body}");
        assert_eq!(plan.dropped.to_string(), "taskType, title");
        let plan = made(&endpoint, body, MISTRAL, "m").unwrap();
        assert_eq!(requests(&plan).1[0]["output_dimension"], 4);
        let plan = made(&endpoint, body, BEDROCK, "cohere.embed-english-v3").unwrap();
        let sent = json!({"texts": ["a\nb"], "input_type": "search_query", "embedding_types": ["float"]});
        assert_eq!(requests(&plan).1, [sent]);
        assert_eq!(plan.dropped.to_string(), "title, outputDimensionality");
    }
}

#[test]
fn invalid_embeddings_are_refused_with_their_field() {
    let many: Vec<&str> = vec!["a"; 2049];
    let text = |text: &str| json!({"content": {"parts": [{"text": text}]}});
    let mut longer = text("b");
    longer["outputDimensionality"] = json!(9);
    for (endpoint, body, field) in [
        (Endpoint::Embeddings, json!({"input": [1, 2]}), "input"),
        (Endpoint::Embeddings, json!({"input": [[1, 2], [3]]}), "input"),
        (Endpoint::Embeddings, json!({"input": ["a", 1]}), "input"),
        (Endpoint::Embeddings, json!({"input": [{}]}), "input"),
        (Endpoint::Embeddings, json!({"input": 7}), "input"),
        (Endpoint::Embeddings, json!({"input": []}), "input"),
        (Endpoint::Embeddings, json!({}), "input"),
        (Endpoint::Embeddings, json!({"input": many}), "input"),
        (Endpoint::Embeddings, json!({"input": "a", "dimensions": "8"}), "dimensions"),
        (Endpoint::Embeddings, json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
        (EMBED, json!({"content": {"parts": [{"inlineData": {}}]}}), "content.parts[0]"),
        (EMBED, json!({}), "content.parts"),
        (BATCH, json!({"requests": []}), "requests"),
        (BATCH, json!({"requests": [text("a"), longer]}), "requests[1].outputDimensionality"),
        (PREDICT, json!({"instances": [{"image": {}}]}), "instances[0].content"),
    ] {
        let refused = made(&endpoint, &body, BEDROCK, "amazon.titan-embed-text-v2:0").unwrap_err();
        let OperationError::Invalid(invalid) = refused else { panic!("{body}: {refused:?}") };
        assert_eq!(invalid.field, field, "{body}");
    }
    let one = json!({"input": "a"});
    assert!(matches!(made(&Endpoint::Embeddings, &one, ANTHROPIC, "m"), Err(OperationError::Missing(_))));
    assert!(matches!(made(&Endpoint::Embeddings, &one, BEDROCK, "nova"), Err(OperationError::Invalid(_))));
}

#[test]
fn embeddings_are_returned_in_the_clients_form() {
    let openai = json!({
        "object": "list", "model": "real", "data": [{"index": 1, "embedding": [2.50]}, {"index": 0, "embedding": [1]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    });
    let batch = json!({"requests": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]});
    let plan = made(&BATCH, &batch, OPENAI, "m").unwrap();
    let (body, answer) = finish(plan, std::slice::from_ref(&openai));
    assert_eq!(body, json!({"embeddings": [{"values": [1]}, {"values": [2.5]}]}));
    assert_eq!((answer.usage.prompt, answer.model.as_deref(), answer.estimated), (Some(7), Some("real"), false));
    let predict = json!({"instances": [{"content": "abcde"}, {"content": "b"}]});
    let (body, _) = finish(made(&PREDICT, &predict, OPENAI, "m").unwrap(), &[openai]);
    assert_eq!(
        body,
        json!({"predictions": [
            {"embeddings": {"values": [1], "statistics": {"token_count": 2}}},
            {"embeddings": {"values": [2.5], "statistics": {"token_count": 1}}},
        ]})
    );
    let one = json!({"content": {"parts": [{"text": "a"}]}});
    let titan = json!({"embedding": [0.25, -1e-3], "inputTextTokenCount": 3});
    let (body, answer) = finish(made(&EMBED, &one, BEDROCK, "titan-embed").unwrap(), &[titan]);
    assert_eq!(body, json!({"embedding": {"values": [0.25, -1e-3]}}));
    assert_eq!(answer.usage.prompt, Some(3));
}

#[test]
fn openai_clients_get_every_providers_numbers() {
    let two = json!({"input": ["abcdefgh", "i"]});
    for (server, model, replies, tokens, estimated) in [
        (AI_STUDIO, "e", vec![json!({"embeddings": [{"values": [1.0]}, {"values": [2.0]}]})], 3, true),
        (
            VERTEX,
            "e",
            vec![json!({"predictions": [
                {"embeddings": {"values": [1.0], "statistics": {"token_count": 4, "truncated": false}}},
                {"embeddings": {"values": [2.0], "statistics": {"token_count": 5.0}}},
            ]})],
            9,
            false,
        ),
        (
            VERTEX,
            "gemini-embedding-2",
            vec![
                json!({"embeddings": [{"values": [1.0]}, {"values": [2.0]}], "usageMetadata": {"promptTokenCount": 6}}),
            ],
            6,
            false,
        ),
        (
            BEDROCK,
            "amazon.titan-embed-text-v2:0",
            vec![
                json!({"embedding": [1.0], "inputTextTokenCount": 2}),
                json!({"embedding": [2.0], "inputTextTokenCount": 1}),
            ],
            3,
            false,
        ),
        (BEDROCK, "cohere.embed-v4:0", vec![json!({"embeddings": [[1.0], [2.0]], "id": "x"})], 3, true),
    ] {
        let (body, answer) = finish(made(&Endpoint::Embeddings, &two, server, model).unwrap(), &replies);
        assert_eq!(
            body,
            json!({
                "object": "list", "model": model,
                "data": [
                    {"object": "embedding", "index": 0, "embedding": [1.0]},
                    {"object": "embedding", "index": 1, "embedding": [2.0]},
                ],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }),
            "{model}"
        );
        assert_eq!(answer.estimated, estimated, "{model}");
    }
}

#[test]
fn base64_is_little_endian_floats_of_32_bits() {
    let body = json!({"input": "a", "encoding_format": "base64"});
    let plan = made(&Endpoint::Embeddings, &body, AI_STUDIO, "e").unwrap();
    let (answer, _) = finish(plan, &[json!({"embeddings": [{"values": [1.0, -2]}]})]);
    assert_eq!(answer["data"][0]["embedding"], "AACAPwAAAMA=");
    // A server that replies in base64 without a request for it.
    let one = json!({"content": {"parts": [{"text": "a"}]}});
    let plan = made(&EMBED, &one, COMPATIBLE, "e").unwrap();
    let (answer, _) = finish(plan, &[json!({"data": [{"index": 0, "embedding": "AACAPwAAAMA="}]})]);
    assert_eq!(answer, json!({"embedding": {"values": [1.0, -2.0]}}));
}

#[test]
fn counts_in_headers_are_used() {
    let body = json!({"input": "a"});
    let plan = made(&Endpoint::Embeddings, &body, BEDROCK, "cohere.embed-v4:0").unwrap();
    let counted = UpstreamReply { body: json!({"embeddings": {"float": [[1]]}}).to_string().into(), tokens: Some(42) };
    let answer = plan.reply(&[counted]).unwrap();
    assert_eq!((answer.usage.prompt, answer.estimated), (Some(42), false));
}

#[test]
fn replies_without_embeddings_are_the_providers_fault() {
    for bad in [
        json!({}),
        json!({"error": {"message": "no"}}),
        json!({"embeddings": []}),
        json!({"embeddings": [{"values": [1]}, {"values": [2]}]}),
        json!({"embeddings": [{"values": 7}]}),
        json!({"embeddings": "no"}),
        json!({"embeddings": [{"values": ["x"]}]}),
    ] {
        let body = json!({"input": "a", "encoding_format": "base64"});
        let plan = made(&Endpoint::Embeddings, &body, AI_STUDIO, "e").unwrap();
        let failure = plan.reply(&upstream(std::slice::from_ref(&bad))).unwrap_err();
        assert_eq!(failure.class, ErrorClass::BadGateway, "{bad}");
    }
}

fn messages() -> Value {
    json!({
        "model": "claude", "system": "be kind", "messages": [{"role": "user", "content": "hello"}],
        "tools": [{"name": "get", "description": "gets", "input_schema": {"type": "object", "properties": {}}}],
    })
}

#[test]
fn counts_are_requested_in_each_providers_form() {
    let contents = json!({
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "systemInstruction": {"parts": [{"text": "be kind"}]},
    });
    let model = "gemini-2.5-pro";
    let (endpoint, bodies) = requests(&made(&Endpoint::CountMessageTokens, &messages(), AI_STUDIO, model).unwrap());
    assert_eq!(endpoint, gemini(GeminiVerb::CountTokens, model));
    let whole = &bodies[0]["generateContentRequest"];
    assert_eq!(whole["model"], "models/gemini-2.5-pro");
    assert!(whole["contents"].to_string().contains("hello") && whole["tools"].to_string().contains("get"), "{whole}");
    assert!(bodies[0].get("contents").is_none());

    let (_, bodies) = requests(&made(&Endpoint::CountMessageTokens, &messages(), VERTEX, model).unwrap());
    assert!(bodies[0]["contents"].to_string().contains("hello"), "{}", bodies[0]);
    assert!(bodies[0]["systemInstruction"].to_string().contains("be kind"), "{}", bodies[0]);
    assert!(bodies[0].get("toolConfig").is_none());

    let (endpoint, bodies) = requests(&made(&GEMINI_COUNT, &contents, ANTHROPIC, "claude").unwrap());
    assert_eq!(endpoint, Some(Endpoint::CountMessageTokens));
    let keys: Vec<&str> = bodies[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["messages", "model", "system"], "{}", bodies[0]);

    let (_, bodies) = requests(&made(&GEMINI_COUNT, &contents, VERTEX_CLAUDE, "claude").unwrap());
    assert_eq!(bodies[0]["anthropic_version"], "vertex-2023-10-16");
    assert_eq!(bodies[0]["model"], "claude");

    let nested = json!({"generateContentRequest": contents});
    let (endpoint, bodies) = requests(&made(&GEMINI_COUNT, &nested, OPENAI, "gpt").unwrap());
    assert_eq!(endpoint, Some(Endpoint::CountResponseTokens));
    assert!(bodies[0]["input"].to_string().contains("hello"), "{}", bodies[0]);
    assert!(["store", "max_output_tokens", "stream"].iter().all(|key| bodies[0].get(key).is_none()), "{}", bodies[0]);

    let claude = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let (endpoint, bodies) = requests(&made(&Endpoint::CountMessageTokens, &messages(), BEDROCK, claude).unwrap());
    let foundation = Some("anthropic.claude-sonnet-4-5-20250929-v1:0".to_owned());
    assert_eq!(endpoint, Some(Endpoint::Bedrock(BedrockVerb::CountTokens, foundation)));
    let converse = bodies[0]["input"]["converse"].as_object().unwrap();
    assert!(converse["messages"].to_string().contains("hello"));
    assert!(converse.keys().all(|key| key != "inferenceConfig"), "{}", bodies[0]);
}

#[test]
fn bedrock_clients_count_messages_too() {
    use base64::Engine;
    let body = base64::prelude::BASE64_STANDARD.encode(messages().to_string());
    let invoke = json!({"input": {"invokeModel": {"body": body}}});
    let plan = made(&BEDROCK_COUNT, &invoke, ANTHROPIC, "claude").unwrap();
    assert_eq!(requests(&plan).1[0]["messages"][0]["role"], "user");
    assert_eq!(finish(plan, &[json!({"input_tokens": 9})]).0, json!({"inputTokens": 9}));
    for bad in [json!({}), json!({"input": {}}), json!({"input": 7}), json!({"input": {"invokeModel": {"body": "!"}}})]
    {
        let refused = made(&BEDROCK_COUNT, &bad, ANTHROPIC, "claude").unwrap_err();
        let OperationError::Invalid(invalid) = refused else { panic!("{bad}: {refused:?}") };
        assert!(invalid.field.starts_with("input"), "{bad}: {invalid}");
    }
}

#[test]
fn counts_are_returned_in_the_clients_form() {
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    for (endpoint, body, server, reply, expected) in [
        (
            Endpoint::CountMessageTokens,
            messages(),
            AI_STUDIO,
            json!({"totalTokens": 5, "promptTokensDetails": []}),
            json!({"input_tokens": 5}),
        ),
        (GEMINI_COUNT, contents.clone(), ANTHROPIC, json!({"input_tokens": 6}), json!({"totalTokens": 6})),
        (
            GEMINI_COUNT,
            contents,
            OPENAI,
            json!({"object": "response.input_tokens", "input_tokens": 7}),
            json!({"totalTokens": 7}),
        ),
        (Endpoint::CountMessageTokens, messages(), BEDROCK, json!({"inputTokens": 8}), json!({"input_tokens": 8})),
    ] {
        let (body, answer) = finish(made(&endpoint, &body, server, "m").unwrap(), &[reply]);
        assert_eq!((body, answer.estimated, answer.usage), (expected, false, Usage::default()));
    }
    let plan = made(&Endpoint::CountMessageTokens, &messages(), AI_STUDIO, "m").unwrap();
    assert_eq!(plan.reply(&upstream(&[json!({})])).unwrap_err().class, ErrorClass::BadGateway);
}

#[test]
fn counts_are_estimated_where_no_provider_counts() {
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}});
    let mut seen = messages();
    seen["messages"][0]["content"] = json!([{"type": "text", "text": "hello"}, image]);
    // "be kind", "hello", "get", "gets" and the schema, four bytes a token; an image is 256.
    let schema = r#"{"properties":{},"type":"object"}"#.len();
    let estimated = (7 + 5 + 5 + 6 + schema).div_ceil(4) as u64;
    let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
    for (body, server, model, tokens) in [
        (&messages(), AZURE, "gpt", estimated),
        (&messages(), COMPATIBLE, "llama", estimated),
        (&messages(), BEDROCK, profile, estimated),
        (&seen, COMPATIBLE, "llama", estimated + 256),
        // Media are not fetched for a count.
        (&seen, AI_STUDIO, "gemini-2.5-pro", estimated + 256),
    ] {
        let plan = made(&Endpoint::CountMessageTokens, body, server, model).unwrap();
        assert!(plan.requests.is_empty(), "{model}");
        let (body, answer) = finish(plan, &[]);
        assert_eq!((body, answer.estimated), (json!({"input_tokens": tokens}), true), "{model}");
    }
}

#[test]
fn counts_fall_back_to_the_estimate() {
    for (server, status, does) in
        [(OPENAI, 404, true), (OPENAI, 400, false), (OPENAI, 429, false), (BEDROCK, 400, true), (BEDROCK, 403, false)]
    {
        let plan = made(&Endpoint::CountMessageTokens, &messages(), server, "m").unwrap();
        let answer = plan.fallback(status);
        assert_eq!(answer.as_ref().map(|answer| answer.estimated), does.then_some(true), "{status}");
    }
    let embeds = made(&Endpoint::Embeddings, &json!({"input": "a"}), AI_STUDIO, "e").unwrap();
    assert_eq!(embeds.fallback(404), None);
}

#[test]
fn one_path_for_all_endpoints_gets_no_count() {
    let body = messages().to_string();
    let request = ApiRequest {
        endpoint: Endpoint::CountMessageTokens,
        dialect: DialectId::Messages,
        model: None,
        stream: StreamMode::No,
    };
    let (dialect, quirks) = AI_STUDIO;
    let to = OperationTarget { dialect, quirks, model: Some("m"), facts: ModelFacts::PLAIN, has_paths: false };
    let plan = OperationPlan::new(&request, &TopLevel::scan(body.as_bytes()).unwrap(), &to).unwrap();
    assert!(plan.requests.is_empty());
}

fn known(ids: &[&str]) -> Vec<Model> {
    ids.iter().map(|id| Model { id: (*id).to_owned(), owner: "openai" }).collect()
}

#[test]
fn lists_have_the_clients_shape() {
    let plan = |client, path, known| models::plan(None, client, path, known, Source::Backends).unwrap();
    let list = |client, path| finish(plan(client, path, known(&["a", "text-embed"])), &[]).0;
    assert_eq!(
        list(DialectId::Chat, "/v1/models"),
        json!({"object": "list", "data": [
            {"id": "a", "object": "model", "created": 0, "owned_by": "openai"},
            {"id": "text-embed", "object": "model", "created": 0, "owned_by": "openai"},
        ]})
    );
    let anthropic = list(DialectId::Messages, "/v1/models");
    assert_eq!((&anthropic["first_id"], &anthropic["last_id"]), (&json!("a"), &json!("text-embed")));
    assert_eq!(anthropic["has_more"], false);
    assert_eq!(
        anthropic["data"][0],
        json!({"type": "model", "id": "a", "display_name": "a", "created_at": "1970-01-01T00:00:00Z"})
    );
    assert_eq!(
        list(DialectId::Gemini, "/v1beta/models")["models"][1],
        json!({
            "name": "models/text-embed", "displayName": "text-embed",
            "supportedGenerationMethods": ["embedContent", "batchEmbedContents"],
        })
    );
    assert_eq!(
        list(DialectId::Gemini, "/v1beta1/publishers/google/models")["publisherModels"][0],
        json!({"name": "publishers/google/models/a"})
    );
    let empty = finish(plan(DialectId::Messages, "/v1/models", Vec::new()), &[]).0;
    assert_eq!(empty, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
}

#[test]
fn one_model_is_returned_or_unknown() {
    let plan = |id, names, source| models::plan(Some(id), DialectId::Chat, "/v1/models", known(names), source);
    let one = |id| plan(id, &["a", "b"], Source::Backends);
    assert_eq!(finish(one("b").unwrap(), &[]).0["id"], "b");
    assert_eq!(one("c").unwrap_err(), OperationError::UnknownModel("c".into()));
    let listed = |id| plan(id, &["a"], Source::Provider(DialectId::Gemini, "gemini"));
    assert!(listed("a").unwrap().requests.is_empty(), "the Backends name it");
    let plan = listed("g").unwrap();
    assert_eq!(plan.requests[0].api_request.endpoint, Endpoint::Models(Some("g".into())));
    let (body, _) = finish(plan, &[json!({"name": "models/g", "displayName": "G"})]);
    assert_eq!((&body["id"], &body["owned_by"]), (&json!("g"), &json!("gemini")));
}

#[test]
fn lists_of_other_dialects_are_rewritten() {
    for (dialect, query, reply) in [
        (DialectId::Chat, None, json!({"object": "list", "data": [{"id": "x/y"}, {"id": "a"}]})),
        // llama.cpp's, which has the list twice: in Ollama's form, where numbers may be empty strings, and in OpenAI's.
        (
            DialectId::Chat,
            None,
            json!({
                "models": [{"name": "m.gguf", "model": "m.gguf", "size": "", "details": {"families": [""]}}],
                "object": "list",
                "data": [{"id": "x/y", "aliases": [], "owned_by": "llamacpp", "meta": {"n_vocab": 32000}}],
            }),
        ),
        (DialectId::Chat, None, json!({"models": [{"name": "x/y", "size": ""}, {"model": "a"}]})),
        (
            DialectId::Messages,
            Some("limit=1000"),
            json!({"data": [{"type": "model", "id": "x/y", "display_name": "X"}]}),
        ),
        (DialectId::Gemini, Some("pageSize=1000"), json!({"models": [{"name": "models/y", "version": "1"}]})),
        (
            DialectId::Gemini,
            Some("pageSize=1000"),
            json!({"publisherModels": [{"name": "publishers/google/models/y"}]}),
        ),
    ] {
        let plan =
            models::plan(None, DialectId::Chat, "/v1/models", known(&["a"]), Source::Provider(dialect, "p")).unwrap();
        assert_eq!(plan.requests.iter().map(|request| request.query).collect::<Vec<_>>(), [query]);
        let (body, _) = finish(plan, std::slice::from_ref(&reply));
        let ids: Vec<&str> = body["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
        let other = if dialect == DialectId::Gemini { "y" } else { "x/y" };
        assert_eq!(ids, ["a", other], "{reply}");
        assert_eq!(body["data"][1]["owned_by"], "p");
    }
}

#[test]
fn a_client_that_lists_models_is_known_by_its_key() {
    for (path, query, header, backend, expected) in [
        ("/x/v1/models", None, Some("anthropic-version"), DialectId::Chat, DialectId::Messages),
        ("/x/v1/models", None, Some("x-api-key"), DialectId::Chat, DialectId::Messages),
        ("/x/v1/models", None, Some("authorization"), DialectId::Messages, DialectId::Chat),
        ("/x/openai/models", None, Some("api-key"), DialectId::Gemini, DialectId::Chat),
        ("/x/v1/models", None, Some("x-goog-api-key"), DialectId::Chat, DialectId::Gemini),
        ("/x/v1beta/models", None, None, DialectId::Chat, DialectId::Gemini),
        ("/x/v1/models", Some("key=k"), None, DialectId::Chat, DialectId::Gemini),
        ("/x/v1/models", None, None, DialectId::Messages, DialectId::Messages),
        ("/x/v1/models", None, None, DialectId::Converse, DialectId::Chat),
    ] {
        let mut headers = http::HeaderMap::new();
        if let Some(name) = header {
            headers.insert(name, http::HeaderValue::from_static("Bearer k"));
        }
        let request = crate::dialect::RequestHead {
            listed: &[],
            method: &http::Method::GET,
            path,
            suffix: path,
            query,
            headers: &headers,
            backend,
            route_streams: false,
        };
        assert_eq!(request.classify(None).unwrap().dialect, expected, "{path} {header:?} {backend:?}");
    }
}
