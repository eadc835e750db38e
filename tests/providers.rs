//! What adding a provider takes: documents, definitions and checks are made from the list of providers, and nothing
//! else names one. The last part is a provider that exists in this test alone.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "providers/example.rs"]
mod example;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_json::{Value, json};
use tollgate::{
    api::{self, backend::BackendSpec},
    compile::shape::{BackendShape, ProviderEntry, shape},
    provider::{Auth, Cloud, PROVIDERS, ProviderDef, Server, names, openai::presets},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The Rust files below `folder`, tests not among them, with their paths below the root.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The folders of `src/provider`: one for each provider.
fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("src/provider")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The schemas of all providers, by their keys, as Backends have them below `spec.ai.llm` or `provider` there.
fn schemas(below: &str) -> Value {
    static BACKEND: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(&api::crds()[0]).unwrap());
    let spec = &BACKEND["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let llm = &spec["properties"]["ai"]["properties"]["llm"];
    llm.pointer(below).unwrap_or_else(|| panic!("no {below}")).clone()
}

/// Whether requests carry a key, whose source is in `authToken`.
fn takes_key(def: &ProviderDef) -> bool {
    schemas("/properties")[def.info.name]["properties"]["authToken"].is_object()
}

/// The fields of a provider's example with a credential of this kind.
fn fields(def: &ProviderDef, kind: &str) -> Value {
    let mut fields: Value = serde_json::from_str(def.example).unwrap_or_else(|e| panic!("{}: {e}", def.info.name));
    if takes_key(def) {
        fields["authToken"] = json!({"kind": kind, "secretRef": {"name": "s"}});
    }
    fields
}

/// The one entry of `spec.ai.llm`, or the problems.
fn entry(llm: &Value) -> Result<ProviderEntry, String> {
    let spec: BackendSpec = serde_json::from_value(json!({"type": "AI", "ai": {"llm": llm}})).unwrap();
    match shape(&spec) {
        Ok(BackendShape::Ai(groups)) => Ok(groups.into_iter().flatten().next().unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(problems) => {
            Err(problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect::<Vec<_>>().join("\n"))
        }
    }
}

#[test]
fn the_documents_are_made_from_the_list() {
    let manual = read("docs/providers.md");
    let rows: Vec<&str> = manual.lines().filter(|line| line.starts_with("| [`")).collect();
    let expected: Vec<String> = PROVIDERS.iter().map(|def| def.docs_row()).collect();
    assert_eq!(rows, expected, "the table of docs/providers.md");
    let sections: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let expected: Vec<&str> = PROVIDERS.iter().map(|def| def.docs.section).collect();
    assert!(sections.ends_with(&expected), "the sections of docs/providers.md: {sections:?}");
}

/// `UPDATE_DOCS=1` writes the table.
#[test]
fn the_table_of_presets_is_made_from_the_list() {
    let manual = read("docs/providers.md");
    let is_head = |line: &str| line.starts_with("| preset | ");
    let lines: Vec<&str> = manual.lines().collect();
    let first = lines.iter().position(|line| is_head(line)).expect("there is a table") + 2;
    let rows = lines[first..].iter().take_while(|line| line.starts_with('|')).count();
    let expected: Vec<String> = presets::PRESETS.iter().map(|preset| preset.docs_row()).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let expected = expected.iter().map(String::as_str);
        let all: Vec<&str> =
            lines[..first].iter().copied().chain(expected).chain(lines[first + rows..].iter().copied()).collect();
        fs::write(root().join("docs/providers.md"), all.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(lines[first..first + rows], expected, "run with UPDATE_DOCS=1");
    assert!(rows > 10, "the table was not found");
}

#[test]
fn the_definitions_have_every_provider_in_both_places() {
    let (llm, under) = (schemas("/properties"), schemas("/properties/provider/properties"));
    assert_eq!(under.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), names().collect());
    for name in names() {
        assert_eq!(llm[name], under[name], "{name}");
        assert!(under[name]["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} says what it is");
    }
}

#[test]
fn every_provider_is_built_from_its_example() {
    for def in PROVIDERS {
        let name = def.info.name;
        for llm in [json!({name: fields(def, "SecretRef")}), json!({"provider": {name: fields(def, "SecretRef")}})] {
            let entry = entry(&llm).unwrap();
            assert_eq!((entry.name, entry.provider.def), (format!("{name}_0"), *def));
            let provider = entry.provider.settings.build(&Server::default()).unwrap();
            assert_eq!(provider.info(), def.info);
            assert!(!provider.host().is_empty(), "{name} has a host");
            let slot = provider.credential_slot();
            let documented = def.docs.credential.to_lowercase();
            let header = format!("`{}: {}", slot.header, slot.prefix.to_lowercase());
            assert_eq!(documented.starts_with(&header), takes_key(def), "{name}: {documented}");
        }
    }
}

#[test]
fn identities_of_pods_are_for_providers_with_a_cloud() {
    for def in PROVIDERS.iter().filter(|def| takes_key(def)) {
        let result = entry(&json!({def.info.name: fields(def, "Workload")}));
        match def.cloud {
            Some(Cloud::Azure | Cloud::Google) => assert!(matches!(result.unwrap().provider.auth, Auth::Key(_))),
            None => assert!(result.unwrap_err().contains("kind Workload is of azureopenai and vertexai alone")),
        }
    }
}

/// Lines of `code` that name a provider: its key as a literal, or a path into its folder.
fn named(code: &str, folders: &BTreeSet<String>) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let keys = names().map(|name| format!("\"{name}\""));
    let words: Vec<String> = keys.chain(folders.iter().map(|folder| format!("provider::{folder}"))).collect();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.filter(|line| words.iter().any(|word| line.contains(word))).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn nothing_but_the_list_names_a_provider() {
    let folders = folders();
    assert_eq!(folders.len(), PROVIDERS.len(), "one folder a provider: {folders:?}");
    let (mut files, mut complaints) = (Vec::new(), Vec::new());
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 50, "the source was not found");
    for path in files {
        let below = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        // The simulator must not share facts with what it tests. The signature names a service of AWS, not a provider.
        if ["src/provider/", "src/simulator", "src/upstream/sign.rs"].iter().any(|path| below.starts_with(path)) {
            continue;
        }
        complaints.extend(named(&fs::read_to_string(&path).unwrap(), &folders).iter().map(|l| format!("{below}: {l}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn names_of_providers_are_found() {
    let code =
        ["use crate::provider::gemini::Config;", "if name == \"bedrock\" {}", "// \"openai\"", "let openai = 1;"];
    let tests = ["#[cfg(test)]", "mod tests { \"openai\" }"];
    assert_eq!(named(&[&code[..], &tests[..]].concat().join("\n"), &folders()).len(), 2);
}

#[test]
fn the_list_is_one_line_a_provider() {
    let list = read("src/provider/mod.rs");
    for folder in folders() {
        let lines = list.lines().filter(|line| line.ends_with(&format!(": {folder},")));
        assert_eq!(lines.count(), 1, "{folder} in the list of src/provider/mod.rs");
        for file in ["mod.rs", "config.rs"] {
            assert!(root().join("src/provider").join(&folder).join(file).is_file(), "src/provider/{folder}/{file}");
        }
    }
}
