//! Modules are in dependency order: each uses only those above it in its package's `lib.rs`.

use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{ImplItem, Item, Macro, UseTree, visit::Visit};

use crate::{PACKAGES, assert_none, is_test_only, parse, root, sources_of};

/// The modules of `lib.rs`, in its order.
fn module_order(lib: &str) -> Vec<String> {
    let modules = parse("lib.rs", lib).items.into_iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.collect()
}

/// Collects the names right behind `crate::`, each with its line, outside test-only items.
#[derive(Default)]
struct CrateNames(Vec<(String, usize)>);

impl CrateNames {
    fn add(&mut self, ident: &proc_macro2::Ident) {
        self.0.push((ident.to_string(), ident.span().start().line));
    }

    /// Adds the first names of the paths in `tree`.
    fn add_first_names(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.add(&path.ident),
            UseTree::Name(name) => self.add(&name.ident),
            UseTree::Rename(rename) => self.add(&rename.ident),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_first_names(tree)),
            UseTree::Glob(_) => {}
        }
    }

    /// Adds the names in the tokens of a macro, which are not parsed: behind `crate::`, alone or in braces.
    fn add_from_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            if let TokenTree::Group(group) = token {
                self.add_from_tokens(group.stream());
            }
            let [TokenTree::Ident(first), TokenTree::Punct(_), TokenTree::Punct(_), next, ..] = &tokens[at..] else {
                continue;
            };
            match next {
                TokenTree::Ident(name) if first == "crate" => self.add(name),
                TokenTree::Group(group) if first == "crate" && group.delimiter() == Delimiter::Brace => {
                    if let Ok(tree) = syn::parse2::<UseTree>(next.clone().into()) {
                        self.add_first_names(&tree);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for CrateNames {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_test_only(item) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        match tree {
            UseTree::Path(path) if path.ident == "crate" => self.add_first_names(&path.tree),
            UseTree::Group(_) => syn::visit::visit_use_tree(self, tree),
            _ => {}
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut segments = path.segments.iter();
        if segments.next().is_some_and(|first| first.ident == "crate") {
            segments.next().into_iter().for_each(|second| self.add(&second.ident));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_from_tokens(called.tokens.clone());
    }
}

/// Complaints about uses of modules that come after the file's own in `order`.
fn downward_uses(path: &str, text: &str, order: &[String]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|own| own == module);
    let own = path.split_once("src/").map_or(path, |(_, below)| below).trim_end_matches(".rs");
    let own = own.split('/').next().unwrap_or(own);
    // lib.rs declares and main.rs starts: neither is part of the order.
    let Some(own_place) = place(own) else { return Vec::new() };
    let mut names = CrateNames::default();
    names.visit_file(&parse(path, text));
    let below = names.0.into_iter().filter(|(name, _)| place(name).is_some_and(|at| at > own_place));
    below
        .map(|(name, line)| format!("{path}:{line}: `{own}` uses `crate::{name}`, which comes after it in lib.rs"))
        .collect()
}

#[test]
fn modules_use_only_modules_above_them() {
    let mut complaints = Vec::new();
    for package in PACKAGES {
        let lib = fs::read_to_string(root().join(package).join("lib.rs")).expect("a package has a lib.rs");
        let order = module_order(&lib);
        assert!(order.len() > 2, "no modules in lib.rs of {package}");
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
    check("src/stream/sse.rs", "use crate::proxy as p;", 1);
    check("src/stream.rs", "fn f() -> crate::proxy::Handler { g() }", 1);
    check("src/stream.rs", "fn f() { let a: Vec<crate::proxy::A> = crate::proxy::a(); }", 2);
    check("src/api/mod.rs", "use crate::{\n    api::A,\n    stream::{B, C},\n    proxy,\n};", 2);
    check("src/api/mod.rs", "use {crate::proxy::A, std::fs};", 1);
    check("src/stream/sse.rs", "use crate::{api::{proxy, A}, stream::B};", 0);
    check("src/stream/sse.rs", "// crate::proxy\nfn f() { let s = \"crate::proxy\"; mycrate::proxy(); }", 0);
    check("src/stream/sse.rs", "fn f() { format!(\"{}\", crate::proxy::NAME); }", 1);
    check("src/stream/sse.rs", "macro_rules! m { () => { use $crate::{proxy::A, api::B}; f(crate::proxy::C) } }", 2);
    check("src/stream/sse.rs", "#[cfg(test)]\nmod tests { use crate::proxy::A; }\n", 0);
    check("src/stream/sse.rs", "impl A { #[cfg(test)] fn f() { crate::proxy::f() } }", 0);
    check("src/stream/sse.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::proxy::A;", 1);
    check("src/main.rs", "use crate::proxy::A;", 0);
}
