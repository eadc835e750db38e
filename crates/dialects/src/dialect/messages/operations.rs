//! Anthropic's token counts and lists of models.

use bytes::Bytes;

use super::Messages;
use crate::{
    conversation::Invalid,
    dialect::{
        Destination, DialectId, Endpoint,
        operation::{
            self, CountedRequest, EditConversation, OperationError, OperationPlan, Operations,
            models::{Model, ModelList},
        },
    },
    stream::{TopLevel, json::ObjectWriter},
};

/// The fields that are counted. The endpoint may refuse the others of a request.
const COUNTED: [&str; 6] = ["system", "messages", "tools", "tool_choice", "thinking", "output_config"];
/// Anthropic's value for a date that is not known.
const NO_DATE: &str = "1970-01-01T00:00:00Z";

/// Anthropic's lists of models.
const MODELS: &ModelList = &ModelList {
    field: "data",
    head: |_| {},
    model: |model, object| {
        object.field("type", "model");
        object.field("id", &model.id);
        object.field("display_name", &model.id);
        object.field("created_at", NO_DATE);
    },
    tail: |models, top| {
        let id = |model: Option<&Model>| model.map(|model| model.id.clone());
        top.field("has_more", &false);
        top.field("first_id", &id(models.first()));
        top.field("last_id", &id(models.last()));
    },
};

impl Operations for Messages {
    fn read_count(&self, body: &TopLevel<'_>, counted: CountedRequest<'_>) -> Result<OperationPlan, OperationError> {
        counted(DialectId::Messages, body)
    }

    fn edit_counted(&self, body: &Bytes, edit: EditConversation<'_>) -> Result<Bytes, Invalid> {
        edit(DialectId::Messages, body)
    }

    fn write_count(
        &self,
        written: &TopLevel<'_>,
        to: &Destination<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        out.field("model", to.model);
        out.maybe("anthropic_version", to.quirks.messages.body_version);
        operation::copy(written, &COUNTED, out);
        Some(Endpoint::CountMessageTokens)
    }

    fn models_query(&self) -> Option<&'static str> {
        Some("limit=1000")
    }

    fn model_list(&self, _path: &str) -> &'static ModelList {
        MODELS
    }
}
