//! Who a client is, once it is authenticated: what later steps, the log and lists of models share.

use std::sync::Arc;

use crate::{
    dialect::{ApiRequest, Endpoint},
    provider::ModelNames,
};

/// An authenticated client.
#[derive(Debug)]
pub struct Identity {
    /// Its name in logs: the namespace and name of its Secret, and the entry there.
    pub name: Arc<str>,
    /// The entry, which plain servers get.
    pub id: Arc<str>,
    /// The models that it may request; `None` is every one.
    pub models: Option<ModelNames>,
}

/// What an identity may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden<'a> {
    /// Request this model.
    Model(&'a str),
    /// Send a request of which the model is not known.
    Unnamed,
}

impl Identity {
    /// Whether it may request `model`.
    pub fn may_request(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.fit(model).is_some())
    }

    /// Whether it may send `request`.
    ///
    /// # Errors
    /// When the model of the request is not one of its own.
    pub fn check<'a>(&self, request: &'a ApiRequest) -> Result<(), Forbidden<'a>> {
        match &request.endpoint {
            // The list is filtered.
            Endpoint::Models(None) => Ok(()),
            Endpoint::Models(Some(id)) => self.check_model(Some(id)),
            // Of a stored response neither the model is known, nor the client that has it.
            _ => self.check_model(request.model.as_deref()),
        }
    }

    /// Whether it may send a request for `model`, which is `None` where none is known.
    ///
    /// # Errors
    /// When it is not one of its own.
    pub fn check_model<'a>(&self, model: Option<&'a str>) -> Result<(), Forbidden<'a>> {
        match model {
            _ if self.models.is_none() => Ok(()),
            Some(model) if self.may_request(model) => Ok(()),
            Some(model) => Err(Forbidden::Model(model)),
            None => Err(Forbidden::Unnamed),
        }
    }
}
