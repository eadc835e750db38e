//! The consequences of parts of an object that could not be read, for the rest of it.

use std::collections::BTreeSet;

use super::{
    Unread,
    listener::{Flaw, ListenerState},
};
use crate::api::condition::Reason;

/// Fields of rules that only shape traffic. A rule is served without one that can't be read; any other unknown field may
/// be a protection.
const SHAPING: [&str; 1] = ["retry"];

/// The parts of one rule that could not be read.
#[derive(Default)]
pub struct UnreadRule {
    /// Matches with an unknown part, by index: without the part they would match more requests than intended.
    pub matches: BTreeSet<usize>,
    /// The reasons why those matches are left out.
    pub dropped: Vec<String>,
    /// The reasons why the rule can't be served.
    pub problems: Vec<String>,
    /// The parts that are ignored.
    pub ignored: Vec<String>,
}

/// The parts of the rule `index` of a route that could not be read.
pub fn of_rule(unread: &[Unread], index: usize) -> UnreadRule {
    let mut out = UnreadRule::default();
    for part in unread {
        let Some(inside) = part.inside("rules", index) else { continue };
        match inside {
            [field, number, ..] if field.is("matches") => {
                out.matches.extend(number.index());
                out.dropped.push(part.to_string());
            }
            [field, ..] if SHAPING.iter().any(|name| field.is(name)) => {
                out.ignored.push(format!("{part}, which is not acted on"));
            }
            _ => out.problems.push(part.to_string()),
        }
    }
    out
}

/// The reasons why the route can't be accepted as a whole: a host name or a whole list could not be read, so that the
/// route might be served for more hosts than intended.
pub fn of_hostnames(unread: &[Unread]) -> Vec<String> {
    let is_list =
        |part: &Unread| ["parentRefs", "rules"].iter().any(|list| part.below(list).is_some_and(<[_]>::is_empty));
    let closes = |part: &&Unread| part.below("hostnames").is_some() || is_list(part);
    unread.iter().filter(closes).map(ToString::to_string).collect()
}

/// The route's parentRef `index`, if it could be read as a whole.
pub fn parent_problem(unread: &[Unread], index: usize) -> Option<String> {
    let part = unread.iter().find(|part| part.inside("parentRefs", index).is_some())?;
    Some(part.to_string())
}

/// Unknown fields of a route that belong to none of its rules, hosts and parents.
pub fn of_route(unread: &[Unread]) -> Vec<String> {
    let elsewhere =
        |part: &&Unread| !["rules", "hostnames", "parentRefs"].iter().any(|field| part.below(field).is_some());
    unread.iter().filter(elsewhere).filter(|part| !part.is_status()).map(ToString::to_string).collect()
}

/// Closes the listeners of a Gateway for which a part could not be read. Fields below `spec.tls` protect all of them.
pub fn close_listeners(unread: &[Unread], listeners: &mut [ListenerState]) {
    for (index, listener) in listeners.iter_mut().enumerate() {
        let part = unread.iter().find(|part| part.inside("listeners", index).is_some() || part.below("tls").is_some());
        if let Some(part) = part {
            listener.accepted = Some((Reason::UnsupportedValue, format!("{part}; nothing is served without it")));
        }
    }
}

/// The reason why a Gateway can't be set up at all: a value that decides how it is exposed could not be read.
pub fn of_gateway(unread: &[Unread]) -> Option<Flaw> {
    let exposes = |part: &&Unread| {
        let settings = ["addresses", "infrastructure"].iter().any(|field| part.below(field).is_some());
        !part.is_field && (settings || part.below("listeners").is_some_and(<[_]>::is_empty))
    };
    unread.iter().find(exposes).map(|part| (Reason::Invalid, part.to_string()))
}

/// Unknown fields of a Gateway that close nothing.
pub fn ignored_by_gateway(unread: &[Unread]) -> String {
    let closes = |part: &Unread| ["listeners", "tls"].iter().any(|field| part.below(field).is_some());
    let ignored: Vec<String> =
        unread.iter().filter(|part| !closes(part) && part.is_field).map(ToString::to_string).collect();
    if ignored.is_empty() { String::new() } else { format!("not acted on: {}", ignored.join("; ")) }
}
