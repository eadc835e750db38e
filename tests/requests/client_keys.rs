//! Keys of clients: who is let in, what becomes of the key, and what a client may request.

use serde_json::{Value, json};

use crate::common::{
    CLIENT_KEY, DialectId, Exchange, Gate, Gateway, KEY, Reply, Start, Upstream, WebSocket, assert_error,
    manifests::{backend, llm, route, rule, s1, secret, yaml},
    request,
    websocket::handshake,
};

/// A second client's key, as long as the first's.
const OTHER_KEY: &str = "sk-of-another-client-1f";
/// Its hash: `echo -n sk-of-another-client-1f | sha256sum`.
const OTHER_HASH: &str = "sha256:910d61fa4223f4ebc763bf5065e13c0331a090829528599f6f6a2a4bb6c0f97a";

/// The Secret `default/keys` with these clients.
fn keys(clients: &Value) -> String {
    yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"},
        "stringData": clients,
    }))
}

/// A TrafficPolicy with this `apiKeyAuth` for an object of the Gateway API.
fn policy(name: &str, kind: &str, target: &str, auth: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": kind, "name": target}],
            "apiKeyAuth": auth,
        },
    }))
}

/// The policy that requires one of the Secret's keys of every client of the Gateway.
fn required() -> String {
    policy("keys", "Gateway", "gw", &json!({"secretRef": {"name": "keys"}}))
}

fn start(upstream: &Upstream, clients: &Value) -> Gateway {
    start_with(&s1("openai", "/x", upstream.port), clients)
}

fn start_with(manifest: &str, clients: &Value) -> Gateway {
    let start = Start::new().manifest("a.yaml", manifest);
    start.manifest("policy.yaml", &required()).manifest("keys.yaml", &keys(clients)).run()
}

const CHAT: &str = "/x/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-5.4","messages":[{"role":"user","content":"hi"}]}"#;

fn chat(gateway: &Gateway, headers: &[(&str, &str)]) -> Reply {
    gateway.post_with(CHAT, headers, BODY)
}

