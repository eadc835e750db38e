//! Frames of AWS event streams (`application/vnd.amazon.eventstream`), as Bedrock streams them.
//!
//! ```text
//! u32 total | u32 headers | u32 crc32 of these eight bytes | headers | payload | u32 crc32 of everything before it
//! ```
//!
//! All numbers are big-endian. A header is a name, a type and a value; all that Bedrock sends are strings.

#[cfg(test)]
mod tests;

/// Largest frame that is read, in bytes: what botocore accepts (24 MiB of payload, 128 KiB of headers).
pub const MAX_FRAME_BYTES: usize = 24 * 1024 * 1024 + 128 * 1024 + 16;

/// Capacity that the buffer may keep from one frame to the next.
const KEEP_CAPACITY: usize = 64 * 1024;

const PRELUDE: usize = 12;
const TRAILER: usize = 4;
/// Type byte of a header that is a string.
const STRING: u8 = 7;

/// One frame, borrowed for the time of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsFrame<'a> {
    /// `:message-type`: `event`, `exception` or `error`.
    pub message: &'a [u8],
    /// `:event-type`, `:exception-type` or `:error-code`: the name of the frame.
    pub name: &'a [u8],
    /// `:error-message`, of messages of type `error`.
    pub error: Option<&'a [u8]>,
    /// The payload, JSON.
    pub payload: &'a [u8],
}

impl AwsFrame<'_> {
    /// Whether the frame reports a failure.
    pub fn is_failure(&self) -> bool {
        self.message != b"event"
    }
}

/// The reason why a stream of frames can't be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A length that no frame has, or more than [`MAX_FRAME_BYTES`].
    Length(u32),
    /// A checksum is wrong: the bytes were changed in transit, or are not an event stream.
    Checksum,
    /// The headers can't be read.
    Headers,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(length) => write!(f, "an event stream frame claims {length} bytes"),
            Self::Checksum => f.write_str("the checksum of an event stream frame is wrong"),
            Self::Headers => f.write_str("the headers of an event stream frame can't be read"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Finds the frames of a stream that comes in pieces.
#[derive(Default)]
pub struct AwsDecoder {
    /// The beginning of an unfinished frame.
    carry: Vec<u8>,
    failed: Option<FrameError>,
}

impl AwsDecoder {
    /// Takes the next piece and passes every frame that ends in it to `sink`, in order.
    ///
    /// # Errors
    /// When the stream is broken; it stays so, and nothing more is read.
    pub fn push(&mut self, piece: &[u8], sink: &mut impl FnMut(AwsFrame<'_>)) -> Result<(), FrameError> {
        self.push_raw(piece, &mut |frame, _| sink(frame))
    }

    /// Like [`push`](Self::push); `sink` also gets the bytes of each frame.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_raw(&mut self, piece: &[u8], sink: &mut impl FnMut(AwsFrame<'_>, &[u8])) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.read(piece, sink);
        if let Err(error) = result {
            self.failed = Some(error);
            self.carry = Vec::new();
        }
        result
    }

    /// Whether no frame has begun: a stream that ends within a frame was cut.
    pub fn at_boundary(&self) -> bool {
        self.carry.is_empty() && self.failed.is_none()
    }

    fn read(&mut self, mut piece: &[u8], sink: &mut impl FnMut(AwsFrame<'_>, &[u8])) -> Result<(), FrameError> {
        // The frame that began in earlier pieces.
        while !self.carry.is_empty() {
            let wanted = frame_length(&self.carry)?.unwrap_or(PRELUDE);
            let (now, rest) = piece.split_at(wanted.saturating_sub(self.carry.len()).min(piece.len()));
            self.carry.extend_from_slice(now);
            piece = rest;
            match frame_length(&self.carry)? {
                Some(length) if length == self.carry.len() => {
                    sink(parse(&self.carry)?, &self.carry);
                    self.carry.clear();
                    self.carry.shrink_to(KEEP_CAPACITY);
                }
                _ if piece.is_empty() => return Ok(()),
                _ => {}
            }
        }
        while let Some(length) = frame_length(piece)? {
            let Some((frame, rest)) = piece.split_at_checked(length) else { break };
            sink(parse(frame)?, frame);
            piece = rest;
        }
        self.carry.extend_from_slice(piece);
        Ok(())
    }
}

/// Length of the frame that begins here, once its prelude is complete and valid.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let (Some(total), Some(headers), Some(crc)) = (number(bytes, 0), number(bytes, 4), number(bytes, 8)) else {
        return Ok(None);
    };
    if crc32fast::hash(bytes.get(..8).unwrap_or_default()) != crc {
        return Err(FrameError::Checksum);
    }
    let length = total as usize;
    if length < PRELUDE + TRAILER + headers as usize || length > MAX_FRAME_BYTES {
        return Err(FrameError::Length(total));
    }
    Ok(Some(length))
}

