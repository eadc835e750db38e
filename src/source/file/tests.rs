//! The file source on real directories.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::{assemble::Loader, *};
use crate::{
    api::{Kind, ObjectKey},
    compile::Rejected,
};

mod live;
mod reload;

/// Far longer than any step takes; only a failing test waits this long.
const LONG: Duration = Duration::from_secs(30);

fn gateway(name: &str, class: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: {name}\nspec:\n  \
         gatewayClassName: {class}\n  listeners:\n  - name: http\n    port: 80\n    protocol: HTTP\n"
    )
}

fn secret(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  Authorization: {value}\n")
}

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        write(&dir, name, text);
    }
    dir
}

fn write(dir: &TempDir, name: &str, text: &str) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn env(name: &str) -> Option<String> {
    (name == "KEY").then(|| "sk-1".to_owned())
}

fn read(dir: &TempDir) -> Objects {
    load(&[dir.path().to_owned()], &env, LoadOptions::default()).unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn gateways(objects: &Objects) -> Vec<String> {
    objects.gateways.iter().map(|(key, g)| format!("{key}={}", g.spec.gateway_class_name)).collect()
}

/// The only rejected document of the only file `a.yaml`: its line, kind, key and error.
#[track_caller]
fn check_rejected(text: &str, line: usize, kind: Option<Kind>, key: Option<&ObjectKey>, error: &str) -> Rejected {
    let dir = dir(&[("a.yaml", text)]);
    let mut rejected = read(&dir).rejected;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    let got = rejected.remove(0);
    assert_eq!(got.location, format!("{}:{line}", dir.path().join("a.yaml").display()), "{got:?}");
    assert_eq!((got.kind, got.key.as_ref()), (kind, key), "{got:?}");
    assert!(got.error.contains(error), "{got:?}");
    got
}

#[test]
fn reads_files_in_order_and_skips_what_is_hidden() {
    let dir = dir(&[
        ("b.yml", &gateway("b", "two")),
        ("a.yaml", &format!("# head\n---\n{}---\n---\n{}", gateway("a", "one"), gateway("a2", "one"))),
        (
            "sub/c.json",
            r#"{"apiVersion":"gateway.networking.k8s.io/v1beta1","kind":"Gateway","metadata":{"name":"c",
            "namespace":"x"},"spec":{"gatewayClassName":"three","listeners":[]}}"#,
        ),
        (".hidden/d.yaml", &gateway("d", "no")),
        ("notes.txt", "not yaml: ["),
        ("bom.yaml", &format!("\u{feff}{}", gateway("bom", "one").replace('\n', "\r\n"))),
        ("empty.yaml", ""),
    ]);
    let objects = read(&dir);
    assert_eq!(
        gateways(&objects),
        ["default/a=one", "default/a2=one", "default/b=two", "default/bom=one", "x/c=three"]
    );
    assert_eq!(objects.rejected, []);
    let metadata = &objects.gateways[&key("a")].metadata;
    assert_eq!((metadata.namespace.as_deref(), metadata.generation), (Some("default"), None));
    assert_eq!(objects.gateways[&key("bom")].spec.listeners[0].port, 80);
    let names: Vec<_> = objects.namespaces.keys().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["default", "x"]);
}

#[test]
fn reads_config_map_mounts_and_single_files() {
    let dir = dir(&[("..2025/a.yaml", &gateway("a", "one"))]);
    symlink("..2025", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    // A circle of links ends.
    symlink(".", dir.path().join("loop")).unwrap();
    assert_eq!(gateways(&read(&dir)), ["default/a=one"]);
    let file = dir.path().join("a.yaml");
    let twice = load(&[file.clone(), dir.path().to_owned()], &env, LoadOptions::default()).unwrap();
    assert_eq!((gateways(&twice), twice.rejected.len()), (vec!["default/a=one".to_owned()], 0));
    let missing = dir.path().join("nowhere");
    let error = load(&[file, missing.clone()], &env, LoadOptions::default()).err().unwrap().to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
}

#[test]
fn reads_lists() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: team}\n\
                - apiVersion: v1\n  kind: Service\n  metadata: {name: s, namespace: team}\n  \
                spec:\n    ports:\n    - port: '80'\n\
                - apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: c}\n";
    let dir = dir(&[("a.yaml", list)]);
    let objects = read(&dir);
    let namespace = &objects.namespaces[&ObjectKey::cluster("team")];
    assert_eq!(namespace.metadata.labels.as_ref().unwrap()["kubernetes.io/metadata.name"], "team");
    assert!(objects.services.is_empty());
    let [rejected] = objects.rejected.as_slice() else { panic!("{:?}", objects.rejected) };
    assert!(rejected.location.ends_with("a.yaml:12"), "{rejected:?}");
    assert!(rejected.error.starts_with("items[1].spec.ports[0].port: invalid type: string, expected"), "{rejected:?}");
    assert_eq!(rejected.key, Some(ObjectKey::new("team", "s")));
}

