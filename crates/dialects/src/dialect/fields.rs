//! Reading the fields of a request: an error names the field that is wrong, and fields that are not read are reported.

use serde::Deserialize;
use serde_ignored::Path;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;

use crate::{
    conversation::{Invalid, Unsupported},
    stream::{Member, TopLevel},
};

/// Reads `json`, which is at `field`.
///
/// # Errors
/// When it has the wrong form; names the innermost field that is wrong. Only then is its path determined.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str, field: impl FnOnce() -> String) -> Result<T, Invalid> {
    serde_json::from_str(json).or_else(|_| locate(json, field()))
}

/// Reads the value of a member of the body as [`parse`] does.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_member<'a, T: Deserialize<'a>>(member: &Member<'a>) -> Result<T, Invalid> {
    parse(member.as_json(), || member.name().into_owned())
}

/// Reads `json` as [`parse`] does. Members below it that `T` has no place for are named in `dropped`, but for `passed`,
/// which lose nothing: tags, and what clients send back of replies. Members that [say nothing](is_default) are no loss
/// either.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_all<'a, T: Deserialize<'a>>(
    json: &'a str,
    field: impl FnOnce() -> String,
    passed: &[&str],
    dropped: &mut Unsupported,
) -> Result<T, Invalid> {
    let (value, unknown) = parse_noting(json, field, passed)?;
    unknown.name(dropped);
    Ok(value)
}

/// Reads `json` as [`parse_all`] does, and leaves the report to the caller: for a list whose elements may be left out
/// as a whole, and are then reported as such.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_noting<'a, T: Deserialize<'a>>(
    json: &'a str,
    field: impl FnOnce() -> String,
    passed: &[&str],
) -> Result<(T, Unknown<'a>), Invalid> {
    let mut members: Vec<Place> = Vec::new();
    let mut source = serde_json::Deserializer::from_str(json);
    let read = serde_ignored::deserialize(&mut source, |path| {
        // Fields of type `IgnoredAny` are known, and optional.
        if let Path::Map { key, .. } = &path
            && members.len() < MAX_UNKNOWN
            && !passed.contains(&key.as_str())
            // Half of the capacity is for names that were not found before.
            && (members.len() < MAX_UNKNOWN / 2 || !members.iter().any(|known| known.name() == key))
        {
            members.push(Place::of(&path));
        }
    });
    match read {
        Ok(value) => Ok((value, Unknown { json, members })),
        Err(_) => locate(json, field()).map(|value| (value, Unknown { json, members: Vec::new() })),
    }
}

/// Most fields that are examined for a report, which holds far fewer names.
const MAX_UNKNOWN: usize = 256;
/// Most fields whose values are looked up, each at the cost of a scan of the document. Others are assumed to differ
/// from the default.
const MAX_LOOKUPS: usize = 32;

/// Whether a value means the same as its absence. An empty object may be a switch, as in `{"google_search": {}}`.
pub(super) fn is_default(json: &str) -> bool {
    matches!(json, "null" | "false" | "\"\"") || is_empty(json, '[', ']')
}

/// Whether it is a list or an object, with these brackets, that contains nothing.
fn is_empty(json: &str, open: char, close: char) -> bool {
    let inside = json.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

/// Reports a field of the body that no decoder reads, unless it has a [default value](is_default). There empty objects
/// are no switches.
pub(super) fn record_unread(member: &Member<'_>, dropped: &mut Unsupported) {
    let json = member.as_json();
    if !is_default(json) && !is_empty(json, '{', '}') {
        dropped.add(member.name().into_owned());
    }
}

/// Where a value is: the path to it.
pub(super) struct Place(Vec<Step>);

enum Step {
    Member(String),
    Element(usize),
}

impl Place {
    fn of(path: &Path<'_>) -> Self {
        let mut steps = Vec::new();
        let mut at = path;
        loop {
            at = match at {
                Path::Root => break,
                Path::Seq { parent, index } => {
                    steps.push(Step::Element(*index));
                    parent
                }
                Path::Map { parent, key } => {
                    steps.push(Step::Member(key.clone()));
                    parent
                }
                Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => parent,
            };
        }
        steps.reverse();
        Self(steps)
    }

    /// The innermost field's name.
    fn name(&self) -> &str {
        let name = |step: &'_ Step| matches!(step, Step::Member(_));
        match self.0.iter().rfind(|step| name(step)) {
            Some(Step::Member(name)) => name,
            _ => "",
        }
    }

    /// The value there.
    fn find<'a>(&self, mut json: &'a str) -> Option<&'a str> {
        for step in &self.0 {
            json = match step {
                Step::Element(index) => serde_json::from_str::<Vec<&RawValue>>(json).ok()?.get(*index)?.get(),
                Step::Member(name) => {
                    let span = TopLevel::scan(json.as_bytes()).ok()?.get(name)?.span.clone();
                    json.get(span)?
                }
            };
        }
        Some(json)
    }
}

