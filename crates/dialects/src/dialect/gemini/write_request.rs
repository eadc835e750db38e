//! Writes a request.

use super::{Gemini, params::PARAMS, schema, write_content, write_tools};
use crate::{
    conversation::{
        Effort, Format, HostedKind, ImageForm, Invalid, Reasoning, Request, TurnRules, Unsupported, ends_in_prefill,
        turns,
    },
    dialect::{Destination, Dialect, ModelFacts, Thinking, params::Writer as ParamWriter},
    stream::json::ObjectWriter,
};

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
    let params = ParamWriter { table: PARAMS, quirks: &[], request, sampling: to.facts.sampling };
    write_config(&params, to, &mut top, dropped)?;
    params.account(&mut top, dropped);
    top.end();
    Ok(())
}

fn write_config(
    params: &ParamWriter<'_, '_>,
    to: &Destination<'_>,
    top: &mut ObjectWriter<'_>,
    dropped: &mut Unsupported,
) -> Result<(), Invalid> {
    let facts = to.facts;
    let mut members = Vec::new();
    let mut config = ObjectWriter::begin(&mut members);
    params.sampling(&mut config, dropped);
    let request = params.request;
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
    for tool in request.hosted_by(|kind| kind == HostedKind::ImageGeneration && Gemini.runs(kind, request, to)) {
        write_images(&tool.limits.image, &mut config);
    }
    config.end();
    if members != b"{}" {
        top.key("generationConfig").extend_from_slice(&members);
    }
    Ok(())
}

/// Lets the model answer in images of this form.
fn write_images(form: &ImageForm<'_>, config: &mut ObjectWriter<'_>) {
    config.field("responseModalities", &["TEXT", "IMAGE"]);
    if *form != ImageForm::default() {
        config
            .object("imageConfig")
            .with_maybe("aspectRatio", form.aspect_ratio.as_ref())
            .with_maybe("imageSize", form.size.as_ref());
    }
}

fn write_thinking(reasoning: &Reasoning, facts: ModelFacts, config: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    let visible = !reasoning.is_off() && reasoning.visible != Some(false);
    match facts.thinking {
        Thinking::Budget { min, max, off } => {
            let (budget, exact) = budget(reasoning, min, max, off);
            dropped.add_if(!exact, "reasoning");
            let mut thinking = config.object("thinkingConfig").with("includeThoughts", &visible);
            match budget {
                Some(tokens) => thinking.field("thinkingBudget", &tokens),
                None => thinking.field("thinkingBudget", &-1),
            }
        }
        Thinking::Level => {
            let wanted = reasoning.effort_or_budget();
            let effort = wanted.map(|effort| facts.efforts.nearest(effort));
            // Thinking can't be turned off for these models.
            dropped.add_if(reasoning.is_off() || effort != wanted, "reasoning");
            config
                .object("thinkingConfig")
                .with("includeThoughts", &visible)
                .with_maybe("thinkingLevel", effort.map(level));
        }
        Thinking::Never | Thinking::Effort | Thinking::Adaptive { .. } | Thinking::Nova => {
            dropped.add_if(!reasoning.is_off(), "reasoning");
        }
    }
}

/// A budget in tokens, `None` to leave it to the model; also returns whether it is the requested one.
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

fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High => "HIGH",
        Effort::XHigh | Effort::Max => "XHIGH",
    }
}
