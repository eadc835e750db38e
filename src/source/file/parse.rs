//! Parses text to values, and finds the line of a path inside a value.

use std::cell::Cell;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{Error, MessageFormatter, Options, Spanned, UserMessageFormatter};

use crate::api::field::Step;

/// The error for text that can't be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line inside the text, from 1.
    pub line: usize,
    /// The error. It never shows text of the document: that may be a Secret.
    pub message: String,
}

/// A value of a file and the line it starts at, from 1.
pub(super) struct Json<'a> {
    pub line: usize,
    pub text: &'a str,
    pub value: Result<Value, SyntaxError>,
}

/// Bounds for one document. The parser's own defaults are for configuration files; a list of 5,000 routes is larger.
fn options() -> Options {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_depth: 64,
        },
        // Aliases repeat values; more than this is a mistake or an attack.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        // A snippet would show the document's text, which may be a Secret.
        with_snippet: false,
    };
    options.emit_comments = false;
    options
}

/// Parses one YAML document. Scalars have the type that YAML defines, whatever type the field requires, as at the API
/// server.
pub(super) fn yaml(text: &str) -> Result<Value, SyntaxError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let error = error.without_snippet();
        SyntaxError { line: error.location().map_or(1, |at| line_number(at.line())), message: message(error) }
    })
}

