//! Names and comments use the terms of the field.

use syn::{ItemEnum, ItemStruct, ItemTrait, ItemType, ItemUnion, visit::Visit};

use crate::{assert_none, files, parse};

/// Names of types that were replaced by standard terms. More are added as they go, none is removed.
const PRIVATE_WORDS: [&str; 30] = [
    "Account",
    "Ask",
    "Chosen",
    "Done",
    "Dropped",
    "Fail",
    "Family",
    "Job",
    "Known",
    "Lost",
    "Maker",
    "Misunderstood",
    "Opened",
    "Pen",
    "Platform",
    "Question",
    "Reading",
    "Signed",
    "Teller",
    "Ticket",
    "Timing",
    "Told",
    "Tried",
    "Understood",
    "Unwrap",
    "Way",
    "Weighted",
    "Went",
    "Wish",
    "Words",
];

/// Words and phrases that no comment uses, because a plain one exists.
const PRIVATE_PHRASES: [&str; 25] = [
    "asked for",
    "dear",
    "everybody",
    "hears",
    "in one go",
    "in one piece",
    "knows",
    "lends",
    "mended",
    "nobody",
    "said",
    "says",
    "somebody",
    "stands for",
    "stands in",
    "teller",
    "tells",
    "thoughts",
    "told",
    "travels",
    "understood",
    "wants",
    "whoever",
    "whose turn",
    "wishes",
];

/// Collects types that are declared under a private word.
#[derive(Default)]
struct PrivateTypes(Vec<(String, usize)>);

impl PrivateTypes {
    fn check(&mut self, name: &syn::Ident) {
        if PRIVATE_WORDS.iter().any(|word| name == word) {
            self.0.push((name.to_string(), name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for PrivateTypes {
    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.check(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.check(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.check(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.check(&item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast ItemUnion) {
        self.check(&item.ident);
    }
}

/// Complaints about types that are declared under a private word.
fn private_words(path: &str, text: &str) -> Vec<String> {
    let mut types = PrivateTypes::default();
    types.visit_file(&parse(path, text));
    types.0.into_iter().map(|(name, line)| format!("{path}:{line}: `{name}` is not the standard term")).collect()
}

/// Complaints about private phrases in comments that have lines of their own.
fn private_phrases(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
        let words: Vec<String> = line
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\'')
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let line = format!(" {} ", words.join(" "));
        let found = PRIVATE_PHRASES.iter().filter(|phrase| line.contains(&format!(" {phrase} ")));
        complaints.extend(found.map(|phrase| format!("{path}:{}: \"{phrase}\" has a plain word", index + 1)));
    }
    complaints
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
    check("pub(super) enum Went {}", 1);
    check("    pub type Way<'a> = &'a str;\ntrait Pen {}", 2);
    check("mod a { fn f() { union Lost { a: u8 } } }", 1);
    check("struct ToldOnce;\nenum Transition { Told }\n// struct Told", 0);
}

#[test]
fn comments_are_in_plain_words() {
    let all = ["src", "crates"].iter().flat_map(|folder| files(folder, "rs"));
    assert_none(&all.flat_map(|file| private_phrases(&file.path, &file.text)).collect::<Vec<_>>());
}

#[test]
fn private_phrases_are_found() {
    let check = |text: &str, expected: usize| assert_eq!(private_phrases("f.rs", text).len(), expected, "{text}");
    check("/// Nobody has asked for it.", 2);
    check("fn f() {\n    // What was said.\n}", 1);
    check("//! A `teller`", 1);
    check("// A storyteller, untold\nlet told = nobody;\nlet s = \"told\";", 0);
}
