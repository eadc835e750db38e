//! Claude's settings of reasoning.

use super::HOME;
use crate::{
    conversation::{Effort, Request, Unsupported, is_loop_without_reasoning},
    dialect::{
        Destination, Thinking,
        models::{claude_budget, claude_effort, claude_limit},
    },
    stream::json::ObjectWriter,
};

/// The setting of a request for thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thought {
    /// None, which means that it is off.
    Unsaid,
    /// Off.
    Off,
    /// Up to this many tokens.
    Budget(u64),
    /// As the model decides, or with this effort.
    Adaptive(Option<Effort>),
    /// Not set, with this effort for the answer.
    Effort(Effort),
}

impl Thought {
    /// The settings that fit `request`. `forced`: the model must call a tool, which excludes thinking.
    pub fn plan(request: &Request<'_>, to: &Destination<'_>, forced: bool, dropped: &mut Unsupported) -> Self {
        let Some(reasoning) = request.reasoning else { return Self::Unsaid };
        // Models with a budget require the reasoning before calls; models with adaptive thinking do not.
        let lost_reasoning = || is_loop_without_reasoning(&request.messages, HOME);
        let thought = match to.facts.thinking {
            Thinking::Adaptive { off: true } if reasoning.is_off() => Self::Off,
            Thinking::Budget { off: true, .. } | Thinking::Never if reasoning.is_off() => return Self::Unsaid,
            Thinking::Adaptive { .. } | Thinking::Budget { .. } if reasoning.effort_only && takes_effort(to) => {
                reasoning.effort.map_or(Self::Unsaid, Self::Effort)
            }
            Thinking::Adaptive { .. } if !reasoning.is_off() && !forced => Self::Adaptive(reasoning.effort_or_budget()),
            Thinking::Budget { min, max, .. } if !reasoning.is_off() && !forced && !lost_reasoning() => {
                let budget = claude_budget(reasoning, request.max_tokens, (min, max));
                let exact = reasoning.budget.is_none_or(|asked| Some(asked) == budget);
                dropped.add_if(budget.is_some() && !exact, "reasoning");
                budget.map_or(Self::Unsaid, Self::Budget)
            }
            _ => Self::Unsaid,
        };
        dropped.add_if(thought == Self::Unsaid, "reasoning");
        thought
    }

    /// Whether the model thinks.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::Budget(_) | Self::Adaptive(_))
    }

    /// The token limit, which must be above the budget. `asked` is the client's.
    pub fn limit(self, asked: Option<u64>, to: &Destination<'_>) -> u64 {
        let budget = if let Self::Budget(budget) = self { budget } else { 0 };
        claude_limit(&to.facts, budget, asked)
    }

    /// The name of the effort, if one is set.
    pub fn effort(self, request: &Request<'_>, to: &Destination<'_>) -> Option<&'static str> {
        let effort = match self {
            Self::Adaptive(effort) => effort?,
            Self::Effort(effort) => effort,
            // Of a client that sets an effort only, the budget follows from it.
            Self::Budget(_) if takes_effort(to) => {
                request.reasoning.filter(|reasoning| reasoning.budget.is_some())?.effort?
            }
            Self::Unsaid | Self::Off | Self::Budget(_) => return None,
        };
        Some(claude_effort(effort, &to.facts))
    }

    /// Writes `thinking`. `visible`: whether the client requests to see the reasoning.
    pub fn write(self, visible: Option<bool>, top: &mut ObjectWriter<'_>) {
        let kind = match self {
            Self::Unsaid | Self::Effort(_) => return,
            Self::Off => "disabled",
            Self::Budget(_) => "enabled",
            Self::Adaptive(_) => "adaptive",
        };
        let mut object = top.object("thinking").with("type", kind);
        if let Self::Budget(budget) = self {
            object.field("budget_tokens", &budget);
        }
        match (self, visible) {
            (Self::Budget(_) | Self::Adaptive(_), Some(false)) => object.field("display", "omitted"),
            // Newer models do not show their reasoning unless it is requested.
            (Self::Adaptive(_), Some(true)) => object.field("display", "summarized"),
            _ => {}
        }
    }
}

/// Whether the model takes an effort, whether or not it thinks.
const fn takes_effort(to: &Destination<'_>) -> bool {
    to.facts.effort_and_budget || matches!(to.facts.thinking, Thinking::Adaptive { .. })
}
