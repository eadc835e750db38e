//! Backends: each way to write one, and each mistake.

use super::*;

/// A Backend with its Secrets, at `/x` beside a good one at `/good`.
fn world(documents: &[String]) -> World {
    let mut all = vec![
        open_gateway("gw"),
        good_backend("good"),
        simple_route("good", "/good", &to("good")),
        simple_route("x", "/x", &to("x")),
    ];
    all.extend_from_slice(documents);
    World::new(&all)
}

/// `/x` answers `status`, the Backend and the route report why, and `/good` is served.
#[track_caller]
fn check_refused(documents: &[String], status: u16, reason: &str, message: &str) {
    let world = world(documents);
    let accepted = format!("Accepted=False/{reason}");
    world.reports(Kind::Backend, "default/x", &[&accepted, message]);
    world.reports(Kind::HttpRoute, "default/x", &["ResolvedRefs=False", "Backend default/x is not accepted", message]);
    let landed = world.at("http://h/x");
    assert!(landed.starts_with(&format!("{status} ")) && landed.contains(message), "{landed}");
    assert_eq!(world.at("http://h/good"), "default/good");
    world.is_fine(Kind::Backend, "default/good");
    world.is_fine(Kind::HttpRoute, "default/good");
}

/// A Backend of OpenAI whose key is in Secret `s`.
fn by_secret() -> String {
    backend("x", "type: AI, ai: {llm: {openai: {authToken: {kind: SecretRef, secretRef: {name: s}}}}}")
}

#[test]
fn a_backend_names_exactly_one_provider() {
    let token = "authToken: {kind: Passthrough}";
    for (spec, message) in [
        ("type: AI, ai: {llm: {}}".to_owned(), "provider"),
        ("type: AI, ai: {llm: {provider: {}}}".to_owned(), "provider"),
        (format!("type: AI, ai: {{llm: {{openai: {{{token}}}, anthropic: {{{token}}}}}}}"), "provider"),
        (format!("type: AI, ai: {{llm: {{provider: {{openai: {{{token}}}, gemini: {{{token}}}}}}}}}"), "provider"),
        ("type: AI, ai: {}".to_owned(), "exactly one of llm, multipool and priorityGroups"),
        ("type: AI".to_owned(), "`ai` backend must be specified when type is 'AI'"),
        (format!("ai: {{llm: {{openai: {{{token}}}}}}}"), "type is missing"),
        ("type: Static, static: {hosts: []}".to_owned(), "no host is there"),
    ] {
        check_refused(&[backend("x", &spec)], 500, "Invalid", message);
    }
}

#[test]
fn a_key_that_cannot_be_sent_is_refused() {
    let bytes = |data: &str| document("v1", "Secret", "s", &format!("data: {{{data}}}"));
    for (secrets, reason, message) in [
        (vec![], "SecretNotFound", "Secret default/s does not exist"),
        // A Secret of another namespace is another Secret.
        (vec![secret("other/s", "Authorization: sk-1")], "SecretNotFound", "Secret default/s does not exist"),
        (vec![secret("s", "Authorization: ''")], "SecretInvalid", "key \"Authorization\" is empty"),
        (vec![secret("s", "Authorization: \" \\n\"")], "SecretInvalid", "key \"Authorization\" is empty"),
        (vec![secret("s", "Authorization: \"sk\\n1\"")], "SecretInvalid", "holds a line break"),
        (vec![bytes("Authorization: //4=")], "SecretInvalid", "is not UTF-8 text"),
        (vec![bytes("Authorization: '%%'")], "SecretInvalid", "not valid base64"),
        (
            vec![secret("s", "token: sk-1, user: me")],
            "SecretInvalid",
            "has no key \"Authorization\"; it has token, user",
        ),
        (vec![secret("s", "")], "SecretInvalid", "has no key \"Authorization\"; it is empty"),
        (vec![secret("s", "Authorization: $NOT_SET")], "SecretInvalid", "environment variable NOT_SET is not set"),
    ] {
        let mut documents = vec![by_secret()];
        documents.extend(secrets);
        check_refused(&documents, 500, reason, message);
    }
}

#[test]
fn unserved_backends_report_why() {
    for (spec, message) in [
        ("type: AWS, aws: {accountId: '1', lambda: {functionName: f}}", "AWS Lambda backends are not served"),
        ("type: MCP, mcp: {targets: []}", "MCP backends are not served"),
        ("type: DynamicForwardProxy, dynamicForwardProxy: {}", "dynamic forward proxies are not served"),
    ] {
        check_refused(&[backend("x", spec)], 501, "Unsupported", message);
    }
}

