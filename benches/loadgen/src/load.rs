//! The clients: a fixed number of connections, each sending its next request when the last reply is complete.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    answer,
    payload::{self, DialectId, STREAM_END, Scenario},
    wire::{Body, Head},
};

/// How often the proxy's CPU time is looked at, to see whether enough of it has been used.
const PEEK: Duration = Duration::from_millis(20);

/// One measurement.
pub struct Plan {
    /// Where the proxy, or the bare mock, listens.
    pub target: SocketAddr,
    /// The path of every request.
    pub path: String,
    /// The dialect of the client.
    pub dialect: DialectId,
    /// What is sent, and what must come back.
    pub scenario: Scenario,
    /// Whether the reply is not the mock's byte for byte: then the first reply says how long the others must be.
    pub translated: bool,
    /// Concurrent connections.
    pub connections: usize,
    /// Requests before the measurement, over all connections.
    pub warmup: usize,
    /// When to stop at the latest, in seconds.
    pub seconds: f64,
    /// Stop when the proxy has used this much CPU time, in clock ticks; 0 is never.
    pub proxy_ticks: u64,
    /// The proxy's processes.
    pub proxy_pids: Vec<String>,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    /// Nanoseconds from the first byte sent to the last byte read.
    latencies: Vec<u64>,
    /// Nanoseconds from the first byte sent to the end of the reply's head.
    first: Vec<u64>,
    reconnects: usize,
}

/// Why a phase ends: shared by its connections.
struct Until {
    requests: Cell<usize>,
    stop: Cell<bool>,
}

impl Until {
    /// Claims one more request, unless the phase is over.
    fn claim(&self) -> bool {
        let left = self.requests.get();
        if self.stop.get() || left == 0 {
            return false;
        }
        self.requests.set(left - 1);
        true
    }
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

async fn connect(target: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(target).await.map_err(|e| format!("connect to {target}: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(Connection { stream, input: vec![0; 64 * 1024] })
}

impl Connection {
    /// Sends one request and reads its reply, whose body is kept when `keep` says so.
    async fn exchange(&mut self, request: &[u8], keep: bool) -> Result<Reply, String> {
        self.stream.write_all(request).await.map_err(|e| format!("write: {e}"))?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled).await?;
            if let Some(head) = Head::parse(&self.input[..filled]) {
                break head;
            }
        };
        let first = Instant::now();
        if head.status != 200 {
            return Err(format!("status {}: {}", head.status, String::from_utf8_lossy(&self.input[..filled])));
        }
        let mut body = Body::of(&head).ok_or("a reply without a length")?;
        if keep {
            body = body.keeping();
        }
        body.feed(&self.input[head.bytes..filled])?;
        while !body.is_done() {
            let read = self.read(0).await?;
            body.feed(&self.input[..read])?;
        }
        Ok(Reply { first, close: head.close, body })
    }

    async fn read(&mut self, from: usize) -> Result<usize, String> {
        match self.stream.read(&mut self.input[from..]).await {
            Ok(0) => Err("closed inside a reply, or its head is too long".to_owned()),
            Ok(read) => Ok(read),
            Err(error) => Err(format!("read: {error}")),
        }
    }
}

/// A reply that has been read.
struct Reply {
    /// When its head was there.
    first: Instant,
    /// Whether the peer closes the connection now.
    close: bool,
    body: Body,
}

/// What every reply must be.
struct Expected {
    /// Bytes of its body.
    length: usize,
    /// Its last bytes, where they are known.
    end: Option<&'static [u8; 14]>,
}

impl Expected {
    fn check(&self, body: &Body) -> Result<(), String> {
        if body.decoded() != self.length {
            return Err(format!("a reply of {} bytes, not {}", body.decoded(), self.length));
        }
        if self.end.is_some_and(|end| body.tail() != end) {
            return Err("a stream without its end".to_owned());
        }
        Ok(())
    }
}

/// Sends the first request and reads its reply as a client would: its text must have arrived whole. What it is then
/// holds for all others.
async fn first(plan: &Plan, request: &[u8]) -> Result<Expected, String> {
    let reply = connect(plan.target).await?.exchange(request, true).await?;
    let text = answer::text(plan.dialect, plan.scenario, reply.body.kept())?;
    let wanted = payload::answer(plan.scenario);
    if text != wanted {
        return Err(format!("a text of {} bytes, not the {} that the mock said: {text}", text.len(), wanted.len()));
    }
    let native = plan.dialect.reply_length(plan.scenario);
    let streams_chat = plan.dialect == DialectId::Chat && plan.scenario == Scenario::Stream;
    Ok(Expected {
        length: if plan.translated { reply.body.decoded() } else { native },
        end: streams_chat.then_some(STREAM_END),
    })
}

/// One connection's part of a phase: requests until the phase is over. The last one is always finished.
async fn client(
    mut connection: Connection,
    target: SocketAddr,
    request: Rc<Vec<u8>>,
    expected: Rc<Expected>,
    until: Rc<Until>,
) -> Result<(Connection, Seen), String> {
    let mut seen = Seen::default();
    while until.claim() {
        let sent = Instant::now();
        let reply = connection.exchange(&request, false).await?;
        seen.latencies.push(nanos(sent.elapsed()));
        seen.first.push(nanos(reply.first - sent));
        expected.check(&reply.body)?;
        if reply.close {
            connection = connect(target).await?;
            seen.reconnects += 1;
        }
    }
    Ok((connection, seen))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time of `pids` so far, all their threads, in clock ticks (`utime + stime` of `/proc/PID/stat`).
fn ticks(pids: &[String]) -> Result<u64, String> {
    pids.iter().map(|pid| process_ticks(pid)).sum()
}

fn process_ticks(pid: &str) -> Result<u64, String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| format!("process {pid}: {e}"))?;
    parse_ticks(&stat).ok_or_else(|| format!("process {pid}: cannot read its stat"))
}

