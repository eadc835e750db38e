//! Writes a request.

use super::{schema, write_content, write_tools};
use crate::{
    conversation::{
        Effort, Format, Invalid, Reasoning, Request, Sampling, TurnRules, Unsupported, ends_in_prefill, turns,
    },
    dialect::{Destination, ModelFacts, Thinking},
    stream::json::ObjectWriter,
};

/// Most texts that may end an answer.
const MAX_STOPS: usize = 5;
/// Most alternatives of a token.
const MAX_LOGPROBS: u64 = 20;

/// Appends a request for `to`.
///
/// # Errors
/// When there is nothing to answer, or a schema can't be read.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let (system, turns) = turns(&request.messages, TurnRules { prefill: false })?;
    dropped.add_if(ends_in_prefill(&request.messages), "prefill");
    let mut top = ObjectWriter::begin(out);
    write_content::write_system(&system, &mut top, dropped);
    write_content::write(&turns, to, &mut top, dropped);
    write_tools::write(request, to, &mut top, dropped)?;
    write_config(request, to.facts, &mut top, dropped)?;
    top.end();
    let left_out = [
        (request.user.is_some(), "user"),
        (request.service_tier.is_some(), "service_tier"),
        (request.metadata.is_some(), "metadata"),
        (request.parallel_tool_calls == Some(false), "parallel_tool_calls"),
    ];
    for (met, name) in left_out {
        dropped.add_if(met, name);
    }
    Ok(())
}

fn write_config(
    request: &Request<'_>,
    facts: ModelFacts,
    top: &mut ObjectWriter<'_>,
    dropped: &mut Unsupported,
) -> Result<(), Invalid> {
    let mut members = Vec::new();
    let mut config = ObjectWriter::begin(&mut members);
    config.maybe("maxOutputTokens", request.max_tokens.as_ref());
    write_sampling(&request.sampling, &mut config, dropped);
    match &request.format {
        None => {}
        Some(Format::Json) => config.field("responseMimeType", "application/json"),
        Some(Format::Schema { schema, .. }) => {
            config.field("responseMimeType", "application/json");
            if facts.json_schema {
                config.raw("responseJsonSchema", schema.get());
            } else {
                let (text, lost) = schema::write("response_format", schema)?;
                dropped.add_if(lost, "schema keywords");
                config.raw("responseSchema", &text);
            }
        }
    }
    if let Some(reasoning) = &request.reasoning {
        write_thinking(reasoning, facts, &mut config, dropped);
    }
    config.end();
    if members != b"{}" {
        top.key("generationConfig").extend_from_slice(&members);
    }
    Ok(())
}

fn write_sampling(sampling: &Sampling<'_>, config: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    let mut clamped = |key: &str, name: &'static str, value: Option<f64>, min: f64, max: f64| {
        let Some(value) = value else { return };
        dropped.add_if(!(min..=max).contains(&value), name);
        config.field(key, &value.clamp(min, max));
    };
    clamped("temperature", "temperature", sampling.temperature, 0.0, 2.0);
    clamped("topP", "top_p", sampling.top_p, 0.0, 1.0);
    clamped("presencePenalty", "presence_penalty", sampling.presence_penalty, -2.0, 2.0);
    clamped("frequencyPenalty", "frequency_penalty", sampling.frequency_penalty, -2.0, 2.0);
    config.maybe("topK", sampling.top_k.as_ref());
    config.maybe("candidateCount", sampling.n.filter(|n| *n > 1).as_ref());
    if let Some(seed) = sampling.seed {
        // An int32 there. Which seed it is does not matter, but the same must stay the same.
        let kept = i32::try_from(seed).unwrap_or_else(|_| i32::try_from(seed.rem_euclid(1 << 31)).unwrap_or_default());
        dropped.add_if(i64::from(kept) != seed, "seed");
        config.field("seed", &kept);
    }
    let stops: Vec<_> = sampling.stop.iter().filter(|stop| !stop.is_empty()).collect();
    dropped.add_if(stops.len() > MAX_STOPS, "stop");
    if let Some(stops) = stops.get(..stops.len().min(MAX_STOPS)).filter(|stops| !stops.is_empty()) {
        config.field("stopSequences", stops);
    }
    if sampling.logprobs == Some(true) {
        config.field("responseLogprobs", &true);
        if let Some(top) = sampling.top_logprobs.filter(|top| *top > 0) {
            dropped.add_if(top > MAX_LOGPROBS, "logprobs");
            config.field("logprobs", &top.min(MAX_LOGPROBS));
        }
    }
}

fn write_thinking(reasoning: &Reasoning, facts: ModelFacts, config: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    let visible = !reasoning.is_off() && reasoning.visible != Some(false);
    match facts.thinking {
        Thinking::Budget { min, max, off } => {
            let (budget, exact) = budget(reasoning, min, max, off);
            dropped.add_if(!exact, "reasoning");
            let mut thinking = config.object("thinkingConfig");
            thinking.field("includeThoughts", &visible);
            match budget {
                Some(tokens) => thinking.field("thinkingBudget", &tokens),
                None => thinking.field("thinkingBudget", &-1),
            }
            thinking.end();
        }
        Thinking::Level => {
            let effort = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget));
            // These models can't be kept from thinking.
            dropped.add_if(reasoning.is_off(), "reasoning");
            let mut thinking = config.object("thinkingConfig");
            thinking.field("includeThoughts", &visible);
            thinking.maybe("thinkingLevel", effort.map(|effort| level(effort, facts)));
            thinking.end();
        }
        Thinking::Never | Thinking::Effort | Thinking::Adaptive { .. } | Thinking::Nova => {
            dropped.add_if(!reasoning.is_off(), "reasoning");
        }
    }
}

/// A budget in tokens, `None` for as many as the model likes; and whether it is what was asked for.
fn budget(reasoning: &Reasoning, min: u64, max: u64, off: bool) -> (Option<u64>, bool) {
    if reasoning.is_off() {
        return if off { (Some(0), true) } else { (Some(min), false) };
    }
    match (reasoning.effort, reasoning.budget) {
        (_, Some(tokens)) if tokens > 0 => {
            let kept = tokens.clamp(min, max);
            (Some(kept), kept == tokens)
        }
        (Some(effort), _) => {
            let tokens = match effort {
                Effort::None => 0,
                Effort::Minimal => 512,
                Effort::Low => 1024,
                Effort::Medium => 8192,
                Effort::High => 24_576,
                Effort::XHigh | Effort::Max => max,
            };
            (Some(tokens.clamp(min, max)), true)
        }
        (None, _) => (None, true),
    }
}

fn level(effort: Effort, facts: ModelFacts) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal if facts.minimal => "MINIMAL",
        Effort::None | Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    }
}
