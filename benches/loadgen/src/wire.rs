//! As much HTTP/1.1 as the benchmark needs: heads, content lengths and chunks. Nothing here does IO.

/// The part of a message's head that matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, its blank line included.
    pub bytes: usize,
    /// The reply's status; 0 in a request.
    pub status: u16,
    /// The declared length of the body, in bytes.
    pub content_length: Option<usize>,
    /// Whether the body comes in chunks.
    pub chunked: bool,
    /// Whether the sender closes the connection after this message.
    pub close: bool,
}

impl Head {
    /// Reads a head at the start of `input`; `None` while its blank line has not arrived.
    pub fn parse(input: &[u8]) -> Option<Self> {
        let bytes = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&input[..bytes]).ok()?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3));
        let mut head = Self {
            bytes,
            status: status.and_then(|code| code.parse().ok()).unwrap_or(0),
            content_length: None,
            chunked: false,
            close: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.content_length = value.parse().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            }
        }
        Some(head)
    }
}

/// A body being read: counts what it decodes and keeps only its last bytes, unless all are to be [kept](Body::keeping).
#[derive(Debug)]
pub struct Body {
    state: State,
    decoded: usize,
    tail: [u8; 14],
    kept: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes left of a body with a declared length.
    Length(usize),
    /// In a chunk's size line, with the size so far and whether an extension is being skipped.
    Size {
        size: usize,
        extension: bool,
    },
    /// Bytes left of this chunk's data.
    Data(usize),
    /// Bytes left of the line end after a chunk's data.
    DataEnd(usize),
    /// Bytes left of the line end after the last chunk. Trailers are not read: no proxy here sends any.
    LastEnd(usize),
    Done,
}

impl Body {
    /// The body that `head` announces; `None` when it announces none, which no benchmark message does.
    pub fn of(head: &Head) -> Option<Self> {
        let state = match (head.chunked, head.content_length) {
            (true, _) => State::Size { size: 0, extension: false },
            (false, Some(0)) => State::Done,
            (false, Some(length)) => State::Length(length),
            (false, None) => return None,
        };
        Some(Self { state, decoded: 0, tail: [0; 14], kept: None })
    }

    /// The same body, which keeps all that it decodes.
    pub fn keeping(self) -> Self {
        Self { kept: Some(Vec::new()), ..self }
    }

    /// Takes bytes of the body from `input` and returns how many; fewer than all only when the body is complete.
    ///
    /// # Errors
    ///
    /// When a chunk's framing is broken.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            let rest = &input[at..];
            match self.state {
                State::Length(left) => {
                    let taken = self.take(rest, left);
                    self.state = if taken == left { State::Done } else { State::Length(left - taken) };
                    at += taken;
                }
                State::Data(left) => {
                    let taken = self.take(rest, left);
                    self.state = if taken == left { State::DataEnd(2) } else { State::Data(left - taken) };
                    at += taken;
                }
                State::Size { size, extension } => {
                    self.state = size_line(size, extension, rest[0])?;
                    at += 1;
                }
                State::DataEnd(left) => {
                    line_end(left, rest[0])?;
                    self.state =
                        if left == 1 { State::Size { size: 0, extension: false } } else { State::DataEnd(left - 1) };
                    at += 1;
                }
                State::LastEnd(left) => {
                    line_end(left, rest[0])?;
                    self.state = if left == 1 { State::Done } else { State::LastEnd(left - 1) };
                    at += 1;
                }
                State::Done => break,
            }
        }
        Ok(at)
    }

    /// Counts up to `left` bytes of data and remembers the last of them.
    fn take(&mut self, rest: &[u8], left: usize) -> usize {
        let data = &rest[..left.min(rest.len())];
        let keep = self.tail.len();
        if data.len() >= keep {
            self.tail.copy_from_slice(&data[data.len() - keep..]);
        } else {
            self.tail.rotate_left(data.len());
            self.tail[keep - data.len()..].copy_from_slice(data);
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(data);
        }
        self.decoded += data.len();
        data.len()
    }

    /// Whether the whole body has been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data so far, without framing.
    pub fn decoded(&self) -> usize {
        self.decoded
    }

    /// All data so far; nothing when it is not kept.
    pub fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// The last 14 bytes of data, zeros in front when there were fewer.
    pub fn tail(&self) -> &[u8; 14] {
        &self.tail
    }
}

/// The state after one more byte of a chunk's size line.
fn size_line(size: usize, extension: bool, byte: u8) -> Result<State, &'static str> {
    match byte {
        b'\n' if size == 0 => Ok(State::LastEnd(2)),
        b'\n' => Ok(State::Data(size)),
        b'\r' => Ok(State::Size { size, extension }),
        _ if extension => Ok(State::Size { size, extension }),
        b';' => Ok(State::Size { size, extension: true }),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or("a chunk's size is not hexadecimal")?;
            Ok(State::Size { size: size * 16 + digit as usize, extension })
        }
    }
}

fn line_end(left: usize, byte: u8) -> Result<(), &'static str> {
    let expected = if left == 2 { b'\r' } else { b'\n' };
    if byte == expected { Ok(()) } else { Err("a chunk does not end where its size says") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n9\r\n, world!\n\r\n0\r\n\r\n";

    #[test]
    fn a_chunked_body_reads_the_same_cut_anywhere() {
        let head = Head::parse(CHUNKED).expect("a head");
        let body = &CHUNKED[head.bytes..];
        for cut in 0..body.len() {
            let mut decoder = Body::of(&head).expect("a body");
            let (first, second) = body.split_at(cut);
            assert_eq!(decoder.feed(first), Ok(cut));
            assert!(!decoder.is_done(), "done {cut} bytes in");
            assert_eq!(decoder.feed(second), Ok(second.len()));
            assert!(decoder.is_done());
            assert_eq!((decoder.decoded(), decoder.tail()), (14, b"hello, world!\n"));
        }
    }

    #[test]
    fn a_declared_length_ends_the_body() {
        let head = Head::parse(b"HTTP/1.1 503 Busy\r\ncontent-length: 3\r\nConnection: close\r\n\r\n").expect("a head");
        assert_eq!((head.status, head.close), (503, true));
        let mut body = Body::of(&head).expect("a body");
        assert_eq!(body.feed(b"abcdef"), Ok(3));
        assert!(body.is_done());
    }

    #[test]
    fn broken_framing_is_an_error() {
        let head = Head::parse(CHUNKED).expect("a head");
        for broken in [&b"zz\r\n"[..], b"3\r\nabcd\r\n", b"3\r\nabc\rx"] {
            assert!(Body::of(&head).expect("a body").feed(broken).is_err(), "{broken:?}");
        }
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n"), None);
    }
}
