// The exercise that the fuzz target of text filters and its test share. It is included by path, so that both check the
// same.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_dialects::{
    conversation::Failure,
    dialect::{
        StreamMode,
        text::{Block, BlockFilter, BodyKind, FilterChain, TextFilter, TextFilteredStream, filter_body},
    },
    stream::TopLevel,
};

use super::exercise::{dialect, mode};

/// The first byte selects the dialect, the second how the stream is split, the third the framing. The output of a
/// stream's filters does not depend on the split, and a filtered body is still JSON.
pub fn fuzz_filters(input: &[u8]) {
    let [first, length, framing, wire @ ..] = input else { return };
    let from = dialect(*first);
    let mode = if mode(from) == StreamMode::Sse && framing % 4 == 1 { StreamMode::JsonArray } else { mode(from) };
    let chain = FilterChain::new(vec![Arc::new(Replace) as Arc<dyn TextFilter>]);
    let filtered = |mut pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut stream, mut out) = (TextFilteredStream::new(from, mode, chain.clone()), Vec::new());
        let pushed = Iterator::try_for_each(&mut pieces, |piece| stream.push(piece, &mut out));
        let finished = pushed.and_then(|()| stream.finish(&mut out));
        (out, finished.map_err(|failure| failure.message.into_owned()))
    };
    let whole = filtered(&mut std::iter::once(wire));
    assert_eq!(filtered(&mut wire.chunks(usize::from(*length).max(1))), whole);
    for kind in [BodyKind::Request, BodyKind::Reply] {
        if let Ok(out) = filter_body(from, kind, &Bytes::copy_from_slice(wire), &chain) {
            assert!(TopLevel::scan(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        }
    }
}

/// Replaces a letter by two.
struct Replace;

impl TextFilter for Replace {
    fn start(&self, _: Block) -> Option<Box<dyn BlockFilter>> {
        Some(Box::new(Self))
    }
}

impl BlockFilter for Replace {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        out.push_str(&text.replace('o', "0\""));
        Ok(())
    }

    fn finish(&mut self, _: &mut String) -> Result<(), Failure<'static>> {
        Ok(())
    }
}
