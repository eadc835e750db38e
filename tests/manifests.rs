//! Manifests while the program runs: what a change does, what a mistake costs, and what operators see of it.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters count in whole numbers")]

mod common;

#[path = "manifests/environment.rs"]
mod environment;
#[path = "manifests/failures.rs"]
mod failures;
#[path = "manifests/listeners.rs"]
mod listeners;
#[path = "manifests/live.rs"]
mod live;
#[path = "manifests/reload.rs"]
mod reload;
#[path = "manifests/tls.rs"]
mod tls;
#[path = "manifests/views.rs"]
mod views;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use common::{Client, Gateway, PATIENCE, request, wait_until};
use serde_json::{Value, json};

/// A chat request that any made-up provider answers.
const CHAT: &str = r#"{"model":"m","messages":[]}"#;

/// Clients that ask again and again, each on a connection of its own that stays open.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    /// Four clients that post chat requests to `path` on `port`, and want 200.
    fn start(port: u16, path: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let message = request("POST", path, &[("content-type", "application/json")], CHAT.as_bytes());
        let client = || {
            let (stop, message) = (Arc::clone(&stop), message.clone());
            thread::spawn(move || {
                let (mut served, mut failed) = (0, Vec::new());
                let mut client = Client::connect(port);
                while !stop.load(Ordering::Relaxed) {
                    match client.send(&message).try_reply() {
                        Some(reply) if reply.status == 200 && reply.complete => served += 1,
                        Some(reply) => failed.push(format!("{} {}", reply.status, reply.text())),
                        None => {
                            failed.push("no reply".to_owned());
                            client = Client::connect(port);
                        }
                    }
                }
                (served, failed)
            })
        };
        let clients = (0..4).map(|_| client()).collect();
        Self { stop, clients }
    }

    /// Stops the clients. How many requests were served; fails if any was not.
    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let outcomes: Vec<_> = self.clients.into_iter().map(|client| client.join().unwrap()).collect();
        let failed: Vec<&String> = outcomes.iter().flat_map(|(_, failed)| failed).collect();
        let served: usize = outcomes.iter().map(|(served, _)| served).sum();
        assert!(
            failed.is_empty(),
            "{} of {} requests failed: {:?}",
            failed.len(),
            served + failed.len(),
            failed.first()
        );
        assert!(outcomes.iter().all(|(served, _)| *served > 0), "a client was never served: {served} in all");
        served
    }
}

/// Waits until a chat request to `path` is answered with `status`.
fn wait_for_status(gateway: &Gateway, path: &str, status: u16) {
    wait_until(&format!("{status} at {path}"), PATIENCE, || (gateway.post(path, CHAT).status == status).then_some(()));
}

/// The rejected documents of `/debug/objects` as soon as there are `count`.
fn wait_for_rejected(gateway: &Gateway, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} rejected documents"), PATIENCE, || {
        let rejected = gateway.debug("/debug/objects")["rejected"].as_array().unwrap().clone();
        (rejected.len() == count).then_some(rejected)
    })
}

/// The report on `default/NAME` in `/debug/objects`.
fn report(gateway: &Gateway, kind: &str, name: &str) -> Value {
    let objects = gateway.debug("/debug/objects")["objects"].as_array().unwrap().clone();
    let found = objects.into_iter().find(|o| o["kind"] == kind && o["namespace"] == "default" && o["name"] == name);
    found.unwrap_or_else(|| panic!("no report on {kind} {name}"))
}

/// The condition of this type among `conditions`.
fn condition(conditions: &Value, kind: &str) -> Value {
    let all = conditions.as_array().unwrap_or_else(|| panic!("no conditions: {conditions}"));
    all.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {conditions}")).clone()
}

/// Gateway `default/gw` with these listeners, each open to every namespace.
fn gateway_with(listeners: &[Value]) -> String {
    let open = |listener: &Value| {
        let mut listener = listener.clone();
        listener["allowedRoutes"] = json!({"namespaces": {"from": "All"}});
        listener
    };
    common::yaml(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"gatewayClassName": "tollgate", "listeners": listeners.iter().map(open).collect::<Vec<_>>()},
    }))
}

/// An HTTP listener.
fn http(name: &str, port: u16) -> Value {
    json!({"name": name, "protocol": "HTTP", "port": port})
}
