use proptest::prelude::*;

use super::*;
use crate::snapshot::{Action, RequestModel, RuleLabels, UnavailableReason};

fn rule(name: &str) -> Arc<Rule> {
    Arc::new(Rule {
        labels: RuleLabels { gateway: "ns/gw".into(), route: "ns/r".into(), rule: name.into() },
        action: Action::Unavailable(UnavailableReason { status: 500, why: String::new() }),
        ..Rule::default()
    })
}

/// Builds a table of named rules: (name, path, conditions).
fn table(rules: Vec<(&str, PathPattern, Conditions)>) -> PathTable {
    let mut table = PathTable::default();
    for (index, (name, path, conditions)) in rules.into_iter().enumerate() {
        let precedence = Precedence::new(&conditions, None, "ns/r".into(), index, 0);
        table.insert(path, conditions, precedence, rule(name));
    }
    table.sort();
    table
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.into())
}

fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.into())
}

fn regex(pattern: &str) -> PathPattern {
    PathPattern::Regex(ValuePattern::whole(pattern).unwrap())
}

fn find_with(table: &PathTable, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Option<(String, usize)> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let (path, query) = uri.split_once('?').map_or((uri, None), |(p, q)| (p, Some(q)));
    let view = RequestView { host: "h", path, query, method, headers: &map, model: RequestModel::Unread };
    table.find(&view).unwrap().map(|m| (m.rule.labels.rule.clone(), m.matched))
}

fn find(table: &PathTable, uri: &str) -> Option<String> {
    find_with(table, &Method::GET, uri, &[]).map(|(name, _)| name)
}

#[test]
fn paths_are_in_precedence_order() {
    let none = Conditions::default;
    let table = table(vec![
        ("root", prefix("/"), none()),
        ("a", prefix("/a"), none()),
        ("ab", prefix("/a/b/"), none()),
        ("ab-exact", exact("/a/b"), none()),
        ("regex", regex("/a/[0-9]+"), none()),
    ]);
    for (path, expected) in [
        ("/", "root"),
        ("/x", "root"),
        ("/ab", "root"),
        ("/a", "a"),
        ("/a/", "a"),
        ("/a/x", "a"),
        ("/a/b", "ab-exact"),
        ("/a/b/", "ab"),
        ("/a/b/c", "ab"),
        ("/a/bc", "a"),
        ("/a/12", "regex"),
        ("/a/12/x", "a"),
        ("/x/a/12", "root"),
    ] {
        assert_eq!(find(&table, path).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn the_matched_length_is_returned() {
    let table = table(vec![("a", prefix("/a/"), Conditions::default()), ("e", exact("/e/f"), Conditions::default())]);
    assert_eq!(find_with(&table, &Method::GET, "/a/b/c", &[]), Some(("a".into(), 2)));
    assert_eq!(find_with(&table, &Method::GET, "/a", &[]), Some(("a".into(), 2)));
    assert_eq!(find_with(&table, &Method::GET, "/e/f", &[]), Some(("e".into(), 4)));
    assert_eq!(find_with(&table, &Method::GET, "/b", &[]), None);
}

#[test]
fn more_conditions_take_precedence() {
    let header = |name: &str, value: &str| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), ValuePattern::Exact(value.to_owned()))
    };
    let query = |name: &str, value: &str| (name.to_owned(), ValuePattern::Exact(value.to_owned()));
    let table = table(vec![
        ("plain", prefix("/"), Conditions::default()),
        ("query", prefix("/"), Conditions { query: vec![query("q", "a b")], ..Conditions::default() }),
        ("one", prefix("/"), Conditions { headers: vec![header("x", "1")], ..Conditions::default() }),
        ("two", prefix("/"), Conditions { headers: vec![header("x", "1"), header("y", "2")], ..Conditions::default() }),
        ("post", prefix("/"), Conditions { method: Some(Method::POST), ..Conditions::default() }),
    ]);
    let get = |uri, headers: &[(&str, &str)]| find_with(&table, &Method::GET, uri, headers).unwrap().0;
    let described: Vec<String> = table.describe().into_iter().map(|(text, _)| text).collect();
    assert_eq!(
        described,
        [
            "PathPrefix /",
            "PathPrefix / POST",
            "PathPrefix / header x=***",
            "PathPrefix / header x=*** header y=***",
            "PathPrefix / query q=***"
        ]
    );
    assert_eq!(get("/", &[]), "plain");
    assert_eq!(get("/?q=a%20b", &[]), "query");
    assert_eq!(get("/?q=x&q=a%20b", &[]), "plain", "of a repeated parameter the first counts");
    assert_eq!(get("/?q=a%20b", &[("x", "1")]), "one");
    assert_eq!(get("/", &[("x", "1"), ("y", "2")]), "two");
    assert_eq!(get("/", &[("x", "0"), ("x", "1")]), "one", "each value of a list counts");
    assert_eq!(find_with(&table, &Method::POST, "/", &[("x", "1"), ("y", "2")]).unwrap().0, "post");
}