/// Fields 14 and 15, counted after the command's closing parenthesis because the command may hold spaces.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Looks closely at one reply, warms up, measures and reports as one line of JSON. Times are in nanoseconds, CPU time
/// in clock ticks.
pub async fn run(plan: Plan) -> Result<String, String> {
    let request = Rc::new(payload::request(plan.dialect, plan.scenario, &plan.path, &plan.target.to_string()));
    let expected = Rc::new(first(&plan, &request).await?);
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(connect(plan.target).await?);
    }
    let phase = |connections, until| phase(connections, plan.target, request.clone(), expected.clone(), until);

    let until = Rc::new(Until { requests: Cell::new(plan.warmup), stop: Cell::new(false) });
    let (connections, _) = phase(connections, until).await?;

    let until = Rc::new(Until { requests: Cell::new(usize::MAX), stop: Cell::new(false) });
    let before = ticks(&plan.proxy_pids)?;
    let start = Instant::now();
    let stop = {
        let (until, pids) = (until.clone(), plan.proxy_pids.clone());
        let (limit, enough) = (Duration::from_secs_f64(plan.seconds), plan.proxy_ticks);
        tokio::task::spawn_local(async move {
            while start.elapsed() < limit && (enough == 0 || ticks(&pids).is_ok_and(|now| now - before < enough)) {
                tokio::time::sleep(PEEK).await;
            }
            until.stop.set(true);
        })
    };
    let (_, seen) = phase(connections, until).await?;
    let elapsed = start.elapsed();
    let used = ticks(&plan.proxy_pids)? - before;
    stop.abort();
    // The first request is part of the warm-up.
    Ok(report(&seen, plan.warmup + 1, elapsed, used))
}

/// Runs all connections until the phase is over and puts what they saw together.
async fn phase(
    connections: Vec<Connection>,
    target: SocketAddr,
    request: Rc<Vec<u8>>,
    expected: Rc<Expected>,
    until: Rc<Until>,
) -> Result<(Vec<Connection>, Seen), String> {
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn_local(client(connection, target, request.clone(), expected.clone(), until.clone()));
    }
    let (mut connections, mut all) = (Vec::new(), Seen::default());
    while let Some(done) = tasks.join_next().await {
        let (connection, seen) = done.map_err(|e| e.to_string())??;
        connections.push(connection);
        all.latencies.extend(seen.latencies);
        all.first.extend(seen.first);
        all.reconnects += seen.reconnects;
    }
    Ok((connections, all))
}

fn report(seen: &Seen, warmup: usize, elapsed: Duration, used: u64) -> String {
    let sorted = |values: &[u64]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values
    };
    let (latencies, first) = (sorted(&seen.latencies), sorted(&seen.first));
    format!(
        "{{\"requests\":{},\"warmup\":{warmup},\"elapsed_ns\":{},\"proxy_ticks\":{used},\"reconnects\":{},\
         \"p50_ns\":{},\"p99_ns\":{},\"first_p50_ns\":{},\"first_p99_ns\":{}}}",
        latencies.len(),
        nanos(elapsed),
        seen.reconnects,
        percentile(&latencies, 50),
        percentile(&latencies, 99),
        percentile(&first, 50),
        percentile(&first, 99),
    )
}

/// The smallest value that at least `percent` of all values do not exceed; 0 without values.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100, 198));
        assert_eq!((percentile(&[7], 99), percentile(&[], 50)), (7, 0));
    }

    #[test]
    fn cpu_time_is_read_behind_any_command_name() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0";
        assert_eq!(parse_ticks(stat), Some(345));
        assert_eq!(parse_ticks("42 (cut) S 1 2"), None);
    }

    #[test]
    fn a_phase_ends_by_count_or_by_stop() {
        let until = Until { requests: Cell::new(1), stop: Cell::new(false) };
        assert!(until.claim());
        assert!(!until.claim());
        let until = Until { requests: Cell::new(9), stop: Cell::new(true) };
        assert!(!until.claim());
    }
}
