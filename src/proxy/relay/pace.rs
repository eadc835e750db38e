//! Reads of streams that burst are coalesced.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// The shortest time between two reads of a stream that bursts. Data that arrives within it is sent with one write, and
/// writes are the main cost of a stream. A stream whose events arrive more slowly, as models generate them, is never
/// delayed.
const READ_COALESCE: Duration = Duration::from_millis(1);

/// Reads a stream that bursts once in [`READ_COALESCE`]: all data that is there, then nothing until the time has
/// passed.
#[derive(Default)]
pub struct Pace {
    /// When the first data of the current read arrived.
    began: Option<Instant>,
    /// The same time of the previous read, until the next read may begin.
    last: Option<Instant>,
    /// When to continue reading. Kept to be set again.
    timer: Option<Pin<Box<Sleep>>>,
    held: bool,
}

impl Pace {
    /// Whether the stream may be read. It is polled when the task was woken, so mostly because data has arrived.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held || self.until(Instant::now).is_some() {
            let Some(at) = self.last.map(|last| last + READ_COALESCE) else { return Poll::Ready(()) };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if !std::mem::replace(&mut self.held, true) {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
        }
        self.held = false;
        self.last = None;
        Poll::Ready(())
    }

    /// When to continue reading, if that is not now.
    fn until(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let at = self.last? + READ_COALESCE;
        (now() < at).then_some(at)
    }

    /// A read returned data.
    pub fn received(&mut self, now: impl FnOnce() -> Instant) {
        self.began.get_or_insert_with(now);
    }

    /// All available data was read.
    pub fn drained(&mut self) {
        self.last = self.began.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_that_follow_at_once_are_delayed() {
        let start = Instant::now();
        let at = |micros: u64| start + Duration::from_micros(micros);
        let mut pace = Pace::default();
        assert_eq!(pace.until(|| at(0)), None, "the first event is never held back");
        pace.received(|| at(0));
        pace.received(|| at(300));
        assert_eq!(pace.until(|| at(300)), None, "what is there is read to its end");
        pace.drained();
        assert_eq!(pace.until(|| at(400)), Some(at(1000)), "the pace is that of reads, not of events");
        assert_eq!(pace.until(|| at(1000)), None);
        pace.drained();
        assert_eq!(pace.until(|| at(1001)), None, "a look that found nothing does not count");
    }
}
