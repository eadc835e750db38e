//! Golden files: the input of a codec, the result of reading it, and the output, side by side and readable.
//!
//! `tests/golden/DIALECT/{requests,replies,streams,errors}/NAME.txt` has sections that begin with `=== name`. The
//! first, `input`, is written by hand; the others are made with `UPDATE_GOLDEN=1 cargo test golden` and read by a human
//! before they are committed. Every stream is also replayed split at every byte.

use std::{fmt::Write as _, fs, path::PathBuf};

use super::{Destination, Dialect, ReplyHead, StreamMode};
use crate::{
    conversation::{Event, Unsupported},
    stream::{AwsDecoder, SseDecoder, TopLevel, aws, sse::MAX_EVENT_BYTES},
};

/// Runs every file of `folder` (such as `chat/requests`): `make` returns the sections after the input.
fn run(folder: &str, make: impl Fn(&str) -> Vec<(&'static str, String)>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut files: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no golden file", root.display());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let input = text.strip_prefix("=== input\n").expect("a golden file begins with its input");
        let input = input.split("\n=== ").next().unwrap_or_default().trim_end_matches('\n');
        let mut whole = format!("=== input\n{input}\n");
        for (name, section) in make(input) {
            let _ = write!(whole, "\n=== {name}\n{}\n", section.trim_end());
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &whole).unwrap();
        } else {
            assert!(text == whole, "{}: expected\n{text}\nmade\n{whole}", file.display());
        }
    }
}

fn pretty(json: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(json) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap(),
        Err(error) => format!("NO JSON ({error}): {}", String::from_utf8_lossy(json)),
    }
}

/// Requests: read, and written again for `to`.
pub fn requests(folder: &str, codec: &dyn Dialect, to: &Destination<'_>) {
    run(folder, |input| {
        let top = TopLevel::scan(input.as_bytes()).unwrap();
        match codec.read_request(&top) {
            Err(invalid) => vec![("refused", invalid.to_string())],
            Ok(request) => {
                let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
                let written = codec.write_request(&request, to, &mut dropped, &mut out);
                let output = written.map_or_else(|invalid| format!("refused: {invalid}"), |()| pretty(&out));
                vec![("canonical", format!("{request:#?}")), ("output", output), ("dropped", dropped.to_string())]
            }
        }
    });
}

/// Buffered replies: read, and written again.
pub fn replies(folder: &str, codec: &dyn Dialect) {
    run(folder, |input| match codec.read_reply(input.as_bytes()) {
        Err(failure) => vec![("failure", format!("{failure:#?}"))],
        Ok(reply) => {
            let mut out = Vec::new();
            codec.write_reply(&reply, &head(StreamMode::No), &mut out);
            vec![("canonical", format!("{reply:#?}")), ("output", pretty(&out))]
        }
    });
}

/// Errors: the first line of the input is the status, the rest the body.
pub fn errors(folder: &str, codec: &dyn Dialect) {
    run(folder, |input| {
        let (status, body) = input.split_once('\n').unwrap_or((input, ""));
        let failure = codec.read_error(status.parse().unwrap(), body.as_bytes());
        let mut out = Vec::new();
        let status = codec.write_error(&failure, Some("req-1"), &mut out);
        vec![("canonical", format!("{failure:#?}")), ("output", format!("{status}\n{}", pretty(&out)))]
    });
}

/// Streams. The input is the stream as text; for `StreamMode::EventStream` it has one line per frame, `NAME JSON`, with
/// `!` before an exception's name. The output has one line per event that was read, and the stream that was written.
pub fn streams(folder: &str, codec: &dyn Dialect, mode: StreamMode) {
    run(folder, |input| {
        let wire = wire(input, mode);
        let whole = read(codec, mode, &[&wire]);
        for at in 0..=wire.len() {
            let (a, b) = wire.split_at(at);
            assert_eq!(read(codec, mode, &[a, b]).0, whole.0, "{folder}: split at byte {at}");
        }
        vec![("canonical", whole.0.join("\n")), ("output", transcript(&whole.1, mode))]
    });
}

/// The bytes of a stream from its text form.
fn wire(input: &str, mode: StreamMode) -> Vec<u8> {
    if mode != StreamMode::EventStream {
        return format!("{input}\n\n").into_bytes();
    }
    let mut out = Vec::new();
    for line in input.lines() {
        let (name, json) = line.split_once(' ').unwrap_or((line, "{}"));
        let payload = |out: &mut Vec<u8>| out.extend_from_slice(json.as_bytes());
        match name.strip_prefix('!') {
            Some(name) => aws::write_exception(&mut out, name, payload),
            None => aws::write_event(&mut out, name, payload),
        }
    }
    out
}

/// A stream as text.
fn transcript(bytes: &[u8], mode: StreamMode) -> String {
    if mode != StreamMode::EventStream {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (mut decoder, mut out) = (AwsDecoder::default(), String::new());
    let read = decoder.push(bytes, &mut |frame| {
        let mark = if frame.is_failure() { "!" } else { "" };
        let [name, payload] = [frame.name, frame.payload].map(String::from_utf8_lossy);
        let _ = writeln!(out, "{mark}{name} {payload}");
    });
    assert_eq!(read, Ok(()));
    assert!(decoder.at_boundary(), "half a frame was written");
    out
}

/// The events that are read from `pieces`, and the bytes that are written for them.
fn read(codec: &dyn Dialect, mode: StreamMode, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let (mut reader, mut writer) = (codec.read_events(), codec.write_events(head(mode)));
    let (mut seen, mut out) = (Vec::new(), Vec::new());
    let mut sink = |event: Event<'_>| {
        writer.event(&event, &mut out);
        seen.push(format!("{event:?}"));
    };
    if mode == StreamMode::EventStream {
        let mut frames = AwsDecoder::default();
        for piece in pieces {
            frames.push(piece, &mut |frame| reader.event(Some(frame.name), frame.payload, &mut sink)).unwrap();
        }
    } else {
        let mut events = SseDecoder::new(MAX_EVENT_BYTES);
        for piece in pieces {
            events.push(piece, &mut |event| reader.event(event.name, event.data, &mut sink));
        }
        events.finish(&mut |event| reader.event(event.name, event.data, &mut sink));
    }
    reader.finish(&mut sink);
    (seen, out)
}

fn head(mode: StreamMode) -> ReplyHead {
    ReplyHead {
        id: "made1".into(),
        model: "asked-model".into(),
        created: 1_700_000_000,
        include_usage: true,
        mode,
        estimated_input: 9,
    }
}