#[test]
fn models_at_clouds_are_served() {
    let vertex = "model: m, apiVersion: v1, projectId: p, location: us-central1, authToken: {kind: Passthrough}";
    for (provider, origin) in [
        (format!("vertexai: {{{vertex}, publisher: GOOGLE}}"), "https://us-central1-aiplatform.googleapis.com:443"),
        (format!("vertexai: {{{vertex}, publisher: ANTHROPIC}}"), "https://us-central1-aiplatform.googleapis.com:443"),
        (
            "bedrock: {region: eu-west-1, model: m, guardrail: {identifier: g, version: '1'}, \
             auth: {type: Secret, secretRef: {name: s}}}"
                .to_owned(),
            "https://bedrock-runtime.eu-west-1.amazonaws.com:443",
        ),
    ] {
        let keys = secret("s", "accessKey: AKIDEXAMPLE, secretKey: hush");
        let world = world(&[backend("x", &format!("type: AI, ai: {{llm: {{{provider}}}}}")), keys]);
        world.is_fine(Kind::Backend, "default/x");
        let json = world.snapshot_json();
        assert!(json.contains(&format!("\"origin\": \"{origin}\"")), "{provider}: {json}");
    }
}

#[test]
fn settings_that_bedrock_cannot_send_are_refused() {
    for (rest, message) in [
        ("bedrock: {}, authHeader: {headerName: x-key}", "authHeader: requests to bedrock are signed"),
        ("bedrock: {guardrail: {identifier: \"a\\nb\", version: '1'}}", "bedrock.guardrail: identifier and version"),
    ] {
        check_refused(&[backend("x", &format!("type: AI, ai: {{llm: {{{rest}}}}}"))], 500, "Invalid", message);
    }
}

#[test]
fn an_entry_that_cant_be_used_is_left_out() {
    let good = "{name: a, openai: {authToken: {kind: Passthrough}}}";
    let bad = "{name: b, openai: {authToken: {kind: SecretRef, secretRef: {name: s}}}}";
    let missing = "provider b: Secret default/s does not exist";
    for groups in [
        format!("{{providers: [{good}]}}, {{providers: [{bad}]}}"),
        format!("{{providers: [{bad}]}}, {{providers: [{good}]}}"),
        format!("{{providers: [{bad}, {good}]}}"),
    ] {
        let world = world(&[backend("x", &format!("type: AI, ai: {{priorityGroups: [{groups}]}}"))]);
        world.reports(Kind::Backend, "default/x", &["Accepted=True"]);
        let said = ["ResolvedRefs=False", "SecretNotFound", "1 of 2 providers can be used", missing];
        world.reports(Kind::Backend, "default/x", &said);
        world.is_fine(Kind::HttpRoute, "default/x");
        let json = world.snapshot_json();
        assert!(json.contains("\"name\": \"a\"") && !json.contains("\"name\": \"b\""), "{json}");
    }
    let none = format!("type: AI, ai: {{priorityGroups: [{{providers: [{bad}]}}]}}");
    check_refused(&[backend("x", &none)], 500, "SecretNotFound", missing);
}

/// A ConfigMap in `default` with this field.
fn config_map(name: &str, data: &serde_json::Value) -> String {
    document("v1", "ConfigMap", name, &format!("data: {data}"))
}

