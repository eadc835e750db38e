//! The manual explains every reason that the program writes into a condition, and has the table of failures.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tollgate::upstream::failure::{Cooldown, Next, Row, Scope, TABLE, Trip};

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

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 120 && seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

/// How long a target cools, in words.
fn cooling(cooldown: &Cooldown) -> String {
    let Cooldown { scope, first, most, factor, named } = cooldown;
    let what = if *scope == Scope::Model { "the model" } else { "the target" };
    let growth = if factor > &1 { format!(", then up to {}", seconds(*most)) } else { String::new() };
    let named = if named.is_zero() { String::new() } else { format!("; a named wait up to {}", seconds(*named)) };
    format!("{what}: {}{growth}{named}", seconds(*first))
}

fn breaking(Trip { failures, first, most }: &Trip) -> String {
    let failures = if *failures == 1 { "at once".to_owned() } else { format!("after {failures} in a row") };
    format!("{failures}: {}, then up to {}", seconds(*first), seconds(*most))
}

/// A row of the manual's table.
fn failure_row(row: &Row) -> String {
    let next = match row.next {
        Next::Never => "nothing",
        Next::Same => "the same target, by a retry policy only",
        Next::Other => "another target",
        Next::SameOrOther => "another target; the same one by a retry policy only",
    };
    let cools = row.cooldown.as_ref().map_or_else(|| "-".to_owned(), cooling);
    let breaker = row.breaker.as_ref().map_or_else(|| "-".to_owned(), breaking);
    format!("| `{}` | {} | {next} | {cools} | {breaker} |", row.word, row.shown_by)
}

/// `UPDATE_DOCS=1` writes the table.
#[test]
fn the_table_of_failures_is_made_from_the_list() {
    let path = root().join("docs/reliability.md");
    let manual = fs::read_to_string(&path).expect("there is a manual");
    let lines: Vec<&str> = manual.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("| failure | ")).expect("there is a table") + 2;
    let rows = lines[first..].iter().take_while(|line| line.starts_with('|')).count();
    let expected: Vec<String> = TABLE.iter().map(failure_row).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let expected = expected.iter().map(String::as_str);
        let all: Vec<&str> =
            lines[..first].iter().copied().chain(expected).chain(lines[first + rows..].iter().copied()).collect();
        fs::write(path, all.join("\n") + "\n").expect("the manual can be written");
        return;
    }
    assert_eq!(lines[first..first + rows], expected, "run with UPDATE_DOCS=1");
}
