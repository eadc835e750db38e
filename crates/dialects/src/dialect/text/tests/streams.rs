//! Streams whose text is cut at every position, in every dialect, unchanged in their dialect and translated.

use std::{fmt::Write as _, sync::Arc};

use serde_json::{Value, json};

use super::{HoldAll, Refuse, Seen, Word, chain, frames, mode, splice, word};
use crate::{
    conversation::Event,
    dialect::{
        ReplyHead, StreamMode, Translator,
        text::{DialectId, FilterChain, TextFilteredStream, TextKind},
    },
};

fn sse(events: &[Value]) -> Vec<u8> {
    let framed: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    framed.concat().into_bytes()
}

fn named(events: &[Value]) -> Vec<u8> {
    let named = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(named).collect::<Vec<_>>().concat().into_bytes()
}

fn chat(texts: &[&str]) -> Vec<u8> {
    let chunk = |delta: Value, finish: Value| {
        json!({ "id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(texts.iter().map(|text| chunk(json!({ "content": text }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    events.push(json!({ "id": "c1", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }));
    let mut wire = sse(&events);
    wire.extend_from_slice(b"data: [DONE]\n\n");
    wire
}

fn messages(texts: &[&str]) -> Vec<u8> {
    let mut events = vec![
        json!({ "type": "message_start", "message": { "id": "msg_1", "model": "m", "content": [],
            "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
    ];
    events.extend(texts.iter().map(
        |text| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
    ));
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
        "usage": { "output_tokens": 3 } }));
    events.push(json!({ "type": "message_stop" }));
    named(&events)
}

fn gemini_events(texts: &[&str]) -> Vec<Value> {
    let (last, first) = texts.split_last().unwrap();
    let chunk = |text: &str| {
        json!({ "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" }, "index": 0 }],
            "modelVersion": "m", "responseId": "r" })
    };
    let mut events: Vec<Value> = first.iter().map(|text| chunk(text)).collect();
    let mut end = chunk(last);
    end["candidates"][0]["finishReason"] = "STOP".into();
    end["usageMetadata"] = json!({ "promptTokenCount": 1, "candidatesTokenCount": 2 });
    events.push(end);
    events
}

fn gemini(texts: &[&str]) -> Vec<u8> {
    sse(&gemini_events(texts))
}

fn converse(texts: &[&str]) -> Vec<u8> {
    let mut lines = "messageStart {\"role\":\"assistant\"}\n".to_owned();
    for text in texts {
        let delta = json!({ "contentBlockIndex": 0, "delta": { "text": text } });
        let _ = writeln!(lines, "contentBlockDelta {delta}");
    }
    lines += "contentBlockStop {\"contentBlockIndex\":0}\nmessageStop {\"stopReason\":\"end_turn\"}\n";
    frames(&lines)
}