/// Fields that were not read.
pub(super) struct Unknown<'a> {
    json: &'a str,
    members: Vec<Place>,
}

impl Unknown<'_> {
    /// An element of the list was left out and reported: its fields need no report of their own.
    pub(super) fn discard(&mut self, element: usize) {
        self.members.retain(|place| !matches!(place.0.first(), Some(Step::Element(index)) if *index == element));
    }

    /// Reports those that differ from the default.
    pub(super) fn name(self, dropped: &mut Unsupported) {
        let mut lookups = 0;
        for place in self.members {
            let name = place.name();
            if dropped.names().iter().any(|known| known == name) {
                continue;
            }
            lookups += 1;
            if lookups > MAX_LOOKUPS || !place.find(self.json).is_some_and(is_default) {
                dropped.add(name.to_owned());
            }
        }
    }
}

/// Most fields of a document that are removed to make the rest readable.
const MAX_REPAIRS: usize = 16;

/// Fields of replies and events that hold the answer itself, or identify the answer: without them the answer would be a
/// different one.
pub(super) const ANSWER: &[&str] = &[
    "choices",
    "candidates",
    "output",
    "message",
    "delta",
    "content",
    "parts",
    "text",
    "tool_calls",
    "function",
    "functionCall",
    "toolUse",
    "name",
    "arguments",
    "args",
    "input",
    "partial_json",
    "index",
    "contentBlockIndex",
];

/// The result of repairing a document that has fields of unexpected types.
pub(super) enum Repair {
    /// The document is readable with `null` in the place of these fields; the document and the fields' names.
    Mended(String, Unsupported),
    /// This field must not be missing.
    Vital(String),
}

impl Repair {
    pub(super) fn mended(self) -> Option<(String, Unsupported)> {
        match self {
            Self::Mended(text, names) => Some((text, names)),
            Self::Vital(_) => None,
        }
    }
}

/// Repairs a document. `wrong` returns the place of the first wrong field, as [`find_type_error`] does; `vital` fields
/// are not removed. `None` if that does not make it readable, and if there is nothing to repair.
pub(super) fn repair(json: &str, vital: &[&str], wrong: &dyn Fn(&str) -> Option<Place>) -> Option<Repair> {
    serde_json::from_str::<&RawValue>(json).ok()?;
    let (mut text, mut names) = (json.to_owned(), Unsupported::default());
    for _ in 0..MAX_REPAIRS {
        let Some(mut place) = wrong(&text) else { return (text != json).then_some(Repair::Mended(text, names)) };
        // Where the field must not be absent, the value around it is removed instead, but never the whole document.
        loop {
            if place.0.is_empty() {
                return None;
            }
            let value = place.find(&text)?;
            if vital.contains(&place.name()) {
                return Some(Repair::Vital(place.name().to_owned()));
            }
            if value != "null" {
                let start = value.as_ptr().addr() - text.as_ptr().addr();
                let span = start..start + value.len();
                names.add(place.name().to_owned());
                text.replace_range(span, "null");
                break;
            }
            place.0.pop();
        }
    }
    None
}

/// Repairs a buffered reply, as [`repair`] does. `None` if that does not make it readable.
pub(super) fn repair_reply(
    body: &[u8],
    vital: &[&str],
    wrong: &dyn Fn(&str) -> Option<Place>,
) -> Option<(String, Unsupported)> {
    repair(std::str::from_utf8(body).ok()?, vital, wrong)?.mended()
}

