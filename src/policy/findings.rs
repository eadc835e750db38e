//! What policies of content have found in one request and its reply: never the text itself.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::dialect::text::TextKind;

/// Most kinds of findings of one request. Rules of a policy are many, but few of them match in one request.
const MAX_FINDINGS: usize = 64;

/// Which way a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the provider.
    Request,
    /// To the client.
    Response,
}

impl Direction {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// Matches of one rule in texts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which way the text went.
    pub direction: Direction,
    /// The rule's name.
    pub rule: Arc<str>,
    /// What was done: `mask` or `reject`.
    pub action: &'static str,
    /// The kind of the text.
    pub kind: TextKind,
    /// How many matches.
    pub count: u64,
}

/// For the log, as in `response SSN mask answer 2`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, rule, action, kind, count } = self;
        write!(f, "{} {rule} {action} {} {count}", direction.as_str(), kind.as_str())
    }
}

/// The findings of one request. Clones share them, so that filters inside the relay add to those of the record.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Vec<Finding>>>);

impl Findings {
    /// Adds matches to those of the same rule, action and kind.
    pub fn add(&self, finding: Finding) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &&mut Finding| Finding { count: known.count, ..finding.clone() } == **known;
        if let Some(known) = all.iter_mut().find(is_same) {
            known.count += finding.count;
        } else if all.len() < MAX_FINDINGS {
            all.push(finding);
        }
    }

    /// All of them, in the order of their first matches.
    pub fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
