//! The custom resource definitions: committed as generated, fit for an API server, and right about every manifest in
//! `crds/accepted` and `crds/refused`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "crds/admission.rs"]
mod admission;
#[path = "crds/structural.rs"]
mod structural;

use std::{collections::BTreeMap, fs, path::Path};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate::{
    api::{self, backend::Backend, gateway_parameters::GatewayParameters, traffic_policy::TrafficPolicy},
    compile::shape::{ShapeProblem, shape},
};

/// Every file of a directory by name.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_committed_files_are_the_generated_ones() {
    let fresh = tempfile::tempdir().unwrap();
    api::write_crds(fresh.path()).unwrap();
    let (fresh, committed) = (files(fresh.path()), files(&root("crds")));
    for (name, text) in &fresh {
        let same = committed.get(name).is_some_and(|committed| committed == text);
        assert!(same, "crds/{name} is not what src/api generates: run `cargo run -- crds --write crds`");
    }
    let (fresh, committed): (Vec<_>, Vec<_>) = (fresh.keys().collect(), committed.keys().collect());
    assert_eq!(fresh, committed, "crds/ holds other files than are generated");
}

#[test]
fn the_yaml_equals_the_types() {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&api::crds_yaml().unwrap()).unwrap();
    let expected: Vec<Value> = api::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    assert_eq!(documents.len(), 3);
    for (document, expected) in documents.iter().zip(&expected) {
        // Bounds are floats in one and whole in the other.
        assert_eq!(as_floats(document), as_floats(expected), "{}", expected["metadata"]["name"]);
    }
}

fn as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().unwrap().into(),
        Value::Array(items) => items.iter().map(as_floats).collect(),
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), as_floats(v))).collect(),
        other => other.clone(),
    }
}

#[test]
fn names_and_columns() {
    fn check(index: usize, kind: &str, short: &str, columns: &[&str]) {
        let crd = &api::crds()[index];
        assert_eq!(crd.spec.names.kind, kind);
        assert_eq!(crd.spec.group, api::GROUP);
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(crd.spec.names.short_names.as_deref().unwrap(), [short]);
        assert_eq!(crd.spec.names.categories.as_deref().unwrap(), ["kgateway"]);
        let [version] = crd.spec.versions.as_slice() else { panic!("one version") };
        assert_eq!(version.name, api::VERSION);
        assert!(version.subresources.as_ref().unwrap().status.is_some(), "{kind} has a status of its own");
        let names: Vec<_> =
            version.additional_printer_columns.as_ref().unwrap().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, columns);
    }
    check(0, "Backend", "be", &["Type", "Providers", "Healthy", "Accepted", "Age"]);
    check(1, "TrafficPolicy", "tp", &["Accepted", "Attached", "Age"]);
    check(2, "GatewayParameters", "gwp", &["Service", "Age"]);
}

#[test]
fn schemas_are_structural_and_their_rules_affordable() {
    for crd in api::crds() {
        let problems = structural::problems(&admission::schema(&crd));
        assert!(problems.is_empty(), "{}:\n{}", crd.spec.names.kind, problems.join("\n"));
    }
}

/// Every document of every file in a directory, with `FILE NAME` to find it by.
fn documents(dir: &str) -> Vec<(String, Value)> {
    let mut documents = Vec::new();
    for (file, text) in files(&root(dir)) {
        let values: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        documents.extend(values.into_iter().map(|v| (format!("{file} {}", v["metadata"]["name"]), v)));
    }
    assert!(!documents.is_empty(), "{dir} is empty");
    documents
}

fn annotation<'a>(document: &'a Value, name: &str) -> Option<&'a str> {
    document["metadata"]["annotations"][name].as_str()
}

