//! Every golden file with fields removed or of a wrong type, and requests larger than any real one.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tollgate_dialects::{dialect::DialectId, stream::TopLevel};

use super::exercise;

/// Inputs of the golden files of one kind.
pub fn golden(kind: &str) -> Vec<(DialectId, String)> {
    let folders = ["chat", "responses", "messages", "gemini", "converse"];
    let mut inputs = Vec::new();
    for (dialect, folder) in DialectId::ALL.into_iter().zip(folders) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder).join(kind);
        for entry in fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display())) {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let input = text.strip_prefix("=== input\n").unwrap();
            inputs.push((dialect, input.split("\n=== ").next().unwrap().trim_end_matches('\n').to_owned()));
        }
    }
    assert!(inputs.len() > 20, "the golden files of {kind} were not found");
    inputs
}

/// A stream as bytes: golden files have those of Bedrock as lines of `NAME JSON`, with `!` before an exception's
/// name.
pub fn wire(dialect: DialectId, input: &str) -> Vec<u8> {
    use tollgate_dialects::stream::aws::{write_event, write_exception};
    if dialect != DialectId::Converse {
        return format!("{input}\n\n").into_bytes();
    }
    let mut out = Vec::new();
    for line in input.lines() {
        let (name, json) = line.split_once(' ').unwrap_or((line, "{}"));
        let payload = |out: &mut Vec<u8>| out.extend_from_slice(json.as_bytes());
        match name.strip_prefix('!') {
            Some(name) => write_exception(&mut out, name, payload),
            None => write_event(&mut out, name, payload),
        }
    }
    out
}

/// How many values a document holds, its own among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(object) => object.values().map(count).sum::<usize>(),
        Value::Array(list) => list.iter().map(count).sum(),
        _ => 0,
    }
}

/// Removes the value at `number`, or replaces it.
fn spoil(value: &mut Value, number: &mut usize, with: Option<&Value>) -> bool {
    fn meet(value: &mut Value, number: &mut usize, with: Option<&Value>) -> Option<bool> {
        *number -= 1;
        if *number > 0 {
            return spoil(value, number, with).then_some(false);
        }
        if let Some(with) = with {
            *value = with.clone();
        }
        Some(with.is_none())
    }
    match value {
        Value::Object(object) => {
            let keys: Vec<String> = object.keys().cloned().collect();
            for key in keys {
                if let Some(remove) = meet(&mut object[&key], number, with) {
                    if remove {
                        object.remove(&key);
                    }
                    return true;
                }
            }
        }
        Value::Array(list) => {
            for at in 0..list.len() {
                if let Some(remove) = meet(&mut list[at], number, with) {
                    if remove {
                        list.remove(at);
                    }
                    return true;
                }
            }
        }
        _ => {}
    }
    false
}

/// Calls `check` with every document that results from removing or replacing one value of `json`.
fn spoiled(json: &str, check: impl Fn(&[u8])) {
    check(json.as_bytes());
    let Ok(whole) = serde_json::from_str::<Value>(json) else { return };
    let others = [
        json!(null),
        json!(-1.5),
        json!(18_446_744_073_709_551_615_u64),
        json!(true),
        json!(""),
        json!("x\u{0}\u{fffd}"),
        json!([]),
        json!([null, 1, "a", [], {}]),
        json!({}),
        json!({"type": "new", "text": 1}),
    ];
    for number in 1..count(&whole) {
        let replaced = (0..3).map(|turn| Some(&others[(number * 3 + turn) % others.len()]));
        for with in replaced.chain([None]) {
            let mut value = whole.clone();
            assert!(spoil(&mut value, &mut number.clone(), with), "there is no value {number}");
            check(value.to_string().as_bytes());
        }
    }
}

#[test]
fn spoiled_requests_are_read_or_refused() {
    for (dialect, input) in golden("requests") {
        spoiled(&input, |body| exercise::request(dialect, body));
    }
}

#[test]
fn spoiled_replies_are_read_or_refused() {
    for (dialect, input) in golden("replies") {
        spoiled(&input, |body| exercise::reply(dialect, body));
    }
    for (dialect, input) in golden("errors") {
        let (_, body) = input.split_once('\n').unwrap_or(("", &input));
        spoiled(body, |body| exercise::reply(dialect, body));
    }
}

