use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::stream::testing;

/// Name, data, and whether a blank line ended it.
type Seen = (Option<String>, String, bool);

fn seen(event: &Event<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (event.name.map(text), text(event.data), event.terminated)
}

fn decoded(frames: &[&[u8]], max_event: usize) -> (Vec<Seen>, u64) {
    let mut decoder = SseDecoder::new(max_event);
    let mut events = Vec::new();
    for frame in frames {
        decoder.push(frame, &mut |event| events.push(seen(&event)));
    }
    decoder.finish(&mut |event| events.push(seen(&event)));
    assert!(decoder.at_boundary());
    (events, decoder.oversized())
}

/// A block as the reference implementation finds it: all its bytes, how many of them precede its blank line, its event.
struct Reference {
    bytes: Vec<u8>,
    content: usize,
    event: Option<Seen>,
}

/// The specification, line by line on the whole stream.
fn reference(stream: &[u8]) -> Vec<Reference> {
    let mut blocks = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let (mut start, mut at, mut line_start) = (0, 0, 0);
    while at < stream.len() {
        let length = match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => {
                at += 1;
                continue;
            }
        };
        let line = &stream[line_start..at];
        at += length;
        if line.is_empty() {
            let event = interpret(&lines, blocks.is_empty(), true);
            blocks.push(Reference { bytes: stream[start..at].to_vec(), content: line_start - start, event });
            lines.clear();
            start = at;
        } else {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
        line_start = at;
    }
    if start < stream.len() {
        lines.push(String::from_utf8_lossy(&stream[line_start..]).into_owned());
        let event = interpret(&lines, blocks.is_empty(), false);
        blocks.push(Reference { bytes: stream[start..].to_vec(), content: stream.len() - start, event });
    }
    blocks
}

fn interpret(lines: &[String], first: bool, terminated: bool) -> Option<Seen> {
    let (mut name, mut data) = (String::new(), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        let line = if first && index == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data.push(value.to_owned()),
            "event" => name = value.to_owned(),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| ((!name.is_empty()).then_some(name), data.join("\n"), terminated))
}

fn event(name: &str, data: &str) -> Seen {
    ((!name.is_empty()).then(|| name.to_owned()), data.to_owned(), true)
}

fn cut(data: &str) -> Seen {
    (None, data.to_owned(), false)
}

#[test]
fn fields_and_line_ends_follow_the_specification() {
    let check = |stream: &str, expect: &[Seen]| {
        for lengths in [&[usize::MAX][..], &[1], &[2], &[3, 1]] {
            let (events, _) = decoded(&testing::frames(stream.as_bytes(), lengths), MAX_EVENT_BYTES);
            assert_eq!(events, expect, "{stream:?} in frames of {lengths:?}");
        }
        for at in 0..stream.len() {
            let (head, tail) = stream.as_bytes().split_at(at);
            assert_eq!(decoded(&[head, &[], tail], MAX_EVENT_BYTES).0, expect, "{stream:?} split at {at}");
        }
    };
    check("data: {\"a\":1}\n\ndata: [DONE]\n\n", &[event("", "{\"a\":1}"), event("", "[DONE]")]);
    check("event: ping\ndata: x\n\n", &[event("ping", "x")]);
    check("data:x\r\n\r\ndata:  y\r\n\r\n", &[event("", "x"), event("", " y")]);
    check("data:x\r\rdata:y\r\r\n\ndata:z\n\r\n", &[event("", "x"), event("", "y"), event("", "z")]);
    check("data: 1\r\ndata\rdata:2\n\n", &[event("", "1\n\n2")]);
    check(": comment\n\nid: 7\nretry\n\ndatabase: x\n\ndata\n\n", &[event("", "")]);
    check("event: only a name\n\nevent:a\nevent: b\ndata:x\nevent\n\n", &[event("", "x")]);
    check("\u{feff}data: x\n\n\u{feff}data: y\n\n", &[event("", "x")]);
    check("\u{feff}data: x\n\u{feff}data: y\n\n", &[event("", "x")]);
    check("\u{feff}\n\ndata: x\n\n", &[event("", "x")]);
    check("data: x\n\ndata: [DONE]", &[event("", "x"), cut("[DONE]")]);
    check("data: x\n", &[cut("x")]);
    check("data: x\r", &[cut("x")]);
    check("event: x", &[]);
    check("", &[]);
}

