//! Files stay small, and lines narrow.

use std::path::Path;

use syn::{ImplItem, Item, spanned::Spanned, visit::Visit};

use crate::{File, assert_none, file, files, is_test_only, parse, root, sources};

/// Lines a source file may have, its test modules not counted.
const MAX_LINES: usize = 500;

/// Counts the lines of test-only items.
#[derive(Default)]
struct TestLines(usize);

impl TestLines {
    fn add(&mut self, item: &impl Spanned) {
        let span = item.span();
        self.0 += span.end().line - span.start().line + 1;
    }
}

impl<'ast> Visit<'ast> for TestLines {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_only(item) { self.add(item) } else { syn::visit::visit_item(self, item) }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if is_test_only(item) { self.add(item) } else { syn::visit::visit_impl_item(self, item) }
    }
}

/// Complaints about a file with too many lines.
fn too_long(path: &str, text: &str) -> Option<String> {
    let mut tests = TestLines::default();
    tests.visit_file(&parse(path, text));
    let lines = text.lines().count() - tests.0;
    (lines > MAX_LINES).then(|| format!("{path}: {lines} lines without its tests, more than {MAX_LINES}"))
}

#[test]
fn files_stay_small() {
    let complaints: Vec<String> = sources().iter().filter_map(|file| too_long(&file.path, &file.text)).collect();
    assert_none(&complaints);
}

#[test]
fn long_files_are_found() {
    let long = "// a line\n".repeat(MAX_LINES);
    assert_eq!(too_long("f.rs", &long), None);
    assert!(too_long("f.rs", &format!("{long}fn one_more() {{}}\n")).is_some());
    let functions = "    fn f() {}\n".repeat(MAX_LINES);
    for tests in ["mod tests", "impl A"] {
        assert_eq!(too_long("f.rs", &format!("#[cfg(test)]\n{tests} {{\n{functions}}}\n")), None);
        assert!(too_long("f.rs", &format!("#[cfg(unix)]\n{tests} {{\n{functions}}}\n")).is_some());
    }
    let nested = format!("mod a {{\n#[cfg(test)]\nmod tests {{\n{functions}}}\n}}\n");
    assert_eq!(too_long("f.rs", &nested), None);
}

/// Columns that a line may have.
const MAX_COLUMNS: usize = 120;

/// Folders and documents with wide lines that are bodies and manifests of tests. Only removals are allowed.
const STILL_WIDE: [&str; 8] = [
    "benches",
    "crates",
    "docs/simulator.md",
    "examples",
    "src/api",
    "src/compile",
    "src/provider/tests.rs",
    "src/proxy",
];

/// Complaints about lines with too many columns. In Markdown, table rows and fenced output are skipped: they can't be
/// broken.
fn too_wide(path: &str, text: &str) -> Vec<String> {
    let is_document = Path::new(path).extension().is_some_and(|extension| extension == "md");
    let (mut complaints, mut fenced) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        fenced ^= is_document && line.trim_start().starts_with("```");
        let can_break = !is_document || !(fenced || line.starts_with('|'));
        if can_break && line.chars().count() > MAX_COLUMNS {
            complaints.push(format!("{path}:{}: more than {MAX_COLUMNS} columns", index + 1));
        }
    }
    complaints
}

#[test]
fn lines_stay_narrow() {
    let is_still_wide = |path: &str| STILL_WIDE.iter().any(|wide| Path::new(path).starts_with(wide));
    let mut all: Vec<File> = ["src", "crates", "tests"].iter().flat_map(|folder| files(folder, "rs")).collect();
    all.extend(["docs", "e2e", "examples"].iter().flat_map(|folder| files(folder, "md")));
    all.extend(["e2e", "tests"].iter().flat_map(|folder| files(folder, "py")));
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    all.extend(top.iter().filter_map(|name| file(&root().join(name))));
    all.retain(|file| !is_still_wide(&file.path));
    assert!(all.len() > 100, "the source was not found");
    assert_none(&all.iter().flat_map(|file| too_wide(&file.path, &file.text)).collect::<Vec<_>>());
}

#[test]
fn wide_lines_are_found() {
    let line = |columns: usize| format!("first\n{}\nlast\n", "\u{e9}".repeat(columns));
    assert_eq!(too_wide("f.rs", &line(MAX_COLUMNS)), [""; 0]);
    assert_eq!(too_wide("f.rs", &line(MAX_COLUMNS + 1)), ["f.rs:2: more than 120 columns"]);
    let row = format!("| {} |", "x".repeat(MAX_COLUMNS));
    let fenced = format!("```json\n{}\n```\n", line(MAX_COLUMNS + 1));
    for (text, in_document) in [(&row, 0), (&fenced, 0), (&format!("{fenced}{}", line(MAX_COLUMNS + 1)), 1)] {
        assert_eq!(too_wide("d.md", text).len(), in_document, "{text}");
        assert!(!too_wide("f.rs", text).is_empty(), "{text}");
    }
}