#[test]
fn a_longer_prefix_whose_conditions_fail_gives_way() {
    let post = Conditions { method: Some(Method::POST), ..Conditions::default() };
    let table = table(vec![("short", prefix("/a"), Conditions::default()), ("long", prefix("/a/b"), post)]);
    assert_eq!(find(&table, "/a/b/c").as_deref(), Some("short"));
}

#[test]
fn ties_go_to_the_older_route_then_to_its_name() {
    let mut table = PathTable::default();
    for (name, created) in [("b", Some(5)), ("a", Some(9)), ("c", None)] {
        let precedence = Precedence::new(&Conditions::default(), created, name.into(), 0, 0);
        table.insert(prefix("/"), Conditions::default(), precedence, rule(name));
    }
    table.sort();
    assert_eq!(find(&table, "/").as_deref(), Some("b"));
}

proptest! {
    /// The table agrees with the definition: of all prefixes, the longest by elements.
    #[test]
    fn prefixes_agree_with_their_definition(
        prefixes in prop::collection::btree_set("(/[ab]){0,3}/?", 1..6),
        path in "(/[ab]{1,2}){1,5}/?",
    ) {
        let prefixes: Vec<String> = prefixes.into_iter().map(|p| if p.is_empty() { "/".into() } else { p }).collect();
        let table = table(prefixes.iter().map(|p| (p.as_str(), prefix(p), Conditions::default())).collect());
        let elements = |p: &str| p.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let matching = prefixes.iter().filter(|p| elements(&path).starts_with(&elements(p)));
        let wanted = matching.map(|p| elements(p).len()).max();
        let found = find(&table, &path).map(|name| elements(&name).len());
        prop_assert_eq!(found, wanted);
    }
}

/// A table with a rule for the model `a` at `/v1`, one for any model there, and one at `/`.
fn by_model() -> PathTable {
    let model = |pattern: ValuePattern| Conditions {
        model: vec![(MODEL_HEADERS[0].clone(), pattern)],
        ..Conditions::default()
    };
    table(vec![
        ("a", PathPattern::Prefix("/v1".into()), model(ValuePattern::Exact("a".into()))),
        ("b", PathPattern::Prefix("/v1".into()), model(ValuePattern::Regex(ValuePattern::whole("b.*").unwrap()))),
        ("any", PathPattern::Prefix("/".into()), Conditions::default()),
        ("deep", PathPattern::Prefix("/v1/files".into()), Conditions::default()),
    ])
}

#[test]
fn the_model_is_needed_only_where_a_rule_that_could_match_depends_on_it() {
    let table = by_model();
    let mut headers = HeaderMap::new();
    // The client's own header never counts.
    headers.insert(MODEL_HEADERS[0].clone(), "a".parse().unwrap());
    let find = |path: &str, model| {
        let view = RequestView { host: "h", path, query: None, method: &Method::POST, headers: &headers, model };
        let found = table.find(&view);
        found.map(|found| found.map(|found| found.rule.labels.rule.clone()).unwrap_or_default())
    };
    let unread = RequestModel::Unread;
    assert_eq!(find("/v1/chat/completions", unread), Err(NeedsModel));
    for path in ["/", "/v2/x", "/v1/files/x"] {
        assert!(find(path, unread).is_ok(), "{path}");
    }
    for (model, rule) in [(Some("a"), "a"), (Some("bb"), "b"), (Some("c"), "any"), (None, "any")] {
        assert_eq!(find("/v1/x", RequestModel::Read(model)).as_deref(), Ok(rule), "{model:?}");
    }
}
