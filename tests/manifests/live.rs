//! Many changes while requests run: none is lost, and each request is of one generation.

use serde_json::json;

use super::{CHAT, Load, wait_for_status};
use crate::common::{Gate, KEY, PATIENCE, Start, Upstream, llm, request, route, rule, s1, s1_of, secret, wait_until};

const PATH: &str = "/openai/v1/chat/completions";
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

#[test]
fn a_thousand_edits_of_routes_lose_no_request() {
    const EDITS: usize = 1000;
    let provider = Upstream::json("{}");
    let gateway = Start::new().log("info").manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let load = Load::start(gateway.port, PATH);
    let before = gateway.generation();
    for edit in 0..EDITS {
        gateway.write("edited.yaml", &route("edited", &json!([rule(&format!("/edit-{edit}"), "openai")])));
        // Edits in quick succession are read together. This way they are many changes, too.
        if edit % 50 == 0 {
            wait_for_status(&gateway, &format!("/edit-{edit}"), 200);
        }
    }
    wait_for_status(&gateway, &format!("/edit-{}", EDITS - 1), 200);
    load.finish();
    assert!(gateway.generation() >= before + 20);
    assert_eq!(gateway.post("/edit-0", CHAT).status, 404);
    assert!(provider.connections() < 20, "pools survive changes: {}", provider.connections());
}

#[test]
fn requests_of_a_deleted_backend_finish_and_its_connections_close() {
    let goes_on = Gate::default();
    let wait = goes_on.clone();
    let provider = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream").chunk(EVENT);
        wait.wait();
        exchange.chunk(EVENT).chunk("data: [DONE]\n\n").end();
    });
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let mut client = gateway.connect();
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    client.send(&request("POST", PATH, &[("content-type", "application/json")], body.as_bytes()));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.event().as_deref(), Some(EVENT));
    gateway.change(|| gateway.remove("a.yaml"));
    assert_eq!(gateway.post(PATH, CHAT).status, 404);
    goes_on.open();
    let rest: String = std::iter::from_fn(|| client.event()).collect();
    assert_eq!(rest, format!("{EVENT}data: [DONE]\n\n"));
    provider.wait_for_closed(1);
    assert_eq!(provider.connections(), 1);
}

#[test]
fn a_key_never_goes_to_the_host_of_another_generation() {
    let providers = [Upstream::json("{}"), Upstream::json("{}")];
    let keys = [format!("{KEY}-first"), format!("{KEY}-second")];
    // Host and key are in one file, and change together.
    let manifest = |which: usize| {
        let entry = llm("openai", "key", providers[which].port, &json!({}));
        secret("key", &keys[which]) + &s1_of("openai", "/openai", &entry)
    };
    let gateway = Start::new().log("info").manifest("a.yaml", &manifest(0)).run();
    let load = Load::start(gateway.port, PATH);
    for edit in 1..=20 {
        gateway.write("a.yaml", &manifest(edit % 2));
        let provider = &providers[edit % 2];
        let before = provider.received().len();
        wait_until("the change", PATIENCE, || (provider.received().len() > before).then_some(()));
    }
    load.finish();
    for (provider, key) in providers.iter().zip(&keys) {
        let received = provider.received();
        let mixed = received.iter().filter(|r| r.header("authorization") != Some(format!("Bearer {key}"))).count();
        assert_eq!(mixed, 0, "of {}", received.len());
    }
}
