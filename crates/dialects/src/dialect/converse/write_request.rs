//! Writing requests.

use super::{
    params::PARAMS,
    thinking::{self, Think},
    write_content::Blocks,
    write_tools::{Form as AnswerForm, Plan},
};
use crate::{
    conversation::{Invalid, Json, Request, Text, TurnRules, Unsupported, ends_in_prefill, safe_id, turns},
    dialect::{Destination, params::Writer as ParamWriter},
    stream::{
        TopLevel,
        json::{ObjectWriter, write_value},
    },
};

/// The instruction to answer in JSON, for requests without a schema.
const ANSWER_IN_JSON: &str = "Answer with one JSON object and nothing else: no code fence, no explanation.";
/// Most entries of `requestMetadata`, and the longest key and value, in bytes.
const MAX_METADATA: usize = 16;
const MAX_METADATA_TEXT: usize = 256;

pub(super) fn write(
    request: &Request<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let to = &to.for_format(request);
    let (system, turns) = turns(&request.messages, TurnRules { prefill: false })?;
    dropped.add_if(ends_in_prefill(&request.messages), "prefill");
    let plan = Plan::new(request, &turns, to, dropped);
    let settings = thinking::settings(request, to, plan.forced(), dropped);
    let facts = to.facts.converse;
    let params = ParamWriter { table: PARAMS, quirks: facts.params, request, sampling: settings.sampling };
    let mut inference = Vec::new();
    let mut config = ObjectWriter::begin(&mut inference).with_maybe("maxTokens", settings.max_tokens.as_ref());
    params.sampling(&mut config, dropped);
    config.end();

    let mut body = ObjectWriter::begin(out);
    let mut blocks = Blocks::new(to, dropped);
    blocks.messages(&turns, &mut body);
    blocks.system(&system, (plan.form == AnswerForm::Instructed).then_some(ANSWER_IN_JSON), &mut body);
    if inference != b"{}" {
        body.key("inferenceConfig").extend_from_slice(&inference);
    }
    plan.write(&mut body, to, dropped);
    // Claude's effort and format share one field in its own API: both must be written in the same field here.
    let beside_format = plan.form == AnswerForm::Native;
    let mut additional = Vec::new();
    let mut fields = ObjectWriter::begin(&mut additional);
    ParamWriter { table: facts.additional, quirks: &[], ..params }.rows(&mut fields, dropped);
    settings.think.write(beside_format, &mut fields);
    if plan.one_call {
        fields.object("tool_choice").with("type", "auto").with("disable_parallel_tool_use", &true);
    }
    fields.end();
    if additional != b"{}" {
        body.key("additionalModelRequestFields").extend_from_slice(&additional);
    }
    let effort = match settings.think {
        Think::Adaptive { effort, .. } => effort,
        Think::Answer(effort) => Some(effort),
        _ => None,
    };
    plan.write_output(&mut body, effort, to, dropped);
    metadata(request, &mut body, dropped);
    params.account(&mut body, dropped);
    body.end();
    Ok(())
}

/// Writes `requestMetadata`: the client's, and the id of the end user.
fn metadata(request: &Request<'_>, body: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    let mut entries: Vec<(&str, Text<'_>)> = Vec::new();
    let scanned = request.metadata.as_ref().map(|m: &Json<'_>| TopLevel::scan(m.get().as_bytes()));
    if let Some(Ok(top)) = &scanned {
        for member in top.members() {
            let value = member.as_str().filter(|value| fits_metadata(value));
            match value {
                Some(value) if !member.key_escaped && !member.key.is_empty() && fits_metadata(member.key) => {
                    entries.push((member.key, value.into()));
                }
                _ => dropped.add("metadata"),
            }
        }
    }
    dropped.add_if(matches!(scanned, Some(Err(_))) || entries.len() > MAX_METADATA, "metadata");
    entries.truncate(MAX_METADATA);
    if let Some(user) = &request.user {
        let id = user.decode();
        let long = id.len() > MAX_METADATA_TEXT;
        let id = if long { safe_id(&id, MAX_METADATA_TEXT, |b| b.is_ascii_alphanumeric()) } else { id };
        let fits = fits_metadata(&id) && entries.len() < MAX_METADATA;
        if fits && !entries.iter().any(|(key, _)| *key == "user") {
            entries.push(("user", Text::from(id.into_owned())));
        } else {
            dropped.add("user");
        }
    }
    if entries.is_empty() {
        return;
    }
    let mut object = body.object("requestMetadata");
    for (key, value) in &entries {
        write_value(object.key(key), value);
    }
}

/// Whether a text has only the characters that Bedrock accepts in metadata.
fn fits_metadata(text: &str) -> bool {
    text.len() <= MAX_METADATA_TEXT
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b":_@$#=/+,-.".contains(&b))
}
