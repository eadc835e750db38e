//! How a model is told to think, how much it may say, and how its tokens are drawn: settings that depend on each other.

use crate::{
    conversation::{Content, Effort, Request, Role, SignatureOrigin, Text, Turn, Unsupported},
    dialect::{
        Destination, SamplingFacts, Thinking, Vendor,
        models::{claude_budget, claude_effort, claude_limit},
    },
    stream::json::ObjectWriter,
};

/// How the model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Think {
    /// It is not.
    Off,
    /// Claude, with so many tokens.
    Budget(u64),
    /// Claude, as it likes.
    Adaptive { effort: Option<&'static str>, visible: bool },
    /// Nova.
    Nova(Effort),
    /// Models that know OpenAI's word.
    Effort(Effort),
}

/// Settings that were weighed against each other.
pub(super) struct Settings {
    pub think: Think,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
}

/// Weighs what `request` asks for against what the model takes. `forced` says that the model must call a tool.
pub(super) fn settings(
    request: &Request<'_>,
    turns: &[Turn<'_, '_>],
    to: &Destination<'_>,
    forced: bool,
    dropped: &mut Unsupported,
) -> Settings {
    let think = think(request, turns, to, forced, dropped);
    let sampling = &request.sampling;
    let mut settings = Settings {
        think,
        max_tokens: request.max_tokens.map(|n| n.max(1)),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: top_k(request, to),
    };
    dropped.add_if(sampling.top_k.is_some() && settings.top_k.is_none(), "top_k");
    let fixed = to.facts.sampling == SamplingFacts::None;
    match think {
        Think::Budget(budget) => {
            settings.max_tokens = Some(claude_limit(&to.facts, budget, request.max_tokens));
            settings.drop_sampling(dropped);
        }
        Think::Adaptive { .. } => settings.drop_sampling(dropped),
        Think::Nova(Effort::High) => {
            // Nova refuses limits of its own when it thinks hard.
            dropped.add_if(settings.max_tokens.take().is_some(), "max_tokens");
            settings.drop_sampling(dropped);
        }
        _ if fixed => settings.drop_sampling(dropped),
        _ => {}
    }
    if to.facts.sampling == SamplingFacts::One && settings.temperature.is_some() {
        dropped.add_if(settings.top_p.take().is_some(), "top_p");
    }
    settings.temperature = clamp(settings.temperature, "temperature", dropped);
    settings.top_p = clamp(settings.top_p, "top_p", dropped);
    settings
}

impl Settings {
    /// One is the default of temperature and `top_p`: without it nothing is lost.
    fn drop_sampling(&mut self, dropped: &mut Unsupported) {
        let lost = |value: Option<f64>| value.is_some_and(|value| (value - 1.0).abs() > f64::EPSILON);
        dropped.add_if(lost(self.temperature.take()), "temperature");
        dropped.add_if(lost(self.top_p.take()), "top_p");
        dropped.add_if(self.top_k.take().is_some(), "top_k");
    }
}

/// Converse's range is 0 to 1.
fn clamp(value: Option<f64>, name: &'static str, dropped: &mut Unsupported) -> Option<f64> {
    let clamped = value.map(|v| v.clamp(0.0, 1.0));
    dropped.add_if(clamped != value, name);
    clamped
}

/// Only the models of two makers have a place for it that is known.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a range that fits")]
fn top_k(request: &Request<'_>, to: &Destination<'_>) -> Option<u64> {
    let most = match to.facts.vendor {
        Vendor::Anthropic => 500.0,
        Vendor::Amazon => 128.0,
        Vendor::Other => return None,
    };
    request.sampling.top_k.map(|k| k.round().clamp(0.0, most) as u64)
}

