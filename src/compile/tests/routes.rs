//! HTTPRoutes: references, host names, matches, filters, timeouts and weights.

use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};

use super::*;
use crate::policy::{Policies, PolicyRequest};

/// A route `default/r` of Gateway `default/gw` with these fields, and `more`.
fn world(spec: &str, more: &[String]) -> World {
    let mut documents = vec![open_gateway("gw"), good_backend("good"), good_backend("other")];
    documents.push(route("r", &format!("parentRefs: [{{name: gw}}], {spec}")));
    documents.extend_from_slice(more);
    World::new(&documents)
}

/// A rule at `path` with these fields, beside one at `/good`.
fn rules(fields: &str) -> String {
    let good = format!("{{matches: [{{path: {{value: /good}}}}], backendRefs: [{}]}}", to("good"));
    format!("rules: [{{matches: [{{path: {{value: /x}}}}], {fields}}}, {good}]")
}

#[test]
fn references_that_do_not_resolve_answer_500() {
    let elsewhere = "{name: b, namespace: other, group: gateway.kgateway.dev, kind: Backend}";
    let from = |kind: &str, ns: &str| format!("{{group: gateway.networking.k8s.io, kind: {kind}, namespace: {ns}}}");
    let routes = from("HTTPRoute", "default");
    let granted = |from: &str, to: &str| vec![good_backend("other/b"), grant("other/g", from, to)];
    let backends = "{group: gateway.kgateway.dev, kind: Backend}";
    let refused = "in another namespace is not allowed";
    for (reference, more, reason, message) in [
        (to("none").as_str(), vec![], "BackendNotFound", "Backend \"none\" not found in namespace \"default\""),
        (elsewhere, vec![good_backend("other/b")], "RefNotPermitted", refused),
        // A grant does not help a missing object; and without a grant, the report does not show whether it exists.
        (elsewhere, vec![], "RefNotPermitted", refused),
        (elsewhere, vec![grant("other/g", &routes, backends)], "BackendNotFound", "Backend \"b\" not found"),
        (
            elsewhere,
            granted(&routes, "{group: gateway.kgateway.dev, kind: Backend, name: c}"),
            "RefNotPermitted",
            refused,
        ),
        (elsewhere, granted(&routes, "{group: '', kind: Service}"), "RefNotPermitted", refused),
        (elsewhere, granted(&from("Gateway", "default"), backends), "RefNotPermitted", refused),
        (elsewhere, granted(&from("HTTPRoute", "third"), backends), "RefNotPermitted", refused),
        // A grant counts in its own namespace, not in the one that it names.
        (elsewhere, vec![good_backend("other/b"), grant("g", &routes, backends)], "RefNotPermitted", refused),
        (
            "{name: x, group: example.com, kind: Thing}",
            vec![],
            "InvalidKind",
            "of unknown kind Thing in group \"example.com\"",
        ),
        ("{name: x, group: gateway.kgateway.dev, kind: Service}", vec![], "InvalidKind", "unknown kind Service"),
        ("{name: good, kind: Backend}", vec![], "InvalidKind", "unknown kind Backend in group \"\""),
    ] {
        let world = world(&rules(&format!("backendRefs: [{reference}]")), &more);
        world.reports(Kind::HttpRoute, "default/r", &[&format!("ResolvedRefs=False/{reason}"), message]);
        world.reports(Kind::HttpRoute, "default/r", &["Accepted=True/Accepted"]);
        let landed = world.at("http://h/x");
        assert!(landed.starts_with("500 ") && landed.contains(message), "{reference}: {landed}");
        assert_eq!(world.at("http://h/good"), "default/good");
    }
    for to in [backends, "{group: gateway.kgateway.dev, kind: Backend, name: b}"] {
        let world = world(&rules(&format!("backendRefs: [{elsewhere}]")), &granted(&routes, to));
        assert_eq!(world.at("http://h/x"), "other/b", "{to}");
        world.is_fine(Kind::HttpRoute, "default/r");
    }
}

