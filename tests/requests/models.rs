//! One endpoint for many models: the model that a client names decides who answers, in one Backend and across Backends.

use serde_json::{Value, json};

use crate::common::{
    DialectId, Exchange, Gateway, KEY, Reply, Start, Upstream, WebSocket, assert_error,
    manifests::{backend, llm, route, rule, secret, yaml},
    request,
};

/// Answers each endpoint of OpenAI, Anthropic and Gemini, and lists `models`.
fn provider(models: &'static [&'static str]) -> Upstream {
    Upstream::new(move |exchange: &mut Exchange| {
        let path = exchange.request().path().to_owned();
        let path = path.split('?').next().unwrap();
        let listed = |field: &str| -> Vec<Value> { models.iter().map(|name| json!({field: name})).collect() };
        let text = json!([{"type": "text", "text": "hi"}]);
        let reply = match path {
            "/v1/models" => json!({"object": "list", "data": listed("id"), "has_more": false}),
            "/v1beta/models" => {
                let models: Vec<Value> = models.iter().map(|name| json!({"name": format!("models/{name}")})).collect();
                json!({"models": models})
            }
            "/v1/chat/completions" => {
                json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices":
                [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})
            }
            "/v1/responses" => json!({"id": "resp_1", "object": "response", "status": "completed", "model": "m",
                "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]}),
            "/v1/messages" => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": text, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}),
            _ => json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]},
                "finishReason": "STOP"}]}),
        };
        exchange.reply(200, &[("content-type", "application/json")], reply.to_string().as_bytes());
    })
}

/// The dialects that a client may have.
const DIALECTS: [&str; 5] = ["chat", "responses", "messages", "gemini", "converse"];

/// Path and body of a request for `model`.
fn ask(dialect: &str, model: &str) -> (String, Value) {
    let messages = json!([{"role": "user", "content": "hi"}]);
    match dialect {
        "chat" => ("/v1/chat/completions".into(), json!({"model": model, "messages": messages})),
        "responses" => ("/v1/responses".into(), json!({"model": model, "input": "hi"})),
        "messages" => ("/v1/messages".into(), json!({"model": model, "max_tokens": 9, "messages": messages})),
        "gemini" => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        ),
        _ => (format!("/model/{model}/converse"), json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})),
    }
}

fn send(gateway: &Gateway, dialect: &str, model: &str) -> Reply {
    let (path, body) = ask(dialect, model);
    gateway.post(&path, body.to_string())
}

fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Reply {
    gateway.connect().send(&request("GET", path, headers, b"")).reply()
}

/// The error of a model that is not served, in the form of the dialect's vendor.
fn assert_unknown(reply: &Reply, dialect: &str, model: &str) {
    let what = format!("{dialect} {model}");
    match dialect {
        "chat" | "responses" => {
            assert_error(reply, DialectId::OpenAi, 404, &what);
            assert_eq!(reply.json()["error"]["code"], "model_not_found", "{what}");
        }
        "messages" => {
            assert_error(reply, DialectId::Anthropic, 404, &what);
            assert_eq!(reply.json()["error"]["type"], "not_found_error", "{what}");
        }
        "gemini" => {
            assert_error(reply, DialectId::Gemini, 404, &what);
            assert_eq!(reply.json()["error"]["status"], "NOT_FOUND", "{what}");
        }
        _ => {
            assert_eq!(reply.status, 404, "{what}: {}", reply.text());
            let kind = reply.header("x-amzn-errortype").unwrap_or_default();
            assert!(kind.starts_with("ResourceNotFoundException"), "{what}: {kind}");
        }
    }
    assert!(reply.text().contains(model), "{what}: {}", reply.text());
}

