//! `docs/models.md` lists what `models.toml` states. `UPDATE_DOCS=1` writes the list anew.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::{fmt::Write, fs, path::Path};

use toml::{Table, Value};

const BEGIN: &str = "<!-- models begin -->\n\n";
const END: &str = "<!-- models end -->";

/// A value as the documentation shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Float(_) | Value::Table(_) => panic!("no fact is of this type: {value:?}"),
    }
}

fn list(document: &str) -> String {
    let rows = document.parse::<Table>().unwrap()["model"].as_array().unwrap().clone();
    let mut list = String::from("| models | states | checked | source |\n| --- | --- | --- | --- |\n");
    for row in rows {
        let row = row.as_table().unwrap();
        let mut models = format!("`{}`", shown(&row["name"]).replace(", ", "`, `"));
        for (key, word) in [("from", "from"), ("until", "before"), ("on", "at")] {
            if let Some(value) = row.get(key) {
                write!(models, " {word} {}", shown(value)).unwrap();
            }
        }
        let about = ["name", "from", "until", "on", "checked", "source"];
        let facts = row.iter().filter(|(key, _)| !about.contains(&key.as_str()));
        let facts: Vec<_> = facts.map(|(key, value)| format!("`{key}` {}", shown(value))).collect();
        let (checked, source) = (shown(&row["checked"]), shown(&row["source"]));
        let host = source.trim_start_matches("https://").split('/').next().unwrap();
        writeln!(list, "| {models} | {} | {checked} | [{host}]({source}) |", facts.join("; ")).unwrap();
    }
    list + "\n"
}

#[test]
fn the_documentation_lists_every_row() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = package.join("../../docs/models.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let expected = list(&fs::read_to_string(package.join("src/dialect/models/models.toml")).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(listed, expected, "run with UPDATE_DOCS=1");
    }
}
