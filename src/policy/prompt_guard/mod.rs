//! `spec.ai.promptGuard`: content that is masked or refused, in prompts and in replies.
//!
//! Built is `regex`, for both directions. Webhooks and moderation are in `policy::unbuilt`.

mod filter;
mod rules;
mod trial;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tollgate_guards::GuardSet;

use self::{filter::GuardFilter, rules::compiled};
use super::{
    Direction, Findings, GUARDED, PolicyField, PolicyFuture, PolicyRequest, Refusal, RefusalForm, ReplyPolicy,
    RequestPolicy, RulePolicies,
};
use crate::{
    api::traffic_policy::{CustomResponse, GuardScope, PromptGuard, Regex, TrafficPolicySpec},
    conversation::{ErrorClass, Failure},
    dialect::{
        ApiRequest, Endpoint, TextPlaces,
        text::{BodyKind, FilterChain, TextFilter, TextKind, filter_body},
    },
    stream::{TopLevel, ValueKind},
};

pub use trial::{Trial, try_texts};

/// The field.
pub struct PromptGuardField;

impl PolicyField for PromptGuardField {
    /// A more specific policy that sets other fields of `ai` leaves the guard where it is: protection adds up.
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        guard_of(spec).is_some()
    }

    fn invalid(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        let invalid = parts(spec).filter_map(|(direction, regex)| {
            let error = compiled(regex, direction).err()?;
            Some(format!("ai.promptGuard.{}.regex: {error}", direction.as_str()))
        });
        invalid.collect()
    }

    fn remark(&self, spec: &TrafficPolicySpec) -> Option<String> {
        let remarks = parts(spec).filter_map(|(direction, regex)| {
            let set = compiled(regex, direction).ok()?;
            let field = format!("ai.promptGuard.{}.regex", direction.as_str());
            if set.is_empty() {
                return Some(format!("{field} has neither matches nor builtins, so it matches nothing"));
            }
            let unbounded: Vec<&str> = set.unbounded().collect();
            (direction == Direction::Response && !unbounded.is_empty()).then(|| {
                let names = unbounded.join(", ");
                format!("{field}: matches of {names} have no longest length, so streams may be held for long")
            })
        });
        let remarks: Vec<String> = remarks.collect();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        for (direction, regex) in parts(spec) {
            let Ok(set) = compiled(regex, direction) else { continue };
            if set.is_empty() {
                continue;
            }
            let guard = Guard { set, scope: Scope::of(regex) };
            match direction {
                Direction::Request => {
                    let custom = guard_of(spec).and_then(|guard| guard.request.as_ref()?.custom_response.clone());
                    rule.policies.request.push(Box::new(RequestGuard { guard, custom }));
                }
                Direction::Response => rule.policies.reply.push(Box::new(ReplyGuard(guard))),
            }
        }
    }
}

fn guard_of(spec: &TrafficPolicySpec) -> Option<&PromptGuard> {
    spec.ai.as_ref()?.prompt_guard.as_ref()
}

/// The parts of the field that are built here.
fn parts(spec: &TrafficPolicySpec) -> impl Iterator<Item = (Direction, &Regex)> {
    let guard = guard_of(spec);
    let request = guard.and_then(|guard| guard.request.as_ref()?.regex.as_ref());
    let response = guard.and_then(|guard| guard.response.as_ref()?.regex.as_ref());
    [(Direction::Request, request), (Direction::Response, response)]
        .into_iter()
        .filter_map(|(direction, regex)| Some((direction, regex?)))
}

/// What is looked for, and in which texts.
#[derive(Clone)]
struct Guard {
    set: Arc<GuardSet>,
    scope: Scope,
}

impl Guard {
    fn filter(&self, direction: Direction, findings: &Findings) -> Arc<dyn TextFilter> {
        Arc::new(GuardFilter { guard: self.clone(), direction, findings: findings.clone() })
    }
}

/// Which texts are guarded.
#[derive(Clone)]
struct Scope(Arc<[GuardScope]>);

