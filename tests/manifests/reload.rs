//! Changes of files, good and bad, while requests run.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{CHAT, Load, condition, report, wait_for_rejected, wait_for_status};
use crate::common::{KEY, PATIENCE, Start, Upstream, route, rule, s1, secret, wait_until};

fn provider() -> Upstream {
    Upstream::json(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#)
}

#[test]
fn twenty_reloads_lose_no_request() {
    let provider = provider();
    let gateway = Start::new().log("info").manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let load = Load::start(gateway.port, "/openai/v1/chat/completions");
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let path = format!("/more-{n}");
        let begun = Instant::now();
        gateway.write("more.yaml", &route("more", &serde_json::json!([rule(&path, "openai")])));
        wait_for_status(&gateway, &path, 200);
        slowest = slowest.max(begun.elapsed());
        // An edit takes the old path away; removing the file takes the last one.
        if n > 0 {
            assert_eq!(gateway.post(&format!("/more-{}", n - 1), CHAT).status, 404);
        }
        let begun = Instant::now();
        gateway.remove("more.yaml");
        wait_for_status(&gateway, &path, 404);
        slowest = slowest.max(begun.elapsed());
    }
    let served = load.finish();
    assert!(gateway.generation() >= 21);
    println!("{served} requests served; the slowest change was live after {slowest:?}");
}

#[test]
fn an_edit_in_place_and_a_new_directory_are_noticed() {
    let provider = provider();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    // As `kubectl edit` and editors that truncate do it.
    let text = fs::read_to_string(gateway.dir().join("a.yaml")).unwrap();
    fs::write(gateway.dir().join("a.yaml"), text.replace("\"/openai\"", "\"/edited\"")).unwrap();
    wait_for_status(&gateway, "/edited", 200);
    assert_eq!(gateway.post("/openai", CHAT).status, 404);
    let sub = gateway.dir().join("team/b");
    fs::create_dir_all(&sub).unwrap();
    fs::write(sub.join("more.yml"), route("more", &serde_json::json!([rule("/more", "openai")]))).unwrap();
    wait_for_status(&gateway, "/more", 200);
    fs::remove_dir_all(gateway.dir().join("team")).unwrap();
    wait_for_status(&gateway, "/more", 404);
}

#[test]
fn a_config_map_is_swapped_as_a_whole() {
    let provider = provider();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let dir = gateway.dir();
    // As the kubelet mounts a ConfigMap: links through `..data`, which is replaced by a rename.
    let publish = |version: &str, path: &str| {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("map.yaml"), route("map", &serde_json::json!([rule(path, "openai")])))
            .unwrap();
        symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    publish("..2026_01", "/one");
    symlink("..data/map.yaml", dir.join("map.yaml")).unwrap();
    wait_for_status(&gateway, "/one", 200);
    let load = Load::start(gateway.port, "/openai/v1/chat/completions");
    publish("..2026_02", "/two");
    wait_for_status(&gateway, "/two", 200);
    assert_eq!(gateway.post("/one", CHAT).status, 404);
    fs::remove_dir_all(dir.join("..2026_01")).unwrap();
    publish("..2026_03", "/three");
    wait_for_status(&gateway, "/three", 200);
    load.finish();
    assert_eq!(gateway.debug("/debug/objects")["rejected"].as_array().unwrap().len(), 0);
}

#[test]
fn a_syntax_error_keeps_the_last_good_objects_and_reports_its_line() {
    let provider = provider();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let good = fs::read_to_string(gateway.dir().join("a.yaml")).unwrap();
    gateway.write("a.yaml", "kind: Backend\nmetadata:\n  name: [half\n");
    let rejected = wait_for_rejected(&gateway, 1);
    let location = rejected[0]["location"].as_str().unwrap();
    let (file, line) = location.rsplit_once(':').unwrap();
    assert!(file.ends_with("/a.yaml") && (1..=4).contains(&line.parse().unwrap()), "{location}");
    assert!(rejected[0]["error"].as_str().unwrap().contains("what was last read from this file is still served"));
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    gateway.wait_for_log("the mistake", |l| l["msg"] == "document rejected" && l["location"] == location);
    assert!((gateway.metrics().sum("tollgate_config_rejected_objects", &[]) - 1.0).abs() < 0.5);
    // A good new file beside it is served.
    gateway.write("b.yaml", &route("more", &serde_json::json!([rule("/more", "openai")])));
    wait_for_status(&gateway, "/more", 200);
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    gateway.write("a.yaml", &good);
    wait_for_rejected(&gateway, 0);
    assert!(gateway.metrics().sum("tollgate_config_rejected_objects", &[]) < 0.5);
}

