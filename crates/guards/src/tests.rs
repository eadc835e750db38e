//! Exactness of streams, bounds, and rules together. What each recogniser finds is in `recogniser/tests.rs`.

use std::{fmt::Write as _, sync::Arc};

use proptest::{prelude::*, strategy::ValueTree};

use super::*;

fn set(rules: &[Rule], action: Action) -> Arc<GuardSet> {
    Arc::new(GuardSet::compile(rules, action).unwrap())
}

fn pattern(pattern: &str) -> Rule {
    Rule::Pattern { name: None, pattern: pattern.into() }
}

/// What is released after each piece, and at the end.
fn stream(set: &Arc<GuardSet>, pieces: &[&str]) -> Vec<String> {
    let mut guarded = Guarded::new(Arc::clone(set));
    let mut released = Vec::new();
    for piece in pieces {
        let mut out = String::new();
        guarded.push(piece, &mut out).unwrap();
        released.push(out);
    }
    let mut out = String::new();
    guarded.finish(&mut out).unwrap();
    released.push(out);
    released
}

fn mask(set: &Arc<GuardSet>, text: &str) -> String {
    stream(set, &[text]).concat()
}

fn mask_with(rules: &[Rule], text: &str) -> String {
    mask(&set(rules, Action::Mask), text)
}

/// Reference: at each position the longest match of any rule by the `regex` crate's engine, from left to right.
fn reference(patterns: &[&str], text: &str) -> String {
    use regex_automata::{Anchored, Input, meta::Regex};
    let config =
        regex_automata::util::syntax::Config::new().case_insensitive(true).multi_line(true).dot_matches_new_line(true);
    let regexes: Vec<Regex> = patterns.iter().map(|p| Regex::builder().syntax(config).build(p).unwrap()).collect();
    let (mut out, mut at) = (String::new(), 0);
    while at < text.len() {
        if !text.is_char_boundary(at) {
            at += 1;
            continue;
        }
        let longest = regexes
            .iter()
            .filter_map(|regex| regex.find(Input::new(text).range(at..).anchored(Anchored::Yes)))
            .map(|found| found.end())
            .max();
        if let Some(end) = longest.filter(|end| *end > at) {
            out.push_str("<CUSTOM>");
            at = end;
        } else {
            let next = text[at..].chars().next().unwrap();
            out.push(next);
            at += next.len_utf8();
        }
    }
    out
}

#[test]
fn text_is_held_only_while_a_match_may_complete() {
    let cards = set(&[Rule::Builtin(Builtin::CreditCard)], Action::Mask);
    assert_eq!(stream(&cards, &["4111", "-1111-11", "11-1111", "."]), ["", "", "", "<CREDIT_CARD>.", ""]);
    assert_eq!(stream(&cards, &["call 41", "12 for"]), ["call ", "4112 for", ""]);
    let emails = set(&[Rule::Builtin(Builtin::Email)], Action::Mask);
    assert_eq!(stream(&emails, &["see bob", " and", " x"]), ["see ", "bob ", "and ", "x"]);
    assert_eq!(stream(&emails, &["mail bob@x.com"]), ["mail ", "<EMAIL_ADDRESS>"]);
}

#[test]
fn a_match_that_is_certain_is_masked_before_its_end() {
    let keys = set(&[Rule::Builtin(Builtin::ApiKey)], Action::Mask);
    let key = ["sk-ant-api03-", "AbCdEfGhIjKlMnOpQrStUv", "WxYz0123456789", " is it"];
    assert_eq!(stream(&keys, &key), ["", "<API_KEY>", "", " is it", ""]);
    let tail = set(&[pattern("secret.*")], Action::Mask);
    assert_eq!(stream(&tail, &["a secret", "s and", " all"]), ["a ", "<CUSTOM>", "", ""]);
    let mut guarded = Guarded::new(tail);
    let mut out = String::new();
    guarded.push("secret", &mut out).unwrap();
    for _ in 0..1000 {
        guarded.push(&"x".repeat(1000), &mut out).unwrap();
        assert!(guarded.held() < 2, "{}", guarded.held());
        assert!(guarded.memory() < 16 * 1024);
    }
    guarded.finish(&mut out).unwrap();
    assert_eq!((out.as_str(), guarded.overflows()), ("<CUSTOM>", 0));
}