#[test]
fn weights_share_the_traffic() {
    let weighted = |weights: &[(&str, &str)]| {
        let refs: Vec<String> = weights.iter().map(|(n, w)| to(n).replace('}', &format!("{w}}}"))).collect();
        rules(&format!("backendRefs: [{}]", refs.join(", ")))
    };
    for (written, expected) in [
        (weighted(&[("good", ""), ("other", ", weight: 3")]), "default/good*1 default/other*3"),
        (weighted(&[("good", ", weight: 0"), ("other", "")]), "default/good*0 default/other*1"),
        (weighted(&[("good", ", weight: 0")]), "500 every backendRef has weight 0"),
        (weighted(&[("good", ", weight: 0"), ("other", ", weight: 0")]), "500 every backendRef has weight 0"),
        (weighted(&[]), "500 the rule has no backendRefs"),
        (rules("filters: []"), "500 the rule has no backendRefs"),
        // The share of a missing backend gets a 500: it must not be given to the others silently.
        (
            weighted(&[("good", ""), ("none", ", weight: 2")]),
            "default/good*1 500 Backend \"none\" not found in namespace \"default\"*2",
        ),
    ] {
        let world = world(&written, &[]);
        assert_eq!(world.at("http://h/x"), expected, "{written}");
        assert_eq!(world.at("http://h/good"), "default/good");
        if let Some(why) = expected.strip_prefix("500 ") {
            let parts = ["PartiallyInvalid=True/UnsupportedValue: Dropped Rule(s)", why, "it answers 500"];
            world.reports(Kind::HttpRoute, "default/r", &parts);
            world.reports(Kind::HttpRoute, "default/r", &["Accepted=True"]);
        }
    }
    let world = world(&weighted(&[("good", ""), ("other", ", weight: 3"), ("good", ", weight: 0")]), &[]);
    let rule = world.rule_at("http://h/x");
    let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
    let mut counts = [0; 3];
    (0..400).for_each(|_| counts[split.choose().unwrap().0] += 1);
    assert!((98..=102).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
}

#[test]
fn host_names_of_listener_and_route_must_both_match() {
    let check = |listener: &str, names: &str, served: &[&str], not: &[&str]| {
        let world = World::new(&[
            gateway("gw", &format!("{{name: http, protocol: HTTP, port: 8080, hostname: '{listener}'}}")),
            good_backend("good"),
            route(
                "r",
                &format!(
                    "parentRefs: [{{name: gw}}], hostnames: [{names}], rules: [{{backendRefs: [{}]}}]",
                    to("good")
                ),
            ),
        ]);
        for host in served {
            assert_eq!(world.at(&format!("http://{host}/")), "default/good", "{listener} and {names} at {host}");
        }
        for host in not {
            assert_ne!(world.at(&format!("http://{host}/")), "default/good", "{listener} and {names} at {host}");
        }
        if served.is_empty() {
            world.reports(Kind::HttpRoute, "default/r", &["Accepted=False/NoMatchingListenerHostname"]);
            assert_eq!(world.attached("default/gw", "http"), 0);
        } else {
            world.is_fine(Kind::HttpRoute, "default/r");
            assert_eq!(world.attached("default/gw", "http"), 1);
        }
    };
    check("", "", &["a.b", "localhost"], &[]);
    check("", "a.b", &["a.b"], &["b", "x.a.b", "c"]);
    check("", "'*.b'", &["a.b", "x.a.b"], &["b", "ab"]);
    check("a.b", "", &["a.b"], &["c.b"]);
    check("a.b", "A.B", &["a.b"], &["c.b"]);
    check("a.b", "'*.b'", &["a.b"], &["c.b"]);
    check("a.b", "c.b", &[], &["a.b", "c.b"]);
    check("a.b", "c.b, a.b", &["a.b"], &["c.b"]);
    check("*.b", "", &["a.b", "x.a.b"], &["b"]);
    check("*.b", "a.b, c.d", &["a.b"], &["c.d", "e.b"]);
    check("*.b", "b", &[], &["b", "a.b"]);
    check("*.b", "'*.a.b'", &["x.a.b"], &["a.b"]);
    check("*.a.b", "'*.b'", &["x.a.b"], &["a.b", "x.b"]);
    check("*.b", "'*.c'", &[], &["a.b", "a.c"]);
}

#[test]
fn invalid_host_names_match_nothing() {
    let serve = format!("rules: [{{backendRefs: [{}]}}]", to("good"));
    for bad in ["''", "' '", "'*'", "a.b:80", "a_b"] {
        let alone = world(&format!("hostnames: [{bad}], {serve}"), &[]);
        alone.reports(
            Kind::HttpRoute,
            "default/r",
            &["Accepted=False/NoMatchingListenerHostname", "is not a DNS name"],
        );
        assert_eq!(alone.at("http://h/"), "no rule at default/gw http", "{bad} must not mean every name");
        let beside = world(&format!("hostnames: [{bad}, h], {serve}"), &[]);
        beside.reports(Kind::HttpRoute, "default/r", &["Accepted=False/UnsupportedValue", "is not a DNS name"]);
        assert_eq!(beside.at("http://h/"), "default/good");
        assert_eq!(beside.at("http://i/"), "no rule at default/gw http");
    }
}

#[test]
fn the_most_specific_match_wins() {
    let rule = |matching: &str, backend: &str| format!("{{matches: [{matching}], backendRefs: [{}]}}", to(backend));
    let names = ["root", "prefix", "longer", "exact", "regex", "post", "header", "headers", "query", "first"];
    let rules = [
        rule("{path: {value: /}}", "root"),
        rule("{path: {value: /a}}", "prefix"),
        rule("{path: {value: /a/b/}}", "longer"),
        rule("{path: {type: Exact, value: /a/b}}", "exact"),
        rule("{path: {type: RegularExpression, value: '/r/[0-9]+'}}", "regex"),
        rule("{path: {value: /a}, method: POST}", "post"),
        rule("{path: {value: /a}, headers: [{name: X-K, value: v}]}", "header"),
        rule(
            "{path: {value: /a}, headers: [{name: x-k, value: v}, {name: x-l, type: RegularExpression, value: '[ab]+'}]}",
            "headers",
        ),
        rule("{path: {value: /a}, queryParams: [{name: q, value: '1'}]}", "query"),
        rule("{path: {value: /twice}}", "first"),
        rule("{path: {value: /twice}}", "root"),
    ];
    let backends = names.map(good_backend);
    let world = world(&format!("rules: [{}]", rules.join(", ")), &backends);
    world.is_fine(Kind::HttpRoute, "default/r");
    let (get, post) = (Method::GET, Method::POST);
    for (method, url, headers, expected) in [
        (&get, "http://h/z", &[][..], "root"),
        (&get, "http://h/a", &[], "prefix"),
        (&get, "http://h/ab", &[], "root"),
        (&get, "http://h/a/b", &[], "exact"),
        (&get, "http://h/a/b/c", &[], "longer"),
        (&get, "http://h/r/12", &[], "regex"),
        (&get, "http://h/r/12/x", &[], "root"),
        (&post, "http://h/a/x", &[], "post"),
        (&get, "http://h/a", &[("x-k", "v")], "header"),
        (&get, "http://h/a", &[("x-k", "w")], "prefix"),
        (&get, "http://h/a", &[("x-k", "v"), ("x-l", "ab")], "headers"),
        (&get, "http://h/a", &[("x-k", "v"), ("x-l", "abc")], "header"),
        (&get, "http://h/a?q=1", &[], "query"),
        (&get, "http://h/a?q=2", &[], "prefix"),
        // Method before headers before parameters.
        (&post, "http://h/a?q=1", &[("x-k", "v")], "post"),
        (&get, "http://h/a?q=1", &[("x-k", "v")], "header"),
        (&get, "http://h/twice", &[], "first"),
    ] {
        assert_eq!(world.request(method, url, headers), format!("default/{expected}"), "{method} {url} {headers:?}");
    }
}

#[test]
fn of_equal_routes_the_older_wins_then_the_first_by_name() {
    let aged = |name: &str, created: &str| {
        simple_route(name, "/x", &to(name))
            .replace(&format!("{{name: {name}}}, spec"), &format!("{{name: {name}{created}}}, spec"))
    };
    let (older, newer) = (", creationTimestamp: '2026-01-01T00:00:00Z'", ", creationTimestamp: '2026-02-01T00:00:00Z'");
    for (a, b, expected) in
        [("", "", "a"), (newer, older, "b"), (older, newer, "a"), ("", newer, "b"), (older, older, "a")]
    {
        let world = World::new(&[open_gateway("gw"), good_backend("a"), good_backend("b"), aged("a", a), aged("b", b)]);
        assert_eq!(world.at("http://h/x"), format!("default/{expected}"), "{a} {b}");
    }
}

#[test]
fn unsupported_rules_answer_500_and_leave_the_others_alone() {
    let forward = format!("backendRefs: [{}]", to("good"));
    let filter = |f: &str| format!("filters: [{{{f}}}], {forward}");
    let value = "requestHeaderModifier: {set: [{name: 'a b', value: x}]}";
    for (fields, message) in [
        (
            filter("type: RequestMirror, requestMirror: {backendRef: {name: s, port: 80}}"),
            "filter RequestMirror is not supported yet",
        ),
        (filter("type: CORS, cors: {}"), "filter CORS is not supported yet"),
        (
            filter("type: ExtensionRef, extensionRef: {group: example.com, kind: Thing, name: t}"),
            "ExtensionRef to example.com/Thing is not supported",
        ),
        (
            filter("type: ExtensionRef, extensionRef: {group: gateway.kgateway.dev, kind: TrafficPolicy, name: none}"),
            "TrafficPolicy default/none does not exist",
        ),
        (filter(&format!("type: RequestHeaderModifier, {value}")), "'a b' is not a header name"),
        (
            format!(
                "filters: [{{type: URLRewrite, urlRewrite: {{hostname: h}}}}, {{type: RequestRedirect, requestRedirect: {{hostname: h}}}}], {forward}"
            ),
            "RequestRedirect and URLRewrite can't be used together",
        ),
        (filter("type: URLRewrite"), "lacks the field of its type, urlRewrite"),
        (filter("type: RequestRedirect"), "lacks the field of its type, requestRedirect"),
        (filter("type: RequestHeaderModifier"), "lacks the field of its type, requestHeaderModifier"),
        (filter("type: ExtensionRef"), "lacks the field of its type, extensionRef"),
        (format!("timeouts: {{request: soon}}, {forward}"), "timeouts.request: 'soon': not a duration"),
        (format!("timeouts: {{backendRequest: -1s}}, {forward}"), "timeouts.backendRequest: '-1s': not a duration"),
        (
            format!(
                "backendRefs: [{}]",
                to("good").replace('}', ", filters: [{type: URLRewrite, urlRewrite: {hostname: h}}]}")
            ),
            "may only be RequestHeaderModifier or ResponseHeaderModifier",
        ),
    ] {
        let world = world(&rules(&fields), &[]);
        let reason = if message.contains("together") { "IncompatibleFilters" } else { "UnsupportedValue" };
        let dropped = format!("PartiallyInvalid=True/{reason}: Dropped Rule(s), in whole or in part: rule 0: ");
        world.reports(Kind::HttpRoute, "default/r", &[&dropped, message]);
        world.reports(Kind::HttpRoute, "default/r", &["Accepted=True/Accepted"]);
        let landed = world.at("http://h/x");
        assert!(landed.starts_with("500 ") && landed.contains(message), "{fields}: {landed}");
        assert_eq!(world.at("http://h/good"), "default/good", "{fields}");
        // As the only rule, it is the whole route.
        let alone = self::world(&format!("rules: [{{{fields}}}]"), &[]);
        alone.reports(Kind::HttpRoute, "default/r", &[&format!("Accepted=False/{reason}: rule 0: "), message]);
        assert!(!alone.conditions(Kind::HttpRoute, "default/r").contains("PartiallyInvalid"));
        assert_eq!(alone.attached("default/gw", "http"), 0, "only accepted routes are counted");
    }
}

#[test]
fn a_match_that_cannot_be_run_is_left_out_and_said() {
    for (matching, message) in [
        ("{path: {type: RegularExpression, value: '(('}}", "path: '((' is not a regular expression"),
        ("{headers: [{name: a, type: RegularExpression, value: '['}]}", "header: '[' is not a regular expression"),
        ("{queryParams: [{name: a, type: RegularExpression, value: '['}]}", "query parameter: '[' is not a regular"),
        ("{headers: [{name: 'a b', value: x}]}", "'a b' is not a header name"),
        ("{path: {type: Exact, value: x}}", "path 'x' does not begin with '/'"),
    ] {
        let rule = |matches: &str| format!("{{matches: [{matches}], backendRefs: [{}]}}", to("good"));
        let world = world(
            &format!(
                "rules: [{}, {}]",
                rule(&format!("{matching}, {{path: {{value: /same}}}}")),
                rule("{path: {value: /good}}")
            ),
            &[],
        );
        world.reports(Kind::HttpRoute, "default/r", &["PartiallyInvalid=True/UnsupportedValue: Dropped Rule", message]);
        assert_eq!(world.at("http://h/x"), "no rule at default/gw http", "{matching}");
        // The rule's other matches, and the other rules, are served.
        assert_eq!(world.at("http://h/same"), "default/good");
        assert_eq!(world.at("http://h/good"), "default/good");
    }
}

#[test]
fn timeouts_are_read() {
    let forward = format!("backendRefs: [{}]", to("good"));
    for (written, request, backend) in [
        ("", None, None),
        ("timeouts: {request: 1m30s, backendRequest: 500ms}, ", Some(90_000), Some(500)),
        ("timeouts: {request: 0s}, ", None, None),
    ] {
        let world = world(&rules(&format!("{written}{forward}")), &[]);
        world.is_fine(Kind::HttpRoute, "default/r");
        let timeouts = world.rule_at("http://h/x").timeouts;
        let ms = |d: Option<u64>| d.map(Duration::from_millis);
        assert_eq!((timeouts.request, timeouts.backend), (ms(request), ms(backend)), "{written}");
    }
}

/// Headers that modifiers of the tests below meet.
fn headers() -> HeaderMap {
    [("a", "0"), ("b", "0"), ("c", "0")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

fn listed(headers: &HeaderMap) -> String {
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    lines.join(" ")
}

/// The part of [`headers`] that the request policies forward.
fn sent_with(policies: &Policies) -> String {
    let (mut headers, mut added) = (headers(), HeaderMap::new());
    for policy in &policies.request {
        let mut request = PolicyRequest {
            headers: &mut headers,
            added: &mut added,
            api: None,
            body: None,
            model: None,
            findings: &crate::policy::Findings::default(),
        };
        policy.apply(&mut request).now_or_never().expect("headers are edited at once").unwrap();
    }
    listed(&headers)
}

#[test]
fn filters_become_policies() {
    let edits = "{set: [{name: a, value: '1'}], add: [{name: b, value: '2'}], remove: [c]}";
    let fields = format!(
        "filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {edits}}}, \
         {{type: ResponseHeaderModifier, responseHeaderModifier: {edits}}}, \
         {{type: URLRewrite, urlRewrite: {{hostname: h.example, path: {{type: ReplacePrefixMatch, replacePrefixMatch: /y}}}}}}], \
         backendRefs: [{}]",
        to("good")
            .replace('}', &format!(", filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {edits}}}]}}"))
    );
    let world = world(&rules(&fields), &[]);
    world.is_fine(Kind::HttpRoute, "default/r");
    let rule = world.rule_at("http://h/x");
    assert_eq!(sent_with(&rule.policies), "a=1 b=0 b=2");
    let mut reply = headers();
    rule.policies.reply.iter().for_each(|policy| policy.head(&mut reply));
    assert_eq!(listed(&reply), "a=1 b=0 b=2");
    let rewrite = rule.rewrite.as_ref().unwrap();
    assert_eq!(rewrite.host.as_ref().unwrap(), "h.example");
    assert_eq!(rewrite.path, Some(snapshot::PathRewrite::Prefix("/y".to_owned())));
    let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
    assert_eq!(sent_with(&split.backends()[0].policies), "a=1 b=0 b=2");

    let redirect = "filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]";
    assert_eq!(self::world(&rules(redirect), &[]).at("http://h/x"), "redirect 301");
}

#[test]
fn a_route_of_several_gateways_speaks_to_each() {
    let world = World::new(&[
        open_gateway("gw"),
        gateway("other/gw2", "{name: http, protocol: HTTP, port: 8081}"),
        good_backend("good"),
        route(
            "r",
            &format!(
                "parentRefs: [{{name: gw}}, {{name: gw2, namespace: other}}, {{name: s, kind: Service, group: ''}}], rules: [{{backendRefs: [{}]}}]",
                to("good")
            ),
        ),
        route("orphan", "rules: []"),
    ]);
    world.reports(Kind::HttpRoute, "default/r", &["default/gw Accepted=True"]);
    world.reports(Kind::HttpRoute, "default/r", &["other/gw2 Accepted=False/NotAllowedByListeners"]);
    assert!(!world.conditions(Kind::HttpRoute, "default/r").contains("default/s "), "not a Gateway, not ours");
    assert_eq!(world.at("http://h:8080/"), "default/good");
    assert_eq!(world.at("http://h:8081/"), "no rule at other/gw2 http");
    world.reports(Kind::HttpRoute, "default/orphan", &["Accepted=False/NoMatchingParent", "has no parentRefs"]);
}

#[test]
fn a_parent_named_twice_is_attached_once() {
    let world = World::new(&[
        open_gateway("gw"),
        good_backend("good"),
        route(
            "r",
            &format!(
                "parentRefs: [{{name: gw}}, {{name: gw, sectionName: http}}], rules: [{{backendRefs: [{}]}}]",
                to("good")
            ),
        ),
    ]);
    world.reports(Kind::HttpRoute, "default/r", &["default/gw Accepted=True"]);
    world.reports(Kind::HttpRoute, "default/r", &["default/gw#http Accepted=True"]);
    assert_eq!(world.attached("default/gw", "http"), 1);
    assert_eq!(world.snapshot_json().matches("\"match\"").count(), 1);
}

#[test]
fn a_parent_that_nobody_serves_is_listed_with_what_was_meant() {
    let to_parent = |key: &str, parent: &str| {
        route(key, &format!("parentRefs: [{parent}], rules: [{{backendRefs: [{}]}}]", to("good")))
    };
    for (parent, expected) in [
        ("{name: gateway, namespace: infra}", "there is no Gateway infra/gateway; did you mean infra/gw?"),
        ("{name: gw}", "there is no Gateway apps/gw; did you mean infra/gw?"),
        ("{name: other}", "there is no Gateway apps/other"),
        ("{name: set, kind: ListenerSet}", "parentRef to ListenerSet set: ListenerSets are not supported"),
    ] {
        let world =
            World::new(&[open_gateway("infra/gw"), good_backend("good"), to_parent("apps/r", parent)]).in_cluster();
        let unattached = &world.compiled.reports.unattached;
        assert_eq!(unattached.len(), 1, "{unattached:?}");
        assert_eq!(unattached[0].key.to_string(), "apps/r");
        assert!(unattached[0].message.starts_with(expected), "{unattached:?}");
    }
    let world =
        World::new(&[open_gateway("infra/gw"), good_backend("good"), to_parent("r", "{name: gw, namespace: infra}")]);
    assert_eq!(world.compiled.reports.unattached, []);
}
