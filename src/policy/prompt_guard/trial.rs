//! A text on its way through the guards of a policy, outside of any request.

use super::{Guard, PromptGuardField, Scope, compiled, parts};
use crate::{
    api::traffic_policy::TrafficPolicySpec,
    dialect::text::{Block, TextKind},
    policy::{Direction, Finding, Findings, PolicyField},
};

/// What became of a text.
#[derive(Debug, Default)]
pub struct Trial {
    /// What was released after each piece, and at the end.
    pub released: Vec<String>,
    /// The rules that have matched.
    pub findings: Vec<Finding>,
    /// The message of the refusal, if the text was refused.
    pub refused: Option<String>,
}

/// Sends a text of `kind`, in `pieces`, through the guard of `spec` for this direction, with the code of requests.
///
/// # Errors
/// When the guard can't be used.
pub fn try_texts(
    spec: &TrafficPolicySpec,
    direction: Direction,
    kind: TextKind,
    pieces: &[&str],
) -> Result<Trial, String> {
    let invalid = PromptGuardField.invalid(spec);
    if !invalid.is_empty() {
        return Err(invalid.join("; "));
    }
    let findings = Findings::default();
    let guard = parts(spec)
        .find(|(part, _)| *part == direction)
        .and_then(|(_, regex)| Some(Guard { set: compiled(regex, direction).ok()?, scope: Scope::of(regex) }));
    let block = Block { kind, choice: 0, block: 0, part: 0 };
    let Some(mut filter) = guard.and_then(|guard| guard.filter(direction, &findings).start(block)) else {
        return Ok(Trial { released: pieces.iter().map(|piece| (*piece).to_owned()).collect(), ..Trial::default() });
    };
    let mut trial = Trial::default();
    for piece in pieces.iter().copied().map(Some).chain([None]) {
        let mut out = String::new();
        let pushed = match piece {
            Some(piece) => filter.push(piece, &mut out),
            None => filter.finish(&mut out),
        };
        trial.released.push(out);
        if let Err(failure) = pushed {
            trial.refused = Some(failure.message.into_owned());
            break;
        }
    }
    trial.findings = findings.take();
    Ok(trial)
}
