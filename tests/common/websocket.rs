//! A WebSocket client of its own (RFC 6455), over the client that sends and reads plain bytes.

use serde_json::Value;

use super::{Client, Gateway, Reply, request};

/// The key of RFC 6455, section 1.3, and what a server accepts it with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The headers of a handshake.
pub const HANDSHAKE: [(&str, &str); 4] =
    [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", KEY)];

/// An open WebSocket.
pub struct WebSocket {
    pub client: Client,
}

impl WebSocket {
    /// Opens one at this path of the gateway.
    pub fn open(gateway: &Gateway, path: &str) -> Self {
        Self::open_with(gateway, path, &[])
    }

    /// The same, with more headers.
    pub fn open_with(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut client = gateway.connect();
        let reply = handshake(&mut client, path, headers);
        assert_eq!(reply.status, 101, "{reply:?}");
        assert_eq!(reply.header("sec-websocket-accept"), Some(ACCEPT));
        assert!(reply.header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")), "{reply:?}");
        assert!(reply.header("connection").is_some_and(|to| to.eq_ignore_ascii_case("upgrade")), "{reply:?}");
        for name in ["content-length", "transfer-encoding", "sec-websocket-extensions", "sec-websocket-protocol"] {
            assert_eq!(reply.header(name), None, "nothing that was not requested, and no body");
        }
        Self { client }
    }

    /// Sends an event.
    pub fn send(&mut self, event: &Value) -> &mut Self {
        self.text(&event.to_string())
    }

    /// Sends a message of text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.frame(TEXT, true, text.as_bytes())
    }

    /// Sends a frame; `last` if it ends its message.
    pub fn frame(&mut self, opcode: u8, last: bool, payload: &[u8]) -> &mut Self {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = head(opcode, last, payload.len(), 0x80);
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.client.send(&frame);
        self
    }

    /// Sends the head of a frame with a payload of `length` bytes, which does not follow.
    pub fn announce(&mut self, opcode: u8, length: usize) -> &mut Self {
        let mut frame = head(opcode, true, length, 0x80);
        frame.extend([0; 4]);
        self.client.send(&frame);
        self
    }

    /// Sends a frame that is not masked, as only servers may.
    pub fn unmasked(&mut self, payload: &[u8]) -> &mut Self {
        let frame = [&head(TEXT, true, payload.len(), 0)[..], payload].concat();
        self.client.send(&frame);
        self
    }

    /// The next frame: its opcode and its payload. `None` when the connection ends before it.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.client.bytes(2)?;
        assert_eq!(head[0] & 0x70, 0, "no extension was requested");
        assert_eq!((head[0] & 0x80, head[1] & 0x80), (0x80, 0), "messages are whole, and a server masks nothing");
        let length = match head[1] {
            126 => self.client.bytes(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            127 => self.client.bytes(8)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        Some((head[0] & 0x0f, self.client.bytes(length)?))
    }

    /// The next event.
    pub fn event(&mut self) -> Value {
        let (opcode, payload) = self.next().expect("an event before the connection ends");
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    /// The events up to one of these types.
    pub fn until(&mut self, last: &[&str]) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.event());
            if last.contains(&events.last().unwrap()["type"].as_str().unwrap()) {
                return events;
            }
        }
    }

    /// The code of the close frame that comes next. Answers it, and waits until the server ends the connection.
    pub fn closed(&mut self) -> u16 {
        let (opcode, payload) = self.next().expect("a close frame before the connection ends");
        assert_eq!(opcode, CLOSE, "{}", String::from_utf8_lossy(&payload));
        self.frame(CLOSE, true, &payload[..2]);
        assert!(self.client.closed(), "the server ends the connection after the close frames");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Closes it as clients do, and waits for the server's answer.
    pub fn close(mut self) {
        self.frame(CLOSE, true, &1000_u16.to_be_bytes());
        while let Some((opcode, payload)) = self.next() {
            if opcode == CLOSE {
                assert_eq!(payload, 1000_u16.to_be_bytes());
                assert!(self.client.closed());
                return;
            }
        }
        panic!("no answer to the close frame");
    }
}

/// Sends a handshake, and returns the reply. Of two headers with one name the later is sent.
pub fn handshake(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Reply {
    let replaced = |name: &str| headers.iter().any(|(other, _)| *other == name);
    let mut all: Vec<_> = HANDSHAKE.into_iter().filter(|(name, _)| !replaced(name)).collect();
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    client.send(&request("GET", path, &all, b"")).reply()
}

fn head(opcode: u8, last: bool, length: usize, masked: u8) -> Vec<u8> {
    let first = if last { 0x80 | opcode } else { opcode };
    match length {
        0..126 => vec![first, masked | u8::try_from(length).unwrap()],
        126..65_536 => [&[first, masked | 0x7e][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
        _ => [&[first, masked | 0x7f][..], &u64::try_from(length).unwrap().to_be_bytes()].concat(),
    }
}