#[test]
fn a_key_is_needed_in_every_dialect_and_found_where_its_sdk_puts_it() {
    let upstream = Upstream::json(r#"{"id":"c","choices":[],"data":[]}"#);
    let gateway = start(&upstream, &json!({"alice": CLIENT_KEY}));
    let bearer = format!("Bearer {CLIENT_KEY}");
    let gemini = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let version = ("anthropic-version", "2023-06-01");
    let with_query = format!("/x/v1beta/models/g:generateContent?key={CLIENT_KEY}");
    for (dialect, path, kept, key, body) in [
        (DialectId::OpenAi, CHAT, &[][..], Some(("authorization", &*bearer)), BODY),
        (DialectId::OpenAi, CHAT, &[], Some(("api-key", CLIENT_KEY)), BODY),
        (DialectId::OpenAi, "/x/v1/responses", &[], Some(("authorization", &*bearer)), r#"{"model":"m","input":"hi"}"#),
        (DialectId::Anthropic, "/x/v1/messages", &[version], Some(("x-api-key", CLIENT_KEY)), BODY),
        (DialectId::Gemini, "/x/v1beta/models/g:generateContent", &[], Some(("x-goog-api-key", CLIENT_KEY)), gemini),
        (DialectId::Gemini, &*with_query, &[], None, gemini),
    ] {
        let bare = path.split('?').next().unwrap();
        let before = upstream.received().len();
        let missing = gateway.post_with(bare, kept, body);
        assert_error(&missing, dialect, 401, bare);
        assert_eq!(missing.header("www-authenticate"), Some("Bearer"), "{bare}");
        if dialect == DialectId::OpenAi {
            assert_eq!(missing.json()["error"]["code"], "invalid_api_key");
        }
        if let Some((name, value)) = key {
            let wrong = value.replace(CLIENT_KEY, "sk-of-no-client-at-all");
            let headers = [kept, &[(name, &*wrong)]].concat();
            assert_error(&gateway.post_with(bare, &headers, body), dialect, 401, bare);
        }
        assert_eq!(upstream.received().len(), before, "{path}: nothing was sent");
        let headers: Vec<_> = kept.iter().copied().chain(key).collect();
        let reply = gateway.post_with(path, &headers, body);
        // What the upstream answers is no reply of a model to other dialects: that it was sent is what counts.
        assert_ne!(reply.status, 401, "{path}: {}", reply.text());
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.header("authorization"), Some(format!("Bearer {KEY}")), "{path}");
        assert!(!received.head.contains(CLIENT_KEY) && !received.text().contains(CLIENT_KEY), "{path}");
    }
    let line = gateway.wait_for_log("the client's name", |line| line["client_id"] == "default/keys/alice");
    assert_eq!(line["target"], "tollgate::access");
}

#[test]
fn bedrocks_clients_get_its_error() {
    let gateway = start(&Upstream::json("{}"), &json!({"alice": CLIENT_KEY}));
    let reply = gateway.post("/x/model/m/converse", r#"{"messages":[]}"#);
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert!(reply.header("x-amzn-errortype").is_some_and(|kind| kind.starts_with("AccessDeniedException")));
}

#[test]
fn a_key_is_for_the_models_of_its_list() {
    let upstream = Upstream::new(|exchange: &mut Exchange| {
        let body = match exchange.request().path() {
            "/v1/models" => {
                json!({"object": "list", "data": [{"id": "gpt-5.4"}, {"id": "o3"}, {"id": "gpt-5.4-mini"}]})
            }
            _ => json!({"id": "gpt-5.4", "object": "model", "choices": []}),
        };
        exchange.reply(200, &[("content-type", "application/json")], body.to_string().as_bytes());
    });
    let limited = json!({"key": CLIENT_KEY, "models": ["gpt-*"]}).to_string();
    let gateway = start(&upstream, &json!({"alice": limited, "bob": json!({"keyHash": OTHER_HASH}).to_string()}));
    let send = |key: &str, path: &str, model: &str| {
        let body = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        gateway.post_with(path, &[("x-api-key", key)], body.to_string())
    };
    assert_eq!(send(CLIENT_KEY, CHAT, "gpt-5.4").status, 200);
    assert_eq!(send(OTHER_KEY, CHAT, "o3").status, 200);
    let before = upstream.received().len();
    let refused = send(CLIENT_KEY, CHAT, "o3");
    assert_error(&refused, DialectId::OpenAi, 403, "a model of others");
    assert_eq!(refused.json()["error"]["code"], "model_not_allowed");
    assert_error(&send(CLIENT_KEY, "/x/v1/messages", "o3"), DialectId::Anthropic, 403, "a model of others");
    let embeddings = r#"{"model":"text-embedding-3-small","input":"a"}"#;
    assert_eq!(gateway.post_with("/x/v1/embeddings", &[("x-api-key", CLIENT_KEY)], embeddings).status, 403);
    let unnamed = r#"{"messages":[]}"#;
    assert_eq!(gateway.post_with(CHAT, &[("x-api-key", CLIENT_KEY)], unnamed).status, 403);
    assert_eq!(upstream.received().len(), before);
    let get = |key: &str, path: &str| {
        gateway.connect().send(&request("GET", path, &[("authorization", &format!("Bearer {key}"))], b"")).reply()
    };
    let ids = |key: &str| -> Vec<String> {
        let list = get(key, "/x/v1/models").json();
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(CLIENT_KEY), ["gpt-5.4", "gpt-5.4-mini"]);
    assert_eq!(ids(OTHER_KEY), ["gpt-5.4", "o3", "gpt-5.4-mini"]);
    assert_eq!(get(CLIENT_KEY, "/x/v1/models/gpt-5.4").status, 200);
    assert_error(&get(CLIENT_KEY, "/x/v1/models/o3"), DialectId::OpenAi, 404, "as if it did not exist");
    assert_error(&get("", "/x/v1/models"), DialectId::OpenAi, 401, "the list is for clients, too");
}

#[test]
fn a_key_that_is_removed_is_refused_at_once_and_its_streams_go_on() {
    let gate = Gate::default();
    let opened = gate.clone();
    let upstream = Upstream::new(move |exchange: &mut Exchange| {
        exchange.stream("text/event-stream").chunk("data: {\"choices\":[]}\n\n");
        opened.wait();
        exchange.chunk("data: [DONE]\n\n").end();
    });
    let gateway = start(&upstream, &json!({"alice": CLIENT_KEY, "bob": OTHER_KEY}));
    let headers = [("content-type", "application/json"), ("x-api-key", CLIENT_KEY)];
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut client = gateway.connect();
    assert_eq!(client.send(&request("POST", CHAT, &headers, body.as_bytes())).head().status, 200);
    gateway.change(|| {
        gateway.write("keys.yaml", &keys(&json!({"bob": OTHER_KEY})));
    });
    assert_error(&chat(&gateway, &[("x-api-key", CLIENT_KEY)]), DialectId::OpenAi, 401, "it was removed");
    gate.open();
    let events: Vec<String> = std::iter::from_fn(|| client.event()).collect();
    assert!(events.last().unwrap().contains("[DONE]"), "{events:?}");
}

#[test]
fn plain_servers_get_the_clients_name_and_not_its_key() {
    let upstream = Upstream::json("{}");
    let plain = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    }));
    let keys_of = json!({"name": "keys"});
    let auth =
        |forwards: bool| json!({"secretRef": keys_of, "forwardCredential": forwards, "clientIdHeader": "X-Client"});
    let manifest = plain + &route("plain", &json!([rule("/p", "plain")])) + &keys(&json!({"alice": CLIENT_KEY}));
    let start = Start::new().manifest("a.yaml", &manifest);
    let gateway = start.manifest("policy.yaml", &policy("keys", "HTTPRoute", "plain", &auth(false))).run();
    let send = || {
        let headers = [("x-api-key", CLIENT_KEY), ("x-client", "another")];
        assert_eq!(gateway.post_with("/p/a?b=1", &headers, "{}").status, 200);
        upstream.received().pop().unwrap()
    };
    let received = send();
    assert_eq!((received.header("x-client").as_deref(), received.header("x-api-key")), (Some("alice"), None));
    gateway.change(|| {
        gateway.write("policy.yaml", &policy("keys", "HTTPRoute", "plain", &auth(true)));
    });
    assert_eq!(send().header("x-api-key").as_deref(), Some(CLIENT_KEY));
    assert_eq!(gateway.post("/p/a", "{}").status, 401);
}

