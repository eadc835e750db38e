//! Credentials that the gateway fetches: what reaches the provider, and what happens while there are none.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, PATIENCE, Start, Upstream,
    manifests::{backend, llm, route, rule, s1, yaml},
    wait_until,
};

const ASK: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
const PATH: &str = "/vertex/v1/projects/p/locations/l/publishers/google/models/m:generateContent";

/// A metadata server that hands out [`KEY`] while `works`.
fn metadata_server(works: &Arc<AtomicBool>) -> Upstream {
    let works = Arc::clone(works);
    Upstream::new(move |exchange| {
        let token = json!({"access_token": KEY, "expires_in": 3599, "token_type": "Bearer"}).to_string();
        if works.load(Ordering::SeqCst) {
            exchange.reply(200, &[("content-type", "application/json")], token.as_bytes())
        } else {
            exchange.reply(404, &[], b"no service account")
        };
    })
}

/// A gateway whose Backend `default/vertex` uses the pod's identity.
fn gateway(provider: u16, metadata: u16) -> Gateway {
    let entry = llm("vertexai", "none", provider, &json!({"authToken": {"kind": "Workload"}}));
    let manifest = backend("vertex", &json!({"llm": entry})) + &route("vertex", &json!([rule("/vertex", "vertex")]));
    Start::new()
        .manifest("a.yaml", &manifest)
        .env("GCE_METADATA_HOST", &format!("127.0.0.1:{metadata}"))
        .flag("--pod-identity-hosts", "127.0.0.1")
        .run()
}

#[test]
fn the_pods_identity_does_not_go_to_a_server_of_a_tenants() {
    let provider = Upstream::json("{}");
    let metadata = metadata_server(&Arc::new(AtomicBool::new(true)));
    let entry = llm("vertexai", "none", provider.port, &json!({"authToken": {"kind": "Workload"}}));
    let manifest = backend("vertex", &json!({"llm": entry})) + &route("vertex", &json!([rule("/vertex", "vertex")]));
    let start = Start::new().manifest("a.yaml", &manifest);
    let gateway = start.env("GCE_METADATA_HOST", &format!("127.0.0.1:{}", metadata.port)).run();
    assert_eq!(gateway.post(PATH, ASK).status, 500);
    assert_eq!(provider.connections(), 0);
    assert_eq!(reason(&gateway).as_deref(), Some("Invalid"));
}

#[test]
fn no_backend_reaches_the_admin_port() {
    let fixed = |port: u16| {
        json!({
            "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
            "metadata": {"name": "fixed", "namespace": "default"},
            "spec": {"type": "Static", "static": {"hosts": [{"host": "localhost", "port": port}]}},
        })
    };
    let rules = json!([rule("/x", "fixed")]);
    let gateway = Start::new().manifest("a.yaml", &(yaml(&fixed(9)) + &route("fixed", &rules))).run();
    gateway.change(|| _ = gateway.write("a.yaml", &(yaml(&fixed(gateway.admin)) + &route("fixed", &rules))));
    let reply = gateway.get("/x");
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(gateway.access("/x")["error"], "upstream_unreachable");
}

/// The reason of the Backend's condition.
fn reason(gateway: &Gateway) -> Option<String> {
    let objects = gateway.debug("/debug/objects");
    let find = |o: &&Value| o["kind"] == "Backend" && o["conditions"][0]["type"] == "Accepted";
    let reason = objects["objects"].as_array()?.iter().find(find)?["conditions"][0]["reason"].as_str()?;
    Some(reason.to_owned())
}

#[test]
fn the_pods_identity_is_a_token_that_is_fetched_once() {
    let provider = Upstream::json("{}");
    let metadata = metadata_server(&Arc::new(AtomicBool::new(true)));
    let gateway = gateway(provider.port, metadata.port);
    for _ in 0..3 {
        assert_eq!(gateway.post(PATH, ASK).status, 200);
    }
    let sent = provider.received();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|r| r.header("authorization") == Some(format!("Bearer {KEY}"))));
    let asked = metadata.only();
    assert_eq!(asked.path(), "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(asked.header("metadata-flavor").as_deref(), Some("Google"));
    assert_eq!(reason(&gateway).as_deref(), Some("Accepted"));
}

/// A metadata server that hands out another token each time: [`KEY`] and a number from 1.
fn many_tokens() -> Upstream {
    Upstream::new(|exchange| {
        let token = format!("{KEY}-{}", exchange.nth + 1);
        let token = json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}).to_string();
        exchange.reply(200, &[("content-type", "application/json")], token.as_bytes());
    })
}

