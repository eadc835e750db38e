//! A model's reasoning, its token limit and its sampling: settings that depend on each other.

use crate::{
    conversation::{Effort, Request, SignatureOrigin, Unsupported, is_loop_without_reasoning},
    dialect::{
        Destination, SamplingFacts, Thinking,
        models::{claude_budget, claude_effort, claude_limit},
    },
    stream::json::ObjectWriter,
};

/// How the model's reasoning is controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Think {
    /// It is off.
    Off,
    /// Claude, with this budget in tokens.
    Budget(u64),
    /// Claude, which decides itself how much it thinks.
    Adaptive { effort: Option<&'static str>, visible: bool },
    /// Claude that does not think, with this effort for its answer.
    Answer(&'static str),
    /// Nova.
    Nova(Effort),
    /// Models that accept OpenAI's `reasoning_effort`.
    Effort(Effort),
}

/// Settings that are consistent with each other.
pub(super) struct Settings {
    pub think: Think,
    pub max_tokens: Option<u64>,
    /// The sampling settings that the model accepts while it thinks like this.
    pub sampling: SamplingFacts,
}

/// Adapts the settings of `request` to those that the model accepts. `forced`: the model must call a tool.
pub(super) fn settings(
    request: &Request<'_>,
    to: &Destination<'_>,
    forced: bool,
    dropped: &mut Unsupported,
) -> Settings {
    let think = think(request, to, forced, dropped);
    let mut max_tokens = request.max_tokens.map(|n| n.max(1));
    match think {
        Think::Budget(budget) => max_tokens = Some(claude_limit(&to.facts, budget, request.max_tokens)),
        // Nova refuses a token limit together with a high effort.
        Think::Nova(Effort::High) => dropped.add_if(max_tokens.take().is_some(), "max_tokens"),
        _ => {}
    }
    let fixed = matches!(think, Think::Budget(_) | Think::Adaptive { .. } | Think::Nova(Effort::High));
    let sampling = if fixed { SamplingFacts::None } else { to.facts.sampling };
    Settings { think, max_tokens, sampling }
}

fn think(request: &Request<'_>, to: &Destination<'_>, forced: bool, dropped: &mut Unsupported) -> Think {
    let Some(reasoning) = request.reasoning.filter(|r| !r.is_off()) else { return Think::Off };
    let effort = reasoning.effort_or_budget();
    let think = match to.facts.thinking {
        Thinking::Never | Thinking::Level => Think::Off,
        Thinking::Effort => {
            return Think::Effort(to.facts.efforts.nearest(effort.unwrap_or(Effort::Medium)));
        }
        Thinking::Nova => return Think::Nova(of_three(effort)),
        Thinking::Adaptive { .. } if reasoning.effort_only => {
            let effort = claude_effort(effort.unwrap_or(Effort::Medium), &to.facts);
            return Think::Answer(effort);
        }
        // A model that must call a tool, or whose reasoning before its calls is lost, must not think.
        Thinking::Budget { .. } | Thinking::Adaptive { .. } if forced => Think::Off,
        // Models with adaptive thinking do not require the reasoning.
        Thinking::Budget { .. } if is_loop_without_reasoning(&request.messages, SignatureOrigin::Anthropic) => {
            Think::Off
        }
        Thinking::Budget { min, max, .. } => {
            claude_budget(reasoning, request.max_tokens, (min, max)).map_or(Think::Off, Think::Budget)
        }
        Thinking::Adaptive { .. } => {
            let effort = effort.map(|effort| claude_effort(effort, &to.facts));
            Think::Adaptive { effort, visible: reasoning.visible == Some(true) }
        }
    };
    let exact = match think {
        Think::Off => false,
        Think::Budget(tokens) => reasoning.budget.is_none_or(|asked| asked == tokens),
        _ => true,
    };
    dropped.add_if(!exact, "reasoning");
    think
}

/// The effort for Nova, which has three.
fn of_three(effort: Option<Effort>) -> Effort {
    effort.unwrap_or(Effort::Medium).clamp(Effort::Low, Effort::High)
}

impl Think {
    /// Writes the settings. `effort_elsewhere`: the effort is in `outputConfig`.
    pub(super) fn write(self, effort_elsewhere: bool, fields: &mut ObjectWriter<'_>) {
        match self {
            Self::Off => {}
            Self::Budget(tokens) => {
                fields.object("thinking").with("type", "enabled").with("budget_tokens", &tokens);
            }
            Self::Adaptive { effort, visible } => {
                fields
                    .object("thinking")
                    .with("type", "adaptive")
                    .with_maybe("display", visible.then_some("summarized"));
                if let Some(effort) = effort.filter(|_| !effort_elsewhere) {
                    fields.object("output_config").with("effort", effort);
                }
            }
            Self::Answer(effort) => {
                if !effort_elsewhere {
                    fields.object("output_config").with("effort", effort);
                }
            }
            Self::Nova(effort) => {
                fields.object("reasoningConfig").with("type", "enabled").with("maxReasoningEffort", effort.as_str());
            }
            Self::Effort(effort) => fields.field("reasoning_effort", effort.as_str()),
        }
    }
}