#[test]
fn spoiled_streams_are_read_in_a_legal_order() {
    for (dialect, input) in golden("streams") {
        let lines: Vec<&str> = input.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(start) = line.find('{') else { continue };
            let (head, json) = line.split_at(start);
            spoiled(json, |other| {
                let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                lines[at] = format!("{head}{}", String::from_utf8_lossy(other));
                exercise::events(dialect, 7, &wire(dialect, &lines.join("\n")));
            });
        }
        // Whole events gone, twice, and out of order.
        for at in 0..lines.len() {
            for change in 0..3 {
                let mut lines = lines.clone();
                match change {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(at, lines[at]),
                    _ => lines.swap(at, 0),
                }
                exercise::events(dialect, 7, &wire(dialect, &lines.join("\n")));
            }
        }
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_has_no_end() {
    for (dialect, input) in golden("streams") {
        let wire = wire(dialect, &input);
        let whole = exercise::read_stream(dialect, &[&wire]);
        for at in 0..wire.len() {
            let told = exercise::read_stream(dialect, &[&wire[..at]]);
            exercise::check_order(dialect, &told);
            let ends = |events: &[tollgate_dialects::conversation::Event<'_>]| {
                events.iter().any(|e| matches!(e, tollgate_dialects::conversation::Event::End))
            };
            // The order requires an end after the finish of an answer; here it must be the same answer.
            assert!(!ends(&told) || ends(&whole), "{dialect:?} cut at {at}: {told:?}");
        }
    }
}

/// A request of `dialect` whose size depends on `messages`, `tools` and the schema's depth.
fn large(dialect: DialectId, messages: usize, tools: usize, depth: usize) -> String {
    let schema = format!(
        r#"{}{{"type":"string"}}{}"#,
        r#"{"type":"object","properties":{"a":"#.repeat(depth),
        "}}".repeat(depth)
    );
    let list = |of: &dyn Fn(usize) -> String, count: usize| (0..count).map(of).collect::<Vec<_>>().join(",");
    let role = |at: usize, other: &'static str| if at.is_multiple_of(2) { "user" } else { other };
    match dialect {
        DialectId::Chat => format!(
            r#"{{"messages":[{}],"tools":[{}]}}"#,
            list(&|at| format!(r#"{{"role":"{}","content":"m{at}"}}"#, role(at, "assistant")), messages),
            list(&|at| format!(r#"{{"type":"function","function":{{"name":"f{at}","parameters":{schema}}}}}"#), tools),
        ),
        DialectId::Responses => format!(
            r#"{{"input":[{}],"tools":[{}]}}"#,
            list(&|at| format!(r#"{{"role":"{}","content":"m{at}"}}"#, role(at, "assistant")), messages),
            list(&|at| format!(r#"{{"type":"function","name":"f{at}","parameters":{schema}}}"#), tools),
        ),
        DialectId::Messages => format!(
            r#"{{"max_tokens":9,"messages":[{}],"tools":[{}]}}"#,
            list(&|at| format!(r#"{{"role":"{}","content":"m{at}"}}"#, role(at, "assistant")), messages),
            list(&|at| format!(r#"{{"name":"f{at}","input_schema":{schema}}}"#), tools),
        ),
        DialectId::Gemini => format!(
            r#"{{"contents":[{}],"tools":[{{"functionDeclarations":[{}]}}]}}"#,
            list(&|at| format!(r#"{{"role":"{}","parts":[{{"text":"m{at}"}}]}}"#, role(at, "model")), messages),
            list(&|at| format!(r#"{{"name":"f{at}","parametersJsonSchema":{schema}}}"#), tools),
        ),
        DialectId::Converse => format!(
            r#"{{"messages":[{}],"toolConfig":{{"tools":[{}]}}}}"#,
            list(&|at| format!(r#"{{"role":"{}","content":[{{"text":"m{at}"}}]}}"#, role(at, "assistant")), messages),
            list(&|at| format!(r#"{{"toolSpec":{{"name":"f{at}","inputSchema":{{"json":{schema}}}}}}}"#), tools),
        ),
    }
}

/// Reads and writes; a refusal is a valid result.
fn survives(dialect: DialectId, body: &str) -> usize {
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let Ok(request) = dialect.dialect().read_request(&top) else { return 0 };
    let written = exercise::DESTINATIONS.iter().filter(|to| {
        let (mut out, mut dropped) = (Vec::new(), tollgate_dialects::conversation::Unsupported::default());
        to.0.dialect().write_request(&request, &exercise::destination(**to), &mut dropped, &mut out).is_ok()
    });
    written.count()
}

#[test]
fn ten_thousand_messages_and_a_thousand_tools_are_carried() {
    for dialect in DialectId::ALL {
        let body = large(dialect, 10_000, 1_000, 3);
        assert_eq!(survives(dialect, &body), exercise::DESTINATIONS.len(), "{dialect:?}");
        exercise::request(dialect, large(dialect, 1_001, 50, 3).as_bytes());
    }
}

#[test]
fn schemas_of_any_depth_are_carried_or_refused() {
    for dialect in DialectId::ALL {
        for depth in [50, 200, 400] {
            survives(dialect, &large(dialect, 1, 2, depth));
        }
        // Deeper than any document may be: refused before a dialect sees it.
        assert!(TopLevel::scan(large(dialect, 1, 1, 1_000).as_bytes()).is_err(), "{dialect:?}");
    }
}
