//! How a Backend chooses among the targets of a group: by load, or by a key of the request.

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, Start, Upstream,
    manifests::{backend, llm, route, rule, secret},
    request,
};

const CHAT: &str = "/both/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const WHOLE: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";

fn answering() -> Upstream {
    Upstream::json(WHOLE)
}

/// The manifests of a Backend with these targets in one group, and this `loadBalancer`.
fn manifest(targets: &[(&str, &Upstream)], choice: &Value) -> String {
    let entry = |(name, upstream): &(&str, &Upstream)| {
        let mut entry = llm("openai", "key", upstream.port, &json!({}));
        entry["name"] = (*name).into();
        entry
    };
    let providers: Vec<Value> = targets.iter().map(entry).collect();
    let ai = json!({"priorityGroups": [{"providers": providers}], "loadBalancer": choice});
    secret("key", KEY) + &backend("both", &ai) + &route("both", &json!([rule("/both", "both")]))
}

fn gateway(targets: &[(&str, &Upstream)], choice: &Value) -> Gateway {
    Start::new().manifest("a.yaml", &manifest(targets, choice)).arg("--reply-target-headers").run()
}

/// The target that answers a request with these headers.
fn target_of(gateway: &Gateway, headers: &[(&str, &str)], body: &str) -> String {
    let reply = gateway.post_with(CHAT, headers, body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-tollgate-target").unwrap().to_owned()
}

fn by(policy: &Value) -> Value {
    json!({"ringHash": {"hashPolicies": [policy]}})
}

#[test]
fn a_header_has_its_target_also_while_others_come_and_go() {
    let upstreams = [answering(), answering(), answering()];
    let all: Vec<(&str, &Upstream)> = ["a", "b", "c"].into_iter().zip(&upstreams).collect();
    let choice = by(&json!({"header": {"name": "X-Session-Id"}}));
    let gateway = gateway(&all, &choice);
    let of = |session: &str| target_of(&gateway, &[("x-session-id", session)], BODY);
    let sessions: Vec<String> = (0..24).map(|number| format!("session-{number}")).collect();
    let before: Vec<String> = sessions.iter().map(|session| of(session)).collect();
    assert!(["a", "b", "c"].iter().all(|name| before.iter().any(|target| target == name)), "{before:?}");
    assert_eq!(sessions.iter().map(|session| of(session)).collect::<Vec<_>>(), before, "each keeps its target");
    // Without `b`, and in another order.
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&[all[2], all[0]], &choice)));
    for (session, target) in sessions.iter().zip(&before) {
        let after = of(session);
        assert!(after == *target || target == "b", "{session}: {target}, then {after}");
    }
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&all, &choice)));
    assert_eq!(sessions.iter().map(|session| of(session)).collect::<Vec<_>>(), before, "they are back");
    // A header as large as a head may have, and none.
    let large = "x".repeat(20_000);
    assert_eq!(of(&large), of(&large));
    let without: Vec<String> = (0..3).map(|_| target_of(&gateway, &[], BODY)).collect();
    assert!(["a", "b", "c"].iter().all(|name| without.iter().any(|target| target == name)), "in turn: {without:?}");
}

#[test]
fn turns_of_one_conversation_go_to_one_target() {
    let upstreams = [answering(), answering(), answering(), answering()];
    let all: Vec<(&str, &Upstream)> = ["a", "b", "c", "d"].into_iter().zip(&upstreams).collect();
    let gateway = gateway(&all, &by(&json!({"promptPrefix": {}})));
    let mut used = std::collections::BTreeSet::new();
    for number in 0..12 {
        let question = json!({"role": "user", "content": format!("question {number}")});
        let first = json!({"model": "m", "messages": [question]}).to_string();
        let more = [question, json!({"role": "assistant", "content": "hi"}), json!({"role": "user", "content": "on"})];
        let second = json!({"messages": more, "model": "m", "temperature": 1}).to_string();
        let target = target_of(&gateway, &[], &first);
        assert_eq!(target_of(&gateway, &[], &second), target);
        used.insert(target);
    }
    assert!(used.len() > 1, "{used:?}");
    // An invalid prompt has no beginning: the provider decides about it.
    target_of(&gateway, &[], r#"{"model":"m","messages":[]}"#);
}

#[test]
fn a_client_goes_to_one_target_by_its_key_or_its_address() {
    let upstreams = [answering(), answering()];
    let all: Vec<(&str, &Upstream)> = ["a", "b"].into_iter().zip(&upstreams).collect();
    let gateway = gateway(&all, &by(&json!({"credential": {}})));
    let of = |header: &str, value: &str| target_of(&gateway, &[(header, value)], BODY);
    let keys: Vec<String> = (0..16).map(|number| format!("client-key-{number}")).collect();
    let targets: Vec<String> = keys.iter().map(|key| of("x-api-key", key)).collect();
    assert!(targets.contains(&"a".to_owned()) && targets.contains(&"b".to_owned()), "{targets:?}");
    for (key, target) in keys.iter().zip(&targets) {
        assert_eq!(of("authorization", &format!("Bearer {key}")), *target, "wherever the key is");
    }
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&all, &by(&json!({"sourceIP": {}})))));
    let first = target_of(&gateway, &[], BODY);
    assert!((0..6).all(|_| target_of(&gateway, &[], BODY) == first), "on each connection");
}

#[test]
fn a_busy_target_gets_no_more_requests() {
    let held = |exchange: &mut crate::common::Exchange| {
        if exchange.request().text().contains("hold") {
            exchange.wait_closed();
            exchange.close();
        } else {
            exchange.reply(200, &[("content-type", "application/json")], WHOLE.as_bytes());
        }
    };
    let upstreams = [Upstream::new(held), Upstream::new(held)];
    let all: Vec<(&str, &Upstream)> = ["a", "b"].into_iter().zip(&upstreams).collect();
    let gateway = gateway(&all, &json!({"leastRequest": {}}));
    let mut clients: Vec<_> = Vec::new();
    for nth in 1..=4 {
        let mut client = gateway.connect();
        client.send(&request("POST", CHAT, &[], br#"{"model":"m","messages":[{"role":"user","content":"hold"}]}"#));
        clients.push(client);
        crate::common::wait_until("the request", crate::common::PATIENCE, || {
            (upstreams.iter().map(|upstream| upstream.received().len()).sum::<usize>() == nth).then_some(())
        });
    }
    assert_eq!([upstreams[0].received().len(), upstreams[1].received().len()], [2, 2], "two at each");
}
