//! The order in which the targets of a Backend are tried.

use std::iter::Peekable;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::Target;
use crate::upstream::balance::{Probe, Wait};

/// Targets that cool and are kept in mind without an allocation.
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
}

/// The order of one request: the targets as they are listed, those that cool last. Of these only the one whose wait
/// ends first is tried, once; if no other target is there and the wait is long, none.
pub struct Order<'a, I: Iterator<Item = (usize, usize, &'a Target)>> {
    listed: Peekable<I>,
    cooling: SmallVec<[(Wait, usize, usize, &'a Target); INLINE]>,
    /// The Backend has one target.
    sole: bool,
    /// A target was tried.
    tried: bool,
    /// The wait because of which no target is tried.
    refused: Option<Wait>,
}

/// A target that cools is tried at once where its wait is no longer than this: an error would cost the client more.
const SHORT: std::time::Duration = std::time::Duration::from_secs(1);

impl<'a, I: Iterator<Item = (usize, usize, &'a Target)>> Order<'a, I> {
    /// The order of these targets.
    pub fn new(listed: I, sole: bool) -> Self {
        Self { listed: listed.peekable(), cooling: SmallVec::new(), sole, tried: false, refused: None }
    }

    /// The next target. `model` is the model that the request has at a target.
    pub fn next<'m>(&mut self, model: impl Fn(&'a Target) -> Option<&'m str>) -> Option<Pick<'a>> {
        if let Some(pick) = self.next_ready(model) {
            return Some(pick);
        }
        let (wait, group, index, target) = self.cooling.drain(..).min_by_key(|(wait, ..)| wait.until)?;
        let is_long = wait.until.saturating_duration_since(Instant::now()) > SHORT;
        if is_long && (self.sole || !self.tried) {
            self.refused = Some(wait);
            return None;
        }
        Some(Pick { group, index, target, probe: None })
    }

    /// The next target that does not cool.
    pub fn next_ready<'m>(&mut self, model: impl Fn(&'a Target) -> Option<&'m str>) -> Option<Pick<'a>> {
        for (group, index, target) in self.listed.by_ref() {
            let admitted = if target.state.health().is_troubled() {
                target.state.admit(model(target).unwrap_or_default(), self.sole, Instant::now())
            } else {
                Ok(None)
            };
            match admitted {
                Ok(probe) => {
                    self.tried = true;
                    return Some(Pick { group, index, target, probe });
                }
                Err(wait) => self.cooling.push((wait, group, index, target)),
            }
        }
        None
    }

    /// Whether no target is left, as far as that is known.
    pub fn is_last(&mut self) -> bool {
        self.cooling.is_empty() && self.listed.peek().is_none()
    }

    /// The wait because of which no target was tried.
    pub const fn refused(&self) -> Option<Wait> {
        self.refused
    }
}
