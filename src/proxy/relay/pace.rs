//! Reads of streams that burst are coalesced.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// The shortest time between two reads of a stream that bursts. What arrives in it leaves with one write, and writes
/// are what a stream costs. A stream whose events come more slowly, as models speak, is never held back.
const READ_COALESCE: Duration = Duration::from_millis(1);

/// Reads a stream that bursts once in [`READ_COALESCE`]: all that is there, then nothing until the time has passed.
#[derive(Default)]
pub struct Pace {
    /// When the first of what is being read came.
    began: Option<Instant>,
    /// The same of what was read before, until the next read may be.
    last: Option<Instant>,
    /// When to read on. Kept to be set again.
    timer: Option<Pin<Box<Sleep>>>,
    held: bool,
}

impl Pace {
    /// Whether the stream may be read. Asked when the task was woken, so mostly because something has come.
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

    /// When to read on, if that is not now.
    fn until(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let at = self.last? + READ_COALESCE;
        (now() < at).then_some(at)
    }

    /// A read brought something.
    pub fn received(&mut self, now: impl FnOnce() -> Instant) {
        self.began.get_or_insert_with(now);
    }

    /// Everything that had come was read.
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
