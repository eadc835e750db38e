//! TrafficPolicies: where each applies, which takes precedence, and how fields that are not implemented are reported.

use std::time::Duration;

use super::*;

const TARGET_ROUTE: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]";

fn target(kind: &str, name: &str, section: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!(", sectionName: {section}") };
    format!("targetRefs: [{{group: gateway.networking.k8s.io, kind: {kind}, name: {name}{section}}}]")
}

/// A route with a named rule `one` at `/x`, which names `extension`, and a rule at `/y`.
fn world(extension: &str, policies: &[String]) -> World {
    let filters = if extension.is_empty() {
        String::new()
    } else {
        format!(
            "filters: [{{type: ExtensionRef, extensionRef: {{group: gateway.kgateway.dev, kind: TrafficPolicy, name: {extension}}}}}], "
        )
    };
    let rule = |name: &str, path: &str, more: &str| {
        format!("{{{name}matches: [{{path: {{value: {path}}}}}], {more}backendRefs: [{}]}}", to("good"))
    };
    let rules = format!("rules: [{}, {}]", rule("name: one, ", "/x", &filters), rule("", "/y", ""));
    let mut documents = vec![
        open_gateway("gw").replace("{name: gw}", "{name: gw, labels: {team: red}}"),
        good_backend("good"),
        route("r", &format!("parentRefs: [{{name: gw}}], {rules}"))
            .replace("{name: r}", "{name: r, labels: {team: red}}"),
    ];
    documents.extend_from_slice(policies);
    World::new(&documents)
}

fn request_ms(world: &World, path: &str) -> Option<u128> {
    world.rule_at(&format!("http://h{path}")).timeouts.request.map(|d| d.as_millis())
}

#[test]
fn the_most_specific_policy_wins() {
    let all = [
        policy("named", "timeouts: {request: 1ms}"),
        policy("rule", &format!("{}, timeouts: {{request: 2ms}}", target("HTTPRoute", "r", "one"))),
        policy("route", &format!("{}, timeouts: {{request: 3ms}}", target("HTTPRoute", "r", ""))),
        policy("listener", &format!("{}, timeouts: {{request: 4ms}}", target("Gateway", "gw", "http"))),
        policy("gateway", &format!("{}, timeouts: {{request: 5ms}}", target("Gateway", "gw", ""))),
    ];
    for first in 0..all.len() {
        let extension = if first == 0 { "named" } else { "" };
        let world = world(extension, &all[first..]);
        assert_eq!(request_ms(&world, "/x"), Some(first as u128 + 1));
        // The other rule has neither name nor extension.
        assert_eq!(request_ms(&world, "/y"), Some(first.max(2) as u128 + 1));
        for key in ["default/rule", "default/route", "default/listener", "default/gateway"]
            .iter()
            .skip(first.saturating_sub(1))
        {
            world.reports(Kind::TrafficPolicy, key, &["default/gw Accepted=True/Valid"]);
            world.reports(Kind::TrafficPolicy, key, &["default/gw Attached=True"]);
        }
    }
    assert_eq!(request_ms(&world("", &[]), "/x"), None);
}

#[test]
fn fields_come_from_different_policies() {
    let world = world(
        "",
        &[
            policy("a", &format!("{TARGET_ROUTE}, ai: {{routeType: CHAT_STREAMING}}")),
            policy(
                "b",
                &format!(
                    "{}, ai: {{routeType: CHAT}}, timeouts: {{request: 7ms, streamIdle: 8ms}}",
                    target("Gateway", "gw", "")
                ),
            ),
        ],
    );
    let rule = world.rule_at("http://h/x");
    assert!(rule.streams);
    assert_eq!(rule.timeouts.request, Some(Duration::from_millis(7)));
    assert_eq!(rule.timeouts.stream_idle, Some(Duration::from_millis(8)));
}

#[test]
fn the_routes_own_timeouts_win() {
    let own =
        format!("{{matches: [{{path: {{value: /z}}}}], timeouts: {{request: 0s}}, backendRefs: [{}]}}", to("good"));
    let world = World::new(&[
        open_gateway("gw"),
        good_backend("good"),
        route("r", &format!("parentRefs: [{{name: gw}}], rules: [{own}]")),
        policy("p", &format!("{TARGET_ROUTE}, timeouts: {{request: 7ms}}")),
    ]);
    assert_eq!(request_ms(&world, "/z"), None, "0s switches the bound off");
}

