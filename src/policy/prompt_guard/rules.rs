//! From what a policy lists to a compiled set, made once for all rules and all snapshots that have the same list.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tollgate_guards::{Action, Builtin, GuardError, GuardSet, Rule};

use crate::{
    api::traffic_policy::{Builtin as WrittenBuiltin, Regex, RegexAction},
    policy::Direction,
};

/// Lists whose sets are kept although no snapshot has them: those that can't be compiled, and the next snapshot's.
const MAX_UNUSED: usize = 64;

type Outcome = Result<Arc<GuardSet>, GuardError>;

/// What each list compiles to.
type Sets = BTreeMap<(Vec<Rule>, Action), Outcome>;

/// Automata take milliseconds to make, and a policy of a Gateway is compiled for each rule of its routes, with every
/// change of any object.
static SETS: LazyLock<Mutex<Sets>> = LazyLock::new(Mutex::default);

/// The set of `regex`.
///
/// # Errors
/// When a pattern can't be used.
pub fn compiled(regex: &Regex, direction: Direction) -> Outcome {
    let key = (rules(regex), action(regex.action, direction));
    let mut sets = SETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(outcome) = sets.get(&key) {
        return outcome.clone();
    }
    if sets.len() >= MAX_UNUSED {
        sets.retain(|_, outcome| outcome.as_ref().is_ok_and(|set| Arc::strong_count(set) > 1));
    }
    let outcome = GuardSet::compile(&key.0, key.1).map(Arc::new);
    sets.insert(key, outcome.clone());
    outcome
}

/// Patterns first: their names are the more telling ones where both match the same text.
fn rules(regex: &Regex) -> Vec<Rule> {
    let own = regex.matches.iter().map(|own| Rule::Pattern {
        name: own.name.clone(),
        // A pattern that is missing is refused as the empty one is.
        pattern: own.pattern.clone().unwrap_or_default(),
    });
    own.chain(regex.builtins.iter().map(|builtin| Rule::Builtin(recogniser(*builtin)))).collect()
}

const fn recogniser(builtin: WrittenBuiltin) -> Builtin {
    match builtin {
        WrittenBuiltin::Ssn => Builtin::Ssn,
        WrittenBuiltin::CreditCard => Builtin::CreditCard,
        WrittenBuiltin::PhoneNumber => Builtin::PhoneNumber,
        WrittenBuiltin::Email => Builtin::Email,
        WrittenBuiltin::CaSin => Builtin::CaSin,
        WrittenBuiltin::Iban => Builtin::Iban,
        WrittenBuiltin::IpAddress => Builtin::IpAddress,
        WrittenBuiltin::ApiKey => Builtin::ApiKey,
        WrittenBuiltin::Jwt => Builtin::Jwt,
        WrittenBuiltin::PrivateKey => Builtin::PrivateKey,
    }
}

const fn action(written: RegexAction, direction: Direction) -> Action {
    match (written, direction) {
        (RegexAction::Mask, _) | (RegexAction::RejectRequest, Direction::Response) => Action::Mask,
        (RegexAction::RejectRequest, Direction::Request) | (RegexAction::Reject, _) => Action::Reject,
    }
}