#[test]
fn broken_documents_affect_only_themselves() {
    let text = format!("{}---\nkind: [\n---\n{}", gateway("a", "one"), gateway("b", "two"));
    let dir = dir(&[("a.yaml", &text)]);
    let objects = read(&dir);
    assert_eq!(gateways(&objects), ["default/a=one", "default/b=two"]);
    assert_eq!(objects.rejected.len(), 1);
    assert!(["11", "12", "13"].iter().any(|l| objects.rejected[0].location.ends_with(&format!("a.yaml:{l}"))));
}

#[test]
fn rejected_documents_have_location_and_error() {
    let a = &key("a");
    let a = Some(a);
    let g = Some(Kind::Gateway);
    let good = gateway("a", "one");
    check_rejected(&good.replace("80", "eighty"), 9, g, a, "spec.listeners[0].port: invalid type: string");
    check_rejected(&format!("# c\n---\n{}", good.replace("port: 80", "prt: 80")), 10, g, a, "missing field `port`");
    check_rejected(&good.replace("name: a", "name: A_b"), 1, g, None, "not a DNS name");
    check_rejected(&good.replace("name: a", "nam: a"), 1, g, None, "metadata.name is missing");
    check_rejected(&good.replace("name: a", "name: a\n  namespace: a.b"), 1, g, None, "not a DNS label");
    check_rejected(&good.replace("kind: Gateway", "kin: Gateway"), 1, None, None, "kind is missing");
    check_rejected(&good.replace("/v1", "/v7"), 1, g, a, "write gateway.networking.k8s.io/v1");
    check_rejected("- a\n", 1, None, None, "apiVersion, kind and metadata");
    check_rejected(&good.replace("kind: Gateway", "kind: Gatway"), 1, None, a, "unknown kind Gatway of");
    let unknown = check_rejected("\napiVersion: example.com/v1\nkind: X\nmetadata: {name: a}\n", 2, None, a, "ignored");
    for row in ["HTTPRoute (gateway.networking.k8s.io/v1)", "Secret (v1)", "EndpointSlice (discovery.k8s.io/v1)"] {
        assert!(unknown.error.contains(row), "{unknown:?}");
    }
    // A document that does not parse still has its name.
    check_rejected(&good.replace("port: 80", "port: [80"), 10, g, a, "");
}

#[test]
fn binary_files_are_reported() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.yaml"), b"a: 1\nb: \xff\n").unwrap();
    fs::File::create(dir.path().join("b.yaml")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    symlink("nowhere.yaml", dir.path().join("c.yaml")).unwrap();
    let rejected = read(&dir).rejected;
    let check = |i: usize, place: &str, error: &str| {
        assert!(rejected[i].location.ends_with(place) && rejected[i].error.contains(error), "{:?}", rejected[i]);
    };
    check(0, "a.yaml:2", "not UTF-8");
    check(1, "b.yaml:1", "larger than 16 MiB");
    check(2, "c.yaml:1", "can't be read");
}

#[test]
fn too_many_documents_are_reported() {
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}", "- 1\n".repeat(MAX_DOCUMENTS + 5));
    let dir = dir(&[("a.yaml", &list), ("b.yaml", &gateway("b", "no"))]);
    let objects = read(&dir);
    assert_eq!((objects.gateways.len(), objects.rejected.len()), (0, MAX_DOCUMENTS + 1));
    assert!(objects.rejected.last().unwrap().error.contains("more than 100000"));
}

#[test]
fn the_first_of_one_name_serves() {
    let dir = dir(&[("a.yaml", &gateway("a", "one")), ("b.yaml", &format!("\n{}", gateway("a", "two")))]);
    let objects = read(&dir);
    assert_eq!(gateways(&objects), ["default/a=one"]);
    let rejected = &objects.rejected[0];
    assert!(rejected.location.ends_with("b.yaml:2"), "{rejected:?}");
    let first = format!("{}:1", dir.path().join("a.yaml").display());
    assert!(rejected.error.contains(&first), "{rejected:?}");
    assert_eq!((rejected.kind, rejected.key.clone()), (Some(Kind::Gateway), Some(key("a"))));
}

#[test]
fn only_secrets_are_expanded() {
    let dir = dir(&[
        ("a.yaml", &secret("good", "Bearer $KEY")),
        ("b.yaml", &secret("unset", "${NO}")),
        ("c.yaml", &gateway("g", "$KEY")),
    ]);
    let objects = read(&dir);
    assert_eq!(objects.secrets[&key("good")].get("Authorization"), Some(Ok(b"Bearer sk-1".as_slice())));
    assert_eq!(objects.secrets[&key("unset")].get("Authorization"), Some(Err("environment variable NO is not set")));
    assert_eq!(gateways(&objects), ["default/g=$KEY"]);
    let options = LoadOptions { placeholder_for_unset: Some("simulated".to_owned()) };
    let objects = load(&[dir.path().to_owned()], &env, options).unwrap();
    assert_eq!(objects.secrets[&key("unset")].get("Authorization"), Some(Ok(b"simulated".as_slice())));
}

