//! Merges conditions: Tollgate's conditions replace their old versions, and all others stay.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition as Written, Time},
    jiff::Timestamp,
};

use crate::{api::condition::ConditionType, compile::Condition};

/// The longest message that the API accepts, in bytes. The API counts characters, of which there are no more than
/// bytes.
const MAX_MESSAGE: usize = 32_768;

/// Whether `present` has exactly the `wanted` conditions, of `generation`.
pub(super) fn is_current(present: &[Written], wanted: &[Condition], generation: Option<i64>) -> bool {
    let is_present = |wanted: &Condition| {
        present
            .iter()
            .any(|p| p.type_ == wanted.kind.as_str() && matches(p, wanted) && p.observed_generation == generation)
    };
    wanted.iter().all(is_present) && present.iter().filter(|p| is_ours(p)).count() == wanted.len()
}

/// `present` with Tollgate's conditions replaced by `wanted`. The transition time stays where the status does.
pub(super) fn merged(
    present: &[Written],
    wanted: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Written> {
    let write = |wanted: &Condition| {
        let old = present.iter().find(|p| p.type_ == wanted.kind.as_str());
        let since = old.filter(|p| p.status == status(wanted)).map_or(Time(now), |p| p.last_transition_time.clone());
        Written {
            type_: wanted.kind.as_str().to_owned(),
            status: status(wanted).to_owned(),
            reason: wanted.reason.as_str().to_owned(),
            message: message(wanted).to_owned(),
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    let others = present.iter().filter(|p| !is_ours(p)).cloned();
    wanted.iter().map(write).chain(others).collect()
}

/// Whether a condition is of a type that Tollgate writes.
pub(super) fn is_ours(present: &Written) -> bool {
    ConditionType::ALL.iter().any(|kind| kind.as_str() == present.type_)
}

fn matches(present: &Written, wanted: &Condition) -> bool {
    present.status == status(wanted) && present.reason == wanted.reason.as_str() && present.message == message(wanted)
}

const fn status(condition: &Condition) -> &'static str {
    if condition.status { "True" } else { "False" }
}

/// The message as it is written.
pub(in crate::publish) fn message(condition: &Condition) -> &str {
    let text = &condition.message;
    text.get(..text.floor_char_boundary(MAX_MESSAGE)).unwrap_or(text)
}