#[test]
fn lazy_patterns_stay_lazy_and_the_longest_rule_wins() {
    assert_eq!(mask_with(&[pattern("a.*?b")], "a1b2b"), "<CUSTOM>2b");
    assert_eq!(mask_with(&[pattern("a.*b")], "a1b2b3"), "<CUSTOM>3");
    let named = |name: &str, pattern: &str| Rule::Pattern { name: Some(name.into()), pattern: pattern.into() };
    assert_eq!(mask_with(&[named("SHORT", "ab"), named("LONG", "abc")], "abcd"), "<LONG>d");
    assert_eq!(mask_with(&[named("FIRST", "ab"), named("SECOND", "ab")], "abab"), "<FIRST><FIRST>");
    assert_eq!(mask_with(&[named("", "ab")], "ab"), "<CUSTOM>");
}

#[test]
fn patterns_have_the_flags_of_kgateway() {
    assert_eq!(mask_with(&[pattern("secret")], "a SECRET"), "a <CUSTOM>");
    assert_eq!(mask_with(&[pattern("^x$")], "y\nx\nx y"), "y\n<CUSTOM>\nx y");
    assert_eq!(mask_with(&[pattern("a.b")], "a\nb"), "<CUSTOM>");
    assert_eq!(mask_with(&[pattern(r"\bcat\b")], "cat scatter cat."), "<CUSTOM> scatter <CUSTOM>.");
    assert_eq!(mask_with(&[pattern("größe")], "GRÖSSE GRÖẞE"), "GRÖSSE <CUSTOM>");
    assert_eq!(mask_with(&[pattern(r"\d{3}")], "٣٤٥ 345"), "<CUSTOM> <CUSTOM>");
}

#[test]
fn patterns_that_can_not_be_used_are_errors() {
    let error = |text: &str| match GuardSet::compile(&[pattern("fine"), pattern(text)], Action::Mask) {
        Err(GuardError::Pattern { number: 1, error }) => error,
        other => panic!("{text}: {other:?}"),
    };
    for empty in ["", "a*", "x?", "(?:)", "a|", r"\b", "^", "(a*)*"] {
        assert_eq!(error(empty), PatternError::Empty, "{empty}");
    }
    for syntax in ["(", "[a", "a{2,1}", r"(a)\1", "(?=a)", "(?<!a)b", "*a", r"(?-u:\xFF)"] {
        assert!(matches!(error(syntax), PatternError::Syntax(_)), "{syntax}");
    }
    assert_eq!(error("[a&&b]"), PatternError::Never);
    assert_eq!(error(&"a".repeat(MAX_PATTERN_BYTES + 1)), PatternError::Long);
    for large in ["x.{0,100000}", "x.{1000}{1000}", "[01]*1[01]{30}", r"\w{200,4000}x"] {
        assert_eq!(error(large), PatternError::Large, "{large}");
    }
    assert!(GuardSet::compile(&vec![pattern("a"); MAX_RULES], Action::Mask).is_ok());
    assert_eq!(GuardSet::compile(&vec![pattern("a"); MAX_RULES + 1], Action::Mask).unwrap_err(), GuardError::TooMany);
}

#[test]
fn nested_repetitions_take_no_longer_than_others() {
    let text = "a".repeat(20_000) + "!";
    assert_eq!(mask_with(&[pattern("(a+)+b")], "aaab"), "<CUSTOM>");
    // Each position would be tried anew, up to the end of the letters: that is refused, not endured.
    let set = set(&[pattern("(a+)+b")], Action::Mask);
    let mut guarded = Guarded::new(set);
    assert_eq!(guarded.push(&text, &mut String::new()), Err(Stop::Steps));
}

#[test]
fn what_is_held_is_bounded_and_masked_when_the_bound_is_reached() {
    let set = set(&[pattern("BEGIN.*?END")], Action::Mask);
    let text = format!("a BEGIN{}", "x".repeat(MAX_HELD_BYTES));
    let expected = format!("a <CUSTOM>{}", "x".repeat("BEGIN".len()));
    for size in [1, 7, 4096, text.len()] {
        let (mut guarded, mut out) = (Guarded::new(Arc::clone(&set)), String::new());
        for piece in text.as_bytes().chunks(size) {
            guarded.push(std::str::from_utf8(piece).unwrap(), &mut out).unwrap();
            assert!(guarded.held() <= MAX_HELD_BYTES + size);
        }
        guarded.finish(&mut out).unwrap();
        assert_eq!((out == expected, guarded.overflows()), (true, 1), "{size}");
    }
}

#[test]
fn an_overflow_inside_a_character_takes_the_character() {
    let set = set(&[pattern("BEGIN.*?END")], Action::Mask);
    let text = format!("BEGIN{}é", "é".repeat(MAX_HELD_BYTES / 2));
    assert!(mask(&set, &text).starts_with("<CUSTOM>é"));
}