#[test]
fn errors_never_show_secrets() {
    for value in
        ["12345678", "[12345678", "{12345678: }", "\"12345678", "*12345678", "!12345678", "%12345678", "1e12345678"]
    {
        let text = secret("s", value);
        let dir = dir(&[("a.yaml", &text)]);
        for rejected in read(&dir).rejected {
            assert!(!rejected.error.contains("12345678"), "{value}: {rejected:?}");
            assert_eq!(rejected.key, Some(key("s")), "{value}: {rejected:?}");
        }
    }
    let typed = gateway("a", "one").replace("port: 80", "port: sk-12345678");
    let rejected = check_rejected(&typed, 9, Some(Kind::Gateway), Some(&key("a")), "spec.listeners[0].port");
    assert!(!rejected.error.contains("12345678"), "{rejected:?}");
}

#[test]
fn unknown_fields_are_errors_with_their_line_and_the_nearest_name() {
    let meta = "metadata:\n  name: a\nspec:\n";
    let ours =
        |kind: &str, spec: &str| format!("apiVersion: gateway.kgateway.dev/v1alpha1\nkind: {kind}\n{meta}{spec}");
    let api = |kind: &str, spec: &str| format!("apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n{meta}{spec}");
    for (kind, text, line, error) in [
        (
            Kind::Backend,
            ours("Backend", "  type: AI\n  ai:\n    llm:\n      hostOveride:\n        host: h\n        port: 1\n"),
            9,
            "spec.ai.llm.hostOveride: unknown field; did you mean `hostOverride`?",
        ),
        (Kind::GatewayParameters, ours("GatewayParameters", "  kub: {}\n"), 6, "did you mean `kube`?"),
        (
            Kind::Gateway,
            api("Gateway", "  gatewayClassName: c\n  listener: []\n  listeners: []\n"),
            7,
            "did you mean `listeners`?",
        ),
        (Kind::HttpRoute, api("HTTPRoute", "  rules:\n  - backendRef: []\n"), 7, "did you mean `backendRefs`?"),
        (
            Kind::GatewayClass,
            api("GatewayClass", "  controllerName: x\n  parameterRef: {}\n"),
            7,
            "did you mean `parametersRef`?",
        ),
        (
            Kind::ReferenceGrant,
            api("ReferenceGrant", "  from: []\n  to:\n  - {group: '', kind: Service, nam: x}\n"),
            8,
            "did you mean `name`?",
        ),
    ] {
        let cluster = kind == Kind::GatewayClass;
        let key = if cluster { ObjectKey::cluster("a") } else { key("a") };
        check_rejected(&text, line, Some(kind), Some(&key), error);
    }
}

#[test]
fn a_policy_with_an_unknown_field_is_an_error_and_closes_its_rules() {
    let policy = |field: &str| {
        format!(
            "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: TrafficPolicy\nmetadata:\n  name: a\nspec:\n  \
             targetRefs:\n  - {{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}}\n  {field}\n"
        )
    };
    let error = "spec.ratelimit: unknown field; did you mean `rateLimit`?";
    check_rejected(&policy("ratelimit: {}"), 8, Some(Kind::TrafficPolicy), Some(&key("a")), error);
    let dir = dir(&[("a.yaml", &policy("ratelimit: {}"))]);
    let mut loader = Loader::new(vec![dir.path().to_owned()], LoadOptions::default());
    let mut load = |text: &str| {
        write(&dir, "a.yaml", text);
        loader.load(&env).unwrap();
        loader.objects()
    };
    let objects = load(&policy("ratelimit: {}"));
    assert_eq!(objects.unread(Kind::TrafficPolicy, &key("a"))[0].to_string(), error);
    assert_eq!(objects.traffic_policies[&key("a")].spec.target_refs.len(), 1);
    // Another mistake takes the place of the first; a good version ends both, and stays when a mistake comes again.
    let objects = load(&policy("basicAuth: {}"));
    assert_eq!(objects.unread(Kind::TrafficPolicy, &key("a"))[0].to_string(), "spec.basicAuth: unknown field");
    let objects = load(&policy("rateLimit: {}"));
    assert_eq!((objects.rejected.len(), objects.unread.len()), (0, 0));
    let objects = load(&policy("ratelimit: {}"));
    assert_eq!((objects.rejected.len(), objects.unread.len()), (1, 0));
    assert!(objects.traffic_policies[&key("a")].spec.rate_limit.is_some());
    assert!(objects.rejected[0].error.ends_with("its last good version is still served"), "{:?}", objects.rejected);
}

#[test]
fn the_examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for folder in ["client-keys", "cloud-llm-providers", "one-endpoint", "openai-compatible"] {
        let objects = super::load(&[examples.join(folder)], &|_| Some("key".into()), LoadOptions::default()).unwrap();
        assert_eq!((objects.rejected.len(), objects.unread.len()), (0, 0), "{folder}: {:?}", objects.rejected);
        for (key, backend) in &objects.backends {
            let shape = crate::compile::shape::shape(&backend.spec);
            assert!(shape.is_ok(), "{folder}: {key}: {:?}", shape.err());
        }
    }
}