/// Entries of OpenAI, Anthropic and Gemini, each with fields of its own.
fn three(openai: &Upstream, anthropic: &Upstream, gemini: &Upstream) -> Value {
    let entry = |provider: &str, upstream: &Upstream, own: Value, more: Value| {
        let mut entry = llm(provider, "key", upstream.port, &own);
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let gpt = json!({"models": ["gpt-*"], "modelAliases": {"fast": "gpt-5.4-mini"}});
    json!({"priorityGroups": [{"providers": [
        entry("openai", openai, json!({}), gpt),
        entry("anthropic", anthropic, json!({}), json!({"models": ["claude-*"]})),
        entry("gemini", gemini, json!({"model": "gemini-2.5-flash"}), json!({})),
    ]}]})
}

fn start(ai: &Value) -> Gateway {
    let manifest = secret("key", KEY) + &backend("all", ai) + &route("all", &json!([rule("/", "all")]));
    Start::new().manifest("x.yaml", &manifest).run()
}

#[test]
fn the_clients_model_chooses_among_the_entries_in_every_dialect() {
    let (openai, anthropic, gemini) = (provider(&[]), provider(&[]), provider(&[]));
    let gateway = start(&three(&openai, &anthropic, &gemini));
    let counts = || [openai.received().len(), anthropic.received().len(), gemini.received().len()];
    for dialect in DIALECTS {
        // The alias is the provider's model there. Twice, so that turns of the group would show.
        for (model, at, sent) in [
            ("gpt-5.4", 0, "gpt-5.4"),
            ("gpt-5.4", 0, "gpt-5.4"),
            ("fast", 0, "gpt-5.4-mini"),
            ("claude-opus-4-6", 1, "claude-opus-4-6"),
            ("claude-opus-4-6", 1, "claude-opus-4-6"),
            ("gemini-2.5-flash", 2, "gemini-2.5-flash"),
        ] {
            let mut expected = counts();
            expected[at] += 1;
            let reply = send(&gateway, dialect, model);
            assert_eq!(reply.status, 200, "{dialect} {model}: {}", reply.text());
            assert_eq!(counts(), expected, "{dialect} {model}");
            let received = [&openai, &anthropic, &gemini][at].received().pop().unwrap();
            let named = received.json()["model"].as_str().map(str::to_owned);
            let named = named.unwrap_or_else(|| received.path().to_owned());
            assert!(named.contains(sent), "{dialect} {model}: {named}");
        }
        let expected = counts();
        for unknown in ["llama-4", "GPT-5.4", "gemini-2.5-pro"] {
            assert_unknown(&send(&gateway, dialect, unknown), dialect, unknown);
        }
        assert_eq!(counts(), expected, "{dialect}: nothing is sent for an unknown model");
    }
    // A body that names two models gets one of them at both places.
    let twice =
        r#"{"model":"gpt-5.4","model":"claude-opus-4-6","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(gateway.post("/v1/messages", twice).status, 200);
    assert!(!anthropic.received().pop().unwrap().text().contains("gpt"));
    let without = gateway.post("/v1/chat/completions", r#"{"messages":[{"role":"user","content":"hi"}]}"#);
    assert_error(&without, DialectId::OpenAi, 400, "no model");
}

#[test]
fn the_list_of_models_is_what_may_be_requested() {
    let openai = provider(&["gpt-5.4", "gpt-5.4-mini", "whisper-1"]);
    let anthropic = provider(&["claude-opus-4-6"]);
    let gemini = provider(&["gemini-3.7-pro"]);
    let gateway = start(&three(&openai, &anthropic, &gemini));
    let ids = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|model| model[key].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["fast", "gemini-2.5-flash", "gpt-5.4", "gpt-5.4-mini", "claude-opus-4-6"];
    let list = get(&gateway, "/v1/models", &[("authorization", "Bearer k")]).json();
    assert_eq!(ids(&list["data"], "id"), expected);
    assert_eq!(list["data"][4]["owned_by"], "anthropic");
    let list = get(&gateway, "/v1/models", &[("anthropic-version", "2023-06-01")]).json();
    assert_eq!(ids(&list["data"], "id"), expected);
    let list = get(&gateway, "/v1beta/models", &[("x-goog-api-key", "k")]).json();
    let named: Vec<String> = expected.iter().map(|id| format!("models/{id}")).collect();
    assert_eq!(ids(&list["models"], "name"), named);
    assert!(gemini.received().is_empty(), "its one model is in the manifest");
    for known in ["fast", "gemini-2.5-flash"] {
        assert_eq!(get(&gateway, &format!("/v1/models/{known}"), &[]).json()["id"], known);
    }
    assert_unknown(&get(&gateway, "/v1/models/whisper-1", &[]), "chat", "whisper-1");
    assert!(openai.received().iter().all(|received| received.path().starts_with("/v1/models")));
}

#[test]
fn a_provider_that_fails_hides_no_models_of_others() {
    let (openai, gemini) = (provider(&["gpt-5.4"]), provider(&[]));
    let anthropic = Upstream::fixed(500, &[("content-type", "application/json")], b"{}");
    let gateway = start(&three(&openai, &anthropic, &gemini));
    let list = get(&gateway, "/v1/models", &[("authorization", "Bearer k")]).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 3, "{list}");
    gateway.wait_for_log("what is missing", |line| {
        line["msg"].as_str().is_some_and(|message| message.starts_with("the list of models lacks"))
    });
}

#[test]
fn targets_of_one_model_replace_each_other_and_no_others() {
    let failing = Upstream::fixed(503, &[("content-type", "application/json")], b"{}");
    let (second, other) = (provider(&[]), provider(&[]));
    let entry = |upstream: u16, models: Value| {
        let mut entry = llm("openai", "key", upstream, &json!({}));
        entry["models"] = models;
        entry
    };
    let ai = json!({"priorityGroups": [
        {"providers": [entry(failing.port, json!(["gpt-*"])), entry(other.port, json!(["llama-*", "*"]))]},
        {"providers": [entry(second.port, json!(["gpt-5*"])), entry(other.port, json!(["mistral-*"]))]},
    ]});
    let gateway = start(&ai);
    assert_eq!(send(&gateway, "chat", "gpt-5.4").status, 200);
    assert_eq!((failing.received().len(), second.received().len()), (1, 1));
    // In its group `*` fits less than `gpt-*`, so it is no replacement.
    assert!(other.received().is_empty());
    assert_eq!(send(&gateway, "chat", "anything").status, 200);
    assert_eq!((other.received().len(), second.received().len()), (1, 1));
}

/// Two Backends and a plain server, chosen by the model. `spelling` is the header's name.
fn across(spelling: &str, gpt: u16, claude: u16, plain: u16) -> Gateway {
    let by = |kind: &str, value: &str, to: &Value| {
        json!({
            "matches": [{
                "path": {"type": "PathPrefix", "value": "/"},
                "headers": [{"name": spelling, "type": kind, "value": value}],
            }],
            "backendRefs": [to],
        })
    };
    let to = |name: &str| json!({"name": name, "group": "gateway.kgateway.dev", "kind": "Backend"});
    let server = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": plain}]}},
    }));
    let manifest = secret("key", KEY)
        + &backend("gpt", &json!({"llm": llm("openai", "key", gpt, &json!({}))}))
        + &backend("claude", &json!({"llm": llm("anthropic", "key", claude, &json!({"model": "claude-opus-4-6"}))}))
        + &server
        + &route(
            "all",
            &json!([
                by("RegularExpression", "gpt-.*", &to("gpt")),
                by("Exact", "smart", &to("claude")),
                by("Exact", "own", &to("plain")),
                {"matches": [{"path": {"type": "PathPrefix", "value": "/files"}}], "backendRefs": [to("plain")]},
            ]),
        );
    Start::new().manifest("x.yaml", &manifest).run()
}

