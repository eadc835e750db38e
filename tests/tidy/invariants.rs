//! Every invariant of ARCHITECTURE.md names a test that exists.

use std::fs;

use proc_macro2::TokenTree;
use syn::{Attribute, Ident, ItemFn, ItemMod, Macro, visit::Visit};

use crate::{File, assert_none, files, parse, root};

/// The tests of a document: the backticked paths behind "Held by", with complaints about invariants without one.
///
/// Invariants are the numbered items below a heading with that word.
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

/// The tests of a file, with the modules inside the file that contain each.
#[derive(Default)]
struct Tests {
    modules: Vec<String>,
    found: Vec<(Vec<String>, String)>,
}

impl Tests {
    fn add(&mut self, name: &Ident) {
        self.found.push((self.modules.clone(), name.to_string()));
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.modules.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        // `#[test]` and `#[tokio::test]`.
        let is_test = |a: &Attribute| a.path().segments.last().is_some_and(|segment| segment.ident == "test");
        if function.attrs.iter().any(is_test) {
            self.add(&function.sig.ident);
        }
    }

    /// Macros such as `proptest!` contain tests, whose tokens are not parsed.
    fn visit_macro(&mut self, called: &'ast Macro) {
        let tokens: Vec<TokenTree> = called.tokens.clone().into_iter().collect();
        let mut is_test = false;
        for pair in tokens.windows(2) {
            match pair {
                [TokenTree::Punct(mark), TokenTree::Group(attribute)] if mark.as_char() == '#' => {
                    let path = attribute.stream().into_iter().take_while(|token| !matches!(token, TokenTree::Group(_)));
                    is_test |= path.last().is_some_and(|last| last.to_string() == "test");
                }
                [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "fn" && std::mem::take(&mut is_test) => {
                    self.add(name);
                }
                _ => {}
            }
        }
    }
}

/// The full names of the tests of these files: the parts of the file's path, and the modules inside it.
fn tests_of(files: &[File]) -> Vec<Vec<String>> {
    let mut names = Vec::new();
    for file in files {
        let mut tests = Tests::default();
        tests.visit_file(&parse(&file.path, &file.text));
        let folders: Vec<String> = file.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        names.extend(tests.found.into_iter().map(|(modules, test)| [folders.clone(), modules, vec![test]].concat()));
    }
    names
}

/// Whether one of `tests` has this name: the last part is the test's, and the others are parts of its full name.
fn has_test(name: &str, tests: &[Vec<String>]) -> bool {
    let parts: Vec<&str> = name.split("::").filter(|part| *part != "tollgate").collect();
    tests.iter().any(|test| {
        test.last().map(String::as_str) == parts.last().copied()
            && parts.iter().all(|p| test.iter().any(|own| own == p))
    })
}

/// The tests that a page's tables name in their last column, where it is headed "held by", and rows without any.
fn held_in_tables(document: &str) -> (Vec<String>, Vec<String>) {
    let (mut tests, mut complaints, mut inside) = (Vec::new(), Vec::new(), false);
    for line in document.lines() {
        let Some(last) = line.strip_suffix('|').and_then(|row| row.rsplit('|').next()).map(str::trim) else {
            inside = false;
            continue;
        };
        let is_rule = last.chars().all(|c| c == '-');
        if inside && !is_rule {
            let before = tests.len();
            tests.extend(last.split('`').skip(1).step_by(2).map(str::to_owned));
            if tests.len() == before {
                complaints.push(format!("no test holds: {line}"));
            }
        }
        inside |= last == "held by";
    }
    (tests, complaints)
}

#[test]
fn every_promise_of_the_manual_is_held_by_a_test() {
    let all: Vec<File> = ["src", "tests", "crates"].iter().flat_map(|folder| files(folder, "rs")).collect();
    let all = tests_of(&all);
    let mut complaints = Vec::new();
    for page in files("docs", "md") {
        let (tests, without) = held_in_tables(&page.text);
        let missing = tests.iter().filter(|test| !has_test(test, &all)).map(|test| format!("no test `{test}`"));
        complaints.extend(without.into_iter().chain(missing).map(|what| format!("{}: {what}", page.path)));
    }
    assert_none(&complaints);
}

#[test]
fn promises_without_a_test_are_found() {
    let document = "| a | held by |\n| - | --- |\n| x | `one`, `two` |\n| y | hope |\n\n\
        | a | b |\n| - | - |\n| z | |\n";
    let (tests, complaints) = held_in_tables(document);
    assert_eq!(tests, ["one", "two"]);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
}

#[test]
fn every_invariant_is_held_by_a_test() {
    let all: Vec<File> = ["src", "tests", "crates"].iter().flat_map(|folder| files(folder, "rs")).collect();
    let all = tests_of(&all);
    for page in ["ARCHITECTURE.md", "docs/security.md"] {
        let document = fs::read_to_string(root().join(page)).expect("the page is there");
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
        #[tokio::test(start_paused = true)]\n async fn two() {}\n \
        proptest! {\n #[test]\n fn four(n in 0..9) {}\n fn five(n in 0..9) {}\n }\n}";
    let files = [File { path: "src/proxy/relay.rs".to_owned(), text: text.to_owned() }];
    let tests = tests_of(&files);
    let check = |test: &str, expected: bool| assert_eq!(has_test(test, &tests), expected, "{test}");
    check("proxy::relay::tests::one", true);
    check("tollgate::proxy::relay::tests::two", true);
    check("one", true);
    check("proxy::relay::tests::four", true);
    check("proxy::relay::tests::five", false);
    check("proxy::relay::tests::three", false);
    check("proxy::accept::tests::one", false);
    check("proxy::relay::helper", false);
}