#[test]
fn an_event_is_terminated_by_the_byte_that_ends_it() {
    let mut decoder = SseDecoder::new(MAX_EVENT_BYTES);
    let mut count = 0;
    for (frame, expect, boundary) in
        [("data: x\r", 0, false), ("\r", 1, true), ("\n", 1, true), ("data: y\n", 1, false), ("\n", 2, true)]
    {
        decoder.push(frame.as_bytes(), &mut |_| count += 1);
        assert_eq!((count, decoder.at_boundary()), (expect, boundary), "after {frame:?}");
    }
}

#[test]
fn events_say_where_they_stand() {
    let mut decoder = SseDecoder::new(MAX_EVENT_BYTES);
    let mut places = Vec::new();
    for frame in ["data: a\n\nda", "ta: b\r\n\r\ndata: c\n\n", "data: d"] {
        decoder.push(frame.as_bytes(), &mut |event| places.push((event.carried, event.raw)));
    }
    decoder.finish(&mut |event| places.push((event.carried, event.raw)));
    assert_eq!(places, [(0, 0..9), (2, 0..9), (0, 9..18), (7, 0..0)]);
}

#[test]
fn an_event_in_one_frame_is_not_copied() {
    let frame = b"event: x\ndata: {\"a\":1}\n\ndata: y\n\n";
    let mut decoder = SseDecoder::new(MAX_EVENT_BYTES);
    decoder.push(frame, &mut |event| assert!(frame.as_ptr_range().contains(&event.data.as_ptr())));
    assert_eq!(decoder.carry.capacity() + decoder.joined.capacity(), 0);
}

#[test]
fn ten_mebibytes_in_one_event_pass_and_are_given_back() {
    let text = "x".repeat(10 << 20);
    let stream = format!("data: {text}\n\ndata: y\n\n");
    let mut decoder = SseDecoder::new(MAX_EVENT_BYTES);
    let mut sizes = Vec::new();
    for frame in testing::frames(stream.as_bytes(), &[16_384]) {
        decoder.push(frame, &mut |event| sizes.push(event.data.len()));
    }
    assert_eq!(sizes, [10 << 20, 1]);
    assert!(decoder.carry.capacity() <= KEEP_CAPACITY);
}

#[test]
fn too_large_events_are_skipped_and_counted() {
    let stream = b"data: 1\n\ndata: 12345\n\ndata: 2\n\ndata: 12345";
    for lengths in [&[usize::MAX][..], &[1], &[7]] {
        let (events, oversized) = decoded(&testing::frames(stream, lengths), 10);
        assert_eq!((events, oversized), (vec![event("", "1"), event("", "2")], 2), "in frames of {lengths:?}");
        let (events, oversized) = decoded(&testing::frames(stream, lengths), 12);
        assert_eq!((events.len(), oversized), (4, 0), "in frames of {lengths:?}");
    }
    let mut decoder = SseDecoder::new(100);
    for _ in 0..1000 {
        decoder.push(b"data: more and more", &mut |_| {});
        assert!(decoder.carry.capacity() <= 256, "what is skipped takes no memory");
    }
}

/// Filters a stream, dropping events whose data has an `x`.
fn filtered(frames: &[&[u8]], max_event: usize, drops: bool) -> Vec<u8> {
    let mut filter = SseFilter::new(max_event, drops);
    let mut keep = |event: &Event<'_>| !event.data.contains(&b'x');
    let mut out = Vec::new();
    for frame in frames {
        for bytes in filter.push(Bytes::copy_from_slice(frame), &mut keep) {
            out.extend_from_slice(&bytes);
        }
    }
    out.extend(filter.finish(&mut keep).into_iter().flatten());
    out
}

#[test]
fn dropped_events_leave_without_a_trace() {
    let check = |stream: &str, expect: &str| {
        for lengths in [&[usize::MAX][..], &[1], &[5], &[9, 2]] {
            let out = filtered(&testing::frames(stream.as_bytes(), lengths), MAX_EVENT_BYTES, true);
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{stream:?} in frames of {lengths:?}");
        }
    };
    check("data: a\n\ndata: x\n\ndata: b\n\n", "data: a\n\ndata: b\n\n");
    check("data: x\r\n\r\n: c\r\n\r\ndata: x\r\r\ndata: x", ": c\r\n\r\n");
    check("data: a\r\r\ndata: b", "data: a\r\r\ndata: b");
}

