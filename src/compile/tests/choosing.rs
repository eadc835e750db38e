//! Weights of a Backend's entries, and how it chooses among them.

use super::*;
use crate::{
    policy::hedge::Hedge,
    snapshot::{AiBackend, Choice, HashPolicy, KeySource},
    upstream::balance::{AnswerKind, Attempt, AttemptOutcome, KeyHash},
};

/// A request with this key for every policy.
struct Keyed(Option<u64>);

impl KeySource for Keyed {
    fn hash(&self, _: &HashPolicy) -> Option<u64> {
        self.0
    }

    fn answer(&self) -> AnswerKind {
        AnswerKind::Stream
    }
}

fn entry(name: &str, more: &str) -> String {
    format!("{{name: {name}, {more}openai: {{authToken: {{kind: Passthrough}}}}}}")
}

/// The Backend `x` with these entries in one group, and these fields beside them.
fn spec(entries: &[String], more: &str) -> String {
    format!("type: AI, ai: {{priorityGroups: [{{providers: [{}]}}]{more}}}", entries.join(", "))
}

fn world(spec: &str) -> World {
    World::new(&[open_gateway("gw"), simple_route("x", "/x", &to("x")), backend("x", spec)])
}

fn compiled(world: &World) -> Arc<AiBackend> {
    let rule = world.rule_at("http://h/x");
    let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
    let Backend::Ai(ai) = &split.backends()[0].backend else { panic!("no AI backend") };
    Arc::clone(&ai.backend)
}