/// Every text is repeated in all places that repeat it.
fn responses(texts: &[&str]) -> Vec<u8> {
    let whole = texts.concat();
    let part = json!({ "type": "output_text", "text": whole, "annotations": [], "logprobs": [] });
    let item = json!({ "type": "message", "id": "msg_1", "role": "assistant", "content": [part] });
    let mut events = vec![
        json!({ "type": "response.created", "response": { "id": "resp_1", "model": "m", "output": [] } }),
        json!({ "type": "response.output_item.added", "output_index": 0,
            "item": { "type": "message", "id": "msg_1", "role": "assistant", "content": [] } }),
        json!({ "type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "part": { "type": "output_text", "text": "", "annotations": [] } }),
    ];
    events.extend(texts.iter().map(|text| {
        json!({ "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "delta": text, "logprobs": [] })
    }));
    let place = json!({ "item_id": "msg_1", "output_index": 0, "content_index": 0 });
    for (kind, field, value) in [
        ("response.output_text.done", "text", json!(whole)),
        ("response.content_part.done", "part", part),
        ("response.output_item.done", "item", item.clone()),
    ] {
        let mut event = place.clone();
        event["type"] = kind.into();
        event[field] = value;
        events.push(event);
    }
    events.push(json!({ "type": "response.completed", "response": { "id": "resp_1", "model": "m", "output": [item],
        "status": "completed", "usage": { "input_tokens": 1, "output_tokens": 2 } } }));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    named(&events)
}

fn stream(dialect: DialectId, texts: &[&str]) -> Vec<u8> {
    match dialect {
        DialectId::Chat => chat(texts),
        DialectId::Responses => responses(texts),
        DialectId::Messages => messages(texts),
        DialectId::Gemini => gemini(texts),
        DialectId::Converse => converse(texts),
    }
}

/// `text` cut at every place into two, and into single characters.
fn cuts(text: &str) -> Vec<Vec<&str>> {
    let borders: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
    let mut cuts: Vec<Vec<&str>> = borders.iter().map(|at| vec![&text[..*at], &text[*at..]]).collect();
    cuts.push(borders.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect());
    cuts
}

const TEXT: &str = "a secret is a \"sécret\"\nsecretsecret 😀 sec";
const MASKS: [&str; 3] = ["******", "[it was longer before]", ""];

fn head(mode: StreamMode) -> ReplyHead {
    ReplyHead { id: "made1".into(), model: "m".into(), created: 0, include_usage: true, mode, estimated_input: 9 }
}

fn translate(from: DialectId, to: DialectId, chain: &FilterChain, pieces: &[&[u8]]) -> Vec<u8> {
    let mut translator = Translator::new(from, mode(from), to, head(mode(to)), Arc::default());
    translator.filter_text(chain.clone());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&translator.frame(piece).unwrap());
    }
    out.extend_from_slice(&translator.finish());
    out
}

#[test]
fn a_word_that_is_cut_by_events_is_found() {
    for dialect in DialectId::ALL {
        for mask in MASKS {
            let (chain, expected) = (word("secret", mask), TEXT.replace("secret", mask));
            for texts in cuts(TEXT) {
                let wire = stream(dialect, &texts);
                let before = Seen::of(dialect, mode(dialect), &wire);
                let out = splice(dialect, mode(dialect), &chain, &[&wire]).unwrap();
                let seen = Seen::of(dialect, mode(dialect), &out);
                let shown = String::from_utf8_lossy(&out);
                assert_eq!(seen.text(), expected, "{dialect:?} {texts:?}\n{shown}");
                assert_eq!(seen.finished, before.finished, "{dialect:?}");
                assert!(!shown.contains("secret"), "{dialect:?}\n{shown}");
            }
        }
    }
}

#[test]
fn bytes_may_be_cut_anywhere() {
    for dialect in DialectId::ALL {
        let chain = word("secret", "[it was longer before]");
        let wire = stream(dialect, &["a se", "cret is", " a secre", "t.", " sec"]);
        let whole = splice(dialect, mode(dialect), &chain, &[&wire]).unwrap();
        for at in 0..=wire.len() {
            let (a, b) = wire.split_at(at);
            assert_eq!(splice(dialect, mode(dialect), &chain, &[a, b]).as_ref(), Ok(&whole), "{dialect:?} at {at}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(splice(dialect, mode(dialect), &chain, &bytes), Ok(whole), "{dialect:?}");
    }
}

#[test]
fn translated_streams_are_filtered_too() {
    let chain = word("secret", "******");
    for from in DialectId::ALL {
        for to in DialectId::ALL {
            for texts in cuts("the secret. sec") {
                let wire = stream(from, &texts);
                let out = translate(from, to, &chain, &[&wire]);
                let seen = Seen::of(to, mode(to), &out);
                assert_eq!(seen.text(), "the ******. sec", "{from:?} to {to:?} {texts:?}");
                assert!(!String::from_utf8_lossy(&out).contains("secret"), "{from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn without_filters_a_translation_is_the_same() {
    for (from, to) in [(DialectId::Chat, DialectId::Messages), (DialectId::Converse, DialectId::Responses)] {
        let wire = stream(from, &["one ", "two"]);
        let plain = translate(from, to, &FilterChain::default(), &[&wire]);
        assert_eq!(translate(from, to, &word("three", ""), &[&wire]), plain, "{from:?} to {to:?}");
    }
}

#[test]
fn text_that_is_held_to_the_end_comes_before_the_event_that_ends_its_block() {
    for dialect in DialectId::ALL {
        let chain = chain(vec![Arc::new(HoldAll)]);
        let wire = stream(dialect, &["all ", "of ", "it"]);
        let out = splice(dialect, mode(dialect), &chain, &[&wire]).unwrap();
        let mut order = Vec::new();
        super::read(dialect, mode(dialect), &out, &mut |event| match event {
            Event::Delta { text, .. } if !text.is_empty() => order.push(text.decode().into_owned()),
            Event::Close { .. } => order.push("close".into()),
            Event::Finish { reason, .. } => order.push(format!("{reason:?}")),
            _ => {}
        });
        assert_eq!(order, ["ALL OF IT", "close", "Stop"], "{dialect:?}\n{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn filters_are_a_chain() {
    let one = Word { find: "secret", by: "hidden", except: &[] };
    let two = Word { find: "hidden.", by: "-", except: &[] };
    let chain = chain(vec![Arc::new(one), Arc::new(two), Arc::new(HoldAll)]);
    for texts in cuts("a secret. b hid") {
        let out = splice(DialectId::Chat, StreamMode::Sse, &chain, &[&chat(&texts)]).unwrap();
        assert_eq!(Seen::of(DialectId::Chat, StreamMode::Sse, &out).text(), "A - B HID");
    }
}

#[test]
fn a_filter_ends_a_stream() {
    for dialect in DialectId::ALL {
        let chain = chain(vec![Arc::new(Refuse("bad"))]);
        let wire = stream(dialect, &["so far ", "ba", "d", " more"]);
        let mut stream = TextFilteredStream::new(dialect, mode(dialect), chain.clone());
        let mut out = Vec::new();
        let failure = stream.push(&wire, &mut out).unwrap_err();
        assert_eq!((failure.status, failure.code.as_deref()), (403, Some("guarded")), "{dialect:?}");
        let length = out.len();
        assert!(stream.push(b"", &mut out).is_err() && stream.finish(&mut out).is_err() && out.len() == length);
        let shown = String::from_utf8_lossy(&out);
        assert!(shown.contains("so far") && !shown.contains("more"), "{dialect:?}\n{shown}");
        let translated = translate(dialect, DialectId::Messages, &chain, &[&wire]);
        let shown = String::from_utf8_lossy(&translated);
        assert!(shown.contains("so far") && shown.contains("refused by a test"), "{dialect:?}\n{shown}");
        assert!(!shown.contains("more") && !shown.contains("message_stop"), "{dialect:?}\n{shown}");
    }
}

#[test]
fn arguments_are_held_and_their_strings_filtered() {
    let pieces = [r#"{"a":"my se"#, r#"cret \"x\"","secret":[1,"#, r#""secret"]}"#];
    let expected: Value = json!({ "a": "my ****** \"x\"", "secret": [1, "******"] });
    let chunk = |delta: Value| json!({ "id": "c", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] });
    let call = |arguments: &str, first: bool| {
        let mut call = json!({ "index": 0, "function": { "arguments": arguments } });
        if first {
            call["id"] = "call_1".into();
            call["function"]["name"] = "f".into();
        }
        chunk(json!({ "tool_calls": [call] }))
    };
    let mut events = vec![call("", true)];
    events.extend(pieces.iter().map(|piece| call(piece, false)));
    events.push(json!({ "id": "c", "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }));
    let chat = sse(&events);
    let mut events = vec![
        json!({ "type": "message_start", "message": { "id": "m", "content": [] } }),
        json!({ "type": "content_block_start", "index": 0,
            "content_block": { "type": "tool_use", "id": "t", "name": "f", "input": {} } }),
    ];
    events.extend(pieces.iter().map(|piece| {
        let delta = json!({ "type": "input_json_delta", "partial_json": piece });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    }));
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }));
    events.push(json!({ "type": "message_stop" }));
    let messages = named(&events);
    let mut lines = "messageStart {\"role\":\"assistant\"}\n".to_owned();
    lines +=
        "contentBlockStart {\"contentBlockIndex\":0,\"start\":{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\"}}}\n";
    for piece in pieces {
        let delta = json!({ "contentBlockIndex": 0, "delta": { "toolUse": { "input": piece } } });
        let _ = writeln!(lines, "contentBlockDelta {delta}");
    }
    lines += "contentBlockStop {\"contentBlockIndex\":0}\nmessageStop {\"stopReason\":\"tool_use\"}\n";
    let whole = pieces.concat();
    let item = json!({ "type": "function_call", "id": "fc", "call_id": "t", "name": "f", "arguments": whole });
    let mut events = vec![
        json!({ "type": "response.created", "response": { "id": "r", "output": [] } }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item":
            { "type": "function_call", "id": "fc", "call_id": "t", "name": "f", "arguments": "" } }),
    ];
    events.extend(pieces.iter().map(|piece| {
        json!({ "type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 0, "delta": piece })
    }));
    events.extend([
        json!({ "type": "response.function_call_arguments.done", "item_id": "fc", "output_index": 0,
            "arguments": whole }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": { "id": "r", "output": [item] } }),
    ]);
    let chain = word("secret", "******");
    for (dialect, wire) in [
        (DialectId::Chat, chat),
        (DialectId::Messages, messages),
        (DialectId::Converse, frames(&lines)),
        (DialectId::Responses, named(&events)),
    ] {
        let out = splice(dialect, mode(dialect), &chain, &[&wire]).unwrap();
        let seen = Seen::of(dialect, mode(dialect), &out);
        let shown = String::from_utf8_lossy(&out);
        assert_eq!(serde_json::from_str::<Value>(&seen.text()).unwrap(), expected, "{dialect:?}\n{shown}");
        assert!(!shown.contains("my secret"), "{dialect:?}\n{shown}");
        let translated = translate(dialect, DialectId::Chat, &chain, &[&wire]);
        let seen = Seen::of(DialectId::Chat, StreamMode::Sse, &translated);
        assert_eq!(serde_json::from_str::<Value>(&seen.text()).unwrap(), expected, "{dialect:?}");
    }
}

#[test]
fn repeats_are_known_by_their_text() {
    let chain = chain(vec![Arc::new(HoldAll)]);
    let delta = |output: u32, text: &str| json!({ "type": "response.output_text.delta", "output_index": output, "content_index": 0, "delta": text });
    // The list at the end lacks the first item, and has one that was never streamed.
    let item = |text: &str| json!({ "type": "message", "content": [{ "type": "output_text", "text": text }] });
    let events = [
        delta(1, "one"),
        delta(2, "two"),
        delta(2, " more"),
        json!({ "type": "response.completed", "response": { "output": [item("two more"), item("three"), item("one")] } }),
    ];
    let out = splice(DialectId::Responses, StreamMode::Sse, &chain, &[&named(&events)]).unwrap();
    let out = String::from_utf8(out).unwrap();
    let last: Value = serde_json::from_str(out.rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["response"]["output"], json!([item("TWO MORE"), item("THREE"), item("ONE")]));
}

#[test]
fn arguments_that_no_filter_looks_at_are_not_held() {
    let chunk =
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"secr"}}]}}]}"#;
    let wire = format!("data: {chunk}\n\n").into_bytes();
    let word = Word { find: "secret", by: "", except: &[TextKind::Arguments] };
    let mut stream = TextFilteredStream::new(DialectId::Chat, StreamMode::Sse, chain(vec![Arc::new(word)]));
    let mut out = Vec::new();
    stream.push(&wire, &mut out).unwrap();
    assert_eq!(out, wire);
}

#[test]
fn each_answer_is_a_text_of_its_own() {
    let chunk = |index: u32, content: &str| format!(r#"{{"index":{index},"delta":{{"content":"{content}"}}}}"#);
    let event = |choices: &[String]| format!("data: {{\"id\":\"c\",\"choices\":[{}]}}\n\n", choices.join(","));
    let wire = [
        event(&[chunk(0, "a sec"), chunk(1, "b sec")]),
        event(&[chunk(1, "ret"), chunk(0, "ond")]),
        event(&[r#"{"index":1,"delta":{},"finish_reason":"stop"}"#.into()]),
        event(&[r#"{"index":0,"delta":{"content":" sec"},"finish_reason":"stop"}"#.into()]),
    ];
    let out = splice(DialectId::Chat, StreamMode::Sse, &word("secret", "*"), &[wire.concat().as_bytes()]).unwrap();
    let seen = Seen::of(DialectId::Chat, StreamMode::Sse, &out);
    let texts: Vec<_> = seen.blocks.iter().map(|block| (block.0, block.3.as_str())).collect();
    assert_eq!(texts, [(0, "a second sec"), (1, "b *")]);
}

#[test]
fn a_finish_that_is_none_keeps_the_text_together() {
    let chunk = |text: &str| {
        let part = json!({ "candidates": [{ "content": { "parts": [{ "text": text }] }, "finishReason": "STOP" }] });
        format!("data: {part}\r\n\r\n")
    };
    for texts in cuts("my secret. sec") {
        let wire: String = texts.iter().map(|text| chunk(text)).collect();
        let out = splice(DialectId::Gemini, StreamMode::Sse, &word("secret", "******"), &[wire.as_bytes()]).unwrap();
        let seen = Seen::of(DialectId::Gemini, StreamMode::Sse, &out);
        assert_eq!(seen.text(), "my ******. sec", "{texts:?}\n{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn geminis_arrays_are_streams_too() {
    for mask in MASKS {
        for texts in cuts(TEXT) {
            let events: Vec<String> = gemini_events(&texts).iter().map(ToString::to_string).collect();
            let wire = format!("[{}\n]", events.join("\n,\r\n")).into_bytes();
            let out = splice(DialectId::Gemini, StreamMode::JsonArray, &word("secret", mask), &[&wire]).unwrap();
            let seen = Seen::of(DialectId::Gemini, StreamMode::JsonArray, &out);
            assert_eq!(seen.text(), TEXT.replace("secret", mask), "{}", String::from_utf8_lossy(&out));
            let nothing = splice(DialectId::Gemini, StreamMode::JsonArray, &word("\u{1}", mask), &[&wire]);
            assert_eq!(nothing, Ok(wire));
        }
    }
    // Without an event that ends the answer, the text follows the last event.
    let wire = br#"[{"candidates":[{"content":{"parts":[{"text":"a sec"}]}}]}]"#;
    let out = splice(DialectId::Gemini, StreamMode::JsonArray, &word("secret", ""), &[wire]).unwrap();
    assert_eq!(Seen::of(DialectId::Gemini, StreamMode::JsonArray, &out).text(), "a sec");
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let chunk = |text: &str| {
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let wire = [chunk(r"a \ud83d"), chunk(r"\ude00 b"), chunk(r"\\ud83d"), "data: [DONE]\n\n".into()].concat();
    for mask in ["!", "😀"] {
        let out = splice(DialectId::Chat, StreamMode::Sse, &word("😀", mask), &[wire.as_bytes()]).unwrap();
        assert_eq!(Seen::of(DialectId::Chat, StreamMode::Sse, &out).text(), format!("a {mask} b\\ud83d"));
    }
}

#[test]
fn a_stream_that_was_cut_gives_what_was_held() {
    for dialect in DialectId::ALL {
        let wire = stream(dialect, &["a sec", "ond", " sec"]);
        let needle = b"ond";
        let at = wire.windows(needle.len()).position(|window| window == needle).unwrap();
        let cut = wire.get(..at).unwrap();
        let out = splice(dialect, mode(dialect), &word("secret", "*"), &[cut]).unwrap();
        let seen = Seen::of(dialect, mode(dialect), &out);
        assert_eq!(seen.text(), "a sec", "{dialect:?}\n{}", String::from_utf8_lossy(&out));
    }
    // An event that lacks only its blank line is complete.
    for end in ["", "\n", "\n\n"] {
        let wire = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a sec\"}}}}]}}{end}");
        let out = splice(DialectId::Chat, StreamMode::Sse, &word("secret", "*"), &[wire.as_bytes()]).unwrap();
        let seen = Seen::of(DialectId::Chat, StreamMode::Sse, &out);
        assert_eq!(seen.text(), "a sec", "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn what_cannot_be_seen_does_not_pass() {
    let good = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
    for (bad, fails) in [
        ("data: {bad json\n\n", true),
        ("data: {\"a\":1\n\n", true),
        ("data: hello\n\n", true),
        ("event: ping\ndata: now\n\n", false),
        ("data: 3\n\n", false),
        ("data:\n\n", false),
        (": comment\n\n", false),
    ] {
        let wire = format!("{good}{bad}{good}");
        let out = splice(DialectId::Chat, StreamMode::Sse, &word("secret", "*"), &[wire.as_bytes()]);
        assert_eq!(out, if fails { Err(good.into()) } else { Ok(wire.into()) }, "{bad}");
    }
    let deep = format!("data: {{\"a\":{}{}}}\n\n", "[".repeat(3000), "]".repeat(3000));
    assert!(splice(DialectId::Chat, StreamMode::Sse, &word("secret", "*"), &[deep.as_bytes()]).is_err());
}
