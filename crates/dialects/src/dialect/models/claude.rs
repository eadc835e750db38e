//! Claude's limits and efforts, which the Messages API and Converse share.

use super::ModelFacts;
use crate::conversation::{Effort, Reasoning};

/// A budget of reasoning for Claude, whose limit of an answer includes it: it must stay below the limit. `limit` is the
/// client's. `None` where the limit has no room for the smallest budget.
pub fn claude_budget(reasoning: Reasoning, limit: Option<u64>, (min, max): (u64, u64)) -> Option<u64> {
    let (wanted, most) = match reasoning.budget {
        Some(exact) => (exact, limit.map(|n| n.saturating_sub(1))),
        // A client that sets only an effort, not a budget, expects an answer too.
        None => (reasoning.effort.unwrap_or(Effort::Medium).budget(), limit.map(|n| n / 2)),
    };
    let room = limit.is_none_or(|n| n > min);
    room.then(|| wanted.min(most.unwrap_or(u64::MAX)).clamp(min, max.max(min)))
}

/// The limit of an answer for Claude: the client's, or room for the reasoning and an answer of the usual
/// length.
pub fn claude_limit(facts: &ModelFacts, budget: u64, limit: Option<u64>) -> u64 {
    limit.unwrap_or(budget.saturating_add(facts.default_output).min(facts.max_output))
}

/// Claude's name for an effort: the nearest that the model has.
pub fn claude_effort(effort: Effort, facts: &ModelFacts) -> &'static str {
    facts.efforts.nearest(effort).as_str()
}