#[test]
fn what_can_not_be_checked_is_closed() {
    let upstream = Upstream::json("{}");
    let start = |auth: &Value, more: &str| {
        let manifest = s1("openai", "/x", upstream.port) + &policy("keys", "Gateway", "gw", auth) + more;
        Start::new().manifest("a.yaml", &manifest).run()
    };
    for (auth, why) in [
        (json!({"secretRef": {"name": "keys"}}), "Secret default/keys does not exist"),
        (json!({"secretRef": {"name": "keys", "namespace": "other"}}), "no ReferenceGrant"),
        (json!({"secretSelector": {"matchLabels": {"a": "b"}}}), "apiKeyAuth.secretSelector"),
        (json!({}), "write one of secretRef and disable"),
        (json!({"secretRef": {"name": "keys"}, "disable": {}}), "write one of secretRef and disable"),
    ] {
        let gateway = start(&auth, "");
        assert_eq!(chat(&gateway, &[("x-api-key", CLIENT_KEY)]).status, 500, "{why}");
        let objects = gateway.debug("/debug/objects").to_string();
        assert!(objects.contains(why), "{why}: {objects}");
    }
    let twice = json!({"alice": CLIENT_KEY, "bob": CLIENT_KEY, "carol": "abc", "dave": "", "erin": "{\"key\":1}"});
    let gateway = start(&json!({"secretRef": {"name": "keys"}}), &keys(&twice));
    assert_eq!(chat(&gateway, &[("x-api-key", CLIENT_KEY)]).status, 401, "two clients have it");
    assert_eq!(chat(&gateway, &[("x-api-key", "abc")]).status, 200, "it is reported");
    let objects = gateway.debug("/debug/objects").to_string();
    for why in [
        "bob: another client has the same key; all of them are refused",
        "carol: the key has less than 16 bytes",
        "dave: the key is empty",
        "erin: the value is no JSON object",
    ] {
        assert!(objects.contains(why), "{why}: {objects}");
    }
    assert!(upstream.received().len() == 1);
}