#[test]
fn mistakes_are_reported_with_file_and_line_and_affect_no_other_object() {
    let provider = provider();
    let a = s1("openai", "/openai", provider.port);
    let unknown = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: w\n";
    let again = route("openai", &serde_json::json!([rule("/again", "openai")]));
    let mistaken = "\n---\napiVersion: gateway.kgateway.dev/v1alpha1\nkind: Backend\nmetadata:\n  name: typo\nspec:\n  \
                    type: AI\n  ai:\n    llm: nonsense\n";
    let gateway = Start::new()
        .manifest("a.yaml", &a)
        .manifest("b.yaml", &format!("{unknown}---\n{again}"))
        .manifest("c.yaml", mistaken)
        .manifest("d.yaml", "just: text\n")
        .run();
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    assert_eq!(gateway.post("/again", CHAT).status, 404, "of two objects of one name the first is served");
    let rejected = wait_for_rejected(&gateway, 4);
    let told = |file: &str, part: &str| {
        let found = rejected.iter().find(|r| {
            let error = r["error"].as_str().unwrap();
            r["location"].as_str().unwrap().contains(file) && error.contains(part)
        });
        found.unwrap_or_else(|| panic!("{file} {part}: {rejected:?}")).clone()
    };
    told("/b.yaml:1", "unknown kind Widget");
    let twice = told("/b.yaml:7", "is there twice");
    assert_eq!((&twice["kind"], &twice["key"]["name"]), (&"HTTPRoute".into(), &"openai".into()));
    told("/c.yaml:10", "spec.ai.llm");
    told("/d.yaml:1", "apiVersion is missing");
    assert_eq!(rejected.len(), 4);
}

#[test]
fn a_secret_is_rotated_without_a_failed_request() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&keys);
    let provider = Upstream::new(move |exchange| {
        let key = exchange.request().header("authorization").unwrap_or_default();
        let mut seen = seen.lock().unwrap();
        if seen.last() != Some(&key) {
            seen.push(key);
        }
        drop(seen);
        exchange.reply(200, &[("content-type", "application/json")], b"{}");
    });
    let gateway = Start::new().log("info").manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let load = Load::start(gateway.port, "/openai/v1/chat/completions");
    let wait_for_key = |key: &str| {
        wait_until("the new key upstream", PATIENCE, || {
            let last = keys.lock().unwrap().last().cloned();
            (last? == format!("Bearer {key}")).then_some(())
        });
    };
    wait_for_key(KEY);
    let text = fs::read_to_string(gateway.dir().join("a.yaml")).unwrap();
    for n in 0..5 {
        let rotated = format!("{KEY}-{n}");
        gateway.write("a.yaml", &text.replace(KEY, &rotated));
        wait_for_key(&rotated);
    }
    load.finish();
    let known = |key: &String| key.strip_prefix("Bearer ").is_some_and(|k| k.starts_with(KEY));
    assert!(keys.lock().unwrap().iter().all(known), "only whole keys are ever sent");
}

#[test]
fn an_unset_variable_closes_the_backend_until_a_key_is_there() {
    let provider = provider();
    let entry = crate::common::llm("openai", "k", provider.port, &serde_json::json!({}));
    let gateway = Start::new()
        .manifest("a.yaml", &crate::common::s1_of("openai", "/openai", &entry))
        .manifest("k.yaml", &secret("k", "${TEAM_KEY}"))
        .env("TEAM_KEYS", KEY)
        .run();
    let reply = gateway.post("/openai", CHAT);
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains("TEAM_KEY"), "clients do not see the names of variables: {}", reply.text());
    assert_eq!(provider.received().len(), 0, "no request is sent without its key");
    let accepted = condition(&report(&gateway, "Backend", "openai")["conditions"], "Accepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&false.into(), &"SecretInvalid".into()));
    assert!(accepted["message"].as_str().unwrap().contains("environment variable TEAM_KEY is not set"), "{accepted}");
    gateway.wait_for_log("the variable", |l| {
        l["msg"] == "object has a problem"
            && l["detail"].as_str().unwrap().contains("environment variable TEAM_KEY is not set")
    });
    gateway.write("k.yaml", &secret("k", KEY));
    wait_for_status(&gateway, "/openai", 200);
    assert_eq!(provider.received().last().unwrap().header("authorization"), Some(format!("Bearer {KEY}")));
    gateway
        .wait_for_log("healed", |l| l["msg"] == "healed" && l["object"] == "default/openai" && l["kind"] == "Backend");
}

#[test]
fn a_variable_that_is_set_is_the_key() {
    let provider = provider();
    let entry = crate::common::llm("openai", "k", provider.port, &serde_json::json!({}));
    let gateway = Start::new()
        .manifest("a.yaml", &crate::common::s1_of("openai", "/openai", &entry))
        .manifest("k.yaml", &secret("k", "$TEAM_KEY"))
        .env("TEAM_KEY", KEY)
        .run();
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    assert_eq!(provider.only().header("authorization"), Some(format!("Bearer {KEY}")));
}

#[test]
fn a_directory_that_vanishes_briefly_changes_nothing() {
    let provider = provider();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
    let (dir, away) = (gateway.dir().to_owned(), gateway.dir().with_extension("away"));
    fs::rename(&dir, &away).unwrap();
    gateway.wait_for_log("the loss", |l| l["msg"].as_str().is_some_and(|m| m.contains("manifests can't be read")));
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    fs::rename(&away, &dir).unwrap();
    fs::write(Path::new(&dir).join("b.yaml"), route("more", &serde_json::json!([rule("/more", "openai")]))).unwrap();
    wait_for_status(&gateway, "/more", 200);
}
