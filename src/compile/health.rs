//! What a Backend's report has about the health of its targets.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{Condition, backend::Compiled};
use crate::{
    api::{
        backend::Backend,
        condition::{ConditionType, Reason},
    },
    upstream::{
        balance::{Degraded, HealthReport},
        failure::Meaning,
    },
};

/// The health of the targets of one Backend. It is written as `2/3`.
pub(super) struct Healthy<'a> {
    all: usize,
    degraded: Vec<&'a Degraded>,
}

impl<'a> Healthy<'a> {
    /// The health of a Backend with LLM providers; `None` for others.
    pub(super) fn of(compiled: &Compiled, health: &'a HealthReport) -> Option<Self> {
        let Compiled::Ai(backend) = compiled else { return None };
        let all = backend.groups.iter().map(Vec::len).sum();
        let is_there = |target: &str| backend.groups.iter().flatten().any(|own| own.name == target);
        let degraded = health.backend(&backend.name).iter().filter(|degraded| is_there(&degraded.target)).collect();
        Some(Self { all, degraded })
    }

    /// The condition: absent where no target has ever been left alone.
    pub(super) fn condition(&self, was_degraded: bool) -> Option<Condition> {
        let Some(first) = self.degraded.first() else {
            let recovered =
                || Condition::new(ConditionType::Degraded, false, Reason::Recovered, "all targets are used");
            return was_degraded.then(recovered);
        };
        let each = self.degraded.iter().map(|Degraded { target, cause, until }| {
            let until = Timestamp::try_from(*until).map(|until| until.to_string()).unwrap_or_default();
            format!("{target}: {} until {until}", cause.row().word)
        });
        let each: Vec<String> = each.collect();
        let message = format!("{self} targets are used; {}", each.join("; "));
        Some(Condition::new(ConditionType::Degraded, true, reason(first.cause), message))
    }
}

impl fmt::Display for Healthy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.all.saturating_sub(self.degraded.len()), self.all)
    }
}

/// Whether the status of a Backend has the condition.
pub(super) fn was_degraded(backend: &Backend) -> bool {
    let conditions = backend.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == ConditionType::Degraded.as_str())
}

const fn reason(cause: Meaning) -> Reason {
    match cause {
        Meaning::Rate => Reason::RateLimited,
        Meaning::Quota => Reason::QuotaExhausted,
        Meaning::Overload => Reason::Overloaded,
        Meaning::Network => Reason::Unreachable,
        Meaning::Credential | Meaning::Permission => Reason::AuthFailed,
        _ => Reason::Failing,
    }
}
