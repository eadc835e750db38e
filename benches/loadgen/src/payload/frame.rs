//! Frames of an AWS event stream, written and read back, and base64, which Bedrock puts into some of them.

/// The content type of a stream of frames.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The head and the end of a frame, in bytes: two lengths, and their checksum; the whole frame's checksum.
const PRELUDE: usize = 12;
const END: usize = 4;

/// A frame around an event's JSON.
pub fn encode(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")] {
        // One byte for the name's length, 7 for a string, two bytes for the value's length.
        headers.extend(name.len().to_be_bytes().last());
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&value.len().to_be_bytes()[6..]);
        headers.extend_from_slice(value.as_bytes());
    }
    let length = PRELUDE + headers.len() + payload.len() + END;
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&length.to_be_bytes()[4..]);
    frame.extend_from_slice(&headers.len().to_be_bytes()[4..]);
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame
}

/// The payloads of all frames in `stream`.
///
/// # Errors
///
/// When a length or a checksum is wrong, or bytes are left.
pub fn payloads(mut stream: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let mut payloads = Vec::new();
    while !stream.is_empty() {
        let (length, headers) = number(stream, 0).zip(number(stream, 4)).ok_or("a frame without its lengths")?;
        let (length, headers) = (length as usize, headers as usize);
        if length < PRELUDE + headers + END || stream.len() < length {
            return Err("a frame with a wrong length");
        }
        let (frame, rest) = stream.split_at(length);
        if number(frame, 8) != Some(crc32(&frame[..8]))
            || number(frame, length - END) != Some(crc32(&frame[..length - END]))
        {
            return Err("a frame with a wrong checksum");
        }
        payloads.push(&frame[PRELUDE + headers..length - END]);
        stream = rest;
    }
    Ok(payloads)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// CRC-32 as in zlib, bit by bit: it is needed only before and after what is measured.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_a_changed_byte_is_found() {
        let mut stream = encode("messageStart", r#"{"role":"assistant"}"#);
        stream.extend(encode("metadata", "{}"));
        assert_eq!(payloads(&stream), Ok(vec![&br#"{"role":"assistant"}"#[..], b"{}"]));
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 1;
            assert!(payloads(&changed).is_err(), "byte {at}");
        }
        assert!(payloads(&stream[..stream.len() - 1]).is_err());
    }

    #[test]
    fn frames_are_amazons() {
        // Written by botocore's own encoder.
        let wanted = "00000081000000526cc176930b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e74\
                      2d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22\
                      726f6c65223a22617373697374616e74222c2270223a2261626364227d9170592b";
        let frame = encode("messageStart", r#"{"role":"assistant","p":"abcd"}"#);
        let hex = frame.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(hex, wanted);
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob?>", "Zm9vYj8+")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
