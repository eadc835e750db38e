//! What has to change in a request that stays in the client's dialect: settings for a model that replaces the client's,
//! and what the target's server refuses of the dialect.

use super::{
    encode::ClientRequest,
    translate::{self, Translation},
};
use crate::{
    dialect::{
        Destination, DialectId, ModelFacts, OpenAiApi,
        adapt::{Adapted, adapt, has_settings},
    },
    provider::{Refusal, TranslationNeeds},
    snapshot::Target,
    stream::TopLevel,
};

impl ClientRequest<'_, '_> {
    /// The changes to a request for `target`, whose model was resolved to `model`.
    ///
    /// # Errors
    /// When the provider serves this model in another API only, which it has beside the client's.
    pub fn adapt(&self, target: &Target, model: Option<&str>, top: &TopLevel<'_>) -> Result<Adapted, Refusal> {
        let endpoint = &self.api_request.endpoint;
        let counted = endpoint.counted_dialect();
        let Some(dialect) = endpoint.dialect().or(counted) else { return Ok(Adapted::default()) };
        // Reading such a body would take too much memory.
        if top.values() > translate::MAX_VALUES {
            return Ok(Adapted::default());
        }
        let asked = self.asked(model);
        // What a client writes for a model that it names itself is its own choice.
        let facts = if asked.is_some() { target.models.facts(model) } else { ModelFacts::PLAIN };
        let tools = asked.is_some() && dialect.dialect().offers_tools(top);
        let needs = TranslationNeeds { model, facts, tools, hosted: false };
        let Some((to, quirks)) = target.provider.translation(&needs) else { return Ok(Adapted::default()) };
        let destination = Destination { model: model.unwrap_or_default(), facts, quirks };
        let mut adapted = Adapted::default();
        if let Some(asked) = asked.map(|asked| target.models.facts_of_name(asked))
            // Nothing is known of a deployment with a name of its own, so nothing is taken from its requests. And models
            // may differ in more than the facts.
            && facts != ModelFacts::PLAIN
            && (facts != asked || has_settings(dialect, top))
        {
            if self.needs_responses(dialect, to, &needs) {
                return Err(Refusal::Translation);
            }
            adapted = adapt(dialect, top, asked, &destination);
            if counted.is_some() {
                // Endpoints that count refuse fields that only an answer needs.
                adapted.edits.retain(|(name, _)| top.contains(name));
            }
        }
        let edits = dialect.dialect().fit(top, &destination, &mut adapted.dropped);
        adapted.edits.extend(edits.into_iter().map(|(name, value)| (name.to_owned(), value.map(Into::into))));
        Ok(adapted)
    }

    /// Whether the model that replaces the client's serves this in Responses only, though its provider has the client's
    /// API too.
    pub fn needs_responses(&self, dialect: DialectId, to: DialectId, needs: &TranslationNeeds<'_>) -> bool {
        let elsewhere = to != dialect && to.shares_api(dialect) && needs.openai_api() == OpenAiApi::Responses;
        elsewhere && self.asked(needs.model).is_some()
    }

    /// The model that the client asks for, if it gets another one.
    fn asked(&self, model: Option<&str>) -> Option<&str> {
        self.api_request.model.as_deref().filter(|asked| model.is_some_and(|model| model != *asked))
    }

    /// The model that the reply is to name instead of its own.
    pub fn shown_model(&self, model: Option<&str>) -> Option<String> {
        let compares = self.api_request.endpoint.dialect().is_some_and(|dialect| dialect.dialect().compares_models());
        self.asked(model).filter(|_| compares).map(ToOwned::to_owned)
    }

    /// The translation of the provider's errors, if it uses the client's dialect but has another form of errors.
    pub fn errors(&self, target: &Target, model: Option<&str>) -> Option<Box<Translation>> {
        let from = target.provider.info().dialect;
        let to = self.api_request.endpoint.dialect()?;
        if from.shares_api(self.api_request.dialect) && !target.provider.has_foreign_errors() {
            return None;
        }
        let head = translate::head(self.api_request, model.unwrap_or_default(), false);
        Some(Box::new(Translation::of_errors(from, to, head)))
    }
}