#[test]
fn among_equals_the_older_wins_then_the_first_by_name() {
    let aged = |name: &str, created: &str, ms: u32| {
        policy(name, &format!("{TARGET_ROUTE}, timeouts: {{request: {ms}ms}}"))
            .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}{created}}}"))
    };
    let (older, newer) = (", creationTimestamp: '2026-01-01T00:00:00Z'", ", creationTimestamp: '2026-02-01T00:00:00Z'");
    for (a, b, expected) in [("", "", 1), (newer, older, 2), (older, newer, 1), ("", newer, 2)] {
        let world = world("", &[aged("a", a, 1), aged("b", b, 2)]);
        assert_eq!(request_ms(&world, "/x"), Some(expected), "{a} {b}");
        let (wins, loses) = if expected == 1 { ("default/a", "default/b") } else { ("default/b", "default/a") };
        world.reports(Kind::TrafficPolicy, wins, &["Attached=True/Attached"]);
        world.reports(Kind::TrafficPolicy, loses, &["Attached=False/Overridden", wins]);
    }
    // One that sets another field too still applies.
    let more = policy("b", &format!("{TARGET_ROUTE}, timeouts: {{request: 2ms}}, ai: {{routeType: CHAT}}"));
    let world = world("", &[aged("a", "", 1), more]);
    world.reports(Kind::TrafficPolicy, "default/b", &["Attached=True/Merged", "default/a"]);
}

#[test]
fn policies_select_by_labels_in_their_own_namespace() {
    let select = |kind: &str, labels: &str| {
        format!(
            "targetSelectors: [{{group: gateway.networking.k8s.io, kind: {kind}, matchLabels: {{{labels}}}}}], timeouts: {{request: 7ms}}"
        )
    };
    for (key, spec, applies) in [
        ("p", select("HTTPRoute", "team: red"), true),
        ("p", select("Gateway", "team: red"), true),
        ("p", select("HTTPRoute", "team: blue"), false),
        ("p", select("HTTPRoute", "team: red, more: x"), false),
        ("other/p", select("HTTPRoute", "team: red"), false),
        ("other/p", format!("{TARGET_ROUTE}, timeouts: {{request: 7ms}}"), false),
        ("p", format!("{}, timeouts: {{request: 7ms}}", target("HTTPRoute", "none", "")), false),
        ("p", "timeouts: {request: 7ms}".to_owned(), false),
    ] {
        let world = world("", &[policy(key, &spec)]);
        assert_eq!(request_ms(&world, "/x").is_some(), applies, "{spec}");
        let key = if key.contains('/') { key.to_owned() } else { format!("default/{key}") };
        if applies {
            world.is_fine(Kind::TrafficPolicy, &key);
        } else {
            world.reports(Kind::TrafficPolicy, &key, &["Attached=False/TargetNotFound"]);
            world.reports(Kind::TrafficPolicy, &key, &["Accepted=True"]);
        }
    }
}

#[test]
fn an_extension_ref_to_a_missing_policy_blocks_its_rule() {
    let world = world("none", &[]);
    let message = "ExtensionRef: TrafficPolicy default/none does not exist";
    assert_eq!(world.at("http://h/x"), format!("500 {message}"));
    assert_eq!(world.at("http://h/y"), "default/good");
    world.reports(Kind::HttpRoute, "default/r", &["PartiallyInvalid=True/UnsupportedValue", message]);
}

