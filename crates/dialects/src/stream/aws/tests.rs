use super::*;

/// The frames that botocore accepts, as hexadecimal text.
const START: &str = "00000081000000526cc176930b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a22617373697374616e74222c2270223a2261626364227d9170592b";
const DELTA: &str = "000000950000005789cbb35e0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a2248c3a9227d7ddae7d374";
const EXCEPTION: &str = "0000008300000061a9d144e50f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22736c6f77227d9350311c";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Every frame in short: message type, name, payload.
fn frames(pieces: &[&[u8]]) -> Result<Vec<String>, FrameError> {
    let mut decoder = AwsDecoder::default();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut |frame| {
            seen.push([frame.message, frame.name, frame.payload].map(String::from_utf8_lossy).join(" "));
        })?;
    }
    assert!(decoder.at_boundary());
    Ok(seen)
}

#[test]
fn frames_are_found_at_every_split() {
    let all: Vec<u8> = [START, DELTA, EXCEPTION].into_iter().flat_map(bytes).collect();
    let expected = [
        r#"event messageStart {"role":"assistant","p":"abcd"}"#,
        r#"event contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"Hé"}}"#,
        r#"exception throttlingException {"message":"slow"}"#,
    ];
    for at in 0..=all.len() {
        let (a, b) = all.split_at(at);
        assert_eq!(frames(&[a, b]).unwrap(), expected, "split at {at}");
    }
    let single: Vec<&[u8]> = all.chunks(1).collect();
    assert_eq!(frames(&single).unwrap(), expected);
}

#[test]
fn what_is_written_is_what_others_write() {
    let mut out = Vec::new();
    write_event(&mut out, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant","p":"abcd"}"#));
    assert_eq!(out, bytes(START));
    out.clear();
    write_exception(&mut out, "throttlingException", |out| out.extend_from_slice(br#"{"message":"slow"}"#));
    assert_eq!(out, bytes(EXCEPTION));
}

#[test]
fn broken_frames_are_refused_and_stay_so() {
    let good = bytes(DELTA);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let mut decoder = AwsDecoder::default();
        let first = decoder.push(&bad, &mut |_| panic!("a frame broken at byte {at} was taken"));
        let second = decoder.push(&good, &mut |_| panic!("read on after byte {at}"));
        assert!(first.is_err() && first == second, "byte {at}");
    }
}

#[test]
fn absurd_lengths_cost_nothing() {
    let frame = |total: u32, headers: u32| {
        let prelude = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        let crc = crc32fast::hash(&prelude).to_be_bytes();
        [prelude.as_slice(), &crc].concat()
    };
    for (total, headers) in [(u32::MAX, 0), (16, 1), (15, 0), (0, 0), (100, u32::MAX)] {
        let mut decoder = AwsDecoder::default();
        assert_eq!(decoder.push(&frame(total, headers), &mut |_| {}), Err(FrameError::Length(total)));
        assert_eq!(decoder.carry.capacity(), 0);
    }
}