#[test]
fn a_frame_that_is_kept_is_forwarded_as_it_is() {
    let mut filter = SseFilter::new(MAX_EVENT_BYTES, true);
    let frame = Bytes::from_static(b"data: a\n\n: c\n\ndata: b\n\n");
    let out = filter.push(frame.clone(), &mut |_| true);
    assert_eq!((out.len(), out[0].as_ptr(), out[0].len()), (1, frame.as_ptr(), frame.len()));
    // An incomplete event is held back only if something may be dropped.
    assert!(filter.push(Bytes::from_static(b"data: "), &mut |_| true).is_empty());
    assert!(!filter.decoder().at_boundary());
    let mut observer = SseFilter::new(MAX_EVENT_BYTES, false);
    let out = observer.push(Bytes::from_static(b"data: "), &mut |_| false);
    assert_eq!(out.concat(), b"data: ");
}

#[test]
fn too_large_events_are_forwarded_unseen_and_not_held_back() {
    let mut filter = SseFilter::new(16, true);
    let mut drop_all = |_: &Event<'_>| false;
    assert!(filter.push(Bytes::from_static(b"data: 012"), &mut drop_all).is_empty());
    let out = filter.push(Bytes::from_static(b"3456789xxx"), &mut drop_all);
    assert_eq!(out.concat(), b"data: 0123456789xxx");
    let out = filter.push(Bytes::from_static(b"yyy"), &mut drop_all);
    assert_eq!(out.concat(), b"yyy");
    let out = filter.push(Bytes::from_static(b"\n\ndata: 1\n\n"), &mut drop_all);
    assert_eq!(out.concat(), b"\n\n");
    assert_eq!(filter.decoder().oversized(), 1);
}

/// Streams made of the pieces that have a meaning in the format.
fn stream() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r"), 2 => Just("\n\n"), 1 => Just("\r\n\r\n"),
        3 => Just("data: "), 2 => Just("data:"), 1 => Just("data"), 1 => Just("event: name"), 1 => Just("event"),
        1 => Just(":"), 1 => Just(" "), 1 => Just("{\"a\":1}"), 1 => Just("x"), 1 => Just("id: 1"),
        1 => Just("\u{feff}"), 1 => Just("é"), 1 => Just("retry: 5\n"),
    ];
    (prop_oneof![9 => Just(""), 1 => Just("\u{feff}")], prop::collection::vec(piece, 0..40))
        .prop_map(|(bom, pieces)| bom.to_owned() + &pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn events_do_not_depend_on_the_split(stream in stream(), lengths in testing::lengths(), max_event in 1_usize..80) {
        let blocks = reference(stream.as_bytes());
        let oversized = blocks.iter().filter(|block| block.content > max_event).count() as u64;
        let within = blocks.into_iter().filter(|block| block.content <= max_event);
        let expect = (within.filter_map(|block| block.event).collect::<Vec<_>>(), oversized);
        for lengths in [&lengths[..], &[1], &[usize::MAX]] {
            prop_assert_eq!(&decoded(&testing::frames(stream.as_bytes(), lengths), max_event), &expect);
        }
    }

    #[test]
    fn exactly_the_kept_events_are_forwarded(stream in stream(), lengths in testing::lengths(), max_event in 1_usize..80) {
        let kept = |block: &Reference| {
            block.content > max_event || block.event.as_ref().is_none_or(|event| !event.1.contains('x'))
        };
        let expect: Vec<u8> = reference(stream.as_bytes()).into_iter().filter(kept).flat_map(|b| b.bytes).collect();
        for lengths in [&lengths[..], &[1], &[usize::MAX]] {
            let frames = testing::frames(stream.as_bytes(), lengths);
            let out = filtered(&frames, max_event, true);
            prop_assert_eq!(out.escape_ascii().to_string(), expect.escape_ascii().to_string());
            prop_assert_eq!(filtered(&frames, max_event, false), stream.as_bytes());
        }
    }
}