/// The names of the targets, in the order in which a request with this key tries them.
pub fn order(backend: &AiBackend, key: Option<u64>) -> String {
    let mut order = backend.order(None, &Keyed(key));
    let names = std::iter::from_fn(|| order.next(|_| None).map(|pick| pick.target.name.as_str()));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn choices_are_read_as_they_are_written() {
    let header = HashPolicy::Header("x-session-id".parse().unwrap());
    for (written, choice, measures) in [
        ("", Choice::InTurn, false),
        (", loadBalancer: {roundRobin: {}}", Choice::InTurn, false),
        (", loadBalancer: {leastRequest: {}}", Choice::ByCost, true),
        (
            ", loadBalancer: {ringHash: {hashPolicies: [{header: {name: X-Session-Id}}, {credential: {}}, \
             {promptPrefix: {}}, {sourceIP: {}}]}}",
            Choice::ByKey(vec![header, HashPolicy::Credential, HashPolicy::PromptPrefix, HashPolicy::SourceIp]),
            false,
        ),
    ] {
        let world = world(&spec(&[entry("a", ""), entry("b", "")], written));
        world.is_fine(Kind::Backend, "default/x");
        let backend = compiled(&world);
        assert_eq!((&backend.choice, backend.measures()), (&choice, measures), "{written}");
    }
    for (written, hedge, measures) in [
        ("", None, false),
        (", hedge: {}", Some(Hedge::AfterMost), true),
        (", hedge: {delay: 1.5s}", Some(Hedge::After(std::time::Duration::from_millis(1500))), false),
        (", hedge: {delay: 0s}", Some(Hedge::After(std::time::Duration::ZERO)), false),
        (", hedge: {delay: 8760h}", Some(Hedge::After(std::time::Duration::from_hours(8760))), false),
    ] {
        let backend = compiled(&world(&spec(&[entry("a", ""), entry("b", "")], written)));
        assert_eq!((backend.hedge, backend.measures()), (hedge, measures), "{written}");
    }
}

#[test]
fn mistakes_are_named() {
    let two = [entry("a", ""), entry("b", "")];
    for (entries, written, message) in [
        (&two[..], ", loadBalancer: {}", "spec.ai.loadBalancer: exactly one of roundRobin"),
        (&two, ", loadBalancer: {roundRobin: {}, leastRequest: {}}", "spec.ai.loadBalancer: exactly one of roundRobin"),
        (&two, ", loadBalancer: {ringHash: {}}", "ringHash.hashPolicies: no policy is there"),
        (&two, ", loadBalancer: {ringHash: {hashPolicies: []}}", "ringHash.hashPolicies: no policy is there"),
        (&two, ", loadBalancer: {ringHash: {hashPolicies: [{}]}}", "hashPolicies[0]: exactly one of header"),
        (
            &two,
            ", loadBalancer: {ringHash: {hashPolicies: [{sourceIP: {}, credential: {}}]}}",
            "hashPolicies[0]: exactly one of header",
        ),
        (
            &two,
            ", loadBalancer: {ringHash: {hashPolicies: [{credential: {}}, {header: {name: 'a b'}}]}}",
            "hashPolicies[1].header.name: 'a b' is not a header name",
        ),
        (&two, ", loadBalancer: {ringHash: {hashPolicies: [{header: {}}]}}", "'' is not a header name"),
        (&[entry("a", "weight: 1000001, ")], "", "[0].weight: 1000001 is too large"),
        (&[entry("a", "weight: 0, "), entry("b", "weight: 0, ")], "", "every provider has the weight 0"),
    ] {
        let world = world(&spec(entries, written));
        world.reports(Kind::Backend, "default/x", &["Accepted=False/Invalid", message]);
    }
}

#[test]
fn turns_follow_the_weights_and_a_weight_of_zero_takes_an_entry_out() {
    let entries = [entry("a", "weight: 3, "), entry("b", ""), entry("c", "weight: 0, ")];
    let backend = compiled(&world(&spec(&entries, "")));
    let orders: Vec<String> = (0..400).map(|_| order(&backend, None)).collect();
    let first = |name: &str| orders.iter().filter(|order| order.starts_with(name)).count();
    assert!((298..=302).contains(&first("a")) && (98..=102).contains(&first("b")), "{} {}", first("a"), first("b"));
    assert!(orders.iter().all(|order| order == "a b" || order == "b a"), "the others are still there to fail over to");
}

#[test]
fn a_key_has_its_target_and_a_request_without_one_takes_its_turn() {
    let ring = ", loadBalancer: {ringHash: {hashPolicies: [{header: {name: x}}]}}";
    let names = ["a", "b", "c"];
    let world = world(&spec(&names.map(|name| entry(name, "")), ring));
    let backend = compiled(&world);
    let mut first = std::collections::BTreeSet::new();
    for key in 0..64_u8 {
        let order_of_key = order(&backend, Some(KeyHash::of(&[key])));
        assert_eq!(order(&backend, Some(KeyHash::of(&[key]))), order_of_key, "the same each time");
        first.insert(order_of_key[..1].to_owned());
    }
    assert_eq!(first.len(), 3, "keys are spread");
    assert_eq!([order(&backend, None), order(&backend, None)], ["a b c", "b c a"]);
    // A target that is gone leaves the keys of others where they are.
    let fewer = compiled(&self::world(&spec(&[entry("a", ""), entry("c", "")], ring)));
    for key in 0..64_u8 {
        let key = Some(KeyHash::of(&[key]));
        assert_eq!(order(&fewer, key), order(&backend, key).replace("b ", "").replace(" b", ""));
    }
}

#[test]
fn a_target_with_much_under_way_is_passed_over() {
    let ring = ", loadBalancer: {ringHash: {hashPolicies: [{header: {name: x}}]}}";
    for written in [", loadBalancer: {leastRequest: {}}", ring] {
        let backend = compiled(&world(&spec(&[entry("a", ""), entry("b", "")], written)));
        let key = Some(KeyHash::of(b"of a or b"));
        let own = order(&backend, key);
        let busy = backend.groups[0].iter().find(|target| own.starts_with(&target.name)).unwrap();
        let under_way: Vec<Attempt> = (0..5).map(|_| Attempt::watched(&busy.state, "", true, None)).collect();
        for _ in 0..50 {
            assert_ne!(order(&backend, key)[..1], own[..1], "{written}");
        }
        for mut attempt in under_way {
            attempt.ended(AttemptOutcome::Answered);
        }
        assert!((0..100).any(|_| order(&backend, key) == own), "{written}: what has ended counts no more");
    }
}
