//! Rules about the source that no compiler checks: the order of modules, the size of files and lines, names, and that
//! documents name only tests and files that exist.
//!
//! Each rule is a function from text to complaints, and is tested on bad text here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Lines a source file may have, its test modules not counted.
const MAX_LINES: usize = 500;

/// Macros that mark unfinished work or leftover debugging.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository: its path below the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

/// All files below `folder` with this extension, in order; none when there is no such folder.
fn files(folder: &str, extension: &str) -> Vec<File> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { walk(&path, found)? } else { found.push(path) }
        }
        Ok(())
    }
    let mut found = Vec::new();
    if root().join(folder).is_dir() {
        walk(&root().join(folder), &mut found).expect("the source can be read");
    }
    found.retain(|path| path.extension().is_some_and(|own| own == extension));
    found.sort();
    found.iter().filter_map(|path| file(path)).collect()
}

fn file(path: &Path) -> Option<File> {
    let below = path.strip_prefix(root()).ok()?.to_str()?.replace('\\', "/");
    Some(File { path: below, text: fs::read_to_string(path).ok()? })
}

/// The folders with the source of a package.
const PACKAGES: [&str; 3] = ["src", "crates/dialects/src", "crates/simulator/src"];

/// The Rust files of all packages that are not tests as a whole.
fn sources() -> Vec<File> {
    PACKAGES.iter().flat_map(|package| sources_of(package)).collect()
}

/// The Rust files of one package that are not tests as a whole.
fn sources_of(package: &str) -> Vec<File> {
    let is_test = |path: &str| path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let sources: Vec<File> = files(package, "rs").into_iter().filter(|file| !is_test(&file.path)).collect();
    assert!(sources.len() > 10, "the source was not found");
    sources
}

/// Reports all complaints at once.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// Reading Rust

/// The code without its comments and literals: each is replaced by spaces, line ends are kept.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest, code.chars().next_back()));
        if let Some(length) = skipped {
            let (gone, after) = rest.split_at(length);
            code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        } else {
            code.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    code
}

/// Bytes of the comment that `text` starts with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0_usize;
    for (at, pair) in text.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return Some(at + 2),
            b"*/" => depth -= 1,
            _ => {}
        }
    }
    Some(text.len())
}

/// Bytes of the string or character that `text` starts with; `before` is the character in front of it.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
        let raw = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let quoted = raw.map(|raw| (raw, raw.trim_start_matches('#')));
        if let Some((raw, opened)) = quoted.filter(|(_, opened)| opened.starts_with('"')) {
            let end = format!("\"{}", "#".repeat(raw.len() - opened.len()));
            let content = opened.get(1..)?;
            let length = content.find(&end).map_or(content.len(), |at| at + end.len());
            return Some(text.len() - content.len() + length);
        }
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut characters = text.char_indices().skip(1);
    let mut length = 0;
    while let Some((at, character)) = characters.next() {
        length += 1;
        // A character is one character or one escape; all else after a single quote is a lifetime.
        if quote == '\'' && length > 1 && character != '\'' {
            return None;
        }
        if character == quote {
            return Some(at + 1);
        }
        if character == '\\' {
            let escaped = characters.next();
            if quote == '\'' && escaped.is_some_and(|(_, c)| matches!(c, 'u' | 'x')) {
                return text.get(2..)?.find('\'').map(|end| end + 3);
            }
        }
    }
    None
}

/// Code without the items under `#[cfg(test)]`. Takes and gives what [`code_only`] gives.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once(MARK) {
        kept.push_str(before);
        rest = item.get(item_length(item)..).unwrap_or_default();
    }
    kept + rest
}

/// Bytes to the end of the item that `code` starts with: its `;`, or the brace that closes its first one.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in code.char_indices() {
        match character {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The identifier that `text` starts with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

// Rule 1: modules are in dependency order

/// The modules of `lib.rs`, in its order.
fn module_order(lib: &str) -> Vec<String> {
    let code = code_only(lib);
    let modules = code.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))
    });
    modules.map(|module| identifier(module).to_owned()).collect()
}

/// The names right behind `crate::` in this code, those in braces included.
fn crate_names(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let own_word = code.get(..at).is_none_or(|text| !text.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let Some(path) = code.get(at + start.len()..).filter(|_| own_word) else { continue };
        match path.trim_start().strip_prefix('{') {
            Some(group) => names.extend(group_names(group)),
            None => names.push(identifier(path.trim_start())),
        }
    }
    names
}

