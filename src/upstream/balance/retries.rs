//! How many retries of one backend may be under way: a failure must not be multiplied by the requests that it fails.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The part of the requests in flight that may be retries: one in five, as in Envoy.
const ONE_IN: u32 = 5;
/// The retries that may be under way in any case: a backend with few requests could not be retried otherwise.
const AT_LEAST: u32 = 3;

/// The retries of one backend that are under way.
#[derive(Debug, Default)]
pub struct RetryBudget(AtomicU32);

/// A retry that is under way, with the pause before it. It ends when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct RetryPermit(Arc<RetryBudget>);

impl RetryBudget {
    /// A permit for one more retry, where `in_flight` requests are; `None` when as many as allowed are under way.
    pub fn permit(self: &Arc<Self>, in_flight: u32) -> Option<RetryPermit> {
        let limit = (in_flight / ONE_IN).max(AT_LEAST);
        let more = |count: u32| (count < limit).then(|| count.saturating_add(1));
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        taken.then(|| RetryPermit(Arc::clone(self)))
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_five_requests_is_a_retry_and_three_always_are() {
        let budget = Arc::new(RetryBudget::default());
        let few: Vec<_> = (0..5).filter_map(|_| budget.permit(2)).collect();
        assert_eq!(few.len(), 3);
        let many: Vec<_> = (0..50).filter_map(|_| budget.permit(100)).collect();
        assert_eq!(many.len(), 17, "with the three that are under way");
        assert!(budget.permit(100).is_none());
        drop(few);
        assert!(budget.permit(100).is_some(), "what has ended makes room");
        drop(many);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
