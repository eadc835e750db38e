//! HTTP/2 frame by frame (RFC 9113), for peers that break its rules or stop halfway.

use std::io::{Read, Write};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;

/// Identifiers of settings: how many streams the other side may open, and how much it may send on each.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The identifiers and values of a SETTINGS frame.
    pub fn settings(&self) -> Vec<(u16, u32)> {
        let pairs = self.payload.chunks_exact(6);
        pairs.map(|p| (u16::from_be_bytes([p[0], p[1]]), u32::from_be_bytes([p[2], p[3], p[4], p[5]]))).collect()
    }
}

/// One side of a connection. It acknowledges SETTINGS and PING by itself.
pub struct Peer<S> {
    io: S,
}

impl<S: Read + Write> Peer<S> {
    /// The server's side, once the client's preface has come; `None` when something else came.
    pub fn server(mut io: S) -> Option<Self> {
        let mut preface = [0; PREFACE.len()];
        io.read_exact(&mut preface).ok().filter(|()| preface == PREFACE)?;
        let mut peer = Self { io };
        peer.write(SETTINGS, 0, 0, &[]);
        Some(peer)
    }

    /// The client's side, with these settings.
    pub fn client(mut io: S, settings: &[(u16, u32)]) -> Self {
        let _ = io.write_all(PREFACE);
        let mut peer = Self { io };
        let payload = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        peer.write(SETTINGS, 0, 0, &payload.collect::<Vec<u8>>());
        peer
    }

    /// Writes a frame. That the other side has gone is no failure here.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        let _ = self.io.write_all(&[&head[..], payload].concat());
        let _ = self.io.flush();
    }

    pub fn reset(&mut self, stream: u32, error: u32) {
        self.write(RST_STREAM, 0, stream, &error.to_be_bytes());
    }

    pub fn goaway(&mut self, last_stream: u32, error: u32) {
        self.write(GOAWAY, 0, 0, &[last_stream.to_be_bytes(), error.to_be_bytes()].concat());
    }

    /// The next frame; `None` when the connection ends, or is silent for longer than its read timeout.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.write(SETTINGS, ACK, 0, &[]);
        }
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.write(PING, ACK, 0, &frame.payload);
        }
        Some(frame)
    }

    /// Reads on until a frame that `is` accepts.
    pub fn wait_for(&mut self, is: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            if is(&frame) {
                return Some(frame);
            }
        }
    }

    /// Reads a whole request; the number of its stream.
    pub fn request(&mut self) -> Option<u32> {
        let is_end = |frame: &Frame| matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0;
        self.wait_for(is_end).map(|frame| frame.stream)
    }

    /// Answers with 200 and this JSON.
    pub fn respond(&mut self, stream: u32, body: &str) {
        // 0x88 is `:status: 200` of the static table.
        let headers = [&[0x88][..], &field("content-type", "application/json")].concat();
        self.write(HEADERS, END_HEADERS, stream, &headers);
        self.write(DATA, END_STREAM, stream, body.as_bytes());
    }

    /// Sends the head of a request. `last` tells that no body follows.
    pub fn send_request(&mut self, stream: u32, fields: &[(&str, &str)], last: bool) {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        self.write(HEADERS, END_HEADERS | if last { END_STREAM } else { 0 }, stream, &block);
    }
}

/// A header field as HPACK has it without tables and compression (RFC 7541, 6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        if text.len() < 127 {
            bytes.push(u8::try_from(text.len()).unwrap());
        } else {
            // An integer with a prefix of seven bits.
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
