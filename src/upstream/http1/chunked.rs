//! Chunked framing (RFC 9112, section 7.1), decoded as bytes arrive.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

/// Longest size line, extensions included. Extensions are rare; this leaves room for some.
const MAX_LINE: usize = 1024;
/// Most digits of a size: fifteen hold more than any disk, sixteen could overflow.
pub const MAX_DIGITS: usize = 15;
/// Longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;
/// Chunks from this size on are passed on as they are; smaller ones are joined, since each frame costs more than
/// copying.
const JOIN_BELOW: usize = 4096;

/// The decoder of a chunked body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of trailers so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
    /// The data before the error was returned first.
    Broken(ChunkedError),
}

/// The framing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chunked framing: {0}")]
pub struct ChunkedError(&'static str);

impl ChunkedDecoder {
    /// Whether the last chunk and the trailers have passed.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the available data from `buffer`: the data of all its chunks joined, or one large chunk as it is. `None`
    /// when more bytes are needed or the body is done.
    ///
    /// # Errors
    /// When a size, a line end or a bound is invalid.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, ChunkedError> {
        let mut joined = BytesMut::new();
        match self.advance(buffer, &mut joined) {
            Ok(None) => Ok((!joined.is_empty()).then(|| joined.freeze())),
            Err(error) if !joined.is_empty() => {
                self.state = State::Broken(error);
                Ok(Some(joined.freeze()))
            }
            result => result,
        }
    }

    /// Appends the data of small chunks to `joined`, or returns that of a large one when there is none before it.
    fn advance(&mut self, buffer: &mut BytesMut, joined: &mut BytesMut) -> Result<Option<Bytes>, ChunkedError> {
        loop {
            match self.state {
                State::Broken(error) => return Err(error),
                State::Size => match line(buffer, MAX_LINE)? {
                    None => break,
                    Some(line) => {
                        let size = size(&line)?;
                        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                    }
                },
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    if here == 0 || (here >= JOIN_BELOW && !joined.is_empty()) {
                        break;
                    }
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    if here >= JOIN_BELOW {
                        return Ok(Some(buffer.split_to(here).freeze()));
                    }
                    if joined.is_empty() {
                        joined.reserve(buffer.len());
                    }
                    joined.extend_from_slice(buffer.get(..here).unwrap_or_default());
                    buffer.advance(here);
                }
                State::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::Size;
                    }
                    Some(_) => return Err(ChunkedError("no line end after a chunk")),
                    None => break,
                },
                State::Trailers => match line(buffer, MAX_TRAILERS)? {
                    None => break,
                    Some(line) if line.is_empty() => self.state = State::Done,
                    Some(line) => {
                        check_trailer(&line)?;
                        self.trailers += line.len() + 2;
                        if self.trailers > MAX_TRAILERS {
                            return Err(ChunkedError("trailers are too long"));
                        }
                    }
                },
                State::Done => break,
            }
        }
        Ok(None)
    }
}

/// The next whole line, without its end.
fn line(buffer: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, ChunkedError> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > max { Err(ChunkedError("a line is too long")) } else { Ok(None) };
    };
    // The same bound as for a line that arrives in parts.
    if end > max {
        return Err(ChunkedError("a line is too long"));
    }
    let mut line = buffer.split_to(end);
    buffer.advance(1);
    match memchr::memchr(b'\r', &line) {
        Some(cr) if cr + 1 == end => {
            line.truncate(cr);
            Ok(Some(line))
        }
        // Some servers and proxies end a line there (RFC 9112, section 2.2).
        Some(_) => Err(ChunkedError("a line contains CR")),
        None => Err(ChunkedError("a line ends without CR")),
    }
}

/// Fails when a line is no header field. Trailers are discarded, but the head of another reply must not be taken for
/// them, which a server sends that leaves the last line end out.
fn check_trailer(line: &[u8]) -> Result<(), ChunkedError> {
    let colon = memchr::memchr(b':', line).ok_or(ChunkedError("a trailer has no name"))?;
    let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
    let is_field = HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok();
    if is_field { Ok(()) } else { Err(ChunkedError("a trailer is no header field")) }
}

/// The size at the start of a line; extensions are ignored.
fn size(line: &[u8]) -> Result<u64, ChunkedError> {
    let size = line.split(|b| *b == b';').next().unwrap_or_default();
    // White space may precede an extension.
    let digits = size.trim_ascii_end();
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return Err(ChunkedError("a chunk has no valid size"));
    }
    digits.iter().try_fold(0u64, |size, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(ChunkedError("a chunk has no valid size"))?;
        Ok(size * 16 + u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire` in pieces of `step` bytes: returns the body, and whether it was complete.
    fn decode(wire: &[u8], step: usize) -> Result<(Vec<u8>, bool), ChunkedError> {
        let (mut decoder, mut buffer, mut out) = (ChunkedDecoder::default(), BytesMut::new(), Vec::new());
        for piece in wire.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(data) = decoder.decode(&mut buffer)? {
                out.extend_from_slice(&data);
            }
        }
        Ok((out, decoder.is_done()))
    }

    #[test]
    fn bodies_come_out_whole_at_every_split() {
        let large = vec![b'x'; 10_000];
        let mut wire = b"5\r\nhello\r\n1;ext=1\r\n \r\n2710\r\n".to_vec();
        wire.extend_from_slice(&large);
        wire.extend_from_slice(b"\r\n5\r\nworld\r\n0\r\nx-trailer: 1\r\n\r\n");
        let expected = [b"hello ".as_slice(), &large, b"world"].concat();
        for step in [1, 2, 3, 7, 4096, wire.len()] {
            assert_eq!(decode(&wire, step).unwrap(), (expected.clone(), true), "step {step}");
        }
    }

    #[test]
    fn small_chunks_are_joined() {
        let (mut decoder, mut buffer) = (ChunkedDecoder::default(), BytesMut::from(&b"1\r\na\r\n1\r\nb\r\n1\r\nc"[..]));
        assert_eq!(decoder.decode(&mut buffer).unwrap().unwrap(), "abc");
        assert_eq!(decoder.decode(&mut buffer).unwrap(), None);
    }

    #[test]
    fn data_before_an_error_is_passed_on_first() {
        let (mut decoder, mut buffer) = (ChunkedDecoder::default(), BytesMut::from(&b"1\r\na\r\n1\r\nb\r\nx\r\n"[..]));
        assert_eq!(decoder.decode(&mut buffer).unwrap().unwrap(), "ab");
        assert!(decoder.decode(&mut buffer).is_err());
    }

    #[test]
    fn a_cut_body_is_not_done() {
        for wire in [&b"5\r\nhel"[..], b"5\r\nhello\r\n", b"0\r\n", b"5"] {
            assert!(!decode(wire, 1).unwrap().1, "{wire:?}");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for wire in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"5\nhello",
            b"1\r\nab\r\n",
            b"fffffffffffffffff\r\n",
            b" 5\r\n",
            b"1 2\r\n",
            b"1\t;a\rb\r\n",
            b"0\r\nx: a\rb\r\n\r\n",
            b"0\r\nHTTP/1.1 200 OK\r\n",
            b"0\r\n: x\r\n\r\n",
        ] {
            assert!(decode(wire, 1).is_err(), "{:?}", String::from_utf8_lossy(wire));
        }
        assert!(decode(&vec![b'1'; MAX_LINE + 2], 64).is_err());
        let long = format!("1;{}\r\n", "e".repeat(MAX_LINE));
        assert!(decode(long.as_bytes(), long.len()).is_err());
    }
}
