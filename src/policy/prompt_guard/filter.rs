//! A guard as a filter of text.

use tollgate_guards::{Guarded, Stop};

use super::Guard;
use crate::{
    api::traffic_policy::CustomResponse,
    conversation::{ErrorClass, Failure},
    dialect::text::{Block, BlockFilter, TextFilter, TextKind},
    policy::{Direction, Finding, Findings, GUARDED},
};

/// The filter of one request's or one reply's texts.
pub struct GuardFilter {
    pub guard: Guard,
    pub direction: Direction,
    pub findings: Findings,
}

impl TextFilter for GuardFilter {
    fn start(&self, block: Block) -> Option<Box<dyn BlockFilter>> {
        self.guard.scope.covers(block.kind).then(|| {
            Box::new(GuardedBlock {
                text: Guarded::new(self.guard.set.clone()),
                guard: self.guard.clone(),
                direction: self.direction,
                kind: block.kind,
                findings: self.findings.clone(),
                reported: Vec::new(),
                overflows: 0,
            }) as Box<_>
        })
    }
}

/// The filter of one block.
struct GuardedBlock {
    text: Guarded,
    guard: Guard,
    direction: Direction,
    kind: TextKind,
    findings: Findings,
    /// What is in `findings` already, by rule.
    reported: Vec<u64>,
    overflows: u64,
}

impl BlockFilter for GuardedBlock {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        let pushed = self.text.push(text, out);
        self.report();
        pushed.map_err(|stop| failure(&stop))
    }

    fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>> {
        let finished = self.text.finish(out);
        self.report();
        finished.map_err(|stop| failure(&stop))
    }
}

impl GuardedBlock {
    /// Adds what is new. A client may leave at any time, so it is done after every piece.
    fn report(&mut self) {
        for finding in self.text.findings() {
            if self.reported.len() <= finding.rule {
                self.reported.resize(finding.rule + 1, 0);
            }
            let Some(reported) = self.reported.get_mut(finding.rule) else { continue };
            let count = finding.count - std::mem::replace(reported, finding.count);
            if count == 0 {
                continue;
            }
            self.findings.add(Finding {
                direction: self.direction,
                rule: self.guard.set.names().nth(finding.rule).cloned().unwrap_or_else(|| "".into()),
                action: self.guard.set.action().as_str(),
                kind: self.kind,
                count,
            });
        }
        if self.text.overflows() > self.overflows {
            self.overflows = self.text.overflows();
            tracing::warn!(
                direction = self.direction.as_str(),
                kind = self.kind.as_str(),
                "a text was masked because a pattern of a guard did not decide within the longest text that is held"
            );
        }
    }
}

/// The failure for a text that may not pass.
fn failure(stop: &Stop) -> Failure<'static> {
    let message = match stop {
        Stop::Rejected(_) => CustomResponse::default().message,
        Stop::Steps => "the text can't be checked by this route's guards".to_owned(),
    };
    Failure { code: Some(GUARDED.into()), ..Failure::new(403, ErrorClass::Permission, message) }
}