/// The first name of each path in a `use` group, up to the brace that closes it.
fn group_names(group: &str) -> Vec<&str> {
    let (mut names, mut depth, mut starts) = (Vec::new(), 0_usize, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            _ if starts && !character.is_whitespace() => {
                names.extend(group.get(at..).map(identifier));
                starts = false;
            }
            _ => {}
        }
    }
    names
}

/// Complaints about uses of modules that come after the file's own in `order`.
fn downward_uses(path: &str, text: &str, order: &[String]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|own| own == module);
    let own = path.split_once("src/").map_or(path, |(_, below)| below).trim_end_matches(".rs");
    let own = own.split('/').next().unwrap_or(own);
    // lib.rs declares and main.rs starts: neither is part of the order.
    let Some(own_place) = place(own) else { return Vec::new() };
    let code = without_tests(&code_only(text));
    let below = crate_names(&code).into_iter().filter(|name| place(name).is_some_and(|at| at > own_place));
    below.map(|name| format!("{path}: `{own}` uses `crate::{name}`, which comes after it in lib.rs")).collect()
}

#[test]
fn modules_use_only_modules_above_them() {
    let mut complaints = Vec::new();
    for package in PACKAGES {
        let lib = fs::read_to_string(root().join(package).join("lib.rs")).expect("a package has a lib.rs");
        let order = module_order(&lib);
        assert!(order.len() > 2, "{package}: only the modules {order:?} were found");
        complaints.extend(sources_of(package).iter().flat_map(|file| downward_uses(&file.path, &file.text, &order)));
    }
    assert_none(&complaints);
}

#[test]
fn downward_uses_are_found() {
    let order = module_order("//! mod no;\npub mod api;\n/// mod no;\nmod stream;\npub mod proxy;\n");
    assert_eq!(order, ["api", "stream", "proxy"]);
    let check = |path: &str, text: &str, expected: usize| {
        assert_eq!(downward_uses(path, text, &order).len(), expected, "{path}: {text}");
    };
    check("src/stream/sse.rs", "use crate::proxy::Handler;", 1);
    check("src/stream.rs", "fn f() -> crate::proxy::Handler { todo }", 1);
    check("src/api/mod.rs", "use crate::{\n    api::A,\n    stream::{B, C},\n    proxy,\n};", 2);
    check("src/stream/sse.rs", "use crate::{api::{proxy, A}, stream::B};", 0);
    check("src/stream/sse.rs", "// crate::proxy\nlet s = \"crate::proxy\"; mycrate::proxy();", 0);
    check("src/stream/sse.rs", "#[cfg(test)]\nmod tests { use crate::proxy::A; }\n", 0);
    check("src/stream/sse.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::proxy::A;", 1);
    check("src/main.rs", "use crate::proxy::A;", 0);
}

// Rule 2: files stay small

/// Complaints about a file with too many lines.
fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = without_tests(&code_only(text)).lines().count();
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
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(too_long("f.rs", &tests), None);
}

// Rule 3: no unfinished code

