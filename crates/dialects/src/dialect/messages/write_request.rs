//! Writes requests.

use super::{
    params::PARAMS,
    thinking::Thought,
    write_content::Encoder,
    write_tools::{Tools, write_format},
};
use crate::{
    conversation::{Format, Invalid, Request, TurnRules, Unsupported, ends_in_prefill, turns},
    dialect::{Destination, SamplingFacts, params::Writer as ParamWriter},
    stream::json::ObjectWriter,
};

/// The instruction to answer in JSON, since the API has no mode for it.
const JSON_ONLY: &str =
    "Answer with a single valid JSON object and nothing else: no words around it and no code fence.";

/// Writes a request.
pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let to = &to.for_format(request);
    let tools = Tools::plan(request, to);
    let by_tool = matches!(request.format, Some(Format::Schema { .. })) && !to.facts.structured;
    dropped.add_if(by_tool && !tools.answer(), "response_format");
    // The model may give the answer instead.
    dropped.add_if(tools.may_answer(), "tool_choice");
    let thought = Thought::plan(request, to, tools.is_forced(), dropped);
    // Neither thinking nor a schema can be combined with the beginning of an answer.
    let prefill = to.facts.prefill && !thought.is_on() && request.format.is_none();
    let (system, turns) = turns(&request.messages, TurnRules { prefill })?;
    dropped.add_if(!prefill && ends_in_prefill(&request.messages), "prefill");
    let structured = request.format.as_ref().filter(|f| to.facts.structured && matches!(f, Format::Schema { .. }));
    let mut top = ObjectWriter::begin(out);
    match to.quirks.messages.body_version {
        Some(version) => top.field("anthropic_version", version),
        None => top.field("model", to.model),
    }
    top.field("max_tokens", &thought.limit(request.max_tokens, to));
    let mut encoder = Encoder::new(to.quirks, dropped);
    // Before the turns, so that cache marks are counted in the API's order.
    tools.write(to, &mut encoder, &mut top)?;
    encoder.system(&system, (request.format == Some(Format::Json)).then_some(JSON_ONLY), &mut top);
    encoder.messages(&turns, &mut top)?;
    thought.write(request.reasoning.and_then(|reasoning| reasoning.visible), &mut top);
    let effort = thought.effort(request, to);
    if effort.is_some() || structured.is_some() {
        let mut config = top.object("output_config").with_maybe("effort", effort);
        write_format(structured, dropped, &mut config)?;
    }
    // Thinking has a fixed temperature.
    let sampling = if thought.is_on() { SamplingFacts::None } else { to.facts.sampling };
    let params = ParamWriter { table: PARAMS, quirks: to.quirks.messages.params, request, sampling };
    params.sampling(&mut top, dropped);
    params.account(&mut top, dropped);
    if request.stream {
        top.field("stream", &true);
    }
    top.end();
    Ok(())
}
