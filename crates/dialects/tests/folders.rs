//! Each dialect has one folder, with the same files, and one entry in `DIALECTS`.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::BTreeSet, fs, path::Path};

use tollgate_dialects::dialect::{DIALECTS, DialectId};

/// The files that each dialect's folder has; other files are specific to one dialect.
const FILES: [&str; 16] = [
    "content.rs",
    "endpoint.rs",
    "error.rs",
    "mod.rs",
    "operations.rs",
    "params.rs",
    "reply.rs",
    "request.rs",
    "stream.rs",
    "text.rs",
    "usage.rs",
    "wire.rs",
    "write_content.rs",
    "write_reply.rs",
    "write_request.rs",
    "write_stream.rs",
];

/// Folders of `src/dialect` with code that all dialects share.
const SHARED: [&str; 4] = ["models", "operation", "schema", "text"];

/// The folders of `src/dialect` that hold a dialect.
fn folders() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dialect");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("mod.rs").is_file());
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| !SHARED.contains(&name.as_str())).collect()
}

#[test]
fn every_folder_has_the_same_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dialect");
    let missing: Vec<_> = folders()
        .into_iter()
        .flat_map(|folder| FILES.map(|file| format!("{folder}/{file}")))
        .filter(|file| !root.join(file).is_file())
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

#[test]
fn every_folder_is_a_dialect_of_the_list() {
    let named: BTreeSet<String> = DIALECTS.iter().map(|dialect| format!("{:?}", dialect.id()).to_lowercase()).collect();
    assert_eq!(named, folders());
    let ids: Vec<DialectId> = DIALECTS.iter().map(|dialect| dialect.id()).collect();
    assert_eq!(ids, DialectId::ALL, "the list and the keys have the same order");
    assert!(DialectId::ALL.into_iter().all(|id| id.dialect().id() == id));
}