/// Complaints about macros that have no place in finished code.
fn unfinished(path: &str, text: &str) -> Vec<String> {
    let code = without_tests(&code_only(text));
    let lines = code.lines().filter_map(|line| {
        let found = UNFINISHED.iter().find(|name| {
            let mut places = line.match_indices(*name);
            places.any(|(at, _)| {
                line.get(..at).is_none_or(|text| !text.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            })
        });
        found.map(|name| format!("{path}: `{name}`"))
    });
    lines.collect()
}

#[test]
fn nothing_is_unfinished() {
    let complaints: Vec<String> = sources().iter().flat_map(|file| unfinished(&file.path, &file.text)).collect();
    assert_none(&complaints);
}

#[test]
fn unfinished_code_is_found() {
    let check = |text: &str, expected: usize| assert_eq!(unfinished("f.rs", text).len(), expected, "{text}");
    check("fn f() { todo!() }", 1);
    check("fn f() {\n  dbg!(1);\n  unimplemented!(\"x\")\n}", 2);
    check("// todo!()\nlet x = \"dbg!\"; mytodo!();", 0);
    check("#[cfg(test)]\nmod tests { fn f() { todo!() } }", 0);
}

// Rule 4: every invariant names a test that exists

/// The tests of a document: the backticked paths behind "Held by", with complaints about invariants without one.
///
/// Invariants are the numbered items below a heading with that word, or with promises to somebody.
fn held_by(document: &str) -> (Vec<String>, Vec<String>) {
    let (mut tests, mut complaints) = (Vec::new(), Vec::new());
    for item in invariants(document) {
        let Some((_, holders)) = item.split_once("Held by") else {
            complaints.push(format!("no \"Held by\": {item}"));
            continue;
        };
        let before = tests.len();
        tests.extend(holders.split('`').skip(1).step_by(2).map(str::to_owned));
        if tests.len() == before {
            complaints.push(format!("\"Held by\" names no test: {item}"));
        }
    }
    (tests, complaints)
}

/// The numbered items of all sections about invariants, each on one line.
fn invariants(document: &str) -> Vec<String> {
    let (mut items, mut inside, mut open) = (Vec::<String>::new(), false, false);
    for line in document.lines() {
        let numbered = line.split_once(". ").filter(|(number, _)| number.parse::<u32>().is_ok());
        if line.starts_with('#') {
            inside = ["invariant", "promises to"].iter().any(|word| line.to_lowercase().contains(word));
            open = false;
        } else if let Some((_, text)) = numbered.filter(|_| inside) {
            items.push(text.to_owned());
            open = true;
        } else if line.trim().is_empty() {
            open = false;
        } else if let Some(item) = items.last_mut().filter(|_| open) {
            item.push(' ');
            item.push_str(line.trim());
        }
    }
    items
}

/// Whether one of the files has this test: a function under a test attribute, in a file or module of each named part.
fn has_test(test: &str, files: &[File]) -> bool {
    let mut parts: Vec<&str> = test.split("::").collect();
    let Some(name) = parts.pop() else { return false };
    let declaration = format!("fn {name}(");
    files.iter().any(|file| {
        let code = code_only(&file.text);
        let is_test = code.match_indices(&declaration).any(|(at, _)| {
            let before = code.get(..at).unwrap_or_default();
            // Between an attribute and its function are at most keywords such as `async`, and more attributes.
            let attributes = before.rfind([';', '}', '{']).map_or(before, |end| before.get(end..).unwrap_or_default());
            attributes.contains("test]") || attributes.contains("test(")
        });
        let folders = file.path.trim_end_matches(".rs");
        let is_there =
            |part: &&str| folders.split('/').any(|own| own == *part) || code.contains(&format!("mod {part} "));
        is_test && parts.iter().filter(|part| **part != "tollgate").all(is_there)
    })
}

#[test]
fn every_invariant_is_held_by_a_test() {
    let all: Vec<File> = ["src", "tests", "crates"].iter().flat_map(|folder| files(folder, "rs")).collect();
    for page in ["ARCHITECTURE.md", "docs/security.md"] {
        let document = fs::read_to_string(root().join(page)).unwrap();
        let (tests, mut complaints) = held_by(&document);
        assert!(!tests.is_empty() || !complaints.is_empty(), "{page}: no numbered invariants were found");
        complaints.extend(tests.iter().filter(|test| !has_test(test, &all)).map(|test| format!("no test `{test}`")));
        assert_none(&complaints);
    }
}

#[test]
fn invariants_without_a_test_are_found() {
    let document = "# A\n1. Not this one.\n## Invariants\n1. It holds.\n   Held by `a::b::c` and `d`.\n2. Nobody \
        holds\n   it.\n3. Held by hope.\n\nMore `text`.\n## Else\n4. Nor this.";
    let (tests, complaints) = held_by(document);
    assert_eq!(tests, ["a::b::c", "d"]);
    assert_eq!(complaints.len(), 2, "{complaints:?}");

    let text = "fn helper() {}\n#[cfg(test)]\nmod tests {\n #[test]\n #[ignore]\n fn one() {}\n \
        #[tokio::test(start_paused = true)]\n async fn two() {}\n}";
    let files = [File { path: "src/proxy/relay.rs".to_owned(), text: text.to_owned() }];
    let check = |test: &str, expected: bool| assert_eq!(has_test(test, &files), expected, "{test}");
    check("proxy::relay::tests::one", true);
    check("tollgate::proxy::relay::tests::two", true);
    check("one", true);
    check("proxy::relay::tests::three", false);
    check("proxy::accept::tests::one", false);
    check("proxy::relay::helper", false);
}

// Rule 5: links lead somewhere

/// The link targets of a Markdown document that are paths, without fragments. Code is not looked at.
fn relative_links(document: &str) -> Vec<String> {
    let (mut links, mut fenced) = (Vec::new(), false);
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let text: String = line.split('`').step_by(2).collect();
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        links.extend(inline.map(str::to_owned));
        if text.starts_with('[') {
            links.extend(text.split_once("]: ").and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned));
        }
    }
    let is_path = |link: &String| !link.starts_with('#') && !link.contains("://") && !link.starts_with("mailto:");
    let path = |link: String| link.split('#').next().unwrap_or_default().to_owned();
    links.into_iter().filter(is_path).map(path).collect()
}

