//! `spec.ai.defaults`: values for fields of the body that a target gets, in the target's dialect.
//!
//! A field is a name at the top level, or a JSON pointer (`/generationConfig/maxOutputTokens`), which reaches the
//! settings of Gemini and Bedrock. The model is a setting of the gateway too, so it is replaced before a target is
//! chosen.

mod entry;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures_util::future::{self, FutureExt};

use self::entry::Entry;
use super::{BodyPolicy, PolicyField, PolicyFuture, PolicyRequest, RequestPolicy, RulePolicies};
use crate::{
    api::traffic_policy::{FieldDefault, TrafficPolicySpec},
    conversation::Invalid,
    dialect::{BedrockVerb, DialectId, Endpoint},
    stream::{Member, Splice, TopLevel},
};

/// The field with the model.
const MODEL: &str = "model";
/// Fields that the gateway itself depends on, and why they can't be set.
const OWN: [(&str, &str); 3] = [
    ("stream", "whether a reply streams is the client's choice, and it could not read another one"),
    ("stream_options", "the gateway sets it where it counts tokens"),
    ("contents", "it is the conversation"),
];

/// The field.
pub struct DefaultsField;

impl PolicyField for DefaultsField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.ai.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let entries = written(spec).iter().filter_map(|written| Entry::new(written).ok());
        let (model, mut entries): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.field() == MODEL);
        // The last override takes precedence, and of defaults the first.
        let chosen = model.iter().rev().find(|entry| entry.overrides).or(model.first());
        if let Some((name, overrides)) = chosen.and_then(|entry| Some((entry.text()?, entry.overrides))) {
            rule.policies.request.push(Box::new(Model { name, overrides }));
        }
        if !entries.is_empty() {
            // As in kgateway: what is overridden is no longer missing.
            entries.sort_by_key(|entry| !entry.overrides);
            rule.policies.body.push(Box::new(Defaults { entries }));
        }
    }

    fn invalid(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        let problems = written(spec).iter().enumerate().filter_map(|(index, written)| {
            let why = match Entry::new(written) {
                Err(why) => why,
                Ok(entry) if entry.field() == MODEL => {
                    entry.text().is_none().then(|| "the model is not a name".to_owned())?
                }
                Ok(entry) => {
                    let (field, why) = OWN.iter().find(|(field, _)| *field == entry.field())?;
                    format!("{field} can't be set: {why}")
                }
            };
            Some(format!("ai.defaults[{index}]: {why}"))
        });
        problems.collect()
    }
}

fn written(spec: &TrafficPolicySpec) -> &[FieldDefault] {
    spec.ai.as_ref().map(|ai| ai.defaults.as_slice()).unwrap_or_default()
}

/// Values for fields of bodies: first those that override the client's, then those for missing fields.
struct Defaults {
    entries: Vec<Entry>,
}

impl BodyPolicy for Defaults {
    fn edit(&self, endpoint: &Endpoint, body: &Bytes) -> Result<Bytes, Invalid> {
        let Some(scope) = Scope::of(endpoint) else { return Ok(body.clone()) };
        let top = TopLevel::scan(body).map_err(|error| Invalid::new("", error.to_string()))?;
        // The fields that are set so far.
        let mut set: Vec<(String, Bytes)> = Vec::new();
        for entry in self.entries.iter().filter(|entry| scope.has(entry.field())) {
            let field = entry.field();
            let client = top.members().iter().rev().find(|member| scope.is_field(&member.name(), field));
            let name = client.map_or(field.into(), Member::name);
            let before = set.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
            let before = before.or(client.map(|member| member.value));
            if let Some(value) = entry.set(before, &|name, field| scope.is_field(name, field)) {
                match set.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, old)) => *old = value,
                    None => set.push((name.into_owned(), value)),
                }
            }
        }
        let mut splice = Splice::new(&top);
        splice.remove_variants(&set.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        for (name, value) in &set {
            splice.set(name.as_str(), &**value);
        }
        Ok(splice.apply(body))
    }
}

/// The fields of a body that are set.
struct Scope {
    dialect: DialectId,
    /// Only instructions, because the tokens of the body are counted: an endpoint that counts refuses the settings of
    /// an answer.
    counted: bool,
}

impl Scope {
    /// `None` for bodies that a model does not answer.
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let answered = endpoint.dialect().or(endpoint.inner_dialect()).or(match endpoint {
            Endpoint::Completions => Some(DialectId::Chat),
            Endpoint::Bedrock(BedrockVerb::Invoke | BedrockVerb::InvokeStream, _) => Some(DialectId::Converse),
            _ => None,
        });
        let dialect = answered.or(endpoint.counted_dialect())?;
        Some(Self { dialect, counted: answered.is_none() })
    }

    fn has(&self, field: &str) -> bool {
        let instructions = self.dialect.dialect().prompt_places().system.field();
        !self.counted || instructions.is_some_and(|instructions| self.is_field(field, instructions))
    }

    fn is_field(&self, name: &str, field: &str) -> bool {
        self.dialect.dialect().is_field(name, field)
    }
}

/// The model of requests that name none, or of all requests.
struct Model {
    name: String,
    overrides: bool,
}

impl RequestPolicy for Model {
    fn apply<'a>(&'a self, request: &'a mut PolicyRequest<'_>) -> PolicyFuture<'a> {
        let applies =
            request.api.is_some_and(|api| api.endpoint.generates() && (self.overrides || api.model.is_none()));
        if applies {
            request.model = Some(self.name.clone());
        }
        future::ready(Ok(())).boxed()
    }
}