#[test]
fn unsupported_protection_blocks_the_rules_that_request_it() {
    for (field, name) in [
        ("ai: {promptGuard: {request: {webhook: {host: {host: h, port: 1}}}}}", "ai.promptGuard.request.webhook"),
        (
            "ai: {promptGuard: {request: {moderation: {openAIModeration: {authToken: {kind: Passthrough}}}}}}",
            "ai.promptGuard.request.moderation",
        ),
        ("ai: {promptGuard: {response: {webhook: {endpoint: {host: h, port: 1}}}}}", "ai.promptGuard.response.webhook"),
        ("rateLimit: {local: {tokenBucket: {maxTokens: 1, tokensPerFill: 1, fillInterval: 1s}}}", "rateLimit"),
        ("rateLimit: {global: {}}", "rateLimit"),
        ("extAuth: {extensionRef: {name: e}}", "extAuth"),
        ("rbac: {policy: {matchExpressions: ['true']}}", "rbac"),
        ("csrf: {percentageEnabled: 100}", "csrf"),
    ] {
        let section = target("HTTPRoute", "r", "one");
        let world = world("", &[policy("p", &format!("{section}, {field}"))]);
        let refused = format!("not supported yet: {name}; the rules it applies to answer 500");
        world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=False/Unsupported", &refused]);
        assert!(!world.conditions(Kind::TrafficPolicy, "default/p").contains("PartiallyInvalid"), "{field}");
        let why = format!("TrafficPolicy default/p requests {name}, which is not supported yet");
        world.reports(Kind::HttpRoute, "default/r", &["PartiallyInvalid=True/UnsupportedValue", &why]);
        let landed = world.at("http://h/x");
        assert!(landed.starts_with("500 ") && landed.contains(&why), "{landed}");
        assert_eq!(world.at("http://h/y"), "default/good", "{field}");
    }
    // Also where a more specific policy sets other fields: protection adds up.
    let world = world(
        "",
        &[
            policy("a", &format!("{TARGET_ROUTE}, timeouts: {{request: 7ms}}, ai: {{routeType: CHAT}}")),
            policy("b", &format!("{}, extAuth: {{}}", target("Gateway", "gw", ""))),
        ],
    );
    assert!(world.at("http://h/x").contains("requests extAuth"));
}

#[test]
fn what_can_not_be_honoured_blocks_the_rules_that_request_it() {
    for (field, why) in [
        (
            "ai: {promptEnrichment: {append: [{role: tool, content: a}]}}",
            "ai.promptEnrichment.append[0].role: 'tool' is none of system, developer, user, assistant and model",
        ),
        ("ai: {defaults: [{field: stream, value: 'true'}]}", "ai.defaults[0]: stream can't be set"),
        ("transformation: {request: {remove: [':path']}}", "transformation.request: ':path' is not a header name"),
        ("ai: {defaults: [{field: a, value: '{'}]}", "ai.defaults[0]: field a contains invalid JSON string: {"),
    ] {
        let world = world("", &[policy("p", &format!("{}, {field}", target("HTTPRoute", "r", "one")))]);
        world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=False/Invalid", why, "answer 500"]);
        let landed = world.at("http://h/x");
        assert!(landed.starts_with("500 ") && landed.contains(&format!("TrafficPolicy default/p: {why}")), "{landed}");
        assert_eq!(world.at("http://h/y"), "default/good", "{field}");
    }
    // A more specific policy with the same field takes the place of the invalid one.
    let invalid = format!("{}, ai: {{defaults: [{{field: stream, value: a}}]}}", target("Gateway", "gw", ""));
    let world = world("", &[policy("a", &format!("{TARGET_ROUTE}, ai: {{}}")), policy("b", &invalid)]);
    assert_eq!(world.at("http://h/x"), "default/good");
}

#[test]
fn a_blank_message_is_left_out_and_named() {
    let blank = "ai: {promptEnrichment: {prepend: [{role: USER, content: ' '}, {role: Developer, content: a}]}}";
    let world = world("", &[policy("p", &format!("{TARGET_ROUTE}, {blank}"))]);
    let why = "ai.promptEnrichment.prepend[0].content is empty, so the message is left out";
    world.reports(Kind::TrafficPolicy, "default/p", &["PartiallyInvalid=True/Invalid", why]);
    world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=True/Valid"]);
    assert_eq!(world.at("http://h/x"), "default/good");
    assert_eq!(world.rule_at("http://h/x").policies.body.len(), 1);
}

#[test]
fn shaping_that_is_not_built_is_said_and_served_without() {
    for (field, name) in [
        ("retry: {attempts: 2, retryOn: [5xx, cancelled]}", "retry.retryOn, some of its values"),
        ("transformation: {request: {body: {parseAs: AsJson, value: a}}}", "transformation.request.body"),
        ("transformation: {response: {add: [{name: a, value: '{{ b }}'}]}}", "transformation.response, its templates"),
        ("extProc: {}", "extProc"),
        ("cors: {}", "cors"),
        ("buffer: {}", "buffer"),
        ("hashPolicies: [{}]", "hashPolicies"),
        ("autoHostRewrite: true", "autoHostRewrite"),
        ("headerModifiers: {}", "headerModifiers"),
    ] {
        let world = world("", &[policy("p", &format!("{TARGET_ROUTE}, {field}"))]);
        let partly = format!("accepted but not acted on yet: {name}");
        world.reports(Kind::TrafficPolicy, "default/p", &["PartiallyInvalid=True/Unsupported", &partly]);
        world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=True/Valid"]);
        assert_eq!(world.at("http://h/x"), "default/good", "{field}");
        world.is_fine(Kind::HttpRoute, "default/r");
    }
}

