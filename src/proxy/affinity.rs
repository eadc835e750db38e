//! Part of step 5: what the key of a request is made of, where its Backend chooses targets by a key.

use std::net::SocketAddr;

use http::request::Parts;

use super::{RequestRecord, classify::ClassifiedRequest, headers::client_credential};
use crate::{
    dialect::{StreamMode, text::prompt_prefix},
    snapshot::{HashPolicy, KeySource},
    upstream::balance::{AnswerKind, KeyHash},
};

/// The parts of a request that its key may be made of.
pub struct Affinity<'a> {
    pub request: &'a ClassifiedRequest,
    pub parts: &'a Parts,
    pub record: &'a RequestRecord,
}

impl KeySource for Affinity<'_> {
    fn hash(&self, policy: &HashPolicy) -> Option<u64> {
        match policy {
            HashPolicy::Header(name) => {
                // A header may come in several lines; all of them are its value.
                let mut values = self.parts.headers.get_all(name).iter().peekable();
                values.peek()?;
                let mut hash = KeyHash::default();
                values.for_each(|value| hash.write(value.as_bytes()));
                Some(hash.finish())
            }
            HashPolicy::Credential => {
                client_credential(&self.parts.headers, self.parts.uri.query()).map(|key| KeyHash::of(key.as_bytes()))
            }
            HashPolicy::PromptPrefix => {
                let endpoint = &self.request.api.endpoint;
                let dialect = endpoint.dialect().or_else(|| endpoint.inner_dialect())?;
                let top = self.request.body.as_ref()?.top()?;
                let mut hash = KeyHash::default();
                prompt_prefix(dialect, top, &mut |piece| hash.write(piece)).then(|| hash.finish())
            }
            HashPolicy::SourceIp => {
                let address: SocketAddr = self.record.client().parse().ok()?;
                Some(KeyHash::of(address.ip().to_string().as_bytes()))
            }
        }
    }

    fn answer(&self) -> AnswerKind {
        answer_kind(self.request)
    }
}

/// The kind of the answer that a request will have.
pub fn answer_kind(request: &ClassifiedRequest) -> AnswerKind {
    if request.api.stream == StreamMode::No { AnswerKind::Whole } else { AnswerKind::Stream }
}
