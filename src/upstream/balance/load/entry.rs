//! One request at a Backend that may have limits.

use std::sync::Arc;

use super::{Candidates, Granted, Load, NoRoom, Priority, RequestPermit, TargetPermit};
use crate::upstream::balance::TargetState;

/// A request at a Backend: whether it has a place there, if places are limited.
#[derive(Debug, Default)]
pub struct Entry {
    /// Absent where nothing is limited.
    load: Option<Arc<Load>>,
    pub(super) request: Option<RequestPermit>,
}

/// The target has no room, or the Backend has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Entry {
    /// A request at the Backend with this load, which has no place yet.
    pub fn new(load: Option<&Arc<Load>>) -> Self {
        Self { load: load.map(Arc::clone), request: None }
    }

    /// A permit for an attempt at `target`, if there is room now. `None` where nothing is limited.
    ///
    /// # Errors
    /// When there is no room.
    pub fn try_target(&mut self, target: &Arc<TargetState>) -> Result<Option<TargetPermit>, Full> {
        let Some(load) = &self.load else { return Ok(None) };
        let granted = load.try_enter(self.request.is_some(), target).ok_or(Full)?;
        Ok(Some(self.keep(granted)))
    }

    /// Waits for room at one of `candidates`, and returns its index with the permit.
    ///
    /// # Errors
    /// When the request does not get any.
    pub async fn wait(
        &mut self,
        candidates: Candidates,
        priority: Priority,
        flow: &Arc<str>,
    ) -> Result<(usize, Option<TargetPermit>), NoRoom> {
        let Some(load) = &self.load else { return Ok((0, None)) };
        let (index, granted) = load.enter(self.request.is_some(), candidates, priority, flow).await?;
        Ok((index, Some(self.keep(granted))))
    }

    fn keep(&mut self, granted: Granted) -> TargetPermit {
        let Granted { request, target } = granted;
        if request.is_some() {
            self.request = request;
        }
        target
    }

    /// The place at the Backend, to be held until the reply has ended.
    pub fn into_permit(self) -> Option<RequestPermit> {
        self.request
    }
}
