use super::*;
use crate::dialect::{Endpoint, GeminiVerb, StreamMode};

fn ask(endpoint: Endpoint, model: Option<&str>, stream: StreamMode) -> Ask {
    Ask { family: endpoint.family().unwrap_or(Family::OpenAi), endpoint, model: model.map(str::to_owned), stream }
}

/// Path and query that `provider` makes of it, or the refusal.
fn path(provider: &dyn Provider, ask: &Ask, query: Option<&str>) -> Result<String, Refusal> {
    provider.path(ask, settle_model(provider, ask), query).map(|p| p.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside refusals in tables")]
fn ok(path: &str) -> Result<String, Refusal> {
    Ok(path.to_owned())
}

fn generate(model: Option<&str>) -> Ask {
    ask(Endpoint::Gemini(GeminiVerb::Generate, model.map(str::to_owned)), model, StreamMode::No)
}

fn stream(model: Option<&str>, mode: StreamMode) -> Ask {
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
    type Case<'a> = (&'a dyn Provider, Ask, Option<&'a str>, Result<String, Refusal>);
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
    let openai = OpenAi::new(None, None);
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
    let openai = OpenAi::new(Some("own".into()), None);
    assert_eq!(settle_model(&openai, &ask(Endpoint::ChatCompletions, Some("theirs"), StreamMode::No)), Some("own"));
    assert_eq!(settle_model(&openai, &ask(Endpoint::Embeddings, Some("theirs"), StreamMode::No)), Some("theirs"));
    assert_eq!(settle_model(&openai, &ask(Endpoint::Embeddings, None, StreamMode::No)), Some("own"));
}

#[test]
fn mistral_is_not_asked_for_usage() {
    assert!(OpenAi::new(None, None).asks_for_usage());
    assert!(!OpenAi::new(None, Some("api.mistral.ai")).asks_for_usage());
}