#[test]
fn relative_links_lead_to_files() {
    let mut documents = files("docs", "md");
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    documents.extend(top.iter().filter_map(|name| file(&root().join(name))));
    let mut complaints = Vec::new();
    for document in &documents {
        let folder = root().join(&document.path).parent().map(Path::to_path_buf).unwrap_or_default();
        let broken = relative_links(&document.text).into_iter().filter(|link| !folder.join(link).exists());
        complaints.extend(broken.map(|link| format!("{}: no file at {link}", document.path)));
    }
    assert_none(&complaints);
}

#[test]
fn relative_links_are_found() {
    let document = "See [a](docs/a.md) and [b](../b.md#part \"title\"), not [c](https://c.d/e) or [f](#f).\n\
        `[g](g.md)`\n```\n[h](h.md)\n```\n[i]: i.md\n![j](j.png)";
    assert_eq!(relative_links(document), ["docs/a.md", "../b.md", "i.md", "j.png"]);
}

// Rule 6: lines stay narrow

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

// Rule 7: names are the field's terms

/// Names of types that were replaced by standard terms. More are added as they go, none is removed.
const PRIVATE_WORDS: [&str; 21] = [
    "Account",
    "Chosen",
    "Done",
    "Dropped",
    "Fail",
    "Job",
    "Lost",
    "Maker",
    "Misunderstood",
    "Opened",
    "Pen",
    "Question",
    "Reading",
    "Signed",
    "Teller",
    "Told",
    "Understood",
    "Way",
    "Weighted",
    "Went",
    "Words",
];

/// Complaints about types that are declared under a private word.
fn private_words(path: &str, text: &str) -> Vec<String> {
    let declared = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().filter(|word| !word.starts_with("pub"));
        let is_type = matches!(words.next()?, "struct" | "enum" | "trait" | "type" | "union");
        Some(identifier(words.next()?)).filter(|_| is_type)
    });
    let private = declared.filter(|name| PRIVATE_WORDS.contains(name));
    private.map(|name| format!("{path}: `{name}` is not the standard term")).collect()
}

#[test]
fn names_are_standard_terms() {
    let all = ["src", "crates"].iter().flat_map(|folder| files(folder, "rs"));
    assert_none(&all.flat_map(|file| private_words(&file.path, &file.text)).collect::<Vec<_>>());
}

#[test]
fn private_words_are_found() {
    let check = |text: &str, expected: usize| assert_eq!(private_words("f.rs", text).len(), expected, "{text}");
    check("struct Told;", 1);
    check("pub(super) enum Went {", 1);
    check("    pub type Way<'a> = &'a str;\ntrait Pen {}", 2);
    check("struct ToldOnce;\nenum Transition { Told }\n// struct Told", 0);
}

#[test]
fn literals_and_comments_are_no_code() {
    let check = |source: &str, expected: &str| {
        let words: Vec<String> = code_only(source).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), expected, "{source}");
        assert_eq!(code_only(source).lines().count(), source.lines().count(), "{source}");
    };
    check("a // b\nc /* d /* e */ f */ g", "a c g");
    check(r#"a "b \" {" c"#, "a c");
    check("a r#\"b \" {\"# c br\"\\\" d", "a c d");
    check(r"a '{' b '\'' c '\u{7b}' d '\\' e", "a b c d e");
    check("fn f<'a>(x: &'a str, y: &'static str) {}", "fn f<'a>(x: &'a str, y: &'static str) {}");
    check("a \"b\nc\" d", "a d");
}
