//! Ports: bound, let go and taken.

use std::net::{Ipv6Addr, TcpListener};

use serde_json::{Value, json};

use super::{CHAT, Load, condition, gateway_with, http, report};
use crate::common::{Client, PATIENCE, Start, Upstream, free_port, request, s1, wait_until};

fn provider() -> Upstream {
    Upstream::json("{}")
}

fn status(port: u16) -> Option<u16> {
    let message = request("POST", "/openai", &[("content-type", "application/json")], CHAT.as_bytes());
    Client::try_connect(port)?.send(&message).try_reply().map(|reply| reply.status)
}

fn wait_for(port: u16, expected: Option<u16>) {
    wait_until(&format!("{expected:?} on port {port}"), PATIENCE, || (status(port) == expected).then_some(()));
}

#[test]
fn ports_are_added_and_removed_without_failures_on_the_others() {
    let provider = provider();
    let start = Start::bare();
    let (stays, one, two) = (start.port(), free_port(), free_port());
    let listeners = |more: &[(&str, u16)]| {
        let all: Vec<Value> = [("stays", stays)].iter().chain(more).map(|(name, port)| http(name, *port)).collect();
        gateway_with(&all)
    };
    let gateway = start
        .log("info")
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &listeners(&[]))
        .run();
    let load = Load::start(stays, "/openai");
    assert_eq!(status(one), None);
    // Added, changed, removed.
    gateway.write("gateway.yaml", &listeners(&[("other", one)]));
    wait_for(one, Some(200));
    let mut open = Client::connect(one);
    open.send(&request("POST", "/openai", &[], CHAT.as_bytes()));
    assert_eq!(open.reply().status, 200);
    gateway.write("gateway.yaml", &listeners(&[("other", two)]));
    wait_for(two, Some(200));
    wait_for(one, None);
    assert!(open.closed(), "an idle connection of a listener that is gone is closed");
    gateway.write("gateway.yaml", &listeners(&[]));
    wait_for(two, None);
    load.finish();
}

#[test]
fn a_reply_under_way_outlives_its_listener() {
    let gate = crate::common::Gate::default();
    let held = gate.clone();
    let provider = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream").chunk("data: {\"n\":1}\n\n");
        held.wait();
        exchange.chunk("data: [DONE]\n\n").end();
    });
    let start = Start::bare();
    let (stays, goes) = (start.port(), free_port());
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&[http("stays", stays), http("goes", goes)]))
        .run();
    let mut client = Client::connect(goes);
    client.send(&request("POST", "/openai", &[], br#"{"model":"m","messages":[],"stream":true}"#));
    assert_eq!(client.head().status, 200);
    assert!(client.event().unwrap().contains("\"n\":1"));
    gateway.write("gateway.yaml", &gateway_with(&[http("stays", stays)]));
    wait_until("the port to close", PATIENCE, || Client::try_connect(goes).is_none().then_some(()));
    gate.open();
    assert_eq!(client.event().as_deref(), Some("data: [DONE]\n\n"));
    assert_eq!(client.event(), None, "the stream ends as it should");
}

#[test]
fn a_port_in_use_is_reported_and_bound_later() {
    let provider = provider();
    let start = Start::bare();
    // Both families, as the gateway binds them; machines without IPv6 have IPv4 only.
    let holder = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    let (free, taken) = (start.port(), holder.local_addr().unwrap().port());
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&[http("taken", taken), http("free", free)]))
        .run();
    assert_eq!(status(free), Some(200), "the other port is served");
    let unbound = gateway.debug("/debug/objects")["unboundPorts"].clone();
    let why = unbound[taken.to_string()].as_str().unwrap_or_else(|| panic!("{unbound}"));
    assert!(why.contains("in use"), "{why}");
    assert_eq!(unbound.as_object().unwrap().len(), 1);
    let line = gateway.wait_for_log("the taken port", |l| l["msg"].as_str().is_some_and(|m| m.contains("can't bind")));
    assert_eq!((&line["level"], &line["port"]), (&"ERROR".into(), &taken.into()));
    drop(holder);
    wait_for(taken, Some(200));
    wait_until("the debug view to heal", PATIENCE, || {
        (gateway.debug("/debug/objects")["unboundPorts"] == json!({})).then_some(())
    });
    let logged = gateway.log().iter().filter(|l| l["msg"].as_str().is_some_and(|m| m.contains("can't bind"))).count();
    assert_eq!(logged, 1, "logged once for all tries");
}

#[test]
fn a_gateway_without_any_port_is_not_ready() {
    let provider = provider();
    let holder = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    let taken = holder.local_addr().unwrap().port();
    let gateway = Start::bare()
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&[http("taken", taken)]))
        .not_ready()
        .run();
    let line = gateway.wait_for_log("why", |l| l["msg"].as_str().is_some_and(|m| m.contains("no listener could be")));
    assert_eq!(line["level"], "ERROR");
    let ready = || Client::connect(gateway.admin).send(&request("GET", "/readyz", &[], b"")).reply();
    let reply = ready();
    assert!(reply.status == 503 && reply.text().contains("unboundPorts"), "{}", reply.text());
    assert_eq!(gateway.admin_status("/healthz"), Some(200), "a restart would not help");
    drop(holder);
    wait_until("readiness", PATIENCE, || (ready().status == 200).then_some(()));
    assert_eq!(status(taken), Some(200));
}

#[test]
fn only_one_of_two_gateways_on_a_port_is_served() {
    let provider = provider();
    let start = Start::bare();
    let (port, own) = (start.port(), free_port());
    let second =
        gateway_with(&[http("http", port), http("own", own)]).replace("\"name\":\"gw\"", "\"name\":\"second\"");
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("one.yaml", &gateway_with(&[http("http", port)]))
        .manifest("two.yaml", &second)
        .run();
    assert_eq!(status(port), Some(200));
    assert_eq!(status(own), Some(404), "the second's other port is served, without routes");
    let listeners = report(&gateway, "Gateway", "second")["listeners"].clone();
    let accepted = condition(&listeners[0]["conditions"], "Accepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&false.into(), &"PortUnavailable".into()));
    assert!(accepted["message"].as_str().unwrap().contains("default/gw"), "{accepted}");
    // When the first goes, the second takes over.
    gateway.remove("one.yaml");
    wait_for(port, Some(404));
}
