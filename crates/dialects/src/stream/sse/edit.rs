//! Events with their bytes, for streams in which some are changed.

use memchr::memchr2;

use super::{Event, SseDecoder, field};

impl SseDecoder {
    /// Whether the current event is too large to be observed.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Like [`push`](Self::push), for forwarding: passes on every run of lines that ends in this frame, as its bytes
    /// from earlier frames and those from this one, with the event that it contains, if any. An unfinished event is
    /// held back.
    pub fn push_raw(&mut self, frame: &[u8], sink: &mut impl FnMut(&[u8], &[u8], Option<Event<'_>>)) {
        let mut from = 0;
        if self.owes_line_feed(frame) {
            sink(&[], b"\n", None);
            from = 1;
        }
        self.blocks(frame, &mut |block| {
            sink(block.carried, frame.get(from..block.end).unwrap_or_default(), block.event);
            from = block.end;
        });
        if self.skipping {
            self.carry = Vec::new();
        }
    }

    /// Like [`finish`](Self::finish), with the bytes after the last blank line.
    pub fn finish_raw(&mut self, sink: &mut impl FnMut(&[u8], &[u8], Option<Event<'_>>)) {
        let held = self.carry.clone();
        let mut seen = false;
        self.finish(&mut |event| {
            seen = true;
            sink(&held, &[], Some(event));
        });
        if !seen && !held.is_empty() {
            sink(&held, &[], None);
        }
    }
}

/// Appends an event with `json` as its data; its other lines stay as they are in `raw`.
pub fn write_with_data(out: &mut Vec<u8>, raw: &[u8], json: &[u8]) {
    let mut rest = raw;
    let mut written = false;
    while !rest.is_empty() {
        let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(length).unwrap_or((rest, b""));
        let ending = if behind.starts_with(b"\r\n") { 2 } else { behind.len().min(1) };
        let (ending, after) = behind.split_at_checked(ending).unwrap_or((behind, b""));
        rest = after;
        if field(line.strip_prefix(super::BOM).unwrap_or(line), b"data").is_none() {
            out.extend_from_slice(line);
        } else if std::mem::replace(&mut written, true) {
            continue;
        } else {
            out.extend_from_slice(b"data: ");
            // Between JSON's tokens a line break is white space, and inside a string it is always escaped.
            out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        }
        out.extend_from_slice(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay() {
        for (raw, expect) in [
            ("data: {}\n\n", "data: [1, 2]\n\n"),
            ("event: e\r\ndata:{}\r\n\r\n", "event: e\r\ndata: [1, 2]\r\n\r\n"),
            (": c\ndata: {\ndata: }\nid: 3\n\n", ": c\ndata: [1, 2]\nid: 3\n\n"),
            ("data: {}", "data: [1, 2]"),
        ] {
            let mut out = Vec::new();
            write_with_data(&mut out, raw.as_bytes(), b"[1,\n2]");
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{raw:?}");
        }
    }

    #[test]
    fn every_byte_is_lent_once() {
        let stream = b"\xef\xbb\xbf: hi\r\n\r\ndata: {}\r\n\r\n\nevent: x\ndata: 1\n\ndata: cut";
        for at in 0..=stream.len() {
            let (mut decoder, mut out) = (SseDecoder::new(1024), Vec::new());
            let mut sink = |a: &[u8], b: &[u8], _: Option<Event<'_>>| out.extend([a, b].concat());
            decoder.push_raw(&stream[..at], &mut sink);
            decoder.push_raw(&stream[at..], &mut sink);
            decoder.finish_raw(&mut sink);
            assert_eq!(out, stream, "cut at {at}");
        }
    }
}
