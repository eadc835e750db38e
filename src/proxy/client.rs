//! Between steps 2 and 3: which client sends the request, where its rule requires a key.
//!
//! | | |
//! | --- | --- |
//! | has happened | the rule is chosen; the body was not read, unless the model has chosen the rule |
//! | may read | the head |
//! | may change | the places of the key, which no provider may get |
//! | ends the request | with 401, and with 403 where the client may not request the model |

use std::sync::Arc;

use http::request::Parts;

use super::{ErrorKind, ProxyError, RequestRecord};
use crate::{
    dialect::ApiRequest,
    policy::{
        client_keys::{Authenticated, Unauthenticated},
        identity::{Forbidden, Identity},
    },
    snapshot::Rule,
};

/// The client of a request, where `rule` requires one.
///
/// # Errors
/// When the request has no valid key.
pub fn authenticate(
    rule: &Rule,
    parts: &Parts,
    record: &mut RequestRecord,
) -> Result<Option<Authenticated>, ProxyError> {
    let Some(keys) = &rule.client_keys else { return Ok(None) };
    let client = keys.authenticate(parts).map_err(|why| {
        let (message, cause) = match why {
            Unauthenticated::Missing => ("this gateway needs a key", "the request has no key"),
            Unauthenticated::Unknown => ("this key is not valid here", "no client has this key"),
            Unauthenticated::Ambiguous => ("send one key", "the request has keys of several clients"),
        };
        ProxyError::with_cause(ErrorKind::InvalidApiKey, message, cause)
    })?;
    record.identified(&client.identity);
    Ok(Some(client))
}

/// Removes the client's key from its request, and names the client to a plain server.
pub fn hide(client: Option<&Authenticated>, rule: &Rule, is_plain: bool, parts: &mut Parts) {
    if let (Some(client), Some(keys)) = (client, &rule.client_keys) {
        keys.hide(client, is_plain, parts);
    }
}

/// Refuses a request for a model that is not one of the client's.
///
/// # Errors
/// When it is none.
pub fn check(client: Option<&Arc<Identity>>, request: &ApiRequest) -> Result<(), ProxyError> {
    client.map_or(Ok(()), |client| client.check(request)).map_err(|why| match why {
        // As for models that do not exist: the list does not have it.
        Forbidden::Model(model) if !request.endpoint.has_body() => ProxyError::unknown_model(model),
        why => forbidden(why),
    })
}

/// Refuses a request to a plain server for a model that is not one of the client's. The model is known only where it
/// has chosen the rule; a client with a list gets no further without it.
///
/// # Errors
/// When it is none.
pub fn check_plain(client: Option<&Arc<Identity>>, model: Option<&str>) -> Result<(), ProxyError> {
    client.map_or(Ok(()), |client| client.check_model(model)).map_err(forbidden)
}

fn forbidden(why: Forbidden<'_>) -> ProxyError {
    let message = match why {
        Forbidden::Model(_) => "this key is not for this model",
        Forbidden::Unnamed => "name a model: this key is for some models",
    };
    ProxyError::new(ErrorKind::ModelNotAllowed, message)
}
