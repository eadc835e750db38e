//! CPU time of an access-log line, ours and with the crates that exist for it:
//! `cargo bench --profile dist --bench log_writer`. Prints figures, asserts no times.
//!
//! * `tollgate`: the JSON lines and the sink of `src/telemetry/log`.
//! * `tracing-appender`: its `non_blocking` writer on standard output, and the JSON layer of tracing-subscriber.
//!   Standard output is line-buffered: a write call for each line.
//! * `tracing-appender, buffered`: the same with a buffer of 64 KiB before standard output.
//!
//! Each runs in a process of its own, since a process has one log, and writes to a pipe that this process empties and
//! counts. Between two lines the caller does a fixed piece of work, as a request would: a writer thread that sleeps has
//! to be woken, and lines that come back to back would hide what that costs. The same work without a log is subtracted.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement may panic and prints"
)]

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{BufRead, BufReader, BufWriter, Read, stdout},
    os::fd::AsFd,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tollgate::telemetry::{AccessLog, LogFormat, Metrics, log};
use tracing::subscriber::set_global_default;
use tracing_appender::non_blocking;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt};

#[path = "common/mod.rs"]
mod common;

const LINES: usize = 50_000;
const ROUNDS: usize = 5;
/// What the caller does between two lines: about the time of a small request.
const WORK: Duration = Duration::from_micros(20);
/// How long the last lines may take to the pipe.
const SETTLE: Duration = Duration::from_millis(200);

const NO_LOG: &str = "no log";
const WRITERS: [&str; 3] = ["tollgate", "tracing-appender", "tracing-appender, buffered"];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        // `cargo test --benches` asks for a list of tests: there are none.
        _ if arguments.iter().any(|arg| arg == "--list") => {}
        Some("--write") => write(&arguments[2], arguments[3].parse().unwrap()),
        _ => measure(),
    }
}

/// What one process has measured.
struct Figures {
    caller_ns: f64,
    writer_ns: f64,
    lines: usize,
    bytes: usize,
}

fn measure() {
    let work = calibrate();
    let mut rounds: Vec<Vec<Figures>> = WRITERS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        let idle = run(NO_LOG, work).caller_ns;
        for (writer, rounds) in WRITERS.iter().zip(&mut rounds) {
            let figures = run(writer, work);
            rounds.push(Figures { caller_ns: figures.caller_ns - idle, ..figures });
        }
    }
    let header = ["ns of CPU per line", "caller", "writer thread", "together", "lines lost", "bytes a line"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (writer, rounds) in WRITERS.iter().zip(&rounds) {
        let ns = |value: fn(&Figures) -> f64| format!("{:.0}", common::median(rounds.iter().map(value).collect()));
        let lines: usize = rounds.iter().map(|r| r.lines).sum();
        let bytes: usize = rounds.iter().map(|r| r.bytes).sum();
        rows.push(vec![
            (*writer).to_owned(),
            ns(|r| r.caller_ns),
            ns(|r| r.writer_ns),
            ns(|r| r.caller_ns + r.writer_ns),
            (ROUNDS * LINES - lines).to_string(),
            (bytes / lines.max(1)).to_string(),
        ]);
    }
    println!(
        "{LINES} lines with about {} us of other work between them, median of {ROUNDS} rounds\n",
        WORK.as_micros()
    );
    common::print_table(&rows);
}

/// Runs one writer in a process of its own, and reads what it writes to its end.
fn run(writer: &str, work: usize) -> Figures {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--write", writer, &work.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut lines, mut bytes) = (0, 0);
    let mut output = BufReader::with_capacity(1 << 16, child.stdout.take().unwrap());
    loop {
        let piece = output.fill_buf().unwrap();
        if piece.is_empty() {
            break;
        }
        lines += memchr::memchr_iter(b'\n', piece).count();
        bytes += piece.len();
        let length = piece.len();
        output.consume(length);
    }
    let mut report = String::new();
    child.stderr.take().unwrap().read_to_string(&mut report).unwrap();
    assert!(child.wait().unwrap().success(), "{writer}: {report}");
    let mut numbers = report.split_whitespace().map(|number| number.parse().unwrap());
    Figures { caller_ns: numbers.next().unwrap(), writer_ns: numbers.next().unwrap(), lines, bytes }
}

/// The process that is measured: logs, and reports on standard error nanoseconds per line of this thread and of others.
fn write(writer: &str, work: usize) {
    let guard = start(writer);
    let (own, others) = (common::thread_cpu_ns(), common::other_threads_cpu_ns());
    for number in 0..LINES {
        black_box(busy(work));
        line(number).emit();
    }
    let own = common::thread_cpu_ns() - own;
    sleep(SETTLE);
    let others = common::other_threads_cpu_ns() - others;
    drop(guard);
    eprintln!("{} {}", own / LINES as f64, others / LINES as f64);
}

/// Starts the log. Dropping what is returned writes what is pending.
fn start(writer: &str) -> Option<Box<dyn std::any::Any>> {
    match writer {
        NO_LOG => None,
        "tollgate" => Some(Box::new(log::init(LogFormat::Json, "info", &Metrics::new().unwrap()).unwrap())),
        "tracing-appender" => Some(appender(stdout())),
        _ => {
            let file = File::from(stdout().as_fd().try_clone_to_owned().unwrap());
            Some(appender(BufWriter::with_capacity(1 << 16, file)))
        }
    }
}

fn appender(out: impl std::io::Write + Send + 'static) -> Box<dyn std::any::Any> {
    let (writer, guard) = non_blocking(out);
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer);
    set_global_default(Registry::default().with(EnvFilter::new("info")).with(layer)).unwrap();
    Box::new(guard)
}

/// The line of a usual chat request.
fn line(number: usize) -> AccessLog<'static> {
    AccessLog {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        method: "POST",
        path: "/openai/v1/chat/completions",
        status: 200,
        duration_us: 123_456 + number as u64,
        ttft_us: Some(12_345),
        gateway: Some("default/ai-gateway"),
        route: Some("default/openai"),
        rule: Some("0"),
        backend: Some("default/openai"),
        target: Some("openai_0"),
        provider: Some("openai"),
        request_model: Some("gpt-4o"),
        response_model: Some("gpt-4o-2024-08-06"),
        dialect: Some("openai_chat"),
        operation: Some("chat"),
        prompt_tokens: Some(11),
        completion_tokens: Some(42),
        request_bytes: 1_024,
        response_bytes: 2_048,
        upstream_attempts: 1,
        client_addr: Some("10.0.0.1:43210"),
        generation: 3,
        ..AccessLog::default()
    }
}

/// Keeps the processor busy for `steps` steps.
fn busy(steps: usize) -> u64 {
    (0..steps as u64).fold(0, |sum, step| black_box(sum).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(5) ^ step)
}

/// How many steps take `WORK`: the least of several tries.
fn calibrate() -> usize {
    let steps = 100_000_usize;
    let took = (0..20).map(|_| {
        let start = Instant::now();
        black_box(busy(steps));
        start.elapsed()
    });
    let least = took.min().unwrap().as_nanos().max(1);
    usize::try_from(steps as u128 * WORK.as_nanos() / least).unwrap()
}
