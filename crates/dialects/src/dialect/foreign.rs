//! Content of a history that only one vendor's API has: calls of tools that it ran, and their results.
//!
//! The model still has to see it, so it becomes text.

use std::borrow::Cow;

use crate::conversation::Tree;

/// Fields without meaning for a reader: tags, ids, and what only the vendor can read.
const LEFT_OUT: [&str; 9] = [
    "type",
    "id",
    "status",
    "fingerprint",
    "encrypted_content",
    "encrypted_index",
    "encrypted_stdout",
    "thoughtSignature",
    "thought_signature",
];

/// Whether content of this kind is a call of a tool, its result, or what belongs to either. Other content may be media.
pub(super) fn is_of_tool(kind: &str) -> bool {
    let ends = ["_call", "_output", "_approval_request", "_approval_response"];
    kind.contains("tool") || kind == "program" || ends.iter().any(|end| kind.ends_with(end))
}

/// The content as text. `kind` is its name in the client's dialect, `json` all of it; `left_out` are further fields of
/// no use.
pub(super) fn text(kind: &str, json: &str, left_out: &[&str]) -> String {
    let mut tree = Tree::parse(json).unwrap_or(Tree::Leaf(Cow::Borrowed(json)));
    strip(&mut tree, left_out);
    let mut out = Vec::with_capacity(json.len() + kind.len() + 3);
    tree.write(&mut out);
    format!("[{kind}] {}", String::from_utf8_lossy(&out))
}

fn strip(tree: &mut Tree<'_>, left_out: &[&str]) {
    match tree {
        Tree::Object(fields) => {
            fields
                .retain(|(key, value)| !value.is("null") && !LEFT_OUT.contains(&&**key) && !left_out.contains(&&**key));
            for (_, value) in fields {
                strip(value, left_out);
            }
        }
        Tree::Array(elements) => {
            for element in elements {
                strip(element, left_out);
            }
        }
        Tree::Leaf(_) => {}
    }
}
