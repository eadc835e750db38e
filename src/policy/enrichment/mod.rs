//! `spec.ai.promptEnrichment`: messages that are added to every conversation.
//!
//! They are added to the body that a target gets, so guards see what the client wrote, and a field that `defaults` sets
//! is added to as well. [`dialect::enrichment`](crate::dialect::enrichment) has their places in each dialect.

use bytes::Bytes;

use super::{BodyPolicy, PolicyField, RulePolicies};
use crate::{
    api::traffic_policy::{AiPolicy, PromptMessage, TrafficPolicySpec},
    conversation::{Invalid, Role},
    dialect::{
        Endpoint,
        enrichment::{AddedMessage, Enrichment},
    },
};

/// The field.
pub struct EnrichmentField;

impl PolicyField for EnrichmentField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.ai.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let Some(written) = spec.ai.as_ref().and_then(|ai| ai.prompt_enrichment.as_ref()) else { return };
        let added = Enrichment { prepend: messages(&written.prepend), append: messages(&written.append) };
        if !added.is_empty() {
            rule.policies.body.push(Box::new(added));
        }
    }

    fn invalid(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        let unknown = |place: &String, message: &PromptMessage| {
            role(&message.role).is_none().then(|| {
                format!("{place}.role: '{}' is none of system, developer, user, assistant and model", message.role)
            })
        };
        written(spec).filter_map(|(place, message)| unknown(&place, message)).collect()
    }

    fn ineffective(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        let blank = written(spec).filter(|(_, message)| message.content.trim().is_empty());
        blank.map(|(place, _)| format!("{place}.content is empty, so the message is left out")).collect()
    }
}

impl BodyPolicy for Enrichment {
    fn edit(&self, endpoint: &Endpoint, body: &Bytes) -> Result<Bytes, Invalid> {
        self.apply(endpoint, body)
    }
}

/// Every message with its place in the manifest.
fn written(spec: &TrafficPolicySpec) -> impl Iterator<Item = (String, &PromptMessage)> {
    let enrichment = spec.ai.iter().filter_map(|ai: &AiPolicy| ai.prompt_enrichment.as_ref());
    enrichment.flat_map(|both| [("prepend", &both.prepend), ("append", &both.append)]).flat_map(|(list, messages)| {
        let place = move |index| format!("ai.promptEnrichment.{list}[{index}]");
        messages.iter().enumerate().map(move |(index, message)| (place(index), message))
    })
}

fn messages(written: &[PromptMessage]) -> Vec<AddedMessage> {
    let readable = written.iter().filter(|message| !message.content.trim().is_empty());
    readable.filter_map(|m| Some(AddedMessage { role: role(&m.role)?, text: m.content.clone() })).collect()
}

/// A role by its name in any dialect and any case.
fn role(name: &str) -> Option<Role> {
    match name.trim().to_ascii_lowercase().as_str() {
        "system" | "developer" => Some(Role::System),
        "user" => Some(Role::User),
        "assistant" | "model" => Some(Role::Assistant),
        _ => None,
    }
}