#[test]
fn authorities_that_can_not_be_read_close_what_needs_them() {
    let pem = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
    let refer = |kind: &str| format!("caCertificateRefs: [{{kind: {kind}, name: good}}, {{kind: {kind}, name: ca}}]");
    let good = config_map("good", &serde_json::json!({"ca.crt": pem}));
    let of_map = |data: serde_json::Value| vec![good.clone(), config_map("ca", &data)];
    let of_secret =
        |field: &str| vec![secret("good", &format!("ca.crt: {}", serde_json::json!(pem))), secret("ca", field)];
    for (kind, documents, message) in [
        ("ConfigMap", vec![good.clone()], "ConfigMap default/ca does not exist"),
        ("ConfigMap", of_map(serde_json::json!({"tls.crt": pem})), "ConfigMap default/ca has no key \"ca.crt\""),
        (
            "ConfigMap",
            of_map(serde_json::json!({"ca.crt": "hush"})),
            "ConfigMap default/ca: key \"ca.crt\" holds no certificate in PEM",
        ),
        ("Secret", of_secret("tls.crt: a"), "Secret default/ca has no key \"ca.crt\""),
        ("Secret", of_secret("ca.crt: hush"), "Secret default/ca: key \"ca.crt\" holds no certificate in PEM"),
        ("Secret", of_map(serde_json::json!({"ca.crt": pem})), "Secret default/good does not exist"),
    ] {
        let tls = format!("host: a.example, port: 8443, tls: {{{}}}", refer(kind));
        let entry = format!("{{name: b, openai: {{authToken: {{kind: Passthrough}}}}, {tls}}}");
        let other = "{name: a, openai: {authToken: {kind: Passthrough}}}";
        let ai = |entries: &str| format!("type: AI, ai: {{priorityGroups: [{{providers: [{entries}]}}]}}");
        let hosts = |more: &str| format!("type: Static, static: {{hosts: [{{{tls}}}{more}]}}");
        for (spec, part) in [(ai(&entry), "provider b: "), (hosts(""), "host a.example:8443: ")] {
            let all = [documents.clone(), vec![backend("x", &spec)]].concat();
            check_refused(&all, 500, "InvalidCACertificateRef", &format!("{part}{message}"));
            let resolved = ["ResolvedRefs=False/InvalidCACertificateRef", message];
            world(&all).reports(Kind::Backend, "default/x", &resolved);
        }
        for (spec, part) in [
            (ai(&format!("{entry}, {other}")), "1 of 2 providers can be used; provider b: "),
            (hosts(", {host: b.example, port: 80}"), "1 of 2 hosts can be used; host a.example:8443: "),
        ] {
            let world = world(&[documents.clone(), vec![backend("x", &spec)]].concat());
            let resolved = ["ResolvedRefs=False/InvalidCACertificateRef", part, message];
            world.reports(Kind::Backend, "default/x", &["Accepted=True"]);
            world.reports(Kind::Backend, "default/x", &resolved);
            assert!(!world.visible().contains("hush"), "{message}");
        }
    }
}

#[test]
fn authorities_and_the_name_are_a_part_of_the_origin() {
    let pem = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
    let (one, two) = (pem(), pem());
    let origin = |pem: &str, tls: &str| {
        let spec = format!("type: Static, static: {{hosts: [{{host: a.example, port: 8443, tls: {tls}}}]}}");
        let world = world(&[config_map("ca", &serde_json::json!({"ca.crt": pem})), backend("x", &spec)]);
        world.is_fine(Kind::Backend, "default/x");
        let rule = world.rule_at("http://h/x");
        let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
        let Backend::Http(http) = &split.backends()[0].backend else { panic!("no plain backend") };
        http.endpoints[0].pool.origin().clone()
    };
    let tls = "{caCertificateRefs: [{name: ca}]}";
    assert_eq!(origin(&one, tls), origin(&one, tls));
    let others =
        [origin(&two, tls), origin(&one, "{caCertificateRefs: [{name: ca}], sni: b.example}"), origin(&one, "{}")];
    for other in others {
        assert_ne!(other, origin(&one, tls));
        assert_eq!(other.to_string(), "https://a.example:8443");
    }
}

#[test]
fn every_spelling_of_a_backend_comes_to_the_same() {
    let key = "authToken: {kind: SecretRef, secretRef: {name: s}}";
    let provider = format!("openai: {{model: m, {key}}}");
    let old = "hostOverride: {host: llm.internal, port: 8443}, pathOverride: {fullPath: /v2/chat}, \
               authHeaderOverride: {headerName: x-key, prefix: 'Token '}";
    let new =
        "host: llm.internal, port: 8443, path: {full: /v2/chat}, authHeader: {headerName: x-key, prefix: 'Token '}";
    let spellings = [
        format!("llm: {{provider: {{{provider}}}, {old}}}"),
        format!("llm: {{{provider}, {new}}}"),
        format!("multipool: {{priorities: [{{pool: [{{provider: {{{provider}}}, {old}}}]}}]}}"),
        format!("priorityGroups: [{{providers: [{{{provider}, {new}}}]}}]"),
    ];
    let compiled = spellings.map(|ai| {
        let world =
            world(&[backend("x", &format!("type: AI, ai: {{{ai}}}")), secret("s", "Authorization: \"Bearer k\\n\"")]);
        world.is_fine(Kind::Backend, "default/x");
        world.is_fine(Kind::HttpRoute, "default/x");
        world
    });
    for world in &compiled {
        assert_eq!(world.snapshot_json(), compiled[0].snapshot_json());
        let rule = world.rule_at("http://h/x");
        let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
        let Backend::Ai(ai) = &split.backends()[0].backend else { panic!("no AI backend") };
        let target = &ai.backend.groups[0][0];
        let snapshot::Credential::Fixed(name, value) = &target.credential else { panic!("no key") };
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-key", "Token k"));
        assert!(value.is_sensitive());
    }
    let json = compiled[0].snapshot_json();
    for part in ["\"origin\": \"http://llm.internal:8443\"", "\"path\": \"/v2/chat\"", "\"model\": \"m\""] {
        assert!(json.contains(part), "{part}: {json}");
    }
}

