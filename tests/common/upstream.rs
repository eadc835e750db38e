//! Fake providers and servers: a script answers each request, and all received bytes are recorded.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{PATIENCE, unpromised, wait_until};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The head, byte for byte, with the empty line.
    pub head: String,
    /// The body, byte for byte, unchunked.
    pub body: Vec<u8>,
}

impl Received {
    /// The first line: `POST /v1/messages HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    /// The headers, names in lower case, in their order.
    pub fn headers(&self) -> Vec<(String, String)> {
        let lines = self.head.trim_end().split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
    }

    /// The value of the one header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.headers().into_iter().filter(|(own, _)| own == name).map(|(_, value)| value);
        let first = all.next();
        assert!(all.next().is_none(), "{name} is there twice: {}", self.head);
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Kept {
    requests: Vec<Received>,
    connections: usize,
    /// Connections that the other side has closed while a script or the wait for a request looked.
    closed: usize,
}

/// A listening server. It stops accepting when dropped.
pub struct Upstream {
    /// Its port on 127.0.0.1.
    pub port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Upstream {
    /// Answers each request by calling `script`, which runs on a thread of the connection. A script that returns
    /// leaves the connection open for the next request, unless it closed or reset it.
    pub fn new(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let bind = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            (listener, port)
        };
        let (listener, port) = unpromised(bind);
        let (kept, script) = (Arc::new(Mutex::new(Kept::default())), Arc::new(script));
        let keep = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Only the thread is left: the test is over.
                if Arc::strong_count(&keep) == 1 {
                    return;
                }
                let (keep, script) = (Arc::clone(&keep), Arc::clone(&script));
                thread::spawn(move || serve(stream, &keep, &*script));
            }
        });
        Self { port, kept }
    }

    /// Answers every request with this JSON.
    pub fn json(body: &str) -> Self {
        Self::fixed(200, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Answers every request with this reply.
    pub fn fixed(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let body = body.to_vec();
        Self::new(move |exchange| {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            exchange.reply(status, &headers, &body);
        })
    }

    /// A port that refuses connections.
    pub fn refusing() -> u16 {
        super::free_port()
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.kept.lock().unwrap().requests.clone()
    }

    /// The one request that came.
    pub fn only(&self) -> Received {
        let mut all = self.received();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.kept.lock().unwrap().connections
    }

    /// Waits until `count` requests have come.
    pub fn wait_for_received(&self, count: usize) {
        wait_until("requests", PATIENCE, || (self.kept.lock().unwrap().requests.len() >= count).then_some(()));
    }

    /// Waits until the other side has closed `count` connections.
    pub fn wait_for_closed(&self, count: usize) {
        wait_until("closed connections", PATIENCE, || (self.kept.lock().unwrap().closed >= count).then_some(()));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kept = Arc::default();
        // Wakes the accepting thread, which sees that it is alone.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, kept: &Arc<Mutex<Kept>>, script: &dyn Fn(&mut Exchange)) {
    let _ = stream.set_nodelay(true);
    let connection = {
        let mut kept = kept.lock().unwrap();
        kept.connections += 1;
        kept.connections - 1
    };
    let mut exchange = Exchange { stream, read: Vec::new(), request: None, nth: 0, over: false };
    while !exchange.over {
        let Ok(Some(request)) = exchange.receive(connection) else {
            kept.lock().unwrap().closed += 1;
            return;
        };
        {
            let mut kept = kept.lock().unwrap();
            exchange.nth = kept.requests.len();
            kept.requests.push(request.clone());
        }
        exchange.request = Some(request);
        script(&mut exchange);
    }
}

/// One request, and the connection to answer it on.
pub struct Exchange {
    stream: TcpStream,
    read: Vec<u8>,
    request: Option<Received>,
    /// How many requests came before it, on all connections.
    pub nth: usize,
    over: bool,
}

impl Exchange {
    /// The request.
    pub fn request(&self) -> &Received {
        self.request.as_ref().unwrap()
    }

    /// Writes bytes as they are. That the other side has gone is no failure here.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Writes a whole reply with its length.
    pub fn reply(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> &mut Self {
        let length = body.len().to_string();
        let mut all = vec![("content-length", length.as_str())];
        all.extend_from_slice(headers);
        self.head(status, &all);
        self.write(body)
    }

    /// Writes the head of a reply.
    pub fn head(&mut self, status: u16, headers: &[(&str, &str)]) -> &mut Self {
        let mut head = format!("HTTP/1.1 {status} Reason\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        self.write(head + "\r\n")
    }

    /// Begins a chunked stream of this type.
    pub fn stream(&mut self, content_type: &str) -> &mut Self {
        self.head(200, &[("content-type", content_type), ("transfer-encoding", "chunked")])
    }

    /// Writes one chunk.
    pub fn chunk(&mut self, data: impl AsRef<[u8]>) -> &mut Self {
        let data = data.as_ref();
        self.write([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
    }

    /// Writes one chunk; false when the other side has gone.
    pub fn try_chunk(&mut self, data: impl AsRef<[u8]>) -> bool {
        let data = data.as_ref();
        let bytes = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.stream.write_all(&bytes).is_ok()
    }

    /// Ends a chunked stream.
    pub fn end(&mut self) -> &mut Self {
        self.write("0\r\n\r\n")
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.over = true;
    }

    /// Closes the connection with a reset, as soon as the script returns.
    pub fn reset(&mut self) {
        reset(&self.stream);
        self.over = true;
    }

    /// Waits until the other side closes the connection.
    pub fn wait_closed(&mut self) {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        let mut rest = [0; 1024];
        while matches!(self.stream.read(&mut rest), Ok(n) if n > 0) {}
    }

    /// The next request; `None` when the other side closes the connection before one.
    fn receive(&mut self, connection: usize) -> io::Result<Option<Received>> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.more()? {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let mut received = Received { connection, head: String::from_utf8(head).unwrap(), body: Vec::new() };
        if received.header("transfer-encoding").is_some() {
            loop {
                let line = loop {
                    if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                        break self.read.drain(..at + 2).collect::<Vec<u8>>();
                    }
                    self.need(self.read.len() + 1)?;
                };
                let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
                self.need(length + 2)?;
                received.body.extend(self.read.drain(..length));
                self.read.drain(..2);
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = received.header("content-length") {
            let length = length.parse().unwrap();
            self.need(length)?;
            received.body = self.read.drain(..length).collect();
        }
        Ok(Some(received))
    }

    fn need(&mut self, length: usize) -> io::Result<()> {
        while self.read.len() < length {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 256 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }
}

/// Makes the coming close of `stream` a reset.
pub(super) fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Lets a script wait for the test, step by step.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Lets one `wait` pass.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_all();
    }

    /// Waits for one `open`; each lets one pass.
    pub fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        let mut steps = self.0.0.lock().unwrap();
        while *steps == 0 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the gate was not opened in time");
            steps = self.0.1.wait_timeout(steps, left).unwrap().0;
        }
        *steps -= 1;
    }
}