#[test]
fn routes_match_the_model_of_the_body_or_path_and_never_a_header_of_the_client() {
    for spelling in ["X-Gateway-Model-Name", "x-ai-eg-model"] {
        let (openai, anthropic, plain) = (provider(&[]), provider(&[]), provider(&[]));
        let gateway = across(spelling, openai.port, anthropic.port, plain.port);
        let counts = || [openai.received().len(), anthropic.received().len(), plain.received().len()];
        for dialect in DIALECTS {
            for (model, at) in [("gpt-5.4", 0), ("smart", 1), ("own", 2)] {
                let mut expected = counts();
                expected[at] += 1;
                let (path, body) = ask(dialect, model);
                // It claims another model.
                let claimed = if model == "smart" { "gpt-5.4" } else { "smart" };
                let reply = gateway.post_with(&path, &[(spelling, claimed)], body.to_string());
                assert_eq!(reply.status, 200, "{dialect} {model}: {}", reply.text());
                assert_eq!(counts(), expected, "{dialect} {model}");
            }
            assert_unknown(&send(&gateway, dialect, "llama-4"), dialect, "llama-4");
        }
        // A plain server gets the body as it came, and the model in the header.
        let received = plain.received().pop().unwrap();
        assert_eq!(received.header("x-gateway-model-name").as_deref(), Some("own"));
        assert_eq!(received.header("x-ai-eg-model"), None);
        assert_eq!(received.json(), ask("converse", "own").1);
        // A rule that does not depend on the model takes any body.
        let mut expected = counts();
        expected[2] += 1;
        assert_eq!(gateway.post("/files/a", "no JSON").status, 200);
        assert_eq!((counts(), plain.received().pop().unwrap().text()), (expected, "no JSON".to_owned()));
        assert_eq!(gateway.post("/v1/chat/completions", "no JSON").status, 404);
    }
}

