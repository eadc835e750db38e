//! The order in which the targets of a Backend are tried.

use std::{iter::Peekable, sync::Arc};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::Target;
use crate::upstream::balance::{
    Probe, Wait,
    load::{Entry, Full, NoRoom, Priority, RequestPermit, TargetPermit},
};

/// Targets that cool, or have no room, and are kept in mind without an allocation.
const INLINE: usize = 4;

/// A target that is tried next.
pub struct Pick<'a> {
    /// The number of its group.
    pub group: usize,
    /// Its number within the group.
    pub index: usize,
    /// The target.
    pub target: &'a Target,
    /// Its recovery is found out by this attempt.
    pub probe: Option<Probe>,
    /// The attempt's place there, where places are limited.
    pub permit: Option<TargetPermit>,
}

/// A target with the number of its group, and its number within the group.
type Numbered<'a> = (usize, usize, &'a Target);

/// The order of one request: the targets as they are listed, then those that have had no room, then those that cool. Of
/// these only the one whose wait ends first is tried, once; if no other target is there and the wait is long, none.
pub struct Order<'a, I: Iterator<Item = Numbered<'a>>> {
    listed: Peekable<I>,
    cooling: SmallVec<[(Wait, usize, usize, &'a Target); INLINE]>,
    /// Targets without room. The request waits for them before it tries one that cools.
    full: SmallVec<[Numbered<'a>; INLINE]>,
    /// The one of these that has room now, with the place there.
    granted: Option<(Numbered<'a>, Option<TargetPermit>)>,
    entry: Entry,
    /// The last one was chosen: the one that cools.
    at_end: bool,
    /// The Backend has one target.
    sole: bool,
    /// A target was tried.
    tried: bool,
    /// The wait because of which no target is tried.
    refused: Option<Wait>,
}

/// A target that cools is tried at once where its wait is no longer than this: an error would cost the client more.
const SHORT: std::time::Duration = std::time::Duration::from_secs(1);

impl<'a, I: Iterator<Item = Numbered<'a>>> Order<'a, I> {
    /// The order of these targets for a request that enters their Backend.
    pub fn new(listed: I, sole: bool, entry: Entry) -> Self {
        let (cooling, full) = (SmallVec::new(), SmallVec::new());
        let listed = listed.peekable();
        Self { listed, cooling, full, granted: None, entry, at_end: false, sole, tried: false, refused: None }
    }

    /// The next target. `model` is the model that the request has at a target. When there is none and the order
    /// [is full](Self::is_full), one comes after [`wait`](Self::wait).
    pub fn next<'m>(&mut self, model: impl Fn(&'a Target) -> Option<&'m str>) -> Option<Pick<'a>> {
        if let Some(((group, index, target), permit)) = self.granted.take() {
            // It may have failed others meanwhile.
            match if self.at_end { Ok(None) } else { self.admit(target, &model) } {
                Ok(probe) => {
                    self.tried = true;
                    return Some(Pick { group, index, target, probe, permit });
                }
                Err(wait) => self.cooling.push((wait, group, index, target)),
            }
        }
        if let Some(pick) = self.next_ready(&model) {
            return Some(pick);
        }
        if !self.full.is_empty() {
            return None;
        }
        let (wait, group, index, target) = self.cooling.drain(..).min_by_key(|(wait, ..)| wait.until)?;
        let is_long = wait.until.saturating_duration_since(Instant::now()) > SHORT;
        if is_long && (self.sole || !self.tried) {
            self.refused = Some(wait);
            return None;
        }
        self.at_end = true;
        let Ok(permit) = self.entry.try_target(&target.state) else {
            self.full.push((group, index, target));
            return None;
        };
        Some(Pick { group, index, target, probe: None, permit })
    }

    /// The next target that does not cool and has room.
    pub fn next_ready<'m>(&mut self, model: impl Fn(&'a Target) -> Option<&'m str>) -> Option<Pick<'a>> {
        while let Some((group, index, target)) = self.listed.next() {
            match self.admit(target, &model) {
                Ok(probe) => match self.entry.try_target(&target.state) {
                    Ok(permit) => {
                        self.tried = true;
                        return Some(Pick { group, index, target, probe, permit });
                    }
                    Err(Full) => self.full.push((group, index, target)),
                },
                Err(wait) => self.cooling.push((wait, group, index, target)),
            }
        }
        None
    }

    /// Asks whether a request may be sent to `target` now, perhaps as a probe.
    fn admit<'m>(
        &self,
        target: &'a Target,
        model: impl Fn(&'a Target) -> Option<&'m str>,
    ) -> Result<Option<Probe>, Wait> {
        if !target.state.health().is_troubled() {
            return Ok(None);
        }
        target.state.admit(model(target).unwrap_or_default(), self.sole, Instant::now())
    }

    /// Whether targets are left that only lack room.
    pub fn is_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Waits until one of them has room. It is the next one then, unless it cools meanwhile.
    ///
    /// # Errors
    /// When the request does not get any room.
    pub async fn wait(&mut self, priority: Priority, flow: &Arc<str>) -> Result<(), NoRoom> {
        let candidates = self.full.iter().map(|(.., target)| Arc::clone(&target.state)).collect();
        let (index, permit) = self.entry.wait(candidates, priority, flow).await?;
        if index < self.full.len() {
            self.granted = Some((self.full.remove(index), permit));
        }
        Ok(())
    }

    /// The place for another attempt at `target`, after a wait for it where there is no room.
    ///
    /// # Errors
    /// When the request does not get any room.
    pub async fn again(
        &mut self,
        target: &Target,
        priority: Priority,
        flow: &Arc<str>,
    ) -> Result<Option<TargetPermit>, NoRoom> {
        if let Ok(permit) = self.entry.try_target(&target.state) {
            return Ok(permit);
        }
        let candidates = std::iter::once(Arc::clone(&target.state)).collect();
        self.entry.wait(candidates, priority, flow).await.map(|(_, permit)| permit)
    }

    /// The request's place at the Backend, to be held until the reply has ended.
    pub fn into_permit(self) -> Option<RequestPermit> {
        self.entry.into_permit()
    }

    /// Whether no target is left, as far as that is known.
    pub fn is_last(&mut self) -> bool {
        self.cooling.is_empty() && self.full.is_empty() && self.listed.peek().is_none()
    }

    /// The wait because of which no target was tried.
    pub const fn refused(&self) -> Option<Wait> {
        self.refused
    }
}