#[test]
fn a_more_specific_policy_lifts_the_authentication() {
    let upstream = Upstream::json("{}");
    let open = json!([rule("/open", "openai")]);
    let manifest = s1("openai", "/x", upstream.port)
        + &route("open", &open)
        + &required()
        + &keys(&json!({"alice": CLIENT_KEY}))
        + &policy("open", "HTTPRoute", "open", &json!({"disable": {}}));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    assert_eq!(gateway.post("/open/v1/chat/completions", BODY).status, 200);
    assert_eq!(chat(&gateway, &[]).status, 401);
}

#[test]
fn a_websocket_and_each_of_its_events_need_the_key() {
    let upstream = Upstream::new(|exchange: &mut Exchange| {
        let done = json!({"type": "response.completed", "sequence_number": 0, "response": {"id": "resp_1",
            "object": "response", "status": "completed", "model": "m", "output": []}});
        exchange.stream("text/event-stream").chunk(format!("event: response.completed\ndata: {done}\n\n")).end();
    });
    let gateway = start(&upstream, &json!({"alice": CLIENT_KEY}));
    let refused = handshake(&mut gateway.connect(), "/x/v1/responses", &[]);
    assert_error(&refused, DialectId::OpenAi, 401, "the handshake");
    let bearer = format!("Bearer {CLIENT_KEY}");
    let mut socket = WebSocket::open_with(&gateway, "/x/v1/responses", &[("authorization", &bearer)]);
    let event = json!({"type": "response.create", "model": "m", "store": false, "input": "hi"});
    let last = |socket: &mut WebSocket| socket.send(&event).until(&["response.completed", "error"]).pop().unwrap();
    assert_eq!(last(&mut socket)["type"], "response.completed");
    gateway.change(|| {
        gateway.write("keys.yaml", &keys(&json!({"bob": OTHER_KEY})));
    });
    let error = last(&mut socket);
    assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(401)), "{error}");
}

#[test]
fn passthrough_takes_what_is_not_the_gateways() {
    let upstream = Upstream::json(r#"{"choices":[]}"#);
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["provider"]["openai"]["authToken"] = json!({"kind": "Passthrough"});
    let manifest = secret("key", KEY)
        + &backend("own", &json!({"llm": entry}))
        + &route("own", &json!([rule("/x", "own")]))
        + &required()
        + &keys(&json!({"alice": CLIENT_KEY}));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let own = ("authorization", "Bearer sk-of-the-clients-own-account");
    assert_eq!(chat(&gateway, &[own, ("x-api-key", CLIENT_KEY)]).status, 200);
    assert_eq!(upstream.only().header("authorization").as_deref(), Some(own.1));
    // The gateway's key is never one for the provider.
    let bearer = format!("Bearer {CLIENT_KEY}");
    assert_eq!(chat(&gateway, &[("authorization", &bearer)]).status, 401);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_key_for_some_models_reaches_plain_servers_for_those_only() {
    let upstream = Upstream::json("{}");
    let by_model = |model: &str| {
        json!({
            "matches": [{"headers": [{"name": "X-Gateway-Model-Name", "value": model}]}],
            "backendRefs": [{"name": "plain", "group": "gateway.kgateway.dev", "kind": "Backend"}],
        })
    };
    let plain = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    })) + &route("plain", &json!([by_model("gpt-5.4"), by_model("o3"), rule("/any", "plain")]));
    let limited = json!({"key": CLIENT_KEY, "models": ["gpt-*"]}).to_string();
    let gateway = start_with(&plain, &json!({"alice": limited, "bob": OTHER_KEY}));
    let send = |key: &str, path: &str, model: &str| {
        let body = json!({"model": model, "messages": []}).to_string();
        gateway.post_with(path, &[("x-api-key", key)], body).status
    };
    assert_eq!(send(CLIENT_KEY, "/v1/chat/completions", "gpt-5.4"), 200);
    assert_eq!(send(CLIENT_KEY, "/v1/chat/completions", "o3"), 403);
    assert_eq!(send(OTHER_KEY, "/v1/chat/completions", "o3"), 200);
    assert_eq!((send(CLIENT_KEY, "/any", "gpt-6"), send(OTHER_KEY, "/any", "gpt-6")), (403, 200));
}
