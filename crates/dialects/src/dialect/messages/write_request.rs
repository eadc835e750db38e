//! Writes requests.

use super::{
    thinking::Thought,
    write_content::Encoder,
    write_tools::{Tools, write_format},
};
use crate::{
    conversation::{Format, Invalid, Request, Text, TurnRules, Unsupported, ends_in_prefill, turns},
    dialect::{Destination, SamplingFacts, Server},
    stream::json::ObjectWriter,
};

/// The API's version on Vertex AI, in the body.
const VERTEX_VERSION: &str = "vertex-2023-10-16";
/// Asks for JSON where no mode of the API does.
const JSON_ONLY: &str =
    "Answer with a single valid JSON object and nothing else: no words around it and no code fence.";
/// Longest `metadata.user_id`, in bytes.
const MAX_USER: usize = 256;

/// Writes a request.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let tools = Tools::plan(request, to);
    let by_tool = matches!(request.format, Some(Format::Schema { .. })) && !to.facts.structured;
    dropped.add_if(by_tool && !tools.answer(), "response_format");
    // It may give the answer instead.
    dropped.add_if(tools.may_answer(), "tool_choice");
    let thought = Thought::plan(request, to, tools.is_forced(), dropped);
    // Neither thinking nor a schema goes with an answer that has begun.
    let prefill = to.facts.prefill && !thought.is_on() && request.format.is_none();
    let (system, turns) = turns(&request.messages, TurnRules { prefill })?;
    dropped.add_if(!prefill && ends_in_prefill(&request.messages), "prefill");
    let structured = request.format.as_ref().filter(|f| to.facts.structured && matches!(f, Format::Schema { .. }));
    let mut top = ObjectWriter::begin(out);
    if to.server == Server::VertexClaude {
        top.field("anthropic_version", VERTEX_VERSION);
    } else {
        top.field("model", to.model);
    }
    top.field("max_tokens", &thought.limit(request.max_tokens, to));
    let mut encoder = Encoder::new(to.server, dropped);
    // Before the turns, so that marks of the cache are counted in the API's order.
    tools.write(to, &mut encoder, &mut top)?;
    encoder.system(&system, (request.format == Some(Format::Json)).then_some(JSON_ONLY), &mut top);
    encoder.messages(&turns, &mut top)?;
    thought.write(request.reasoning.and_then(|reasoning| reasoning.visible), &mut top);
    let effort = thought.effort(to);
    if effort.is_some() || structured.is_some() {
        let mut config = top.object("output_config");
        config.maybe("effort", effort);
        write_format(structured, dropped, &mut config)?;
        config.end();
    }
    sampling(request, to, thought, dropped, &mut top);
    about(request, to, dropped, &mut top);
    if request.stream {
        top.field("stream", &true);
    }
    top.end();
    Ok(())
}

fn sampling(
    request: &Request<'_>,
    to: &Destination<'_>,
    thought: Thought,
    dropped: &mut Unsupported,
    top: &mut ObjectWriter<'_>,
) {
    let sampling = &request.sampling;
    // Thinking has its own temperature.
    let facts = if thought.is_on() { SamplingFacts::None } else { to.facts.sampling };
    let any = facts != SamplingFacts::None;
    let both = facts == SamplingFacts::All || sampling.temperature.is_none();
    // One is the default of both: without it nothing is lost.
    let refused = |value: f64, has: bool| !(0.0..=1.0).contains(&value) || (!has && value < 1.0);
    dropped.add_if(sampling.temperature.is_some_and(|t| refused(t, any)), "temperature");
    dropped.add_if(sampling.top_p.is_some_and(|p| refused(p, any && both)), "top_p");
    dropped.add_if(sampling.top_k.is_some_and(|k| !any || k.fract() != 0.0 || k < 1.0), "top_k");
    top.maybe("temperature", sampling.temperature.filter(|_| any).map(|t| t.clamp(0.0, 1.0)).as_ref());
    top.maybe("top_p", sampling.top_p.filter(|_| any && both).map(|p| p.clamp(0.0, 1.0)).as_ref());
    top.maybe("top_k", sampling.top_k.filter(|_| any).map(whole).as_ref());
    if sampling.stop.iter().any(|stop| !stop.is_blank()) {
        let mut list = top.array("stop_sequences");
        sampling.stop.iter().filter(|stop| !stop.is_blank()).for_each(|stop| list.push(stop));
        list.end();
    }
    dropped.add_if(sampling.stop.iter().any(Text::is_blank), "stop");
    dropped.add_if(sampling.n.is_some_and(|n| n > 1), "n");
    dropped.add_if(sampling.seed.is_some(), "seed");
    dropped.add_if(sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0), "presence_penalty");
    dropped.add_if(sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0), "frequency_penalty");
    dropped.add_if(sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|n| n > 0), "logprobs");
}

/// A count that may have been written as a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(value: f64) -> u64 {
    value.round().clamp(1.0, 1e9) as u64
}

/// Who asks, and for what service.
fn about(request: &Request<'_>, to: &Destination<'_>, dropped: &mut Unsupported, top: &mut ObjectWriter<'_>) {
    if let Some(user) = &request.user {
        if is_opaque(user) {
            let mut metadata = top.object("metadata");
            metadata.field("user_id", user);
            metadata.end();
        } else {
            dropped.add("user");
        }
    }
    dropped.add_if(request.metadata.is_some(), "metadata");
    let Some(tier) = request.service_tier.as_ref() else { return };
    let word = match &*tier.decode() {
        "auto" => Some("auto"),
        "default" | "standard" | "standard_only" => Some("standard_only"),
        _ => None,
    };
    match word.filter(|_| to.server == Server::Anthropic) {
        Some(word) => top.field("service_tier", word),
        None => dropped.add("service_tier"),
    }
}

/// Whether the API takes this for a user's id: it refuses mail addresses, telephone numbers and long texts.
fn is_opaque(user: &Text<'_>) -> bool {
    let user = user.decode();
    let telephone = user.len() >= 7 && user.bytes().all(|b| b.is_ascii_digit() || b" ()+-".contains(&b));
    !user.trim().is_empty() && user.len() <= MAX_USER && !user.contains('@') && !telephone
}
