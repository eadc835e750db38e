//! Filters of decoded text: the traits that a policy implements, and chains of several filters.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Block;
use crate::conversation::Failure;

/// Examines text and may change it, block by block. Shared by all requests of a rule.
pub trait TextFilter: Send + Sync {
    /// The filter for one block, or `None` to leave text of this kind as it is.
    fn start(&self, block: Block) -> Option<Box<dyn BlockFilter>>;
}

/// Filters the text of one block, piece by piece.
///
/// The output must not depend on where the text is cut into pieces.
pub trait BlockFilter: Send {
    /// Takes the next piece and appends what is released now to `out`. Text may be held back.
    ///
    /// # Errors
    /// When the request, reply or stream must end here. Nothing more is called.
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>>;

    /// The block ends: appends the text that was held back.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>>;
}

/// Filters in the order in which they see the text; each sees the output of the one before it.
#[derive(Clone, Default)]
pub struct FilterChain(Arc<[Arc<dyn TextFilter>]>);

impl std::fmt::Debug for FilterChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FilterChain({})", self.0.len())
    }
}

impl FilterChain {
    /// A chain of these filters.
    pub fn new(filters: impl Into<Arc<[Arc<dyn TextFilter>]>>) -> Self {
        Self(filters.into())
    }

    /// Whether there is no filter: then nothing of this module needs to be called.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The filters for one block, `None` if no filter examines it.
    pub(super) fn start(&self, block: Block) -> Option<BlockChain> {
        let filters: SmallVec<[_; 2]> = self.0.iter().filter_map(|filter| filter.start(block)).collect();
        (!filters.is_empty()).then_some(BlockChain(filters))
    }

    /// Text that is complete in itself, filtered. `None` if it is unchanged.
    pub(super) fn whole(&self, block: Block, text: &str) -> Result<Option<String>, Failure<'static>> {
        if text.is_empty() {
            return Ok(None);
        }
        let Some(mut chain) = self.start(block) else { return Ok(None) };
        let mut out = String::with_capacity(text.len());
        chain.push(text, &mut out)?;
        chain.finish(&mut out)?;
        Ok((out != text).then_some(out))
    }
}

/// The filters of one block.
pub(super) struct BlockChain(SmallVec<[Box<dyn BlockFilter>; 2]>);

impl BlockChain {
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        push(&mut self.0, text, out)
    }

    pub(super) fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>> {
        let mut rest = self.0.as_mut_slice();
        while let Some((first, behind)) = rest.split_first_mut() {
            let mut held = String::new();
            first.finish(&mut held)?;
            push(behind, &held, out)?;
            rest = behind;
        }
        Ok(())
    }
}

/// Sends text through `filters`, the first of which sees it first.
fn push(filters: &mut [Box<dyn BlockFilter>], text: &str, out: &mut String) -> Result<(), Failure<'static>> {
    if text.is_empty() {
        return Ok(());
    }
    match filters {
        [] => {
            out.push_str(text);
            Ok(())
        }
        [only] => only.push(text, out),
        [first, behind @ ..] => {
            let mut between = String::new();
            first.push(text, &mut between)?;
            for filter in behind {
                let text = std::mem::take(&mut between);
                if text.is_empty() {
                    return Ok(());
                }
                filter.push(&text, &mut between)?;
            }
            out.push_str(&between);
            Ok(())
        }
    }
}