#[test]
fn the_models_of_all_rules_are_listed() {
    let (openai, anthropic, plain) = (provider(&[]), provider(&[]), provider(&[]));
    let gateway = across("X-Gateway-Model-Name", openai.port, anthropic.port, plain.port);
    let list = get(&gateway, "/v1/models", &[("authorization", "Bearer k")]).json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["smart", "own"], "what a pattern lets pass has no names");
    assert!([openai.received(), anthropic.received(), plain.received()].concat().is_empty());
}

#[test]
fn each_event_of_a_websocket_is_routed_by_its_own_model() {
    let stream = |exchange: &mut Exchange| {
        let done = json!({"type": "response.completed", "sequence_number": 0, "response": {"id": "resp_1",
            "object": "response", "status": "completed", "model": "m", "output": []}});
        exchange.stream("text/event-stream").chunk(format!("event: response.completed\ndata: {done}\n\n")).end();
    };
    let (first, second) = (Upstream::new(stream), Upstream::new(stream));
    let entry = |upstream: u16, model: &str| {
        let mut entry = llm("openai", "key", upstream, &json!({}));
        entry["models"] = json!([model]);
        entry
    };
    let one = json!({"priorityGroups": [{"providers": [entry(first.port, "gpt-a"), entry(second.port, "gpt-b")]}]});
    let by = |model: &str| {
        let mut rule = rule("/", model);
        rule["matches"][0]["headers"] = json!([{"name": "X-Gateway-Model-Name", "value": model}]);
        rule
    };
    let backends = backend("gpt-a", &json!({"llm": llm("openai", "key", first.port, &json!({}))}))
        + &backend("gpt-b", &json!({"llm": llm("openai", "key", second.port, &json!({}))}));
    let two = secret("key", KEY) + &backends + &route("all", &json!([by("gpt-a"), by("gpt-b")]));
    for (sent, gateway) in [start(&one), Start::new().manifest("x.yaml", &two).run()].iter().enumerate() {
        let mut socket = WebSocket::open(gateway, "/v1/responses");
        for (model, end) in [("gpt-a", "response.completed"), ("gpt-b", "response.completed"), ("other", "error")] {
            let event = json!({"type": "response.create", "model": model, "store": false, "input": "hi"});
            let events = socket.send(&event).until(&["response.completed", "error"]);
            assert_eq!(events.last().unwrap()["type"], end, "{model}: {events:?}");
        }
        assert_eq!((first.received().len(), second.received().len()), (sent + 1, sent + 1));
    }
}

#[test]
fn lists_of_models_that_can_not_be_meant_are_refused() {
    let mut entry = llm("openai", "key", 1, &json!({"model": "gpt"}));
    entry["modelAliases"] = json!({"fast": "gpt-5.4-mini"});
    let own = backend("own", &json!({"llm": entry}));
    let mut entry = llm("openai", "key", 1, &json!({}));
    entry["models"] = json!(["gpt-*-*", "a b", "x", "x", ""]);
    entry["modelAliases"] = json!({"x": "y", "z*": "y"});
    let odd = backend("odd", &json!({"llm": entry}));
    let gateway = Start::new().manifest("x.yaml", &(secret("key", KEY) + &own + &odd)).run();
    let objects = gateway.debug("/debug/objects").to_string();
    for message in [
        "modelAliases: the provider's own model, 'gpt', replaces every other",
        "spec.ai.llm.models[0]: a pattern has one `*`",
        "spec.ai.llm.models[1]: not the name of a model",
        "spec.ai.llm.models[3]: this name is there twice",
        "spec.ai.llm.models[4]: not the name of a model",
        "spec.ai.llm.modelAliases: 'x' is in `models`, too",
        "spec.ai.llm.modelAliases: an alias with `*` has the model `*`",
    ] {
        assert!(objects.contains(message), "{message}: {objects}");
    }
}
