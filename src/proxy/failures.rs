//! Part of step 5: the attempts of one request that have failed, and what of them the client gets when all have.

use http::StatusCode;
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError, RequestRecord,
    first::{Gate, Measure},
    select::Answer,
    send::UpstreamReply,
};
use crate::{
    snapshot::Target,
    upstream::{
        balance::{AttemptOutcome, Wait},
        failure::{Meaning, Verdict},
    },
};

/// How one attempt ended, as far as its reply was read.
pub struct Outcome {
    pub result: Result<Answer, ProxyError>,
    /// What an error inside a reply means that began well.
    inside: Option<Meaning>,
}

impl Outcome {
    /// The outcome of an attempt with this result, which was measured if there is a `measure`.
    pub fn of(mut result: Result<Answer, ProxyError>, measure: Option<Measure>) -> Self {
        if let (Some(measure), Ok(Answer::Upstream(reply))) = (measure, &mut result) {
            measure.watch(reply);
        }
        Self { result, inside: None }
    }

    /// The same outcome after the beginning of the reply has passed `gate`, if there is one.
    pub async fn pass(mut self, gate: Option<&Gate>, target: &Target, model: &str) -> Self {
        if let (Ok(Answer::Upstream(reply)), Some(gate)) = (&mut self.result, gate)
            // Boxed: only requests with several targets have it.
            && let Err(error) = Box::pin(gate.pass(reply, target, model)).await
        {
            self.inside = reply.attempt.verdict().map(|verdict| verdict.meaning);
            self.result = Err(error);
        }
        self
    }

    /// Whether the client gets it, because no other target would do better.
    pub fn wins(&self) -> bool {
        match &self.result {
            Ok(Answer::Upstream(reply)) => {
                !reply.attempt.verdict().is_some_and(|verdict| verdict.meaning.row().tries_other())
            }
            Ok(Answer::Local(_)) => true,
            // The client's own key is missing, for any target.
            Err(error) => error.kind == ErrorKind::NoCredential,
        }
    }
}

/// What comes after a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same target is tried again.
    Same,
    /// The next target is tried.
    Other,
}

/// The attempts that have failed.
#[derive(Default)]
pub struct Failures {
    /// A reply that is returned unless another target gives a better one.
    kept: Option<UpstreamReply>,
    /// The last error.
    pub error: Option<ProxyError>,
}

impl Failures {
    /// What the client gets when no target has answered: the most useful reply.
    ///
    /// # Errors
    /// When there is none: the last error, else that there was no room, else that all targets cool, with this wait.
    pub fn into_result(self, no_room: Option<ProxyError>, cooling: Option<Wait>) -> Result<Answer, ProxyError> {
        self.kept.map(Answer::Upstream).ok_or_else(|| {
            let cooling = || cooling.map(|wait| ProxyError::cooling(&wait, Instant::now()));
            let failure = self.error.or(no_room).or_else(cooling);
            failure.unwrap_or_else(|| ProxyError::new(ErrorKind::Misconfigured, "the backend has no target"))
        })
    }

    /// Adds an attempt at `target` after which the request goes on, or ends if `next` is `None`.
    pub fn add(&mut self, outcome: Outcome, target: &Target, next: Option<Next>, record: &RequestRecord) {
        let Outcome { result, inside } = outcome;
        match result {
            Ok(Answer::Upstream(mut reply)) => {
                let meaning = reply.attempt.verdict().map(|verdict| verdict.meaning);
                let failed = Failed { meaning, status: Some(reply.reply.status()), error: None };
                failed.log(target, next, record);
                reply.attempt.ended(AttemptOutcome::Refused);
                // The target has done its work.
                drop(reply.attempt.take_permit());
                self.kept = Some(more_useful(self.kept.take(), reply));
            }
            // The gateway's own answer is never a failure.
            Ok(Answer::Local(_)) => {}
            Err(error) => {
                let meaning = inside.or_else(|| error.kind.attempt_outcome().meaning());
                Failed { meaning, status: None, error: Some(&error) }.log(target, next, record);
                self.error = Some(error);
            }
        }
    }
}

/// The more useful of two replies for the client; the later one if both are equal.
fn more_useful(kept: Option<UpstreamReply>, reply: UpstreamReply) -> UpstreamReply {
    let usefulness = |reply: &UpstreamReply| reply.attempt.verdict().map_or(0, Verdict::usefulness);
    match kept {
        Some(kept) if usefulness(&kept) > usefulness(&reply) => kept,
        _ => reply,
    }
}

/// An attempt that has failed.
struct Failed<'e> {
    meaning: Option<Meaning>,
    status: Option<StatusCode>,
    error: Option<&'e ProxyError>,
}

impl Failed<'_> {
    /// Logs it where the request goes on, and counts it as a failover unless the same target is tried again.
    fn log(self, target: &Target, next: Option<Next>, record: &RequestRecord) {
        let (failure, status) = (self.meaning.map(|m| m.row().word), self.status.map(|status| status.as_u16()));
        let (cause, error) = (self.error.map(|e| e.cause.as_str()), self.error.map(|e| e.kind.word()));
        let (name, trace_id) = (target.name.as_str(), record.trace_id());
        match next {
            None => {}
            Some(Next::Same) => {
                tracing::info!(target = name, failure, status, error, cause, trace_id, "trying the same target again");
            }
            Some(Next::Other) => {
                if let Some(meaning) = self.meaning {
                    target.state.failed_over(meaning);
                }
                tracing::info!(target = name, failure, status, error, cause, trace_id, "trying the next target");
            }
        }
    }
}
