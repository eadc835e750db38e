//! Observes an AWS event stream while it is relayed.

use super::{Totals, text_meter::TextMeter};
use crate::{
    dialect::{Dialect, Progress, StreamEnding},
    stream::AwsDecoder,
};

/// Counts and end of one stream.
pub(super) struct AwsStream {
    dialect: &'static dyn Dialect,
    frames: AwsDecoder,
    /// Whether the stream is invalid, so that nothing more of it is read.
    failed: bool,
    totals: Totals,
    text: TextMeter,
    /// The ending of the stream, if it is closed here, by its events.
    events: StreamEnding,
    begun: bool,
}

impl AwsStream {
    /// The beginning of a stream of `dialect`.
    pub(super) fn new(dialect: &'static dyn Dialect) -> Self {
        Self {
            dialect,
            frames: AwsDecoder::default(),
            failed: false,
            totals: Totals::default(),
            text: TextMeter::default(),
            events: StreamEnding::Cut,
            begun: false,
        }
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        let Self { dialect, frames, totals, text, events, begun, .. } = self;
        *begun |= !frame.is_empty();
        let read = frames.push(frame, &mut |frame| {
            // Only deltas hold text, and they have no other fields of interest.
            if frame.name.ends_with(b"Delta") {
                return text.event(frame.payload);
            }
            let progress = dialect.read_progress(Some(frame.name), frame.payload).unwrap_or_default();
            if progress.failed || frame.is_failure() {
                let class = Progress::class_of_failure(*dialect, Some(frame.name), frame.payload);
                *events = StreamEnding::Failed(class);
            } else if progress.ends && *events == StreamEnding::Cut {
                // Only counts may follow.
                *events = StreamEnding::Complete;
            }
            if let Some(usage) = progress.usage {
                totals.usage.update(usage.into());
            }
        });
        self.failed |= read.is_err();
    }

    /// The ending of the stream, if it is closed here.
    pub(super) fn ending(&self) -> StreamEnding {
        if self.failed {
            StreamEnding::Unknown
        } else if self.begun && self.frames.at_boundary() {
            self.events
        } else {
            StreamEnding::Cut
        }
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_inside_event(&self) -> bool {
        !self.failed && !self.frames.at_boundary()
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { text: Some(self.text.bytes()), ..self.totals.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Usage;
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
            let mut seen = AwsStream::new(&crate::dialect::converse::Converse);
            seen.push(a);
            assert!(at == whole.len() || !seen.ending().may_end() || seen.frames.at_boundary());
            seen.push(b);
            assert!(seen.ending().may_end());
            assert_eq!(seen.totals().usage, Usage { prompt: Some(3), completion: Some(4), ..Usage::default() });
        }
    }

    #[test]
    fn a_cut_stream_may_not_end_and_a_failed_one_may() {
        let may_end = |bytes: &[u8]| {
            let mut seen = AwsStream::new(&crate::dialect::converse::Converse);
            seen.push(bytes);
            seen.ending().may_end()
        };
        assert!(!may_end(b""));
        assert!(!may_end(&stream(&[("messageStart", "{}")])));
        assert!(may_end(&stream(&[("messageStart", "{}"), ("!throttlingException", "{}")])));
        assert!(may_end(b"this is no event stream at all"), "what nobody can read is taken as it is");
    }
}
