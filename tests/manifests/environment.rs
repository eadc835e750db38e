//! The program without manifests: the providers whose variables are set.

use std::{net::TcpStream, process::Command};

use serde_json::json;

use crate::common::{DialectId, Gateway, KEY, PATIENCE, Start, assert_error, free_port, request, s1, wait_until};

/// What `tollgate init` prints with these variables.
fn init(variables: &[(&str, &str)], port: u16) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["init", "--listen-port", &port.to_string()]).env_clear().envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "simulator")]
#[test]
fn the_providers_whose_variables_are_set_are_one_endpoint_for_this_machine() {
    let start = Start::from_environment().arg("--simulate-providers");
    let gateway = start.env("OPENAI_API_KEY", KEY).env("ANTHROPIC_API_KEY", KEY).env("GOOGLE_API_KEY", KEY).run();
    let hi = json!([{"role": "user", "content": "hi"}]);
    for (model, provider) in [
        ("gpt-5.4-mini", "openai"),
        ("openai/gpt-5.4-mini", "openai"),
        ("claude-sonnet-4-6", "anthropic"),
        ("anthropic/claude-sonnet-4-6", "anthropic"),
        ("gemini-2.5-flash", "gemini"),
    ] {
        let mut body = json!({"model": model, "messages": hi});
        let reply = gateway.post("/v1/chat/completions", body.to_string());
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        body["max_tokens"] = json!(64);
        let reply = gateway.post("/v1/messages", body.to_string());
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let name = model.rsplit('/').next().unwrap();
        gateway.wait_for_log(model, |line| line["request_model"] == name && line["provider"] == provider);
    }
    let unknown = gateway.post("/v1/chat/completions", json!({"model": "mistral-large", "messages": hi}).to_string());
    assert_error(&unknown, DialectId::OpenAi, 404, "its variable is not set");
    let list = gateway.connect().send(&request("GET", "/v1/models", &[("authorization", "Bearer k")], b"")).reply();
    let owners =
        list.json()["data"].as_array().unwrap().iter().map(|model| model["owned_by"].clone()).collect::<Vec<_>>();
    assert!(owners.contains(&json!("openai")) && owners.contains(&json!("anthropic")), "{}", list.text());
    // Every address of the machine would have this one, too.
    assert!(TcpStream::connect(("127.0.0.2", gateway.port)).is_err());
}

#[cfg(feature = "simulator")]
#[test]
fn what_is_served_is_what_init_prints() {
    let variables = [("OPENAI_API_KEY", KEY), ("GROQ_API_KEY", KEY), ("GEMINI_API_KEY", KEY)];
    let with = |start: Start| variables.iter().fold(start, |start, (name, value)| start.env(name, value));
    let first = with(Start::from_environment().arg("--simulate-providers")).run();
    let text = init(&variables, first.port);
    assert!(!text.contains(KEY));
    let served = first.debug("/debug/snapshot");
    let targets = served.to_string();
    for name in ["openai", "groq", "gemini"] {
        assert!(targets.contains(&format!("\"name\":\"{name}\"")), "{name}: {served}");
    }
    let port = first.port;
    drop(first);
    let second = with(Start::bare().arg("--simulate-providers").manifest("gateway.yaml", &text));
    assert_eq!(second.flag("--listen-address", "127.0.0.1").on_port(port).run().debug("/debug/snapshot"), served);
}

#[test]
fn without_any_variable_init_prints_an_example() {
    let text = init(&[], free_port());
    for variable in ["$OPENAI_API_KEY", "$ANTHROPIC_API_KEY", "$GEMINI_API_KEY"] {
        assert!(text.contains(variable), "{variable}");
    }
}

#[test]
fn what_is_served_is_never_a_guess() {
    let refused = |start: Start, message: &str| {
        let gateway = start.not_ready().run();
        let ended = wait_until("the end", PATIENCE, || gateway.exited());
        assert!(!ended.success(), "{message}");
        wait_until(message, PATIENCE, || gateway.stderr().contains(message).then_some(()));
    };
    // A cluster that is named comes before the environment, unless a flag decides.
    let key = || Start::from_environment().env("OPENAI_API_KEY", KEY).env("HOME", "/nonexistent");
    refused(key().env("KUBECONFIG", "/nonexistent/config"), "/nonexistent/config");
    refused(key().flag("--source", "cluster"), "cluster");
    refused(Start::from_environment().flag("--source", "environment"), "no provider's variable is set");
    refused(Start::from_environment().env("HOME", "/nonexistent"), "no provider's variable such as OPENAI_API_KEY");
    refused(Start::new().flag("--source", "environment"), "cannot be used with");
    let gateway = key().env("KUBECONFIG", "/nonexistent/config").flag("--source", "environment").run();
    gateway.wait_for_log("what is served", |line| line["providers"] == "openai");
}

#[test]
fn a_gateway_that_spends_its_keys_for_everyone_is_reported() {
    let manifest = || s1("openai", "/x", 1);
    let is_open = |gateway: &Gateway| {
        let objects = gateway.debug("/debug/objects");
        let gateways = objects["objects"].as_array().unwrap().iter().filter(|object| object["kind"] == "Gateway");
        gateways.flat_map(|object| object["conditions"].as_array().unwrap()).any(|condition| {
            condition["type"] == "ClientsAuthenticated"
                && condition["status"] == false
                && condition["reason"] == "OpenToAll"
        })
    };
    let open = Start::new().manifest("x.yaml", &manifest()).run();
    assert!(is_open(&open));
    open.wait_for_log("the warning", |line| line["msg"] == "open to all clients" && line["level"] == "WARN");
    let local = Start::new().manifest("x.yaml", &manifest()).flag("--listen-address", "127.0.0.1").run();
    assert!(!is_open(&local));
    // A client's own key is its own business.
    let passing = manifest().replace("SecretRef", "Passthrough");
    assert!(!is_open(&Start::new().manifest("x.yaml", &passing).run()));
}
