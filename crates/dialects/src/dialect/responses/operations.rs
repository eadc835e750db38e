//! OpenAI's token counts. Lists of models are those of Chat Completions.

use bytes::Bytes;

use super::Responses;
use crate::{
    conversation::Invalid,
    dialect::{
        Destination, DialectId, Endpoint,
        chat::operations::MODELS,
        operation::{
            self, CountedRequest, EditConversation, OperationError, OperationPlan, Operations, models::ModelList,
        },
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
    fn read_count(&self, body: &TopLevel<'_>, counted: CountedRequest<'_>) -> Result<OperationPlan, OperationError> {
        counted(DialectId::Responses, body)
    }

    fn edit_counted(&self, body: &Bytes, edit: EditConversation<'_>) -> Result<Bytes, Invalid> {
        edit(DialectId::Responses, body)
    }

    fn count_object(&self) -> Option<&'static str> {
        Some("response.input_tokens")
    }

    fn write_count(
        &self,
        written: &TopLevel<'_>,
        _to: &Destination<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        operation::copy(written, &COUNTED, out);
        Some(Endpoint::CountResponseTokens)
    }

    fn model_list(&self, _path: &str) -> &'static ModelList {
        MODELS
    }
}
