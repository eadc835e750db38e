//! Hosts with certificates of the Backend's own authorities: `caCertificateRefs` and `sni`.

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, RESTED, Reply, Start, Upstream, llm, route, rule, s1_of, secret,
    tls::{Authority, tls_front},
    yaml,
};

const PATH: &str = "/openai/v1/chat/completions";
const CHAT: &str = r#"{"model":"m","messages":[]}"#;
/// The name in the server's certificate. It has no address.
const NAME: &str = "llm.test";

/// ConfigMap or Secret `default/ca` with this text at this key.
fn object(kind: &str, key: &str, text: &str) -> String {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    yaml(&json!({
        "apiVersion": "v1", "kind": kind, "metadata": {"name": "ca", "namespace": "default"}, field: {key: text},
    }))
}

fn config_map(pem: &str) -> String {
    object("ConfigMap", "ca.crt", pem)
}

fn openai(port: u16, tls: &Value) -> String {
    let mut entry = llm("openai", "key", port, &json!({}));
    entry["hostOverride"]["tls"] = tls.clone();
    secret("key", KEY) + &s1_of("openai", "/openai", &entry)
}

/// Backend `default/plain` of a fixed host with this TLS, and its route below `/plain`.
fn plain(port: u16, tls: &Value) -> String {
    let host = json!({"host": "127.0.0.1", "port": port, "tls": tls});
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"}, "spec": {"type": "Static", "static": {"hosts": [host]}},
    })) + &route("plain", &json!([rule("/plain", "plain")]))
}

/// A gateway whose provider and fixed host are at this port, with this TLS.
fn gateway(port: u16, tls: &Value, authority: &str) -> Gateway {
    let manifest = openai(port, tls) + &plain(port, tls);
    Start::new().manifest("a.yaml", &manifest).manifest("ca.yaml", authority).run()
}

/// Status and error code of a request to the provider, and of one to the fixed host.
fn ask(gateway: &Gateway) -> [(u16, String); 2] {
    let code = |reply: Reply| {
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply.status, json["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    [code(gateway.post(PATH, CHAT)), code(gateway.post("/plain/a", CHAT))]
}

#[track_caller]
fn is_served(gateway: &Gateway) {
    assert_eq!(ask(gateway), [(200, String::new()), (200, String::new())]);
}

#[track_caller]
fn is_refused(gateway: &Gateway, status: u16, code: &str) {
    assert_eq!(ask(gateway), [(status, code.to_owned()), (status, code.to_owned())]);
}

/// The conditions of this type of both Backends.
fn conditions(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let objects = gateway.debug("/debug/objects");
    let reports = objects["objects"].as_array().unwrap().iter().filter(|report| report["kind"] == "Backend");
    let all = reports.flat_map(|report| report["conditions"].as_array().unwrap());
    all.filter(|condition| condition["type"] == kind).cloned().collect()
}

#[test]
fn only_the_authorities_that_a_backend_names_are_trusted() {
    let (own, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::json("{}");
    let (port, names) = tls_front(&own, NAME, upstream.port);
    let tls = json!({"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}], "sni": NAME});
    is_served(&gateway(port, &tls, &config_map(&own.pem)));
    assert!(!names.lock().unwrap().is_empty() && names.lock().unwrap().iter().all(|name| name == NAME));
    is_served(&gateway(port, &tls, &config_map(&format!("# both\n{}\n{}", other.pem, own.pem))));
    let of_secret = json!({"caCertificateRefs": [{"kind": "Secret", "name": "ca"}], "sni": NAME});
    is_served(&gateway(port, &of_secret, &object("Secret", "ca.crt", &own.pem)));
    let before = upstream.received().len();
    is_refused(&gateway(port, &tls, &config_map(&other.pem)), 502, "upstream_tls");
    is_refused(&gateway(port, &json!({"sni": NAME}), ""), 502, "upstream_tls");
    assert_eq!(upstream.received().len(), before);
}

#[test]
fn the_certificate_must_have_the_name_of_sni() {
    let own = Authority::new();
    let upstream = Upstream::json("{}");
    let (port, _) = tls_front(&own, NAME, upstream.port);
    for sni in [Some("other.test"), Some("sub.llm.test"), None] {
        let mut tls = json!({"caCertificateRefs": [{"name": "ca"}]});
        if let Some(sni) = sni {
            tls["sni"] = json!(sni);
        }
        is_refused(&gateway(port, &tls, &config_map(&own.pem)), 502, "upstream_tls");
    }
    assert!(upstream.received().is_empty());
    // Without verification the name is only sent.
    let (port, names) = tls_front(&own, NAME, upstream.port);
    is_served(&gateway(port, &json!({"insecureSkipVerify": true, "sni": "other.test"}), ""));
    assert_eq!(names.lock().unwrap().first().map(String::as_str), Some("other.test"));
}

#[test]
fn a_new_authority_counts_at_once_and_for_connections_that_are_open() {
    let (own, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::json("{}");
    let (port, _) = tls_front(&own, NAME, upstream.port);
    let tls = json!({"caCertificateRefs": [{"name": "ca"}], "sni": NAME});
    let gateway = gateway(port, &tls, &config_map(&own.pem));
    is_served(&gateway);
    std::thread::sleep(RESTED);
    gateway.change(|| drop(gateway.write("ca.yaml", &config_map(&other.pem))));
    is_refused(&gateway, 502, "upstream_tls");
    gateway.change(|| drop(gateway.write("ca.yaml", &config_map(&(other.pem + &own.pem)))));
    is_served(&gateway);
    gateway.change(|| gateway.remove("ca.yaml"));
    is_refused(&gateway, 500, "misconfigured");
}

#[test]
fn without_a_usable_authority_nothing_is_sent() {
    let own = Authority::new();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), &own.pem).unwrap();
    let tls = json!({"caCertificateRefs": [{"name": "ca"}], "sni": NAME});
    let missing = [String::new(), object("ConfigMap", "tls.crt", &own.pem), config_map("no certificate")];
    for authority in missing {
        let upstream = Upstream::json("{}");
        let (port, names) = tls_front(&own, NAME, upstream.port);
        let manifest = openai(port, &tls) + &plain(port, &tls);
        let start = Start::new().manifest("a.yaml", &manifest).manifest("ca.yaml", &authority);
        // The system's roots would do.
        let gateway = start.env("SSL_CERT_FILE", roots.path().to_str().unwrap()).run();
        is_refused(&gateway, 500, "misconfigured");
        for (kind, count) in [("Accepted", 2), ("ResolvedRefs", 2)] {
            let conditions = conditions(&gateway, kind);
            assert_eq!(conditions.len(), count, "{conditions:?}");
            for condition in conditions {
                assert_eq!(
                    (&condition["status"], &condition["reason"]),
                    (&json!(false), &json!("InvalidCACertificateRef")),
                    "{condition}"
                );
            }
        }
        assert!(names.lock().unwrap().is_empty() && upstream.connections() == 0);
        gateway.change(|| drop(gateway.write("ca.yaml", &config_map(&own.pem))));
        is_served(&gateway);
    }
}