#[test]
fn a_set_that_rejects_ends_the_text() {
    let set = set(&[pattern("top secret"), Rule::Builtin(Builtin::Ssn)], Action::Reject);
    let (mut guarded, mut out) = (Guarded::new(Arc::clone(&set)), String::new());
    guarded.push("it is top se", &mut out).unwrap();
    assert_eq!(guarded.push("cret!", &mut out), Err(Stop::Rejected("CUSTOM".into())));
    assert_eq!((out.as_str(), guarded.findings()), ("it is ", &[Finding { rule: 0, count: 1 }][..]));
    let mut guarded = Guarded::new(set);
    guarded.push("078-05-1121", &mut out).unwrap();
    assert_eq!(guarded.finish(&mut out), Err(Stop::Rejected("SSN".into())));
}

#[test]
fn findings_count_by_rule() {
    let rules = [Rule::Builtin(Builtin::Email), pattern("cat")];
    let (mut guarded, mut out) = (Guarded::new(set(&rules, Action::Mask)), String::new());
    guarded.push("cat a@b.io cat dog", &mut out).unwrap();
    guarded.finish(&mut out).unwrap();
    assert_eq!(guarded.findings(), [Finding { rule: 1, count: 2 }, Finding { rule: 0, count: 1 }]);
    assert_eq!(out, "<CUSTOM> <EMAIL_ADDRESS> <CUSTOM> dog");
}

#[test]
fn without_rules_text_is_as_it_was() {
    assert_eq!(stream(&set(&[], Action::Mask), &["4111", "1111"]), ["4111", "1111", ""]);
}

/// What is planted in the texts of the property test: secrets, near misses, and text of all kinds.
const PARTS: &[&str] = &[
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111111111111112",
    "3782-822463-10005",
    "078-05-1121",
    "078051121",
    "ssn ",
    "SIN: ",
    "130 692 544",
    "130692544",
    "+1 (415) 555-2671",
    "415-555-2671",
    "030 / 1234567",
    "a.b+c@x.co.uk",
    "git@github.com:o/r",
    "DE89 3704 0044 0532 0130 00",
    "10.0.0.1",
    "2001:db8::1",
    "sk-proj-",
    "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEpAIBAAKCAQEA\n",
    "-----END RSA PRIVATE KEY-----",
    " ",
    ". ",
    "\n",
    ",",
    "-",
    "x",
    "7",
    "é",
    "日本",
    "🙂",
    "\u{ad}",
    "٣",
    "Hello, world",
    "2026-11-30T10:15:00Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "v1.2.3.4",
    "std::fs",
    "aab",
    "abc",
    "(",
    ")",
    "+",
    "@",
];

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12).prop_map(|picks| {
        picks.iter().fold(String::new(), |mut text, (part, cut)| {
            let part = part.get(PARTS);
            // Half of the parts are cut off, as near misses.
            let end = cut.index(part.len() * 2 + 1).min(part.len());
            let _ = write!(text, "{}", &part[..part.floor_char_boundary(end)]);
            text
        })
    })
}

fn cuts(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
    ends.sort_unstable();
    ends.push(text.len());
    let mut at = 0;
    ends.into_iter().map(|end| text[std::mem::replace(&mut at, end)..end].to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_releases_what_the_whole_text_does(text in texts(), cuts: u64) {
        differential::check(&text, cuts);
        // Cut after every character.
        differential::check(&text, 0);
    }

    #[test]
    fn own_patterns_match_what_the_regex_crate_matches(
        text in "[ab1é \n]{0,24}",
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        which in prop::sample::subsequence(
            vec![
                "a+b", "a.*?b", "(a|ab)(1|b1)?", "é+", r"^b", r"a$", "[^a]{2,3}1", r"(?-u:\b)a1", "b(a|é)*1",
                "(ab){2,}",
            ],
            1..4,
        ),
    ) {
        let rules: Vec<Rule> = which.iter().map(|text| pattern(text)).collect();
        let set = set(&rules, Action::Mask);
        let pieces = cuts(&text, &at);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(stream(&set, &pieces).concat(), reference(&which, &text));
    }
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_guards() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let mut runner = proptest::test_runner::TestRunner::default();
    while std::time::Instant::now() < end {
        let text = texts().new_tree(&mut runner).unwrap().current();
        let cuts = any::<u64>().new_tree(&mut runner).unwrap().current();
        differential::check(&text, cuts);
    }
}
