//! The memory that fetched files take, counted for one request and over all.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The step in which it is counted: small beside an image.
pub(super) const UNIT: usize = 64 * 1024;

/// `bytes` in steps. A request has far fewer than there are numbers.
pub(super) fn room(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// What one request holds of fetched files, and of the room of all requests. Gives it back when dropped.
#[derive(Debug, Default)]
pub struct Held {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Bytes of the files.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes room for `bytes` more, all or nothing. Waits for it, in turn, only where nothing is held yet: who holds
    /// some and waits for more would wait for others who do the same.
    pub(super) async fn take(&mut self, all: &Arc<Semaphore>, bytes: usize) -> bool {
        let total = room(self.bytes + bytes);
        let taken = match &mut self.permit {
            None => Arc::clone(all).acquire_many_owned(total).await.ok().map(|permit| self.permit = Some(permit)),
            Some(permit) => {
                let more = total.saturating_sub(u32::try_from(permit.num_permits()).unwrap_or(u32::MAX));
                Arc::clone(all).try_acquire_many_owned(more).ok().map(|more| permit.merge(more))
            }
        };
        self.bytes += if taken.is_some() { bytes } else { 0 };
        taken.is_some()
    }

    /// Gives back the room of `bytes`, which the files turned out not to need.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes.min(self.bytes);
        let needed = room(self.bytes) as usize;
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(needed);
            drop(permit.split(surplus));
        }
    }
}
