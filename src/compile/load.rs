//! Limits of Backends: the handles of the requests that they have, and of those that wait.

use std::{sync::Arc, time::Duration};

use super::Env;
use crate::{
    api::{backend::BackendSpec, duration::GoDuration},
    upstream::balance::{
        TargetState,
        load::{Limits, Load},
    },
};

/// Requests that wait where nothing is written: the default of Envoy's `max_pending_requests`.
const PENDING: u32 = 1024;
/// How long they wait where nothing is written: longer than most answers take, and shorter than clients wait.
const WAIT: Duration = Duration::from_secs(30);

/// The load of the Backend `name`, whose targets have these limits; `None` if nothing is limited. The limits hold from
/// now on, also for the requests that wait.
pub(super) fn load<'a>(
    name: &str,
    spec: &BackendSpec,
    targets: impl Iterator<Item = (&'a TargetState, Option<u32>)>,
    env: &Env,
) -> Option<Arc<Load>> {
    let written = spec.circuit_breakers.as_ref();
    let requests = written.and_then(|written| written.max_requests);
    let pending = written.and_then(|written| written.max_pending_requests).unwrap_or(PENDING);
    let wait = written.and_then(|written| written.pending_timeout.as_ref()).map_or(WAIT, GoDuration::get);
    let limits = Limits { requests, pending: usize::try_from(pending).unwrap_or(usize::MAX), wait };
    let targets: Vec<_> = targets.collect();
    let is_limited = requests.is_some() || targets.iter().any(|(_, limit)| limit.is_some());
    // Where the limits were removed, those that wait go on.
    let load = if is_limited { env.balance.load(name) } else { env.balance.earlier_load(name)? };
    load.configure(limits, targets.into_iter());
    load.count_in(&env.metrics.load, name);
    is_limited.then_some(load)
}
