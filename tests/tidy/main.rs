//! Rules about the source that no compiler checks: the order of modules, the size of files and lines, names, and that
//! documents name only tests and files that exist.
//!
//! Each rule is a function from text to complaints, and is tested on bad text here.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod invariants;
mod links;
mod names;
mod order;
mod size;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use syn::{Attribute, Ident, ImplItem, Item};

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
const PACKAGES: [&str; 4] = ["src", "crates/dialects/src", "crates/guards/src", "crates/simulator/src"];

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

/// The syntax tree of a file.
fn parse(path: &str, text: &str) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{path}:{}: {error}", error.span().start().line))
}

/// An item with attributes.
trait Attributed {
    fn attributes(&self) -> &[Attribute];
}

impl Attributed for Item {
    fn attributes(&self) -> &[Attribute] {
        match self {
            Self::Const(item) => &item.attrs,
            Self::Enum(item) => &item.attrs,
            Self::Fn(item) => &item.attrs,
            Self::Impl(item) => &item.attrs,
            Self::Macro(item) => &item.attrs,
            Self::Mod(item) => &item.attrs,
            Self::Static(item) => &item.attrs,
            Self::Struct(item) => &item.attrs,
            Self::Trait(item) => &item.attrs,
            Self::Type(item) => &item.attrs,
            Self::Use(item) => &item.attrs,
            _ => &[],
        }
    }
}

impl Attributed for ImplItem {
    fn attributes(&self) -> &[Attribute] {
        match self {
            Self::Const(item) => &item.attrs,
            Self::Fn(item) => &item.attrs,
            _ => &[],
        }
    }
}

/// Whether an item is under `#[cfg(test)]`.
fn is_test_only(item: &impl Attributed) -> bool {
    let is_cfg_test =
        |a: &Attribute| a.path().is_ident("cfg") && a.parse_args::<Ident>().is_ok_and(|option| option == "test");
    item.attributes().iter().any(is_cfg_test)
}
