//! Relative links of documents lead to files.

use std::path::Path;

use crate::{assert_none, file, files, root};

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
