//! OpenAI's token counts. Lists of models are those of Chat Completions.

use super::Responses;
use crate::{
    dialect::{
        Destination, Endpoint,
        chat::operations::MODELS,
        operation::{self, Operations, models::ModelList},
    },
    stream::{TopLevel, json::ObjectWriter},
};

/// The fields that are counted. The endpoint refuses the others of a request.
const COUNTED: [&str; 9] = [
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
];

impl Operations for Responses {
    fn write_count(
        &self,
        written: &TopLevel<'_>,
        _to: &Destination<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        operation::copy(written, &COUNTED, out);
        Some(Endpoint::ResponseResource("input_tokens".to_owned()))
    }

    fn model_list(&self, _path: &str) -> &'static ModelList {
        MODELS
    }
}
