use super::{
    anthropic::{Anthropic, quirks::ANTHROPIC},
    azure_openai::AzureOpenAi,
    bedrock::{Bedrock, quirks::BEDROCK},
    gemini::{Gemini, quirks::AI_STUDIO},
    openai::{
        OpenAi, presets,
        quirks::{AZURE, DEEPSEEK, MISTRAL, OPENAI},
    },
    vertex_ai::{
        VertexAi, VertexClaude,
        quirks::{VERTEX, VERTEX_CLAUDE},
    },
    *,
};
use crate::dialect::{BedrockVerb, GeminiVerb};
use crate::stream::Splice;

fn ask(endpoint: Endpoint, model: Option<&str>, stream: StreamMode) -> ApiRequest {
    ApiRequest {
        dialect: endpoint.owner().unwrap_or(DialectId::Chat),
        endpoint,
        model: model.map(str::to_owned),
        stream,
    }
}

/// `openai` at this host, or at OpenAI's own.
fn openai_at(model: Option<&str>, host: Option<&str>) -> OpenAi {
    let server = Server { host: host.map(str::to_owned), ..Server::default() };
    OpenAi::new(model.map(str::to_owned), None, &server)
}

/// The path and query that `provider` returns for the request, or the refusal.
fn path(provider: &dyn Provider, ask: &ApiRequest, query: Option<&str>) -> Result<String, Refusal> {
    provider.path(ask, resolve_model(provider, ask), query).map(|p| p.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside refusals in tables")]
fn ok(path: &str) -> Result<String, Refusal> {
    Ok(path.to_owned())
}

fn generate(model: Option<&str>) -> ApiRequest {
    ask(Endpoint::Gemini(GeminiVerb::Generate, model.map(str::to_owned)), model, StreamMode::No)
}

fn stream(model: Option<&str>, mode: StreamMode) -> ApiRequest {
    ask(Endpoint::Gemini(GeminiVerb::StreamGenerate, model.map(str::to_owned)), model, mode)
}

#[test]
fn the_guides_backend_asks_the_guides_url() {
    let gemini = Gemini::new(Some("gemini-1.5-flash-latest".into()), Some("v1beta".into()));
    assert_eq!(gemini.host(), "generativelanguage.googleapis.com");
    assert_eq!(path(&gemini, &generate(None), None), ok("/v1beta/models/gemini-1.5-flash-latest:generateContent"));
    assert_eq!(
        path(&gemini, &stream(None, StreamMode::Sse), None),
        ok("/v1beta/models/gemini-1.5-flash-latest:streamGenerateContent?alt=sse")
    );
}

#[test]
fn gemini_paths() {
    type Case<'a> = (&'a dyn Provider, ApiRequest, Option<&'a str>, Result<String, Refusal>);
    let fixed = Gemini::new(Some("own".into()), None);
    let open = Gemini::new(None, Some("v1".into()));
    let cases: [Case<'_>; 10] = [
        (&fixed, generate(Some("theirs")), None, ok("/v1beta/models/own:generateContent")),
        (&open, generate(Some("theirs")), None, ok("/v1/models/theirs:generateContent")),
        (&open, generate(None), None, Err(Refusal::ModelMissing)),
        (&open, generate(Some("../x")), None, Err(Refusal::ModelInvalid)),
        (&open, generate(Some("%2e%2e/x")), None, Err(Refusal::ModelInvalid)),
        (&fixed, generate(None), Some("key=k&x=1"), ok("/v1beta/models/own:generateContent?x=1")),
        (&fixed, stream(None, StreamMode::JsonArray), None, ok("/v1beta/models/own:streamGenerateContent")),
        (
            &fixed,
            ask(Endpoint::Gemini(GeminiVerb::Embed, Some("embed".into())), Some("embed"), StreamMode::No),
            None,
            ok("/v1beta/models/embed:embedContent"),
        ),
        (&fixed, ask(Endpoint::Models(None), None, StreamMode::No), None, ok("/v1beta/models")),
        (&fixed, ask(Endpoint::ChatCompletions, None, StreamMode::No), None, Err(Refusal::Translation)),
    ];
    for (provider, ask, query, expected) in cases {
        assert_eq!(path(provider, &ask, query), expected, "{ask:?}");
    }
}

#[test]
fn vertex_paths_and_hosts() {
    let vertex = |location: &str, verb: Option<&str>| {
        VertexAi::new("g".into(), "v1".into(), "p".into(), location.into(), verb.map(str::to_owned))
    };
    let base = "/v1/projects/p/locations/us-central1/publishers/google/models/g";
    assert_eq!(vertex("us-central1", None).host(), "us-central1-aiplatform.googleapis.com");
    assert_eq!(vertex("global", None).host(), "aiplatform.googleapis.com");
    assert_eq!(vertex("eu", None).host(), "aiplatform.eu.rep.googleapis.com");
    assert_eq!(path(&vertex("us-central1", None), &generate(None), None), ok(&format!("{base}:generateContent")));
    assert_eq!(
        path(&vertex("us-central1", None), &stream(None, StreamMode::Sse), None),
        ok(&format!("{base}:streamGenerateContent?alt=sse"))
    );
    assert_eq!(
        path(&vertex("us-central1", Some("rawPredict")), &stream(None, StreamMode::Sse), None),
        ok(&format!("{base}:rawPredict")),
        "modelPath disables the switch to streaming"
    );
}

#[test]
fn openai_paths() {
    let openai = openai_at(None, None);
    let plain = |endpoint| ask(endpoint, Some("m"), StreamMode::No);
    let cases = [
        (Endpoint::ChatCompletions, None, ok("/v1/chat/completions")),
        (Endpoint::ChatCompletions, Some("key=k"), ok("/v1/chat/completions")),
        (Endpoint::Embeddings, None, ok("/v1/embeddings")),
        (Endpoint::Responses, None, ok("/v1/responses")),
        (
            Endpoint::ResponseResource("resp_1/input_items".into()),
            Some("limit=2"),
            ok("/v1/responses/resp_1/input_items?limit=2"),
        ),
        (Endpoint::Models(Some("gpt".into())), None, ok("/v1/models/gpt")),
        (Endpoint::ResponseResource("x%2f..%2ffiles".into()), None, Err(Refusal::ModelInvalid)),
        (Endpoint::Messages, None, Err(Refusal::Translation)),
    ];
    for (endpoint, query, expected) in cases {
        assert_eq!(path(&openai, &plain(endpoint.clone()), query), expected, "{endpoint:?}");
    }
}

#[test]
fn azure_paths_carry_deployment_and_version() {
    let azure = AzureOpenAi::new("r.openai.azure.com".into(), "gpt".into(), "2024-10-21".into());
    let plain = |endpoint, model| ask(endpoint, model, StreamMode::No);
    assert_eq!(azure.host(), "r.openai.azure.com");
    assert_eq!(
        path(&azure, &plain(Endpoint::ChatCompletions, Some("x")), Some("api-version=1")),
        ok("/openai/deployments/gpt/chat/completions?api-version=2024-10-21")
    );
    assert_eq!(
        path(&azure, &plain(Endpoint::Embeddings, Some("ada")), None),
        ok("/openai/deployments/ada/embeddings?api-version=2024-10-21")
    );
    assert!(matches!(path(&azure, &plain(Endpoint::Moderations, None), None), Err(Refusal::Endpoint(_))));
}

#[test]
fn anthropic_keeps_the_clients_version() {
    let anthropic = Anthropic::new(None, None);
    let mut headers = HeaderMap::new();
    anthropic.complete_headers(&mut headers);
    assert_eq!(headers["anthropic-version"], "2023-06-01");
    headers.insert("anthropic-version", http::HeaderValue::from_static("2026-10-21"));
    anthropic.complete_headers(&mut headers);
    assert_eq!(headers["anthropic-version"], "2026-10-21");
    let messages = ask(Endpoint::Messages, Some("m"), StreamMode::No);
    assert_eq!(path(&anthropic, &messages, Some("beta=true")), ok("/v1/messages?beta=true"));
}

#[test]
fn a_backends_model_wins_for_text_and_leaves_embeddings_alone() {
    let openai = openai_at(Some("own"), None);
    assert_eq!(resolve_model(&openai, &ask(Endpoint::ChatCompletions, Some("theirs"), StreamMode::No)), Some("own"));
    assert_eq!(resolve_model(&openai, &ask(Endpoint::Embeddings, Some("theirs"), StreamMode::No)), Some("theirs"));
    assert_eq!(resolve_model(&openai, &ask(Endpoint::Embeddings, None, StreamMode::No)), Some("own"));
}

fn messages(mode: StreamMode) -> ApiRequest {
    ask(Endpoint::Messages, Some("asked"), mode)
}

/// The body that `provider` gets for `ask`, and its headers, for a client that sends these headers.
fn sent(provider: &dyn Provider, ask: &ApiRequest, body: &str, headers: &[(&str, &str)]) -> (String, Vec<String>) {
    let bytes = bytes::Bytes::copy_from_slice(body.as_bytes());
    let top = TopLevel::scan(&bytes).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let mut splice = Splice::new(&top);
    for (name, value) in provider.body_edits(ask, &top, &map) {
        match value {
            Some(value) => splice.set(name, value),
            None => splice.remove(name),
        }
    }
    provider.complete_headers(&mut map);
    let headers = map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    (String::from_utf8(splice.apply(&bytes).to_vec()).unwrap(), headers)
}

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const CLAUDE_PATH: &str = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";

type Case<'a> = (Option<&'a str>, ApiRequest, Option<&'a str>, Result<String, Refusal>);

#[test]
fn bedrock_paths_hold_the_model_as_one_segment() {
    let entry = |model: Option<&str>| Bedrock::new("eu-west-1".into(), model.map(str::to_owned));
    let asked = |verb, model: Option<&str>| {
        let stream = if verb == BedrockVerb::ConverseStream { StreamMode::EventStream } else { StreamMode::No };
        ask(Endpoint::Bedrock(verb, model.map(str::to_owned)), model, stream)
    };
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    assert_eq!(entry(None).host(), "bedrock-runtime.eu-west-1.amazonaws.com");
    let profile = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc123";
    let cases: [Case<'_>; 14] = [
        (None, asked(BedrockVerb::Converse, Some(CLAUDE)), None, ok(&format!("{CLAUDE_PATH}/converse"))),
        (None, asked(BedrockVerb::ConverseStream, Some(arn)), None, ok(&format!("{profile}/converse-stream"))),
        (
            Some(CLAUDE),
            asked(BedrockVerb::Converse, Some("theirs")),
            Some("a=b"),
            ok(&format!("{CLAUDE_PATH}/converse")),
        ),
        (
            Some(CLAUDE),
            asked(BedrockVerb::CountTokens, Some("theirs")),
            None,
            ok(&format!("{CLAUDE_PATH}/count-tokens")),
        ),
        (
            Some(CLAUDE),
            asked(BedrockVerb::Invoke, Some("amazon.titan-embed-text-v2:0")),
            None,
            ok("/model/amazon.titan-embed-text-v2%3A0/invoke"),
        ),
        (None, asked(BedrockVerb::Converse, Some("../x")), None, Err(Refusal::ModelInvalid)),
        (None, asked(BedrockVerb::Converse, Some("a?b")), None, Err(Refusal::ModelInvalid)),
        (None, asked(BedrockVerb::Converse, None), None, Err(Refusal::ModelMissing)),
        (Some(CLAUDE), messages(StreamMode::No), Some("beta=true"), ok(&format!("{CLAUDE_PATH}/invoke"))),
        (Some(CLAUDE), messages(StreamMode::Sse), None, ok(&format!("{CLAUDE_PATH}/invoke-with-response-stream"))),
        (Some("amazon.nova-micro-v1:0"), messages(StreamMode::No), None, Err(Refusal::Translation)),
        (Some(arn), messages(StreamMode::No), None, Err(Refusal::Translation)),
        (Some(CLAUDE), ask(Endpoint::CountMessageTokens, None, StreamMode::No), None, Err(Refusal::Translation)),
        (Some(CLAUDE), ask(Endpoint::ChatCompletions, None, StreamMode::No), None, Err(Refusal::Translation)),
    ];
    for (model, ask, query, expected) in cases {
        assert_eq!(path(&entry(model), &ask, query), expected, "{model:?} {ask:?}");
    }
}

#[test]
fn messages_reach_claude_on_bedrock_as_bedrock_wants_them() {
    let bedrock = Bedrock::new("us-east-1".into(), Some(CLAUDE.into()));
    let body = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[],"new":1}"#;
    let (body, headers) = sent(
        &bedrock,
        &messages(StreamMode::Sse),
        body,
        &[
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", BETAS),
            ("anthropic-beta", "advanced-tool-use-2025-11-20"),
            ("x", "y"),
        ],
    );
    assert_eq!(
        body,
        r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07","tool-search-tool-2025-10-19"],"max_tokens":9,"messages":[],"new":1}"#
    );
    assert_eq!(headers, ["x: y"]);
    let own = r#"{"anthropic_version":"2026-10-21","anthropic_beta":["z"],"messages":[]}"#;
    assert_eq!(sent(&bedrock, &messages(StreamMode::No), own, &[("anthropic-beta", "a")]).0, own);
}

/// A part of what Claude Code sends.
const BETAS: &str = "claude-code-20250219, context-1m-2025-08-07,,tool-search-tool-2025-10-19,effort-2025-11-24";

#[test]
fn betas_that_a_cloud_refuses_are_named() {
    let mut headers = HeaderMap::new();
    headers.append("anthropic-beta", http::HeaderValue::from_static(BETAS));
    headers.append("anthropic-beta", http::HeaderValue::from_static("web-search-2025-03-05"));
    let named = |names: &[&str]| names.iter().map(|name| format!("anthropic-beta: {name}")).collect::<Vec<_>>();
    let asked = messages(StreamMode::No);
    let (none, own) = (bytes::Bytes::from("{}"), bytes::Bytes::from(r#"{"anthropic_beta":[]}"#));
    let (top, own) = (TopLevel::scan(&none).unwrap(), TopLevel::scan(&own).unwrap());
    let bedrock = Bedrock::new("us-east-1".into(), None);
    assert_eq!(bedrock.unsupported_headers(&asked, &own, &headers), named(&[]), "the client's own field counts");
    let invoked = Endpoint::Bedrock(BedrockVerb::InvokeClaude, Some(CLAUDE.into()));
    let invoked = ask(invoked, None, StreamMode::No);
    assert_eq!(bedrock.unsupported_headers(&invoked, &top, &headers), named(&[]), "it goes as it is");
    assert_eq!(
        bedrock.unsupported_headers(&asked, &top, &headers),
        named(&["claude-code-20250219", "effort-2025-11-24", "web-search-2025-03-05"])
    );
    let [m, v, p, l] = ["m", "v1", "p", "l"].map(str::to_owned);
    let vertex = VertexClaude::new(m, v, p, l, None);
    assert_eq!(
        vertex.unsupported_headers(&asked, &top, &headers),
        named(&["claude-code-20250219", "effort-2025-11-24"])
    );
    let anthropic = Anthropic::new(None, None);
    assert_eq!(anthropic.unsupported_headers(&asked, &top, &headers), named(&[]), "Anthropic takes its own");
}

#[test]
fn a_backends_guardrail_holds_for_every_way_to_ask() {
    let plain = Bedrock::new("us-east-1".into(), Some(CLAUDE.into()));
    let guarded = Bedrock::new("us-east-1".into(), Some(CLAUDE.into())).with_guardrail("g\"1", "DRAFT").unwrap();
    let converse = native_request(DialectId::Converse, true, CLAUDE);
    let theirs = r#"{"messages":[],"guardrailConfig":{"guardrailIdentifier":"mine"}}"#;
    let config = r#""guardrailConfig":{"guardrailIdentifier":"g\"1","guardrailVersion":"DRAFT"}"#;
    assert_eq!(sent(&plain, &converse, theirs, &[]), (theirs.into(), vec![]));
    let identifier = "x-amzn-bedrock-guardrailidentifier";
    let (body, headers) = sent(&guarded, &converse, theirs, &[(identifier, "mine")]);
    assert_eq!(body, format!(r#"{{"messages":[],{config}}}"#));
    let expected = [format!("{identifier}: g\"1"), "x-amzn-bedrock-guardrailversion: DRAFT".into()];
    assert_eq!(headers, expected);
    assert_eq!(guarded.extra_body_fields(&converse), Some(config));
    assert_eq!(plain.extra_body_fields(&converse), None);
    // With InvokeModel the guardrail is in the headers, and the body is Anthropic's.
    assert_eq!(guarded.extra_body_fields(&messages(StreamMode::No)), None);
    assert_eq!(sent(&guarded, &messages(StreamMode::No), "{}", &[]).1, expected);
    assert!(Bedrock::new("r".into(), None).with_guardrail("a\nb", "1").is_err());
}

#[test]
fn claude_on_vertex_is_asked_in_messages() {
    let entry = |verb: Option<&str>| {
        VertexClaude::new(
            "claude-sonnet-4-5@20250929".into(),
            "v1".into(),
            "p".into(),
            "global".into(),
            verb.map(str::to_owned),
        )
    };
    let vertex = entry(None);
    let count = ask(Endpoint::CountMessageTokens, Some("asked"), StreamMode::No);
    let base = "/v1/projects/p/locations/global/publishers/anthropic/models";
    let model = format!("{base}/claude-sonnet-4-5@20250929");
    assert_eq!((vertex.host().as_str(), vertex.info().name), ("aiplatform.googleapis.com", "vertexai"));
    assert_eq!(vertex.info().dialect, DialectId::Messages);
    assert_eq!(path(&vertex, &messages(StreamMode::No), Some("beta=true")), ok(&format!("{model}:rawPredict")));
    assert_eq!(path(&vertex, &messages(StreamMode::Sse), None), ok(&format!("{model}:streamRawPredict")));
    assert_eq!(path(&entry(Some("own")), &messages(StreamMode::Sse), None), ok(&format!("{model}:own")));
    assert_eq!(path(&vertex, &count, None), ok(&format!("{base}/count-tokens:rawPredict")));
    assert_eq!(path(&vertex, &generate(None), None), Err(Refusal::Translation));

    let beta =
        [("anthropic-version", "2023-06-01"), ("anthropic-beta", BETAS), ("anthropic-beta", "web-search-2025-03-05")];
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    assert_eq!(
        sent(&vertex, &messages(StreamMode::Sse), body, &beta),
        (
            r#"{"anthropic_version":"vertex-2023-10-16","stream":true,"messages":[]}"#.into(),
            vec!["anthropic-beta: context-1m-2025-08-07,tool-search-tool-2025-10-19,web-search-2025-03-05".into()]
        )
    );
    assert_eq!(
        sent(&vertex, &count, r#"{"model":"m","anthropic_version":"2026-10-21"}"#, &[]).0,
        r#"{"model":"claude-sonnet-4-5@20250929","anthropic_version":"2026-10-21"}"#
    );
}

/// Every provider, with the dialects that it accepts without translation.
#[expect(clippy::type_complexity, clippy::many_single_char_names, reason = "a table")]
fn providers() -> Vec<(&'static str, Box<dyn Provider>, &'static [DialectId], DialectId, &'static Quirks)> {
    let openai = |host: Option<&str>| Box::new(openai_at(Some("m"), host));
    let vertex = ["g", "v1", "p", "l"].map(str::to_owned);
    let [g, v1, p, l] = vertex.clone();
    let [m, v, q, k] = vertex;
    let both = &[DialectId::Chat, DialectId::Responses];
    let bedrock = |model: &str| Box::new(Bedrock::new("us-east-1".into(), Some(model.into())));
    vec![
        ("openai", openai(None), both, DialectId::Chat, OPENAI),
        ("openai, named", openai(Some("EU.api.openai.com.")), both, DialectId::Chat, OPENAI),
        ("openai on azure", openai(Some("r.openai.azure.com")), both, DialectId::Chat, AZURE),
        ("vllm", openai(Some("vllm.models.svc")), both, DialectId::Chat, &Quirks::PLAIN),
        ("no mistral", openai(Some("notmistral.ai")), both, DialectId::Chat, &Quirks::PLAIN),
        ("mistral", openai(Some("Api.Mistral.ai")), &[DialectId::Chat], DialectId::Chat, MISTRAL),
        ("deepseek", openai(Some("api.deepseek.com")), &[DialectId::Chat], DialectId::Chat, DEEPSEEK),
        ("azure", Box::new(AzureOpenAi::new("h".into(), "d".into(), "v".into())), both, DialectId::Chat, AZURE),
        (
            "anthropic",
            Box::new(Anthropic::new(Some("m".into()), None)),
            &[DialectId::Messages],
            DialectId::Messages,
            ANTHROPIC,
        ),
        ("gemini", Box::new(Gemini::new(Some("m".into()), None)), &[DialectId::Gemini], DialectId::Gemini, AI_STUDIO),
        ("vertex", Box::new(VertexAi::new(g, v1, p, l, None)), &[DialectId::Gemini], DialectId::Gemini, VERTEX),
        (
            "claude on vertex",
            Box::new(VertexClaude::new(m, v, q, k, None)),
            &[DialectId::Messages],
            DialectId::Messages,
            VERTEX_CLAUDE,
        ),
        ("nova", bedrock("amazon.nova-pro-v1:0"), &[DialectId::Converse], DialectId::Converse, BEDROCK),
        ("claude", bedrock(CLAUDE), &[DialectId::Messages, DialectId::Converse], DialectId::Converse, BEDROCK),
    ]
}

/// OpenAI: "Function tools with `reasoning_effort` are not supported in /v1/chat/completions. To use function tools, use
/// /v1/responses". Other models are in Responses only.
#[test]
fn models_that_need_responses_are_asked_there() {
    let openai = |host: Option<&str>| -> Box<dyn Provider> { Box::new(openai_at(None, host)) };
    let azure = |version: &str| -> Box<dyn Provider> {
        Box::new(AzureOpenAi::new("r.openai.azure.com".into(), "gpt-5.4".into(), version.into()))
    };
    let (chat, responses) = (DialectId::Chat, DialectId::Responses);
    for (provider, model, tools, target) in [
        (openai(None), "gpt-5.4", true, responses),
        (openai(None), "gpt-5.6-terra", true, responses),
        (openai(None), "gpt-5.6-terra", false, chat),
        (openai(None), "gpt-5.2", true, chat),
        (openai(None), "gpt-4o", true, chat),
        (openai(None), "gpt-5.3-codex", false, responses),
        (openai(None), "o3-pro", false, responses),
        (openai(Some("eu.api.openai.com")), "gpt-5-pro", false, responses),
        (openai(Some("r.openai.azure.com")), "gpt-5.5", true, responses),
        // A server that only calls its model like this.
        (openai(Some("vllm.example")), "gpt-5.4", true, chat),
        (azure("2025-04-01-preview"), "gpt-5.4", true, responses),
        (azure("preview"), "gpt-5.4", true, responses),
        (azure("2024-10-21"), "gpt-5.4", true, chat),
    ] {
        let needs = TranslationNeeds { model: Some(model), facts: ModelFacts::of(model), tools, hosted: false };
        let (found, _) = provider.translation(&needs).unwrap();
        assert_eq!(found, target, "{provider:?} {model} {tools}");
        assert!(path(&*provider, &native_request(target, true, model), None).is_ok(), "{provider:?} {model}");
    }
}

#[test]
fn every_provider_is_asked_in_every_dialect() {
    let mut seen = std::collections::BTreeSet::new();
    for (name, provider, native, target, quirks) in providers() {
        seen.insert(provider.info().name);
        let model = provider.model().unwrap().to_owned();
        for dialect in DialectId::ALL {
            for stream in [false, true] {
                let ask = native_request(dialect, stream, "asked");
                assert_eq!(ask.endpoint.dialect(), Some(dialect));
                let speaks = provider.speaks(&ask, Some(&model));
                assert_eq!(speaks, native.contains(&dialect), "{name} {dialect:?}");
                assert_eq!(
                    provider.translation(&TranslationNeeds::plain(Some(&model))),
                    Some((target, quirks)),
                    "{name} {dialect:?}"
                );
                // The translated request is accepted.
                let translated = native_request(target, stream, &model);
                assert!(path(&*provider, &translated, None).is_ok(), "{name} {dialect:?}");
            }
        }
    }
    assert_eq!(seen, names().collect());
}

#[test]
fn replies_are_framed_as_they_are_asked_for() {
    let bedrock = Bedrock::new("us-east-1".into(), Some(CLAUDE.into()));
    let invoke = Endpoint::Bedrock(BedrockVerb::InvokeStream, Some(CLAUDE.into()));
    let gemini = Gemini::new(Some("m".into()), None);
    let cases: [(&dyn Provider, ApiRequest, Framing); 7] = [
        (&bedrock, messages(StreamMode::Sse), Framing::WrappedEvents),
        (&bedrock, messages(StreamMode::No), Framing::Sse),
        (&bedrock, native_request(DialectId::Converse, true, CLAUDE), Framing::Frames),
        // A Bedrock client reads the frames itself.
        (&bedrock, ask(invoke, None, StreamMode::EventStream), Framing::Frames),
        (&gemini, stream(None, StreamMode::JsonArray), Framing::JsonArray),
        (&gemini, native_request(DialectId::Gemini, true, "m"), Framing::Sse),
        (&Anthropic::new(None, None), messages(StreamMode::Sse), Framing::Sse),
    ];
    for (provider, ask, expected) in cases {
        assert_eq!(provider.framing(&ask), expected, "{ask:?}");
    }
}

#[test]
fn servers_without_responses_say_so() {
    for host in ["api.mistral.ai", "api.deepseek.com"] {
        let openai = openai_at(None, Some(host));
        let stored = ask(Endpoint::ResponseResource("resp_1".into()), None, StreamMode::No);
        assert!(matches!(path(&openai, &stored, None), Err(Refusal::Endpoint(_))), "{host}");
    }
}

#[test]
fn mistral_is_not_asked_for_usage() {
    assert!(openai_at(None, None).asks_for_usage());
    assert!(!openai_at(None, Some("api.mistral.ai")).asks_for_usage());
}

#[test]
fn a_base_path_comes_before_every_endpoint() {
    let server = |base: &str| Server { base_path: Some(base.to_owned()), ..Server::default() };
    let endpoints = [
        (Endpoint::ChatCompletions, "/chat/completions"),
        (Endpoint::Completions, "/completions"),
        (Endpoint::Responses, "/responses"),
        (Endpoint::CountResponseTokens, "/responses/input_tokens"),
        (Endpoint::ResponseResource("resp_1".into()), "/responses/resp_1"),
        (Endpoint::Embeddings, "/embeddings"),
        (Endpoint::Moderations, "/moderations"),
        (Endpoint::Models(None), "/models"),
        (Endpoint::Models(Some("m".into())), "/models/m"),
        (Endpoint::Other("/v1/audio/speech".into()), "/audio/speech"),
        (Endpoint::Other("/rerank".into()), "/rerank"),
    ];
    for base in ["/openai/v1", "/api/v1", ""] {
        let openai = OpenAi::new(None, None, &server(base));
        for (endpoint, expected) in endpoints.clone() {
            for query in [None, Some("order=asc")] {
                let request = ask(endpoint.clone(), Some("m"), StreamMode::No);
                let path = path_of(&openai, &request, Some("m"), query).unwrap();
                let tail = query.map(|query| format!("?{query}")).unwrap_or_default();
                assert_eq!(path.to_string(), format!("{base}{expected}{tail}"));
            }
        }
        let anthropic = Anthropic::new(None, None).with_base_path(server(base).base_path);
        for (endpoint, expected) in [
            (Endpoint::Messages, "/messages"),
            (Endpoint::CountMessageTokens, "/messages/count_tokens"),
            (Endpoint::Models(None), "/models"),
            (Endpoint::Models(Some("m".into())), "/models/m"),
            (Endpoint::Other("/v1/files".into()), "/files"),
        ] {
            let request = ask(endpoint, Some("m"), StreamMode::No);
            let path = path_of(&anthropic, &request, Some("m"), None).unwrap();
            assert_eq!(path.to_string(), format!("{base}{expected}"));
        }
    }
}

/// The dialect in which the server gets a request of a client's dialect.
fn sent_in(provider: &OpenAi, client: DialectId, model: &str, tools: bool) -> DialectId {
    if provider.speaks(&native_request(client, false, model), Some(model)) {
        return client;
    }
    let needs = TranslationNeeds { model: Some(model), facts: ModelFacts::of(model), tools, hosted: false };
    provider.translation(&needs).unwrap().0
}

#[test]
fn the_first_api_that_fits_is_used_and_the_clients_own_if_it_is_listed() {
    use Api::{Chat as C, Messages as M, Responses as R};
    use DialectId::{Chat, Converse, Gemini, Messages, Responses};
    let cases: [(&str, &[Api], [DialectId; 4], DialectId); 9] = [
        // In the order of the clients: Chat, Responses, Messages, Gemini; then Gemini with tools for a model of OpenAI's.
        ("vllm.example", &[C], [Chat, Chat, Chat, Chat], Chat),
        ("vllm.example", &[R], [Responses, Responses, Responses, Responses], Responses),
        ("vllm.example", &[M], [Messages, Messages, Messages, Messages], Messages),
        ("vllm.example", &[C, R, M], [Chat, Responses, Messages, Chat], Chat),
        ("vllm.example", &[R, C], [Chat, Responses, Responses, Responses], Responses),
        ("vllm.example", &[M, C], [Chat, Messages, Messages, Messages], Messages),
        ("api.openai.com", &[C, R], [Chat, Responses, Chat, Chat], Responses),
        ("api.openai.com", &[C], [Chat, Chat, Chat, Chat], Chat),
        ("api.mistral.ai", &[C, R], [Chat, Responses, Chat, Chat], Chat),
    ];
    for (host, apis, expected, with_tools) in cases {
        let server = Server { host: Some(host.into()), apis: Some(apis.to_vec()), ..Server::default() };
        let openai = OpenAi::new(None, None, &server);
        for (client, expected) in [Chat, Responses, Messages, Gemini].into_iter().zip(expected) {
            assert_eq!(sent_in(&openai, client, "m", false), expected, "{host} {apis:?} {client:?}");
        }
        assert_eq!(sent_in(&openai, Converse, "gpt-5.4", true), with_tools, "{host} {apis:?} with tools");
        assert!(!openai.may_lack(&Endpoint::Responses), "{host} {apis:?}: what is listed is there");
    }
}

#[test]
fn presets_are_found_by_name_and_by_host() {
    let mut seen = std::collections::BTreeSet::new();
    for preset in presets::PRESETS {
        assert!(seen.insert(preset.name), "{} is there twice", preset.name);
        assert!(!preset.title.is_empty() && preset.source.starts_with("https://"), "{}", preset.name);
        assert!(!preset.apis.is_empty() && preset.base_path.starts_with('/'), "{}", preset.name);
        assert_eq!(presets::named(preset.name).map(|found| found.title), Some(preset.title));
        for domain in preset.domains.iter().copied().chain(preset.host) {
            assert_eq!(presets::at_host(&domain.to_uppercase()).name, preset.name, "{domain}");
            assert_eq!(presets::at_host(&format!("eu.{domain}.")).name, preset.name, "{domain}");
        }
        for domain in preset.domains {
            assert_eq!(presets::at_host(&format!("x{domain}")).name, presets::COMPATIBLE.name, "{domain}");
        }
        // Whatever its host is: a proxy of the operator's may be in front of it.
        let server = Server { host: Some("proxy.example".into()), ..Server::default() };
        let entry = OpenAi::new(None, Some(*preset), &server);
        let chat = ask(Endpoint::ChatCompletions, Some("m"), StreamMode::No);
        assert_eq!(path(&entry, &chat, None), Ok(format!("{}/chat/completions", preset.base_path)));
    }
    assert!(presets::named("Groq").is_none());
}

#[test]
fn only_servers_in_unknown_versions_may_lack_responses() {
    let may_lack = |host: &str, endpoint: &Endpoint| openai_at(None, Some(host)).may_lack(endpoint);
    let own = [Endpoint::Responses, Endpoint::CountResponseTokens, Endpoint::CompactResponse];
    assert!(own.iter().all(|endpoint| may_lack("vllm.example", endpoint)));
    for host in ["api.openai.com", "r.openai.azure.com", "api.groq.com", "api.mistral.ai"] {
        assert!(!own.iter().any(|endpoint| may_lack(host, endpoint)), "{host}");
    }
    // A stored response may be gone, whatever the server has.
    for endpoint in [Endpoint::ResponseResource("r".into()), Endpoint::ChatCompletions, Endpoint::Models(None)] {
        assert!(!may_lack("vllm.example", &endpoint), "{endpoint:?}");
    }
}
