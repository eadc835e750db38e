//! One bad object never affects others: the guide's route is served beside each of them.

use super::*;

/// The manifests of the guide, with a key in each Secret.
pub(super) fn guide() -> Vec<String> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cloud-llm-providers");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let texts: Vec<String> = texts
        .map(|text| {
            ["$GOOGLE_KEY", "$OPENAI_API_KEY", "$ANTHROPIC_API_KEY"].iter().fold(text, |t, name| t.replace(name, "k"))
        })
        .collect();
    assert!(texts.len() >= 4 && !texts.iter().any(|t| t.contains(": $")), "{paths:?}");
    texts
}

/// Every object of the guide is accepted, and its routes lead to their backends.
#[track_caller]
fn guide_works(world: &World, beside: &str) {
    for (path, name) in [("gemini", "google"), ("openai", "openai"), ("anthropic", "anthropic")] {
        let key = format!("kgateway-system/{name}");
        assert_eq!(world.at(&format!("http://localhost:8080/{path}")), key, "beside {beside}");
        world.is_fine(Kind::Backend, &key);
        world.is_fine(Kind::HttpRoute, &key);
    }
    world.is_fine(Kind::Gateway, "kgateway-system/ai-gateway");
}

/// Objects that are wrong, each in one way; all are in the guide's namespace, where they could do most harm.
fn bad_objects() -> Vec<String> {
    let parent = "parentRefs: [{name: ai-gateway, namespace: kgateway-system}]";
    let of_guide = |key: &str, rule: &str| {
        route(key, &format!("{parent}, rules: [{{matches: [{{path: {{value: /bad}}}}], {rule}}}]"))
    };
    let refs = |r: &str| format!("backendRefs: [{r}]");
    let targets = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: bad}]";
    let mut bad = vec![
        "not: [yaml".to_owned(),
        "just text".to_owned(),
        "[1, 2]".to_owned(),
        "kind: Gateway".to_owned(),
        "\0".to_owned(),
        "a: &a [*a]".to_owned(),
        document("example.com/v1", "Unknown", "bad", "spec: {}"),
        document(GATEWAY_API, "Gateway", "kgateway-system/bad", "spec: {gatewayClassName: 5}"),
        document(KGATEWAY_API, "Backend", "kgateway-system/bad", "spec: {type: Nonsense}"),
        // Other objects of the guide's names: a second of one name is not served, nor is one that can't be read.
        document(GATEWAY_API, "HTTPRoute", "kgateway-system/google", "spec: {}"),
        document(KGATEWAY_API, "Backend", "kgateway-system/google", "spec: {type: AI}"),
        // The guide's port, taken again.
        gateway("zzz/bad", "{name: http, protocol: HTTP, port: 8080}"),
        gateway("kgateway-system/bad", "{name: http, protocol: UDP, port: 8080}"),
        gateway(
            "kgateway-system/bad",
            "{name: tls, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: none}]}}",
        ),
        gateway("kgateway-system/bad", ""),
        route("bad", "rules: []"),
        route("bad", &format!("{parent}, hostnames: ['', '*', '*.', ' ', '..'], rules: [{{}}]")),
        route("bad", "parentRefs: [{name: none}], rules: [{}]"),
        of_guide("bad", &refs(&to("none"))),
        of_guide("bad", &refs("{name: none, port: 80}")),
        of_guide("bad", &refs("{name: none, weight: -5}")),
        of_guide(
            "bad",
            &refs("{name: google, namespace: kgateway-system, group: gateway.kgateway.dev, kind: Backend}"),
        ),
        of_guide("bad", "timeouts: {request: never}"),
        of_guide("bad", "filters: [{type: ExtensionRef, extensionRef: {group: g, kind: k, name: n}}]"),
        of_guide("bad", "filters: [{type: RequestMirror}]"),
        of_guide("bad", "filters: [{type: URLRewrite}, {type: RequestRedirect}]"),
        route("bad", &format!("{parent}, rules: [{{matches: [{{path: {{type: RegularExpression, value: '(('}}}}]}}]")),
        route("bad", &format!("{parent}, rules: [{{matches: [{{path: {{type: Exact, value: bad}}}}]}}]")),
        policy("kgateway-system/bad", "targetRefs: [{group: g, kind: Nonsense, name: n}]"),
        policy("kgateway-system/bad", &format!("{targets}, rateLimit: {{}}, ai: {{promptGuard: {{}}}}")),
        policy("kgateway-system/bad", "targetSelectors: [{group: g, kind: Gateway, matchLabels: {no: such}}]"),
        grant("kgateway-system/bad", "", ""),
        secret("kgateway-system/bad", "Authorization: ''"),
        document("v1", "Service", "kgateway-system/google", "spec: {ports: [{port: -1}, {port: 99999}]}"),
        document(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "kgateway-system/bad",
            "addressType: IPv4, endpoints: [], ports: []",
        ),
    ];
    for spec in [
        "",
        "type: AI",
        "type: AI, ai: {llm: {}}",
        "type: AI, ai: {multipool: {priorities: []}}",
        "type: AI, ai: {llm: {openai: {authToken: {kind: SecretRef, secretRef: {name: none}}}}}",
        "type: AI, ai: {llm: {openai: {authToken: {kind: Passthrough}}, host: 'a b', port: 443}}",
        "type: AI, ai: {llm: {openai: {authToken: {kind: Passthrough}}, host: h}}",
        "type: AI, ai: {llm: {openai: {authToken: {kind: Passthrough}}, path: {full: 'no slash'}}}",
        "type: AI, ai: {llm: {openai: {authToken: {kind: Passthrough}}, authHeader: {headerName: 'a b'}}}",
        "type: AI, ai: {llm: {vertexai: {authToken: {kind: Passthrough}}}}",
        "type: MCP, mcp: {}",
        "type: Static, static: {hosts: [{host: '', port: 0}]}",
    ] {
        bad.push(backend("kgateway-system/bad", spec));
    }
    bad
}

#[test]
fn the_guide_works_beside_each_bad_object() {
    let guide = guide();
    let alone = World::new(&guide);
    guide_works(&alone, "nothing");
    for bad in bad_objects() {
        let world = World::with_rejected(&[guide.clone(), vec![bad.clone()]].concat());
        guide_works(&world, &bad);
        // The problem is reported, unless it is harmless by itself.
        let problems = world.compiled.reports.objects.iter().any(|r| r.problems().next().is_some());
        let harmless = ["Service", "EndpointSlice", "ReferenceGrant", "Secret"]
            .iter()
            .any(|k| bad.contains(&format!("kind: {k},")));
        assert!(problems || !world.objects.rejected.is_empty() || harmless, "{bad} is not spoken of");
    }
}

#[test]
fn the_guide_works_beside_all_bad_objects() {
    let world = World::with_rejected(&[guide(), bad_objects()].concat());
    guide_works(&world, "all");
}