#[test]
fn groups_keep_their_order() {
    let entry = |name: &str| format!("{{name: {name}, openai: {{authToken: {{kind: Passthrough}}}}}}");
    let (a, b, c) = (entry("a"), entry("b"), entry("c"));
    for ai in [
        format!("multipool: {{priorities: [{{pool: [{b}, {a}]}}, {{pool: [{c}]}}]}}"),
        format!("priorityGroups: [{{providers: [{b}, {a}]}}, {{providers: [{c}]}}]"),
    ] {
        let world = world(&[backend("x", &format!("type: AI, ai: {{{ai}}}"))]);
        let rule = world.rule_at("http://h/x");
        let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
        let Backend::Ai(ai) = &split.backends()[0].backend else { panic!("no AI backend") };
        let turn = || choosing::order(&ai.backend, None);
        // The first group takes turns; the second only replaces it.
        assert_eq!([turn(), turn(), turn()], ["b a c", "a b c", "b a c"]);
    }
}

#[test]
fn static_backends_are_plain_servers() {
    let hosts = "hosts: [{host: a.example, port: 80}, {host: '::1', port: 81}]";
    let one = world(&[backend("x", &format!("type: Static, static: {{{hosts}}}"))]);
    assert_eq!(one.at("http://h/x"), "http://a.example:80,http://::1:81");
    one.is_fine(Kind::Backend, "default/x");
    let two = world(&[backend("x", &format!("type: Static, static: {{{hosts}, appProtocol: kubernetes.io/h2c}}"))]);
    let rule = two.rule_at("http://h/x");
    let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
    let Backend::Http(http) = &split.backends()[0].backend else { panic!("no plain backend") };
    assert!(http.endpoints.iter().all(|e| e.pool.origin().transport == crate::upstream::Transport::Http2));
}

#[test]
fn nothing_visible_holds_a_secret() {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let pem = made.signing_key.serialize_pem();
    // Traces of a secret: any part of it would do as much harm as the whole.
    let marks = ["hush", "aHVzaA", pem.lines().nth(1).unwrap()];
    let tls = |key: &str, crt: &str| {
        secret(key, &format!("tls.crt: {}, tls.key: {}", serde_json::json!(crt), serde_json::json!(pem)))
    };
    let token =
        |inline: &str| format!("type: AI, ai: {{llm: {{openai: {{authToken: {{kind: Inline, inline: {inline}}}}}}}}}");
    let by = |name: &str| {
        format!("type: AI, ai: {{llm: {{openai: {{authToken: {{kind: SecretRef, secretRef: {{name: {name}}}}}}}}}}}")
    };
    let documents = [
        gateway(
            "gw",
            "{name: http, protocol: HTTP, port: 8080}, \
             {name: good, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: good-tls}]}}, \
             {name: bad, protocol: HTTPS, port: 8444, tls: {certificateRefs: [{name: bad-tls}]}}",
        ),
        tls("good-tls", &made.cert.pem()),
        tls("bad-tls", "hush, no certificate"),
        secret("good", "Authorization: hush"),
        secret("lines", "Authorization: \"hush\\nhush\""),
        secret("other", "hidden: hush"),
        secret("env", "Authorization: 'hush${NOT_SET}hush'"),
        secret("half", "Authorization: 'hush${'"),
        secret("wrong", "Authorization: {hush: hush}"),
        document("v1", "Secret", "base64", "data: {Authorization: '%aHVzaA=='}"),
        backend("inline", &token("hush")),
        backend("inline-lines", &token("\"hush\\nhush\"")),
        backend("inline-wrong", &token("[hush]")),
        simple_route("r1", "/good", &to("by-good")),
        simple_route("r2", "/inline", &to("inline")),
    ];
    let by_name = ["good", "lines", "other", "env", "half", "wrong", "base64"];
    let backends = by_name.map(|name| backend(&format!("by-{name}"), &by(name)));
    let routes =
        by_name.map(|name| simple_route(&format!("to-{name}"), &format!("/to-{name}"), &to(&format!("by-{name}"))));
    let world = World::with_rejected(&[&documents[..], &backends, &routes].concat());
    assert_eq!(world.objects.rejected.len(), 2, "{:?}", world.objects.rejected);
    assert_eq!(world.at("http://h/to-good"), "default/by-good");
    world.reports(Kind::Backend, "default/inline", &["Accepted=True"]);
    world.reports(Kind::Gateway, "default/gw", &["listener good Programmed=True"]);
    world.reports(Kind::Gateway, "default/gw", &["listener bad Programmed=False"]);
    let visible = world.visible();
    for mark in marks {
        let line = visible.lines().find(|line| line.contains(mark));
        assert!(line.is_none(), "{mark}: {line:?}");
    }
}