#[test]
fn retries_are_those_of_the_rule_and_else_of_its_policy() {
    let documents = |retry: &str| {
        let one = format!("{{matches: [{{path: {{value: /x}}}}], {retry}backendRefs: [{}]}}", to("good"));
        let other = format!("{{matches: [{{path: {{value: /y}}}}], backendRefs: [{}]}}", to("good"));
        let rules = format!("parentRefs: [{{name: gw}}], rules: [{one}, {other}]");
        let written = "retry: {attempts: 1000, retryOn: [connect-failure], statusCodes: [429], perTryTimeout: 2s}";
        let policy = policy("p", &format!("{TARGET_ROUTE}, {written}"));
        World::new(&[open_gateway("gw"), good_backend("good"), route("r", &rules), policy])
    };
    let at = |world: &World, path: &str| world.rule_at(&format!("http://h{path}")).retry.clone().unwrap();
    let world = documents("retry: {codes: [500, 503], attempts: 3, backoff: 100ms}, ");
    let own = at(&world, "/x");
    assert_eq!((own.retries, own.backoff, own.per_try), (3, Duration::from_millis(100), None));
    assert_eq!(own.statuses, [500, 503].map(|code| http::StatusCode::from_u16(code).unwrap()));
    assert!(own.unreachable && own.unanswered && !own.server_errors, "connections that fail are always retried");
    let policys = at(&world, "/y");
    assert_eq!((policys.retries, policys.per_try), (1000, Some(Duration::from_secs(2))));
    assert!(policys.unreachable && !policys.unanswered);
    assert_eq!(world.rule_at("http://h/y").try_timeout(), Some(Duration::from_secs(2)));
    world.is_fine(Kind::HttpRoute, "default/r");
    let defaults = at(&documents("retry: {}, "), "/x");
    assert_eq!((defaults.retries, defaults.backoff), (1, Duration::from_millis(25)));
    assert!(defaults.statuses.is_empty());
}

#[test]
fn a_first_token_timeout_without_effect_is_said_and_the_rule_is_served() {
    for (timeouts, contradicts) in [
        ("{firstToken: 31s, request: 30s}", true),
        ("{firstToken: 8760h, request: 30s}", true),
        ("{firstToken: 30s, request: 31s}", false),
        ("{firstToken: 8760h}", false),
        ("{firstToken: 0s, request: 30s}", false),
    ] {
        let world = world("", &[policy("p", &format!("{TARGET_ROUTE}, timeouts: {timeouts}"))]);
        world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=True/Valid"]);
        let says = world.conditions(Kind::TrafficPolicy, "default/p").contains("PartiallyInvalid=True/Invalid");
        assert_eq!(says, contradicts, "{timeouts}");
        assert!(world.rule_at("http://h/x").timeouts.first_token.is_some(), "{timeouts}");
        assert_eq!(world.at("http://h/x"), "default/good");
        world.is_fine(Kind::HttpRoute, "default/r");
    }
}

#[test]
fn targets_of_other_kinds_are_refused() {
    let world = world(
        "",
        &[policy(
            "p",
            "targetRefs: [{group: gateway.kgateway.dev, kind: Backend, name: good}], timeouts: {request: 7ms}",
        )],
    );
    world.reports(
        Kind::TrafficPolicy,
        "default/p",
        &["Accepted=False/Invalid", "may only name Gateways and HTTPRoutes, not Backend"],
    );
    assert_eq!(world.at("http://h/x"), "default/good");
}