fn parse(frame: &[u8]) -> Result<AwsFrame<'_>, FrameError> {
    let end = frame.len().saturating_sub(TRAILER);
    let crc = number(frame, end).ok_or(FrameError::Headers)?;
    let signed = frame.get(..end).unwrap_or_default();
    if crc32fast::hash(signed) != crc {
        return Err(FrameError::Checksum);
    }
    let headers_end = PRELUDE + number(frame, 4).unwrap_or(0) as usize;
    let headers = signed.get(PRELUDE..headers_end).ok_or(FrameError::Headers)?;
    let payload = signed.get(headers_end..).unwrap_or_default();
    let mut found = AwsFrame { message: b"event", name: b"", error: None, payload };
    let mut rest = headers;
    while !rest.is_empty() {
        let (name, value, after) = header(rest).ok_or(FrameError::Headers)?;
        match name {
            b":message-type" => found.message = value,
            b":event-type" | b":exception-type" | b":error-code" => found.name = value,
            b":error-message" => found.error = Some(value),
            _ => {}
        }
        rest = after;
    }
    Ok(found)
}

/// Name and value of the first header, and the bytes after it. Values of fixed size are returned as bytes.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (size, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    Some((name, value, rest))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_be_bytes(*four))
}

/// Appends a frame of type `event` with a JSON payload, which `write` appends.
pub fn write_event(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    write_frame(out, [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")], write);
}

/// Appends a frame of type `exception` with a JSON payload, which `write` appends.
pub fn write_exception(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    let headers = [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    write_frame(out, headers, write);
}

/// Appends a frame with the headers of `frame` and another payload.
pub fn write_with_payload(out: &mut Vec<u8>, frame: &[u8], payload: &[u8]) {
    let start = out.len();
    let headers = number(frame, 4).unwrap_or(0) as usize;
    out.extend_from_slice(frame.get(..PRELUDE + headers).unwrap_or_default());
    out.extend_from_slice(payload);
    seal(out, start, headers);
}

fn write_frame(out: &mut Vec<u8>, headers: [(&str, &str); 3], write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE]);
    for (name, value) in headers {
        // The gateway's frames are never too long for their length fields.
        out.push(u8::try_from(name.len()).unwrap_or(0));
        out.extend_from_slice(name.as_bytes());
        out.push(STRING);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    let headers = out.len() - start - PRELUDE;
    write(out);
    seal(out, start, headers);
}

/// Writes the lengths and checksums of the frame that begins at `start` and whose headers take `headers` bytes.
fn seal(out: &mut Vec<u8>, start: usize, headers: usize) {
    let total = out.len() - start + TRAILER;
    let prelude = [total, headers].map(|n| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()).concat();
    let crc = crc32fast::hash(&prelude).to_be_bytes();
    if let Some(place) = out.get_mut(start..start + PRELUDE) {
        place.copy_from_slice(&[prelude.as_slice(), &crc].concat());
    }
    let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
}
