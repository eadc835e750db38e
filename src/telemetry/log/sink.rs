//! A bounded buffer that all threads write lines into, and the thread that empties it.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others: one write call for many lines, and still live to the eye.
const MAX_WAIT: Duration = Duration::from_millis(25);

/// As soon as this much is pending, it is written.
const WRITE_AT_BYTES: usize = 64 * 1024;

/// The most bytes that may be pending, about 20,000 lines. Further lines are dropped: memory is for requests.
const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// How long the end of the process waits for the last lines. A reader that has stopped may never go on.
const MAX_END: Duration = Duration::from_secs(1);

/// Where lines go. Clones share the buffer.
#[derive(Clone)]
pub(super) struct Sink(Arc<Shared>);

struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the writer thread.
    wake: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    closed: bool,
}

/// Ends the log: when dropped, pending lines are written as far as they are read within a second, and later lines
/// are dropped.
pub struct LogGuard {
    shared: Arc<Shared>,
    /// Closed when the writer thread has ended.
    ended: Receiver<()>,
}

impl Sink {
    /// Starts the thread that writes to `out`. `dropped` counts lines that did not get there.
    pub(super) fn start(out: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<(Self, LogGuard)> {
        let shared = Arc::new(Shared { pending: Mutex::default(), wake: Condvar::new(), dropped });
        let writer = Arc::clone(&shared);
        let (running, ended) = sync_channel(1);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let _running: SyncSender<()> = running;
            writer.run(out);
        })?;
        Ok((Self(Arc::clone(&shared)), LogGuard { shared, ended }))
    }

    /// Takes one line, with its end.
    fn line(&self, line: &[u8]) {
        let mut pending = self.0.lock();
        if pending.closed || pending.lines.len() + line.len() > MAX_PENDING_BYTES {
            drop(pending);
            self.0.dropped.inc();
            return;
        }
        let before = pending.lines.len();
        pending.lines.extend_from_slice(line);
        let after = pending.lines.len();
        drop(pending);
        // Once when there is something, once when there is much: waking is dearer than copying.
        if before == 0 || (before < WRITE_AT_BYTES && after >= WRITE_AT_BYTES) {
            self.0.wake.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let closed = self.next(&mut batch);
            // An error can't be logged here, but the lines count as dropped.
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                self.dropped.inc_by(memchr::memchr_iter(b'\n', &batch).count() as u64);
            }
            if closed {
                return;
            }
            batch.clear();
            // A burst should not be paid for ever.
            batch.shrink_to(2 * WRITE_AT_BYTES);
        }
    }

    /// Waits for lines and swaps them with the empty `batch`. Returns whether these are the last.
    #[expect(clippy::disallowed_methods, reason = "the writer thread waits by the clock")]
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let mut pending = self.lock();
        while pending.lines.is_empty() && !pending.closed {
            pending = self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + MAX_WAIT;
        while pending.lines.len() < WRITE_AT_BYTES && !pending.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            pending = self.wake.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut pending.lines, batch);
        pending.closed
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        // A thread that is blocked by its output ends with the process.
        let _ = self.ended.recv_timeout(MAX_END);
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Writes one line: the formatter passes it in one call.
pub(super) struct Line<'a>(&'a Sink);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands over each batch and waits until it is taken.
    struct Handover(SyncSender<Vec<u8>>);

    impl Write for Handover {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Sink, LogGuard, Receiver<Vec<u8>>, IntCounter) {
        let dropped = IntCounter::new("d", "d").unwrap();
        let (tx, rx) = sync_channel(0);
        let (sink, guard) = Sink::start(Handover(tx), dropped.clone()).unwrap();
        (sink, guard, rx, dropped)
    }

    #[test]
    fn lines_arrive_by_themselves_and_on_drop() {
        let (sink, guard, rx, dropped) = start();
        sink.line(b"a\n");
        assert_eq!(rx.recv().unwrap(), b"a\n");
        sink.line(b"b\n");
        sink.line(b"c\n");
        let rest = std::thread::scope(|scope| {
            scope.spawn(|| drop(guard));
            rx.iter().flatten().collect::<Vec<_>>()
        });
        assert_eq!(rest, b"b\nc\n");
        sink.line(b"late\n");
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_counted() {
        let (sink, guard, rx, dropped) = start();
        sink.line(b"first\n");
        assert_eq!(rx.recv().unwrap(), b"first\n");
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        let total = 3 * MAX_PENDING_BYTES / line.len();
        (0..total).for_each(|_| sink.line(&line));
        let got = std::thread::scope(|scope| {
            scope.spawn(|| drop(guard));
            rx.iter().flatten().filter(|b| *b == b'\n').count()
        });
        // No reader meanwhile: at most one batch was with the writer while the buffer filled.
        assert!(got <= 2 * MAX_PENDING_BYTES / line.len(), "{got}");
        assert_eq!(got as u64 + dropped.get(), total as u64);
    }

    #[test]
    fn an_output_that_is_not_read_delays_the_end_by_a_second_at_most() {
        let (sink, guard, _unread, _) = start();
        sink.line(b"a\n");
        let begun = Instant::now();
        drop(guard);
        assert!(begun.elapsed() >= MAX_END && begun.elapsed() < 5 * MAX_END);
    }

    #[test]
    fn a_closed_output_counts_its_lines() {
        let (sink, guard, rx, dropped) = start();
        drop(rx);
        sink.line(b"a\n");
        sink.line(b"b\n");
        drop(guard);
        assert_eq!(dropped.get(), 2);
    }
}