fn message(error: &Error) -> String {
    match error {
        // Its text would show the value.
        Error::NonFiniteFloat { .. } => "a number is not finite; quote it if it is meant as text".to_owned(),
        Error::AliasError { error, .. } => message(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{}` is there twice", key.escape_debug()),
        error => UserMessageFormatter.format_message(error).escape_debug().to_string(),
    }
}

/// Parses the values of a JSON file, any number of them. Ends at the first that does not parse.
pub(super) fn json(text: &str) -> Vec<Json<'_>> {
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut end = 0;
    let mut line = 1;
    loop {
        let rest = text.get(end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_ascii_start().len();
        line += newlines(rest.get(..blank).unwrap_or_default());
        let Some(value) = stream.next() else { return values };
        let start = end + blank;
        end = stream.byte_offset();
        let failed = value.is_err();
        let span = text.get(start..if failed { text.len() } else { end }).unwrap_or_default();
        let value = value.map_err(|e| {
            let text = e.to_string();
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
            SyntaxError { line: (e.line() + 1).saturating_sub(line).max(1), message }
        });
        values.push(Json { line, text: span, value });
        if failed {
            return values;
        }
        line += newlines(span);
    }
}

fn newlines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

fn line_number(line: u64) -> usize {
    usize::try_from(line).unwrap_or(1).max(1)
}

/// The line of `text`, from 1, of the value at `path`, or of the deepest value on the way that exists.
pub(super) fn line_of(text: &str, path: &[Step]) -> usize {
    let line = Cell::new(1);
    let seek = Seek { path, line: &line, by_key: false };
    // The walk ends at the value, which the parser reports as an error.
    let _ = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |de| seek.deserialize(de));
    line.get()
}

/// The lines at which the elements of the sequence under the key `items` start.
pub(super) fn item_lines(text: &str) -> Vec<usize> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Spanned<IgnoredAny>>,
    }
    let list: Result<List, _> = serde_saphyr::from_str_with_options(text, options());
    list.map(|list| list.items.iter().map(|item| line_number(item.referenced.line())).collect()).unwrap_or_default()
}

/// Walks to a path and stores the last line it has seen.
struct Seek<'a> {
    path: &'a [Step],
    line: &'a Cell<usize>,
    /// The line is that of the value's key already.
    by_key: bool,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.path.first() {
            None if self.by_key => {}
            None => self.line.set(line_number(Spanned::<IgnoredAny>::deserialize(deserializer)?.referenced.line())),
            Some(Step::Key(_)) => return deserializer.deserialize_map(self),
            Some(Step::Index(_)) => return deserializer.deserialize_seq(self),
        }
        Err(D::Error::custom("arrived"))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value on the path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), path)) = self.path.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if key.value == *wanted {
                self.line.set(line_number(key.referenced.line()));
                return map.next_value_seed(Seek { path, line: self.line, by_key: true });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((&Step::Index(index), path)) = self.path.split_first() else { return Ok(()) };
        for _ in 0..index {
            seq.next_element::<IgnoredAny>()?;
        }
        seq.next_element_seed(Seek { path, line: self.line, by_key: false })?;
        Ok(())
    }
}

/// The parts that can be read of a document that does not parse: its kind, namespace and name in block style.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Salvage<'a> {
    pub kind: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// Reads the kind and name of a document that does not parse, from its lines alone.
pub(super) fn salvage(text: &str) -> Salvage<'_> {
    let mut found = Salvage::default();
    let mut metadata = false;
    let mut depth = None;
    for line in text.lines() {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        if indent == 0 {
            metadata = content.trim_end() == "metadata:";
            depth = None;
            if let Some(kind) = scalar(content, "kind:") {
                found.kind = found.kind.or(Some(kind));
            }
        } else if metadata && *depth.get_or_insert(indent) == indent {
            if let Some(name) = scalar(content, "name:") {
                found.name = found.name.or(Some(name));
            } else if let Some(namespace) = scalar(content, "namespace:") {
                found.namespace = found.namespace.or(Some(namespace));
            }
        }
    }
    found
}

fn scalar<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let value = line.strip_prefix(key)?.strip_prefix(' ')?;
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn value(text: &str, expect: &Value) {
        assert_eq!(&yaml(text).unwrap(), expect, "{text}");
    }

    #[test]
    fn scalars_have_yaml_types() {
        value(
            "a: 80\nb: '80'\nc: null\nd: true\ne: 1.5\nf: ~\n",
            &json!({"a":80,"b":"80","c":null,"d":true,"e":1.5,"f":null}),
        );
        value("--- # c\na: |\n  x\n  ---\n", &json!({"a":"x\n---\n"}));
        value("%YAML 1.2\n---\na: &x [1]\nb: *x\n", &json!({"a":[1],"b":[1]}));
        value(
            "a: 2025-01-01\nb: 10.0.0.1\nc: sk-1\nd: 08:30\n",
            &json!({"a":"2025-01-01","b":"10.0.0.1","c":"sk-1","d":"08:30"}),
        );
    }

    #[test]
    fn syntax_errors_have_lines_and_no_text() {
        let cases = [
            ("a: 1\nb: [1\nc: 2\n", 2..=4),
            ("a: 1\n\tb: secret\n", 1..=2),
            ("a: 1\na: secret\n", 2..=2),
            ("a: \"secret\n", 1..=2),
            ("k: *secret\n", 1..=1),
            ("k: !s!secret x\n", 1..=1),
            ("k: 1e999\n", 1..=1),
            ("k: %secret\n", 1..=1),
            ("k: @secret\n", 1..=1),
        ];
        for (text, lines) in cases {
            let error = yaml(text).unwrap_err();
            assert!(lines.contains(&error.line), "{text}: {error:?}");
            assert!(!error.message.contains("secret") && !error.message.contains("1e999"), "{text}: {error:?}");
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        yaml(&"[".repeat(100_000)).unwrap_err();
        let lines: Vec<_> = (0..5_000).map(|i| " ".repeat(i) + "a:\n").collect();
        yaml(&lines.concat()).unwrap_err();
        assert!(json(&"[".repeat(100_000))[0].value.is_err());
    }

    #[test]
    fn paths_have_lines() {
        let text = "---\na:\n  b:\n    - c: 1\n    - c: 2\n      d: [1,\n        2]\n  e: {f: 1}\n";
        let key = |k: &str| Step::Key(k.to_owned());
        let check = |path: &[Step], expect| assert_eq!(line_of(text, path), expect, "{path:?}");
        check(&[], 2);
        check(&[key("a")], 2);
        check(&[key("a"), key("b")], 3);
        check(&[key("a"), key("b"), Step::Index(1)], 5);
        check(&[key("a"), key("b"), Step::Index(1), key("d"), Step::Index(1)], 7);
        check(&[key("a"), key("e"), key("f")], 8);
        // A missing value is reported at the line where it should be.
        check(&[key("a"), key("e"), key("g")], 8);
        check(&[key("a"), key("x")], 2);
        check(&[key("a"), key("b"), Step::Index(7)], 3);
    }

    #[test]
    fn json_streams_have_lines() {
        let values = json("\n{\"a\":\n1}\n {\"b\":2}\n\n{\"c\":\n oops}");
        let got: Vec<_> = values.iter().map(|v| (v.line, v.value.is_ok())).collect();
        assert_eq!(got, [(2, true), (4, true), (6, false)]);
        assert_eq!(values[2].value.as_ref().unwrap_err().line, 2);
        assert_eq!(item_lines("items:\n- a: 1\n- a: 2\n  b: 3\n-\n  a: 4\n"), [2, 3, 6]);
    }

    #[test]
    fn broken_documents_still_have_names() {
        let text = "apiVersion: v1\nkind: Secret # c\nmetadata:\n  labels:\n    name: no\n  name: \"keys\"\n  \
            namespace: a\nspec:\n  name: no\n  x: [\n";
        assert_eq!(salvage(text), Salvage { kind: Some("Secret"), namespace: Some("a"), name: Some("keys") });
        assert_eq!(salvage("kind:\nmeta"), Salvage::default());
    }
}
