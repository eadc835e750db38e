//! What operators see: health, debug views, metrics; and the commands beside `run`.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::json;

use super::CHAT;
use crate::common::{
    CLIENT_KEY, Client, KEY, PATIENCE, Start, Upstream, backend, llm, request, route, rule, s1, secret, wait_until,
    yaml,
};

#[test]
fn readiness_comes_with_the_first_snapshot_and_its_ports() {
    // Enough that reading takes a moment.
    let many: String = (0..500).map(|n| route(&format!("r{n}"), &json!([rule(&format!("/r{n}"), "openai")]))).collect();
    let provider = Upstream::json("{}");
    let gateway = Start::new()
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("many.yaml", &many)
        .not_ready()
        .run();
    wait_until("readiness", PATIENCE, || match gateway.admin_status("/readyz") {
        None => None,
        Some(200) => {
            // From the first moment on.
            assert_eq!(gateway.post("/openai", CHAT).status, 200);
            Some(())
        }
        Some(status) => {
            assert_eq!(status, 503);
            assert_eq!(gateway.admin_status("/healthz"), Some(200), "alive before it is ready");
            None
        }
    });
    assert!(gateway.generation() >= 1);
}

#[test]
fn a_missing_directory_ends_the_program_with_a_reason() {
    let gateway = Start::bare().arg("--manifests").arg("/nonexistent/manifests").not_ready().run();
    assert!(!gateway.wait_for_exit().success());
    assert!(gateway.stderr().contains("/nonexistent/manifests"), "{}", gateway.stderr());
}

#[test]
fn the_snapshot_shows_what_is_served_and_no_secret() {
    let inline = json!({"provider": {"anthropic": {"authToken": {"kind": "Inline", "inline": KEY}}}});
    let passed = json!({"provider": {"openai": {"authToken": {"kind": "Passthrough"}}}});
    let mut matching = rule("/d", "inline");
    matching["matches"][0]["headers"] = json!([
        {"name": "authorization", "value": format!("Bearer {CLIENT_KEY}")},
        {"name": "x-key", "type": "RegularExpression", "value": format!("{CLIENT_KEY}|other")},
    ]);
    matching["matches"][0]["queryParams"] = json!([{"name": "key", "value": CLIENT_KEY}]);
    let gateway = Start::new()
        .manifest("a.yaml", &s1("openai", "/openai", 9))
        .manifest("d.yaml", &route("d", &json!([matching])))
        .manifest("b.yaml", &(backend("inline", &json!({"llm": inline})) + &route("b", &json!([rule("/b", "inline")]))))
        .manifest("c.yaml", &(backend("passed", &json!({"llm": passed})) + &route("c", &json!([rule("/c", "passed")]))))
        .manifest("unused.yaml", &secret("unused", KEY))
        .run();
    // That no secret is in any view is what the harness checks whenever a gateway ends.
    let snapshot = gateway.debug("/debug/snapshot");
    let listener = &snapshot["ports"][0]["listeners"][0];
    assert_eq!((&snapshot["ports"][0]["port"], &listener["gateway"]), (&gateway.port.into(), &"default/gw".into()));
    let text = listener.to_string();
    for part in [
        r#""credential":{"from":"gateway","header":"authorization"}"#,
        r#""credential":{"from":"gateway","header":"x-api-key"}"#,
        r#""credential":{"from":"client","header":"authorization"}"#,
        r#""origin":"http://127.0.0.1:9""#,
        r#""origin":"https://api.anthropic.com:443""#,
        r#""route":"default/c""#,
        "header authorization=*** header x-key~*** query key=***",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The names in the tables of `docs/metrics.md`.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    // Those that only a cluster, or a cloud's credential, gives values to.
    let elsewhere = |name: &str| {
        let families = [
            "tollgate_watch_",
            "tollgate_credential_",
            "tollgate_leader",
            "tollgate_status_writes_",
            "tollgate_another_",
        ];
        families.iter().any(|family| name.starts_with(family))
    };
    let of_files = rows.filter(|(name, _)| !elsewhere(name));
    of_files.map(|(name, _)| name.to_owned()).collect()
}

/// Backends that fail over, hedge and have limits, and a guard: what gives values to the metrics of each.
fn for_metrics(port: u16) -> String {
    let entry = |name: &str, port: u16| {
        let mut entry = llm("openai", "openai", port, &json!({}));
        entry["name"] = name.into();
        entry
    };
    let groups = json!({"priorityGroups": [
        {"providers": [entry("first", Upstream::refusing())]}, {"providers": [entry("second", port)]}]});
    let two = backend("two", &groups) + &route("two", &json!([rule("/two", "two")]));
    let both = json!({"hedge": {"delay": "0s"}, "priorityGroups": [
        {"providers": [entry("one", port), entry("other", port)]}]});
    let hedged = backend("hedged", &both) + &route("hedged", &json!([rule("/hedged", "hedged")]));
    let limited = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "limited", "namespace": "default"},
        "spec": {
            "type": "AI", "ai": {"llm": llm("openai", "openai", port, &json!({}))},
            "circuitBreakers": {"maxRequests": 1, "maxPendingRequests": 1},
        },
    })) + &route("limited", &json!([rule("/limited", "limited")]));
    let guard = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "guard", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "two"}],
            "ai": {"promptGuard": {"request": {"regex": {"builtins": ["EMAIL"]}}}},
        },
    }));
    [two, hedged, limited, guard].concat()
}