/// Where `json` is no `T`, if it is none.
pub(super) fn find_type_error<'a, T: Deserialize<'a>>(json: &'a str) -> Option<Place> {
    let mut source = serde_json::Deserializer::from_str(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut source).err()?;
    let steps = error.path().iter().map_while(|segment| match segment {
        Segment::Seq { index } => Some(Step::Element(*index)),
        Segment::Map { key } => Some(Step::Member(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    Some(Place(steps.collect()))
}

/// Reads `json` once more, with the path of every field, to find the wrong one.
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
        // The message has the position within the value, which is not that in the client's body.
        let message = error.inner().to_string();
        Invalid::new(field, message.split(" at line ").next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;
    use crate::conversation::Text;

    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        name: Option<Text<'a>>,
        raw: Option<&'a RawValue>,
        looked_at: Option<IgnoredAny>,
        #[serde(default)]
        list: Vec<Wire<'a>>,
    }

    fn unknown(json: &str) -> String {
        let mut dropped = Unsupported::default();
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
        assert_eq!(unknown(r#"{"a":null,"b":"","c":[],"d":{},"e":false,"f": 0}"#), "d, f");
        assert_eq!(unknown(r#"{"list":[{"a":null},{"a" : 1}]}"#), "a");
        assert_eq!(unknown(r#"{"\u0061":1,"\u0062":null}"#), "a", "a name with escapes is one");
        assert_eq!(unknown(r#"{"raw":{"a":1},"a":null}"#), "", "what is read as it stands has members of its own");
    }

    #[test]
    fn many_members_are_looked_at_for_a_while_only() {
        let nulls = |count: usize| (0..count).map(|n| format!(r#""n{n}":null"#)).collect::<Vec<_>>().join(",");
        assert_eq!(unknown(&format!("{{{}}}", nulls(MAX_LOOKUPS))), "");
        assert_eq!(unknown(&format!("{{{}}}", nulls(MAX_LOOKUPS + 1))), format!("n{MAX_LOOKUPS}"));
    }

    #[test]
    fn what_an_element_holds_that_is_left_out_needs_no_name() {
        let json = r#"[{"a":1},{"b":1,"list":[{"c":1}]},{"b":2}]"#;
        for (forgotten, expected) in [(0, "b, c"), (1, "a, b"), (2, "a, b, c"), (3, "a, b, c")] {
            let (_, mut unknown) = parse_noting::<Vec<Wire<'_>>>(json, String::new, &[]).unwrap();
            let mut dropped = Unsupported::default();
            unknown.discard(forgotten);
            unknown.name(&mut dropped);
            assert_eq!(dropped.to_string(), expected, "{forgotten}");
        }
    }

    #[test]
    fn documents_are_read_without_what_is_of_no_known_type() {
        let mended = |json: &str| {
            let (text, names) = repair(json, &["vital"], &|json| find_type_error::<Wire<'_>>(json))?.mended()?;
            Some(format!("{text} {names}"))
        };
        assert_eq!(mended(r#"{"name":"a"}"#), None, "nothing is wrong");
        let odd = r#"{"name":7,"list":[{"name":{"x":1}},{"name":"b"}]}"#;
        assert_eq!(mended(odd).unwrap(), r#"{"name":null,"list":[{"name":null},{"name":"b"}]} name"#);
        assert_eq!(mended(r#"{"list":[7],"name":"a"}"#), None, "a list must not be absent");
        assert_eq!(mended("7"), None);
        assert_eq!(mended("{"), None);
        let many = format!(r#"{{"list":[{}]}}"#, vec![r#"{"name":1}"#; MAX_REPAIRS + 1].join(","));
        assert_eq!(mended(&many), None);
    }

    #[test]
    fn errors_name_the_innermost_field() {
        assert_eq!(unknown(r#"{"list":[{},{"name":7}]}"#), "it.list[1].name: expected a string");
        assert_eq!(unknown("7"), "it: invalid type: integer `7`, expected struct Wire");
    }

    #[test]
    fn values_are_read_as_they_are() {
        let json = r#"{"name":"a\n","raw":[1, 2]}"#;
        let wire: Wire<'_> = parse_all(json, String::new, &[], &mut Unsupported::default()).unwrap();
        assert_eq!(wire.name.unwrap().decode(), "a\n");
        assert_eq!(wire.raw.unwrap().get(), "[1, 2]");
        assert!(wire.looked_at.is_none() && wire.list.is_empty());
    }
}
