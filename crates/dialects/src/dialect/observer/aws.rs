//! Watches an AWS event stream of Converse on its way past.

use super::{super::Usage, Totals, text_meter::TextMeter};
use crate::stream::AwsDecoder;

/// Counts and end of one stream.
#[derive(Default)]
pub(super) struct AwsStream {
    frames: AwsDecoder,
    /// The stream is not what it claims to be: nothing more is read of it.
    failed: bool,
    totals: Totals,
    text: TextMeter,
    /// `messageStop` or a failure came: nothing but counts may follow.
    closed: bool,
    begun: bool,
}

impl AwsStream {
    pub(super) fn push(&mut self, frame: &[u8]) {
        let Self { frames, totals, text, closed, begun, .. } = self;
        *begun |= !frame.is_empty();
        let read = frames.push(frame, &mut |frame| match frame.name {
            b"messageStop" => *closed = true,
            b"metadata" => {
                if let Some(usage) = usage(frame.payload) {
                    totals.usage.update(usage);
                }
            }
            b"contentBlockDelta" => text.event(frame.payload),
            _ => *closed |= frame.is_failure(),
        });
        self.failed |= read.is_err();
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        self.failed || (self.begun && self.closed && self.frames.at_boundary())
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { text: Some(self.text.bytes()), ..self.totals.clone() }
    }
}

#[derive(serde::Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    usage: Option<&'a serde_json::value::RawValue>,
}

fn usage(payload: &[u8]) -> Option<Usage> {
    let metadata: Metadata<'_> = serde_json::from_slice(payload).ok()?;
    super::super::converse::usage::usage(metadata.usage?.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::aws::{write_event, write_exception};

    fn stream(events: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, payload) in events {
            match name.strip_prefix('!') {
                Some(name) => write_exception(&mut out, name, |out| out.extend_from_slice(payload.as_bytes())),
                None => write_event(&mut out, name, |out| out.extend_from_slice(payload.as_bytes())),
            }
        }
        out
    }

    #[test]
    fn counts_and_end_are_found_at_every_split() {
        let whole = stream(&[
            ("messageStart", r#"{"role":"assistant"}"#),
            ("messageStop", r#"{"stopReason":"end_turn"}"#),
            ("metadata", r#"{"usage":{"inputTokens":3,"outputTokens":4},"metrics":{"latencyMs":1}}"#),
        ]);
        for at in 0..whole.len() {
            let (a, b) = whole.split_at(at);
            let mut seen = AwsStream::default();
            seen.push(a);
            assert!(at == whole.len() || !seen.may_end() || seen.frames.at_boundary());
            seen.push(b);
            assert!(seen.may_end());
            assert_eq!(seen.totals().usage, Usage { prompt: Some(3), completion: Some(4) });
        }
    }

    #[test]
    fn a_cut_stream_may_not_end_and_a_failed_one_may() {
        let may_end = |bytes: &[u8]| {
            let mut seen = AwsStream::default();
            seen.push(bytes);
            seen.may_end()
        };
        assert!(!may_end(b""));
        assert!(!may_end(&stream(&[("messageStart", "{}")])));
        assert!(may_end(&stream(&[("messageStart", "{}"), ("!throttlingException", "{}")])));
        assert!(may_end(b"this is no event stream at all"), "what nobody can read is taken as it is");
    }
}