impl Scope {
    /// As it is written; without it everything but arguments of tools, which are data for a program.
    fn of(regex: &Regex) -> Self {
        if regex.scope.is_empty() {
            return Self(Arc::new([GuardScope::SystemPrompt, GuardScope::Messages, GuardScope::ToolOutput]));
        }
        Self(regex.scope.clone().into())
    }

    fn covers(&self, kind: TextKind) -> bool {
        self.0.contains(&match kind {
            TextKind::System => GuardScope::SystemPrompt,
            TextKind::Arguments => GuardScope::ToolInput,
            TextKind::ToolResult => GuardScope::ToolOutput,
            TextKind::User
            | TextKind::Assistant
            | TextKind::Answer
            | TextKind::Refusal
            | TextKind::Reasoning
            | TextKind::Summary
            | TextKind::Citation => GuardScope::Messages,
        })
    }
}

/// The guard of prompts.
struct RequestGuard {
    guard: Guard,
    custom: Option<CustomResponse>,
}

impl RequestPolicy for RequestGuard {
    fn apply<'a>(&'a self, request: &'a mut PolicyRequest<'_>) -> PolicyFuture<'a> {
        let checked = match (request.api, &request.body) {
            (Some(api), Some(body)) if !body.is_empty() => {
                self.check(api, body, request.findings).map(|body| request.body = Some(body))
            }
            // A plain server's body passes through unread: it is no prompt.
            _ => Ok(()),
        };
        std::future::ready(checked).boxed()
    }
}

impl RequestGuard {
    /// The body with its matches masked.
    fn check(&self, api: &ApiRequest, body: &Bytes, findings: &Findings) -> Result<Bytes, Refusal> {
        let dialect = match api.endpoint.request_text() {
            TextPlaces::Nowhere => return Ok(body.clone()),
            TextPlaces::In(dialect) => dialect,
            TextPlaces::Unknown => {
                let message = "requests of this endpoint can't be checked, which this route requires";
                return Err(guarded(403, message, "the places of text in the endpoint's requests are not known"));
            }
        };
        if matches!(api.endpoint, Endpoint::Completions | Endpoint::Embeddings) && has_token_ids(body) {
            let message = "token ids can't be checked, which this route requires: send text";
            return Err(Refusal {
                class: ErrorClass::InvalidRequest,
                ..guarded(400, message, "the prompt consists of token ids")
            });
        }
        let chain = FilterChain::new(vec![self.guard.filter(Direction::Request, findings)]);
        filter_body(dialect, BodyKind::Request, body, &chain).map_err(|failure| self.refusal(&failure))
    }

    fn refusal(&self, failure: &Failure<'_>) -> Refusal {
        let cause = failure.message.clone().into_owned();
        match (&self.custom, failure.code.as_deref()) {
            (Some(CustomResponse { message, status_code }), Some(GUARDED)) => {
                Refusal { form: RefusalForm::GuardedText, ..guarded(*status_code, message, &cause) }
            }
            (None, Some(GUARDED)) => guarded(failure.status, &failure.message, &cause),
            // The body has more texts than are looked at.
            _ => Refusal { class: ErrorClass::InvalidRequest, ..guarded(400, &cause, &cause) },
        }
    }
}

fn guarded(status: u16, message: &str, cause: &str) -> Refusal {
    Refusal {
        status,
        class: ErrorClass::Permission,
        message: message.into(),
        cause: cause.into(),
        form: RefusalForm::Guarded,
    }
}

/// Whether the prompt is given as numbers instead of text.
fn has_token_ids(body: &[u8]) -> bool {
    let Ok(top) = TopLevel::scan(body) else { return false };
    let is_number = |value: &[u8]| {
        let first = value.iter().find(|byte| !matches!(byte, b'[' | b' ' | b'\n' | b'\r' | b'\t'));
        first.is_some_and(u8::is_ascii_digit)
    };
    ["prompt", "input"]
        .iter()
        .any(|field| top.all(field).any(|field| field.kind == ValueKind::Array && is_number(field.value)))
}

/// The guard of replies.
struct ReplyGuard(Guard);

impl ReplyPolicy for ReplyGuard {
    fn text_filter(&self, findings: &Findings) -> Option<Arc<dyn TextFilter>> {
        Some(self.0.filter(Direction::Response, findings))
    }
}