/// What is wrong with a manifest from a file, where no API server has looked at it. Empty when it is served.
fn file_problems(document: &Value) -> String {
    fn decode<T: DeserializeOwned>(document: &Value) -> Result<T, String> {
        // Through text, as from a file.
        let text = serde_saphyr::to_string(document).unwrap();
        serde_saphyr::from_str(&text).map_err(|e| e.to_string())
    }
    let problems = match document["kind"].as_str().unwrap() {
        "Backend" => decode::<Backend>(document).and_then(|backend| {
            let line = |p: &ShapeProblem| format!("{}: {}", p.path, p.message);
            shape(&backend.spec).map_err(|problems| problems.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            Ok(())
        }),
        "TrafficPolicy" => decode::<TrafficPolicy>(document).map(drop),
        "GatewayParameters" => decode::<GatewayParameters>(document).map(drop),
        kind => panic!("{kind}"),
    };
    problems.err().unwrap_or_default()
}

#[test]
fn every_generation_of_manifests_is_accepted() {
    for (name, document) in documents("tests/crds/accepted") {
        assert_eq!(admission::admit(&document), Vec::<String>::new(), "{name}: the API server refuses it");
        let problems = file_problems(&document);
        match annotation(&document, "file") {
            None => assert_eq!(problems, "", "{name}: not served"),
            Some(expect) => assert!(problems.contains(expect), "{name}: {problems}"),
        }
    }
}

#[test]
fn every_mistake_is_refused_with_a_remedy() {
    let mut wrong = Vec::new();
    for (name, document) in documents("tests/crds/refused") {
        let expect = annotation(&document, "expect").unwrap_or_else(|| panic!("{name}: no `expect`"));
        let refusals = admission::admit(&document).join("\n");
        if !refusals.contains(expect) {
            wrong.push(format!("{name}: expected {expect:?}, got {refusals:?}"));
        }

        let problems = file_problems(&document);
        let right = match annotation(&document, "file") {
            Some("accepted") => problems.is_empty(),
            Some(expect) => problems.contains(expect),
            // Policies and parameters are judged in their own part of compile, not here.
            None => problems.contains(expect) || document["kind"] != "Backend",
        };
        if !right {
            wrong.push(format!("{name}: from a file {problems:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn objects_survive_being_read_and_written() {
    fn round<T: DeserializeOwned + serde::Serialize>(document: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(document.clone()).unwrap()).unwrap()
    }
    for (name, document) in documents("tests/crds/accepted") {
        let written = match document["kind"].as_str().unwrap() {
            "Backend" => round::<Backend>(&document),
            "TrafficPolicy" => round::<TrafficPolicy>(&document),
            "GatewayParameters" => round::<GatewayParameters>(&document),
            kind => panic!("{kind}"),
        };
        // What is written is what the API server would have stored: nulls gone, defaults filled in.
        let mut stored = admission::stored(&document);
        // A field of a later version is not in the types.
        stored["spec"]
            .pointer_mut("/kube")
            .map(|kube| kube.as_object_mut().unwrap().remove("somethingOfALaterVersion"));
        stored["spec"].pointer_mut("/kube/deployment").map(|d| d.as_object_mut().unwrap().remove("strategy"));
        assert_eq!(written["spec"], stored["spec"], "{name}");
    }
}

#[test]
fn unsupported_fields_are_reported_by_name() {
    let mut seen = 0;
    for (name, document) in documents("tests/crds/accepted") {
        let spec = document["spec"].clone();
        let fields = match document["kind"].as_str().unwrap() {
            "TrafficPolicy" => {
                serde_json::from_value::<api::traffic_policy::TrafficPolicySpec>(spec).unwrap().unsupported_fields()
            }
            "GatewayParameters" => {
                let spec: api::gateway_parameters::GatewayParametersSpec = serde_json::from_value(spec).unwrap();
                spec.kube.map(|kube| kube.unsupported_fields()).unwrap_or_default()
            }
            _ => continue,
        };
        assert_eq!(fields.join(" "), annotation(&document, "unsupported").unwrap_or_default(), "{name}");
        seen += fields.len();
    }
    assert!(seen > 15, "only {seen} such fields in tests/crds/accepted");
}
