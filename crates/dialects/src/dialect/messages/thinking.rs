//! Claude's settings of reasoning.

use super::HOME;
use crate::{
    conversation::{Content, Effort, Message, Request, Role, Unsupported},
    dialect::{
        Destination, Thinking,
        models::{claude_budget, claude_effort, claude_limit},
    },
    stream::json::ObjectWriter,
};

/// What a request says about thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thought {
    /// Nothing, which means none.
    Unsaid,
    /// Not to.
    Off,
    /// Up to so many tokens.
    Budget(u64),
    /// As it likes, or this hard.
    Adaptive(Option<Effort>),
}

impl Thought {
    /// The settings that fit `request`; `forced`: the model must call a tool, which forbids thinking.
    pub fn plan(request: &Request<'_>, to: &Destination<'_>, forced: bool, dropped: &mut Unsupported) -> Self {
        let Some(reasoning) = request.reasoning else { return Self::Unsaid };
        let thought = match to.facts.thinking {
            Thinking::Adaptive { off: true } if reasoning.is_off() => Self::Off,
            Thinking::Budget { off: true, .. } | Thinking::Never if reasoning.is_off() => return Self::Unsaid,
            Thinking::Adaptive { .. } if !reasoning.is_off() && !forced => Self::Adaptive(reasoning.effort_or_budget()),
            Thinking::Budget { min, max, .. } if !reasoning.is_off() && !forced && !lacks_thoughts(request) => {
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

    /// The limit of tokens, which the budget is below. `asked` is the client's.
    pub fn limit(self, asked: Option<u64>, to: &Destination<'_>) -> u64 {
        let budget = if let Self::Budget(budget) = self { budget } else { 0 };
        claude_limit(&to.facts, budget, asked)
    }

    /// The word for the effort, where one is said.
    pub fn effort(self, to: &Destination<'_>) -> Option<&'static str> {
        let Self::Adaptive(effort) = self else { return None };
        Some(claude_effort(effort?, &to.facts))
    }

    /// Writes `thinking`. `visible`: the client wants to see the reasoning.
    pub fn write(self, visible: Option<bool>, top: &mut ObjectWriter<'_>) {
        let kind = match self {
            Self::Unsaid => return,
            Self::Off => "disabled",
            Self::Budget(_) => "enabled",
            Self::Adaptive(_) => "adaptive",
        };
        let mut object = top.object("thinking");
        object.field("type", kind);
        if let Self::Budget(budget) = self {
            object.field("budget_tokens", &budget);
        }
        match (self, visible) {
            (Self::Budget(_) | Self::Adaptive(_), Some(false)) => object.field("display", "omitted"),
            // Newer models do not show their reasoning unless it is requested.
            (Self::Adaptive(_), Some(true)) => object.field("display", "summarized"),
            _ => {}
        }
        object.end();
    }
}

/// Whether the model is in a series of calls without the reasoning that led to them. With a budget it must have it
/// back; models that think as they like don't mind.
fn lacks_thoughts(request: &Request<'_>) -> bool {
    let asks = |message: &Message<'_>| {
        message.role == Role::User && message.parts.iter().any(|p| !matches!(p.content, Content::Result(_)))
    };
    let mut calls = false;
    // Reasoning is at the beginning of a series of calls, or before each.
    for part in request.messages.iter().rev().take_while(|message| !asks(message)).flat_map(|m| &m.parts) {
        match &part.content {
            Content::Call(_) => calls = true,
            Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature)
                if signature.maker == HOME =>
            {
                return false;
            }
            _ => {}
        }
    }
    calls
}
