//! Approximate amount of text in the events of a stream: for streams that end before the provider has counted tokens.

use std::sync::LazyLock;

use memchr::{
    memchr2,
    memmem::{self, Finder},
};

/// The number of events that are all examined; of later ones every [`STRIDE`]th is, and represents the others. Few
/// streams end without counts, so measuring must cost next to nothing.
const ALL: u64 = 16;
const STRIDE: u64 = 8;

/// Fields whose text is the model's: of a delta, in any dialect.
const KEYS: [&[u8]; 9] = [
    b"content",
    b"text",
    b"delta",
    b"arguments",
    b"partial_json",
    b"thinking",
    b"reasoning_content",
    b"reasoning",
    b"input",
];

static COLON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\":"));

/// Adds up the text of a stream.
#[derive(Debug, Default)]
pub(super) struct TextMeter {
    events: u64,
    bytes: u64,
}

impl TextMeter {
    /// Examines the next event's data, or skips it.
    #[inline]
    pub(super) fn event(&mut self, data: &[u8]) {
        let weight = if self.events < ALL { 1 } else { STRIDE };
        if weight == 1 || self.events.is_multiple_of(STRIDE) {
            self.bytes += said(data) * weight;
        }
        self.events += 1;
    }

    /// Approximate bytes of text so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Bytes of text in one event: of strings that are values of [`KEYS`].
fn said(data: &[u8]) -> u64 {
    // Responses repeats the text of a part when the part is done.
    if memmem::find(data.get(..96).unwrap_or(data), b".done\"").is_some() {
        return 0;
    }
    let mut bytes = 0;
    for at in COLON.find_iter(data) {
        let (before, behind) = (data.get(..at).unwrap_or_default(), data.get(at + 2..).unwrap_or_default());
        let is_key = KEYS.iter().any(|key| before.strip_suffix(*key).is_some_and(|rest| rest.ends_with(b"\"")));
        if is_key && let Some(text) = behind.trim_ascii_start().strip_prefix(b"\"") {
            bytes += length(text);
        }
    }
    bytes
}

/// The length of a string's inside; all of it when it has no end.
fn length(text: &[u8]) -> u64 {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at as u64;
        }
        at += 2;
    }
    text.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_the_deltas_of_every_dialect() {
        for (data, bytes) in [
            (r#"{"id":"x","choices":[{"delta":{"content":"four"}}]}"#, 4),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}}]}"#, 9),
            (r#"{"type":"response.output_text.delta","delta":"four"}"#, 4),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"four"}}"#, 4),
            (r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"12"}}"#, 2),
            (r#"{"candidates": [{"content": {"parts": [{"text": "four"}], "role": "model"}}]}"#, 4),
            (r#"{"contentBlockIndex":0,"delta":{"text":"four"},"p":"abcdef"}"#, 4),
            (r#"{"choices":[{"delta":{"reasoning":"four"}}]}"#, 4),
            (r#"{"type":"response.output_text.done","item_id":"msg_1","text":"all of it again"}"#, 0),
            (r#"{"delta":{"content":"cut"#, 3),
            ("[DONE]", 0),
        ] {
            assert_eq!(said(data.as_bytes()), bytes, "{data}");
        }
    }

    #[test]
    fn long_streams_are_measured_by_samples() {
        let mut meter = TextMeter::default();
        for _ in 0..1_000 {
            meter.event(br#"{"choices":[{"delta":{"content":"forty bytes of text, each of these"}}]}"#);
        }
        let real = 1_000 * 34;
        assert!(meter.bytes().abs_diff(real) < real / 20, "{}", meter.bytes());
    }
}