/// A provider that refuses these tokens of [`many_tokens`], with the error of Google's APIs.
fn refusing(tokens: &'static [usize]) -> Upstream {
    Upstream::new(move |exchange| {
        let token = exchange.request().header("authorization").unwrap_or_default();
        if tokens.iter().any(|number| token == format!("Bearer {KEY}-{number}")) {
            let error = json!({"error": {
                "code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED",
            }});
            exchange.reply(401, &[("content-type", "application/json")], error.to_string().as_bytes());
        } else {
            exchange.reply(200, &[("content-type", "application/json")], b"{}");
        }
    })
}

#[test]
fn a_token_that_is_refused_is_fetched_anew_and_the_request_sent_again() {
    const CLIENTS: usize = 8;
    let (provider, metadata) = (refusing(&[1]), many_tokens());
    let gateway = gateway(provider.port, metadata.port);
    let together = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                together.wait();
                assert_eq!(gateway.post(PATH, ASK).status, 200);
            });
        }
    });
    assert_eq!(metadata.received().len(), 2, "all of them share one fetch");
    let received = provider.received();
    let with = |number: usize| {
        received.iter().filter(move |r| r.header("authorization") == Some(format!("Bearer {KEY}-{number}")))
    };
    assert_eq!(with(2).count(), CLIENTS);
    assert!((1..=CLIENTS).contains(&with(1).count()));
    assert!(received.iter().all(|r| r.text() == received[0].text()), "the same request");
    gateway.wait_for_log("the refusal", |l| {
        l["msg"] == "a credential was refused before its expiry and is fetched anew" && l["source"] == "google_metadata"
    });
    assert!(gateway.log().iter().all(|line| line["level"] != "ERROR"));
}

#[test]
fn a_request_is_sent_again_once_and_only_with_another_credential() {
    let (provider, metadata) = (refusing(&[1, 2]), many_tokens());
    let gateway = gateway(provider.port, metadata.port);
    assert_eq!(gateway.post(PATH, ASK).status, 401);
    assert_eq!((provider.received().len(), metadata.received().len()), (2, 2));
    assert_eq!(gateway.access(PATH)["upstream_attempts"], 2);
    // A moment later nothing is fetched because of a refusal.
    assert_eq!(gateway.post(PATH, ASK).status, 401);
    assert_eq!((provider.received().len(), metadata.received().len()), (3, 2));

    let refusing = Upstream::fixed(401, &[("content-type", "application/json")], b"{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", refusing.port)).run();
    assert_eq!(gateway.post("/openai/v1/chat/completions", r#"{"model":"m","messages":[]}"#).status, 401);
    assert_eq!(refusing.received().len(), 1, "a key of a Secret would be the same");
}

#[test]
fn without_a_token_no_request_is_sent_until_one_is_fetched() {
    let works = Arc::new(AtomicBool::new(false));
    let (provider, metadata) = (Upstream::json("{}"), metadata_server(&works));
    let gateway = gateway(provider.port, metadata.port);
    let reply = gateway.post_with(PATH, &[("authorization", "Bearer of-the-client")], ASK);
    assert_eq!(reply.status, 503, "{}", reply.text());
    let error: Value = serde_json::from_str(&reply.text()).unwrap();
    assert_eq!(error["error"]["message"], "the gateway has no valid credential for the upstream at the moment");
    assert_eq!(gateway.access(PATH)["error"], "credential_unavailable");
    let is = |expected: &str| reason(&gateway).filter(|r| r == expected);
    wait_until("the condition", PATIENCE, || is("CredentialsUnavailable"));
    let warning = gateway.wait_for_log("the failure", |l| l["msg"] == "can't fetch a credential");
    assert_eq!((&warning["source"], &warning["error"]), (&json!("google_metadata"), &json!("127.0.0.1 answered 404")));
    assert!(provider.received().is_empty(), "no request is sent without its token");

    works.store(true, Ordering::SeqCst);
    wait_until("the condition to heal", PATIENCE, || is("Accepted"));
    assert_eq!(gateway.post(PATH, ASK).status, 200);
}

#[test]
#[cfg(feature = "simulator")]
fn simulated_providers_fetch_no_cloud_credentials() {
    let metadata = metadata_server(&Arc::new(AtomicBool::new(true)));
    let entry = llm("vertexai", "none", 443, &json!({"authToken": {"kind": "Workload"}}));
    let manifest = backend("vertex", &json!({"llm": entry})) + &route("vertex", &json!([rule("/vertex", "vertex")]));
    let start = Start::new().manifest("a.yaml", &manifest).arg("--simulate-providers");
    let gateway = start.env("GCE_METADATA_HOST", &format!("127.0.0.1:{}", metadata.port)).run();
    assert_eq!(gateway.post(PATH, ASK).status, 200);
    assert!(metadata.received().is_empty());
}
