//! Reading the members of a request: an error names the field that is wrong, and what nobody reads is named, too.

use serde::Deserialize;
use serde_ignored::Path;

use crate::conversation::{Dropped, Invalid};

/// Reads `json`, which stands at `field`.
///
/// # Errors
/// When it is not what it must be; names the innermost field that is wrong. The place is looked for only then.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str, field: impl FnOnce() -> String) -> Result<T, Invalid> {
    serde_json::from_str(json).or_else(|_| locate(json, field()))
}

/// Reads `json` as [`parse`] does. Members below it that `T` has no place for are named in `dropped`, but for `passed`,
/// which lose nothing: tags, and what clients send back of replies. Members that say nothing (`null`, `""`, `[]`, `{}`,
/// `false`) are no loss either.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_all<'a, T: Deserialize<'a>>(
    json: &'a str,
    field: impl FnOnce() -> String,
    passed: &[&str],
    dropped: &mut Dropped,
) -> Result<T, Invalid> {
    let (value, unknown) = parse_noting(json, field, passed)?;
    unknown.name(dropped);
    Ok(value)
}

/// Reads `json` as [`parse_all`] does, and leaves the naming to the caller: a list whose elements may be left out as a whole,
/// and are then named as such.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_noting<'a, T: Deserialize<'a>>(
    json: &'a str,
    field: impl FnOnce() -> String,
    passed: &[&str],
) -> Result<(T, Unknown<'a>), Invalid> {
    let mut members: Vec<(usize, String)> = Vec::new();
    let mut source = serde_json::Deserializer::from_str(json);
    let read = serde_ignored::deserialize(&mut source, |path| {
        // Members of type `IgnoredAny` are known, and optional.
        if let Path::Map { parent, key } = path
            && members.len() < MAX_UNKNOWN
            && !passed.contains(&key.as_str())
        {
            let member = (element(parent), key);
            if !members.contains(&member) {
                members.push(member);
            }
        }
    });
    match read {
        Ok(value) => Ok((value, Unknown { json, members })),
        Err(_) => locate(json, field()).map(|value| (value, Unknown { json, members: Vec::new() })),
    }
}

/// Most members that are looked at to be named. Far fewer names are told.
const MAX_UNKNOWN: usize = 256;

/// The index of the outermost list's element that `path` leads through; 0 where there is no list.
fn element(path: &Path<'_>) -> usize {
    match path {
        Path::Root => 0,
        Path::Seq { parent: Path::Root, index } => *index,
        Path::Seq { parent, .. }
        | Path::Map { parent, .. }
        | Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => element(parent),
    }
}

/// Members that were not read.
pub(super) struct Unknown<'a> {
    json: &'a str,
    /// With the element of the list that they stand in.
    members: Vec<(usize, String)>,
}

impl Unknown<'_> {
    /// An element was left out and named: what it holds needs no name.
    pub(super) fn forget(&mut self, element: usize) {
        self.members.retain(|(of, _)| *of != element);
    }

    /// Names those that say something.
    pub(super) fn name(self, dropped: &mut Dropped) {
        for (_, name) in self.members {
            if !dropped.names().contains(&name.as_str().into()) && says_something(self.json, &name) {
                dropped.add(name);
            }
        }
    }
}

/// Whether a member of this name, anywhere in `json`, has a value that means something. A name with escapes in it does.
fn says_something(json: &str, name: &str) -> bool {
    const NOTHING: [&str; 5] = ["null", "\"\"", "[]", "{}", "false"];
    let (quoted, mut met) = (format!("\"{name}\""), false);
    for at in memchr::memmem::find_iter(json.as_bytes(), quoted.as_bytes()) {
        let behind = json.get(at + quoted.len()..).unwrap_or_default().trim_start();
        let Some(value) = behind.strip_prefix(':') else { continue };
        met = true;
        let value = value.trim_start();
        if !NOTHING.iter().any(|nothing| value.starts_with(nothing)) {
            return true;
        }
    }
    !met
}

/// Reads `json` once more, slowly, to say where it is wrong.
#[cold]
fn locate<'a, T: Deserialize<'a>>(json: &'a str, field: String) -> Result<T, Invalid> {
    let mut source = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut source).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." => field,
            path if path.starts_with('[') || field.is_empty() => format!("{field}{path}"),
            path => format!("{field}.{path}"),
        };
        // The place is that in the value, not that in the client's body.
        let message = error.inner().to_string();
        Invalid::new(field, message.split(" at line ").next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;
    use serde_json::value::RawValue;

    use super::*;
    use crate::conversation::Text;

    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        name: Option<Text<'a>>,
        #[serde(borrow)]
        raw: Option<&'a RawValue>,
        looked_at: Option<IgnoredAny>,
        #[serde(borrow, default)]
        list: Vec<Wire<'a>>,
    }

    fn unknown(json: &str) -> String {
        let mut dropped = Dropped::default();
        let read = parse_all::<Wire<'_>>(json, || "it".to_owned(), &["type"], &mut dropped);
        read.map_or_else(|invalid| invalid.to_string(), |_| dropped.to_string())
    }

    #[test]
    fn members_that_nobody_reads_are_named_at_any_depth() {
        assert_eq!(unknown(r#"{"name":"a","raw":{"inside":1},"looked_at":{"inside":1},"type":"t"}"#), "");
        assert_eq!(
            unknown(r#"{"new":1,"list":[{"newer":{"a":1}},{"newer":2,"list":[{"newest":"x"}]}]}"#),
            "new, newer, newest"
        );
        assert_eq!(unknown(r#"{"a":null,"b":"","c":[],"d":{},"e":false,"f": 0}"#), "f");
        assert_eq!(unknown(r#"{"list":[{"a":null},{"a" : 1}]}"#), "a");
        assert_eq!(unknown(r#"{"\u0061":1}"#), "a", "a name with escapes is one");
        assert_eq!(unknown(r#"{"name":"\"a\":1","a":null}"#), "", "a text is no member");
    }

    #[test]
    fn what_an_element_holds_that_is_left_out_needs_no_name() {
        let json = r#"[{"a":1},{"b":1,"list":[{"c":1}]},{"b":2}]"#;
        for (forgotten, expected) in [(0, "b, c"), (1, "a, b"), (2, "a, b, c"), (3, "a, b, c")] {
            let (_, mut unknown) = parse_noting::<Vec<Wire<'_>>>(json, String::new, &[]).unwrap();
            let mut dropped = Dropped::default();
            unknown.forget(forgotten);
            unknown.name(&mut dropped);
            assert_eq!(dropped.to_string(), expected, "{forgotten}");
        }
    }

    #[test]
    fn errors_name_the_innermost_field() {
        assert_eq!(unknown(r#"{"list":[{},{"name":7}]}"#), "it.list[1].name: expected a string");
        assert_eq!(unknown("7"), "it: invalid type: integer `7`, expected struct Wire");
    }

    #[test]
    fn values_are_read_as_they_are() {
        let json = r#"{"name":"a\n","raw":[1, 2]}"#;
        let wire: Wire<'_> = parse_all(json, String::new, &[], &mut Dropped::default()).unwrap();
        assert_eq!(wire.name.unwrap().decode(), "a\n");
        assert_eq!(wire.raw.unwrap().get(), "[1, 2]");
        assert!(wire.looked_at.is_none() && wire.list.is_empty());
    }
}
