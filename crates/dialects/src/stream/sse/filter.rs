//! Forwarding of an event stream without some of its events.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::{Event, SseDecoder};

/// Forwards a stream, passes every event to a closure, and can leave events out of the output.
///
/// Comments and other lines that are not an event are forwarded as they are.
pub struct SseFilter {
    decoder: SseDecoder,
    drops: bool,
    last_kept: bool,
}

impl SseFilter {
    /// A filter that observes events of up to `max_event` bytes.
    /// With `drops` false everything is forwarded at once and unsplit, whatever `keep` returns. With `drops` true an
    /// event is held back until it is complete; one larger than `max_event` is forwarded unseen.
    pub fn new(max_event: usize, drops: bool) -> Self {
        Self { decoder: SseDecoder::new(max_event), drops, last_kept: true }
    }

    /// The bytes to forward now, in order, for this frame; `keep` sees every event that ends in it.
    ///
    /// If nothing is held back or dropped, it is the frame itself.
    pub fn push(&mut self, frame: Bytes, keep: &mut impl FnMut(&Event<'_>) -> bool) -> SmallVec<[Bytes; 2]> {
        if frame.is_empty() {
            return SmallVec::new();
        }
        if !self.drops {
            self.decoder.push(&frame, &mut |event| {
                keep(&event);
            });
            return smallvec![frame];
        }
        let mut out = SmallVec::new();
        // Bytes up to here are to be forwarded; those before them have been forwarded or dropped.
        let (mut from, mut to) = (0, 0);
        if self.decoder.owes_line_feed(&frame) {
            to = 1;
            from = usize::from(!self.last_kept);
        }
        let last_kept = &mut self.last_kept;
        self.decoder.blocks(&frame, &mut |block| {
            *last_kept = block.event.is_none_or(|event| keep(&event));
            if *last_kept {
                if !block.carried.is_empty() {
                    out.push(Bytes::copy_from_slice(block.carried));
                }
            } else {
                push_range(&mut out, &frame, from, to);
                from = block.end;
            }
            to = block.end;
        });
        if self.decoder.skipping {
            // The bytes of an event that were held back and turn out to be too many.
            let held = std::mem::take(&mut self.decoder.carry);
            if !held.is_empty() {
                out.push(held.into());
            }
            to = frame.len();
        }
        push_range(&mut out, &frame, from, to);
        out
    }

    /// The bytes that are left to forward when the stream has ended; `keep` sees them if they are an event.
    pub fn finish(&mut self, keep: &mut impl FnMut(&Event<'_>) -> bool) -> Option<Bytes> {
        let mut kept = true;
        let held = if self.drops { self.decoder.carry.clone() } else { Vec::new() };
        self.decoder.finish(&mut |event| kept = keep(&event));
        (kept && !held.is_empty()).then(|| held.into())
    }

    /// The decoder inside, for its counts and whether the stream is between events.
    pub fn decoder(&self) -> &SseDecoder {
        &self.decoder
    }
}

fn push_range(out: &mut SmallVec<[Bytes; 2]>, frame: &Bytes, from: usize, to: usize) {
    if from == 0 && to == frame.len() {
        out.push(frame.clone());
    } else if from < to {
        out.push(frame.slice(from..to));
    }
}
