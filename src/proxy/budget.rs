//! The memory that bodies of requests may take, over all requests.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of bytes that all requests share.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// The bytes that one request has taken from a [`Budget`]. They are returned on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// An empty share.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Share {
    /// Takes `bytes` more. Takes nothing and returns `false` when the budget does not have them.
    pub fn take(&mut self, bytes: usize) -> bool {
        let limit = self.budget.limit;
        let grow = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok();
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Makes this a share of `bytes`, by taking more or by returning some. Changes nothing and returns `false` when the
    /// budget does not have them.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            return self.take(more);
        }
        self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Arc::new(Budget::new(10));
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.take(4) && first.take(3) && second.take(3));
        assert!(!second.take(1), "nothing is left");
        drop(first);
        assert!(second.take(7));
        assert!(!second.take(usize::MAX), "a sum may not wrap around");
        assert!(!second.resize(11) && second.resize(4) && second.resize(9) && second.take(1));
        drop(second);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
