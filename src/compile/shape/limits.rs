//! Limits of the requests at a time.

use crate::{api::backend::CircuitBreakers, provider::check::Problems};

/// The largest number, as the schema has it.
const MAX: u32 = 2_147_483_647;

/// Reports what the limits of a whole Backend can't mean.
pub(super) fn check(written: Option<&CircuitBreakers>, problems: &mut Problems) {
    let Some(written) = written else { return };
    let path = "spec.circuitBreakers";
    max_requests(written.max_requests, path, problems);
    if written.max_pending_requests.is_some_and(|count| count > MAX) {
        problems.push(format!("{path}.maxPendingRequests"), format!("out of range: write 0 to {MAX}"));
    }
    if written.pending_timeout.as_ref().is_some_and(|timeout| timeout.get().as_millis() == 0) {
        let message = "pendingTimeout must be at least 1ms: write `maxPendingRequests: 0` for no queue";
        problems.push(format!("{path}.pendingTimeout"), message);
    }
}

/// The limit at `path`, if it can be one: of none at all there would be no use.
pub(super) fn max_requests(written: Option<u32>, path: &str, problems: &mut Problems) -> Option<u32> {
    let limit = written?;
    if limit == 0 || limit > MAX {
        problems.push(format!("{path}.maxRequests"), format!("out of range: write 1 to {MAX}, or remove it"));
        return None;
    }
    Some(limit)
}
