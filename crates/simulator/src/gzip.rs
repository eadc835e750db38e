//! gzip framing (RFC 1952) with stored blocks (RFC 1951, 3.2.4): valid for every decoder, without a compressor.

use axum::body::Bytes;

/// Magic, method deflate, no flags, no time, no hint, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A stored block's length has 16 bits.
const BLOCK: usize = 65_535;

/// Encodes all pieces as one gzip member. Each piece of the output can be decoded when it arrives.
pub(super) fn encode(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut checksum = !0_u32;
    let mut length = 0_u32;
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let mut encoded = Vec::with_capacity(piece.len() + 16);
        for block in piece.chunks(BLOCK) {
            checksum = block.iter().fold(checksum, |crc, byte| crc32(crc, *byte));
            #[expect(clippy::cast_possible_truncation, reason = "chunks() bounds it to 16 bits")]
            let size = block.len() as u16;
            length = length.wrapping_add(u32::from(size));
            push_block(&mut encoded, false, size, block);
        }
        out.push(encoded);
    }
    if out.is_empty() {
        out.push(Vec::new());
    }
    if let Some(first) = out.first_mut() {
        first.splice(0..0, HEADER);
    }
    if let Some(last) = out.last_mut() {
        push_block(last, true, 0, &[]);
        last.extend_from_slice(&(!checksum).to_le_bytes());
        last.extend_from_slice(&length.to_le_bytes());
    }
    out.into_iter().map(Bytes::from).collect()
}

fn push_block(out: &mut Vec<u8>, last: bool, size: u16, block: &[u8]) {
    out.push(u8::from(last));
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&(!size).to_le_bytes());
    out.extend_from_slice(block);
}

fn crc32(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `printf 'hello' | gzip -n`, whose trailer (CRC-32, length) must be ours too.
    #[test]
    fn the_trailer_is_the_one_gzip_writes() {
        let encoded = encode(vec![Bytes::from_static(b"hel"), Bytes::from_static(b"lo")]).concat();
        assert_eq!(encoded[encoded.len() - 8..], [0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0]);
        assert_eq!(encoded[..10], HEADER);
        assert_eq!(encoded[10..18], [0, 3, 0, 0xfc, 0xff, b'h', b'e', b'l']);
    }
}
