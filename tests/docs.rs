//! The manual explains every reason that the program writes into a condition.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder of the source, tests not among them.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("the source can be read").path()) {
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The identifiers after `Reason::` in code.
fn reasons(code: &str) -> BTreeSet<&str> {
    let begins_word = |c: char| c.is_ascii_uppercase();
    let words = code.split("Reason::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    // Not `Reason::ALL` and the like, nor functions.
    words.filter(|w| w.starts_with(begins_word) && w.chars().any(|c| c.is_ascii_lowercase())).collect()
}

/// The first column of the table of reasons.
fn explained(manual: &str) -> Vec<&str> {
    let table = manual.split("\n### Reasons\n").nth(1).unwrap_or_default();
    let table = table.split("\n### ").next().unwrap_or_default();
    table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn every_reason_that_is_written_is_explained() {
    let mut files = Vec::new();
    for folder in ["src/compile", "src/publish"] {
        sources(&root().join(folder), &mut files);
    }
    let code: String = files.iter().map(|path| fs::read_to_string(path).expect("the source can be read")).collect();
    let written = reasons(&code);
    assert!(written.len() > 10, "the source was not found");

    let manual = fs::read_to_string(root().join("docs/operations.md")).expect("there is a manual");
    let explained = explained(&manual);
    let mut sorted = explained.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(explained, sorted, "the table of reasons is in order, and has each once");
    let missing: Vec<&&str> = written.iter().filter(|word| !explained.contains(*word)).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:?}");
}

#[test]
fn reasons_are_found_in_code_and_manual() {
    let code = "if x { Reason::NotFound } else { f(Reason::Invalid, Reason::ALL, Reason::from(y)) }";
    assert_eq!(reasons(code), BTreeSet::from(["Invalid", "NotFound"]));
    let manual = "# A\n### Reasons\n\n| reason | on |\n| --- | --- |\n| `One` | `b` |\n| `Two` | c |\n\n### More\n| \
        `Three` | |\n";
    assert_eq!(explained(manual), ["One", "Two"]);
}
