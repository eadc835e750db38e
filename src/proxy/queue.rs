//! Part of step 5: the wait for room, where the requests of a Backend or of its targets are limited.
//!
//! A target without room is skipped before the request is encoded for it. Where all that are left are full, the request
//! waits in the Backend's queue, which is in `upstream::balance::load`. It leaves the queue when it is dropped.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::timeout_at;

use super::{ProxyError, RequestRecord, RouteContext, send::too_slow};
use crate::{
    snapshot::{Order, Pick, Target},
    upstream::balance::{
        TargetState,
        load::{Candidates, Entry, NoRoom, Priority, TargetPermit},
    },
};

/// The place of one request in queues: its priority, and its flow, which is its route.
pub struct Queue<'a> {
    context: &'a RouteContext<'a>,
    priority: Priority,
    /// Why the request got no room.
    refused: Option<ProxyError>,
}

impl<'a> Queue<'a> {
    /// The place of a request with these headers.
    pub fn new(context: &'a RouteContext<'a>, headers: &HeaderMap) -> Self {
        Self { context, priority: context.rule.priority.of(headers), refused: None }
    }

    /// The next target of `order`, after a wait if it has to be. `model` is the model that the request has at a target.
    pub async fn next<'t, 'm, I: Iterator<Item = (usize, usize, &'t Target)>>(
        &mut self,
        order: &mut Order<'t, I>,
        record: &mut RequestRecord,
        model: impl Fn(&'t Target) -> Option<&'m str>,
    ) -> Option<Pick<'t>> {
        loop {
            let next = order.next(&model);
            if next.is_some() || !order.is_full() {
                return next;
            }
            // Boxed: it is rare.
            self.wait(Box::pin(order.wait(self.priority, self.flow())), record).await?;
        }
    }

    /// The place for another attempt at `target`; `None` if the request does not get it.
    pub async fn again<'t, I: Iterator<Item = (usize, usize, &'t Target)>>(
        &mut self,
        order: &mut Order<'t, I>,
        target: &Target,
        record: &mut RequestRecord,
    ) -> Option<Option<TargetPermit>> {
        self.wait(Box::pin(order.again(target, self.priority, self.flow())), record).await
    }

    /// The index of the target that has room first, and the place there.
    pub async fn wait_for(
        &mut self,
        entry: &mut Entry,
        targets: impl Iterator<Item = &Arc<TargetState>>,
        record: &mut RequestRecord,
    ) -> Option<(usize, Option<TargetPermit>)> {
        let candidates: Candidates = targets.map(Arc::clone).collect();
        self.wait(Box::pin(entry.wait(candidates, self.priority, self.flow())), record).await
    }

    /// Why the request got no room, if that is so.
    pub const fn refused(&mut self) -> Option<ProxyError> {
        self.refused.take()
    }

    /// Requests of one route are one flow: none of them delays those of other routes by more than its turn.
    fn flow(&self) -> &'a Arc<str> {
        &self.context.rule.labels.route
    }

    /// The result of `work`, unless the request does not get room, or its time is over.
    async fn wait<T>(
        &mut self,
        work: impl Future<Output = Result<T, NoRoom>>,
        record: &mut RequestRecord,
    ) -> Option<T> {
        record.queue_begins();
        let result = match self.context.deadline {
            Some(at) => timeout_at(at, work).await.map_err(|_| too_slow()),
            None => Ok(work.await),
        };
        record.queue_ends();
        match result {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(no_room)) => self.refused = Some(ProxyError::no_room(&no_room)),
            Err(too_slow) => self.refused = Some(too_slow),
        }
        None
    }
}