#[test]
fn a_priority_is_that_of_the_most_specific_policy_and_a_bad_header_is_reported() {
    use crate::upstream::balance::load::Priority;

    let rule = policy("rule", &format!("{}, priority: {{class: Batch}}", target("HTTPRoute", "r", "one")));
    let gateway = policy("gateway", &format!("{}, priority: {{header: 'x y'}}", target("Gateway", "gw", "")));
    let world = world("", &[rule, gateway]);
    let at = |path: &str| world.rule_at(&format!("http://h{path}")).priority.of(&http::HeaderMap::new());
    assert_eq!((at("/x"), at("/y")), (Priority::Batch, Priority::Interactive));
    world.reports(Kind::TrafficPolicy, "default/rule", &["Accepted=True/Valid"]);
    assert!(!world.conditions(Kind::TrafficPolicy, "default/rule").contains("PartiallyInvalid"));
    let named = ["PartiallyInvalid=True/Invalid", "priority.header: 'x y' is not a header's name"];
    world.reports(Kind::TrafficPolicy, "default/gateway", &named);
}

/// How many steps of the request, and policies of the reply, a rule has.
fn guards(world: &World, path: &str) -> (usize, usize) {
    let policies = &world.rule_at(&format!("http://h{path}")).policies;
    (policies.request.len(), policies.reply.len())
}

#[test]
fn guards_of_the_most_specific_policy_that_has_any_apply() {
    let both = "ai: {promptGuard: {request: {regex: {builtins: [SSN]}}, response: {regex: {builtins: [Ssn]}}}}";
    let gateway = policy("gateway", &format!("{}, {both}", target("Gateway", "gw", "")));
    let route_type = policy("type", &format!("{TARGET_ROUTE}, ai: {{routeType: CHAT_STREAMING}}"));
    let world = world(
        "",
        &[
            gateway,
            route_type,
            policy(
                "rule",
                &format!(
                    "{}, ai: {{promptGuard: {{response: {{regex: {{builtins: [EMAIL]}}}}}}}}",
                    target("HTTPRoute", "r", "one")
                ),
            ),
        ],
    );
    assert_eq!(guards(&world, "/x"), (0, 1), "the rule's own policy replaces that of the Gateway");
    assert_eq!(guards(&world, "/y"), (1, 1), "another field of `ai` takes no protection away");
    for key in ["default/rule", "default/gateway"] {
        world.is_fine(Kind::TrafficPolicy, key);
    }
}

#[test]
fn guards_that_can_not_be_used_close_their_rules() {
    for (pattern, why) in [
        ("'('", "unclosed group"),
        ("'a*'", "it matches the empty text"),
        ("''", "it matches the empty text"),
        ("'x.{0,100000}'", "its automaton would take more than 4 MiB"),
        ("'(a)\\1'", "backreferences are not supported"),
        ("'(?=a)b'", "look-around"),
    ] {
        for direction in ["request", "response"] {
            let section = target("HTTPRoute", "r", "one");
            let guard = format!(
                "ai: {{promptGuard: {{{direction}: {{regex: {{matches: [{{pattern: fine}}, {{pattern: {pattern}}}]}}}}}}}}"
            );
            let world = world("", &[policy("p", &format!("{section}, {guard}"))]);
            let field = format!("ai.promptGuard.{direction}.regex: pattern 1: ");
            world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=False/Invalid", &field, why, "answer 500"]);
            let landed = world.at("http://h/x");
            assert!(landed.starts_with("500 ") && landed.contains(why), "{pattern}: {landed}");
            assert_eq!(world.at("http://h/y"), "default/good", "{pattern}");
        }
    }
}

#[test]
fn a_guard_that_matches_nothing_or_holds_streams_is_accepted_and_reported() {
    for (guard, remark) in [
        ("request: {regex: {}}", "ai.promptGuard.request.regex has neither matches nor builtins"),
        ("response: {regex: {matches: [{pattern: BEGIN.*END, name: B}]}}", "matches of B have no longest length"),
    ] {
        let world = world("", &[policy("p", &format!("{TARGET_ROUTE}, ai: {{promptGuard: {{{guard}}}}}"))]);
        world.reports(Kind::TrafficPolicy, "default/p", &["Accepted=True/Valid", remark]);
    }
    // Without either, nothing is built.
    let world = world("", &[policy("p", &format!("{TARGET_ROUTE}, ai: {{promptGuard: {{request: {{}}}}}}"))]);
    assert_eq!(guards(&world, "/x"), (0, 0));
    world.is_fine(Kind::TrafficPolicy, "default/p");
}