fn think(
    request: &Request<'_>,
    turns: &[Turn<'_, '_>],
    to: &Destination<'_>,
    forced: bool,
    dropped: &mut Unsupported,
) -> Think {
    let Some(reasoning) = request.reasoning.filter(|r| !r.is_off()) else { return Think::Off };
    let effort = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget));
    let think = match to.facts.thinking {
        Thinking::Never | Thinking::Level => Think::Off,
        Thinking::Effort => {
            let (least, most) = to.facts.efforts;
            return Think::Effort(effort.unwrap_or(Effort::Medium).clamp(least, most));
        }
        Thinking::Nova => return Think::Nova(of_three(effort)),
        // A model that must call, or that has lost the thoughts that led to its calls, must not think.
        Thinking::Budget { .. } | Thinking::Adaptive { .. } if forced || lost_its_thoughts(turns) => Think::Off,
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

/// Nova knows three efforts.
fn of_three(effort: Option<Effort>) -> Effort {
    effort.unwrap_or(Effort::Medium).clamp(Effort::Low, Effort::High)
}

/// Whether the model is amid a loop of calls and the thoughts in front of the last ones are not there, signed.
fn lost_its_thoughts(turns: &[Turn<'_, '_>]) -> bool {
    let Some(last) = turns.iter().rev().find(|turn| turn.role == Role::Assistant) else { return false };
    let calls = last.parts.iter().any(|part| matches!(part.content, Content::Call(_)));
    let thought = last.parts.iter().any(|part| match &part.content {
        Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature) => {
            signature.maker == SignatureOrigin::Anthropic
        }
        _ => false,
    });
    calls && !thought
}

/// Writes `inferenceConfig` unless it would be empty.
pub(super) fn write_inference(
    body: &mut ObjectWriter<'_>,
    settings: &Settings,
    stop: &[Text<'_>],
    to: &Destination<'_>,
    dropped: &mut Unsupported,
) {
    // Claude refuses stop texts of white space, everybody refuses empty ones.
    let refused =
        |text: &Text<'_>| if to.facts.vendor == Vendor::Anthropic { text.is_blank() } else { text.is_empty() };
    dropped.add_if(stop.iter().any(refused), "stop");
    let has_stop = stop.iter().any(|text| !refused(text));
    if settings.max_tokens.is_none() && settings.temperature.is_none() && settings.top_p.is_none() && !has_stop {
        return;
    }
    let mut config = body.object("inferenceConfig");
    config.maybe("maxTokens", settings.max_tokens.as_ref());
    config.maybe("temperature", settings.temperature.as_ref());
    config.maybe("topP", settings.top_p.as_ref());
    if has_stop {
        let mut list = config.array("stopSequences");
        for text in stop.iter().filter(|text| !refused(text)) {
            list.push(text);
        }
        list.end();
    }
    config.end();
}

/// Writes `additionalModelRequestFields` unless it would be empty. `one_call` forbids Claude to call several tools at once;
/// `effort_elsewhere` says that the effort stands in `outputConfig`.
pub(super) fn write_additional(
    body: &mut ObjectWriter<'_>,
    settings: &Settings,
    vendor: Vendor,
    one_call: bool,
    effort_elsewhere: bool,
) {
    if settings.top_k.is_none() && settings.think == Think::Off && !one_call {
        return;
    }
    let mut fields = body.object("additionalModelRequestFields");
    if vendor == Vendor::Amazon {
        if let Some(top_k) = settings.top_k {
            let mut config = fields.object("inferenceConfig");
            config.field("topK", &top_k);
            config.end();
        }
    } else {
        fields.maybe("top_k", settings.top_k.as_ref());
    }
    write_think(&mut fields, settings.think, effort_elsewhere);
    if one_call {
        let mut choice = fields.object("tool_choice");
        choice.field("type", "auto");
        choice.field("disable_parallel_tool_use", &true);
        choice.end();
    }
    fields.end();
}

fn write_think(fields: &mut ObjectWriter<'_>, think: Think, effort_elsewhere: bool) {
    match think {
        Think::Off => {}
        Think::Budget(tokens) => {
            let mut thinking = fields.object("thinking");
            thinking.field("type", "enabled");
            thinking.field("budget_tokens", &tokens);
            thinking.end();
        }
        Think::Adaptive { effort, visible } => {
            let mut thinking = fields.object("thinking");
            thinking.field("type", "adaptive");
            thinking.maybe("display", visible.then_some("summarized"));
            thinking.end();
            if let Some(effort) = effort.filter(|_| !effort_elsewhere) {
                let mut config = fields.object("output_config");
                config.field("effort", effort);
                config.end();
            }
        }
        Think::Nova(effort) => {
            let mut config = fields.object("reasoningConfig");
            config.field("type", "enabled");
            config.field("maxReasoningEffort", effort.as_str());
            config.end();
        }
        Think::Effort(effort) => fields.field("reasoning_effort", effort.as_str()),
    }
}
