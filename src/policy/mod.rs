//! Policies: what a rule or a backend adds to the path of its requests.
//!
//! A policy is one folder here, with up to three parts:
//!
//! - a [`RequestPolicy`] is a step between classification and the choice of a target. It may change the request, or
//!   refuse it;
//! - a [`BodyPolicy`] edits the body that a target gets, in the target's dialect;
//! - a [`ReplyPolicy`] may change the head of every reply, and filter the text of replies on its way to the client.
//!
//! Compile builds the lists of each rule and backend: from filters of HTTPRoutes, and from TrafficPolicies by the list
//! [`FIELDS`]. The request path runs them in their order. An empty list is free.
//!
//! [`RequestPolicy`]: crate::policy::RequestPolicy
//! [`BodyPolicy`]: crate::policy::BodyPolicy
//! [`ReplyPolicy`]: crate::policy::ReplyPolicy
//! [`FIELDS`]: crate::policy::FIELDS

pub mod client_keys;
pub mod defaults;
pub mod enrichment;
pub mod findings;
pub mod header_modifier;
pub mod hedge;
pub mod identity;
pub mod priority;
pub mod prompt_guard;
pub mod retry;
pub mod route_type;
pub mod timeouts;
pub mod transformation;
pub mod unbuilt;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;

pub use self::findings::{Direction, Finding, Findings};
use self::{priority::RulePriority, retry::Retry, timeouts::Timeouts};
use crate::{
    api::traffic_policy::{ApiKeyAuth, TrafficPolicySpec},
    conversation::Invalid,
    dialect::{ApiRequest, Endpoint, ErrorClass, text::TextFilter},
};

/// A part of TrafficPolicy that Tollgate implements.
pub trait PolicyField: Sync {
    /// Whether `spec` has the top-level field that this part belongs to. Of several policies for one rule, the most
    /// specific one that has the field decides.
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool;

    /// What its author should know although the field is honoured.
    fn remark(&self, _spec: &TrafficPolicySpec) -> Option<String> {
        None
    }

    /// Adds the policies that `spec` configures to a rule. It is called only if nothing is invalid.
    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies);

    /// What in `spec` can't be honoured, though it asks for it: the policy is not accepted, and its rules are closed.
    fn invalid(&self, _spec: &TrafficPolicySpec) -> Vec<String> {
        Vec::new()
    }

    /// What in `spec` has no effect, and harms none: the status reports it.
    fn ineffective(&self, _spec: &TrafficPolicySpec) -> Vec<String> {
        Vec::new()
    }
}

/// Every part of TrafficPolicy that Tollgate implements, in the order in which policies are applied to a request.
pub const FIELDS: &[&dyn PolicyField] = &[
    &client_keys::ApiKeyAuthField,
    &route_type::RouteTypeField,
    &timeouts::TimeoutsField,
    &retry::RetryField,
    &priority::PriorityField,
    &transformation::TransformationField,
    // Guards see what the client wrote, before anything is added.
    &prompt_guard::PromptGuardField,
    // Enrichment adds to fields that defaults set.
    &defaults::DefaultsField,
    &enrichment::EnrichmentField,
];

/// The combined result of the TrafficPolicies of one rule.
#[derive(Default)]
pub struct RulePolicies {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Retries.
    pub retry: Option<Retry>,
    /// The place among requests that wait.
    pub priority: RulePriority,
    /// How clients are authenticated, if they are.
    pub api_key_auth: Option<ApiKeyAuth>,
    /// Whether the route's requests stream where neither path nor body decides.
    pub streams: bool,
    /// Steps of the request, and policies of the reply.
    pub policies: Policies,
}

/// The policies of a rule, or of a backend as a rule uses it.
#[derive(Default)]
pub struct Policies {
    /// Steps of the request, in their order.
    pub request: Vec<Box<dyn RequestPolicy>>,
    /// Edits of the body for each target, in their order.
    pub body: Vec<Box<dyn BodyPolicy>>,
    /// Policies of the reply, in their order.
    pub reply: Vec<Box<dyn ReplyPolicy>>,
}

impl Policies {
    /// These policies, followed by `next`.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.request.extend(next.request);
        self.body.extend(next.body);
        self.reply.extend(next.reply);
        self
    }
}

/// The parts of a request that a policy can see.
pub struct PolicyRequest<'a> {
    /// The headers, which the policy may change.
    pub headers: &'a mut HeaderMap,
    /// The part of `headers` that policies have set or added. It is forwarded to a provider although no list has the
    /// names.
    pub added: &'a mut HeaderMap,
    /// The operation of a request to an LLM provider; absent for plain servers.
    pub api: Option<&'a ApiRequest>,
    /// The whole body of a request to an LLM provider. A policy that changes it stores the new one here.
    pub body: Option<Bytes>,
    /// The model that a policy has chosen in place of the client's.
    pub model: Option<String>,
    /// Where policies of content record what they have found.
    pub findings: &'a Findings,
}

/// Why a policy refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status: 4xx or 5xx, or any from 200 with [`RefusalForm::GuardedText`].
    pub status: u16,
    /// The class, for the dialects' error types.
    pub class: ErrorClass,
    /// The message for the client. It never contains an internal name, address or secret.
    pub message: String,
    /// The message for the log.
    pub cause: String,
    /// The form of the reply.
    pub form: RefusalForm,
}

/// The form of the reply to a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalForm {
    /// An error of the client's dialect.
    Error,
    /// An error of the client's dialect with the code [`GUARDED`].
    Guarded,
    /// The message alone, as plain text: the user wrote it. It counts as [`GUARDED`].
    GuardedText,
}

/// The code of errors for content that a policy does not let pass.
pub const GUARDED: &str = "guarded";

/// The result of a step.
pub type PolicyFuture<'a> = BoxFuture<'a, Result<(), Refusal>>;

/// A step of the request.
pub trait RequestPolicy: Send + Sync {
    /// Changes the request, or refuses it.
    ///
    /// # Errors
    /// When the policy refuses the request.
    fn apply<'a>(&'a self, request: &'a mut PolicyRequest<'_>) -> PolicyFuture<'a>;
}

/// A policy of the body that a target gets.
pub trait BodyPolicy: Send + Sync {
    /// The new body of a request to `endpoint`, which is the target's after a translation. Bodies that are none of its
    /// concern are returned as they are, not copied. The body of a request to count tokens is the client's.
    ///
    /// # Errors
    /// When a field that it edits has an unknown form, which the client can mend.
    fn edit(&self, endpoint: &Endpoint, body: &Bytes) -> Result<Bytes, Invalid>;
}

/// A policy of the reply.
pub trait ReplyPolicy: Send + Sync {
    /// Changes the headers of a reply. It is called for replies of backends and for those that the gateway makes.
    fn head(&self, _headers: &mut HeaderMap) {}

    /// The filter of the text of a model's answer, if this policy has one. It works on decoded text: buffered and
    /// streaming, spliced and translated alike.
    ///
    /// `findings` are those of the request.
    fn text_filter(&self, _findings: &Findings) -> Option<Arc<dyn TextFilter>> {
        None
    }
}
