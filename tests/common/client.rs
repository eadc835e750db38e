//! An HTTP/1.1 client that sends given bytes and returns exactly the bytes it received.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use serde_json::Value;

use super::PATIENCE;

/// A request's bytes: `Host: gateway.test` and `Content-Length` are added where `headers` has none.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        head += "host: gateway.test\r\n";
    }
    if !has("content-length") && !has("transfer-encoding") && (method == "POST" || !body.is_empty()) {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// One connection. Every read fails the test after [`PATIENCE`].
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    /// How the body that is being read is framed.
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
    Ended,
}

/// A reply, or its head when the body is read piece by piece.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The version: `HTTP/1.1`.
    pub version: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
    /// Whether the body came to its end: false when the connection was cut before that.
    pub complete: bool,
}

impl Reply {
    /// The one header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let first = all.next();
        assert!(all.next().is_none(), "{name} is there twice: {:?}", self.headers);
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Client {
    /// A connection to this port of this machine.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|| panic!("port {port} refuses connections"))
    }

    /// The same, `None` when it is refused.
    pub fn try_connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self { stream, read: Vec::new(), framing: Framing::Ended })
    }

    /// Sends bytes. A closed connection is no failure here, because the reply has the reason.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// Sends no more, but reads on.
    pub fn finish_sending(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// The next reply, whole.
    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("a reply before the connection ends")
    }

    /// The same; `None` when the connection ends before a head.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut reply = self.try_head()?;
        while let Some(piece) = self.piece().unwrap_or_else(|_| {
            reply.complete = false;
            None
        }) {
            reply.body.extend(piece);
        }
        Some(reply)
    }

    /// The reply to a HEAD request: whatever its headers say, no body follows.
    pub fn reply_to_head(&mut self) -> Reply {
        let reply = self.head();
        self.framing = Framing::Ended;
        reply
    }

    /// The head of the next reply. Its body is read by [`Client::piece`] or [`Client::event`].
    pub fn head(&mut self) -> Reply {
        self.try_head().expect("a reply's head before the connection ends")
    }

    fn try_head(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.more().ok()? {
                assert!(self.read.is_empty(), "cut in the head: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut status = lines.next().unwrap().splitn(3, ' ');
        let version = status.next().unwrap().to_owned();
        let status: u16 = status.next().unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let reply = Reply { status, version, headers, body: Vec::new(), complete: true };
        self.framing = match (reply.header("transfer-encoding"), reply.header("content-length")) {
            _ if status < 200 || status == 204 || status == 304 => Framing::Ended,
            (Some(_), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap()),
            (None, None) => Framing::UntilClose,
        };
        Some(reply)
    }

    /// The next bytes of the body, as soon as there are some; `None` at its end.
    ///
    /// # Errors
    /// When the connection is cut before the body's end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Ended => Ok(None),
            Framing::Length(0) => {
                self.framing = Framing::Ended;
                Ok(None)
            }
            Framing::Length(left) => {
                self.need(1)?;
                let piece: Vec<u8> = self.read.drain(..self.read.len().min(left)).collect();
                self.framing = Framing::Length(left - piece.len());
                Ok(Some(piece))
            }
            Framing::UntilClose => {
                if self.read.is_empty() && !self.more()? {
                    self.framing = Framing::Ended;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.read)))
            }
            Framing::Chunked => {
                let line = self.line()?;
                let length = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
                if length == 0 {
                    while !self.line()?.is_empty() {}
                    self.framing = Framing::Ended;
                    return Ok(None);
                }
                self.need(length + 2)?;
                let piece = self.read.drain(..length).collect();
                self.read.drain(..2);
                Ok(Some(piece))
            }
        }
    }

    /// The next server-sent event with its end, as soon as it is there; `None` at the body's end. Chunks of the
    /// transfer are expected to hold whole events, as the made-up providers send them.
    pub fn event(&mut self) -> Option<String> {
        let mut event = Vec::new();
        while !event.ends_with(b"\n\n") && !event.ends_with(b"\r\n\r\n") {
            match self.piece().expect("an event before the connection is cut") {
                Some(piece) => event.extend(piece),
                None if event.is_empty() => return None,
                None => panic!("half an event: {}", String::from_utf8_lossy(&event)),
            }
        }
        Some(String::from_utf8(event).unwrap())
    }

    /// Whether the other side closes the connection, cleanly or not, before it sends anything else. Waits for it.
    pub fn closed(&mut self) -> bool {
        self.read.is_empty() && !matches!(self.more(), Ok(true)) && self.read.is_empty()
    }

    /// Everything that comes until the connection ends, cleanly or not, whatever it is.
    pub fn rest(&mut self) -> Vec<u8> {
        while matches!(self.more(), Ok(true)) {}
        std::mem::take(&mut self.read)
    }

    /// The next `length` bytes, whatever they are; `None` when the connection ends before them.
    pub fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        self.need(length).ok()?;
        Some(self.read.drain(..length).collect())
    }

    /// Goes away with a reset, as a process does that is killed with unread data.
    pub fn reset(self) {
        super::upstream::reset(&self.stream);
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.need(self.read.len() + 1)?;
        }
    }

    fn need(&mut self, length: usize) -> io::Result<()> {
        while self.read.len() < length {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads what is there; false at the connection's end.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        let read = match self.stream.read(&mut buffer) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; so far: {}", String::from_utf8_lossy(&self.read))
            }
            read => read?,
        };
        self.read.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }
}
