//! The meaning of a provider's reply: of its status, its error's code and type, and its body.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::{MIN_WAIT, Meaning, Verdict, wait};
use crate::{
    conversation::Failure,
    dialect::{DialectId, ErrorClass},
};

/// The codes of a model that is not there.
const MODEL_MISSING: [&str; 2] = ["model_not_found", "DeploymentNotFound"];

impl Verdict {
    /// The meaning of a reply with this status, these headers and the beginning of its body, in this dialect.
    /// `own_key` states whether the request had the gateway's key and not the client's. `None` for a reply that is no
    /// error.
    pub fn of_reply(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        dialect: DialectId,
        own_key: bool,
        now: SystemTime,
    ) -> Option<Self> {
        if !(status.is_client_error() || status.is_server_error()) {
            return None;
        }
        let dialect = dialect.dialect();
        let with_type = dialect.with_error_type(headers, body);
        let failure = dialect.read_error(status.as_u16(), with_type.as_deref().unwrap_or(body));
        let meaning = meaning(status.as_u16(), &failure);
        let of_clients_key = !own_key;
        let meaning = match meaning {
            Meaning::Credential | Meaning::Permission if of_clients_key => Meaning::Client,
            Meaning::Quota if of_clients_key && status != StatusCode::TOO_MANY_REQUESTS => Meaning::Client,
            meaning => meaning,
        };
        let ceiling = meaning.row().cooldown.map_or(Duration::ZERO, |cooldown| cooldown.named);
        let is_limit = matches!(meaning, Meaning::Rate | Meaning::Quota);
        let named = || {
            let in_body = || failure.retry_after.map(Duration::from_secs);
            let reset = || if is_limit { wait::reset(headers, now) } else { None };
            wait::retry_after(headers, now).or_else(in_body).or_else(reset)
        };
        let wait = if ceiling.is_zero() { None } else { named().map(|wait| wait.clamp(MIN_WAIT, ceiling)) };
        Some(Self { meaning, wait, of_clients_key })
    }

    /// The meaning of an error that comes inside a reply with a good status. `own_key` as for a reply.
    pub fn of_error_inside(class: ErrorClass, own_key: bool) -> Self {
        let of_clients_key = !own_key;
        let meaning = match of_class(class) {
            Meaning::Credential | Meaning::Permission if of_clients_key => Meaning::Client,
            meaning => meaning,
        };
        Self { meaning, wait: None, of_clients_key }
    }
}

fn meaning(status: u16, failure: &Failure<'_>) -> Meaning {
    match class(status, failure.class) {
        ErrorClass::NotFound if is_about_the_model(failure) => Meaning::ModelMissing,
        ErrorClass::InvalidRequest if status == 409 => Meaning::Conflict,
        ErrorClass::InvalidRequest if failure.code.as_deref() == Some("content_filter") => Meaning::Content,
        class => of_class(class),
    }
}

const fn of_class(class: ErrorClass) -> Meaning {
    match class {
        ErrorClass::RateLimit => Meaning::Rate,
        ErrorClass::Quota => Meaning::Quota,
        ErrorClass::Authentication => Meaning::Credential,
        ErrorClass::Permission => Meaning::Permission,
        ErrorClass::Timeout => Meaning::Timeout,
        ErrorClass::Unavailable => Meaning::Overload,
        ErrorClass::Internal | ErrorClass::BadGateway => Meaning::Broken,
        ErrorClass::NotImplemented => Meaning::Unsupported,
        ErrorClass::InvalidRequest | ErrorClass::NotFound | ErrorClass::TooLarge => Meaning::Client,
    }
}

/// The class of the error, or that of the status where the two contradict each other: a body must not make a failure of
/// the provider one of the client.
fn class(status: u16, named: ErrorClass) -> ErrorClass {
    use ErrorClass as C;
    let is_consistent = match status {
        408 => false,
        429 => matches!(named, C::RateLimit | C::Quota | C::Unavailable),
        500.. => !matches!(named, C::InvalidRequest | C::NotFound | C::TooLarge | C::Authentication | C::Permission),
        _ => true,
    };
    if is_consistent { named } else { ErrorClass::of_status(status) }
}

/// Whether what was not found is the model, and not an endpoint or a stored object.
fn is_about_the_model(failure: &Failure<'_>) -> bool {
    let names_it = || {
        let words = failure.message.split(|c: char| !c.is_alphanumeric());
        words
            .into_iter()
            .any(|word| ["model", "models", "deployment"].iter().any(|name| word.eq_ignore_ascii_case(name)))
    };
    match &failure.code {
        Some(code) => MODEL_MISSING.contains(&&**code),
        None => names_it(),
    }
}
