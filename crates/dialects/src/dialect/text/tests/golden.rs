//! The golden streams and replies, filtered.

use std::{fs, path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::{Seen, Word, chain, frames, mode, read, splice};
use crate::{
    conversation::Reply,
    dialect::text::{BodyKind, DialectId, EventFilter, FilterChain, TextKind, filter_body, filter_reply},
    stream::TopLevel,
};

/// The inputs of a folder of golden files.
fn inputs(dialect: DialectId, folder: &str) -> Vec<(String, String)> {
    let name = match dialect {
        DialectId::Chat => "chat",
        DialectId::Responses => "responses",
        DialectId::Messages => "messages",
        DialectId::Gemini => "gemini",
        DialectId::Converse => "converse",
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    // The folder has the dialect's name, or that of its operation.
    let root = [root.join(name), root.join("gemini")].into_iter().find(|root| root.exists()).unwrap().join(folder);
    let mut files: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inputs = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let input = text.strip_prefix("=== input\n").unwrap().split("\n=== ").next().unwrap_or_default();
        (file.display().to_string(), input.trim_end_matches('\n').to_owned())
    });
    inputs.collect()
}

fn streams() -> Vec<(DialectId, String, Vec<u8>)> {
    let of = |dialect| {
        inputs(dialect, "streams").into_iter().map(move |(file, input)| {
            let wire =
                if dialect == DialectId::Converse { frames(&input) } else { format!("{input}\n\n").into_bytes() };
            (dialect, file, wire)
        })
    };
    DialectId::ALL.into_iter().flat_map(of).collect()
}

fn filter(word: &'static str, by: &'static str, except: &'static [TextKind]) -> FilterChain {
    chain(vec![Arc::new(Word { find: word, by, except })])
}

#[test]
fn what_no_filter_changes_stays_byte_by_byte() {
    let chains = [
        filter("\u{1}", "", &[TextKind::Arguments]),
        filter("e", "E", &{
            use TextKind::{Answer, Arguments, Citation, Reasoning, Refusal, Summary, ToolResult};
            [Answer, Arguments, Citation, Reasoning, Refusal, Summary, ToolResult]
        }),
    ];
    for (dialect, file, wire) in streams() {
        let text = String::from_utf8_lossy(&wire);
        if text.contains("\"logprobs\":[{") || text.contains("logprobs\":{") || text.contains("logprobsResult") {
            continue;
        }
        for chain in &chains {
            match splice(dialect, mode(dialect), chain, &[&wire]) {
                Ok(out) => assert!(out == wire, "{file}:\n{text}\n-- became --\n{}", String::from_utf8_lossy(&out)),
                Err(out) => assert!(wire.starts_with(&out), "{file}"),
            }
        }
    }
}

#[test]
fn spliced_and_translated_streams_are_filtered_alike() {
    for (dialect, file, wire) in streams() {
        for chain in [filter("e", "EE", &[]), filter("e", "", &[]), filter("zzz", "", &[])] {
            let Ok(out) = splice(dialect, mode(dialect), &chain, &[&wire]) else {
                assert!(String::from_utf8_lossy(&wire).contains("not json"), "{file}");
                continue;
            };
            let (mut filter, mut expected) = (EventFilter::new(chain.clone()), Seen::default());
            read(dialect, mode(dialect), &wire, &mut |event| {
                filter.event(&event, &mut |event| expected.event(event));
            });
            assert_eq!(Seen::of(dialect, mode(dialect), &out), expected, "{file}\n{}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn where_the_network_cuts_a_stream_means_nothing() {
    for (dialect, file, wire) in streams() {
        let chain = filter("o", "0000", &[]);
        let whole = splice(dialect, mode(dialect), &chain, &[&wire]);
        // Seven and the lengths of events have few common factors: over all streams, each boundary is tested.
        for at in (0..=wire.len()).step_by(7) {
            let (a, b) = wire.split_at(at);
            let cut = splice(dialect, mode(dialect), &chain, &[a, b]);
            assert!(cut == whole, "{file}: cut at {at}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert!(splice(dialect, mode(dialect), &chain, &bytes) == whole, "{file}: byte by byte");
    }
}

#[test]
fn replies_are_filtered_alike_in_their_dialect_and_as_conversations() {
    for dialect in DialectId::ALL {
        for (file, input) in inputs(dialect, "replies") {
            let (body, codec) = (Bytes::from(input), dialect.dialect());
            let same = filter_body(dialect, BodyKind::Reply, &body, &FilterChain::default()).unwrap();
            assert_eq!(same.as_ptr(), body.as_ptr(), "an empty chain copies nothing");
            let Ok(mut expected) = codec.read_reply(&body) else { continue };
            for chain in [filter("e", "EE", &[]), filter("zzz", "", &[])] {
                let out = filter_body(dialect, BodyKind::Reply, &body, &chain).unwrap();
                filter_reply(&mut expected, &chain).unwrap();
                let texts = |reply: &Reply<'_>| format!("{:#?}", reply.choices);
                let seen = codec.read_reply(&out).unwrap();
                assert_eq!(texts(&seen), texts(&expected), "{file}\n{}", String::from_utf8_lossy(&out));
                expected = codec.read_reply(&body).unwrap();
            }
        }
    }
}

#[test]
fn requests_are_read_alike_when_nothing_matches() {
    for dialect in DialectId::ALL {
        for (file, input) in inputs(dialect, "requests") {
            let body = Bytes::from(input);
            if TopLevel::scan(&body).is_err() {
                continue;
            }
            let out = filter_body(dialect, BodyKind::Request, &body, &filter("\u{1}", "", &[])).unwrap();
            assert_eq!(out.as_ptr(), body.as_ptr(), "{file}: nothing changed, so nothing is copied");
            // A word that is in many texts: the result is still a request of the dialect.
            let out =
                filter_body(dialect, BodyKind::Request, &body, &filter("a", "AA", &[TextKind::Arguments])).unwrap();
            let (before, after) = (TopLevel::scan(&body).unwrap(), TopLevel::scan(&out).unwrap());
            let ok = |top: &TopLevel<'_>| dialect.dialect().read_request(top).map_err(|invalid| invalid.field).err();
            assert_eq!(ok(&before), ok(&after), "{file}\n{}", String::from_utf8_lossy(&out));
        }
    }
}

/// Corrupted streams: nothing panics, the output does not depend on how the network splits it, and the word never
/// passes.
#[test]
fn spoiled_streams_are_filtered_or_ended() {
    let chain = filter("o", "0", &[]);
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for (dialect, file, wire) in streams() {
        for _ in 0..20 {
            let mut spoiled = wire.clone();
            for _ in 0..=next(3) {
                let at = next(spoiled.len());
                match next(4) {
                    0 => drop(spoiled.remove(at)),
                    1 => spoiled[at] = b"{}[]\",:\\\n\r0"[next(11)],
                    2 => spoiled.truncate(at.max(1)),
                    _ => spoiled.insert(at, b"\"{[\\\n\xff"[next(6)]),
                }
            }
            let whole = splice(dialect, mode(dialect), &chain, &[&spoiled]);
            let (a, b) = spoiled.split_at(next(spoiled.len()));
            let cut = splice(dialect, mode(dialect), &chain, &[a, b]);
            assert!(cut == whole, "{file}: {}", String::from_utf8_lossy(&spoiled));
        }
    }
}
