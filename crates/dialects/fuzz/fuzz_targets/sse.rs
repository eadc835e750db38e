//! Events do not depend on the split, and a filter that keeps everything forwards everything.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate_dialects::stream::{Event, SseDecoder, SseFilter};

type Seen = (Option<Vec<u8>>, Vec<u8>, bool);

fn decoded<'f>(frames: impl Iterator<Item = &'f [u8]>, max_event: usize) -> (Vec<Seen>, u64) {
    let mut events = Vec::new();
    let mut see = |event: Event<'_>| {
        events.push((event.name.map(<[u8]>::to_vec), event.data.to_vec(), event.terminated));
    };
    let mut decoder = SseDecoder::new(max_event);
    frames.for_each(|frame| decoder.push(frame, &mut see));
    decoder.finish(&mut see);
    (events, decoder.oversized())
}

fn filtered<'f>(
    frames: impl Iterator<Item = &'f [u8]>,
    max_event: usize,
    keep: &mut impl FnMut(&Event<'_>) -> bool,
) -> Vec<u8> {
    let mut filter = SseFilter::new(max_event, true);
    let mut out: Vec<Bytes> = frames.flat_map(|frame| filter.push(Bytes::copy_from_slice(frame), keep)).collect();
    out.extend(filter.finish(keep));
    out.concat()
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (length, max_event, stream) = input;
    let (length, max_event) = (usize::from(length).max(1), usize::from(max_event));
    let whole = decoded(std::iter::once(stream), max_event);
    assert_eq!(decoded(stream.chunks(length), max_event), whole);
    assert_eq!(decoded(stream.chunks(1), max_event), whole);

    assert_eq!(filtered(stream.chunks(length), max_event, &mut |_| true), stream);
    let keep = &mut |event: &Event<'_>| !event.data.contains(&b'x');
    let kept = filtered(std::iter::once(stream), max_event, keep);
    assert_eq!(filtered(stream.chunks(length), max_event, keep), kept);
    assert_eq!(filtered(stream.chunks(1), max_event, keep), kept);
});
