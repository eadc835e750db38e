//! Each way to write a Backend with its compiled form, and the report of each mistake that no schema can find. Mistakes
//! that the schema finds too are in `tests/crds/refused`.

use std::fmt::Write as _;

use secrecy::ExposeSecret;

use super::*;
use crate::provider::{
    Auth, KeySource, Settings,
    anthropic::AnthropicSettings,
    azure_openai::AzureOpenAiSettings,
    bedrock::BedrockSettings,
    gemini::GeminiSettings,
    openai::OpenAiSettings,
    vertex_ai::{Publisher, VertexAiSettings},
};

fn spec(yaml: &str) -> BackendSpec {
    serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// A shape on one line: groups in brackets, without fields that are not set.
fn describe(shape: &BackendShape) -> String {
    match shape {
        BackendShape::Static { hosts, app_protocol } => {
            let hosts: Vec<_> = hosts
                .iter()
                .map(|entry| {
                    let mut text = format!("{}:{}", entry.host, entry.port);
                    describe_tls(&entry.tls, &mut text);
                    text
                })
                .collect();
            app_protocol.map_or(hosts.join(" "), |protocol| format!("{} {protocol:?}", hosts.join(" ")))
        }
        BackendShape::Ai(groups) => groups
            .iter()
            .map(|group| format!("[{}]", group.iter().map(describe_entry).collect::<Vec<_>>().join("; ")))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn describe_entry(entry: &ProviderEntry) -> String {
    let mut text = format!("{} = {}", entry.name, entry.provider.def.info.name);
    match &entry.provider.auth {
        Auth::Key(KeySource::Inline(token)) => write!(text, " inline={}", token.expose_secret()).unwrap(),
        Auth::Key(KeySource::SecretRef(name)) | Auth::Aws { secret: Some(name), .. } => {
            write!(text, " secret={name}").unwrap();
        }
        Auth::Key(KeySource::Workload) => text.push_str(" workload"),
        Auth::Key(KeySource::Passthrough) | Auth::Aws { secret: None, .. } => {}
    }
    describe_settings(&*entry.provider.settings, &mut text);
    let mut field = |name: &str, value: Option<&str>| push_field(&mut text, name, value);
    let address = entry.server.host.as_ref().zip(entry.port).map(|(host, port)| format!("{host}:{port}"));
    assert_eq!(entry.server.host.is_some(), entry.port.is_some(), "host and port go together");
    field("at", address.as_deref());
    describe_tls(&entry.tls, &mut text);
    let mut field = |name: &str, value: Option<&str>| push_field(&mut text, name, value);
    field("path", entry.path.as_deref());
    field("base", entry.server.base_path.as_deref());
    let apis = entry.server.apis.as_ref().map(|apis| apis.iter().map(|api| api.as_str()).collect::<Vec<_>>().join(","));
    field("apis", apis.as_deref());
    let header = entry.auth_header.as_ref();
    field("header", header.and_then(|h| h.name.as_deref()));
    field("prefix", header.and_then(|h| h.prefix.as_deref()).map(|prefix| format!("{prefix:?}")).as_deref());
    text
}

fn describe_tls(tls: &TlsShape, text: &mut String) {
    push_field(text, "tls", tls.required.then_some("on"));
    push_field(text, "verify", tls.insecure_skip_verify.then_some("off"));
    for AuthorityRef { kind, name } in &tls.authorities {
        push_field(text, "ca", Some(&format!("{kind}/{name}")));
    }
    push_field(text, "sni", tls.sni.as_deref());
}

fn push_field(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        write!(text, " {name}={value}").unwrap();
    }
}

/// A provider's own fields, compiled.
fn describe_settings(settings: &dyn Settings, text: &mut String) {
    let settings: &dyn std::any::Any = settings;
    let mut field = |name: &str, value: Option<&str>| push_field(text, name, value);
    if let Some(OpenAiSettings { model, preset }) = settings.downcast_ref() {
        field("model", model.as_deref());
        field("preset", preset.map(|preset| preset.name));
    } else if let Some(AzureOpenAiSettings { endpoint, deployment, api_version }) = settings.downcast_ref() {
        field("endpoint", Some(endpoint));
        field("deployment", Some(deployment));
        field("version", Some(api_version));
    } else if let Some(AnthropicSettings { model, api_version }) = settings.downcast_ref() {
        field("model", model.as_deref());
        field("version", api_version.as_deref());
    } else if let Some(GeminiSettings { model, api_version }) = settings.downcast_ref() {
        field("model", model.as_deref());
        field("version", api_version.as_deref());
    } else if let Some(vertex) = settings.downcast_ref::<VertexAiSettings>() {
        field("model", Some(&vertex.model));
        field("version", Some(&vertex.api_version));
        field("project", Some(&vertex.project));
        field("location", Some(&vertex.location));
        field("call", vertex.model_path.as_deref());
        field("publisher", vertex.publisher.map(Publisher::as_path));
    } else if let Some(BedrockSettings { region, model, guardrail }) = settings.downcast_ref() {
        field("model", model.as_deref());
        field("region", Some(region));
        field("guardrail", guardrail.as_ref().map(|(id, version)| format!("{id}@{version}")).as_deref());
    }
}

#[track_caller]
fn check(yaml: &str, expect: &str) {
    let shape = shape(&spec(yaml)).unwrap_or_else(|problems| panic!("{yaml}: {problems:?}"));
    assert_eq!(describe(&shape), expect, "{yaml}");
}

/// One entry under `spec.ai.llm`.
#[track_caller]
fn check_llm(llm: &str, expect: &str) {
    check(&format!("{{type: AI, ai: {{llm: {{{llm}}}}}}}"), &format!("[{expect}]"));
}

const OPENAI: &str = "openai: {authToken: {kind: Passthrough}}";

#[test]
fn every_provider_in_both_places() {
    let providers = [
        ("openai: {authToken: {kind: Passthrough}}", "openai_0 = openai"),
        (
            "openai: {model: gpt-4o, authToken: {kind: SecretRef, secretRef: {name: s}}}",
            "openai_0 = openai secret=s model=gpt-4o",
        ),
        ("openai: {model: '', authToken: {kind: Inline, inline: sk-1}}", "openai_0 = openai inline=sk-1"),
        (
            "azureopenai: {endpoint: e.azure.com, deploymentName: d, apiVersion: v, authToken: {kind: Passthrough}}",
            "azureopenai_0 = azureopenai endpoint=e.azure.com deployment=d version=v",
        ),
        (
            "anthropic: {apiVersion: '2023-06-01', model: claude, authToken: {kind: Passthrough}}",
            "anthropic_0 = anthropic model=claude version=2023-06-01",
        ),
        (
            "azureopenai: {endpoint: e.azure.com, deploymentName: d, apiVersion: v, authToken: {kind: Workload}}",
            "azureopenai_0 = azureopenai workload endpoint=e.azure.com deployment=d version=v",
        ),
        (
            "vertexai: {model: m, apiVersion: v1, projectId: p, location: us-central1, authToken: {kind: Workload}}",
            "vertexai_0 = vertexai workload model=m version=v1 project=p location=us-central1",
        ),
        ("anthropic: {authToken: {kind: Passthrough}}", "anthropic_0 = anthropic"),
        (
            "gemini: {apiVersion: v1beta, model: gemini-2.5-flash, authToken: {kind: Passthrough}}",
            "gemini_0 = gemini model=gemini-2.5-flash version=v1beta",
        ),
        ("gemini: {apiVersion: '', model: '', authToken: {kind: Passthrough}}", "gemini_0 = gemini"),
        (
            "vertexai: {model: m, apiVersion: v1, projectId: p, location: us-central1, authToken: {kind: Passthrough}}",
            "vertexai_0 = vertexai model=m version=v1 project=p location=us-central1",
        ),
        (
            "vertexai: {model: m, apiVersion: v1, projectId: p, location: l, modelPath: rawPredict, publisher: GOOGLE, \
             authToken: {kind: Passthrough}}",
            "vertexai_0 = vertexai model=m version=v1 project=p location=l call=rawPredict publisher=google",
        ),
        (
            "vertexai: {model: m, apiVersion: v1, projectId: p, location: l, publisher: ANTHROPIC, \
             authToken: {kind: Passthrough}}",
            "vertexai_0 = vertexai model=m version=v1 project=p location=l publisher=anthropic",
        ),
        ("bedrock: {}", "bedrock_0 = bedrock region=us-east-1"),
        (
            "bedrock: {model: m, region: eu-west-1, auth: {type: Secret, secretRef: {name: s}}, \
             guardrail: {identifier: g, version: '1'}}",
            "bedrock_0 = bedrock secret=s model=m region=eu-west-1 guardrail=g@1",
        ),
    ];
    for (provider, expect) in providers {
        check_llm(provider, expect);
        check_llm(&format!("provider: {{{provider}}}"), expect);
    }
}

#[test]
fn one_form_for_all_spellings_of_groups() {
    check("{ai: {llm: {provider: {openai: {authToken: {kind: Passthrough}}}}}, type: ai}", "[openai_0 = openai]");
    check(
        &format!(
            "{{type: AI, ai: {{multipool: {{priorities: [{{pool: [{{{OPENAI}}}]}}, {{pool: [{{bedrock: {{}}}}, {{{OPENAI}}}]}}]}}}}}}"
        ),
        "[openai_0 = openai] [bedrock_1 = bedrock region=us-east-1; openai_2 = openai]",
    );
    check(
        &format!("{{type: AI, ai: {{priorityGroups: [{{providers: [{{name: a.b-1, {OPENAI}}}, {{{OPENAI}}}]}}]}}}}"),
        "[a.b-1 = openai; openai_1 = openai]",
    );
}

#[test]
fn overrides_in_all_spellings() {
    let check = |overrides: &str, expect: &str| {
        check_llm(&format!("{overrides}, {OPENAI}"), &format!("openai_0 = openai {expect}"));
    };
    check("hostOverride: {host: api.example.com, port: 8080}", "at=api.example.com:8080");
    check("hostOverride: {host: a, port: 443, insecureSkipVerify: true}", "at=a:443 verify=off");
    check("hostOverride: {host: a, port: 8443, tls: {}}", "at=a:8443 tls=on");
    check("hostOverride: {host: a, port: 8443, tls: {insecureSkipVerify: true}}", "at=a:8443 tls=on verify=off");
    check("host: a, port: 8443, tls: {}", "at=a:8443 tls=on");
    check(
        "hostOverride: {host: a, port: 8443, tls: {caCertificateRefs: [{name: b}, {group: '', kind: Secret, name: c}], sni: d.e}}",
        "at=a:8443 tls=on ca=ConfigMap/b ca=Secret/c sni=d.e",
    );
    check(
        "host: a, port: 443, tls: {caCertificateRefs: [{kind: ConfigMap, name: b}]}",
        "at=a:443 tls=on ca=ConfigMap/b",
    );
    check("host: a, port: 1, tls: {insecureSkipVerify: true, sni: b}", "at=a:1 tls=on verify=off sni=b");
    check("host: Api.Example.com., port: 443", "at=Api.Example.com.:443");
    check("host: 10.0.0.1, port: 1", "at=10.0.0.1:1");
    check("host: '::1', port: 8080", "at=[::1]:8080");
    check("host: '[2001:db8::1]', port: 8080", "at=[2001:db8::1]:8080");
    check("host: my_service.ns.svc.cluster.local, port: 80", "at=my_service.ns.svc.cluster.local:80");
    check("pathOverride: {fullPath: /v1/chat?a=b}", "path=/v1/chat?a=b");
    check("pathOverride: {full: /v1}", "path=/v1");
    check("path: {full: /v1}", "path=/v1");
    check("path: {fullPath: /v1}", "path=/v1");
    check("authHeaderOverride: {headerName: X-Key, prefix: 'Token '}", "header=X-Key prefix=\"Token \"");
    check("authHeader: {headerName: api-key}", "header=api-key");
    check("authHeader: {prefix: ''}", "prefix=\"\"");
    check("authHeaderOverride: {headerName: '', prefix: a}", "prefix=\"a\"");
    check_llm(&format!("authHeaderOverride: {{}}, {OPENAI}"), "openai_0 = openai");
}

#[test]
fn azure_endpoints_lose_their_scheme() {
    let check = |endpoint: &str, expect: &str| {
        let provider = format!(
            "azureopenai: {{endpoint: '{endpoint}', deploymentName: d, apiVersion: v, authToken: {{kind: Passthrough}}}}"
        );
        check_llm(&provider, &format!("azureopenai_0 = azureopenai endpoint={expect} deployment=d version=v"));
    };
    check("r.openai.azure.com", "r.openai.azure.com");
    check("https://r.openai.azure.com", "r.openai.azure.com");
    check("https://r.openai.azure.com/", "r.openai.azure.com");
    check("http://r.openai.azure.com", "r.openai.azure.com");
    check(" https://r.openai.azure.com ", "r.openai.azure.com");
}

#[test]
fn static_hosts() {
    check(
        "{type: Static, static: {hosts: [{host: a.example.com, port: 80}, {host: '::1', port: 81}]}}",
        "a.example.com:80 [::1]:81",
    );
    check("{type: Static, static: {appProtocol: kubernetes.io/h2c, hosts: [{host: a, port: 80}]}}", "a:80 H2c");
    check(
        "{type: Static, static: {hosts: [{host: a, port: 80, tls: {caCertificateRefs: [{name: b}], sni: c.d}}]}}",
        "a:80 tls=on ca=ConfigMap/b sni=c.d",
    );
    check(
        "{type: Static, static: {hosts: [{host: a, port: 80, insecureSkipVerify: true, tls: {}}]}}",
        "a:80 tls=on verify=off",
    );
}

#[test]
fn providers_are_listed_once_in_order() {
    let shape = shape(&spec(&format!(
        "{{type: AI, ai: {{priorityGroups: [{{providers: [{{bedrock: {{}}}}, {{{OPENAI}}}]}}, {{providers: [{{bedrock: {{}}}}]}}]}}}}"
    )));
    assert_eq!(shape.unwrap().providers(), "bedrock,openai");
}

/// Every problem as `PATH: MESSAGE`; each contains its part of `expected`.
#[track_caller]
fn check_problems(yaml: &str, expect: &[&str]) {
    let problems = shape(&spec(yaml)).err().unwrap_or_else(|| panic!("{yaml}: accepted"));
    let lines: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    assert_eq!(lines.len(), expect.len(), "{yaml}: {lines:#?}");
    for (line, expect) in lines.iter().zip(expect) {
        assert!(line.contains(expect), "{yaml}: {line:?}, expected {expect:?}");
    }
}

#[test]
fn base_paths_apis_and_presets() {
    check_llm(&format!("path: {{prefix: /openai/v1}}, {OPENAI}"), "openai_0 = openai base=/openai/v1");
    check_llm(&format!("pathOverride: {{prefix: /api/v1/}}, {OPENAI}"), "openai_0 = openai base=/api/v1");
    check_llm(&format!("path: {{prefix: /}}, {OPENAI}"), "openai_0 = openai base=");
    check_llm(
        "path: {prefix: /anthropic/v1}, provider: {anthropic: {authToken: {kind: Passthrough}}}",
        "anthropic_0 = anthropic base=/anthropic/v1",
    );
    check_llm(&format!("apis: [responses, chat], {OPENAI}"), "openai_0 = openai apis=responses,chat");
    check_llm("openai: {preset: groq, authToken: {kind: Passthrough}}", "openai_0 = openai preset=groq");
    check_llm(
        "host: vllm.models, port: 8000, provider: {openai: {preset: vllm, authToken: {kind: Passthrough}}}",
        "openai_0 = openai preset=vllm at=vllm.models:8000",
    );
    check_llm(
        "hostOverride: {host: a.openai.azure.com, port: 443}, openai: {preset: azure, authToken: {kind: Passthrough}}",
        "openai_0 = openai preset=azure at=a.openai.azure.com:443",
    );
}

#[test]
fn mistakes_about_the_server() {
    let check = |llm: &str, expect: &str| {
        check_problems(&format!("{{type: AI, ai: {{llm: {{{llm}}}}}}}"), &[expect]);
    };
    let gemini = "gemini: {model: m, apiVersion: v1, authToken: {kind: Passthrough}}";
    for prefix in ["v1", "/a b", "/a?b=c", "/a//b", "/a/../b", "/./a", "/a%2fb", "/a;b", "//"] {
        check(&format!("path: {{prefix: '{prefix}'}}, {OPENAI}"), "spec.ai.llm.path.prefix: not a base path");
    }
    check(
        &format!("pathOverride: {{prefix: /a, fullPath: /b}}, {OPENAI}"),
        "spec.ai.llm.pathOverride: prefix and the full path are mutually exclusive",
    );
    check(&format!("path: {{prefix: /a}}, {gemini}"), "spec.ai.llm.path.prefix: gemini has paths of its own");
    check(&format!("pathOverride: {{prefix: /a}}, {gemini}"), "spec.ai.llm.pathOverride.prefix: gemini has paths");
    check(&format!("apis: [chat], {gemini}"), "spec.ai.llm.apis: the API of gemini is known");
    check(&format!("apis: [], {OPENAI}"), "spec.ai.llm.apis: no API is there: write at least one of chat, responses");
    check(&format!("apis: [chat, responses, chat], {OPENAI}"), "spec.ai.llm.apis: chat is there twice");
    for preset in ["ollama", "vllm", "llamacpp", "lmstudio", "azure"] {
        let llm = format!("openai: {{preset: {preset}, authToken: {{kind: Passthrough}}}}");
        check(&llm, "has no host of its own: write `host` and `port` of your server");
    }
    check(
        "openai: {preset: grok, authToken: {kind: Passthrough}}",
        "spec.ai.llm.openai.preset: no such preset: write one of openai, azure, cerebras, cohere, deepseek, fireworks, \
         groq, huggingface, llamacpp, lmstudio, mistral, ollama, openrouter, together, vllm, xai",
    );
    // Both are reported at once.
    check_problems(
        "{type: AI, ai: {llm: {apis: [], path: {prefix: v1}, openai: {preset: grok}}}}",
        &["openai.authToken", "openai.preset", "path.prefix", "apis"],
    );
}

#[test]
fn values_that_no_schema_refuses() {
    let check = |llm: &str, expect: &str| {
        check_problems(&format!("{{type: AI, ai: {{llm: {{{llm}}}}}}}"), &[expect]);
    };
    let with = |overrides: &str| format!("{overrides}, {OPENAI}");
    check(&with("host: 'https://api.example.com', port: 443"), "spec.ai.llm.host: the host has a scheme");
    check(&with("host: api.example.com/v1, port: 443"), "spec.ai.llm.host: the host has a path");
    check(&with("host: 'api.example.com:8443', port: 443"), "spec.ai.llm.host: the host has a port");
    check(&with("host: 'a b', port: 443"), "spec.ai.llm.host: not a host");
    check(&with("host: '[10.0.0.1]', port: 443"), "spec.ai.llm.host: not a host");
    check(&with("host: a..b, port: 443"), "spec.ai.llm.host: not a host");
    check(&with("hostOverride: {host: 'user@a', port: 443}"), "spec.ai.llm.hostOverride.host: not a host");
    check(&with("path: {full: v1/chat}"), "spec.ai.llm.path: not a path");
    check(&with("path: {full: '/a b'}"), "spec.ai.llm.path: not a path");
    check(&with("path: {full: '/a#b'}"), "spec.ai.llm.path: not a path");
    check(&with("path: {full: \"/a\\r\\nx: y\"}"), "spec.ai.llm.path: not a path");
    check(&with("authHeader: {headerName: 'X Key'}"), "spec.ai.llm.authHeader.headerName: not a header's name");
    check(&with("authHeader: {headerName: Host}"), "spec.ai.llm.authHeader.headerName: this header frames");
    check(&with("authHeader: {headerName: content-length}"), "spec.ai.llm.authHeader.headerName: this header frames");
    check(&with("authHeaderOverride: {prefix: \"a\\nb\"}"), "spec.ai.llm.authHeaderOverride.prefix: not valid");
    check(&with("host: a, port: 1, tls: {sni: 10.0.0.1}"), "spec.ai.llm.tls.sni: not a DNS name");
    check(&with("host: a, port: 1, tls: {sni: '*.a.example'}"), "spec.ai.llm.tls.sni: not a DNS name");
    check(
        &with("hostOverride: {host: a, port: 1, insecureSkipVerify: true, tls: {caCertificateRefs: [{name: b}]}}"),
        "spec.ai.llm.hostOverride.tls: insecureSkipVerify and caCertificateRefs are mutually exclusive",
    );
    check("openai: {authToken: {kind: Inline, inline: ''}}", "spec.ai.llm.openai.authToken.inline: inline is empty");
    check("openai: {authToken: {kind: Inline, inline: ' '}}", "spec.ai.llm.openai.authToken.inline: inline is empty");
    check(
        "provider: {openai: {authToken: {kind: SecretRef, secretRef: {name: ''}}}}",
        "spec.ai.llm.provider.openai.authToken.secretRef.name: name is empty",
    );
    check(
        "azureopenai: {endpoint: 'https://a/openai', deploymentName: d, apiVersion: v, authToken: {kind: Passthrough}}",
        "spec.ai.llm.azureopenai.endpoint: the host has a path",
    );
    check(
        "vertexai: {model: m, apiVersion: v1, projectId: p, location: evil.example.com/, authToken: {kind: Passthrough}}",
        "spec.ai.llm.vertexai.location: not a region",
    );
}

#[test]
fn names_are_unique() {
    check_problems(
        &format!(
            "{{type: AI, ai: {{priorityGroups: [{{providers: [{{name: a, {OPENAI}}}]}}, {{providers: [{{name: a, {OPENAI}}}]}}]}}}}"
        ),
        &["spec.ai.priorityGroups[1].providers[0].name: another entry has this name"],
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    check_problems(
        "{type: AI, static: {}, ai: {priorityGroups: [{providers: [{host: a, azureopenai: {}}, {}]}, {}]}}",
        &[
            "spec.static: `static` backend must be nil",
            "spec.ai.priorityGroups[1].providers: no provider is there",
            "spec.ai.priorityGroups[0].providers[0].azureopenai.authToken: authToken is missing",
            "spec.ai.priorityGroups[0].providers[0].azureopenai.endpoint: endpoint is missing",
            "spec.ai.priorityGroups[0].providers[0].azureopenai.deploymentName: deploymentName is missing",
            "spec.ai.priorityGroups[0].providers[0].azureopenai.apiVersion: apiVersion is missing",
            "spec.ai.priorityGroups[0].providers[0]: both host and port must be set together",
            "spec.ai.priorityGroups[0].providers[1]: exactly one provider must be set",
        ],
    );
}

#[test]
fn unserved_forms_are_marked_as_unsupported() {
    #[track_caller]
    fn check(yaml: &str, expect: &[bool]) {
        let problems = shape(&spec(yaml)).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.unsupported).collect::<Vec<_>>(), expect, "{yaml}: {problems:?}");
    }
    check("{type: AWS, aws: {lambda: {functionName: f}}}", &[true]);
    check("{type: MCP, mcp: {}}", &[true]);
    check("{type: DynamicForwardProxy, dynamicForwardProxy: {}}", &[true]);
    check("{type: AWS}", &[false, true]);
    check("{type: AI}", &[false]);
    check("{}", &[false]);
}

#[test]
fn no_value_is_in_a_problem_or_in_debug_output() {
    let secret = "sk-hush";
    let written = spec(&format!(
        "{{type: AI, ai: {{llm: {{openai: {{authToken: {{kind: Inline, inline: {secret}, secretRef: {{name: s}}}}}}, \
         host: 'https://user:{secret}@a', port: 1, path: {{full: '{secret}'}}, authHeader: {{prefix: \"{secret}\\n\"}}}}}}}}"
    ));
    let problems = shape(&written).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(!format!("{problems:?}").contains(secret), "{problems:?}");

    let good =
        spec(&format!("{{type: AI, ai: {{llm: {{openai: {{authToken: {{kind: Inline, inline: {secret}}}}}}}}}}}"));
    let debug = format!("{good:?} {:?}", shape(&good).unwrap());
    assert!(!debug.contains(secret), "{debug}");
}

#[test]
fn limits_are_positive_and_a_wait_is_a_time() {
    let with = |fields: &str| {
        format!(
            "{{type: AI, circuitBreakers: {{{fields}}}, ai: {{llm: {{openai: {{authToken: {{kind: Passthrough}}}}}}}}}}"
        )
    };
    for fields in [
        "maxRequests: 0",
        "maxRequests: 4294967295",
        "maxPendingRequests: 2147483648",
        "pendingTimeout: 0s",
        "pendingTimeout: 999us",
    ] {
        let field = fields.split(':').next().unwrap();
        check_problems(&with(fields), &[&format!("spec.circuitBreakers.{field}: ")]);
    }
    for fields in ["maxRequests: 1", "maxRequests: 2147483647", "maxPendingRequests: 0", "pendingTimeout: 8760h", ""] {
        assert!(shape(&spec(&with(fields))).is_ok(), "{fields}");
    }
    check_problems(
        "{type: AI, ai: {llm: {maxRequests: 0, openai: {authToken: {kind: Passthrough}}}}}",
        &["spec.ai.llm.maxRequests: out of range: write 1 to 2147483647, or remove it"],
    );
    check_problems(
        "{type: Static, static: {hosts: [{host: a, port: 1}, {host: b, port: 1, maxRequests: 0}]}}",
        &["spec.static.hosts[1].maxRequests: out of range"],
    );
}