#[test]
fn keys_in_clear_text_are_reported_where_others_may_read_them() {
    for (address, secured) in [
        ("host: api.example.com, port: 443", true),
        ("host: api.example.com, port: 8443, tls: {}", true),
        ("host: api.example.com, port: 8443", false),
        ("host: api.example.com., port: 80", false),
        ("host: 203.0.113.9, port: 80", false),
        ("host: '2001:db8::1', port: 80", false),
        ("host: ollama, port: 11434", true),
        ("host: ollama.models.svc.cluster.local, port: 80", true),
        ("host: vllm.models.svc, port: 80", true),
        ("host: 10.1.2.3, port: 80", true),
        ("host: 127.0.0.1, port: 80", true),
        ("host: 'fd12::1', port: 80", true),
    ] {
        let spec = format!("type: AI, ai: {{llm: {{openai: {{authToken: {{kind: Inline, inline: k}}}}, {address}}}}}");
        let world = World::new(&[backend("b", &spec)]);
        let conditions = world.conditions(Kind::Backend, "default/b");
        assert!(conditions.contains("Accepted=True"), "{address}: {conditions}");
        assert_eq!(conditions.contains("TransportSecured=False/ClearText"), !secured, "{address}: {conditions}");
    }
}

#[test]
fn targets_that_are_left_alone_degrade_their_backend() {
    use std::time::{Duration, SystemTime};

    use k8s_openapi::{apimachinery::pkg::apis::meta::v1 as meta, jiff::Timestamp};

    use crate::{
        api::{
            backend::BackendStatus,
            condition::{ConditionType, Reason},
        },
        upstream::{balance::Degraded, failure::Meaning},
    };

    let entry = |name: &str| format!("{{name: {name}, openai: {{authToken: {{kind: Inline, inline: k}}}}}}");
    let ai = format!("type: AI, ai: {{priorityGroups: [{{providers: [{}, {}]}}]}}", entry("a"), entry("b"));
    let mut objects = world(&[backend("x", &ai)]).objects;
    let of = |objects: &Objects, degraded: Option<(&str, Meaning)>| {
        let until = SystemTime::UNIX_EPOCH + Duration::from_mins(29_876_128);
        let degraded = degraded.map(|(target, cause)| Degraded { target: target.to_owned(), cause, until });
        let report = HealthReport::of("default/x", degraded.into_iter().collect());
        let health = watch::channel(Arc::new(report)).1;
        let reports = World::of(objects.clone(), &Env { health, balance: Arc::default(), ..ENV.clone() });
        let report = reports.compiled.reports.find(Kind::Backend, &ObjectKey::new("default", "x")).unwrap().clone();
        let condition = report.conditions.into_iter().find(|c| c.kind == ConditionType::Degraded);
        (report.healthy.unwrap(), condition)
    };
    assert_eq!(of(&objects, None), ("2/2".to_owned(), None), "it never was");
    let gone = of(&objects, Some(("removed", Meaning::Rate)));
    assert_eq!(gone, ("2/2".to_owned(), None), "an entry that is no longer there");
    let (healthy, condition) = of(&objects, Some(("b", Meaning::Credential)));
    let condition = condition.unwrap();
    assert_eq!((healthy.as_str(), condition.status, condition.reason), ("1/2", true, Reason::AuthFailed));
    assert_eq!(condition.message, "1/2 targets are used; b: credential until 2026-10-21T07:28:00Z");
    assert!(condition.is_problem());
    // Its end is reported where its beginning was.
    let written = meta::Condition {
        type_: "Degraded".to_owned(),
        status: "True".to_owned(),
        reason: "AuthFailed".to_owned(),
        message: condition.message,
        observed_generation: None,
        last_transition_time: meta::Time(Timestamp::UNIX_EPOCH),
    };
    let object = objects.backends.get_mut(&ObjectKey::new("default", "x")).unwrap();
    Arc::make_mut(object).status = Some(BackendStatus { conditions: vec![written], ..BackendStatus::default() });
    let (healthy, condition) = of(&objects, None);
    let condition = condition.unwrap();
    assert_eq!((healthy.as_str(), condition.status, condition.reason), ("2/2", false, Reason::Recovered));
    assert!(!condition.is_problem());
}