#[test]
fn after_traffic_metrics_are_those_of_the_document() {
    let (arrived, asked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let provider = Upstream::new(move |exchange| {
        let path = exchange.request().path().to_owned();
        if exchange.request().text().contains("hold this") {
            arrived.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        if path.ends_with("/rerank") {
            let reply = br#"{"results":[],"meta":{"billed_units":{"search_units":2}}}"#;
            exchange.reply(200, &[("content-type", "application/json")], reply);
            return;
        }
        if !exchange.request().text().contains("\"stream\":true") {
            exchange.reply(
                200,
                &[("content-type", "application/json")],
                br#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            );
            return;
        }
        exchange.stream("text/event-stream");
        for word in ["one", "two", "three"] {
            exchange.chunk(format!(
                "data: {{\"model\":\"m-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
            ));
        }
        exchange.chunk(
            "data: {\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n",
        );
        exchange.chunk("data: [DONE]\n\n").end();
    });
    let gateway = Start::new()
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("b.yaml", &for_metrics(provider.port))
        .manifest("wrong.yaml", "kind: Nonsense\n")
        .flag("--max-connections", "3")
        .run();
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    assert_eq!(gateway.post("/openai", r#"{"model":"m","messages":[],"stream":true}"#).status, 200);
    assert_eq!(gateway.post("/nowhere", CHAT).status, 404);
    assert_eq!(gateway.post("/two", r#"{"model":"n","messages":[]}"#).status, 200);
    let masked = r#"{"model":"n","messages":[{"role":"user","content":"to jane@example.com"}]}"#;
    assert_eq!(gateway.post("/two", masked).status, 200);
    let hold =
        |path: &str| request("POST", path, &[], br#"{"model":"l","messages":[{"role":"user","content":"hold this"}]}"#);
    let mut hedged = gateway.connect();
    hedged.send(&hold("/hedged"));
    for _ in 0..2 {
        asked.recv().unwrap();
    }
    for _ in 0..2 {
        release.send(()).unwrap();
    }
    assert_eq!(hedged.reply().status, 200);
    drop(hedged);
    // One request has the place, one waits for it, and one is too many.
    let mut first = gateway.connect();
    first.send(&hold("/limited"));
    asked.recv().unwrap();
    let mut second = gateway.connect();
    second.send(&hold("/limited"));
    wait_until("a request in the queue", PATIENCE, || {
        (gateway.metrics().sum("tollgate_backend_queue_length", &[]) > 0.5).then_some(())
    });
    assert_eq!(gateway.post("/limited", r#"{"model":"l","messages":[]}"#).status, 503);
    release.send(()).unwrap();
    assert_eq!(first.reply().status, 200);
    asked.recv().unwrap();
    release.send(()).unwrap();
    assert_eq!(second.reply().status, 200);
    drop((first, second));
    let ranked = r#"{"model":"r","query":"q","documents":["d"]}"#;
    assert_eq!(gateway.post("/openai/v1/rerank", ranked).status, 200);
    // One connection too many.
    wait_until("a refused connection", PATIENCE, || {
        // Those of before may not be gone yet, so that these may be refused themselves.
        let _held = [gateway.connect(), gateway.connect(), gateway.connect()];
        let mut client = Client::try_connect(gateway.port)?;
        // If it is served after all, it is none of the requests that are counted below.
        client.send(&request("GET", "/openai", &[], b"")).try_reply().is_none().then_some(())
    });
    let admin = |path: &str| Client::connect(gateway.admin).send(&request("GET", path, &[], b"")).reply().text();
    let names = || -> BTreeSet<String> {
        let text = admin("/metrics");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    // A request is counted when its reply has ended, which may be a moment after it arrived.
    wait_until("all metrics", PATIENCE, || documented().is_subset(&names()).then_some(()));
    assert_eq!(names(), documented());
    let samples = gateway.metrics();
    let labels = [("llm", "openai"), ("model", "m")];
    assert!((samples.sum("ai_prompt_tokens_total", &labels) - 8.0).abs() < 0.5);
    assert_eq!(samples.get("ai_completion_tokens_total", &labels), Some(7.0));
    assert!((samples.sum("gen_ai_server_time_to_first_token_count", &[]) - 1.0).abs() < 0.5);
    assert_eq!(samples.get("tollgate_requests_total", &[("status", "404"), ("error", "no_route")]), Some(1.0));
}

fn tollgate(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn committed_definitions_are_checked() {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let (code, _, errors) = tollgate(&["crds", "--check", crds.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(tollgate(&["crds", "--check", path]).0, Some(1));
    assert_eq!(tollgate(&["crds", "--write", path]).0, Some(0));
    assert_eq!(tollgate(&["crds", "--check", path]).0, Some(0));
    let some = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    fs::write(&some, "changed").unwrap();
    let (code, _, errors) = tollgate(&["crds", "--check", path]);
    assert_eq!(code, Some(1));
    assert!(errors.contains(some.file_name().unwrap().to_str().unwrap()) && errors.contains("--write"), "{errors}");
    let (code, printed, _) = tollgate(&["crds"]);
    assert_eq!((code, printed.matches("kind: CustomResourceDefinition").count()), (Some(0), 3));
}

#[test]
fn the_program_prints_its_version_and_help() {
    let (code, version, _) = tollgate(&["--version"]);
    assert_eq!((code, version.trim()), (Some(0), concat!("tollgate ", env!("CARGO_PKG_VERSION"))));
    let (code, help, _) = tollgate(&["run", "--help"]);
    assert_eq!(code, Some(0));
    for part in ["--manifests", "--simulate-providers", "--admin-listen", "TOLLGATE_MANIFESTS", "0.0.0.0:9092"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert_ne!(tollgate(&["run", "--no-such-flag"]).0, Some(0));
}

#[test]
fn a_provider_entry_without_its_secret_is_logged_once() {
    let entry = llm("openai", "none", 9, &json!({}));
    let gateway = Start::new().manifest("a.yaml", &crate::common::s1_of("openai", "/openai", &entry)).run();
    let is_problem = |line: &serde_json::Value| line["msg"] == "object has a problem" && line["kind"] == "Backend";
    let line = gateway.wait_for_log("the problem", is_problem);
    assert_eq!((&line["object"], &line["reason"]), (&"default/openai".into(), &"SecretNotFound".into()));
    // Another change does not log it again.
    gateway.change(|| {
        gateway.write("b.yaml", &secret("other", KEY));
    });
    wait_until("the change in the log", PATIENCE, || {
        let published = |l: &&serde_json::Value| l["msg"] == "configuration published";
        (gateway.log().iter().filter(published).count() >= 2).then_some(())
    });
    assert_eq!(gateway.log().iter().filter(|l| is_problem(l)).count(), 1);
}

#[test]
fn series_of_deleted_objects_end() {
    let provider = Upstream::json(r#"{"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#);
    let gateway = Start::new()
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("b.yaml", &route("other", &json!([rule("/other", "openai")])))
        .run();
    for path in ["/openai", "/other"] {
        assert_eq!(gateway.post(path, CHAT).status, 200);
    }
    let series = |route: &str| {
        let text = Client::connect(gateway.admin).send(&request("GET", "/metrics", &[], b"")).reply().text();
        text.lines().filter(|line| line.contains(&format!("route=\"default/{route}\""))).count()
    };
    assert!(series("other") > 0 && series("openai") > 0);
    gateway.change(|| gateway.remove("b.yaml"));
    wait_until("the end of its series", PATIENCE, || (series("other") == 0).then_some(()));
    assert!(series("openai") > 0);
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    // One that is made again begins anew.
    gateway.change(|| drop(gateway.write("b.yaml", &route("other", &json!([rule("/other", "openai")])))));
    assert_eq!(gateway.post("/other", CHAT).status, 200);
    let counted = || gateway.metrics().get("tollgate_requests_total", &[("route", "default/other")]);
    wait_until("its count", PATIENCE, || (counted() == Some(1.0)).then_some(()));
}

#[test]
fn without_a_cluster_there_is_no_leader() {
    let gateway = Start::new().run();
    let text = Client::connect(gateway.admin).send(&request("GET", "/metrics", &[], b"")).reply().text();
    assert!(!text.contains("tollgate_leader") && !text.contains("tollgate_status_writes_total"), "{text}");
}
